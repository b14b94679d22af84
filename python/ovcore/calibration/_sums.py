"""Sums of likelihoods that are the same to the bit however samples are divided.

Kernels sum over blocks of 16,384 samples, counted from sample 0, and blocks are added eight at a
time, level by level. Whoever has whole blocks can sum them, and whoever has whole groups of eight
can add those.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _progress
from ovcore._inputs import Logits
from ovcore._progress import Progress

BLOCK = 1 << 14
_AT_ONCE = 8
_FEW_BYTES = 1 << 23  # a millisecond's: kernels run what is less on one thread
_MANY_BYTES = 1 << 25  # of one block
_TASKS_PER_WORKER = 16
_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


def of_blocks(
    inputs: Logits, temperature: NDArray[np.float64], *, every: int = 1, size: int = BLOCK
) -> NDArray[np.float64]:  # (B, M, 3)
    """Of each block of ``size`` samples: the NLL and its two derivatives in 1 / T, summed.

    Over every so manyth sample of the block.
    """
    beta = 1 / np.maximum(temperature, np.finfo(np.float64).tiny)  # finite
    starts = range(0, inputs.n_samples, size)
    workers = _dispatch.count_workers(None)
    of_all = inputs.n_samples // every * _sample_bytes(inputs)
    # A thread a block, where there are enough: kernels would start threads for each block anew.
    threaded = len(starts) > workers > 1 and of_all >= _FEW_BYTES
    with _progress.bar("likelihood") as progress:
        if not threaded or of_all // len(starts) > _MANY_BYTES:
            return np.stack([
                _of_block(inputs, beta, range(first, first + size, every), workers,
                          _later(progress, i, len(starts)))
                for i, first in enumerate(starts)
            ])  # fmt: skip
        sums = np.empty((len(starts), len(inputs.models), 3))

        def some(blocks: NDArray[np.int64]) -> None:
            for i in blocks:
                rows = range(starts[i], starts[i] + size, every)
                sums[i] = _of_block(inputs, beta, rows, 1, None)

        parts = np.array_split(np.arange(len(starts)), workers * _TASKS_PER_WORKER)
        with ThreadPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(some, parts), 1):
                if progress is not None:
                    progress(done, len(parts))
        return sums


def add(sums: NDArray[np.float64]) -> NDArray[np.float64]:  # (B, M, 3) -> (M, 3)
    """Eight blocks at a time in their order, then eight of those, until one is left."""
    while len(sums) > 1:
        added = sums[::_AT_ONCE].copy()
        for i in range(1, _AT_ONCE):
            more = sums[i::_AT_ONCE]
            added[: len(more)] += more
        sums = added
    return sums[0]


def _of_block(
    inputs: Logits,
    beta: NDArray[np.float64],
    samples: range,
    workers: int,
    progress: Progress | None,
) -> NDArray[np.float64]:  # (M, 3)
    rows = slice(samples.start, min(samples.stop, inputs.n_samples), samples.step)
    labels = inputs.labels
    if rows != slice(0, inputs.n_samples, 1):
        labels = _arrays.beside(np.ascontiguousarray(inputs.target[rows]), inputs.library)
    kernel = _dispatch.choose(None, inputs.library).temperature_nll
    sums = np.empty((len(inputs.models), 3))
    # Kernels divide a block by the widest of its models: each type has its own call.
    for dtype in dict.fromkeys(model.dtype for model in inputs.models):
        which = [m for m, model in enumerate(inputs.models) if model.dtype == dtype]
        models = [inputs.models[m] for m in which]
        some = [model._replace(values=model.values[rows]) for model in models]
        sums[which] = kernel(some, labels, beta[which], workers, progress)
    return sums


def _sample_bytes(inputs: Logits) -> int:
    return sum(inputs.n_classes * _BYTES[model.dtype] for model in inputs.models)


def _later(progress: Progress | None, i: int, n: int) -> Progress | None:
    """Progress of the i-th of n steps."""
    if progress is None:
        return None
    return lambda done, of: progress(i * of + done, n * of)
