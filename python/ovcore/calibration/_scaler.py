"""Temperature scaling with the face of a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array, Typed
from ovcore._estimator import Classifier, labels_at, read_labels
from ovcore.calibration import _likelihood
from ovcore.calibration._temperature import fit_temperature

__all__ = ["TemperatureScaler"]


class TemperatureScaler(Classifier):
    """Turns the logits of one model into calibrated probabilities: softmax(z / T), T fitted.

    The last step of a pipeline whose other steps give logits, or scores that are equal to logits
    but for a constant in each sample, such as log probabilities. Takes numpy arrays, torch CPU
    tensors and what can be read as either. It never changes which class is predicted (Guo et al.,
    2017).

    Args:
        method: how :func:`fit_temperature` finds T: "nll", "grid" or "ece_sweep".
        classes: (K,) labels of the logits' columns. By default the sorted labels of ``y``, which
            then has to have each of them.

    Attributes:
        temperature_: float.
        nll_: float, mean negative log likelihood in nats of what was fitted, at that temperature.
        status_: "converged", "at_bound" or "no_signal"; see :class:`TemperatureFit`.
        classes_: (K,) labels of the columns.
        n_features_in_: K.

    >>> import numpy as np
    >>> logits = np.log([[.99, .01], [.99, .01], [.99, .01], [.99, .01]])
    >>> scaler = TemperatureScaler(classes=["cat", "dog"]).fit(logits, ["cat", "cat", "cat", "dog"])
    >>> scaler.predict_proba(logits[:1]).round(4), scaler.predict(logits[:1])
    (array([[0.75, 0.25]]), array(['cat'], dtype='<U3'))
    """

    _fitted = "temperature_"

    def __init__(self, *, method: str = "nll", classes: Sequence[Any] | Array | None = None):
        self.method = method
        self.classes = classes

    def fit(
        self,
        logits: Array,  # (N, K) floating
        y: Sequence[Any] | Array,  # (N,) labels of any kind that sorts
    ) -> TemperatureScaler:
        """Finds the temperature. Fit on other samples than the model was trained on.

        Raises:
            ValueError: as :func:`fit_temperature`; labels that are not those of the K columns.
        """
        z = _read(logits)
        classes, target = _read_labels(y, self.classes, z.values.shape[1])
        fit = fit_temperature([z.values], target, method=self.method)
        self.temperature_ = float(fit.temperature[0])
        self.nll_ = float(fit.nll[0])
        self.status_ = fit.status[0]
        self.classes_ = classes
        self.n_features_in_ = z.values.shape[1]
        return self

    def predict_proba(
        self,
        logits: Array,  # (N, K) floating
    ) -> Array:
        """softmax(z / T): (N, K) float64 in the caller's library, rows of sum 1.

        Raises:
            ValueError: not fitted; other than K columns; NaN, or -inf throughout a sample.
        """
        z = self._read_fitted(logits)
        shares = np.empty(z.values.shape)
        for rows in _likelihood.blocks(z):
            shares[rows] = _likelihood.probabilities(z, 0, rows, self.temperature_)
        return _arrays.in_library(shares, _arrays.library_of(logits))

    def predict(
        self,
        logits: Array,  # (N, K) floating
    ) -> Array:
        """Label of the largest logit, the first of equal ones: (N,), whatever the temperature.

        Numbers are in the caller's library, other labels in a numpy array.

        Raises:
            ValueError: as :meth:`predict_proba`.
        """
        z = self._read_fitted(logits)
        position = np.empty(len(z.values), np.int64)
        for rows in _likelihood.blocks(z):
            values = _arrays.widen(z, rows).astype(np.float64)
            _likelihood.tops(z, 0, values)  # refuses what has none
            position[rows] = values.argmax(axis=1)
        return labels_at(self.classes_, position, _arrays.library_of(logits))

    def _read_fitted(self, logits: Array) -> Typed:
        self._refuse_unfitted()
        z = _read(logits)
        if z.values.shape[1] != self.n_features_in_:
            raise ValueError(
                f"logits has {z.values.shape[1]} columns, but the scaler was fitted on "
                f"{self.n_features_in_}"
            )
        return z


def _read(logits: Array) -> Typed:
    """(N, K) logits; one copy where they are not float32 or float64, contiguous along classes."""
    _arrays.refuse_gpu(logits, "logits", "TemperatureScaler computes")
    given = _arrays.view(_arrays.adopt(logits, "logits"), "logits")
    values = _arrays.widen(given)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"logits must be (N, K) with at least two classes, got {values.shape}")
    if values.dtype.kind in "iu":  # widen() leaves integers alone
        values = values.astype(np.float64)
    if values.dtype.kind != "f":
        raise TypeError(f"logits must be numbers, got {given.dtype}")
    values = np.ascontiguousarray(values)
    return Typed(values, values.dtype.name)


def _read_labels(
    y: Sequence[Any] | Array, classes: Sequence[Any] | Array | None, n_classes: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:  # (K,), (N,)
    """Labels of the columns, and the column of each sample's label."""
    labels = read_labels(y, "y")
    if classes is None:
        found, target = np.unique(labels, return_inverse=True)
        if len(found) != n_classes:
            raise ValueError(
                f"y has {len(found)} different labels, but logits has {n_classes} columns: "
                "pass classes=, their labels in order"
            )
        return found, target
    known = read_labels(classes, "classes")
    if len(known) != n_classes or len(np.unique(known)) != n_classes:
        raise ValueError(
            f"classes must be {n_classes} different labels, one for each column of logits: "
            f"got {classes}"
        )
    order = np.argsort(known)
    target = order[np.searchsorted(known, labels, sorter=order).clip(max=n_classes - 1)]
    unknown = known[target] != labels
    if unknown.any():
        first = int(unknown.argmax())
        raise ValueError(f"y[{first}] is {labels[first]}, which is not among classes")
    return known, target
