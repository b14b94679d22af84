"""Arrays by name in npz, npy and safetensors files, each read when it is asked for."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ARRAYS", "Members", "choose"]

ARRAYS = (".npz", ".npy", ".safetensors")
"""Endings of the files that hold arrays."""


class Members(Mapping[str, NDArray[Any]]):
    """The arrays of one file by name; an npy file has one, named ``""``, mapped into memory.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind, or holds Python objects.
        ImportError: safetensors is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading():
            if path.suffix == ".npz":
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    self._keys = list(archive.files)
            elif path.suffix == ".safetensors":
                with _open_safetensors(path) as tensors:
                    self._keys = list(tensors.keys())
            else:
                self._array = np.load(path, mmap_mode="r", allow_pickle=False)
                if not isinstance(self._array, np.ndarray):
                    raise ValueError("it is an npz archive")
                self._keys = [""]

    def __getitem__(self, key: str) -> NDArray[Any]:
        if key not in self._keys:
            raise KeyError(key)
        with self._reading(key):
            if self.path.suffix == ".npz":
                with (
                    self.path.open("rb") as opened,
                    np.load(opened, allow_pickle=False) as archive,
                ):
                    values: NDArray[Any] = archive[key]
                    return values
            if self.path.suffix == ".safetensors":
                with _open_safetensors(self.path) as tensors:
                    if tensors.get_slice(key).get_dtype() == "BF16":
                        _teach_bfloat16(self.path)
                    tensor: NDArray[Any] = tensors.get_tensor(key)
                    return tensor
            return self._array

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    @contextmanager
    def _reading(self, key: str = "") -> Iterator[None]:
        where = f"{self.path}, member {key!r}," if key else f"{self.path}"
        try:
            yield
        except (FileNotFoundError, ImportError):
            raise
        except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{where} cannot be read: {error}") from error


def choose(
    given: str | None, usual: Sequence[str], there: Sequence[str], file: Path, option: str
) -> str | None:
    """The member or column that an option names, or else the one with a usual name, or None.

    Raises:
        ValueError: the file has no such member, or several with usual names.
    """
    if given is not None:
        if given not in there:
            raise ValueError(
                f"{file} has no {given!r} for {option}; it has {', '.join(map(repr, there))}"
            )
        return given
    found = [name for name in there if name in usual]
    if len(found) > 1:
        raise ValueError(f"{file} has {' and '.join(map(repr, found))}: choose with {option}")
    return found[0] if found else None


def _teach_bfloat16(path: Path) -> None:
    """Makes the element type known to numpy."""
    try:
        import ml_dtypes  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{path} holds bfloat16, which numpy reads with ml_dtypes: pip install 'ovcore[store]'",
            name="ml_dtypes",
        ) from error


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(
            f"{path} is read with safetensors: pip install 'ovcore[import]'", name="safetensors"
        ) from error
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(str(error)) from error
