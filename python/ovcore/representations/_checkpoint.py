"""Results kept on disk as they come, so that an interrupted job goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovcore import _archive
from ovcore.representations._features import Features, rows_of


class Checkpoint:
    """A folder with a file a result; each is written whole or not at all.

    Args:
        folder: made where it is missing.
        of: what decides the results: data and settings, all of them read. Files of others are
            refused.
    """

    def __init__(self, folder: str | os.PathLike[str], of: list[Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        for value in of:
            for values in rows_of(value) if isinstance(value, Features) else [value]:
                known = values if isinstance(values, np.ndarray) else np.array(repr(values))
                digest.update(f"{known.dtype} {known.shape} ".encode())
                digest.update(known.tobytes())
        self._digest = digest.hexdigest()

    def load(self, name: str) -> dict[str, NDArray[Any]] | None:
        """What was saved under a name; None where nothing was.

        Raises:
            ValueError: the file is of other data or settings, or damaged.
        """
        path = self._path(name)
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                saved = {key: archive[key] for key in archive.files}
            digest = str(saved.pop("digest"))
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read as a checkpoint ({error}): delete it"
            ) from error
        if digest != self._digest:
            raise ValueError(
                f"{path} is a checkpoint of other data or settings: choose another folder, or "
                "delete it"
            )
        return saved

    def save(self, name: str, **arrays: ArrayLike) -> None:
        """Replaces what is kept under a name."""
        _archive.save(self._path(name), digest=self._digest, **arrays)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"
