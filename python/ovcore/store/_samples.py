"""What is the same for all models of a new store, checked: labels, ids, classes, columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs
from ovcore._arrays import Array
from ovcore.store._manifest import Manifest


def read_samples(
    target: Array,
    sample_ids: Sequence[str] | None,
    class_names: Sequence[str] | None,
    n_classes: int | None,
    columns: Mapping[str, Array] | None,
) -> Manifest:
    """A manifest of samples and no model yet.

    Raises:
        TypeError: labels or columns that are not integers, ids or names that are not texts.
        ValueError: a length differs from N or K, ids repeat, or a label is out of range.
    """
    labels = _as_int64(target, "target")
    if labels.ndim != 1:
        raise ValueError(f"target must be (N,), got shape {labels.shape}")
    ids = _texts(sample_ids, "sample_ids")
    if ids is not None:
        if len(ids) != len(labels):
            raise ValueError(f"{len(ids)} sample ids for {len(labels)} samples")
        if len(set(ids)) != len(ids):
            distinct, counts = np.unique(np.array(ids, object), return_counts=True)
            raise ValueError(f"sample ids repeat, as {distinct[counts.argmax()]!r}")
    names = _texts(class_names, "class_names")
    if n_classes is not None:
        n_classes = _inputs.integer(n_classes, "n_classes")
    if names is not None:
        if n_classes not in (None, len(names)):
            raise ValueError(f"class_names has {len(names)} names but n_classes is {n_classes}")
        n_classes = len(names)
    refuse_labels(labels, n_classes)
    kept = {}
    for name, given in (columns or {}).items():
        values = _as_int64(given, f"column {name!r}")
        if values.shape != labels.shape:
            raise ValueError(f"column {name!r} must be {labels.shape}, got {values.shape}")
        kept[name] = values
    return Manifest(labels, ids, names, n_classes, kept)


def _as_int64(given: Array, name: str) -> NDArray[np.int64]:
    values = _arrays.integers(_arrays.adopt(given, name), name)
    if values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} has a number beyond 2^63: {values.max()}")
    return values.astype(np.int64)


def _texts(given: Sequence[str] | None, name: str) -> list[str] | None:
    if given is None:
        return None
    texts = list(given)
    if isinstance(given, str | set | frozenset) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} must be a sequence of strings")
    return [str(text) for text in texts]


def refuse_labels(labels: NDArray[np.integer[Any]], n_classes: int | None) -> None:
    """Raises ValueError where a label is negative, or none of K classes."""
    outside = labels < 0
    if n_classes is not None:
        outside |= labels >= n_classes
    if outside.any():
        first = int(outside.argmax())
        expected = "a class >= 0" if n_classes is None else f"a class in 0..{n_classes - 1}"
        raise ValueError(
            f"target[{first}] is {labels[first]}, expected {expected}: "
            "leave out samples without a label"
        )
