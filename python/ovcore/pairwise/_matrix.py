"""The matrix of a metric, block by block into something larger than memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _inputs, _progress
from ovcore._arrays import Array
from ovcore.errors import ErrorBits, JointErrors
from ovcore.pairwise import _blocks
from ovcore.pairwise._metrics import accuracy_difference, error_inconsistency, joint_errors

_SIDE = 1024


def write_matrix(
    errors: ErrorBits | JointErrors,
    out: Any,  # (M, M)
    *,
    metric: Callable[..., Array] = error_inconsistency,
    block_size: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> None:
    """Writes the (M, M) matrix of a metric into a memory map, a Zarr array, or the like.

    Every element is written once, in blocks, with the values that ``metric(errors)`` has; each pair
    is counted once. Beside the errors it takes the memory of a few blocks.

    Args:
        errors: of M models.
        out: anything with ``shape``, ``dtype`` and ``out[a:b, c:d] = block``: ``np.memmap``,
            ``zarr.Array``, ``h5py.Dataset``. Values are converted to its type.
        metric: a function of :mod:`ovcore.pairwise` that gives one number a pair; also
            ``joint_errors`` and ``accuracy_difference``.
        block_size: models to a side of a block; default: the chunks of ``out``, where they are
            square, or else 1,024. A chunk is written once where it is a multiple of them.
        backend: as in :meth:`ovcore.JointErrors.from_errors`.
        workers: threads; default: all cores.

    Raises:
        TypeError: neither error bits nor joint errors; integers that are to hold fractions.
        ValueError: an ``out`` of another shape; another metric; no samples.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> out = np.empty((2, 2), np.float32)  # or np.lib.format.open_memmap(path, "w+", ...)
    >>> write_matrix(errors, out)
    >>> out
    array([[0. , 0.5],
           [0.5, 0. ]], dtype=float32)
    """
    are_counts = metric is joint_errors
    formula = None if are_counts else _blocks.formula_of(metric, symmetric=False)
    counts = _blocks.counted(errors, backend, workers)
    m = counts.n_models
    if tuple(out.shape) != (m, m):
        raise ValueError(f"out must have shape ({m}, {m}), one row a model: got {tuple(out.shape)}")
    if not are_counts and np.dtype(out.dtype).kind != "f":
        raise TypeError(f"out must be floating to hold {metric.__name__}: got {out.dtype}")
    side = _side_of(out) if block_size is None else _inputs.at_least_one(block_size, "block_size")
    blocks = list(_blocks.upper(_blocks.ranges(m, side)))
    with _progress.bar("matrix") as progress:
        for done, (rows, cols) in enumerate(blocks):
            a, b = slice(rows.start, rows.stop), slice(cols.start, cols.stop)
            block: NDArray[Any] = (
                counts.joint(rows, cols)
                if formula is None
                else _blocks.values_of(counts, formula, rows, cols)
            )
            out[a, b] = block
            if rows != cols:
                out[b, a] = (0 - block if metric is accuracy_difference else block).T
            if progress is not None:
                progress(done + 1, len(blocks))


def _side_of(out: Any) -> int:
    """A block of whole chunks, where an array has them."""
    chunks = getattr(out, "chunks", None)
    if not isinstance(chunks, tuple) or len(chunks) != 2 or chunks[0] != chunks[1]:
        return _SIDE
    return max(int(chunks[0]), _SIDE // int(chunks[0]) * int(chunks[0]))
