"""Reading every byte of a store and saying what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ovcore.store import _manifest
from ovcore.store._errors import StoreError
from ovcore.store._manifest import Entry, Manifest, accuracy_of
from ovcore.store._tensors import hash_tensor, map_tensor, read_header

__all__ = ["verify"]


def verify(path: str | os.PathLike[str]) -> list[str]:
    """What is wrong with the store at ``path``: one line a problem, none if it is whole.

    Every file is read to its end: its size and types must be the manifest's, its tensors must have
    the hashes they were written with, and its predictions the accuracy that is stated for these
    labels. Files that no manifest tells of are named, too.

    Raises:
        FileNotFoundError, StoreError: there is no store, or its manifest cannot be read.
    """
    folder = Path(path)
    files = sorted([*folder.glob("*.safetensors"), *folder.glob(".adding-*")])
    manifest = _manifest.read(folder)
    problems = []
    if _manifest.hash_samples(manifest) != manifest.samples_sha256:
        problems.append(f"{folder / _manifest.FILE}: labels, sample ids or columns were changed")
    problems += [line for entry in manifest.entries for line in _check(folder, entry, manifest)]
    # Read again: a model may have been added meanwhile.
    known = {entry.file for entry in (*manifest.entries, *_manifest.read(folder).entries)}
    problems += [
        f"{file} belongs to no model: a writer is at work, or was killed; the next clears it away"
        for file in files
        if file.name not in known
    ]
    return problems


def _check(folder: Path, entry: Entry, manifest: Manifest) -> list[str]:
    path = folder / entry.file
    problems = []
    try:
        found = read_header(path)
        for name, tensor in entry.tensors.items():
            values = map_tensor(path, name, tensor)
            if hash_tensor(path, found[name]) != entry.sha256[name]:
                problems.append(
                    f"{path} ({entry.card.name}): {name} is not what was written: its SHA-256 "
                    "differs from the manifest's"
                )
            elif name == "preds":
                wrong = int(np.count_nonzero(values != manifest.target))
                if len(values) and entry.accuracy != accuracy_of(wrong, len(values)):
                    problems.append(
                        f"{path} ({entry.card.name}): {wrong} of {len(values)} predictions are "
                        f"wrong, which is not accuracy {entry.accuracy}: labels were changed"
                    )
        extra = sorted(found.keys() - entry.tensors.keys())
        if extra:
            problems.append(f"{path} ({entry.card.name}): the manifest lacks {', '.join(extra)}")
    except StoreError as error:
        problems.append(f"{error} (model {entry.card.name!r})")
    return problems
