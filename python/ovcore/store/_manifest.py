"""The manifest: what a store's folder says of its samples and models."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore.store._cards import ModelCard
from ovcore.store._errors import StoreError
from ovcore.store._tensors import Tensor

FORMAT = "ovcore-store-2"
FILE = "manifest.json"

_CARD_KEYS = tuple(f.name for f in fields(ModelCard))


@dataclass(frozen=True)
class Entry:
    """One model's card and file.

    Attributes:
        card: what is said of the model.
        file: the name of its file in the store's folder.
        tensors: what the file holds.
        sha256: of each tensor's bytes.
        accuracy: share of samples its predictions get right; None where only features are kept.
    """

    card: ModelCard
    file: str
    tensors: dict[str, Tensor]
    sha256: dict[str, str]
    accuracy: float | None


@dataclass(frozen=True)
class Manifest:
    """What is the same for all models of a store, and an entry for each of them."""

    target: NDArray[np.int64]
    sample_ids: list[str] | None = None
    class_names: list[str] | None = None
    n_classes: int | None = None
    columns: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()


def accuracy_of(n_wrong: int, n_samples: int) -> float:
    """The formula of error bits, to the last digit; NaN of no samples."""
    return float(1 - n_wrong / n_samples) if n_samples else float("nan")


def read(folder: Path) -> Manifest:
    """The manifest of the store in a folder.

    Raises:
        FileNotFoundError: there is no store.
        StoreError: what is there is not a store, or its manifest is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"no store at {folder}: {FILE} is missing")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    found = saved.get("format") if isinstance(saved, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"{path} is not a manifest of format {FORMAT!r}"
            + (f", but of {found!r}: write the store again" if found else "")
        )
    try:
        return _from_json(saved)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"{path} is damaged: {error!r}") from error


def write(folder: Path, manifest: Manifest) -> None:
    """Puts a manifest in place of the one in the folder, whole or not at all."""
    path = folder / FILE
    part = folder / f".{FILE}.part"
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(json.dumps(_to_json(manifest)))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "n_samples": len(manifest.target),
        "n_classes": manifest.n_classes,
        "class_names": manifest.class_names,
        "models": [
            {
                **asdict(entry.card),
                "accuracy": entry.accuracy,
                "file": entry.file,
                "tensors": {
                    name: {
                        "dtype": tensor.dtype,
                        "shape": list(tensor.shape),
                        "sha256": entry.sha256[name],
                    }
                    for name, tensor in entry.tensors.items()
                },
            }
            for entry in manifest.entries
        ],
        "target": manifest.target.tolist(),
        "sample_ids": manifest.sample_ids,
        "columns": {name: values.tolist() for name, values in manifest.columns.items()},
    }


def _from_json(saved: Mapping[str, Any]) -> Manifest:
    n_samples, n_classes = saved["n_samples"], saved["n_classes"]
    entries = tuple(_entry(model, n_samples) for model in saved["models"])
    if len({entry.card.name for entry in entries}) != len(entries):
        raise ValueError("model names repeat")
    for key, count in (("sample_ids", n_samples), ("class_names", n_classes)):
        texts = saved[key]
        if texts is not None and not (
            len(texts) == count and all(isinstance(text, str) for text in texts)
        ):
            raise ValueError(f"{key} must be {count} texts")
    return Manifest(
        target=_integers(saved["target"], n_samples),
        sample_ids=saved["sample_ids"],
        class_names=saved["class_names"],
        n_classes=n_classes,
        columns={name: _integers(values, n_samples) for name, values in saved["columns"].items()},
        entries=entries,
    )


def _entry(model: Mapping[str, Any], n_samples: int) -> Entry:
    file = model["file"]
    if Path(file).name != file:
        raise ValueError(f"a model's file lies outside the store: {file}")
    tensors = {
        name: Tensor(tensor["dtype"], tuple(tensor["shape"]))
        for name, tensor in model["tensors"].items()
    }
    for name, tensor in tensors.items():
        if tensor.shape[0] != n_samples:
            raise ValueError(f"{name} of {model['name']!r} has shape {tensor.shape}")
    return Entry(
        card=ModelCard(**{key: model[key] for key in _CARD_KEYS}),
        file=file,
        tensors=tensors,
        sha256={name: tensor["sha256"] for name, tensor in model["tensors"].items()},
        accuracy=model["accuracy"],
    )


def _integers(values: list[int], count: int) -> NDArray[np.int64]:
    array = np.array(values, np.int64)
    if array.shape != (count,) or array.tolist() != values:
        raise ValueError(f"expected {count} integers")
    return array
