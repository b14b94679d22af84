"""The numba twin of center_rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from ovcore._arrays import Typed, widen
from ovcore._numba_scores import pointer
from ovcore._numba_tasks import compiled, for_each_task

_NUMBERS_PER_THREAD = 1 << 22  # fewer are read sooner than a pool of threads starts
_FEWEST_COLUMNS = 64
_SLAB_NUMBERS = 1 << 17  # widened at a time, so that they are read from cache


def center_rows(
    parts: Sequence[Typed],
    pilots: Sequence[NDArray[np.floating[Any]]],
    out: Sequence[NDArray[np.floating[Any]]],
    sums: Sequence[NDArray[np.floating[Any]]],
    workers: int,
) -> None:
    """See :func:`ovcore._reference.center_rows`."""
    n_columns = sum(len(pilot) for pilot in pilots)
    n_rows = max((len(left) for left in out), default=0)
    threads = max(1, min(workers, n_rows * n_columns // _NUMBERS_PER_THREAD))
    most = -(-n_columns // (threads * _FEWEST_COLUMNS)) * _FEWEST_COLUMNS
    tasks = [
        (p, slice(first, min(first + most, len(pilot))))
        for p, pilot in enumerate(pilots)
        for first in range(0, len(pilot), most)
    ]

    def task(i: int) -> None:
        p, columns = tasks[i]
        part = parts[p]._replace(values=parts[p].values[:, columns])
        total, pilot, left = sums[p][columns], pilots[p][columns], out[p][:, columns]
        total[:] = 0
        step = max(1, _SLAB_NUMBERS // len(pilot))
        for first in range(0, len(left), step):
            rows = slice(first, first + step)
            _center(widen(part, rows), pilot, left[rows], total)

    for_each_task(len(tasks), threads, None, task)


@compiled
def _center(features, pilot, out, sums):
    for i in range(len(features)):
        row, to = _row(features, i), _row(out, i)
        for j in range(len(sums)):
            left = row[j] - pilot[j]
            to[j] = left
            sums[j] += left


@njit(nogil=True)
def _row(array, i):
    """Known to be contiguous, which a row of a strided array is not."""
    address = np.int64(array.ctypes.data) + i * array.strides[0]
    return carray(pointer(address), array.shape[1], array.dtype)
