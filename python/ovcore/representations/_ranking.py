"""Dimensions of features ranked by how much of them the others share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore._inputs import is_sequence_of_arrays
from ovcore.representations._features import read_features, side_by_side
from ovcore.representations._moments import Moments

__all__ = ["SCORES", "FeatureRanking", "rank_features"]

SCORES = ("sum", "cross", "max", "raw", "variance")
"""How rows of the covariance matrix can be reduced to scores."""


@dataclass(frozen=True, eq=False)
class FeatureRanking:
    """Dimensions of one or more models' features, side by side, from the most diverse.

    Attributes:
        order: (D,) int64, all dimensions: those that share least with others first, equal ones in
            the order they came in (to 12 digits of the largest score), constant ones last.
        scores: (D,) float64, what they were ranked by; NaN for constant ones.
        score: the reduction: one of "sum", "cross", "max", "raw", "variance".
        n_constant: number of constant dimensions.
        sizes: dimensions of each model.
    """

    order: Array
    scores: Array
    score: str
    n_constant: int
    sizes: tuple[int, ...]


def rank_features(
    features: Array | Sequence[Array] | Moments,  # (N, D), M arrays (N, D_m), or their moments
    other: Array | None = None,  # (N, D') floating
    *,
    score: str = "sum",
    backend: str | None = None,
    workers: int | None = None,
) -> FeatureRanking:
    """Ranks dimensions of the concatenated features by covariance, least first.

    With C the covariance of the standardised dimensions, the score of dimension j is

    - "sum": the sum of |C_ij| over all i other than j (Gontijo-Lopes, Dauphin and Cubuk, 2022,
      Fig. 6, right, leaves the reduction open; this is the default);
    - "cross": the sum over the dimensions i of other models only;
    - "max": the largest |C_ij| over i other than j;
    - "raw": as "sum", of the covariance of dimensions as they are given;
    - "variance": C_jj as given, the dimension's own variance.

    Args:
        features: of one model or several side by side; or moments of shards, merged.
        other: a further model's, after ``features``.
        score: which of these.
        backend: see :meth:`Moments.from_features`.
        workers: see there.

    Returns:
        Order and scores in the features' library.

    Raises:
        TypeError: element types that are not floating.
        ValueError: as :meth:`Moments.from_features`; another score; fewer than two samples;
            "cross" of one model.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((2, 200))
    >>> rank_features(np.stack([a, b, a + 0.1 * b, np.ones(200)], axis=1)).order
    array([1, 2, 0, 3])
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
    if isinstance(features, Moments):
        if other is not None:
            raise ValueError("other must be among the features that the moments are of")
        moments = features
    else:
        moments = Moments.from_features(
            features if other is None else _beside(features, other),
            backend=backend,
            workers=workers,
        )
    if moments.n_samples < 2:
        raise ValueError(f"ranking needs at least two samples, got {moments.n_samples}")
    if score == "cross" and len(moments.sizes) < 2:
        raise ValueError('score "cross" needs features of at least two models')
    variance = _arrays.as_numpy(moments.variance())
    scores = variance if score == "variance" else _of_rows(moments, score)
    varies = variance > 0
    scores = np.where(varies, scores, np.nan)
    order = np.argsort(np.where(varies, _without_noise(scores), np.inf), kind="stable")
    library = _arrays.library_of(moments.comoment)
    return FeatureRanking(
        order=_arrays.in_library(order.astype(np.int64), library),
        scores=_arrays.in_library(scores, library),
        score=score,
        n_constant=int((~varies).sum()),
        sizes=moments.sizes,
    )


def _beside(features: Array | Sequence[Array], other: Array) -> list[Array]:
    """All models' features in one list, once they fit; errors call them by their names."""
    sides = [read_features(features), read_features(other, "other")]
    side_by_side(sides, ["features", "other"])
    return [*features, other] if is_sequence_of_arrays(features) else [features, other]


def _without_noise(scores: np.ndarray) -> np.ndarray:
    """Scores to 12 digits of the largest: equal dimensions' sums run in other orders."""
    largest = np.nanmax(scores, initial=0.0)
    return np.round(scores / largest, 12) if largest > 0 else scores


def _of_rows(moments: Moments, score: str) -> np.ndarray:
    """(D,) reductions of the absolute covariance without its diagonal."""
    shared = abs(moments.covariance() if score == "raw" else moments.correlation())
    for i in range(len(shared)):
        shared[i, i] = 0.0
    if score == "max":
        xp = _arrays.namespace(_arrays.library_of(shared))
        return _arrays.as_numpy(xp.amax(shared, 0))
    if score == "cross":
        stop = 0
        for size in moments.sizes:
            start, stop = stop, stop + size
            shared[start:stop, start:stop] = 0.0
    return _arrays.as_numpy(shared.sum(0))
