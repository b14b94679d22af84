"""Truth values as rows of bits: bit n % 64 of word n // 64 is sample n."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _devices
from ovcore._devices import DeviceArray

ROW_WORDS = 16  # rows are padded with zeros to whole 128 bytes


def unpack(words: NDArray[np.uint64], n_samples: int) -> NDArray[np.bool_]:
    """(M, N) truth values of (M, W) bits."""
    bytes_of = words.astype("<u8", copy=False).view(np.uint8)
    bits = np.unpackbits(bytes_of, axis=1, count=n_samples, bitorder="little")
    return bits.view(np.bool_)


def pack(values: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(M, W) bits of (M, N) truth values."""
    n_models, n_samples = values.shape
    words = empty(n_models, n_samples)
    packed = np.packbits(values, axis=1, bitorder="little")
    little = words.astype("<u8", copy=False)
    little.view(np.uint8)[:, : packed.shape[1]] = packed
    return little.astype(np.uint64, copy=False)


def shape_of(n_models: int, n_samples: int) -> tuple[int, int]:
    """(M, W) of rows padded to whole 128 bytes."""
    return n_models, -(-n_samples // (64 * ROW_WORDS)) * ROW_WORDS


def empty_in(library: str, n_models: int, n_samples: int) -> NDArray[np.uint64] | DeviceArray:
    """:func:`empty`, or words not yet written on a library's GPU."""
    if _devices.device_number(library) is None:
        return empty(n_models, n_samples)
    return _arrays.empty(shape_of(n_models, n_samples), "uint64", library)


def empty(n_models: int, n_samples: int) -> NDArray[np.uint64]:
    """(M, W) zeros, rows padded to whole 128 bytes, the first at a multiple of 64."""
    shape = shape_of(n_models, n_samples)
    size = shape[0] * shape[1]
    words = np.zeros(size + 7, np.uint64)
    first = -words.ctypes.data % 64 // 8
    return words[first : first + size].reshape(shape)


def full(n_models: int, n_samples: int, width: int) -> NDArray[np.uint64]:
    """(M, width) bits that are 1 on every sample; a view of one row."""
    row = np.zeros(width, np.uint64)
    row[: n_samples // 64] = ~np.uint64(0)
    if n_samples % 64:
        row[n_samples // 64] = (1 << n_samples % 64) - 1
    return np.broadcast_to(row, (n_models, width))


def compress(words: NDArray[np.uint64], keep: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """The bits of the samples kept, in order; one row at a time takes a byte a sample."""
    kept = empty(len(words), int(keep.sum()))
    for row, to in zip(words, kept, strict=True):
        to[:] = pack(unpack(row[None], len(keep))[:, keep])
    return kept


def concatenate(parts: Sequence[NDArray[np.uint64]], sizes: Sequence[int]) -> NDArray[np.uint64]:
    """One row of bits after the other; ``sizes`` are the samples of each part."""
    words = empty(len(parts[0]), sum(sizes))
    at = 0
    for part, size in zip(parts, sizes, strict=True):
        n_words = -(-size // 64)
        whole, shift = divmod(at, 64)
        words[:, whole : whole + n_words] |= part[:, :n_words] << np.uint64(shift)
        if shift:  # what does not fit in a word goes to the next
            rest = part[:, : min(n_words, words.shape[1] - whole - 1)] >> np.uint64(64 - shift)
            words[:, whole + 1 : whole + 1 + rest.shape[1]] |= rest
        at += size
    return words


def same(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> bool:
    """Whether two sets of rows on as many samples are equal; their padding may differ."""
    width = min(a.shape[1], b.shape[1])
    return np.array_equal(a[:, :width], b[:, :width])


def checked(words: NDArray[np.uint64], n_samples: int, name: str) -> NDArray[np.uint64]:
    """The words, contiguous; refuses another shape or type, and bits past the last sample."""
    if not isinstance(words, np.ndarray):
        raise TypeError(f"{name} must be an (M, W) uint64 array, got {type(words).__name__}")
    if words.ndim != 2 or words.dtype != np.uint64 or words.shape[1] * 64 < n_samples:
        raise ValueError(
            f"{name} must be (M, W) uint64 with W >= {-(-n_samples // 64)} "
            f"for {n_samples} samples, got {words.dtype} {words.shape}"
        )
    whole, last = divmod(n_samples, 64)
    past = words[:, whole:].copy()
    if past.size:
        past[:, 0] >>= np.uint64(last)
    if past.any():
        raise ValueError(f"{name} has bits past the last of {n_samples} samples; they must be 0")
    return np.ascontiguousarray(words)
