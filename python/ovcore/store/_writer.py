"""Writing a store, or more models to one: everything or nothing, by one writer at a time."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from ovcore._arrays import Array
from ovcore.store import _lock, _manifest, _outputs
from ovcore.store._cards import ModelCard
from ovcore.store._manifest import Entry, accuracy_of
from ovcore.store._samples import read_samples, refuse_labels
from ovcore.store._tensors import Tensor, TensorFile
from ovcore.topk import TopK

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["StoreWriter"]


class StoreWriter:
    """Writes a store; it appears at ``path`` whole when the ``with`` block ends, or not at all.

    :meth:`append` adds models to a store in the same way. While a writer is open, any other at the
    same path is refused; readers go on reading what was there.

    Args:
        path: the folder to make; it must not exist.
        target: (N,) integer labels, not negative.
        sample_ids: N distinct names of the samples.
        class_names: K names of the classes.
        n_classes: K, where it is not known from the names or the first logits.
        columns: further (N,) integer facts about the samples, by name (for example ``fold``).

    Raises:
        FileExistsError: ``path`` is there already.
        ValueError: a length differs from N, ids repeat, a label is out of range, or a model does
            not fit the store.
        StoreError: another writer is at work there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        target: Array,
        sample_ids: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        n_classes: int | None = None,
        columns: Mapping[str, Array] | None = None,
    ) -> None:
        self.path = Path(path)
        self._refuse_existing()
        self._is_new = True
        self._manifest = read_samples(target, sample_ids, class_names, n_classes, columns)
        self._lock: BaseFileLock | None = None
        self._part: Path | None = None
        self._was_open = False

    @classmethod
    def append(cls, path: str | os.PathLike[str]) -> StoreWriter:
        """A writer that adds models to the store at ``path``, all of them or none.

        Raises:
            FileNotFoundError, StoreError: there is no store, or it is damaged.
        """
        writer = object.__new__(cls)
        writer.path = Path(path)
        writer._is_new = False
        writer._manifest = _manifest.read(writer.path)
        writer._lock = writer._part = None
        writer._was_open = False
        return writer

    @property
    def target(self) -> NDArray[np.int64]:
        """(N,) labels."""
        return self._manifest.target

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return len(self._manifest.target)

    @property
    def n_classes(self) -> int | None:
        """Number of classes, K, where it is known."""
        return self._manifest.n_classes

    @property
    def sample_ids(self) -> list[str] | None:
        """N names of the samples, or None."""
        return self._manifest.sample_ids

    @property
    def class_names(self) -> list[str] | None:
        """K names of the classes, or None."""
        return self._manifest.class_names

    def __enter__(self) -> StoreWriter:
        if self._was_open:
            raise RuntimeError("a StoreWriter is opened once: make another")
        if self._is_new:
            # Hidden beside the store under a name of its own, so that what a killed writer left
            # is found and cleared by the next.
            folder = self.path.with_name(f".{self.path.name}.unfinished")
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = self.path
        self._lock = _lock.take(folder, self.path)
        try:
            if self._is_new:
                self._refuse_existing()
                for left in folder.iterdir():
                    if left.name != _lock.FILE:
                        _remove(left)
                self._part = folder
            else:
                self._manifest = _manifest.read(self.path)
                for left in self.path.glob(".adding-*"):
                    _remove(left)
                self._part = folder / f".adding-{uuid.uuid4().hex[:8]}"
                self._part.mkdir()
        except BaseException:
            if self._is_new:
                shutil.rmtree(folder, ignore_errors=True)
            self._lock.release()
            raise
        self._was_open = True
        self._process = os.getpid()
        return self

    def add(
        self,
        card: ModelCard,
        *,
        logits: Array | None = None,  # (N, K)
        features: Array | None = None,  # (N, D)
        topk: TopK | None = None,  # of (N, k)
        preds: Array | None = None,  # (N,)
    ) -> None:
        """Adds one model's outputs on the store's samples, in their order.

        What logits or stored top-k outputs predict is kept beside them, and how often it is right.

        Args:
            card: the model's description; its name must be new.
            logits: (N, K) float16, bfloat16, float32 or float64.
            features: (N, D), likewise.
            topk: the k best classes of each sample and their probabilities.
            preds: (N,) integer classes; -1 where there is no prediction.

        Raises:
            ValueError: a name that is there already; other samples or classes than the store's.
            TypeError: an element type that is not stored.
            OSError: no space; the store stays as it was.
        """
        given = {"logits": logits, "features": features, "topk": topk, "preds": preds}
        self.add_blocks(card, [given])

    def add_blocks(
        self, card: ModelCard, blocks: Iterable[Mapping[str, Array | TopK | None]]
    ) -> None:
        """:meth:`add` of outputs that come in blocks of samples, one held in memory at a time.

        Args:
            card: the model's description.
            blocks: of one sample or more each, with the keys that :meth:`add` has arguments for.

        Raises:
            As :meth:`add`; and ValueError where a block holds other tensors than the first.
        """
        part = self._open_part()
        if not isinstance(card, ModelCard):
            raise TypeError(f"card must be a ModelCard, got {card!r}")
        if any(entry.card.name == card.name for entry in self._manifest.entries):
            raise ValueError(f"the store has a model named {card.name!r} already")
        card = copy.deepcopy(card)  # as it is now, whatever becomes of its dict
        entry, n_classes = self._write(card, part / self._free_file(), blocks)
        self._manifest = replace(
            self._manifest, n_classes=n_classes, entries=(*self._manifest.entries, entry)
        )

    def _free_file(self) -> str:
        """Files are numbered, so that no model name can reach outside the folder."""
        used = {entry.file for entry in self._manifest.entries}
        numbers = itertools.count(len(used))
        return next(file for n in numbers if (file := f"model-{n:05d}.safetensors") not in used)

    def _write(
        self, card: ModelCard, path: Path, blocks: Iterable[Mapping[str, Array | TopK | None]]
    ) -> tuple[Entry, int | None]:
        file: TensorFile | None = None
        tensors: dict[str, Tensor] = {}
        n_classes = self.n_classes
        done, wrong = 0, 0
        try:
            for block in blocks:
                n_classes = self._agreed_classes(block, n_classes, card.name)
                outputs, found = _outputs.read(block, repr(card.name), n_classes)
                if file is None:
                    tensors = {
                        name: t._replace(shape=(self.n_samples, *t.shape[1:]))
                        for name, t in found.items()
                    }
                    with self._saying(card.name):
                        file = TensorFile(path, tensors)
                _refuse_others(card.name, tensors, found)
                count = len(next(iter(outputs.values())))
                if done + count > self.n_samples:
                    self._refuse_length(card.name, next(iter(found)), done + count)
                with self._saying(card.name):
                    for name, rows in outputs.items():
                        file.write(name, rows)
                if "preds" in outputs:
                    wrong += int((outputs["preds"] != self.target[done : done + count]).sum())
                done += count
            if file is None:
                raise ValueError(f"{card.name!r} has no outputs: there is no block")
            if done < self.n_samples:
                self._refuse_length(card.name, next(iter(tensors)), done)
            with self._saying(card.name):
                hashes = file.finish()
        except BaseException:
            if file is not None:
                file.close()
            path.unlink(missing_ok=True)
            raise
        accuracy = accuracy_of(wrong, done) if done and "preds" in tensors else None
        return Entry(card, path.name, tensors, hashes, accuracy), n_classes

    @contextlib.contextmanager
    def _saying(self, name: str) -> Iterator[None]:
        """Errors of the disk say what was being written."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror} while writing {name!r}; the store keeps what it had",
                str(self.path),
            ) from error

    def _refuse_length(self, name: str, kind: str, count: int) -> NoReturn:
        raise ValueError(
            f"{kind} of {name!r} has {count} samples but the store has {self.n_samples}"
        )

    def _agreed_classes(
        self, block: Mapping[str, Array | TopK | None], known: int | None, name: str
    ) -> int | None:
        for kind, found in _outputs.classes_of(block).items():
            if known is None:
                refuse_labels(self.target, found)
                known = found
            elif found != known:
                raise ValueError(f"{kind} of {name!r} have {found} classes, the store {known}")
        return known

    def _open_part(self) -> Path:
        if self._part is None:
            raise RuntimeError("a StoreWriter is open inside its `with` block only")
        return self._part

    def _refuse_existing(self) -> None:
        if self.path.is_symlink() or self.path.exists():
            raise FileExistsError(
                f"a store or another file is already at {self.path}; "
                "StoreWriter.append adds models to a store"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        part = self._open_part()
        assert self._lock is not None
        if os.getpid() != self._process:  # a fork leaves the block: the writer is its parent's
            return
        try:
            if kind is None:
                self._publish(part)
        finally:
            self._part = None
            # What was renamed is not there any more.
            shutil.rmtree(part, ignore_errors=True)
            self._lock.release()

    def _publish(self, part: Path) -> None:
        if self._is_new:
            _manifest.write(part, self._manifest)
            self._refuse_existing()
            part.rename(self.path)
            return
        moved: list[Path] = []
        try:
            for file in sorted(part.iterdir()):
                # One that is there and in no manifest was left by a writer that was killed.
                moved.append(self.path / file.name)
                file.replace(moved[-1])
            _manifest.write(self.path, self._manifest)
        except BaseException:
            # An interrupt may come after the manifest is in place: what it names stays.
            named = {entry.file for entry in _manifest.read(self.path).entries}
            for file in moved:
                if file.name not in named:
                    file.unlink(missing_ok=True)
            raise


def _refuse_others(name: str, first: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for a, b in ((first, found), (found, first)):
        for kind, tensor in a.items():
            other = b.get(kind)
            if other is None:
                raise ValueError(f"some blocks of {name!r} have {kind}, others do not")
            if (tensor.dtype, tensor.shape[1:]) != (other.dtype, other.shape[1:]):
                raise ValueError(
                    f"blocks of {name!r} differ in {kind}: {first[kind].dtype} rows of "
                    f"{first[kind].shape[1:]} and {found[kind].dtype} rows of "
                    f"{found[kind].shape[1:]}"
                )


def _remove(left: Path) -> None:
    """What a killed writer left."""
    if left.is_dir():
        shutil.rmtree(left)
    else:
        left.unlink()
