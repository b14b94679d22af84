"""Features of torch and cupy on a GPU that is really there, against the CPU: `pytest -m gpu`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ovcore.representations import (
    LinearProbe,
    Moments,
    cka,
    covariance,
    mix_features,
    rank_features,
)

pytestmark = pytest.mark.gpu

SCORES = ("sum", "cross", "max", "raw", "variance")


def merged(x: Any, y: Any) -> Moments:
    total = Moments()
    for first in range(0, len(x), 70):
        total += Moments.from_features([x[first : first + 70], y[first : first + 70]])
    return total


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "covariance": lambda x, _: covariance(x),
    "covariance of two": lambda x, y: covariance(x, y, ddof=0),
    "covariance of several": lambda x, y: covariance([x, y, x[:, :1]], block_size=19),
    "merged": lambda x, y: merged(x, y).covariance(),
    "mean": lambda x, y: merged(x, y).mean,
    "variance": lambda x, y: merged(x, y).variance(),
    "correlation": lambda x, y: merged(x, y).correlation(),
    "cka": lambda x, y: cka([x, y]),
    "biased cka": lambda x, y: cka([x, y], unbiased=False),
    "cka of few samples": lambda x, y: cka([x[:5], y[:5]]),
    "mixed": lambda x, y: mix_features(x, y, rate=0.4, seed=3),
    **{
        f"ranked by {score}": lambda x, y, score=score: rank_features(x, y, score=score).scores
        for score in SCORES
    },
}


@pytest.fixture(params=["torch", "cupy"])
def put(request: pytest.FixtureRequest) -> Any:
    """Copies an array of numpy to the GPU, in each library."""
    library = pytest.importorskip(request.param)
    if not library.cuda.is_available():
        if os.environ.get("OVCORE_REQUIRE_GPU"):
            pytest.fail(f"{request.param} finds no GPU")
        pytest.skip(f"{request.param} finds no GPU")
    if request.param == "cupy":
        return library.asarray
    return lambda values: library.from_numpy(np.ascontiguousarray(values)).cuda()


def on_host(array: Any) -> np.ndarray:
    return array.get() if hasattr(array, "get") else array.cpu().numpy()


def error(found: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The largest, of sqrt(C_ii C_jj), against numpy in float64."""
    left, other = (side.astype(np.float64) - side.mean(0, dtype=np.float64) for side in (x, y))
    spread = np.outer((left**2).sum(0), (other**2).sum(0)) ** 0.5
    return float((abs(on_host(found) * (len(x) - 1) - left.T @ other) / spread).max())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_features_give_what_the_cpu_gives(
    name: str, dtype: str, put: Any, rng: np.random.Generator
) -> None:
    x, y = (rng.normal(3, 1, (200, size)).astype(dtype) for size in (300, 7))
    x[:, 5] = 0.1
    there, expected = put(x), CALLS[name](x, y)
    found = CALLS[name](there, put(y))
    assert (type(found), found.device) == (type(there), there.device)
    assert on_host(found).dtype == expected.dtype
    np.testing.assert_allclose(on_host(found), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("score", SCORES)
def test_order(score: str, put: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 3000, 60))
    x[:, 2] = 7
    found, expected = (rank_features(a, b, score=score) for a, b in ((put(x), put(y)), (x, y)))
    np.testing.assert_array_equal(on_host(found.order), expected.order)
    assert (found.n_constant, found.sizes) == (1, (60, 60))


def test_products_of_float32(put: Any, rng: np.random.Generator) -> None:
    """Several blocks, and more than is computed in float64."""
    x, y = rng.normal(100, 1, (2, 40_000, 512)).astype(np.float32)
    assert error(covariance(put(x)), x, x) < 2e-6
    assert error(covariance(put(x), put(y)), x, y) < 1e-6
    found = on_host(covariance(put(x)))
    np.testing.assert_array_equal(found, found.T)


def test_tensors_are_multiplied_in_full(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    x = rng.normal(0, 1, (40_000, 512)).astype(np.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            assert error(covariance(torch.from_numpy(x).cuda()), x, x) < 4e-6
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_bfloat16_tensors(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    x = torch.from_numpy(rng.normal(3, 1, (500, 60))).to(torch.bfloat16)
    assert error(covariance(x.cuda()), *2 * [x.double().numpy()]) < 1e-11
    assert mix_features(x.cuda(), x.cuda(), rate=0.5).dtype == torch.bfloat16
    assert cka(x.cuda(), x.cuda()[:, :9]) == pytest.approx(cka(x, x[:, :9]), rel=1e-9)
    with pytest.raises(ValueError, match="features requires grad"):
        covariance(x.cuda().requires_grad_())


def test_refused(put: Any) -> None:
    x = np.eye(5, 3)
    with pytest.raises(ValueError, match=r"features is of (torch|cupy):cuda:0 but other of numpy"):
        covariance(put(x), x)
    with pytest.raises(ValueError, match="features has NaN or infinite values in 3 of 3"):
        covariance(put(x * np.nan))
    with pytest.raises(ValueError, match="moments of numpy cannot be added to those of .*:cuda:0"):
        Moments.from_features(put(x)) + Moments.from_features(x)
    with pytest.raises(TypeError, match="features must be .*, got int64"):
        covariance(put(np.ones((5, 3), np.int64)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_linear_probe(dtype: str, n_classes: int, put: Any, rng: np.random.Generator) -> None:
    target = rng.integers(0, n_classes, 900)
    x = (rng.normal(3, 1, (900, 40)) + np.eye(40)[target]).astype(dtype)
    there = put(x)
    probe, expected = (LinearProbe(C=0.1, tol=1e-8).fit(given, target) for given in (there, x))
    assert probe.loss_ == pytest.approx(expected.loss_, rel=1e-8)
    logits = probe.predict_logits(there)
    assert (type(logits), logits.device) == (type(there), there.device)
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(on_host(logits), expected.predict_logits(x), **close)
    np.testing.assert_allclose(on_host(probe.predict_proba(there)).sum(1), 1, rtol=1e-5)
    assert probe.score(there, target) == pytest.approx(expected.score(x, target), abs=0.01)
    np.testing.assert_array_equal(on_host(probe.predict(there)), on_host(logits).argmax(1))


def test_each_gpu_of_several(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    x = torch.from_numpy(rng.normal(size=(50, 6)))
    for found in (covariance(x.to("cuda:1")), rank_features(x.to("cuda:1")).order):
        assert str(found.device) == "cuda:1"
    with pytest.raises(ValueError, match="features is of torch:cuda:1 but other of torch:cuda:0"):
        covariance(x.to("cuda:1"), x.to("cuda:0"))
