"""Centered kernel alignment against its definition on N x N matrices, and its invariances."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from ovcore.representations import _centering, _cka, _features, cka


def biased_hsic(k: np.ndarray, other: np.ndarray) -> float:
    """tr(K H L H), H = I - 1/N, without its factor (Gretton et al., 2005)."""
    n = len(k)
    centering = np.eye(n) - np.ones((n, n)) / n
    return float(np.trace(k @ centering @ other @ centering))


def unbiased_hsic(k: np.ndarray, other: np.ndarray) -> float:
    """HSIC_1 of Song et al., 2012, equation 5: kernels as they are, without their diagonals."""
    n, ones = len(k), np.ones(len(k))
    k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
    found = np.trace(k @ other)
    found += (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
    found -= 2 / (n - 2) * (ones @ k @ other @ ones)
    return float(found / (n * (n - 3)))


def plain(x: np.ndarray, y: np.ndarray, unbiased: bool = True) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    hsic = unbiased_hsic if unbiased else biased_hsic
    k, other = x @ x.T, y @ y.T
    return hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))


def related(
    rng: np.random.Generator, n: int, sizes: tuple[int, ...], dtype: Any = np.float64
) -> list[np.ndarray]:
    """Models' features that share what three hidden numbers say."""
    hidden = rng.normal(size=(n, 3))
    return [
        (hidden @ rng.normal(size=(3, size)) + rng.normal(size=(n, size)) + 3).astype(dtype)
        for size in sizes
    ]


@pytest.mark.parametrize("unbiased", [True, False], ids=["unbiased", "biased"])
@pytest.mark.parametrize("n_samples", [4, 5, 63, 64, 65, 140])
def test_cka_is_its_definition(
    n_samples: int, unbiased: bool, backend: str, rng: np.random.Generator
) -> None:
    models = related(rng, n_samples, (17, 5, 300))  # wider than there are samples, too
    found = cka(models, unbiased=unbiased, backend=backend)
    assert (found.shape, found.dtype) == ((3, 3), np.float64)
    for i, x in enumerate(models):
        for j, y in enumerate(models):
            expected = plain(x, y, unbiased)
            assert found[i, j] == pytest.approx(expected, rel=1e-9, abs=1e-12)
            alone = cka(x, y, unbiased=unbiased, backend=backend)
            assert isinstance(alone, float)
            assert alone == pytest.approx(found[i, j], rel=1e-12, abs=1e-15)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(found.diagonal(), 1)


def test_by_hand() -> None:
    x = np.array([[1.0], [-1], [1], [-1]])
    assert cka(x, x, unbiased=False) == 1
    assert cka(x, np.array([[1.0], [1], [-1], [-1]]), unbiased=False) == 0
    half = np.array([[1.0, 1], [-1, 1], [1, -1], [-1, -1]])  # X^T Y = (4, 0), |Y^T Y| = 4 sqrt(2)
    assert cka(x, half, unbiased=False) == pytest.approx(0.5**0.5)
    assert unbiased_hsic(x @ x.T, half @ half.T) == pytest.approx(plain_by_loop(x, half))


def plain_by_loop(x: np.ndarray, y: np.ndarray) -> float:
    """What is estimated, over all four different samples: of K_ij (L_ij + L_qr - 2 L_iq)."""
    k, other, n = x @ x.T, y @ y.T, len(x)
    terms = [
        k[i, j] * (other[i, j] + other[q, r] - 2 * other[i, q])
        for i in range(n)
        for j in range(n)
        for q in range(n)
        for r in range(n)
        if len({i, j, q, r}) == 4
    ]
    return float(np.mean(terms))


def test_the_plain_form_is_the_estimator_over_all_fours(rng: np.random.Generator) -> None:
    x, y = related(rng, 7, (3, 4))
    assert unbiased_hsic(x @ x.T, y @ y.T) == pytest.approx(plain_by_loop(x, y), rel=1e-12)


@pytest.mark.parametrize("unbiased", [True, False], ids=["unbiased", "biased"])
@pytest.mark.parametrize("n_samples", [30, 500])
def test_rotations_common_factors_and_shifts_change_nothing(
    n_samples: int, unbiased: bool, rng: np.random.Generator
) -> None:
    x, y = related(rng, n_samples, (40, 25))
    expected = cka(x, y, unbiased=unbiased)
    rotation, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    for changed in (x @ rotation, -0.001 * x, 1e8 * x, x + 100, x @ rotation * 5 - 3, x[:, ::-1]):
        assert cka(changed, y, unbiased=unbiased) == pytest.approx(expected, rel=1e-9)
        assert cka(changed, x, unbiased=unbiased) == pytest.approx(1, rel=1e-9)
    shuffled = rng.permutation(n_samples)
    assert cka(x[shuffled], y[shuffled], unbiased=unbiased) == pytest.approx(expected, rel=1e-9)
    assert cka(x * np.linspace(0.1, 3, 40), y, unbiased=unbiased) != pytest.approx(expected)


@pytest.mark.parametrize("size", [20, 200])
def test_independent_features_are_about_0_unless_biased(
    size: int, rng: np.random.Generator
) -> None:
    pairs = rng.normal(size=(60, 2, 50, size))
    unbiased = np.array([cka(x, y) for x, y in pairs])
    biased = np.array([cka(x, y, unbiased=False) for x, y in pairs])
    assert abs(unbiased.mean()) < 4 * unbiased.std() / np.sqrt(len(pairs))
    assert unbiased.min() < 0 < unbiased.max()
    assert biased.min() > (0.2 if size == 20 else 0.7)


@pytest.mark.parametrize("unbiased", [True, False], ids=["unbiased", "biased"])
def test_both_forms_of_a_pair_agree(
    unbiased: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over dimensions and over samples, a few dimensions at a time."""
    for sizes in ((30, 45), (90, 70), (2, 300)):
        x, y = related(rng, 60, sizes)
        found = []
        for form in (_comoment_form, _gram_form):
            monkeypatch.setattr(_cka._Model, "squared_product", form)
            found.append(cka([x, y], unbiased=unbiased))
        monkeypatch.setattr(_cka, "_GRAM_NUMBERS", 60 * 7)
        found.append(cka([x, y], unbiased=unbiased))
        monkeypatch.undo()
        for matrix in (*found, cka([x, y], unbiased=unbiased)):
            np.testing.assert_allclose(matrix, found[0], rtol=1e-10)


def _gram_form(x: Any, y: Any) -> float:
    return float((x._gram() * y._gram()).sum())


def _comoment_form(x: Any, y: Any) -> float:
    left, other = (
        model._features.parts[0].values - model._features.parts[0].values.mean(0)
        for model in (x, y)
    )
    return float(((left.T @ other) ** 2).sum())


def test_several_parts_beside_another(rng: np.random.Generator) -> None:
    """With ``other``, a list is one model's features side by side."""
    for n_samples in (20, 500):
        x, y, z = related(rng, n_samples, (30, 8, 25))
        expected = plain(np.concatenate([x, y], axis=1), z)
        assert cka([x, y], z) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_samples", [50, 700])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_narrow_types_at_mean_100(
    dtype: Any, n_samples: int, backend: str, rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    x, y = ((100 + model).astype(dtype) for model in related(rng, n_samples, (90, 60)))
    expected = plain(x, y)
    assert cka(x, y, backend=backend) == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(_features, "_FEW_PRODUCTS", 0)
    monkeypatch.setattr(_centering, "_BLOCK_NUMBERS", 90 * 300)
    assert cka(x, y, backend=backend) == pytest.approx(expected, rel=2e-5)
    tensors = [torch.from_numpy(model.astype(np.float32)) for model in (x, y)]
    assert cka(*tensors, backend=backend) == pytest.approx(expected, rel=2e-5)


def test_tensors_give_a_tensor(rng: np.random.Generator) -> None:
    models = related(rng, 100, (9, 5, 120), np.float32)
    found = cka([torch.from_numpy(model) for model in models])
    assert (found.dtype, found.device.type) == (torch.float64, "cpu")
    np.testing.assert_allclose(found.numpy(), cka(models), rtol=1e-12)
    assert isinstance(cka(torch.from_numpy(models[0]), torch.from_numpy(models[1])), float)


@pytest.mark.parametrize("unbiased", [True, False], ids=["unbiased", "biased"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e5])
def test_constant_features_align_with_nothing(
    value: float, unbiased: bool, rng: np.random.Generator
) -> None:
    for n_samples, size in ((100, 3), (10, 30)):
        (x,) = related(rng, n_samples, (5,))
        constant = np.full((n_samples, size), value, np.float32)
        found = cka([x, constant, x], unbiased=unbiased)
        undefined = np.isnan(found)
        np.testing.assert_array_equal(
            undefined, [[False, True, False], [True] * 3, [False, True, False]]
        )
        assert found[0, 2] == 1
        assert np.isnan(cka(constant, x, unbiased=unbiased))


def test_tiny_and_large_features(rng: np.random.Generator) -> None:
    x, y = related(rng, 40, (6, 4))
    for scale in (1e-30, 1e30):
        assert cka(scale * x, y) == pytest.approx(plain(x, y), rel=1e-9)
    for scale in (1e-45, 1e-200):
        assert np.isnan(cka(scale * x, y))  # squares of its squares are 0


@pytest.mark.parametrize("shape", [(3000, 4), (4, 3000)])
def test_the_smaller_form_is_in_memory(shape: tuple[int, int], rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, *shape))
    tracemalloc.start()
    cka(x, y)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6  # 3000 x 3000 numbers take 72 MB


X = np.arange(12.0).reshape(4, 3) ** 2
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "one model": (lambda: cka(X), ValueError, "pass two models' features, or a list of M"),
    "no models": (lambda: cka([]), ValueError, "pass two models' features, or a list of M"),
    "few samples": (lambda: cka(X[:3], X[:3]), ValueError, "at least 4 samples, got 3"),
    "one sample": (lambda: cka(X[:1], X[:1], unbiased=False), ValueError, "least 2 samples, got 1"),
    "samples": (lambda: cka(X, X[:3]), ValueError, "features has 4 samples but other has 3"),
    "samples of several": (
        lambda: cka([X, X, X[:3]]), ValueError, r"features\[0\] has 4 .* features\[2\] has 3"
    ),
    "libraries": (
        lambda: cka([X, torch.ones(4, 2)]), ValueError, r"features\[0\] is of numpy but "
    ),
    "integers": (lambda: cka([X, X > 3]), TypeError, r"features\[1\] must be .*, got bool"),
    "one axis": (lambda: cka(X, X[0]), ValueError, r"other must be \(N, D\)"),
    "NaN": (lambda: cka(X, X * np.nan), ValueError, "^other has NaN .* in 3 of 3 dimensions"),
    "NaN of several": (lambda: cka([X, X * np.nan]), ValueError, r"^features\[1\] has NaN"),
    "infinite, wide": (lambda: cka(np.full((4, 9), np.inf), X), ValueError, "^features .* 9 of 9"),
    "large": (lambda: cka(X, X * 1e100), ValueError, "features are too large"),
    "large, wide": (lambda: cka(X, np.tile(X, 9) * 1e100), ValueError, "features are too large"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
    assert cka(X[:2], X[:2] * 3, unbiased=False) == pytest.approx(1)


def test_wide_features_in_float32_keep_their_digits(rng: np.random.Generator) -> None:
    x, y = (rng.standard_normal((32, 20_000)).astype(np.float32) for _ in range(2))
    assert cka(x, y) == pytest.approx(cka(x.astype(np.float64), y.astype(np.float64)), abs=1e-9)


@pytest.mark.parametrize("kept", [0, 1 << 20], ids=["anew", "kept"])
def test_gram_matrices_are_kept_where_there_is_room(
    kept: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovcore.representations import _cka

    models = [rng.standard_normal((10, 40)) for _ in range(4)]
    whole = cka(models)
    monkeypatch.setattr(_cka, "_KEPT_NUMBERS", kept)
    np.testing.assert_allclose(cka(models), whole, atol=1e-12)
