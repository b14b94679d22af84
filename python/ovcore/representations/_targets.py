"""What probes are to tell from features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore._estimator import read_labels


class Target(NamedTuple):
    """Positions of classes, or labels that are each told apart alone."""

    values: NDArray[Any]  # (N,) int64, or (N, K) float64: 1, 0, or NaN where left out
    n_outputs: int  # K columns of weights

    def take(self, rows: NDArray[np.int64]) -> Target:
        """Some samples."""
        return self._replace(values=self.values[rows])


def read_classes(
    y: Sequence[Any] | Array, n_samples: int, name: str = "target", of: str = "features"
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(K,) sorted labels, and (N,) the position of each sample's; ``of`` names the features.

    Raises:
        ValueError: another number of samples; NaN; fewer than two different labels.
    """
    labels = _labels_of(y, n_samples, name, of)
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"{name} has NaN in {int(np.isnan(labels).sum())} of {len(labels)} labels")
    classes, positions = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{name} must have at least two classes, got {classes.tolist()}")
    return classes, positions.astype(np.int64)


def of_classes(positions: NDArray[np.int64], n_classes: int) -> Target:
    """A target of K classes; two are told apart by one output, as in scikit-learn."""
    if n_classes == 2:
        return Target(positions[:, None].astype(np.float64), 1)
    return Target(positions, n_classes)


def positions_of(
    y: Sequence[Any] | Array, classes: NDArray[Any], n_samples: int, name: str, of: str
) -> NDArray[np.int64]:
    """(N,) positions of labels among known classes, -1 for one that is not among them."""
    labels = _labels_of(y, n_samples, name, of)
    found = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[found] == labels, found, -1).astype(np.int64)


def _labels_of(y: Sequence[Any] | Array, n_samples: int, name: str, of: str) -> NDArray[Any]:
    labels = read_labels(y, name)
    if len(labels) != n_samples:
        raise ValueError(f"{of} has {n_samples} samples but {name} has {len(labels)}")
    return labels


def read_multilabel(
    target: Array,
    difficult: Array | None,
    n_samples: int,
    name: str = "target",
    of: str = "features",
) -> Target:
    """(N, K) truth values; those of difficult samples are left out; ``of`` names the features.

    Raises:
        TypeError: neither truth values nor integers.
        ValueError: another shape or number of samples; integers other than 0 and 1.
    """
    values = read_marks(target, name, {of: (n_samples, None)})
    found = values.astype(np.float64)
    if difficult is not None:
        found[read_marks(difficult, "difficult", {name: values.shape})] = np.nan
    return Target(found, values.shape[1])


def read_marks(
    marks: Array, name: str, beside: Mapping[str, tuple[int | None, int | None]]
) -> NDArray[np.bool_]:
    """(N, K) truth values, as many samples and classes as the argument they stand ``beside`` has.

    Raises:
        TypeError: neither truth values nor integers.
        ValueError: another shape; integers other than 0 and 1; an array on a GPU.
    """
    _arrays.refuse_gpu(marks, name, "they are read")
    values, dtype = _arrays.view(_arrays.adopt(marks, name), name)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{name} must be (N, K) with at least one sample and one class, got shape "
            f"{values.shape}"
        )
    for other, shape in beside.items():
        for what, expected, came in zip(("samples", "classes"), shape, values.shape, strict=True):
            if expected is not None and came != expected:
                raise ValueError(f"{other} has {expected} {what} but {name} has {came}")
    if dtype == "bfloat16" or values.dtype.kind not in "biu":
        raise TypeError(f"{name} must be truth values or integers 0 and 1, got {dtype}")
    neither = (values != 0) & (values != 1)
    if neither.any():
        n, k = np.argwhere(neither)[0]
        raise ValueError(
            f"{name}[{n}, {k}] is {values[n, k]}, expected 0 or 1 "
            f"({int(neither.sum())} of {values.size} are neither)"
        )
    return values.astype(bool, copy=False)
