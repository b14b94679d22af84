"""From what a library answers to the counts that the jobs ask for; none of it is timed.

Of tables of pairs: (values, own i, own j, N) of many pairs, where own counts a model with itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def joint_from_distance(distance: np.ndarray, i: np.ndarray, j: np.ndarray, _: int) -> np.ndarray:
    """Joint errors from the samples on which one of two is wrong: the Hamming distance."""
    return (i + j - distance) / 2


def joint_from_share(share: np.ndarray, i: np.ndarray, j: np.ndarray, samples: int) -> np.ndarray:
    """The same from the share of such samples, whose product with N is not quite an integer."""
    return joint_from_distance(np.rint(share * samples), i, j, samples)


def joint_from_kappa(kappa: np.ndarray, i: np.ndarray, j: np.ndarray, samples: int) -> np.ndarray:
    """Joint errors from Cohen's kappa of correctness: exact after rounding, even from float32."""
    p, q = i / samples, j / samples
    chance = p * q + (1 - p) * (1 - q)
    both_or_none = kappa * (1 - chance) + chance
    return np.rint((i + j - (1 - both_or_none) * samples) / 2)


def same_from_distance(
    distance: np.ndarray, _i: np.ndarray, _j: np.ndarray, samples: int
) -> np.ndarray:
    """Agreement from the samples on which two predict different classes."""
    return samples - distance


def same_from_share(share: np.ndarray, _i: np.ndarray, _j: np.ndarray, samples: int) -> np.ndarray:
    """Agreement from the share of such samples."""
    return np.rint((1 - share) * samples)


def wrong_from_errors(errors: Any) -> np.ndarray:
    """(N,) truth values of the one model in ovcore.ErrorBits."""
    return errors.wrong()[0]


def wrong_from_bytes(packed: np.ndarray) -> np.ndarray:
    """(N,) truth values from numpy.packbits; the last byte may hold zeros past the last sample."""
    return np.unpackbits(packed).view(np.bool_)


def square(condensed: np.ndarray, models: int) -> np.ndarray:
    """(M, M) distances, the upper triangle filled, from the M (M - 1) / 2 that pdist returns."""
    distance = np.zeros((models, models), condensed.dtype)
    distance[np.triu_indices(models, 1)] = condensed
    return distance
