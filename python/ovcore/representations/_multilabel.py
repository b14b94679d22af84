"""Linear probes for samples that can have several labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore._estimator import Classifier
from ovcore.representations._features import read_features
from ovcore.representations._precision import mean_average_precision
from ovcore.representations._rules import read_for, ridge_of, rules_of, warn_of
from ovcore.representations._targets import read_multilabel

__all__ = ["MultilabelProbe"]


class MultilabelProbe(Classifier):
    """One logistic regression with an L2 penalty for each of K labels.

    Minimises for each label the sum over samples of log(1 + exp(z)) - y z plus |w|^2 / (2 C), with
    z = w x + b of the standardised features x and y = 1 where the sample has the label: all labels
    in one search. Otherwise as :class:`LinearProbe`. The transfer task of Gontijo-Lopes, Dauphin
    and Cubuk (2022, Fig. 7) scores it by :func:`mean_average_precision`.

    A label that no sample has, or every sample, is given an intercept that says so.

    Args:
        C: as are those below, see :class:`LinearProbe`.
        standardize: see there.
        tol: see there.
        max_iter: see there.
        workers: see there.

    Attributes:
        classes_: (K,) 0 to K - 1.
        coef_: (K, D) weights for features as they are given.
        intercept_: (K,).
        loss_: what was minimised, summed over labels and divided by N.
        n_iter_: iterations.
        status_: "converged", "at_precision" or "max_iter".
        n_features_in_: D.

    >>> import numpy as np
    >>> features = np.random.default_rng(0).standard_normal((200, 3))
    >>> probe = MultilabelProbe().fit(features, features[:, :2] > 0)
    >>> probe.predict([[3., -3., 0.]])
    array([[ True, False]])
    """

    _fitted = "coef_"
    _multilabel = True

    def __init__(
        self,
        *,
        C: float = 1.0,
        standardize: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
        workers: int | None = None,
    ):
        self.C = C
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.workers = workers

    def fit(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        Y: Array,  # (N, K) truth values or integers 0 and 1
        *,
        difficult: Array | None = None,  # (N, K) likewise
    ) -> MultilabelProbe:
        """Finds the weights; needs torch.

        Args:
            X: features.
            Y: which labels each sample has.
            difficult: samples that are left out for a label.

        Raises:
            TypeError: element types that are not floating; labels that are not truth values.
            ValueError: shapes or numbers of samples that do not fit; values that are not finite.
        """
        from ovcore.representations import _design, _fitting

        x = read_features(X, "X")
        target = read_multilabel(Y, difficult, x.n_samples, "Y", "X")
        rules, ridge = rules_of(self), ridge_of(self.C)
        with _design.threads(self.workers):
            self._probe = _fitting.fit_subsets(x, target, [None], ridge, rules)
        self.classes_ = np.arange(target.n_outputs)
        self.coef_, self.intercept_ = self._probe.coefficients(0)
        self.loss_, self.n_iter_ = float(self._probe.loss[0]), int(self._probe.n_iter[0])
        self.status_, self.n_features_in_ = self._probe.status[0], x.n_dimensions
        warn_of([self.status_], self.max_iter)
        return self

    def predict_logits(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """Log odds of each label: (N, K) in the features' library, on their device.

        Raises:
            ValueError: not fitted; other dimensions than it was fitted on; values not finite.
        """
        from ovcore.representations import _design

        x = read_for(self, X, "X")
        with _design.threads(self.workers):
            logits = self._probe.logits(x, self.workers)
        return _arrays.from_torch(logits, x.library)

    def predict_proba(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """Probability of each label, 1 / (1 + exp(-z)): (N, K), as :meth:`predict_logits`."""
        logits = self.predict_logits(X)
        xp = _arrays.namespace(_arrays.library_of(logits))
        return 0.5 * (1 + xp.tanh(0.5 * logits))  # does not overflow

    def score(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        Y: Array,  # (N, K) truth values
        *,
        difficult: Array | None = None,  # (N, K) likewise
    ) -> float:
        """Mean average precision at 11 points; see :func:`mean_average_precision`."""
        logits = _arrays.as_numpy(self.predict_logits(X))
        return mean_average_precision(logits, Y, difficult=difficult).value

    def predict(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """Whether each label is the likelier: (N, K) truth values; errors as above."""
        return self.predict_logits(X) > 0
