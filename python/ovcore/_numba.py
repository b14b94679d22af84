"""Each kernel's numba twin, for where nothing is compiled. Same names, same results.

As in C++, a compiled kernel works on a range and knows no threads; the caller spreads ranges over
a pool of Python threads, which run together because the kernels release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ovcore._arrays import Typed, widen

_SAMPLES_PER_TASK = 4096  # a multiple of 64; also the tile in which 16-bit floats are widened
_BLOCK = 48  # models a side


def pack_errors(
    logits: NDArray[Any],
    dtype: str,
    target: NDArray[np.int64],
    words: NDArray[np.uint64],
    preds: NDArray[np.int32] | None,
    workers: int,
) -> int:
    """See :func:`ovcore._reference.pack_errors`."""
    n_samples = len(target)
    out = np.empty(n_samples, np.int32) if preds is None else preds

    def task(i: int) -> int:
        rows = slice(i * _SAMPLES_PER_TASK, min((i + 1) * _SAMPLES_PER_TASK, n_samples))
        values = widen(Typed(logits, dtype), rows)
        to = words[rows.start // 64 : (rows.stop + 63) // 64]
        return int(_pack_errors(values, target[rows], to, out[rows]))

    words[(n_samples + 63) // 64 :] = 0
    return sum(_for_each_task(-(-n_samples // _SAMPLES_PER_TASK), workers, task))


def joint_errors(words: NDArray[np.uint64], workers: int) -> NDArray[np.int64]:
    """See :func:`ovcore._reference.joint_errors`."""
    n_models = len(words)
    joint = np.zeros((n_models, n_models), np.int64)
    starts = range(0, n_models, _BLOCK)
    blocks = [(i, j) for i in starts for j in starts if i <= j]

    def task(block: int) -> None:
        i, j = blocks[block]
        _joint_errors(words, i, min(i + _BLOCK, n_models), j, min(j + _BLOCK, n_models), joint)

    _for_each_task(len(blocks), workers, task)
    return joint


def _for_each_task(n_tasks: int, workers: int, task: Callable[[int], Any]) -> list[Any]:
    if workers == 1 or n_tasks <= 1:
        return [task(i) for i in range(n_tasks)]
    with ThreadPoolExecutor(min(workers, n_tasks)) as pool:
        return list(pool.map(task, range(n_tasks)))


@njit(nogil=True, cache=True)
def _pack_errors(logits, target, words, preds):
    without_prediction = 0
    n_samples, n_classes = logits.shape
    for w in range(len(words)):
        word = np.uint64(0)
        for n in range(w * 64, min((w + 1) * 64, n_samples)):
            best, pred, valid = logits[n, 0], 0, True
            for k in range(n_classes):
                value = logits[n, k]
                if value != value:
                    valid = False
                if value > best:
                    best, pred = value, k
            if not valid or best == -np.inf:
                without_prediction += 1
                pred = -1
            preds[n] = pred
            if pred != target[n]:
                word |= np.uint64(1) << np.uint64(n - w * 64)
        words[w] = word
    return without_prediction


@intrinsic
def _popcount(_context, value):  # noqa: ARG001
    """llvm.ctpop, which LLVM turns into the chip's vector popcount where it has one."""

    def codegen(_context, builder, _signature, args):
        kind = ir.IntType(64)
        function = builder.module.declare_intrinsic("llvm.ctpop", [kind])
        return builder.call(function, args)

    return types.uint64(types.uint64), codegen


@njit(nogil=True, cache=True)
def _joint_errors(words, row_first, row_last, col_first, col_last, joint):
    for i in range(row_first, row_last):
        j = max(i, col_first)
        while j + 4 <= col_last:  # one load of row i serves four columns
            a, b, c, d, e = words[i], words[j], words[j + 1], words[j + 2], words[j + 3]
            s0, s1, s2, s3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
            for w in range(words.shape[1]):
                s0 += _popcount(a[w] & b[w])
                s1 += _popcount(a[w] & c[w])
                s2 += _popcount(a[w] & d[w])
                s3 += _popcount(a[w] & e[w])
            joint[i, j], joint[i, j + 1], joint[i, j + 2], joint[i, j + 3] = s0, s1, s2, s3
            j += 4
        while j < col_last:
            s = np.uint64(0)
            for w in range(words.shape[1]):
                s += _popcount(words[i, w] & words[j, w])
            joint[i, j] = s
            j += 1
    for i in range(row_first, row_last):
        for j in range(max(i + 1, col_first), col_last):
            joint[j, i] = joint[i, j]
