"""What is asked of torch and cupy where features of theirs are on a GPU, without one.

Tensors stay in host memory but take the path of a GPU; arrays of cupy are stand-ins that refuse
what cupy refuses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fake_cupy import FakeCupy
from on_gpu import Producer
from ovcore import _arrays
from ovcore._arrays import Typed
from ovcore.representations import (
    Moments,
    _centering,
    _cka,
    _features,
    cka,
    covariance,
    mix_features,
    rank_features,
)
from test_real_gpu_features import CALLS, SCORES


def only_for_kernels(_: Any, name: str) -> None:
    raise AssertionError(f"{name} became a view that knows no arithmetic")


@pytest.fixture(params=["torch", "cupy"])
def put(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Gives arrays to a library whose arrays take the path of a GPU."""
    if request.param == "cupy":
        cupy = FakeCupy("cupy")
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setattr(_arrays, "_view_on_gpu", only_for_kernels)
        return cupy.asarray

    def read_part(part: torch.Tensor, _: str) -> Typed:
        return Typed(part, str(part.dtype).removeprefix("torch."))

    monkeypatch.setattr(_features, "_read_part", read_part)
    monkeypatch.setattr(_features.Features, "on_gpu", True)
    return torch.from_numpy


def on_host(array: Any) -> np.ndarray:
    return array.get() if hasattr(array, "get") else array.numpy()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_features_on_a_gpu_give_what_those_in_host_memory_give(
    name: str, dtype: str, put: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cka, "_GRAM_NUMBERS", 300)
    x, y = (rng.normal(3, 1, (200, size)).astype(dtype) for size in (300, 7))
    x[:, 5] = 0.1
    found = CALLS[name](put(x), put(y))
    assert type(found) is type(put(x))
    monkeypatch.undo()
    expected = CALLS[name](x, y)
    assert on_host(found).dtype == expected.dtype
    np.testing.assert_allclose(on_host(found), expected, rtol=1e-11, atol=1e-12)


def test_float32_products_on_a_gpu(
    put: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_features, "_FEW_PRODUCTS", 0)
    monkeypatch.setattr(_centering, "_GPU_BLOCK_NUMBERS", 100 * 40)
    x = rng.normal(100, 1, (1000, 40)).astype(np.float32)
    np.testing.assert_allclose(on_host(covariance(put(x))), np.cov(x.T.astype(float)), atol=2e-6)
    with pytest.raises(ValueError, match="too large: their squares overflow float32"):
        covariance(put((x - 100) * np.float32(1e25)))


@pytest.mark.parametrize("score", SCORES)
def test_order_on_a_gpu(score: str, put: Any, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 100, 6))
    x[:, 2] = 7
    found = rank_features([put(x), put(y)], score=score)
    order = on_host(found.order)
    assert order.dtype == np.int64
    assert order[-1] == 2
    assert found.n_constant == 1
    np.testing.assert_array_equal(
        on_host(found.scores)[order[:-1]], np.sort(on_host(found.scores))[:-1]
    )


def test_errors_on_a_gpu(put: Any) -> None:
    x = np.ones((5, 3))
    with pytest.raises(ValueError, match=r"NaN or infinite values in 1 of 3 dimensions, .* 1$"):
        covariance(put(np.where(np.arange(3) == 1, np.nan, x)))
    with pytest.raises(ValueError, match="features has 5 samples but other has 4"):
        covariance(put(x), put(x[:4]))
    with pytest.raises(ValueError, match=r"features is of \w+(:cuda:0)? but other of numpy"):
        covariance(put(x), x)
    assert np.isnan(cka(put(x), put(x)))


def test_what_is_refused_of_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = FakeCupy("cupy")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(TypeError, match="features must be float16, .*, got int64"):
        covariance(cupy.asarray(np.ones((5, 3), np.int64)))
    with pytest.raises(ValueError, match=r"features must be \(N, D\) .* got shape \(5,\)"):
        covariance(cupy.asarray(np.ones(5)))
    x = cupy.asarray(np.eye(5))
    moments = Moments.from_features(x)
    with pytest.raises(
        ValueError, match="moments of numpy cannot be added to those of cupy:cuda:0"
    ):
        moments += Moments.from_features(np.eye(5))
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(x)


@pytest.mark.usefixtures("gpus")
def test_arrays_on_a_gpu_that_belong_to_neither_are_refused() -> None:
    producer = Producer(np.ones((5, 3)))
    for call in (covariance, rank_features, lambda x: cka(x, x), lambda x: covariance([x, x])):
        with pytest.raises(ValueError, match=r"features(\[0\])? is on cuda:0, where torch or cupy"):
            call(producer)
    with pytest.raises(ValueError, match="base is on cuda:0, where torch or cupy"):
        mix_features(producer, producer, rate=0.5)
