"""The one file that chooses between backends.

The arrays decide the device, and so the ladder. An explicit choice (``backend=``, else the
environment variable ``OVCORE_BACKEND``) is taken or refused, never replaced. Without one the first
rung of the ladder that can run here is taken.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
import os
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ovcore import _devices
from ovcore._arrays import Typed
from ovcore._candidates import Candidates, Scored
from ovcore._progress import Progress
from ovcore._screens import Screen

_LADDER = ("native", "numba")  # "reference" runs only when named
_GPU_LADDER = ("cuda", "numba-cuda")
_MOST_WORKERS = 1024
_WHY_MISSING = {
    "native": "the compiled core is not installed (no C++ compiler was found at installation)",
    "numba": "numba cannot be imported (pip install 'ovcore[numba]')",
    "cuda": "its module is not built (it is where nvcc and a driver are, or OVCORE_CUDA=ON)",
    "numba-cuda": "it needs cupy, and numba with numba-cuda (pip install 'ovcore[cuda]')",
}


class Backend(Protocol):
    """What every backend offers; see ovcore._reference for what each kernel means."""

    def pack_errors(
        self,
        models: Sequence[Typed | NDArray[np.integer[Any]]],  # M logits (N, K), or classes (N,)
        target: NDArray[np.int64],
        words: NDArray[np.uint64],
        preds: NDArray[np.int32] | None,
        workers: int,
        progress: Progress | None,
    ) -> list[int]: ...

    def joint_errors(
        self, words: NDArray[np.uint64], workers: int, progress: Progress | None
    ) -> NDArray[np.int64]: ...

    def joint_errors_between(
        self,
        words: NDArray[np.uint64],
        rows: range,
        cols: range,
        workers: int,
        progress: Progress | None,
    ) -> NDArray[np.int64]: ...

    def screen_pairs(
        self,
        words: NDArray[np.uint64],
        rows: range,
        cols: range,
        screen: Screen,
        workers: int,
        progress: Progress | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...

    def joint_agreement(
        self,
        preds: Sequence[NDArray[np.integer[Any]]],  # M classes (N,), lowest <= class <= highest
        lowest: int,
        highest: int,
        workers: int,
        progress: Progress | None,
    ) -> NDArray[np.int64]: ...

    def temperature_nll(
        self,
        models: Sequence[Typed],
        target: NDArray[np.int64],
        beta: NDArray[np.float64],
        workers: int,
        progress: Progress | None,
    ) -> NDArray[np.float64]: ...

    def confidences(
        self,
        models: Sequence[Typed],
        temperature: NDArray[np.float64],
        preds: NDArray[np.int32],
        confidence: NDArray[np.float32],
        workers: int,
        progress: Progress | None,
    ) -> None: ...

    def candidate_scores(
        self,
        scored: Scored,
        preds: NDArray[np.int32],
        target: NDArray[np.int64],
        all_samples: bool,
        workers: int,
        progress: Progress | None,
    ) -> Candidates: ...

    def pair_ensemble_hits(
        self,
        scored: Scored | None,
        n_models: int,
        candidates: Candidates,
        workers: int,
        progress: Progress | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...

    def candidate_hits(
        self,
        scored: Scored | None,
        n_models: int,
        candidates: Candidates,
        members: NDArray[np.int64],
        running: NDArray[np.float64],
        outside: NDArray[np.float64],
        right: NDArray[np.bool_],
        workers: int,
    ) -> NDArray[np.int64]: ...

    def ensemble_predictions(
        self,
        scored: Scored,
        weights: NDArray[np.float64],
        preds: NDArray[np.int32],
        workers: int,
        progress: Progress | None,
    ) -> NDArray[np.int32]: ...

    def angle_histogram(
        self,
        confidence: NDArray[np.float32],
        right: NDArray[np.bool_],
        pairs: NDArray[np.int64],
        slopes: NDArray[np.float64],
        keep: NDArray[np.bool_],
        workers: int,
        progress: Progress | None,
    ) -> NDArray[np.int64]: ...

    def center_rows(  # in host memory alone: libraries on GPUs have these operations
        self,
        parts: Sequence[Typed],  # P features (N, D_p)
        pilots: Sequence[NDArray[np.floating[Any]]],  # P (D_p,), float32 or float64 as the next two
        out: Sequence[NDArray[np.floating[Any]]],  # P (N, D_p), written
        sums: Sequence[NDArray[np.floating[Any]]],  # P (D_p,), written
        workers: int,
    ) -> None: ...


class BackendUnavailableError(RuntimeError):
    """The backend asked for cannot run here, or none can; the message says why."""


def choose(name: str | None = None, library: str = "numpy") -> Backend:
    """The backend called ``name``, or the one in force where name is None, for some arrays.

    Args:
        name: of the backend.
        library: whose arrays it is to read, see :func:`ovcore._arrays.library_of`.

    Raises:
        ValueError: there is no backend of that name.
        BackendUnavailableError: it cannot run here, or does not read such arrays.
    """
    device = _devices.device_number(library)
    asked = name or os.environ.get("OVCORE_BACKEND")
    if asked:
        known = (*_LADDER, *_GPU_LADDER, "reference")
        if asked not in known:
            source = "backend" if name else "OVCORE_BACKEND"
            raise ValueError(f"{source} must be one of {', '.join(known)}: got {asked!r}")
        if (asked in _GPU_LADDER) != (device is not None):
            reads = "on NVIDIA GPUs" if asked in _GPU_LADDER else "in host memory"
            there = "in host memory" if device is None else f"on cuda:{device}"
            raise BackendUnavailableError(
                f"backend {asked!r} reads arrays {reads}, but these are {there}"
            )
        return _load(asked)
    problems = []
    for rung in _LADDER if device is None else _GPU_LADDER:
        try:
            return _load(rung)
        except BackendUnavailableError as error:
            problems.append(str(error))
    raise BackendUnavailableError("; ".join(problems))


@functools.cache
def _load(name: str) -> Backend:
    try:
        module = importlib.import_module(f"ovcore._{name.replace('-', '_')}")
    except ImportError as error:
        why = _WHY_MISSING.get(name, "it cannot be imported")
        raise BackendUnavailableError(f"backend {name!r} cannot run: {why}: {error}") from error
    if name == "native":
        module.instruction_set()  # an OVCORE_ISA that this chip lacks is refused here
    if name in _GPU_LADDER:
        try:
            module.devices()
        except RuntimeError as error:
            raise BackendUnavailableError(f"backend {name!r} cannot run: {error}") from error
    if name == "numba-cuda" and _devices.is_built():
        raise BackendUnavailableError(f"backend {name!r} cannot run beside the compiled module")
    return cast(Backend, module)


_limit: ContextVar[int] = ContextVar("ovcore_limit_of_workers", default=_MOST_WORKERS)


@contextlib.contextmanager
def limit_workers(workers: int) -> Iterator[None]:
    """While it lasts, functions called in this thread use so many threads where none are asked for.

    For programs that share out the cores themselves, such as schedulers that run several tasks at
    once. What is passed as ``workers=`` is taken as it is.

    Raises:
        TypeError, ValueError: not an integer of at least 1.

    >>> import ovcore as ov
    >>> with ov.limit_workers(1):
    ...     counts = ov.pairwise.joint_errors(ov.pack_errors([[0, 1]], [0, 0]))
    """
    token = _limit.set(count_workers(workers))
    try:
        yield
    finally:
        _limit.reset(token)


def count_workers(workers: int | None) -> int:
    """Threads to use: ``workers``, or all cores this process may run on, within the limit."""
    if workers is None:
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        return min(cores, _limit.get())
    try:
        count = operator.index(workers)
    except TypeError:
        raise TypeError(f"workers must be an integer, got {workers!r}") from None
    if count < 1:
        raise ValueError(f"workers must be at least 1, got {count}")
    return min(count, _MOST_WORKERS)


def info() -> dict[str, str]:
    """What was found on this machine, in words, and why something is missing."""
    import platform
    from importlib import metadata

    found = {
        "ovcore": metadata.version("ovcore"),
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": str(count_workers(None)),
    }
    for name in _LADDER:
        try:
            backend = _load(name)
            found[f"backend {name}"] = "available"
            if name == "native":
                found["instruction set"] = cast(Any, backend).instruction_set()
        except (BackendUnavailableError, RuntimeError) as error:
            found[f"backend {name}"] = f"missing: {error}"
    try:
        chosen = cast(Any, choose()).__name__.rpartition("._")[2]
    except (BackendUnavailableError, RuntimeError, ValueError) as error:
        chosen = f"none: {error}"
    found["backend in use"] = chosen
    for name in _GPU_LADDER:
        try:
            found[f"backend {name}"] = "; ".join(cast(Any, _load(name)).devices())
        except BackendUnavailableError as error:
            found[f"backend {name}"] = f"missing: {error}"
    for package in ("numpy", "numba", "torch", "cupy", "scikit-learn", "safetensors"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
