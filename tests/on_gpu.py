"""Kernels on GPUs for tests that speak numpy, and the simulated GPUs where there is none.

The simulated module is the compiled one with cpp/tests/simt in place of the CUDA toolkit: every
thread of a kernel is a fiber, and "GPU memory" is host memory that is poisoned when allocated.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from pathlib import Path
from typing import Any

import numpy as np

import ovcore
from ovcore import _arrays, _devices, _dispatch
from ovcore._arrays import Typed
from ovcore._candidates import Candidates, Scored

SIMULATED = "simulated-cuda"
_FOLDER = Path(__file__).parents[1] / "build" / "cpp-tests" / "simulated"


@functools.cache
def simulated_module() -> Any:
    """The module that runs kernels on the CPU; None where there was no compiler."""
    path = _FOLDER / f"_cuda{EXTENSION_SUFFIXES[0]}"
    if not path.is_file():
        if os.environ.get("OVCORE_REQUIRE_NATIVE"):
            raise FileNotFoundError(f"{path} is missing: make test builds it")
        return None
    loader = ExtensionFileLoader("simulated._cuda", str(path))
    spec = importlib.util.spec_from_loader("simulated._cuda", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@contextmanager
def simulated() -> Iterator[Any]:
    """While it lasts, the simulated GPUs are the ones there are."""
    module = simulated_module()
    before = sys.modules.get("ovcore._cuda"), getattr(ovcore, "_cuda", None)
    sys.modules["ovcore._cuda"], ovcore._cuda = module, module
    _dispatch._load.cache_clear()
    _devices.look_for_gpus.cache_clear()
    try:
        yield module
    finally:
        _dispatch._load.cache_clear()
        for holder, was in ((sys.modules, before[0]), (vars(ovcore), before[1])):
            key = "ovcore._cuda" if holder is sys.modules else "_cuda"
            if was is None:
                del holder[key]
            else:
                holder[key] = was


def place(device: int = 0) -> Any:
    return _arrays.place(f"cuda:{device}")


def put(values: np.ndarray, dtype: str | None = None, device: int = 0) -> Any:
    """A copy on a GPU, as strided and as badly aligned as the values are."""
    low, high = np.lib.array_utils.byte_bounds(values)
    shift = low % 256
    region = np.zeros(shift + high - low, np.uint8)
    if values.size:
        region[shift:] = np.frombuffer((ctypes.c_uint8 * (high - low)).from_address(low), np.uint8)
    there = _devices.upload(region, place(device))
    first = there.address + shift + values.__array_interface__["data"][0] - low
    kind = dtype or values.dtype.name
    return _devices.module().DeviceArray(
        place(device), kind, list(values.shape), list(values.strides), first, there
    )


class OnGpu:
    """The kernels of ovcore._cuda, taking and giving numpy's arrays."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def pack_errors(self, models: Any, target: Any, words: Any, preds: Any, *rest: Any) -> Any:
        there = put(words), None if preds is None else put(preds)
        without = self._module.pack_errors(_models(models), put(target), *there, *rest)
        words[...] = there[0].numpy()
        if preds is not None:
            preds[...] = there[1].numpy()
        return without

    def joint_errors(self, words: Any, *rest: Any, **options: Any) -> Any:
        return self._module.joint_errors(put(words), *rest, **options)

    def joint_errors_between(self, words: Any, *rest: Any) -> Any:
        return self._module.joint_errors_between(put(words), *rest)

    def screen_pairs(self, words: Any, *rest: Any) -> Any:
        return self._module.screen_pairs(put(words), *rest)

    def joint_agreement(self, preds: Any, *rest: Any) -> Any:
        return self._module.joint_agreement([put(row) for row in preds], *rest)

    def class_span(self, preds: Any) -> Any:
        return self._module.class_span([put(row) for row in preds])

    def temperature_nll(self, models: Any, target: Any, beta: Any, *rest: Any) -> Any:
        return self._module.temperature_nll(_models(models), put(target), beta, *rest)

    def confidences(self, models: Any, temperature: Any, preds: Any, confidence: Any, *rest: Any):
        there = put(preds), put(confidence)
        self._module.confidences(_models(models), temperature, *there, *rest)
        preds[...], confidence[...] = (array.numpy() for array in there)

    def candidate_scores(self, scored: Any, preds: Any, target: Any, *rest: Any) -> Candidates:
        found = self._module.candidate_scores(_scored(scored), put(preds), put(target), *rest)
        return Candidates(*(array.numpy() for array in found[:-1]), found[-1])

    def pair_ensemble_hits(self, scored: Any, n_models: int, candidates: Any, *rest: Any) -> Any:
        there = _candidates(candidates)
        return self._module.pair_ensemble_hits(_scored(scored), n_models, there, *rest)

    def candidate_hits(self, scored: Any, n_models: int, candidates: Any, *rest: Any) -> Any:
        there = _candidates(candidates)
        return self._module.candidate_hits(_scored(scored), n_models, there, *rest)

    def ensemble_predictions(self, scored: Any, weights: Any, preds: Any, *rest: Any) -> Any:
        return self._module.ensemble_predictions(_scored(scored), weights, put(preds), *rest)

    def angle_histogram(self, confidence: Any, *rest: Any) -> Any:
        return self._module.angle_histogram(put(confidence), *rest)


def _models(models: Any) -> list[Any]:
    return [
        Typed(put(model.values, model.dtype), model.dtype)
        if isinstance(model, Typed)
        else put(model)
        for model in models
    ]


def _scored(scored: Scored) -> Scored:
    return scored._replace(models=_models(scored.models))


def _candidates(candidates: Candidates) -> Candidates:
    return Candidates(*(put(array) for array in candidates[:-1]), candidates[-1])


def kernels(name: str) -> Any:
    """A backend's kernels by its name, for arrays of numpy."""
    if name in (SIMULATED, "cuda"):
        return OnGpu(_devices.module())
    return _dispatch.choose(name)


class Producer:
    """An array on a simulated GPU, of a library that nobody knows; notes how it was asked."""

    def __init__(self, values: np.ndarray, dtype: str | None = None, device: int = 0) -> None:
        self._array = put(np.ascontiguousarray(values), dtype, device)
        self.asked: list[dict[str, Any]] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        self.asked.append(options)
        return self._array.__dlpack__(**options)
