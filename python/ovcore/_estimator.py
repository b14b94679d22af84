"""The face of a scikit-learn classifier, without scikit-learn."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array

Own = TypeVar("Own", bound="Classifier")


class _NotFittedError(ValueError, AttributeError):
    """What scikit-learn's error of that name is, where scikit-learn is not loaded."""


class Classifier:
    """Keeps what the constructor is given under the same names, as scikit-learn asks for."""

    _estimator_type = "classifier"
    _fitted = ""  # an attribute that is there once it is fitted
    _multilabel = False

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """What the constructor was given, by name."""
        names = list(inspect.signature(type(self)).parameters)
        return {name: getattr(self, name) for name in names}

    def set_params(self: Own, **params: Any) -> Own:
        """Replaces what the constructor was given; refuses other names."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise ValueError(f"params must be among {', '.join(known)}: got {name!r}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        signature = inspect.signature(type(self)).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not signature[name].default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, self._fitted)

    def __sklearn_tags__(self) -> Any:
        """Asked for by scikit-learn alone, which therefore is there."""
        from sklearn.utils import ClassifierTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True, multi_output=self._multilabel),
            classifier_tags=ClassifierTags(multi_label=self._multilabel),
        )

    def _refuse_unfitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            sklearn = sys.modules.get("sklearn.exceptions")
            error = _NotFittedError if sklearn is None else sklearn.NotFittedError
            name = type(self).__name__
            raise error(f"this {name} is not fitted yet: call fit first")


def read_labels(given: Sequence[Any] | Array, name: str) -> NDArray[Any]:
    """(N,) labels of any kind, in host memory."""
    labels = _arrays.view_on_host(_arrays.adopt(given, name), name).values
    if labels.ndim != 1:
        raise ValueError(f"{name} must be one axis of labels, got shape {labels.shape}")
    return labels


def labels_at(classes: NDArray[Any], position: NDArray[np.int64], library: str) -> Array:
    """Labels by position: numbers in the caller's library, others in a numpy array."""
    labels = classes[position]
    return _arrays.in_library(labels, library if labels.dtype.kind in "biuf" else "numpy")
