"""The numba twin of angle_histogram; cpp/cpu/angle_histogram.cpp has the same idea in vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore._numba_tasks import compiled, for_each_range
from ovcore._progress import Progress

_PAIRS_PER_TASK = 64
_BLOCK_SAMPLES = 1024  # fewer than 2^16, which four counts in one integer leave each


def angle_histogram(
    confidence: NDArray[np.float32],
    right: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    slopes: NDArray[np.float64],
    keep: NDArray[np.bool_],
    workers: int,
    progress: Progress | None,
) -> NDArray[np.int64]:
    """See :func:`ovcore._reference_angles.angle_histogram`."""
    gathered, wrong = np.compress(keep, confidence, axis=1), ~np.compress(keep, right, axis=1)
    order = np.lexsort((pairs[:, 0], pairs[:, 1]))  # pairs that share model 2 share thresholds
    ordered = pairs[order]
    from_zero = np.concatenate([[0.0], slopes])  # all samples reach the first bin
    reached = np.zeros((len(pairs), 4, len(from_zero)), np.int64)

    def task(first: int, last: int) -> None:
        some = slice(first, last)
        _count_reached(gathered, wrong, ordered[some], from_zero, reached[some])

    for_each_range(len(pairs), _PAIRS_PER_TASK, workers, progress, task)
    reached[:, :, :-1] -= reached[:, :, 1:]
    histogram = np.empty_like(reached)
    histogram[order] = reached
    return histogram


@compiled
def _count_reached(confidence, wrong, pairs, slopes, reached):
    """Adds, for each pair and outcome, the samples with conf_1 >= slope conf_2."""
    thresholds = np.empty((len(slopes), _BLOCK_SAMPLES), np.float32)
    adds = np.empty(_BLOCK_SAMPLES, np.int64)  # 1 in the 16 bits of the sample's outcome
    for start in range(0, confidence.shape[1], _BLOCK_SAMPLES):
        stop = min(start + _BLOCK_SAMPLES, confidence.shape[1])
        shared = -1
        for p in range(len(pairs)):
            first, second = pairs[p]
            if second != shared:
                shared = second
                for t in range(len(slopes)):
                    _round_up(slopes[t], confidence[second, start:stop], thresholds[t])
            _outcomes(wrong[first, start:stop], wrong[second, start:stop], adds)
            for t in range(len(slopes)):
                counts = _count(confidence[first, start:stop], thresholds[t], adds)
                for outcome in range(4):
                    reached[p, outcome, t] += (counts >> (16 * outcome)) & 0xFFFF


@compiled
def _round_up(slope, confidence, thresholds):
    """The least float32 that are no less than the products."""
    bits = thresholds.view(np.int32)
    for i in range(len(confidence)):
        product = slope * np.float64(confidence[i])
        nearest = np.float32(product)
        thresholds[i] = nearest
        bits[i] += np.float64(nearest) < product


@compiled
def _outcomes(wrong_first, wrong_second, adds):
    for i in range(len(wrong_first)):
        outcome = 2 * np.int64(wrong_first[i]) + np.int64(wrong_second[i])
        adds[i] = np.int64(1) << (16 * outcome)


@compiled
def _count(confidence, thresholds, adds):
    counts = np.int64(0)
    for i in range(len(confidence)):
        counts += adds[i] if confidence[i] >= thresholds[i] else 0
    return counts
