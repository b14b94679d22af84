"""How diverse is a group of models: measures of all L together, not of its pairs.

Notation: l_j of the L models are right on sample j of N; pbar is their mean accuracy. All are
sums over the histogram of l_j, formed in integers and divided once. Select the group first:
``ov.groups.entropy(errors.select([0, 3, 5]))``. Where models lack samples, those that all have
count. Definitions follow Kuncheva and Whitaker (2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _bits
from ovcore._arrays import Array
from ovcore.errors import ErrorBits

__all__ = [
    "coincident_failure_diversity",
    "difficulty",
    "entropy",
    "generalized_diversity",
    "interrater_agreement",
    "kohavi_wolpert_variance",
    "n_right_histogram",
]

_BLOCK_BYTES = 1 << 24  # truth values of all models on one block of samples, a byte each


def n_right_histogram(errors: ErrorBits) -> Array:
    """How many samples exactly l of the L models get right, for l = 0 to L: int64 (L + 1,).

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> n_right_histogram(errors)
    array([1, 2, 1])
    """
    return _arrays.in_library(_histogram(errors), errors.library)


def entropy(errors: ErrorBits) -> float:
    """Mean over samples of min(l, L - l) / (L - ceil(L / 2)): 0 to 1, most diverse at 1.

    1 where on every sample half of the models, or as near as L allows, are right. NaN where no
    sample is shared.
    """
    counts = _counts(errors, least=2)
    n_models = len(counts) - 1
    split = sum(c * min(right, n_models - right) for right, c in enumerate(counts))
    return _ratio(split, sum(counts) * (n_models // 2))  # L - ceil(L / 2) = floor(L / 2)


def kohavi_wolpert_variance(errors: ErrorBits) -> float:
    """Sum of l (L - l) over samples, / (N L^2): 0 to 1/4 (Kohavi and Wolpert, 1996).

    (L - 1) / (2 L) times the mean error inconsistency of the group's pairs.
    """
    counts = _counts(errors, least=1)
    n_models = len(counts) - 1
    return _ratio(_split_votes(counts), sum(counts) * n_models**2)


def interrater_agreement(errors: ErrorBits) -> float:
    """Kappa of the group: 1 - [sum of l (L - l) / L] / [N (L - 1) pbar (1 - pbar)].

    1 - mean inconsistency of the pairs / (2 pbar (1 - pbar)), so 0 where models of one accuracy err
    independently. NaN where all models are always right, or always wrong (Fleiss, 1981).
    """
    counts = _counts(errors, least=2)
    n_models = len(counts) - 1
    votes = sum(counts) * n_models
    right = sum(c * n_right for n_right, c in enumerate(counts))
    by_chance = (n_models - 1) * right * (votes - right)  # the denominator times N L^2
    if by_chance == 0:
        return float("nan")
    return (by_chance - _split_votes(counts) * votes) / by_chance


def difficulty(errors: ErrorBits) -> float:
    """Variance over samples of l / L, the share of models that are right: lower, more diverse.

    High where all models are right on the same samples and wrong on the rest (Hansen and Salamon,
    1990).
    """
    counts = _counts(errors, least=1)
    n_samples, n_models = sum(counts), len(counts) - 1
    right = sum(c * n_right for n_right, c in enumerate(counts))
    squares = sum(c * n_right**2 for n_right, c in enumerate(counts))
    return _ratio(n_samples * squares - right**2, (n_samples * n_models) ** 2)


def generalized_diversity(errors: ErrorBits) -> float:
    """1 - p(2) / p(1), with p(k) the probability that k models drawn at random all fail.

    Over a random sample, without replacement: p(1) = sum_i (i / L) p_i and p(2) = sum_i
    i (i - 1) / (L (L - 1)) p_i, where exactly i models fail on a share p_i of samples. 1 where
    never more than one model fails, 0 where all fail together, NaN where none ever fails
    (Partridge and Krzanowski, 1997).

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> generalized_diversity(errors)  # one fails with probability 1/2, two with 1/4
    0.5
    """
    counts = _counts(errors, least=2)
    n_models = len(counts) - 1
    failing = list(enumerate(reversed(counts)))
    ones = sum(c * i for i, c in failing) * (n_models - 1)
    twos = sum(c * i * (i - 1) for i, c in failing)
    return _ratio(ones - twos, ones)


def coincident_failure_diversity(errors: ErrorBits) -> float:
    """Mean of (L - i) / (L - 1) over the samples on which any model fails, i of them doing so.

    1 where failures are always of one model alone; 0 where all fail together, or none ever fails
    (Partridge and Krzanowski, 1997).
    """
    counts = _counts(errors, least=2)
    n_models = len(counts) - 1
    failing = list(enumerate(reversed(counts)))[1:]
    n_failed = sum(counts[:-1])
    if n_failed == 0 and any(counts):
        return 0.0
    return _ratio(sum(c * (n_models - i) for i, c in failing), n_failed * (n_models - 1))


def _histogram(errors: ErrorBits) -> NDArray[np.int64]:
    if not isinstance(errors, ErrorBits):
        raise TypeError(
            f"expected ErrorBits, got {type(errors).__name__}: measures of a group need to know "
            "which models are right together, not only which two"
        )
    if errors.n_samples == 0 or errors.n_models == 0:
        raise ValueError(
            "measures of a group need a model and a sample, "
            f"got {errors.n_models} models and {errors.n_samples} samples"
        )
    histogram = np.zeros(errors.n_models + 1, np.int64)
    shared = None if errors.present is None else np.bitwise_and.reduce(errors.present, axis=0)
    step = max(1, _BLOCK_BYTES // (64 * errors.n_models))  # words
    for first in range(0, -(-errors.n_samples // 64), step):
        block = slice(first, first + step)
        n_samples = min(errors.n_samples - 64 * first, 64 * step)
        n_wrong = _bits.unpack(errors.words[:, block], n_samples).sum(axis=0)
        if shared is not None:
            n_wrong = n_wrong[_bits.unpack(shared[None, block], n_samples)[0]]
        histogram += np.bincount(n_wrong, minlength=len(histogram))[::-1]
    return histogram


def _counts(errors: ErrorBits, *, least: int) -> list[int]:
    """The histogram as Python integers, whose products cannot overflow."""
    counts: list[int] = _histogram(errors).tolist()
    if len(counts) <= least:
        raise ValueError(f"expected a group of at least {least} models, got {len(counts) - 1}")
    return counts


def _split_votes(counts: list[int]) -> int:
    """Sum over samples of l (L - l), the pairs of models of which one is right."""
    n_models = len(counts) - 1
    return sum(c * right * (n_models - right) for right, c in enumerate(counts))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
