"""Blocks of samples, tasks that count them, and a tree of tasks that adds up."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import dask

import ovcore as ov
from ovcore.adapters.dask._outputs import Place

if TYPE_CHECKING:
    from distributed import Client

CANONICAL = 1 << 14
"""Samples over which floating-point sums run; see :func:`ovcore.calibration.nll_sums`."""

AT_ONCE = 8
"""Of such sums, so many are added at a time."""

_BLOCK_BYTES = 1 << 28
_FEWEST = 1 << 12  # samples: tasks of less are not worth Dask's millisecond each
_TASKS_PER_THREAD = 4


class Options(NamedTuple):
    """How work is spread; checked."""

    client: Client | None = None
    block_size: int | None = None
    split_every: int = AT_ONCE
    workers: int = 1

    @classmethod
    def read(
        cls,
        client: Client | None,
        block_size: int | None,
        split_every: int = AT_ONCE,
        workers: int = 1,
    ) -> Options:
        """Refuses what is no number of samples, results or threads."""
        if client is not None and not hasattr(client, "compute"):
            raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
        if block_size is not None:
            block_size = _at_least(block_size, 1, "block_size")
        every = _at_least(split_every, 2, "split_every")
        return cls(client, block_size, every, _at_least(workers, 1, "workers"))

    def threads(self) -> int:
        """Of the whole cluster; or of this machine."""
        client = self.client
        if client is None:
            with contextlib.suppress(ImportError, ValueError):  # without one
                from distributed import default_client

                client = default_client()
        if client is not None:
            return max(1, sum(client.nthreads().values()))
        return os.cpu_count() or 1


def count_edges(n_samples: int, sample_bytes: int, options: Options) -> list[int]:
    """Where blocks of samples begin, and N; of counts, which may be divided anywhere."""
    size = options.block_size
    if size is None:
        shared = -(-n_samples // (options.threads() * _TASKS_PER_THREAD))
        size = max(1, min(_BLOCK_BYTES // sample_bytes, max(shared, _FEWEST)))
        for multiple in (CANONICAL, 64):
            size = size // multiple * multiple if size > multiple else size
    return [*range(0, n_samples, size), n_samples]


def canonical_edges(n_samples: int, sample_bytes: int, options: Options) -> list[int]:
    """The same of sums in floating point: whole groups of 8, 64, ... canonical blocks."""
    size = CANONICAL
    most = options.block_size or min(
        _BLOCK_BYTES // sample_bytes, n_samples // (options.threads() * _TASKS_PER_THREAD)
    )
    while size * AT_ONCE <= min(most, n_samples):
        size *= AT_ONCE
    return [*range(0, n_samples, size), n_samples]


def model_edges(n_models: int, n_blocks: int, block_bytes: int, options: Options) -> list[int]:
    """Where groups of models begin, and M: small enough for a task, and enough for all threads."""
    groups = max(
        -(-block_bytes // _BLOCK_BYTES), -(-options.threads() * _TASKS_PER_THREAD // n_blocks)
    )
    return [*range(0, n_models, math.ceil(n_models / min(groups, n_models))), n_models]


def tasks(
    name: str, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], workers: int
) -> list[Any]:
    """One task for each (place, outputs, target, ...), on so many threads each."""
    run = dask.delayed(_run, traverse=True)
    token = uuid.uuid4().hex
    return [
        run(function, workers, *some, dask_key_name=f"{name}-{token}-{i}")
        for i, some in enumerate(arguments)
    ]


def tree(name: str, merge: Callable[..., Any], parts: list[Any], split_every: int) -> Any:
    """Adds results a few at a time, in their order, until one is left."""
    name = f"add-{name}"
    run = dask.delayed(merge)
    while len(parts) > 1:
        token = uuid.uuid4().hex
        parts = [
            run(parts[i : i + split_every], dask_key_name=f"{name}-{token}-{i}")
            if i + 1 < len(parts)
            else parts[i]
            for i in range(0, len(parts), split_every)
        ]
    return parts[0]


def compute(what: Any, options: Options) -> Any:
    """Runs a graph where it is to run, and waits."""
    with warnings.catch_warnings():
        # Labels in memory travel with the graph: scattered ones would be lost with their worker.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        if options.client is not None:
            return options.client.compute(what, sync=True)
        return dask.compute(what)[0]


def added(parts: Sequence[Any]) -> Any:
    """The sum of counts; they stay as they are."""
    total = parts[0]
    for more in parts[1:]:
        total = total + more
    return total


def _run(function: Callable[..., Any], workers: int, place: Place, *arguments: Any) -> Any:
    with ov.limit_workers(workers), _placed(place):
        return function(place, *arguments)


@contextlib.contextmanager
def _placed(place: Place) -> Iterator[None]:
    """Says which samples of the whole an error is about."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if type(error) not in (ValueError, TypeError):
            raise
        models = f" and models from {place.low} to {place.high - 1}" if place.low else ""
        what = "of each " if models else ""
        raise type(error)(
            f"in samples from {place.first} to {place.stop - 1}{models}, counted {what}from the "
            f"first: {error}"
        ) from error


def _at_least(value: Any, least: int, name: str) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    return count
