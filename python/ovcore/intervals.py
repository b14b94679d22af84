"""How sure is a pairwise metric: standard errors and intervals over samples, for all pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from ovcore import _arrays, pairwise
from ovcore._arrays import Array
from ovcore._tables import Table, Values, as_counts, fill, pair_slabs
from ovcore.errors import ErrorBits, JointErrors

__all__ = ["accuracy_difference", "bootstrap", "error_consistency", "error_consistency_se"]

_SLAB_DRAWS = 1 << 18  # resampled tables held at a time: 8 MB of counts, as much again of values


def error_consistency_se(errors: ErrorBits | JointErrors) -> Array:
    """Large-sample standard error of error consistency (kappa): (M, M) float64, symmetric.

    Not of the hypothesis kappa = 0, but at the kappa observed (Fleiss, Cohen and Everitt, 1969).
    With p_ij the share of samples in cell (i, j) of the pair's table, i and j right or wrong, and
    p_i. and p_.j its margins:

    [sum_i p_ii (1 - (p_i. + p_.i)(1 - kappa))^2 + (1 - kappa)^2 sum_{i != j} p_ij (p_.i + p_j.)^2
    - (kappa - c_exp (1 - kappa))^2] / [N (1 - c_exp)^2], of which the square root. 0 on the
    diagonal; NaN where kappa is undefined. A large-sample value: trust it with hundreds of samples,
    not with tens. Klein et al. (2025) show why consistencies need intervals.
    """
    counts = as_counts(errors)
    return _arrays.in_library(fill(counts, _consistency_se), counts.library)


def _consistency_se(t: Table) -> Values:
    p_a, p_b, q_a, q_b = t.p_a, t.p_b, t.wrong_a / t.n, t.wrong_b / t.n
    by_chance = p_a * q_b + q_a * p_b  # 1 - c_exp
    rest = (t.n10 + t.n01) / t.n / by_chance  # 1 - kappa
    agreeing = t.n11 * (1 - (p_a + p_b) * rest) ** 2 + t.n00 * (1 - (q_a + q_b) * rest) ** 2
    differing = t.n10 * (p_b + q_a) ** 2 + t.n01 * (q_b + p_a) ** 2
    square_of_mean = (1 - rest - (1 - by_chance) * rest) ** 2
    variance = (agreeing + rest**2 * differing) / t.n - square_of_mean
    return np.sqrt(np.maximum(variance, 0) / t.n) / by_chance  # rounding can pass 0


def error_consistency(
    errors: ErrorBits | JointErrors,
    *,
    level: float = 0.95,
    method: str = "analytic",
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Interval of error consistency (kappa) for every pair: (low, high), each (M, M).

    Args:
        errors: errors of M models.
        level: share of such intervals that hold the true value.
        method: "analytic", kappa -+ z times :func:`error_consistency_se`, within -1..1; or
            "bootstrap", as :func:`bootstrap`.
        n_resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        low and high; NaN where kappa is undefined.

    >>> import numpy as np, ovcore as ov
    >>> wrong = np.random.default_rng(0).random((2, 1000)) < .3  # independent: kappa is 0
    >>> low, high = error_consistency(ov.pack_errors(wrong.astype(int), np.zeros(1000, int)))
    >>> bool(low[0, 1] < 0 < high[0, 1])
    True
    """
    if method == "bootstrap":
        return bootstrap(
            pairwise.error_consistency, errors, level=level, n_resamples=n_resamples, seed=seed
        )
    if method != "analytic":
        raise ValueError(f"method must be 'analytic' or 'bootstrap', got {method!r}")
    z = normal_quantile(level)
    counts = as_counts(errors)
    kappa = fill(counts, pairwise.FORMULAS[pairwise.error_consistency])
    margin = z * fill(counts, _consistency_se)
    return (
        _arrays.in_library(np.maximum(kappa - margin, -1), counts.library),
        _arrays.in_library(np.minimum(kappa + margin, 1), counts.library),
    )


def accuracy_difference(
    errors: ErrorBits | JointErrors, *, level: float = 0.95
) -> tuple[Array, Array]:
    """Interval of the row's accuracy minus the column's, on the same samples: (low, high).

    (n10 - n01) / N -+ z times the root of [(n10 + n01) - (n10 - n01)^2 / N] / N^2, the variance of
    a mean of paired differences. low is minus the transpose of high.

    Args:
        errors: errors of M models.
        level: share of such intervals that hold the true value.

    >>> import numpy as np, ovcore as ov
    >>> errors = ov.pack_errors(np.array([[0] * 100, [1] * 20 + [0] * 80]), np.zeros(100, int))
    >>> low, high = accuracy_difference(errors)
    >>> low[0, 1].round(4), high[0, 1].round(4)
    (np.float64(0.1216), np.float64(0.2784))
    """
    z = normal_quantile(level)
    counts = as_counts(errors)
    difference = fill(counts, pairwise.FORMULAS[pairwise.accuracy_difference])
    margin = z * fill(counts, difference_se)
    return (
        _arrays.in_library(difference - margin, counts.library),
        _arrays.in_library(difference + margin, counts.library),
    )


def difference_se(t: Table) -> Values:
    """Standard error of the difference of two models' accuracies on the same samples."""
    variance = (t.n10 + t.n01) - (t.n10 - t.n01) ** 2 / t.n
    return np.sqrt(np.maximum(variance, 0)) / t.n  # rounding can pass 0


def bootstrap(
    metric: Callable[..., Array],
    errors: ErrorBits | JointErrors,
    *,
    level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Percentile interval of a pairwise metric over resampled samples: (low, high), each (M, M).

    Drawing N samples with replacement draws a pair's table from the multinomial of its shares, so
    tables are drawn: some 0.2 ms a pair for 1,000 resamples whatever N is, in bounded memory. Each
    pair is drawn by itself; what is read off several pairs together is not covered.

    Args:
        metric: a function of :mod:`ovcore.pairwise` that gives one number a pair, such as
            ``ov.pairwise.error_inconsistency``; taken with its default options.
        errors: errors of M models.
        level: share of the resampled values between low and high.
        n_resamples: how many.
        seed: the same seed gives the same interval.

    Returns:
        low and high: symmetric, but for accuracy_difference, where low is minus the transpose of
        high. Resamples where the metric is undefined are left out; NaN where all are.

    Raises:
        ValueError: a metric that cannot be resampled, a level outside 0..1, no resample.
    """
    formula = pairwise.FORMULAS.get(metric) if callable(metric) else None
    if formula is None:
        names = ", ".join(known.__name__ for known in pairwise.FORMULAS)
        raise ValueError(
            f"metric must be a function of ovcore.pairwise among {names}: got {metric}"
        )
    _check_level(level)
    if not isinstance(n_resamples, int | np.integer) or n_resamples < 1:
        raise ValueError(f"n_resamples must be an integer >= 1, got {n_resamples!r}")
    counts = as_counts(errors)
    rng = np.random.default_rng(seed)
    low, high = np.empty((2, counts.n_models, counts.n_models))
    tails = [(1 - level) / 2, (1 + level) / 2]
    for rows, cols, table in pair_slabs(counts, max(1, _SLAB_DRAWS // n_resamples)):
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            values = formula(_resampled(table, n_resamples, rng))
            low[rows, cols], high[rows, cols] = np.nanquantile(values, tails, axis=0)
        below, above = low[rows, cols].T, high[rows, cols].T
        if metric is pairwise.accuracy_difference:
            below, above = -above, -below
        low[cols, rows], high[cols, rows] = below, above
    return _arrays.in_library(low, counts.library), _arrays.in_library(high, counts.library)


def _resampled(table: Table, n_resamples: int, rng: np.random.Generator) -> Table:
    """(n_resamples, P) tables drawn from those of P pairs, (1, P)."""
    n = np.broadcast_to(table.n, table.n00.shape)[0]
    cells = np.stack([table.n11[0], table.n10[0], table.n01[0], table.n00[0]], axis=-1)
    cells[n == 0] = 1  # no sample, no draw
    shares = cells / cells.sum(axis=-1, keepdims=True)
    drawn = rng.multinomial(n.astype(np.int64), shares, size=(n_resamples, len(n)))
    _, n10, n01, n00 = np.moveaxis(drawn, -1, 0).astype(np.float64)
    return Table(n, n00, n01 + n00, n10 + n00)


def normal_quantile(level: float) -> float:
    """How many standard errors such an interval reaches to either side."""
    from statistics import NormalDist  # costs as much to import as all of ovcore

    _check_level(level)
    return NormalDist().inv_cdf((1 + level) / 2)


def _check_level(level: float) -> None:
    if not isinstance(level, float | int | np.floating) or not 0 < level < 1:
        raise ValueError(f"level must be a number between 0 and 1, got {level!r}")
