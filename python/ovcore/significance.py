"""Do two models differ in accuracy: tests for all pairs at once, and what many tests cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore._tables import Table, Values, as_counts, pair_slabs
from ovcore.errors import ErrorBits, JointErrors

__all__ = ["adjust_p_values", "mcnemar"]


def mcnemar(
    errors: ErrorBits | JointErrors, *, method: str = "exact", adjust: str | None = None
) -> Array:
    """P values of McNemar's test that two models are equally accurate: (M, M), symmetric.

    Under the hypothesis each sample that exactly one model gets right is as likely to be in n10 as
    in n01, so n10 is binomial with n10 + n01 trials (McNemar, 1947). 1 on the diagonal and where
    no sample tells two models apart; NaN where two models share no sample. Takes less than a
    microsecond a pair.

    Args:
        errors: errors of M models.
        method: "exact", the two-sided binomial test, min(1, 2 P(X <= min(n10, n01))); "mid-p", the
            same with half of the probability of the outcome itself, which is less conservative;
            or "chi2" with continuity correction, max(|n10 - n01| - 1, 0)^2 / (n10 + n01).
        adjust: None, "holm" or "bh" over all pairs, as in :func:`adjust_p_values`.

    Raises:
        ValueError: another method or adjustment; no samples.
        ImportError: scipy is missing.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0] * 10, [0] * 4 + [1] * 6]), np.zeros(10, int))
    >>> mcnemar(errors)[0, 1]  # 6 of 6 discordant samples favour the first: 2 / 2^6
    np.float64(0.03125)
    """
    formulas = {"exact": _exact, "mid-p": _mid_p, "chi2": _chi_squared}
    if not isinstance(method, str) or method not in formulas:
        raise ValueError(f"method must be one of {', '.join(formulas)}: got {method!r}")
    if adjust is not None:
        _check_adjustment(adjust, "adjust")
    try:
        from scipy import special
    except ImportError as error:
        raise ImportError("mcnemar needs scipy: pip install 'ovcore[stats]'") from error
    counts = as_counts(errors)
    p_values = np.empty((counts.n_models, counts.n_models))
    for rows, cols, table in pair_slabs(counts):
        p = np.minimum(formulas[method](table, special), 1)  # rounding can pass 1
        p[table.n10 + table.n01 == 0] = 1
        p[np.broadcast_to(table.n, p.shape) == 0] = np.nan
        p_values[rows, cols], p_values[cols, rows] = p, p.T
    np.fill_diagonal(p_values, 1)
    if adjust is not None:
        p_values = adjust_p_values(p_values, adjust)
    return _arrays.in_library(p_values, counts.library)


def _exact(t: Table, special: Any) -> Values:
    return 2 * _at_most(np.minimum(t.n10, t.n01), t.n10 + t.n01, special)


def _mid_p(t: Table, special: Any) -> Values:
    fewer, trials = np.minimum(t.n10, t.n01), t.n10 + t.n01
    below = np.where(fewer > 0, _at_most(np.maximum(fewer - 1, 0), trials, special), 0)
    return _at_most(fewer, trials, special) + below  # twice P(X < fewer) + P(X = fewer) / 2


def _chi_squared(t: Table, special: Any) -> Values:
    excess = np.maximum(abs(t.n10 - t.n01) - 1, 0)
    statistic = excess**2 / np.maximum(t.n10 + t.n01, 1)
    return special.erfc(np.sqrt(statistic / 2))  # upper tail of chi-square, one degree of freedom


def _at_most(successes: Values, trials: Values, special: Any) -> Values:
    """P(X <= successes) of a fair binomial, for fewer successes than trials; 1 of no trial."""
    failures = np.maximum(trials - successes, 1)  # of no trial: replaced by the caller
    return special.betainc(failures, successes + 1, 0.5)


def adjust_p_values(p_values: Array, method: str) -> Array:
    """P values adjusted for the number of tests, in the shape and order they came.

    With m p values in ascending order, "holm" controls the probability of any false rejection
    (the running maximum of (m - k + 1) p_k; Holm, 1979), and "bh" the share of false ones among
    rejections (the running minimum from the largest of m p_k / k; Benjamini and Hochberg, 1995).
    Neither passes 1. NaN are no tests: they stay, and do not count.

    Args:
        p_values: (m,); or (M, M) symmetric, whose pairs i < j are the tests, once each, and whose
            diagonal is returned as it is.
        method: "holm" or "bh".

    Raises:
        ValueError: another method or shape, a matrix that is not symmetric, values outside 0..1.

    >>> import numpy as np
    >>> adjust_p_values(np.array([.01, .04, .03]), "holm")
    array([0.03, 0.06, 0.06])
    >>> adjust_p_values(np.array([.01, .04, .03]), "bh")
    array([0.03, 0.04, 0.04])
    """
    _check_adjustment(method, "method")
    given = _arrays.view_on_host(_arrays.adopt(p_values, "p_values"), "p_values")
    if given.dtype not in ("bfloat16", "float16", "float32", "float64"):
        raise TypeError(f"p_values must be floating, got {given.dtype}")
    shape = given.values.shape
    if len(shape) not in (1, 2) or shape[0] != shape[-1]:
        raise ValueError(f"p_values must be (m,) or (M, M), got shape {shape}")
    values = _arrays.widen(given).astype(np.float64)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(
            f"p_values must be in 0..1, got {np.nanmin(values)} to {np.nanmax(values)}"
        )
    if values.ndim == 1:
        values = _adjusted(values, method)
    else:
        if not np.array_equal(values, values.T, equal_nan=True):
            raise ValueError("p_values must be symmetric: one test for each pair i < j")
        pairs = np.triu(np.ones(values.shape, bool), 1)
        values[pairs] = values.T[pairs] = _adjusted(values[pairs], method)
    return _arrays.in_library(values, _arrays.library_of(p_values))


def _adjusted(p_values: Values, method: str) -> Values:
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    ascending, m = p_values[order], len(order)
    rank = np.arange(1, m + 1)
    if method == "holm":
        ascending = np.maximum.accumulate(ascending * (m - rank + 1))
    else:
        ascending = np.minimum.accumulate((ascending * m / rank)[::-1])[::-1]
    adjusted: NDArray[np.float64] = p_values.copy()
    adjusted[order] = np.minimum(ascending, 1)
    return adjusted


def _check_adjustment(value: str, name: str) -> None:
    if value not in ("holm", "bh"):
        raise ValueError(f"{name} must be 'holm' or 'bh', got {value!r}")
