"""Each kernel's numba twin, for where nothing is compiled. Same names, same results.

As in C++, a compiled kernel works on a range and knows no threads; the caller spreads ranges over
a pool of Python threads, which run together because the kernels release the GIL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ovcore._arrays import Typed
from ovcore._numba_angles import angle_histogram
from ovcore._numba_ensembles import (
    candidate_hits,
    candidate_scores,
    ensemble_predictions,
    pair_ensemble_hits,
)
from ovcore._numba_features import center_rows
from ovcore._numba_joint import (
    count_joint_errors,
    joint_errors_between,
    mirror,
    screen_pairs,
)
from ovcore._numba_scores import confidences, find_first, temperature_nll
from ovcore._numba_tasks import BYTES_PER_TASK, INFINITY, compiled, for_each_task
from ovcore._numba_tiles import (
    LANES,
    PLANE_WORDS,
    TILE_COLS,
    TILE_ROWS,
    count_differing,
)
from ovcore._numba_tiles import popcount as _popcount
from ovcore._progress import Progress

__all__ = [
    "angle_histogram",
    "candidate_hits",
    "candidate_scores",
    "center_rows",
    "confidences",
    "ensemble_predictions",
    "joint_agreement",
    "joint_errors",
    "joint_errors_between",
    "pack_errors",
    "pair_ensemble_hits",
    "screen_pairs",
    "temperature_nll",
]

_BLOCK = 192  # models a side
_SLICE_WORDS = 4096  # of a model, at least: smaller slices are not worth a task
_CHUNK_BLOCKS = 4  # of 512 samples counted at a time, so that a block's rows stay in cache


def pack_errors(
    models: Sequence[Typed | NDArray[np.integer[Any]]],
    target: NDArray[np.int64],
    words: NDArray[np.uint64],
    preds: NDArray[np.int32] | None,
    workers: int,
    progress: Progress | None,
) -> list[int]:
    """See :func:`ovcore._reference.pack_errors`."""
    n_samples = len(target)
    row_bytes = max(_row_bytes(model) for model in models)
    samples_per_task = (BYTES_PER_TASK // (64 * row_bytes) + 1) * 64
    tasks_per_model = -(-n_samples // samples_per_task)
    words[:, (n_samples + 63) // 64 :] = 0

    def task(i: int) -> int:
        m, part = divmod(i, tasks_per_model)
        rows = slice(part * samples_per_task, min((part + 1) * samples_per_task, n_samples))
        to = words[m, rows.start // 64 : (rows.stop + 63) // 64]
        model = models[m]
        if not isinstance(model, Typed):
            _pack_preds(model[rows], target[rows], to)
            return 0
        predicted = np.empty(rows.stop - rows.start, np.int32) if preds is None else preds[m, rows]
        infinity = INFINITY[model.dtype]
        keys = model.values[rows].view(infinity.dtype)
        return int(_pack_logits(keys, infinity, target[rows], to, predicted))

    counts = for_each_task(len(models) * tasks_per_model, workers, progress, task)
    return [
        sum(counts[m * tasks_per_model : (m + 1) * tasks_per_model]) for m in range(len(models))
    ]


def joint_errors(
    words: NDArray[np.uint64], workers: int, progress: Progress | None
) -> NDArray[np.int64]:
    """See :func:`ovcore._reference.joint_errors`."""
    return _count_pairs(count_joint_errors, np.ascontiguousarray(words), workers, progress)


def joint_agreement(
    preds: Sequence[NDArray[np.integer[Any]]],
    lowest: int,
    highest: int,
    workers: int,
    progress: Progress | None,
) -> NDArray[np.int64]:
    """See :func:`ovcore._reference.joint_agreement`."""
    n_models, n_samples = len(preds), len(preds[0])
    n_planes = max(1, (highest - lowest).bit_length())
    planes = np.zeros((n_models, -(-n_samples // 512), n_planes, PLANE_WORDS), np.uint64)

    def pack(m: int) -> None:
        _pack_classes(preds[m], lowest, planes[m])

    for_each_task(n_models, workers, None, pack)
    return n_samples - _count_pairs(_joint_disagreement, planes, workers, progress)


def _count_pairs(
    count: Callable[..., None], rows: NDArray[np.uint64], workers: int, progress: Progress | None
) -> NDArray[np.int64]:
    """(M, M) counts of all pairs, as blocks; where these are few, as slices of the second axis."""
    n_models = len(rows)
    blocks = [
        (i, min(i + _BLOCK, n_models), j, min(j + _BLOCK, n_models))
        for i in range(0, n_models, _BLOCK)
        for j in range(i, n_models, _BLOCK)
    ]
    most = rows[:1].size // _SLICE_WORDS
    n_slices = max(1, min(4 * workers // max(len(blocks), 1), most, rows.shape[1]))
    edges = np.linspace(0, rows.shape[1], n_slices + 1).astype(int)
    parts = np.zeros((n_slices, n_models, n_models), np.int64)

    def task(i: int) -> None:
        part, block = divmod(i, len(blocks))
        count(rows[:, edges[part] : edges[part + 1]], *blocks[block], parts[part])

    for_each_task(len(blocks) * n_slices, workers, progress, task)
    return parts[0] if n_slices == 1 else parts.sum(axis=0)


def _row_bytes(model: Typed | NDArray[np.integer[Any]]) -> int:
    values = model.values if isinstance(model, Typed) else model
    return values.itemsize * (values.shape[1] if values.ndim == 2 else 1)


@compiled
def _pack_logits(bits, infinity, target, words, preds):
    """Compares floats as integers that order the same way: see cpp/cpu/pack_errors.cpp."""
    integer = bits.dtype.type  # keeps every step in the narrow type, where loops vectorise
    sign = 8 * bits.itemsize - 1
    low_bits = integer(~(np.int64(-1) << sign))
    minus_infinity = integer(~infinity)
    without_prediction = 0
    n_samples, n_classes = bits.shape
    for w in range(len(words)):
        word = np.uint64(0)
        for n in range(w * 64, min((w + 1) * 64, n_samples)):
            row = bits[n]
            largest = smallest = integer(row[0] ^ ((row[0] >> sign) & low_bits))
            for k in range(1, n_classes):
                key = integer(row[k] ^ ((row[k] >> sign) & low_bits))
                largest = max(largest, key)
                smallest = min(smallest, key)
            if largest > infinity or smallest < minus_infinity or largest == minus_infinity:
                pred = -1
                without_prediction += 1
            else:
                value = integer(largest ^ ((largest >> sign) & low_bits))
                mask = low_bits if value == 0 else integer(-1)  # +0 and -0 are equal
                pred = find_first(row, value, mask)
            preds[n] = pred
            if pred != target[n]:
                word |= np.uint64(1) << np.uint64(n - w * 64)
        words[w] = word
    return without_prediction


@compiled
def _pack_preds(preds, target, words):
    flags = np.zeros(64, np.uint8)  # one byte a sample: loops over bytes vectorise
    eights = flags.view(np.uint64)
    for w in range(len(words)):
        first, last = w * 64, min((w + 1) * 64, len(preds))
        for i in range(last - first):
            flags[i] = np.int64(preds[first + i]) != target[first + i]
        for i in range(last - first, 64):
            flags[i] = 0
        words[w] = _pack_flags(eights)


@compiled
def _pack_classes(classes, lowest, planes):
    """Bit planes [block of 512 samples][plane][word] of the classes, less the lowest."""
    ids = np.zeros(64, np.uint16)
    flags = np.zeros(64, np.uint8)
    eights = flags.view(np.uint64)
    for w in range((len(classes) + 63) // 64):
        first, last = w * 64, min((w + 1) * 64, len(classes))
        for i in range(last - first):
            ids[i] = np.uint16(np.int64(classes[first + i]) - lowest)
        for i in range(last - first, 64):
            ids[i] = 0
        for plane in range(planes.shape[1]):
            for i in range(64):
                flags[i] = (ids[i] >> plane) & 1
            planes[w // PLANE_WORDS, plane, w % PLANE_WORDS] = _pack_flags(eights)


@njit(nogil=True, inline="always")
def _pack_flags(eights):
    """A word of 64 bytes that are 0 or 1; the product gathers eight bytes' bits in its highest."""
    word = np.uint64(0)
    for i in range(8):
        byte = (eights[i] * np.uint64(0x0102040810204080)) >> np.uint64(56)
        word |= byte << np.uint64(8 * i)
    return word


@compiled
def _joint_disagreement(planes, row_first, row_last, col_first, col_last, disagreement):
    _, n_blocks, n_planes, _ = planes.shape
    stride = planes.strides[0] // 8
    address = np.int64(planes.ctypes.data)
    tile = np.empty(TILE_ROWS * TILE_COLS, np.int64)
    to = np.int64(tile.ctypes.data)
    for i in range(row_first, row_last):
        for j in range(col_first, col_last):
            disagreement[i, j] = 0
    for chunk in range(0, n_blocks, _CHUNK_BLOCKS):
        steps = min(_CHUNK_BLOCKS, n_blocks - chunk)
        for i in range(row_first, row_last, TILE_ROWS):
            for j in range(max(i, col_first), col_last, TILE_COLS):
                if i + TILE_ROWS <= row_last and j + TILE_COLS <= col_last:
                    for part in range(0, PLANE_WORDS, LANES):
                        a = address + (i * stride + chunk * n_planes * PLANE_WORDS + part) * 8
                        b = address + (j * stride + chunk * n_planes * PLANE_WORDS + part) * 8
                        count_differing(a, b, stride, steps, n_planes, to)
                        for r in range(TILE_ROWS):
                            for c in range(TILE_COLS):
                                disagreement[i + r, j + c] += tile[r * TILE_COLS + c]
                    continue
                for r in range(i, min(i + TILE_ROWS, row_last)):
                    for c in range(j, min(j + TILE_COLS, col_last)):
                        differing = _differing(planes[r], planes[c], chunk, chunk + steps)
                        disagreement[r, c] += differing
    mirror(row_first, row_last, col_first, col_last, disagreement)


@compiled
def _differing(a, b, first, last):
    _, n_planes, n_words = a.shape
    count = 0
    for block in range(first, last):
        for w in range(n_words):
            differ = np.uint64(0)
            for plane in range(n_planes):
                differ |= a[block, plane, w] ^ b[block, plane, w]
            count += _popcount(differ)
    return count
