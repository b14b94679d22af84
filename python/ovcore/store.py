"""Stored outputs of many models on the same samples.

A store is a folder: ``manifest.json`` (labels, sample ids, class names, one card a model) and one
safetensors file a model with its ``logits`` (N, K) and, where kept, its ``features`` (N, D).
Opening a store reads the manifest alone; a model's arrays are read when asked for.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array

__all__ = ["ModelCard", "Store", "StoreWriter"]

_FORMAT = "ovcore-store-1"
_MANIFEST = "manifest.json"
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class ModelCard:
    """What a store says of one model.

    Attributes:
        name: unique within the store.
        method: how it was trained, in a few words ("Sup. / digits").
        head: its prediction head ("Trained", "Zero-shot", "Class-mapped", "Fine-tuned", ...).
        category: its training category relative to the store's base model, or "BASE".
        training: seed, architecture, objective, data, hyper-parameters; any JSON.
    """

    name: str
    method: str = ""
    head: str = ""
    category: str = ""
    training: dict[str, Any] = field(default_factory=dict)


def _check_json(card: ModelCard) -> None:
    try:
        json.dumps(asdict(card), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"the card of {card.name!r} must be plain JSON: {error}") from None


def _integers(values: list[int], count: int) -> NDArray[np.int64]:
    array = np.array(values, np.int64)
    if array.shape != (count,) or array.tolist() != values:
        raise ValueError(f"expected {count} integers")
    return array


class StoreWriter:
    """Writes a store; it appears at ``path`` whole when the ``with`` block ends, or not at all.

    Args:
        path: the folder to make; it must not exist.
        target: (N,) integer labels.
        sample_ids: N distinct names of the samples.
        class_names: K names of the classes.
        columns: further (N,) integer facts about the samples, by name (for example ``fold``).

    Raises:
        FileExistsError: ``path`` is there already.
        ValueError: a length differs from N, ids repeat, or a model does not fit the store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        target: NDArray[np.integer[Any]],
        sample_ids: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        columns: Mapping[str, NDArray[np.integer[Any]]] | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise FileExistsError(f"a store or another file is already at {self.path}")
        self._target = _arrays.view_on_host(target, "target").values
        if self._target.ndim != 1 or self._target.dtype.kind not in "iu":
            raise ValueError(
                f"target must be (N,) integers, got {self._target.dtype} {self._target.shape}"
            )
        n_samples = len(self._target)
        self._columns = {name: np.asarray(values) for name, values in (columns or {}).items()}
        for name, values in self._columns.items():
            if values.shape != (n_samples,) or values.dtype.kind not in "iu":
                raise ValueError(
                    f"column {name!r} must be ({n_samples},) integers, "
                    f"got {values.dtype} {values.shape}"
                )
        self._sample_ids = list(sample_ids) if sample_ids is not None else None
        if self._sample_ids is not None:
            if not all(isinstance(name, str) for name in self._sample_ids):
                raise TypeError("sample_ids must be strings")
            if len(self._sample_ids) != n_samples:
                raise ValueError(f"{len(self._sample_ids)} sample ids for {n_samples} samples")
            if len(set(self._sample_ids)) != n_samples:
                raise ValueError("sample ids repeat")
        self._class_names = list(class_names) if class_names is not None else None
        self._n_classes = len(self._class_names) if self._class_names is not None else None
        self._models: list[dict[str, Any]] = []
        self._unfinished = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}")

    def __enter__(self) -> StoreWriter:
        self._unfinished.mkdir(parents=True)
        return self

    def add(
        self,
        card: ModelCard,
        *,
        logits: Array,
        features: Array | None = None,
    ) -> None:
        """Adds one model's outputs on the store's samples, in their order.

        Args:
            card: the model's description; its name must be new.
            logits: (N, K) float16, float32 or float64, of numpy or torch.
            features: (N, D), likewise.
        """
        from safetensors.numpy import save_file

        if not self._unfinished.is_dir():
            raise RuntimeError("a StoreWriter is open inside its `with` block only")
        _check_json(card)
        if any(model["name"] == card.name for model in self._models):
            raise ValueError(f"the store has a model named {card.name!r} already")
        given = {"logits": logits, "features": features}
        tensors = {
            kind: self._checked(values, f"{kind} of {card.name!r}")
            for kind, values in given.items()
            if values is not None
        }
        n_classes = tensors["logits"].shape[1]
        if self._n_classes is None:
            self._n_classes = n_classes
        if n_classes != self._n_classes:
            raise ValueError(
                f"logits of {card.name!r} have {n_classes} classes, the store {self._n_classes}"
            )
        # Files are numbered, so that no model name can reach outside the folder.
        file = f"model-{len(self._models):05d}.safetensors"
        save_file(tensors, self._unfinished / file)
        self._models.append({**asdict(card), "file": file, "tensors": sorted(tensors)})

    def _checked(self, array: Array, name: str) -> NDArray[np.floating[Any]]:
        """The array as it is written: contiguous, in native byte order."""
        values, dtype = _arrays.view_on_host(array, name)
        if values.ndim != 2 or len(values) != len(self._target) or dtype not in _FLOATS:
            raise ValueError(
                f"{name} must be {', '.join(_FLOATS)} with {len(self._target)} rows, "
                f"got {dtype} {values.shape}"
            )
        return np.ascontiguousarray(values, dtype)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._write_manifest()
                if self.path.exists():
                    raise FileExistsError(f"another store appeared at {self.path} meanwhile")
                self._unfinished.rename(self.path)
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)

    def _write_manifest(self) -> None:
        manifest = {
            "format": _FORMAT,
            "n_samples": len(self._target),
            "n_classes": self._n_classes,
            "class_names": self._class_names,
            "models": self._models,
            "target": self._target.tolist(),
            "sample_ids": self._sample_ids,
            "columns": {name: values.tolist() for name, values in self._columns.items()},
        }
        (self._unfinished / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


class Store:
    """Opens the store at ``path`` for reading.

    Attributes:
        models: one :class:`ModelCard` a model, in the order they were added.
        target: (N,) int64 labels.
        sample_ids: N names, or None.
        class_names: K names, or None.
        columns: (N,) int64 arrays by name.

    Raises:
        FileNotFoundError: there is no store at ``path``.
        ValueError: what is there is not a store of this format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        manifest_path = self.path / _MANIFEST
        if not manifest_path.is_file():
            raise FileNotFoundError(f"no store at {self.path}: {_MANIFEST} is missing")
        try:
            manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{manifest_path} is damaged: {error}") from error
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise ValueError(f"{manifest_path} is not a manifest of format {_FORMAT!r}")
        try:
            self._take(manifest)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{manifest_path} is damaged: {error!r}") from error

    def _take(self, manifest: dict[str, Any]) -> None:
        self._entries: dict[str, dict[str, Any]] = {m["name"]: m for m in manifest["models"]}
        for entry in self._entries.values():
            if Path(entry["file"]).name != entry["file"]:
                raise ValueError(f"a model's file lies outside the store: {entry['file']}")
        self.models = tuple(
            ModelCard(m["name"], m["method"], m["head"], m["category"], m["training"])
            for m in manifest["models"]
        )
        if len(self._entries) != len(manifest["models"]):
            raise ValueError("model names repeat")
        self.target: NDArray[np.int64] = _integers(manifest["target"], manifest["n_samples"])
        self.sample_ids: list[str] | None = manifest["sample_ids"]
        self.class_names: list[str] | None = manifest["class_names"]
        self.n_classes: int | None = manifest["n_classes"]
        self.columns: dict[str, NDArray[np.int64]] = {
            name: _integers(values, self.n_samples) for name, values in manifest["columns"].items()
        }

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return len(self.target)

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self)} models x {self.n_samples} samples)"

    def logits(self, name: str) -> NDArray[np.floating[Any]]:
        """Logits (N, K) of the model called ``name``."""
        return self._read(name, "logits")

    def features(self, name: str) -> NDArray[np.floating[Any]] | None:
        """Features (N, D) of the model called ``name``, or None where none are stored."""
        if "features" not in self._entry(name)["tensors"]:
            return None
        return self._read(name, "features")

    def _entry(self, name: str) -> dict[str, Any]:
        try:
            return self._entries[name]
        except KeyError:
            raise KeyError(f"the store at {self.path} has no model named {name!r}") from None

    def _read(self, name: str, kind: str) -> NDArray[np.floating[Any]]:
        from safetensors import SafetensorError, safe_open

        file = self.path / self._entry(name)["file"]
        try:
            with safe_open(file, framework="numpy") as tensors:
                values: NDArray[np.floating[Any]] = tensors.get_tensor(kind)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} ({name}) cannot be read: {error}") from error
        if values.ndim != 2 or len(values) != self.n_samples:
            raise ValueError(
                f"{file} ({name}): {kind} has shape {values.shape}, "
                f"but the store has {self.n_samples} samples"
            )
        return values
