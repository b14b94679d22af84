"""Random inputs of kernels in host memory, the same on a GPU, and what makes one answer another's.

Nothing here or in gpu_checks.py needs torch or cupy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ovcore import _arrays, _devices, _dispatch, _reference
from ovcore._arrays import Typed, widen
from ovcore._candidates import Scored
from ovcore._devices import DeviceArray, Place

DTYPES = ("float32", "float64", "float16", "bfloat16")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
POISON = 0xA5  # of every byte that nobody wrote
SMALL = 300_000  # numbers that the oracle is asked to look at
WORKERS = 16
T = TypeVar("T")


class NotHereError(Exception):
    """What is to be checked is not on this machine; the message says what is missing."""


class Case(NamedTuple):
    """One answer and what it must be."""

    what: str
    found: Any
    expected: Any
    rtol: float = 0.0
    atol: float = 0.0


def difference(case: Case) -> str | None:
    """How an answer differs from what it must be; None where it does not. NaN is NaN."""
    found, expected = np.asarray(case.found), np.asarray(case.expected)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype} {found.shape}, expected {expected.dtype} {expected.shape}"
    if case.rtol or case.atol:
        same = np.isclose(found, expected, case.rtol, case.atol, equal_nan=True)
    else:
        same = (found == expected) | ((found != found) & (expected != expected))
    if same.all():
        return None
    at = tuple(int(i) for i in np.argwhere(~same)[0])
    return (
        f"{np.count_nonzero(~same):,} of {same.size:,} differ, first at {at}: "
        f"{found[at]!r}, expected {expected[at]!r}"
    )


@dataclass(frozen=True)
class Setting:
    """How much is checked ("full", "small" or "tiny"), and with what random numbers."""

    size: str
    rng: np.random.Generator

    @property
    def cuda(self) -> Any:
        """The module that is checked."""
        return _devices.module()

    def pick(self, full: T, small: T, tiny: T) -> T:
        return {"full": full, "small": small, "tiny": tiny}[self.size]

    @property
    def host(self) -> Any:
        """The CPU's best backend."""
        return _dispatch.choose()

    def oracles(self, numbers: int) -> list[Any]:
        """That, and for little work the oracle as well."""
        return [self.host, *([_reference] if numbers <= SMALL else [])]


def poisoned() -> Place:
    """Memory of the first GPU in which whatever kernels and their scratch do not write shows."""
    plain = _arrays.place("cuda:0")

    def allocate(n_bytes: int) -> tuple[int, object]:
        memory = _devices.upload(np.full(n_bytes, POISON, np.uint8), plain)
        return memory.address, memory

    return plain._replace(allocate=allocate)


def put(values: np.ndarray, dtype: str | None = None) -> DeviceArray:
    """A copy on the GPU; of bfloat16, which numpy lacks, the values are its bits."""
    there = _devices.upload(np.ascontiguousarray(values), poisoned())
    return retyped(there, dtype or there.dtype)


def retyped(array: DeviceArray, dtype: str) -> DeviceArray:
    """The same memory, read as elements of another type."""
    shape, strides = list(array.shape), list(array.strides)
    kind = _devices.module().DeviceArray
    return kind(array.place, dtype, shape, strides, array.address, array)


def put_apart(values: np.ndarray, dtype: str | None = None, before: int = 1, after: int = 2) -> Any:
    """The same, where rows have poison before and after: they begin at any multiple of an element.

    A kernel that reads beside its rows reads poison, not zeros.
    """
    rows, cols = values.shape
    width = before + cols + after
    wide = np.full(rows * width * values.itemsize, POISON, np.uint8).view(values.dtype)
    wide = wide.reshape(rows, width)
    wide[:, before : before + cols] = values
    return put(wide, dtype)[:, before : before + cols]


def empty(shape: Sequence[int], dtype: str) -> DeviceArray:
    """A new array on the GPU that is poisoned."""
    return _devices.empty(shape, dtype, poisoned())


def typed(values: np.ndarray, dtype: str) -> Typed:
    """Values in that type; bfloat16 as its bits, cut off rather than rounded."""
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "bfloat16":
            bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
            return Typed((bits >> 16).astype(np.uint16), dtype)
        return Typed(values.astype(dtype), dtype)


def models_there(models: Sequence[Typed]) -> list[Typed]:
    """The same logits on the GPU; every other model's rows lie as badly aligned as they may."""
    places = (put, put_apart)
    return [
        Typed(places[m % 2](model.values, model.dtype), model.dtype)
        for m, model in enumerate(models)
    ]


def rows_of(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """(N, K) logits that decide a prediction: plain ones, ties, special values, or any bits."""
    if kind == "plain":
        return rng.standard_normal(shape)
    if kind == "ties":
        return rng.integers(-2, 3, shape).astype(float)
    if kind == "special":
        values = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan, -np.nan])
        return rng.choice(values, shape, p=[0.3, 0.2, 0.2, 0.2, 0.05, 0.03, 0.01, 0.01])
    bits = np.frombuffer(rng.bytes(4 * shape[0] * shape[1]), np.float32)
    with np.errstate(invalid="ignore"):
        return bits.reshape(shape).astype(np.float64)


class Zoo(NamedTuple):
    """M models on N samples, in host memory and on the GPU."""

    models: list[Typed]
    there: list[Typed]
    target: np.ndarray  # (N,)
    preds: np.ndarray  # (M, N) what they predict
    temperature: np.ndarray  # (M,)

    def scored(self, combine: str) -> tuple[Scored, Scored]:
        """For kernels in host memory, and on the GPU."""
        here = Scored(self.models, self.temperature, combine)
        return here, here._replace(models=self.there)

    def numbers(self) -> int:
        return sum(model.values.size for model in self.models)


def zoo(rng: np.random.Generator, n_models: int, n_samples: int, n_classes: int, kind: str) -> Zoo:
    """Models of all element types that share what a sample looks like, and often agree.

    kind: "plain"; "ties", small integers; "outsiders", where a class that no model predicts wins
    most ensembles.
    """
    shape = (n_samples, n_classes)
    target = rng.integers(0, n_classes, n_samples)
    common = 2 * rng.standard_normal(shape)
    common[np.arange(n_samples), target] += rng.exponential(5.0, n_samples)
    models = []
    for m in range(n_models):
        z = common + rng.standard_normal(shape)
        if kind == "ties":
            z = np.rint(z / 2)
        if kind == "outsiders":
            z = 0.01 * rng.standard_normal(shape)
            z[:, n_classes // 2] += 1.0
            z[np.arange(n_samples), rng.integers(0, n_classes, n_samples)] = 1.05
        models.append(typed(z, DTYPES[m % len(DTYPES)]))
    preds = np.array([widen(model).argmax(axis=1) for model in models], np.int32)
    temperature = rng.uniform(0.5, 2.0, n_models)
    return Zoo(models, models_there(models), target, preds, temperature)


def zoos(s: Setting) -> Iterator[tuple[str, Zoo]]:
    """Zoos of all kinds at awkward sizes, and what to call each."""
    shapes = s.pick(
        [(1, 64, 10), (2, 1, 2), (3, 63, 3), (16, 65, 17), (17, 127, 100), (5, 1000, 7),
         (40, 500, 64), (82, 700, 1000), (5, 20_000, 10), (4, 70, 30_011)],
        [(1, 20, 5), (3, 65, 17), (17, 40, 10), (4, 33, 200)],
        [(3, 20, 7)],
    )  # fmt: skip
    for shape in shapes:
        for kind in ("plain", "ties", "outsiders"):
            if kind != "plain" and (np.prod(shape) > 10_000_000 or shape[2] < 3):
                continue
            n_models, n_samples, n_classes = shape
            yield f"{n_models} x {n_samples} x {n_classes} {kind}", zoo(s.rng, *shape, kind)
