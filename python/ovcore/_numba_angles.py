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
    gathered, wrong = confidence[:, keep], ~right[:, keep]
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
    n_samples, n_slopes = confidence.shape[1], len(slopes)
    thresholds = np.empty((n_slopes, _BLOCK_SAMPLES), np.float32)
    bits = thresholds.view(np.int32)
    adds = np.empty(_BLOCK_SAMPLES, np.int64)  # 1 in the 16 bits of the sample's outcome
    for start in range(0, n_samples, _BLOCK_SAMPLES):
        block = slice(start, min(start + _BLOCK_SAMPLES, n_samples))
        size = block.stop - block.start
        shared = -1
        for p in range(len(pairs)):
            first, second = pairs[p]
            if second != shared:
                shared = second
                of_second = confidence[second, block]
                for t in range(n_slopes):
                    for i in range(size):  # the least float32 that is no less than the product
                        product = slopes[t] * np.float64(of_second[i])
                        thresholds[t, i] = product
                        bits[t, i] += np.float64(thresholds[t, i]) < product
            of_first = confidence[first, block]
            wrong_first, wrong_second = wrong[first, block], wrong[second, block]
            for i in range(size):
                outcome = 2 * np.int64(wrong_first[i]) + np.int64(wrong_second[i])
                adds[i] = np.int64(1) << (16 * outcome)
            for t in range(n_slopes):
                counts = np.int64(0)
                for i in range(size):
                    counts += adds[i] if of_first[i] >= thresholds[t, i] else 0
                for outcome in range(4):
                    reached[p, outcome, t] += (counts >> (16 * outcome)) & 0xFFFF
