"""A linear probe: what a linear classifier reads off features."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _progress
from ovcore._arrays import Array
from ovcore._estimator import Classifier, labels_at
from ovcore.representations._checkpoint import Checkpoint
from ovcore.representations._features import Features, read_features
from ovcore.representations._grids import PROTOCOLS
from ovcore.representations._rules import read_for, ridge_of, rules_of, warn_of
from ovcore.representations._targets import Target, of_classes, positions_of, read_classes
from ovcore.representations._validation import Split, beside, held_out

if TYPE_CHECKING:
    from ovcore.representations._search import Found

__all__ = ["LinearProbe"]


class LinearProbe(Classifier):
    """Multinomial logistic regression with an L2 penalty on features of a frozen model.

    Minimises the sum over samples of -log softmax(W x + b)[target] + |W|^2 / (2 C), where x are
    the standardised features; two classes are told apart by one output, as in scikit-learn, with
    which coefficients agree at the same C. L-BFGS with a strong Wolfe line search (torch), analytic
    gradient, and the features' second moments as preconditioner; logits of a block of samples alone
    are in memory. It runs where the features are, CPU or GPU, in float64 where they are that or
    few (up to 4 million numbers), otherwise in float32 with float64 sums, on one standardised copy;
    a protocol holds a second copy of them.

    Args:
        C: inverse penalty 1 / lambda on the sum of losses; ignored under a protocol.
        protocol: how lambda is chosen by validation accuracy, the larger of equally good ones.
            "clip": from 1e-6 to 1e6 in 96 logarithmic steps, coarse to fine (Radford et al., 2021);
            "kornblith": 45 values from 1e-6 to 1e5 (Kornblith, Shlens and Le, 2019). Then the probe
            is fitted anew on training and validation samples together.
        standardize: divide each dimension by its standard deviation; constant ones stay.
        validation_fraction: share of each class that a protocol holds out where it is given no
            validation samples.
        seed: of that choice.
        tol: a search has converged where no entry of the gradient, divided by N, is larger.
        max_iter: iterations after which it ends in any case, with a warning.
        warm_start: start from the coefficients of the last fit.
        workers: threads; by default all cores this process may run on.

    Attributes:
        classes_: (K,) sorted labels.
        coef_: (K, D) weights for features as they are given; (1, D) of two classes.
        intercept_: (K,) or (1,).
        C_: the C that was fitted.
        loss_: what was minimised, divided by N, in nats.
        n_iter_: iterations.
        status_: "converged", "at_precision" (rounding hid further progress) or "max_iter".
        lambdas_: (L,) penalties that a protocol tried, ascending.
        validation_accuracy_: (L,) of each.
        n_features_in_: D.

    >>> import numpy as np
    >>> target = np.repeat(["cat", "dog", "owl"], 50)
    >>> features = np.random.default_rng(0).standard_normal((150, 3)) + 5 * np.eye(3).repeat(50, 0)
    >>> probe = LinearProbe(C=0.1).fit(features, target)
    >>> probe.predict(features[::60]), probe.coef_.shape
    (array(['cat', 'dog', 'owl'], dtype='<U3'), (3, 3))
    """

    _fitted = "coef_"

    def __init__(
        self,
        *,
        C: float = 1.0,
        protocol: str | None = None,
        standardize: bool = True,
        validation_fraction: float = 0.2,
        seed: int = 0,
        tol: float = 1e-6,
        max_iter: int = 1000,
        warm_start: bool = False,
        workers: int | None = None,
    ):
        self.C = C
        self.protocol = protocol
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.seed = seed
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.workers = workers

    def fit(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        y: Sequence[Any] | Array,  # (N,) labels of any kind that sorts
        *,
        validation: tuple[Any, Any] | None = None,  # features and labels of other samples
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> LinearProbe:
        """Finds the weights; needs torch.

        Args:
            X: features; memory maps are read block by block.
            y: their labels.
            validation: samples for a protocol to choose lambda by.
            checkpoint: folder that keeps what is done, every 30 seconds and after each lambda; a
                fit that was interrupted goes on there.

        Raises:
            TypeError: element types that are not floating.
            ValueError: shapes or numbers of samples that do not fit; fewer than two classes; values
                that are not finite; settings out of range; a checkpoint of other data or settings.
        """
        from ovcore.representations import _design, _search

        x = read_features(X, "X")
        classes, positions = read_classes(y, x.n_samples, "y", "X")
        rules, ridge = rules_of(self), ridge_of(self.C)
        start = self._last_weights(x, classes)
        split = self._split(x, classes, positions, validation)
        if split is not None:
            x, positions = split.whole
        target = of_classes(positions, len(classes))
        with _design.threads(self.workers):
            kept = None if checkpoint is None else self._checkpoint(checkpoint, split, x, target)
            found = None if split is None else self._search(split, len(classes), rules, kept)
            if found is not None:
                ridge, start = found.ridge, found.coefficients
            self._probe = _search.fit_one(x, target, ridge, rules, start=start, checkpoint=kept)
        self.classes_, self.C_ = classes, float(self.C) if found is None else 1 / ridge
        self.coef_, self.intercept_ = self._probe.coefficients(0)
        self.loss_, self.n_iter_ = float(self._probe.loss[0]), int(self._probe.n_iter[0])
        self.status_, self.n_features_in_ = self._probe.status[0], x.n_dimensions
        for name in ("lambdas_", "validation_accuracy_"):
            vars(self).pop(name, None)  # of an earlier fit
        if found is not None:
            self.lambdas_, self.validation_accuracy_ = found.lambdas, found.accuracy
        warn_of([self.status_], self.max_iter)
        return self

    def predict_logits(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """W x + b: (N, K) in the features' library, on their device.

        float32 or float64 by how many features are given, as in fitting. Of two classes the halves
        of the one output, -z / 2 and z / 2.

        Raises:
            ValueError: not fitted; other dimensions than it was fitted on; values not finite.
        """
        from ovcore.representations import _design

        x = read_for(self, X, "X")
        with _design.threads(self.workers):
            logits = self._probe.logits(x, self.workers)
        if logits.shape[1] == 1:
            logits = logits * logits.new_tensor([-0.5, 0.5])
        return _arrays.from_torch(logits, x.library)

    def predict_proba(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """softmax(W x + b): (N, K), as :meth:`predict_logits`."""
        logits = self.predict_logits(X)
        xp = _arrays.namespace(_arrays.library_of(logits))
        shares = xp.exp(logits - xp.amax(logits, 1)[:, None])
        return shares / shares.sum(1)[:, None]

    def predict(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    ) -> Array:
        """Label of the largest logit, the first of equal ones: (N,).

        Numbers are in the features' library, other labels in a numpy array. Errors as in
        :meth:`predict_logits`.
        """
        x = read_for(self, X, "X")
        return labels_at(self.classes_, self._positions(x), x.library)

    def score(
        self,
        X: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
        y: Sequence[Any] | Array,  # (N,) labels
    ) -> float:
        """Accuracy; a label that was not fitted counts as missed."""
        x = read_for(self, X, "X")
        right = positions_of(y, self.classes_, x.n_samples, "y", "X")
        return float((self._positions(x) == right).mean())

    def _positions(self, x: Features) -> NDArray[np.int64]:
        """(N,) positions of the predicted classes."""
        from ovcore.representations import _design

        with _design.threads(self.workers):
            return self._probe.best_positions(x, self.workers)[0]

    def _last_weights(self, x: Features, classes: NDArray[Any]) -> Any:
        """What a warm start starts from; None where there is nothing."""
        if not self.warm_start or not self.__sklearn_is_fitted__():
            return None
        if x.n_dimensions != self.n_features_in_ or not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start needs the dimensions and classes of the last fit: "
                f"{self.n_features_in_} and {self.classes_.tolist()}"
            )
        return self._probe.coefficients(0)

    def _split(
        self,
        x: Features,
        classes: NDArray[Any],
        positions: NDArray[np.int64],
        validation: tuple[Any, Any] | None,
    ) -> Split | None:
        if self.protocol is None:
            if validation is not None:
                raise ValueError("validation is for a protocol: pass protocol= to the constructor")
            return None
        if self.protocol not in PROTOCOLS:
            raise ValueError(
                f"protocol must be one of {', '.join(PROTOCOLS)} or None, got {self.protocol!r}"
            )
        if validation is None:
            return held_out(x, positions, self.validation_fraction, self.seed)
        return beside(x, classes, positions, *validation)

    def _search(
        self, split: Split, n_classes: int, rules: Any, checkpoint: Checkpoint | None
    ) -> Found:
        """The best penalty under the protocol, and what was tried."""
        from ovcore.representations import _search

        assert self.protocol is not None
        grid = PROTOCOLS[self.protocol]
        training = split.training[0], of_classes(split.training[1], n_classes)
        with _progress.bar(f"linear probe, {self.protocol} protocol") as shown:
            return _search.search(training, split.held, grid, rules, checkpoint, shown)

    def _checkpoint(
        self, folder: str | os.PathLike[str], split: Split | None, x: Features, target: Target
    ) -> Checkpoint:
        rules = rules_of(self)._replace(workers=None)
        if split is None:
            return Checkpoint(folder, [rules, ridge_of(self.C), target.values, x])
        return Checkpoint(folder, [rules, self.protocol, *split.training, *split.held])
