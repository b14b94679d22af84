"""What a metric asks of a pair's joint errors, so that few pairs need the metric itself.

With the errors w_a and w_b of two models given, every metric here grows or falls with their joint
errors n. "At most t" is then a bound on n, and one that is linear in what is known of b.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ovcore._arrays import Array
from ovcore._tables import Values
from ovcore.pairwise import _metrics


class Bounds(NamedTuple):
    """A metric is t where joint errors are alpha[a] + beta[a] x[b] + gamma[a] y[b]."""

    alpha: Values
    beta: Values
    gamma: Values


class Screening(NamedTuple):
    """How one metric is screened.

    Attributes:
        grows: whether it grows with joint errors.
        bounds: of values t (M,), one a model, errors w (M,) and N.
        x: of b, from w and N; NaN where the metric is undefined for all its pairs.
        y: of b, likewise.
        is_exact: whether the bounds of a value that a pair has are free of rounding.
    """

    grows: bool
    bounds: Callable[[Values, Values, float], Bounds]
    x: Callable[[Values, float], Values] = lambda w, _: w
    y: Callable[[Values, float], Values] = lambda w, _: np.zeros_like(w)
    is_exact: bool = False


def _of_inconsistency(t: Values, w: Values, n: float) -> Bounds:
    return Bounds((w - t * n) / 2, np.full_like(w, 0.5), np.zeros_like(w))


def _of_relative_inconsistency(t: Values, w: Values, n: float) -> Bounds:
    return Bounds((1 - t) * w / 2, (1 - t) / 2 + t * (w / n), np.zeros_like(w))


def _of_consistency(t: Values, w: Values, n: float) -> Bounds:
    return _of_relative_inconsistency(1 - t, w, n)


def _of_covariance(t: Values, w: Values, n: float) -> Bounds:
    return Bounds(t * n, w / n, np.zeros_like(w))


def _of_double_fault(t: Values, w: Values, n: float) -> Bounds:
    return Bounds(t * n, np.zeros_like(w), np.zeros_like(w))


def _deviation(w: Values, n: float) -> Values:
    return np.sqrt(w * (n - w))


def _of_correlation(t: Values, w: Values, n: float) -> Bounds:
    return Bounds(np.zeros_like(w), w / n, t * _deviation(w, n) / n)


def _if_it_varies(w: Values, n: float) -> Values:
    return np.where((w > 0) & (w < n), w, np.nan)


SCREENINGS: Mapping[Callable[..., Array], Screening] = {
    _metrics.error_inconsistency: Screening(False, _of_inconsistency, is_exact=True),
    _metrics.relative_inconsistency: Screening(False, _of_relative_inconsistency),
    _metrics.error_consistency: Screening(True, _of_consistency),
    _metrics.error_covariance: Screening(True, _of_covariance),
    _metrics.error_correlation: Screening(True, _of_correlation, x=_if_it_varies, y=_deviation),
    _metrics.double_fault: Screening(True, _of_double_fault, is_exact=True),
}
"""Metrics that can be screened; the others are computed for every pair."""


def slack(n_samples: int) -> float:
    """What rounding may cost a bound, generously."""
    return 1e-6 + 1e-9 * n_samples
