"""Linear probes on many subsets of the same features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _progress
from ovcore._arrays import Array
from ovcore._estimator import Classifier, labels_at
from ovcore.representations._features import Features, read_features
from ovcore.representations._rules import read_for, ridge_of, rules_of, warn_of
from ovcore.representations._targets import of_classes, positions_of, read_classes

__all__ = ["LinearProbes"]


class LinearProbes(Classifier):
    """A linear probe on each of many subsets of the same features.

    Each is the multinomial logistic regression of :class:`LinearProbe` at one C. Subsets of one
    size are fitted together, so that many small probes take little longer than a few; sizes may
    differ, and none is padded.

    Args:
        subsets: S sequences of dimensions, each at least one and without repetitions.
        C: as are those below, see :class:`LinearProbe`.
        standardize: see there.
        tol: see there.
        max_iter: see there.
        workers: see there.

    Attributes:
        classes_: (K,) sorted labels.
        coef_: S matrices (K, D_s) for features as they are given; (1, D_s) of two classes.
        intercept_: S vectors (K,), or (1,).
        loss_: (S,) what was minimised, as in :class:`LinearProbe`.
        n_iter_: (S,) iterations of the search that each was part of.
        status_: S of "converged", "at_precision" or "max_iter".
        n_features_in_: D.

    >>> import numpy as np
    >>> target = np.arange(300) % 3
    >>> noise = np.random.default_rng(0).standard_normal((300, 4))
    >>> features = noise + 4 * np.eye(3, 4)[target]
    >>> LinearProbes([[0, 1, 2], [3]]).fit(features, target).score(features, target).round(1)
    array([1. , 0.4])
    """

    _fitted = "coef_"

    def __init__(
        self,
        subsets: Sequence[Sequence[int] | NDArray[np.integer[Any]]],
        *,
        C: float = 1.0,
        standardize: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
        workers: int | None = None,
    ):
        self.subsets = subsets
        self.C = C
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.workers = workers

    def fit(
        self,
        features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        target: Sequence[Any] | Array,  # (N,) labels of any kind that sorts
    ) -> LinearProbes:
        """Fits all probes; needs torch.

        Raises:
            TypeError: element types that are not floating.
            ValueError: as :meth:`LinearProbe.fit`; a subset that is empty, repeats a dimension or
                names one that the features do not have.
        """
        from ovcore.representations import _design, _fitting

        x = read_features(features)
        classes, positions = read_classes(target, x.n_samples)
        subsets = read_subsets(self.subsets, x.n_dimensions)
        rules, ridge = rules_of(self), ridge_of(self.C)
        with _design.threads(self.workers), _progress.bar("linear probes") as shown:
            self._probes = _fitting.fit_subsets(
                x, of_classes(positions, len(classes)), subsets, ridge, rules, shown
            )
        pairs = [self._probes.coefficients(s) for s in range(len(subsets))]
        self.classes_ = classes
        self.coef_ = [coefficients for coefficients, _ in pairs]
        self.intercept_ = [intercepts for _, intercepts in pairs]
        self.loss_, self.n_iter_ = self._probes.loss, self._probes.n_iter
        self.status_ = self._probes.status
        self.n_features_in_ = x.n_dimensions
        warn_of(self.status_, self.max_iter)
        return self

    def predict(
        self,
        features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """Label of each probe's largest logit, the first of equal ones: (S, N).

        Numbers are in the features' library, other labels in a numpy array.

        Raises:
            ValueError: not fitted; other dimensions than it was fitted on.
        """
        x = read_for(self, features, "features")
        return labels_at(self.classes_, self._positions(x), x.library)

    def score(
        self,
        features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        target: Sequence[Any] | Array,  # (N,) labels
    ) -> NDArray[np.float64]:
        """(S,) accuracy of each probe; a label that was not fitted counts as missed."""
        x = read_for(self, features, "features")
        right = positions_of(target, self.classes_, x.n_samples, "target", "features")
        return (self._positions(x) == right).mean(axis=1)

    def _positions(self, x: Features) -> NDArray[np.int64]:
        """(S, N) positions of the predicted classes."""
        from ovcore.representations import _design

        with _design.threads(self.workers):
            return self._probes.best_positions(x, self.workers)


def read_subsets(
    given: Sequence[Sequence[int] | NDArray[np.integer[Any]]], n_dimensions: int
) -> list[NDArray[np.int64]]:
    """S checked arrays of dimensions."""
    subsets = []
    for s, subset in enumerate(given):
        values = np.asarray(subset)
        if values.ndim != 1 or values.dtype.kind not in "iu":
            raise ValueError(f"subsets[{s}] must be a sequence of dimensions, got {subset!r}")
        if len(values) == 0 or len(np.unique(values)) != len(values):
            raise ValueError(f"subsets[{s}] must be different dimensions, at least one")
        if values.min() < 0 or values.max() >= n_dimensions:
            raise ValueError(
                f"subsets[{s}] has dimensions from {values.min()} to {values.max()}, but features "
                f"has {n_dimensions}"
            )
        subsets.append(values.astype(np.int64))
    if not subsets:
        raise ValueError("subsets must be at least one")
    return subsets
