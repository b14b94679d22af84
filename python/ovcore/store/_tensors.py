"""Safetensors files, read by mapping them into memory and written a block of rows at a time.

The format: eight bytes, the length of a header, little endian; the header, JSON, which gives each
tensor's element type, shape and place; the tensors' bytes. The safetensors package reads and writes
whole tensors as copies, which outputs of models are too large for.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore.store._errors import StoreError

DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
}
"""The format's names of the element types that stores hold."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_LONGEST_HEADER = 1 << 20  # bytes; those of a few tensors take hundreds


class Tensor(NamedTuple):
    """What a header says of one tensor."""

    dtype: str  # as numpy calls it
    shape: tuple[int, ...]
    offset: int = 0  # bytes from the file's begin

    @property
    def n_bytes(self) -> int:
        """Size of its elements."""
        return math.prod(self.shape) * bits_of(self.dtype).itemsize


def bits_of(dtype: str) -> np.dtype[Any]:
    """The little-endian type that elements are written in: numpy has no bfloat16."""
    return np.dtype("<u2" if dtype == "bfloat16" else np.dtype(dtype).newbyteorder("<").str)


def read_header(path: Path) -> dict[str, Tensor]:
    """What a file holds, by name.

    Raises:
        StoreError: the file is missing, truncated, or not of this format.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 0 < length <= min(_LONGEST_HEADER, size - 8):
                raise StoreError(f"{path} is not a safetensors file of a store, or is truncated")
            header = json.loads(file.read(length))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} has no safetensors header: {error}") from error
    try:
        tensors = {
            name: Tensor(
                DTYPES.get(entry["dtype"], entry["dtype"]),
                tuple(entry["shape"]),
                8 + length + entry["data_offsets"][0],
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
        ends = [int(header[name]["data_offsets"][1]) for name in tensors]
        last = 8 + length + max(ends, default=0)
        for name, tensor in tensors.items():
            if {type(n) for n in tensor.shape} - {int}:
                raise ValueError(f"{name} has shape {tensor.shape}")
            begin, end = header[name]["data_offsets"]
            if tensor.dtype in _NAMES and not 0 <= begin <= end == begin + tensor.n_bytes:
                raise ValueError(f"{name} of {tensor.n_bytes} bytes is said to be at {begin}:{end}")
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise StoreError(f"{path} has a damaged header: {error!r}") from error
    if size != last:
        raise StoreError(f"{path} has {size:,} bytes, but its header tells of {last:,}")
    return tensors


def map_tensor(path: Path, name: str, expected: Tensor) -> NDArray[Any]:
    """A read-only view of one tensor in the file; pages are read when they are looked at.

    Raises:
        StoreError: the file is damaged, or the tensor is not the expected one.
        ImportError: bfloat16 without ml_dtypes.
    """
    found = read_header(path).get(name)
    if found is None:
        raise StoreError(f"{path} has no tensor {name!r}")
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        raise StoreError(
            f"{path}: {name} is {found.dtype} {found.shape}, "
            f"but the manifest says {expected.dtype} {expected.shape}"
        )
    if found.n_bytes == 0:
        values = np.empty(found.shape, bits_of(found.dtype))
    else:
        try:
            values = np.memmap(path, bits_of(found.dtype), "r", found.offset, found.shape)
        except OSError as error:
            advice = "; raise the limit of open files (ulimit -n)" * (error.errno == errno.EMFILE)
            raise StoreError(f"{path} cannot be mapped: {error.strerror}{advice}") from error
        values = values.view(np.ndarray)
    if found.dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise ImportError(
                f"{path}: {name} is bfloat16, which numpy reads with ml_dtypes: "
                "pip install 'ovcore[store]'"
            ) from error
        values = values.view(ml_dtypes.bfloat16)
    values.flags.writeable = False
    return values


class TensorFile:
    """Writes one file: several tensors of N rows each, in blocks of rows.

    Args:
        path: a new file.
        tensors: element type and shape, by name.

    Raises:
        OSError: there is no space for the file, found out before anything is written.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        # Widest elements first, so that every tensor is aligned to its elements.
        order = sorted(tensors, key=lambda n: (-bits_of(tensors[n].dtype).itemsize, n))
        header: dict[str, Any] = {}
        end = 0
        for name in order:
            dtype, shape, _ = tensors[name]
            begin, end = end, end + tensors[name].n_bytes
            header[name] = {
                "dtype": _NAMES[dtype],
                "shape": list(shape),
                "data_offsets": [begin, end],
            }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._path = path
        self._tensors = {
            name: tensors[name]._replace(offset=8 + len(text) + header[name]["data_offsets"][0])
            for name in order
        }
        self._written = dict.fromkeys(order, 0)  # bytes
        self._hashes = {name: hashlib.sha256() for name in order}
        self._file = path.open("xb")
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, 8 + len(text) + end)
            self._file.write(len(text).to_bytes(8, "little") + text)
        except BaseException:
            self._file.close()
            raise

    def write(self, name: str, rows: NDArray[Any]) -> None:
        """Appends rows to one tensor, no more than there are to be; bfloat16 as its bits."""
        tensor = self._tensors[name]
        data = np.ascontiguousarray(rows, bits_of(tensor.dtype))
        assert self._written[name] + data.nbytes <= tensor.n_bytes
        self._file.seek(tensor.offset + self._written[name])
        if data.size:
            self._file.write(data.data)
            self._hashes[name].update(data.data)
        self._written[name] += data.nbytes

    def finish(self) -> dict[str, str]:
        """Puts the file, whose rows are all there, on the disk; its tensors' SHA-256 by name."""
        assert all(self._written[name] == t.n_bytes for name, t in self._tensors.items())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def close(self) -> None:
        """Lets go of the file, finished or not."""
        self._file.close()


def hash_tensor(path: Path, tensor: Tensor) -> str:
    """SHA-256 of one tensor's bytes, which are read once, a megabyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(tensor.offset)
        left = tensor.n_bytes
        while left:
            block = file.read(min(left, 1 << 20))
            if not block:
                raise StoreError(f"{path} is truncated")
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
