"""How differently do the models of each pair err: every metric is arithmetic on joint errors.

Notation, for models a and b on N samples: n11 both right, n10 only a right, n01 only b right,
n00 both wrong; p_a, p_b their accuracies. Every function takes :class:`~ovcore.ErrorBits` or
:class:`~ovcore.JointErrors` of M models and returns an (M, M) float64 matrix in the library that
the errors came from.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore.errors import ErrorBits, JointErrors

__all__ = [
    "double_fault",
    "error_consistency",
    "error_correlation",
    "error_covariance",
    "error_inconsistency",
    "joint_errors",
    "q_statistic",
]


class _Tables(NamedTuple):
    """The 2 x 2 tables of all pairs: (M, M) float64, which holds counts up to 2^53 exactly."""

    n11: NDArray[np.float64]
    n10: NDArray[np.float64]
    n01: NDArray[np.float64]
    n00: NDArray[np.float64]
    n_samples: int
    library: str


def _tables(errors: ErrorBits | JointErrors) -> _Tables:
    counts = _counts(errors)
    if counts.n_samples == 0:
        raise ValueError("pairwise metrics of no samples are undefined")
    wrong = counts.n_wrong()
    n00 = counts.joint
    n10 = wrong[None, :] - n00
    n01 = wrong[:, None] - n00
    n11 = counts.n_samples - n00 - n10 - n01
    return _Tables(
        n11.astype(np.float64),
        n10.astype(np.float64),
        n01.astype(np.float64),
        n00.astype(np.float64),
        counts.n_samples,
        counts.library,
    )


def _counts(errors: ErrorBits | JointErrors) -> JointErrors:
    if isinstance(errors, JointErrors):
        return errors
    if isinstance(errors, ErrorBits):
        return JointErrors.from_errors(errors)
    raise TypeError(f"expected ErrorBits or JointErrors, got {type(errors).__name__}")


def joint_errors(errors: ErrorBits | JointErrors) -> Array:
    """Samples that both models of a pair get wrong, n00: int64 (M, M).

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0, 1, 0, 1], [1, 1, 0, 0]]), np.zeros(4, int))
    >>> joint_errors(errors)
    array([[2, 1],
           [1, 2]])
    """
    counts = _counts(errors)
    return _arrays.in_library(counts.joint.copy(), counts.library)


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
    t = _tables(errors)
    return _arrays.in_library((t.n10 + t.n01) / t.n_samples, t.library)


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
            With the default, NaN, a warning counts such pairs.
    """
    t = _tables(errors)
    right, wrong = t.n11 + t.n10, t.n01 + t.n00  # of the first model; transposed: of the second
    by_chance = right * wrong.T + wrong * right.T  # (1 - c_exp) N^2
    undefined = by_chance == 0
    with np.errstate(invalid="ignore"):
        kappa = 1 - (t.n10 + t.n01) * t.n_samples / by_chance
    kappa[undefined] = replace_undefined_by
    if undefined.any() and np.isnan(replace_undefined_by):
        pairs = int(np.triu(undefined).sum())
        warnings.warn(
            f"error consistency is undefined for {pairs} pair{'s' if pairs > 1 else ''} "
            "(both models perfect, or both always wrong): NaN",
            RuntimeWarning,
            stacklevel=2,
        )
    return _arrays.in_library(kappa, t.library)


def error_covariance(errors: ErrorBits | JointErrors) -> Array:
    """Covariance of being wrong: n00 / N - (1 - p_a)(1 - p_b)."""
    t = _tables(errors)
    wrong = (t.n01 + t.n00) / t.n_samples
    return _arrays.in_library(t.n00 / t.n_samples - wrong * wrong.T, t.library)


def error_correlation(errors: ErrorBits | JointErrors) -> Array:
    """Pearson correlation of being wrong (the phi coefficient), rho of the diversity literature.

    (n11 n00 - n01 n10) / sqrt((n11 + n10)(n01 + n00)(n11 + n01)(n10 + n00)); NaN where a model is
    always right or always wrong (Kuncheva and Whitaker, 2003).
    """
    t = _tables(errors)
    variance = (t.n11 + t.n10) * (t.n01 + t.n00)  # of the first model, times N^2
    with np.errstate(invalid="ignore"):
        rho = (t.n11 * t.n00 - t.n01 * t.n10) / np.sqrt(variance * variance.T)
    return _arrays.in_library(np.clip(rho, -1, 1), t.library)  # rounding can pass 1


def q_statistic(errors: ErrorBits | JointErrors) -> Array:
    """Yule's Q: (n11 n00 - n01 n10) / (n11 n00 + n01 n10); NaN where the denominator is 0.

    0 for independent errors, 1 where all errors fall together (Kuncheva and Whitaker, 2003).
    """
    t = _tables(errors)
    together, apart = t.n11 * t.n00, t.n01 * t.n10
    with np.errstate(invalid="ignore"):
        q = (together - apart) / (together + apart)
    return _arrays.in_library(q, t.library)


def double_fault(errors: ErrorBits | JointErrors) -> Array:
    """Share of samples that both models get wrong: n00 / N (Giacinto and Roli, 2001)."""
    t = _tables(errors)
    return _arrays.in_library(t.n00 / t.n_samples, t.library)
