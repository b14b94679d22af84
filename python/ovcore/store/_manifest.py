"""The manifest: what a store's folder says of its samples and models."""

from __future__ import annotations

import hashlib
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
    samples_sha256: str = ""  # as it was read


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
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    found = saved.get("format") if isinstance(saved, dict) else None
    if found != FORMAT:
        raise StoreError(
            f"{path} is not a manifest of format {FORMAT!r}"
            + (f", but of {found!r}: write the store again" if found else "")
        )
    try:
        return _from_json(saved)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
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
        "samples_sha256": hash_samples(manifest),
    }


def hash_samples(manifest: Manifest) -> str:
    """SHA-256 of labels, ids and columns: tells whether somebody changed them afterwards."""
    digest = hashlib.sha256(manifest.target.astype("<i8").tobytes())
    names = sorted(manifest.columns)
    digest.update(json.dumps([manifest.sample_ids, names]).encode())
    for name in names:
        digest.update(manifest.columns[name].astype("<i8").tobytes())
    return digest.hexdigest()


def _from_json(saved: Mapping[str, Any]) -> Manifest:
    n_samples, n_classes = saved["n_samples"], saved["n_classes"]
    entries = tuple(_entry(model, n_samples) for model in saved["models"])
    if len({entry.card.name for entry in entries}) != len(entries):
        raise ValueError("model names repeat")
    if len({entry.file for entry in entries}) != len(entries):
        raise ValueError("two models have the same file")
    if n_classes is not None and not (type(n_classes) is int and n_classes > 0):
        raise ValueError(f"n_classes is {n_classes!r}")
    for key, count in (("sample_ids", n_samples), ("class_names", n_classes)):
        texts = saved[key]
        if texts is not None and not (
            isinstance(texts, list)
            and len(texts) == count
            and all(isinstance(text, str) for text in texts)
        ):
            raise ValueError(f"{key} must be {count} texts")
    if saved["sample_ids"] is not None and len(set(saved["sample_ids"])) != n_samples:
        raise ValueError("sample ids repeat")
    for entry in entries:
        logits = entry.tensors.get("logits")
        if logits is not None and logits.shape[1:] != (n_classes,):
            raise ValueError(f"logits of {entry.card.name!r} have shape {logits.shape}")
    return Manifest(
        target=_integers(saved["target"], n_samples),
        sample_ids=saved["sample_ids"],
        class_names=saved["class_names"],
        n_classes=n_classes,
        columns={name: _integers(values, n_samples) for name, values in saved["columns"].items()},
        entries=entries,
        samples_sha256=saved["samples_sha256"],
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
    accuracy = model["accuracy"]
    if accuracy is not None and not (isinstance(accuracy, float | int) and 0 <= accuracy <= 1):
        raise ValueError(f"accuracy of {model['name']!r} is {accuracy!r}")
    return Entry(
        card=ModelCard(**{key: model[key] for key in _CARD_KEYS}),
        file=file,
        tensors=tensors,
        sha256={name: tensor["sha256"] for name, tensor in model["tensors"].items()},
        accuracy=accuracy,
    )


def _integers(values: list[int], count: int) -> NDArray[np.int64]:
    array = np.array(values, np.int64)
    if array.shape != (count,) or array.tolist() != values:
        raise ValueError(f"expected {count} integers")
    array.flags.writeable = False
    return array
