"""Means and covariances of features against numpy in float64: sizes, hard features, shards."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from ovcore.representations import Moments, _features, _moments, _products, covariance

DTYPES: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
SAMPLES = [2, 3, 63, 64, 65, 1000, 5000]
DIMENSIONS = [1, 15, 16, 17, 130]


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 is multiplied in float32, however little there is of it."""
    monkeypatch.setattr(_features, "_FEW_PRODUCTS", 0)


@pytest.fixture(params=["scipy", "numpy", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whose product it is; numpy's where scipy is not installed."""
    if request.param == "numpy":
        monkeypatch.setattr(_products, "_blas", lambda: None)
    return str(request.param)


def of_library(values: np.ndarray, library: str) -> Any:
    return torch.from_numpy(values) if library == "torch" else values


def errors(found: Any, x: np.ndarray, y: np.ndarray | None = None, ddof: int = 1) -> np.ndarray:
    """Differences from numpy's covariance in float64, of sqrt(C_ii C_jj)."""
    x = x.astype(np.float64)
    y = x if y is None else y.astype(np.float64)
    left, other = x - x.mean(0), y - y.mean(0)
    left, other = left - left.mean(0), other - other.mean(0)
    expected = left.T @ other / (len(x) - ddof)
    spread = np.sqrt(np.outer((left**2).sum(0), (other**2).sum(0))) / (len(x) - ddof)
    assert found.shape == expected.shape
    return abs(np.asarray(found) - expected) / spread


@pytest.mark.parametrize("n_samples", SAMPLES)
def test_float64_agrees_with_numpy(n_samples: int, backend: str, rng: np.random.Generator) -> None:
    for size in DIMENSIONS:
        x, y = rng.normal(100, 1, (n_samples, size)), rng.normal(-3, 2, (n_samples, 16))
        assert errors(covariance(x, backend=backend), x).max() < 1e-12
        assert errors(covariance(x, y, backend=backend), x, y).max() < 1e-12
    expected = np.cov(x, rowvar=False)
    np.testing.assert_allclose(covariance(x, backend=backend), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_samples", SAMPLES)
def test_float32_at_mean_100(n_samples: int, library: str, rng: np.random.Generator) -> None:
    for size in DIMENSIONS:
        x = rng.normal(100, 1, (n_samples, size)).astype(np.float32)
        y = rng.normal(100, 2, (n_samples, 17)).astype(np.float32)
        there, of_other = of_library(x, library), of_library(y, library)
        assert errors(covariance(there), x).max() < 1e-7
        assert errors(covariance(there, of_other), x, y).max() < 1e-7


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("n_samples", SAMPLES)
def test_products_of_float32(n_samples: int, library: str, rng: np.random.Generator) -> None:
    """What many features are computed by: sums of squares have the rounding of float32 sums."""
    for size in DIMENSIONS:
        x = rng.normal(100, 1, (n_samples, size)).astype(np.float32)
        assert errors(covariance(of_library(x, library)), x).max() < 1.5e-6


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("n_samples", [2000, 20_000])
def test_products_of_independent_float32_models(
    n_samples: int, library: str, rng: np.random.Generator
) -> None:
    x, y = rng.normal(100, 1, (2, n_samples, 130)).astype(np.float32)
    found = covariance(of_library(x, library), of_library(y, library))
    assert errors(found, x, y).max() < (1e-7 if n_samples > 10_000 else 2.5e-7)


def drifting(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return np.sort(rng.normal(0, 1, (n, size)), axis=0) + rng.normal(0, 0.1, (n, size))


def many_scales(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return rng.normal(5, np.logspace(-3, 9, size), (n, size))


HARD: dict[str, tuple[Callable[..., np.ndarray], float]] = {  # and what float32 may miss
    "sorted": (drifting, 1e-6),
    "tiny spread at 1e4": (lambda rng, n, size: 1e4 + rng.normal(0, 0.01, (n, size)), 2e-6),
    "behind a ReLU": (lambda rng, n, size: np.maximum(rng.normal(0, 1, (n, size)), 0), 6e-6),
    "16 bits": (lambda rng, n, size: rng.normal(0, 1, (n, size)).astype(np.float16), 1.5e-6),
    "of many scales": (many_scales, 2e-6),
}  # fmt: skip


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("name", HARD)
def test_hard_features(name: str, rng: np.random.Generator) -> None:
    make, missed = HARD[name]
    x = make(rng, 40_000, 64).astype(np.float64)
    assert errors(covariance(x), x).max() < 1e-12
    narrow = x.astype(np.float32)
    found = errors(covariance(narrow), narrow)
    assert found.max() < missed
    if name == "behind a ReLU":
        np.fill_diagonal(found, 0)  # half of a dimension has one value: its square, over and over
        assert found.max() < 1.5e-6


@pytest.mark.usefixtures("in_float32")
def test_a_first_row_far_from_the_rest(library: str, rng: np.random.Generator) -> None:
    """Among so many samples the mean of a few with it would be far from that of all."""
    x = rng.normal(0, 1, (300_000, 5))
    x[0] += 1e4
    assert errors(covariance(of_library(x, library)), x).max() < 1e-12
    narrow = x.astype(np.float32)
    # Some BLAS adds the rows of a block up one by one: beside 1e8, float32 may lose all 16,384.
    assert errors(covariance(of_library(narrow, library)), narrow).max() < 2e-4


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("value", [0.1, 0.0, -3e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_dimensions_have_no_covariance(
    dtype: str, value: float, backend: str, rng: np.random.Generator
) -> None:
    x = rng.normal(100, 1, (3000, 9)).astype(DTYPES[dtype])
    x[:, [0, 4]] = value
    total = Moments()
    for shard in np.split(x, [1, 500, 501, 1777]):
        total += Moments.from_features(shard, block_size=200, backend=backend)
    for moments in (Moments.from_features(x, backend=backend), total):
        for matrix in (moments.covariance(), moments.correlation()):
            assert not matrix[[0, 4]].any()
            assert not matrix[:, [0, 4]].any()
        assert (moments.variance() > 0).tolist() == [j not in (0, 4) for j in range(9)]
        assert moments.mean[4] == float(x[0, 4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cuts", [[], [0], [500], [1, 2, 3, 4], [63, 128, 128, 999], range(1000)])
def test_sharded_and_merged_equals_whole(cuts: Any, dtype: str, rng: np.random.Generator) -> None:
    x, y = rng.normal(100, 1, (1000, 9)).astype(dtype), rng.normal(-1, 9, (1000, 4)).astype(dtype)
    for sides in ([x], [x, y]):
        whole, total = Moments.from_features(*sides), Moments()
        for first, last in zip([0, *cuts], [*cuts, 1000], strict=True):
            shard = [side[first:last] for side in sides]
            total += Moments.from_features(*shard) if last > first else Moments()
        assert total.n_samples == 1000
        assert errors(total.covariance(), sides[0], sides[-1]).max() < 1e-12
        np.testing.assert_allclose(total.mean, x.mean(0, dtype=float), rtol=1e-14)
        np.testing.assert_allclose(total.other_mean, sides[-1].mean(0, dtype=float), rtol=1e-12)
        assert (total.sizes, total.is_of_one) == (whole.sizes, whole.is_of_one)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("block_size", [1, 2, 63, 64, 65, 999, 1000, 10**9, None])
def test_any_block_size(block_size: int | None, library: str, rng: np.random.Generator) -> None:
    x = rng.normal(100, 1, (1000, 17))
    there = of_library(x, library)
    assert errors(covariance(there, block_size=block_size), x).max() < 1e-12
    narrow = x.astype(np.float32)
    there = of_library(narrow, library)
    assert errors(covariance(there, block_size=block_size), narrow).max() < 4e-6


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("block_size", [None, 1 << 20, 5000])
def test_float32_sums_run_over_16384_samples_at_most(
    block_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed: list[int] = []

    def add(total: Any, a: Any, b: Any, _: str) -> None:
        if not total.any():
            summed.append(0)
        summed[-1] += len(a)
        total += a.T @ b

    monkeypatch.setattr(_products, "add_product", add)
    x = np.arange(100_000, dtype=np.float32)[:, None]
    covariance(x, block_size=block_size)
    assert sum(summed) == len(x)
    assert max(summed) <= _moments._MOST_ROWS == 16_384


def test_only_a_block_is_widened_at_a_time() -> None:
    rows = np.broadcast_to(np.linspace(0, 1, 512, dtype=np.float16), (100_000, 512))
    tracemalloc.start()
    Moments.from_features(rows, rows[:, :8])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6  # a widened copy has 200 MB


@pytest.mark.usefixtures("in_float32")
def test_one_side_is_symmetric_to_the_bit(library: str, backend: str) -> None:
    rng = np.random.default_rng(1)
    for size in (3, 256, 300, 515):
        x = rng.normal(1, 1, (400, size)).astype(np.float32)
        moments = Moments.from_features(of_library(x, library), backend=backend)
        for matrix in (np.asarray(moments.covariance()), np.asarray(moments.correlation())):
            np.testing.assert_array_equal(matrix, matrix.T)


def test_several_models_are_those_side_by_side(
    library: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.normal(4, 1, (300, 30))
    parts = [of_library(part, library) for part in np.split(x, [1, 17], axis=1)]
    assert errors(covariance(parts), x).max() < 1e-12
    assert errors(covariance(tuple(parts), parts[1]), x, x[:, 1:17]).max() < 1e-12
    assert errors(covariance(parts[0], parts[1:]), x[:, :1], x[:, 1:]).max() < 1e-12
    assert Moments.from_features(parts).sizes == (1, 16, 13)
    mixed = [x[:, :20].astype(np.float16), x[:, 20:].astype(np.float32), x[:, :3]]
    both = np.concatenate([part.astype(np.float64) for part in mixed], axis=1)
    assert errors(covariance(mixed), both).max() < 1e-12
    monkeypatch.setattr(_features, "_FEW_PRODUCTS", 0)
    for sides in ((mixed, mixed[0]), (mixed[1], mixed)):  # float64 throughout where one part is
        wide = [both if side is mixed else side for side in sides]
        assert errors(covariance(*sides), *wide).max() < 1e-12


def test_ddof_variance_and_correlation(library: str, rng: np.random.Generator) -> None:
    x = rng.normal(4, 1, (50, 6)) @ rng.normal(size=(6, 6))
    moments = Moments.from_features(of_library(x, library))
    for ddof in (0, 1, 7, 49):
        assert errors(covariance(of_library(x, library), ddof=ddof), x, ddof=ddof).max() < 1e-12
        assert errors(moments.covariance(ddof=ddof), x, ddof=ddof).max() < 1e-12
        variance = moments.variance(ddof=ddof)
        np.testing.assert_allclose(variance, x.var(0, ddof=ddof), rtol=1e-12)
    np.testing.assert_allclose(moments.correlation(), np.corrcoef(x.T), atol=1e-12)


@pytest.mark.usefixtures("in_float32")
def test_correlations_stay_within_one(rng: np.random.Generator) -> None:
    x = rng.normal(0, 1, (977, 30)).astype(np.float32)
    moments = Moments.from_features([x, -x, 3 * x])
    found = moments.correlation()
    assert (found.diagonal() == 1).all()
    assert (abs(found) <= 1).all()
    np.testing.assert_allclose(found[30:60, :30].diagonal(), -1, atol=1e-6)


def test_moments_of_their_own(library: str, rng: np.random.Generator) -> None:
    x = of_library(rng.normal(size=(90, 5)), library)
    first, second = Moments.from_features(x[:40]), Moments.from_features(x[40:])
    before = np.asarray(first.covariance() + 0)
    total, kept = first + second, pickle.loads(pickle.dumps(first))
    started = Moments()
    started += first
    started += second
    kept += second
    for found in (total, started, kept, Moments() + total, total + Moments()):
        assert errors(found.covariance(), np.asarray(x)).max() < 1e-12
    np.testing.assert_array_equal(first.covariance(), before)
    assert first.n_samples == 40
    total += total
    assert errors(total.covariance(ddof=0), np.asarray(x), ddof=0).max() < 1e-12
    assert repr(total) == "Moments(180 samples, 5 x 5)"
    assert repr(Moments()) == "Moments(0 samples)"


def test_samples_that_come_round_in_turn_cost_no_digits(rng: np.random.Generator) -> None:
    """A mean taken of every so many-th sample would be that of one class."""
    centers = 5 * rng.standard_normal((10, 112))
    features = centers[np.arange(96_000) % 10] + rng.standard_normal((96_000, 112))
    exact = np.cov(features.astype(np.float32).T.astype(np.float64))
    scale = np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
    error = abs(covariance(features.astype(np.float32)) - exact) / scale
    assert error.max() < 3e-7


@pytest.mark.parametrize("size", [1e-80, 1e80])
def test_correlations_of_any_size(size: float, rng: np.random.Generator) -> None:
    features = rng.standard_normal((50, 4))
    found = Moments.from_features(features * size).correlation()
    np.testing.assert_allclose(found, np.corrcoef(features.T), atol=1e-12)


def test_moments_survive_being_stored_piece_by_piece(rng: np.random.Generator) -> None:
    moments = Moments.from_features(rng.standard_normal((50, 4)))
    moments.other_mean = moments.mean.copy()  # as joblib restores it
    assert moments.variance().shape == (4,)
    moments += moments.copy()
    assert moments.n_samples == 100
