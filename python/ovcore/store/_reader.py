"""Reading a store: the manifest alone when it is opened, a model's arrays when they are used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore.store import _manifest
from ovcore.store._cards import ModelCard, categorize
from ovcore.store._errors import StoreError
from ovcore.store._manifest import Entry, Manifest, accuracy_of
from ovcore.store._outputs import KINDS
from ovcore.store._tensors import map_tensor
from ovcore.topk import TopK

__all__ = ["Store"]

_COPIED_BYTES = 1 << 24  # predictions of four million samples


class Store:
    """Opens the store at ``path`` for reading.

    Arrays are views of the files, mapped into memory: kernels read them where they lie, and a store
    may be larger than memory. Functions that take logits take a store, too.

    Attributes:
        path: the folder.
        models: one :class:`ModelCard` a model, in the order they were added.
        target: (N,) int64 labels.
        sample_ids: N names, or None.
        class_names: K names, or None.
        n_classes: K, or None where only predictions are kept.
        columns: (N,) int64 arrays by name.

    Raises:
        FileNotFoundError: there is no store at ``path``.
        StoreError: what is there is not a store of this format, or its manifest is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._take(_manifest.read(self.path), None)

    def _take(self, manifest: Manifest, rows: NDArray[np.int64] | slice | None) -> None:
        """``rows`` of the files are the samples of ``manifest``; None for all."""
        self._manifest, self._rows = manifest, rows
        self._entries = {entry.card.name: entry for entry in manifest.entries}
        self.models: tuple[ModelCard, ...] = tuple(entry.card for entry in manifest.entries)
        self.target: NDArray[np.int64] = manifest.target
        self.sample_ids: list[str] | None = manifest.sample_ids
        self.class_names: list[str] | None = manifest.class_names
        self.n_classes: int | None = manifest.n_classes
        self.columns: dict[str, NDArray[np.int64]] = manifest.columns

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names."""
        return tuple(self._entries)

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return len(self.target)

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} models x {self.n_samples} samples)"

    @property
    def sha256(self) -> str:
        """Of all that the store holds, from the manifest alone: samples, cards, tensors' hashes."""
        rows = self._rows.tolist() if isinstance(self._rows, np.ndarray) else self._rows
        parts = [_manifest.hash_samples(self._manifest), repr(rows)]
        parts += [
            json.dumps([asdict(entry.card), entry.sha256], sort_keys=True) for entry in self._all()
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(M,) share of samples that each model gets right; NaN where only features are kept."""
        if self._rows is None:
            return np.array([np.nan if e.accuracy is None else e.accuracy for e in self._all()])
        preds = [self.preds(name) for name in self.names]
        n = self.n_samples
        return np.array(
            [np.nan if p is None else accuracy_of((p != self.target).sum(), n) for p in preds]
        )

    def kinds(self, name: str) -> tuple[str, ...]:
        """What is kept of a model: some of logits, features, topk, preds."""
        tensors = self._entry(name).tensors
        return tuple(kind for kind in KINDS if kind in tensors or f"{kind}_probs" in tensors)

    def logits(self, name: str) -> NDArray[np.floating[Any]]:
        """Logits (N, K) of the model called ``name``.

        Raises:
            ValueError: none are kept of it.
        """
        values = self._read(name, "logits")
        if values is None:
            raise ValueError(
                f"the store at {self.path} keeps no logits of {name!r}, "
                f"but {', '.join(self.kinds(name))}"
            )
        return values

    def features(self, name: str) -> NDArray[np.floating[Any]] | None:
        """Features (N, D) of the model called ``name``, or None where none are kept."""
        return self._read(name, "features")

    def preds(self, name: str) -> NDArray[np.int32] | None:
        """Predicted classes (N,), -1 for none; None where features alone are kept."""
        values = self._read(name, "preds")
        # A map holds a file descriptor, of which thousands of models would run out.
        return values.copy() if values is not None and values.nbytes <= _COPIED_BYTES else values

    def topk(self, name: str) -> TopK | None:
        """Stored top-k outputs, or None where none are kept."""
        classes, probs = self._read(name, "topk_classes"), self._read(name, "topk_probs")
        if classes is None or probs is None:
            return None
        if self.n_classes is None:
            raise StoreError(f"{self.path} has top-k outputs but no number of classes")
        return TopK(classes, probs, self.n_classes)

    def outputs(self) -> list[Array | TopK]:
        """One array a model of the richest kind that all of them have: logits, top-k, predictions.

        Raises:
            ValueError: the store is empty, or a model has features alone.
        """
        if not self.models:
            raise ValueError(f"the store at {self.path} has no models")
        for read, kind in ((self.logits, "logits"), (self.topk, "topk"), (self.preds, "preds")):
            if all(kind in self.kinds(name) for name in self.names):
                return [read(name) for name in self.names]
        lacking = next(name for name in self.names if "preds" not in self.kinds(name))
        raise ValueError(
            f"{lacking!r} in the store at {self.path} has features alone, and no outputs; "
            "select() the others"
        )

    def select(
        self, models: Sequence[str] | None = None, samples: Array | slice | None = None
    ) -> Store:
        """A view of some models, or of some samples.

        Args:
            models: their names, in the order wanted.
            samples: (N,) truth values or indices of samples, or a slice of step 1, which costs no
                more than what it cuts out. Of samples in one run the arrays stay views of the
                files; otherwise they are copies, made when asked for.

        Raises:
            KeyError: there is no such model.
            IndexError, ValueError: samples out of range, repeated, or none.
        """
        manifest, rows = self._manifest, self._rows
        if models is not None:
            if isinstance(models, str):
                raise TypeError(f"models must be a sequence of names, got {models!r}")
            entries = tuple(self._entry(name) for name in models)
            if len({entry.card.name for entry in entries}) != len(entries):
                raise ValueError("models has names that repeat")
            manifest = replace(manifest, entries=entries)
        if isinstance(samples, slice):
            run = _run(samples, self.n_samples)
            if rows is None:
                rows = run
            elif isinstance(rows, slice):
                rows = slice(rows.start + run.start, rows.start + run.stop)
            else:
                rows = _as_run(rows[run])
            ids = self.sample_ids and self.sample_ids[run]
            manifest = self._cut(manifest, run, ids)
        elif samples is not None:
            wanted = _indices(samples, self.n_samples)
            some = np.arange(self.n_samples)[wanted]
            if rows is not None:
                some = np.arange(len(self._all_rows()))[rows][some]
            rows = _as_run(some)
            ids = self.sample_ids and [self.sample_ids[i] for i in wanted]
            manifest = self._cut(manifest, wanted, ids)
        return self._view(manifest, rows)

    def _cut(
        self, manifest: Manifest, rows: NDArray[np.int64] | slice, sample_ids: list[str] | None
    ) -> Manifest:
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(manifest, target=self.target[rows], sample_ids=sample_ids, columns=columns)

    def _view(self, manifest: Manifest, rows: NDArray[np.int64] | slice | None) -> Store:
        view = object.__new__(Store)
        view.path = self.path
        view._take(manifest, rows)
        return view

    def with_cards(self, cards: Sequence[ModelCard]) -> Store:
        """A view in which these cards stand in for those of the same names.

        Raises:
            KeyError: there is no such model.
            ValueError: a name that is in ``cards`` twice.
        """
        others = {card.name: card for card in cards}
        if len(others) != len(cards):
            raise ValueError("cards has names that repeat")
        for name in others:
            self._entry(name)
        entries = tuple(
            replace(entry, card=others.get(entry.card.name, entry.card)) for entry in self._all()
        )
        return self._view(replace(self._manifest, entries=entries), self._rows)

    def align(self, sample_ids: Sequence[str]) -> Store:
        """A view of the samples with these ids, in their order.

        Raises:
            ValueError: the store has no ids, or lacks some of these.
        """
        if self.sample_ids is None:
            raise ValueError(f"the store at {self.path} has no sample ids to align by")
        places = {name: i for i, name in enumerate(self.sample_ids)}
        lacking = [name for name in sample_ids if name not in places]
        if lacking:
            raise ValueError(
                f"the store at {self.path} lacks {len(lacking)} of {len(sample_ids)} samples, "
                f"first {lacking[0]!r}"
            )
        return self.select(samples=np.array([places[name] for name in sample_ids], np.int64))

    def categorize(self, a: str, b: str) -> str | None:
        """How differently two models were trained, see :func:`ovcore.store.categorize`."""
        return categorize(self._entry(a).card, self._entry(b).card)

    def _all(self) -> tuple[Entry, ...]:
        return self._manifest.entries

    def _all_rows(self) -> range:
        """Of the files, whatever samples are selected."""
        shapes = [t.shape[0] for entry in self._all() for t in entry.tensors.values()]
        return range(shapes[0] if shapes else self.n_samples)

    def _entry(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"the store at {self.path} has no model named {name!r}") from None

    def _read(self, name: str, tensor: str) -> NDArray[Any] | None:
        entry = self._entry(name)
        if tensor not in entry.tensors:
            return None
        try:
            values = map_tensor(self.path / entry.file, tensor, entry.tensors[tensor])
        except StoreError as error:
            raise StoreError(
                f"{error} (model {name!r}); extract or copy it again; "
                f"`ovcore store verify {self.path}` checks all files"
            ) from error
        return values if self._rows is None else values[self._rows]


def _indices(samples: Array, n_samples: int) -> NDArray[np.int64]:
    given = np.asarray(_arrays.adopt(samples, "samples"))
    if given.dtype == np.bool_:
        if given.shape != (n_samples,):
            raise ValueError(f"samples must be ({n_samples},) truth values, got {given.shape}")
        given = np.flatnonzero(given)
    indices = _arrays.integers(given, "samples").astype(np.int64)
    if indices.ndim != 1 or len(indices) == 0:
        raise ValueError(f"samples must be indices, at least one: got shape {indices.shape}")
    if indices.min() < 0 or indices.max() >= n_samples:
        raise IndexError(f"samples must be in 0..{n_samples - 1}")
    if len(np.unique(indices)) != len(indices):
        raise ValueError("samples has indices that repeat")
    return indices


def _run(samples: slice, n_samples: int) -> slice:
    """The slice with its ends, as Python reads them."""
    first, stop, step = samples.indices(n_samples)
    if step != 1 or first >= stop:
        raise ValueError(f"samples must be a slice of step 1 that is not empty, got {samples}")
    return slice(first, stop)


def _as_run(rows: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Rows one after the other as a slice: what it cuts out is not copied."""
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
