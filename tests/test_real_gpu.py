"""Arrays of torch and cupy on a GPU that is really there: `pytest -m gpu`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

import ovcore as ov
from ovcore import BackendUnavailableError, _dispatch
from test_gpu import CALLS, check, problem

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["torch", "cupy"])
def put(request: pytest.FixtureRequest) -> Any:
    """Copies an array of numpy to the GPU, in each library."""
    try:
        _dispatch.choose("cuda", "cuda:0")
    except BackendUnavailableError as error:
        if os.environ.get("OVCORE_REQUIRE_GPU"):
            raise
        pytest.skip(str(error))
    library = pytest.importorskip(request.param)
    if request.param == "cupy":
        return library.asarray
    return lambda values: library.from_numpy(np.ascontiguousarray(values)).cuda()


@pytest.mark.parametrize("name", CALLS)
def test_every_function_gives_what_the_cpu_gives(
    name: str, put: Any, rng: np.random.Generator
) -> None:
    logits, target = problem(rng, 2000)
    check(CALLS[name], logits, target, put(logits), put(target))


def test_results_are_on_the_device_of_the_arrays(put: Any, rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    there = put(logits)
    result = ov.compare(there, put(target), temperature=1.0)
    assert type(result.accuracy) is type(there)
    assert result.ensembles.gain.device == there.device


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_16_bit_tensors(kind: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    logits, target = problem(rng, 2000)
    tensor, of = torch.from_numpy(logits).to(getattr(torch, kind)), torch.from_numpy(target)
    check(CALLS["pairs"], tensor, of, tensor.cuda(), of.cuda())
    with pytest.raises(ValueError, match="requires grad"):
        ov.pack_errors(tensor.cuda().requires_grad_(), of.cuda())


def test_work_is_queued_on_the_current_stream(rng: np.random.Generator) -> None:
    """Logits that another stream is still making are read when they are made."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    logits, target = problem(rng, 20_000)
    tensor, of = torch.from_numpy(logits).cuda(), torch.from_numpy(target).cuda()
    expected = ov.pack_errors(logits, target)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        late = torch.zeros_like(tensor)
        torch.cuda._sleep(200_000_000)
        late.copy_(tensor)
        assert ov.pack_errors(late, of) == expected


def test_each_gpu_of_several(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    logits, target = problem(rng)
    on = "cuda:1"
    tensor, of = torch.from_numpy(logits).to(on), torch.from_numpy(target).to(on)
    assert str(ov.pack_errors(tensor, of).accuracy().device) == on
    with pytest.raises(ValueError, match="is on cuda:1 but target is on cuda:0"):
        ov.pack_errors(tensor, of.to("cuda:0"))
