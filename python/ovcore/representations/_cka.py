"""Centered kernel alignment of features."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _progress
from ovcore._arrays import Array
from ovcore.representations._centering import Centering
from ovcore.representations._features import Features, read_features, side_by_side
from ovcore.representations._moments import Moments

__all__ = ["cka"]

_GRAM_NUMBERS = 1 << 24  # of features centred at once where samples are fewer than dimensions
_KEPT_NUMBERS = 1 << 27  # of all models' Gram matrices, which more would be made anew for: 1 GB


def cka(
    features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m)
    other: Array | None = None,  # (N, D') floating
    *,
    unbiased: bool = True,
    backend: str | None = None,
    workers: int | None = None,
) -> float | Array:
    """Linear centered kernel alignment: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = X X^T.

    1 for features that are equal but for a rotation, a common factor and a shift; about 0 for
    independent ones. By default with the unbiased estimator of HSIC (Song et al., 2012), whose mean
    is 0 for independent features however many dimensions they have, and which can be negative:

        HSIC(K, L) = [sum K~ L~ + (sum K~) (sum L~) / ((N - 1) (N - 2))
                      - 2 / (N - 2) sum_i (K~ 1)_i (L~ 1)_i] / (N (N - 3))

    with K~ = K without its diagonal. ``unbiased=False`` is |X^T Y|^2 / (|X^T X| |Y^T Y|) of centred
    features (Kornblith et al., 2019). Streamed: no centred copy is in memory; what is kept is D x
    D', or N x N where that is smaller, of all models up to 1 GB.

    Args:
        features: M models'; with ``other`` one's, or several side by side.
        other: another's; with it the alignment of the two is returned.
        unbiased: which estimator.
        backend: see :meth:`Moments.from_features`.
        workers: see there.

    Returns:
        A float, or of M models the matrix (M, M) float64 in their library. NaN where either's HSIC
        with itself is not positive.

    Raises:
        TypeError: element types that are not floating.
        ValueError: as :meth:`Moments.from_features`; no models; fewer than four samples (two if
            biased).

    >>> import numpy as np
    >>> x = np.random.default_rng(0).standard_normal((500, 3))
    >>> round(cka(x, 2 * x[:, ::-1] + 1), 6), cka([x, x**2]).shape
    (1.0, (2, 2))
    """
    if other is None:
        if not isinstance(features, (list, tuple)) or not features:
            raise ValueError("cka compares: pass two models' features, or a list of M models'")
        names = [f"features[{m}]" for m in range(len(features))]
        models = [read_features(one, name) for one, name in zip(features, names, strict=True)]
    else:
        names = ["features", "other"]
        models = [read_features(features), read_features(other, "other")]
    models = side_by_side(models, names)
    least = 4 if unbiased else 2
    if models[0].n_samples < least:
        raise ValueError(f"cka needs at least {least} samples, got {models[0].n_samples}")
    keep = len(models) * models[0].n_samples ** 2 <= _KEPT_NUMBERS
    found = _alignments(
        [
            _Model(model, name, backend, workers, keep)
            for model, name in zip(models, names, strict=True)
        ],
        unbiased,
    )
    if other is not None:
        return float(found[0, 1])
    return _arrays.in_library(found, models[0].library)


def _alignments(models: list[_Model], unbiased: bool) -> NDArray[np.float64]:
    """(M, M)."""
    hsic = np.empty((len(models), len(models)))
    done, pairs = 0, len(models) * (len(models) + 1) // 2
    shows = _progress.bar("centered kernel alignment")
    with shows as shown, np.errstate(over="ignore", invalid="ignore"):
        for i, x in enumerate(models):
            for j, y in enumerate(models[i:], i):
                found = x.squared_product(y)
                if unbiased:
                    found = _unbiased(found, x.norms, y.norms)
                if not np.isfinite(found * found):
                    raise ValueError("features are too large: products of their squares overflow")
                hsic[i, j] = hsic[j, i] = found
                done += 1
                if shown is not None:
                    shown(done, pairs)
    own = np.diagonal(hsic)
    positive = np.where((own > 0) & (own * own > 0), own, np.nan)
    return hsic / np.sqrt(np.outer(positive, positive))


def _unbiased(square: float, k: NDArray[np.float64], m: NDArray[np.float64]) -> float:
    """N (N - 3) HSIC(K, L), from the sum of all entries of K times L's, and their diagonals (N,).

    Of centred features, whose K and L sum to 0 along each row: without its diagonal, to minus it.
    """
    n, both = len(k), float(k @ m)
    return square - both + float(k.sum() * m.sum()) / ((n - 1) * (n - 2)) - 2 * both / (n - 2)


class _Model:
    """One model's centred features, and what of them every pair needs."""

    def __init__(
        self,
        features: Features,
        name: str,
        backend: str | None,
        workers: int | None,
        keep: bool,
    ) -> None:
        self._features, self._options = features, (backend, workers)
        self._keep, self._kept = keep, None
        centering = self._centering(features)
        for _ in centering:
            pass
        centering.left([name])  # refuses what is not finite
        (mean,) = centering.means()
        self._mean = _arrays.as_numpy(mean)
        # Off the diagonal little is left of K: norms and Gram matrices take float64.
        self._wide = features._replace(dtype="float64")

    @functools.cached_property
    def norms(self) -> NDArray[np.float64]:
        """(N,) squared lengths of samples: the diagonal of K."""
        blocks = self._centering(self._wide, pilots=[self._mean])
        lengths = [_arrays.as_numpy((block * block).sum(1)) for (block,) in blocks]
        return np.concatenate(lengths)

    def squared_product(self, other: _Model) -> float:
        """|X^T Y|^2, the sum of all entries of K times those of L; the smaller of the two forms."""
        x, y = self._features, other._features
        if x.n_dimensions * y.n_dimensions > x.n_samples**2:
            gram = self._gram()
            return float((gram * (gram if other is self else other._gram())).sum())
        sides = [x] if other is self else [x, y]
        comoment = Moments._of(sides, self._centering(*sides)).comoment
        return float((comoment * comoment).sum())

    def _gram(self) -> Array:
        """(N, N) K, a range of dimensions at a time."""
        if self._kept is not None:
            return self._kept
        x = self._wide
        total = _arrays.zeros((x.n_samples, x.n_samples), "float64", x.library)
        step = max(1, _GRAM_NUMBERS // x.n_samples)
        for part, start, stop in x.placed():
            for first in range(start, stop, step):
                last = min(first + step, stop)
                some = part._replace(values=part.values[:, first - start : last - start])
                some_features = x._replace(parts=[some], sizes=(last - first,))
                pilots = [self._mean[first:last]]
                for (block,) in self._centering(some_features, pilots=pilots, whole=True):
                    total += block @ block.T
        self._kept = total if self._keep else None
        return total

    def _centering(
        self, *sides: Features, pilots: list[NDArray[Any]] | None = None, whole: bool = False
    ) -> Centering:
        backend, workers = self._options
        size = sides[0].n_samples if whole else None
        return Centering(list(sides), size, backend, workers, pilots)
