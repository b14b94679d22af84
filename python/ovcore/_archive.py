"""Files of errors and counts."""

from __future__ import annotations

import operator
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

Errors = TypeVar("Errors")


def save(path: str | os.PathLike[str], **arrays: ArrayLike | None) -> None:
    """Writes arrays and numbers to one .npz file, whole or not at all."""
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            kept = {name: array for name, array in arrays.items() if array is not None}
            np.savez(file, **kept)  # type: ignore[arg-type]  # no name is allow_pickle
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def load(
    path: str | os.PathLike[str], make: Callable[..., Errors], what: str, key: str, *more: str
) -> Errors:
    """``make(saved[key], saved["n_samples"], ...)``, with ``more`` by name where they were saved.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            saved = {name: archive[name] for name in archive.files}
        if key not in saved or "n_samples" not in saved:
            raise ValueError(f"it has {', '.join(saved) or 'nothing'}")
        n_samples = operator.index(saved["n_samples"][()])
        rest: dict[str, Any] = {name: saved.get(name) for name in more}
        return make(saved[key], n_samples, **rest)
    except FileNotFoundError:
        raise
    except (
        ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise ValueError(f"{path} is not a file of {what}: {error}") from error
