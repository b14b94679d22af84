"""Metrics of joint errors: each a formula of the 2 x 2 table of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore._tables import (
    Formula,
    Table,
    Values,
    as_counts,
    fill,
    pair_slabs,
    per_pair,
    replace_undefined,
)
from ovcore.errors import ErrorBits, JointErrors

__all__ = [
    "FORMULAS",
    "accuracy_difference",
    "dominance",
    "double_fault",
    "error_consistency",
    "error_consistency_bounds",
    "error_correlation",
    "error_covariance",
    "error_inconsistency",
    "joint_errors",
    "prediction_diversity",
    "q_statistic",
    "relative_inconsistency",
]


def joint_errors(errors: ErrorBits | JointErrors) -> Array:
    """Samples that both models of a pair get wrong, n00: int64 (M, M).

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> joint_errors(errors)
    array([[2, 1],
           [1, 2]])
    """
    counts = as_counts(errors)
    joint = (
        counts.joint.copy() if counts is errors else counts.joint
    )  # what was just counted is ours
    return _arrays.in_library(joint, counts.library)


def _inconsistency(t: Table) -> Values:
    return (t.n10 + t.n01) / t.n


def error_inconsistency(errors: ErrorBits | JointErrors) -> Array:
    """Share of samples that exactly one model of a pair gets right: (n10 + n01) / N.

    The error inconsistency of Gontijo-Lopes, Dauphin and Cubuk (2022), the disagreement measure on
    correctness of the diversity literature. 0 on the diagonal.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> error_inconsistency(errors)
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    return per_pair(errors, _inconsistency)


def prediction_diversity(errors: ErrorBits | JointErrors) -> Array:
    """Mean error inconsistency of each model with all others: (M,) float64.

    sum over b != a of (n10 + n01) / N, / (M - 1). How differently a model errs from the rest
    (Gontijo-Lopes, Dauphin and Cubuk, 2022, Fig. 7 centre). NaN where there is no other model, or
    one that shares no sample with this one. Takes the memory of the counts alone.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0]]), np.zeros(3, int))
    >>> prediction_diversity(errors).round(4)
    array([0.1667, 0.1667, 0.3333])
    """
    counts = as_counts(errors)
    total = np.zeros(counts.n_models)
    with np.errstate(invalid="ignore"):
        for rows, cols, table in pair_slabs(counts):
            apart = _inconsistency(table)[0]
            total[rows] += apart.sum()
            total[cols] += apart  # that of a model with itself is 0
        return _arrays.in_library(total / (counts.n_models - 1), counts.library)


def _by_chance(t: Table) -> Values:
    """N^2 times the inconsistency of independent errors at the same accuracies, 1 - c_exp."""
    return t.right_a * t.wrong_b + t.wrong_a * t.right_b


def _relative_inconsistency(t: Table) -> Values:
    return (t.n10 + t.n01) * t.n / _by_chance(t)


def relative_inconsistency(
    errors: ErrorBits | JointErrors, *, replace_undefined_by: float = np.nan
) -> Array:
    """Inconsistency relative to chance: inconsistency / [p_a (1 - p_b) + p_b (1 - p_a)].

    1 - kappa: what remains of the inconsistency once the accuracies are accounted for, so that
    pairs of different accuracy compare. 0 where two models err on the same samples, 1 where they
    are as inconsistent as independent errors.

    Args:
        errors: errors of M models.
        replace_undefined_by: as in :func:`error_consistency`.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> relative_inconsistency(errors)
    array([[0., 1.],
           [1., 0.]])
    """
    counts = as_counts(errors)
    relative = fill(counts, _relative_inconsistency)
    replace_undefined(
        relative, replace_undefined_by, "relative inconsistency", shared=counts.shared
    )
    return _arrays.in_library(relative, counts.library)


def _consistency(t: Table) -> Values:
    return 1 - _relative_inconsistency(t)


def error_consistency(
    errors: ErrorBits | JointErrors, *, replace_undefined_by: float = np.nan
) -> Array:
    """Cohen's kappa of correctness: (c_obs - c_exp) / (1 - c_exp).

    c_obs = 1 - inconsistency and c_exp = p_a p_b + (1 - p_a)(1 - p_b), what independent errors at
    the same accuracies would give (Geirhos, Meding and Wichmann, 2020). 1 where two models err on
    the same samples, 0 where they are as consistent as chance.

    Args:
        errors: errors of M models.
        replace_undefined_by: value where 1 - c_exp = 0: both models perfect, or both always wrong.
            With the default, NaN, a warning counts such pairs. Pairs that share no sample stay
            NaN.
    """
    counts = as_counts(errors)
    kappa = fill(counts, _consistency)
    replace_undefined(kappa, replace_undefined_by, "error consistency", shared=counts.shared)
    return _arrays.in_library(kappa, counts.library)


def _lowest_consistency(t: Table) -> Values:
    apart = np.minimum(t.right_a, t.wrong_b) + np.minimum(t.wrong_a, t.right_b)
    return 1 - apart * t.n / _by_chance(t)


def _highest_consistency(t: Table) -> Values:
    return 1 - abs(t.wrong_a - t.wrong_b) * t.n / _by_chance(t)


def error_consistency_bounds(errors: ErrorBits | JointErrors) -> tuple[Array, Array]:
    """Lowest and highest error consistency that models of these accuracies can have.

    c_obs lies between 1 - [min(p_a, 1 - p_b) + min(1 - p_a, p_b)], errors kept apart as far as
    they can be, and min(p_a, p_b) + min(1 - p_a, 1 - p_b) = 1 - |p_a - p_b|, the errors of one
    among those of the other; both go through the formula of kappa (Geirhos, Meding and Wichmann,
    2020). NaN where kappa is undefined.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 0, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> lowest, highest = error_consistency_bounds(errors)
    >>> lowest[0, 1], highest[0, 1]  # 1 and 2 errors on 4 samples: apart, or one among the others
    (np.float64(-0.5), np.float64(0.5))
    """
    counts = as_counts(errors)
    return per_pair(counts, _lowest_consistency), per_pair(counts, _highest_consistency)


def _covariance(t: Table) -> Values:
    return t.n00 / t.n - (t.wrong_a / t.n) * (t.wrong_b / t.n)


def error_covariance(errors: ErrorBits | JointErrors) -> Array:
    """Covariance of being wrong: n00 / N - (1 - p_a)(1 - p_b)."""
    return per_pair(errors, _covariance)


def _correlation(t: Table) -> Values:
    variance_a, variance_b = t.right_a * t.wrong_a, t.right_b * t.wrong_b  # times N^2
    rho = (t.n11 * t.n00 - t.n01 * t.n10) / np.sqrt(variance_a * variance_b)
    return np.clip(rho, -1, 1)  # rounding can pass 1


def error_correlation(errors: ErrorBits | JointErrors) -> Array:
    """Pearson correlation of being wrong (the phi coefficient), rho of the diversity literature.

    (n11 n00 - n01 n10) / sqrt((n11 + n10)(n01 + n00)(n11 + n01)(n10 + n00)); NaN where a model is
    always right or always wrong (Kuncheva and Whitaker, 2003).
    """
    return per_pair(errors, _correlation)


def _q(t: Table) -> Values:
    together, apart = t.n11 * t.n00, t.n01 * t.n10
    return (together - apart) / (together + apart)


def q_statistic(errors: ErrorBits | JointErrors) -> Array:
    """Yule's Q: (n11 n00 - n01 n10) / (n11 n00 + n01 n10); NaN where the denominator is 0.

    0 for independent errors, 1 where all errors fall together (Kuncheva and Whitaker, 2003).
    """
    return per_pair(errors, _q)


def _double_fault(t: Table) -> Values:
    return t.n00 / t.n


def double_fault(errors: ErrorBits | JointErrors) -> Array:
    """Share of samples that both models get wrong: n00 / N (Giacinto and Roli, 2001)."""
    return per_pair(errors, _double_fault)


def _dominance(t: Table) -> Values:
    return np.minimum(t.n10, t.n01) / t.n


def _conditional_dominance(t: Table) -> Values:
    return np.minimum(t.n10, t.n01) / np.minimum(t.wrong_a, t.wrong_b)


def dominance(errors: ErrorBits | JointErrors, *, conditional: bool = False) -> Array:
    """Share of samples right for the lower-accuracy model and wrong for the higher.

    min(n10, n01) / N, as the more accurate model of a pair is the one that is more often right
    alone. 0 where it dominates: where it gets everything right that the other does (after Mania
    and Sra, 2020).

    Args:
        errors: errors of M models.
        conditional: divide by the errors of the higher-accuracy model instead of by N: of what it
            gets wrong, the share that the other gets right. NaN where it is always right.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 0, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> dominance(errors)[0, 1], dominance(errors, conditional=True)[0, 1]
    (np.float64(0.25), np.float64(1.0))
    """
    return per_pair(errors, _conditional_dominance if conditional else _dominance)


def _accuracy_difference(t: Table) -> Values:
    return (t.wrong_b - t.wrong_a) / t.n


def accuracy_difference(errors: ErrorBits | JointErrors) -> Array:
    """Accuracy of the row's model minus that of the column's: (n10 - n01) / N; antisymmetric.

    Where models lack samples, the accuracies on those that both have.
    """
    return per_pair(errors, _accuracy_difference)


FORMULAS: Mapping[Callable[..., Array], Formula] = {
    accuracy_difference: _accuracy_difference,
    dominance: _dominance,
    double_fault: _double_fault,
    error_consistency: _consistency,
    error_correlation: _correlation,
    error_covariance: _covariance,
    error_inconsistency: _inconsistency,
    q_statistic: _q,
    relative_inconsistency: _relative_inconsistency,
}
"""What each metric computes of a table, for those that resample tables."""
