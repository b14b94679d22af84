"""The oracle of the angle between two models' confidences, in plain numpy. Never optimised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore._progress import Progress


def angle_histogram(
    confidence: NDArray[np.float32],  # (M, N) positive, finite
    right: NDArray[np.bool_],  # (M, N)
    pairs: NDArray[np.int64],  # (P, 2) models 1 and 2
    slopes: NDArray[np.float64],  # (B - 1,) ascending, >= 0: tan(inner edge of a bin + pi/4)
    keep: NDArray[np.bool_],  # (N,) samples that are counted
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.int64]:  # (P, 4, B)
    """Counted samples of each pair by outcome and bin of theta = atan2(conf_1, conf_2) - pi/4.

    Outcomes in this order: both right, only model 1, only model 2, both wrong. The bin is the
    number of slopes s with conf_1 >= s conf_2, decided in float64: bins are closed on the left.
    """
    n_bins = len(slopes) + 1
    histogram = np.zeros((len(pairs), 4, n_bins), np.int64)
    for counts, (first, second) in zip(histogram, pairs, strict=True):
        reached = confidence[first].astype(np.float64) >= np.multiply.outer(
            slopes, confidence[second].astype(np.float64)
        )
        bins = reached.sum(axis=0)
        outcomes = 2 * ~right[first] + ~right[second]
        for outcome in range(4):
            of_outcome = bins[keep & (outcomes == outcome)]
            counts[outcome] = np.bincount(of_outcome, minlength=n_bins)
    return histogram
