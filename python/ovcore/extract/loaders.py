"""Loaders whose order is the same every time, and their batches without those that are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def refuse_shuffled(loader: Iterable[Any]) -> None:
    """Raises ValueError where a DataLoader's order changes from one pass to the next.

    Seen by its samplers: the random ones, one with ``shuffle``, or any that gives another order
    when it is asked twice. What a dataset itself does is not seen.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return
    batches = loader.batch_sampler
    inner = getattr(batches, "sampler", None)
    for sampler in (loader.sampler, batches, inner):
        if isinstance(sampler, _RANDOM) or getattr(sampler, "shuffle", False) is True:
            _refuse(sampler)
    order = loader.sampler if batches is None else batches
    if type(order) is BatchSampler and isinstance(inner, SequentialSampler):
        return
    if not isinstance(order, SequentialSampler):
        with torch.random.fork_rng(devices=[]):
            if list(order) != list(order):
                _refuse(order)


def _refuse(sampler: Sampler[Any] | Iterable[Any] | None) -> None:
    raise ValueError(
        f"loader shuffles its samples ({type(sampler).__name__}): outputs are stored in one order; "
        "pass DataLoader(..., shuffle=False)"
    )


def count_samples(loader: Iterable[Any]) -> int | None:
    """Samples that a DataLoader gives, where it tells."""
    if not isinstance(loader, DataLoader) or loader.batch_sampler is None:
        return None
    streams = isinstance(loader.dataset, IterableDataset)
    counted: Any = loader.dataset if streams else loader.sampler
    return len(counted) if isinstance(counted, Sized) else None


def numbered(loader: Iterable[Any], done: int) -> Iterator[tuple[int, Any]]:
    """Batches with their numbers: the first, and those after the ``done`` first ones.

    Of a DataLoader over a map-style dataset the others are not loaded; of any other loader they
    are passed over.
    """
    if done == 0:
        yield from enumerate(loader)
    elif type(loader) is DataLoader and not isinstance(loader.dataset, IterableDataset):
        yield from zip(chain([0], _from(done)), _remaining(loader, done), strict=False)
    else:
        yield from ((i, batch) for i, batch in enumerate(loader) if i == 0 or i >= done)


def _from(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


def _remaining(loader: DataLoader[Any], done: int) -> DataLoader[Any]:
    """The same loader on the first batch and those after ``done``."""
    order: Any
    if loader.batch_sampler is None:
        samples = list(loader.sampler)
        order = {"batch_size": None, "sampler": samples[:1] + samples[done:]}
    else:
        batches = list(loader.batch_sampler)
        order = {"batch_sampler": batches[:1] + batches[done:]}
    return DataLoader(
        loader.dataset,
        **order,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )
