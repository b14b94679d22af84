"""What a transfer store asks for: the labels of its samples, and how answers are scored.

A transfer store has models' features on another task. Columns ``present.NAME`` of 0 and 1, one a
class, say which classes each sample has; columns ``difficult.NAME`` of 0 and 1, for all classes,
some or none, say where a sample is left out for a class. Without any of them the store's target
is the one class of each sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore.store import Store

PRESENT, DIFFICULT = "present.", "difficult."


@dataclass(frozen=True, eq=False)
class Task:
    """Labels of N samples.

    Attributes:
        truth: (N, K) whether each class is present; or (N,) int64, each sample's one class.
        difficult: (N, K) where a sample is left out for a class; None where no column tells.
        classes: K names: of several labels in the order of their columns.
        metric: "mAP, 11 points" of several labels, "accuracy" of one.
    """

    truth: NDArray[np.bool_] | NDArray[np.int64]
    difficult: NDArray[np.bool_] | None
    classes: tuple[str, ...]
    metric: str


def read_task(store: Store) -> Task:
    """The task of a transfer store.

    Raises:
        ValueError: a column ``difficult.NAME`` without ``present.NAME``; values other than 0 and
            1; neither such columns nor two different classes.
    """
    present, difficult = _marks(store, PRESENT), _marks(store, DIFFICULT)
    for name in difficult:
        if name not in present:
            raise ValueError(
                f"the store at {store.path} has a column {DIFFICULT + name!r} "
                f"but none named {PRESENT + name!r}"
            )
    if not present:
        return _single_label(store)
    none = np.zeros(store.n_samples, dtype=np.bool_)
    return Task(
        truth=np.stack(list(present.values()), axis=1),
        difficult=np.stack([difficult.get(name, none) for name in present], axis=1)
        if difficult
        else None,
        classes=tuple(present),
        metric="mAP, 11 points",
    )


def _single_label(store: Store) -> Task:
    found = np.unique(store.target)
    if len(found) < 2:
        raise ValueError(
            f"the store at {store.path} has no columns {PRESENT}NAME, and all its samples are of "
            f"class {found[0]}: there is nothing to tell apart"
        )
    known = store.n_classes or int(found[-1]) + 1
    names = store.class_names or [str(k) for k in range(known)]
    return Task(store.target, None, tuple(names), "accuracy")


def _marks(store: Store, prefix: str) -> dict[str, NDArray[np.bool_]]:
    """(N,) truth values by class, of the columns that begin with ``prefix``."""
    found = {}
    for column, values in store.columns.items():
        if not column.startswith(prefix):
            continue
        neither = (values != 0) & (values != 1)
        if neither.any():
            first = int(neither.argmax())
            raise ValueError(
                f"column {column!r} of the store at {store.path} is {values[first]} at sample "
                f"{first}, expected 0 or 1 ({int(neither.sum())} of {len(values)} are neither)"
            )
        found[column.removeprefix(prefix)] = values == 1
    return found
