"""The samples of an extraction: labels and ids, checked as they come."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore.store import Store


class SampleList:
    """Labels and ids of all samples so far.

    What would be refused at the end, after hours, is refused with the batch that brings it.

    Args:
        n_classes: K.
        store: whose samples these have to be; None for a new store.
    """

    def __init__(self, n_classes: int, store: Store | None) -> None:
        self._n_classes, self._store = n_classes, store
        self._labels: list[NDArray[np.int64]] = []
        self._ids: list[str] | None = None
        self._known: set[str] = set()
        self.count = 0

    def add(self, labels: NDArray[np.int64], ids: list[str] | None) -> None:
        """Adds samples.

        Raises:
            ValueError: a label out of range, an id that repeats or is missing, or a sample other
                than the store's.
        """
        outside = (labels < 0) | (labels >= self._n_classes)
        if outside.any():
            at = int(outside.argmax())
            raise ValueError(
                f"the label of sample {self.count + at} is {labels[at]}, expected a class in "
                f"0..{self._n_classes - 1}: leave out samples without a label"
            )
        if self.count and (ids is None) != (self._ids is None):
            raise ValueError("some batches have ids, others do not")
        if ids is not None:
            self._add_ids(ids)
        if self._store is not None:
            self._compare(self._store, labels, ids)
        self._labels.append(labels)
        self.count += len(labels)

    def _add_ids(self, ids: list[str]) -> None:
        for name in ids:
            if name in self._known:
                raise ValueError(f"sample id {name!r} repeats")
            self._known.add(name)
        if self._ids is None:
            self._ids = []
        self._ids += ids

    def _compare(self, store: Store, labels: NDArray[np.int64], ids: list[str] | None) -> None:
        here = slice(self.count, self.count + len(labels))
        if here.stop > store.n_samples:
            raise ValueError(f"loader has more samples than {store.path}: {store.n_samples}")
        if ids is not None and store.sample_ids is not None:
            pairs = zip(ids, store.sample_ids[here], strict=True)
            for n, (ours, theirs) in enumerate(pairs, self.count):
                if ours != theirs:
                    raise ValueError(f"sample {n} is {ours!r}, but {theirs!r} in {store.path}")
        differs = labels != store.target[here]
        if differs.any():
            at = int(differs.argmax())
            raise ValueError(
                f"the label of sample {self.count + at} is {labels[at]}, "
                f"but {store.target[here][at]} in {store.path}"
            )

    def refuse_fewer(self) -> None:
        """Raises ValueError where samples of the store did not come."""
        if self._store is not None and self.count != self._store.n_samples:
            raise ValueError(
                f"loader has {self.count} samples but {self._store.path} has "
                f"{self._store.n_samples}"
            )

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) labels."""
        return np.concatenate(self._labels)

    @property
    def ids(self) -> list[str] | None:
        """N ids, or None."""
        return self._ids
