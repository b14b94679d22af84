"""Finished splits on disk, found by a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovcore import store
from ovcore.extract import hooks
from ovcore.study.zoo.recipe import Recipe

_DONE = "split.json"


def default_folder() -> Path:
    """Where splits are kept unless told otherwise: the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "ovcore" / "zoo"


def split_key(
    recipe: Recipe, images: NDArray[np.uint8], labels: NDArray[np.int64], split: int
) -> str:
    """Hash of the recipe, the data, the split's number and the code that builds it."""
    digest = hashlib.sha256(f"{recipe.digest()} {split} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).tobytes())
    digest.update(np.ascontiguousarray(labels).tobytes())
    for source in _sources():
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()[:24]


def _sources() -> list[Path]:
    """The zoo's own files, and those that decide what a store holds."""
    own = sorted(Path(__file__).parent.glob("*.py"))
    stores = sorted(Path(store.__path__[0]).glob("*.py"))
    return [*own, *stores, Path(str(hooks.__file__))]


def is_finished(folder: Path) -> bool:
    """Whether a split was built here to its end."""
    return (folder / _DONE).is_file()


def read_seconds(folder: Path) -> float:
    """How long the split in `folder` took to train."""
    return float(json.loads((folder / _DONE).read_text(encoding="utf-8"))["seconds"])


def write_seconds(folder: Path, seconds: float) -> None:
    """The last thing written to a split."""
    (folder / _DONE).write_text(json.dumps({"seconds": seconds}), encoding="utf-8")


@contextmanager
def appearing_whole(folder: Path) -> Iterator[Path]:
    """A temporary sibling to fill; it takes `folder`'s place where the block succeeds.

    Where another process was first, its result stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield partial
        if folder.exists() and not is_finished(folder):
            shutil.rmtree(folder)
        try:
            partial.rename(folder)
        except OSError:
            if not is_finished(folder):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
