"""Average precision of multi-label scores as in PASCAL VOC.

Counts are compared as integers: 3 positives of 10 reach the recall 0.3, while in floating point
3 * 0.1 > 0.3, and so for 0.6 and 0.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array, Typed
from ovcore.representations._targets import read_marks

__all__ = [
    "MeanAveragePrecision",
    "average_precision_11pt",
    "average_precision_area",
    "mean_average_precision",
]

_Counts: TypeAlias = NDArray[np.int64]
_Summary: TypeAlias = Callable[[_Counts, _Counts], float]


@dataclass(frozen=True, eq=False)
class MeanAveragePrecision:
    """Average precision of K classes and its mean.

    Attributes:
        value: mean over the classes that have a positive; NaN where none has.
        per_class: (K,) float64, NaN for a class without positives.
        n_without_positives: number of such classes.
    """

    value: float
    per_class: Array
    n_without_positives: int


def average_precision_11pt(
    scores: Array,  # (N, K) floating
    target: Array,  # (N, K) truth values or integers 0 and 1
    *,
    difficult: Array | None = None,  # (N, K) like target
) -> Array:
    """Mean over t in {0, 0.1, ..., 1} of the largest precision at recall >= t: (K,) float64.

    The average precision of VOC 2007 (Everingham et al., 2010). Precision and recall of a class
    are those of the samples with a score at or above a threshold, so tied samples enter together
    and the order of samples does not matter. Dimensionless, 0 to 1. NaN for a class without
    positives. VOC's labels are 1, -1 and, for difficult samples, 0: pass
    ``target = labels == 1, difficult = labels == 0``.

    Args:
        scores: larger means more likely; only their order matters. +inf and -inf are allowed.
        target: which classes each sample has, any number of them.
        difficult: samples left out for a class, whether it is in them or not.

    Returns:
        In the library of ``scores``.

    Raises:
        ValueError: other shapes; no sample or no class; NaN among the scores, also of a difficult
            sample; integers other than 0 and 1; arrays on a GPU.
        TypeError: scores that are not floating; other types of ``target`` or ``difficult``.

    >>> import numpy as np
    >>> scores, target = np.array([[.9], [.8], [.7], [.6]]), np.array([[1], [0], [1], [0]])
    >>> average_precision_11pt(scores, target).round(4)  # (6 * 1 + 5 * 2/3) / 11
    array([0.8485])
    """
    values = _per_class(scores, target, difficult, _at_eleven_recalls)
    return _arrays.in_library(values, _arrays.library_of(scores))


def average_precision_area(
    scores: Array,  # (N, K) floating
    target: Array,  # (N, K) truth values or integers 0 and 1
    *,
    difficult: Array | None = None,  # (N, K) like target
) -> Array:
    """Area under the largest precision at recall >= r, over r from 0 to 1: (K,) float64.

    The average precision of VOC 2010 and later (Everingham et al., 2015). At least the mean over
    positives of the precision at their scores, which scikit-learn's ``average_precision_score``
    is. Arguments, edges and errors as in :func:`average_precision_11pt`.

    >>> import numpy as np
    >>> scores, target = np.array([[.9], [.8], [.7], [.6]]), np.array([[1], [0], [1], [0]])
    >>> average_precision_area(scores, target).round(4)  # (1 + 2/3) / 2
    array([0.8333])
    """
    values = _per_class(scores, target, difficult, _area)
    return _arrays.in_library(values, _arrays.library_of(scores))


def mean_average_precision(
    scores: Array,  # (N, K) floating
    target: Array,  # (N, K) truth values or integers 0 and 1
    *,
    difficult: Array | None = None,  # (N, K) like target
    area: bool = False,
) -> MeanAveragePrecision:
    """Mean over the classes that have a positive of their average precision (mAP).

    Classes without one are left out and counted; where no class has one, the mean is NaN
    (Everingham et al., 2010).

    Args:
        scores: as in :func:`average_precision_11pt`, and so the errors raised.
        target: likewise.
        difficult: likewise. A class whose positives are all difficult has none.
        area: average :func:`average_precision_area` instead of :func:`average_precision_11pt`.

    >>> import numpy as np
    >>> scores = np.array([[.9, .1, .5], [.8, .2, .5], [.7, .3, .5]])
    >>> found = mean_average_precision(scores, np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]]))
    >>> found.value, found.per_class, found.n_without_positives
    (0.75, array([1. , 0.5, nan]), 1)
    """
    values = _per_class(scores, target, difficult, _area if area else _at_eleven_recalls)
    lacking = np.isnan(values)
    return MeanAveragePrecision(
        value=float("nan") if lacking.all() else float(values[~lacking].mean()),
        per_class=_arrays.in_library(values, _arrays.library_of(scores)),
        n_without_positives=int(lacking.sum()),
    )


def _per_class(
    scores: Array, target: Array, difficult: Array | None, summary: _Summary
) -> NDArray[np.float64]:
    """(K,) summaries of the checked arguments' curves; NaN where there is no positive."""
    given = _read_scores(scores)
    n_classes = given.values.shape[1]
    beside = {"scores": given.values.shape}
    positive = read_marks(target, "target", beside)
    left_out = None if difficult is None else read_marks(difficult, "difficult", beside)
    values = np.full(n_classes, np.nan)
    for k in range(n_classes):
        score = _arrays.widen(given._replace(values=given.values[:, k]))
        _refuse_nan(score, k)
        kept = slice(None) if left_out is None else ~left_out[:, k]
        is_positive = positive[kept, k]
        if is_positive.any():
            values[k] = summary(*_curve(score[kept], is_positive))
    return values


def _curve(score: NDArray[np.floating], is_positive: NDArray[np.bool_]) -> tuple[_Counts, _Counts]:
    """At each different score, from the highest: positives, and samples, with that or a higher."""
    order = np.argsort(score)[::-1]
    ranked = score[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of groups of tied samples
    return np.cumsum(is_positive[order], dtype=np.int64)[ends], ends + 1


def _best_from(n_positive: _Counts, n_seen: _Counts) -> NDArray[np.float64]:
    """Largest precision from each point of a curve on; recall never falls along it."""
    return np.maximum.accumulate((n_positive / n_seen)[::-1])[::-1]


def _at_eleven_recalls(n_positive: _Counts, n_seen: _Counts) -> float:
    first = np.searchsorted(10 * n_positive, np.arange(11) * n_positive[-1])
    return float(_best_from(n_positive, n_seen)[first].mean())


def _area(n_positive: _Counts, n_seen: _Counts) -> float:
    gained = np.diff(n_positive, prepend=0)
    return float((gained * _best_from(n_positive, n_seen)).sum() / n_positive[-1])


def _read_scores(scores: Array) -> Typed:
    _arrays.refuse_gpu(scores, "scores", "average precision is computed")
    given = _arrays.view(_arrays.adopt(scores, "scores"), "scores")
    if given.values.ndim != 2 or given.values.size == 0:
        raise ValueError(
            "scores must be (N, K) with at least one sample and one class, "
            f"got shape {given.values.shape}"
        )
    if given.dtype != "bfloat16" and given.values.dtype.kind != "f":
        raise TypeError(f"scores must be floating, got {given.dtype}")
    return given


def _refuse_nan(score: NDArray[np.floating], k: int) -> None:
    lacking = np.isnan(score)
    if lacking.any():
        raise ValueError(
            f"scores of class {k} are NaN for {int(lacking.sum())} of {len(score)} samples, "
            f"first at sample {int(lacking.argmax())}"
        )
