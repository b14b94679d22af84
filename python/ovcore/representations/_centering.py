"""Blocks of rows less a pilot mean, ready to be multiplied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch
from ovcore._arrays import Array, Typed
from ovcore.representations._features import Features, in_type

_PILOT_ROWS = 64
_BLOCK_NUMBERS = 1 << 19  # of a block in host memory: 2 MB in float32, what a core's cache holds
_GPU_BLOCK_NUMBERS = 1 << 25
_BLOCK_ROWS = 1 << 14  # at most: what float32 sums run over
_FLOAT32_RUN = 64  # rows whose columns kernels add up in float32; by far more would be
_RUN_NUMBERS = 1 << 14  # too few in narrow features: calling a kernel takes microseconds


class Centering:
    """Iterates over blocks of samples: the matrices of one side, or of two.

    What is removed is about the mean, from a few samples; :meth:`left` tells what it missed.
    Blocks in host memory are overwritten by the next.
    """

    def __init__(
        self,
        sides: list[Features],  # one or two, of the same samples, library and computed type
        block_size: int | None = None,
        backend: str | None = None,
        workers: int | None = None,
        pilots: list[NDArray[np.floating]] | None = None,
    ) -> None:
        self._sides = sides
        self._pilots = pilots or [_pilot(side) for side in sides]
        self._left = [_arrays.zeros([s.n_dimensions], "float64", s.library) for s in sides]
        self._on_host = not sides[0].on_gpu
        numbers = _BLOCK_NUMBERS if self._on_host else _GPU_BLOCK_NUMBERS
        widest = max(side.n_dimensions for side in sides)
        self._size = block_size or max(1, min(numbers // widest, _BLOCK_ROWS))
        if self._on_host:
            in_float64 = sides[0].dtype == "float64"
            self._run = self._size if in_float64 else max(_FLOAT32_RUN, _RUN_NUMBERS // widest)
            self._backend = _dispatch.choose(backend)
            self._workers = _dispatch.count_workers(workers)

    def __iter__(self) -> Iterator[list[Array]]:
        n_samples = self._sides[0].n_samples
        size = min(self._size, n_samples)
        buffers = [np.empty((size, s.n_dimensions), s.dtype) for s in self._sides if self._on_host]
        for first in range(0, n_samples, size):
            rows = slice(first, min(first + size, n_samples))
            yield self._host_blocks(rows, buffers) if self._on_host else self._gpu_blocks(rows)

    def _host_blocks(self, rows: slice, buffers: list[NDArray[np.floating]]) -> list[Array]:
        blocks = [buffer[: rows.stop - rows.start] for buffer in buffers]
        for first in range(0, len(blocks[0]), self._run):
            run = [block[first : first + self._run] for block in blocks]
            start = rows.start + first
            self._center(slice(start, start + len(run[0])), run)
        library = self._sides[0].library
        return [_arrays.in_library(block, library) for block in blocks]

    def _center(self, rows: slice, blocks: list[NDArray[np.floating]]) -> None:
        parts, pilots, out, sums = [], [], [], []
        left = [np.empty(side.n_dimensions, side.dtype) for side in self._sides]
        for side, pilot, block, of_side in zip(
            self._sides, self._pilots, blocks, left, strict=True
        ):
            for part, start, stop in side.placed():
                parts.append(_readable(part, rows))
                pilots.append(pilot[start:stop])
                out.append(block[:, start:stop])
                sums.append(of_side[start:stop])
        self._backend.center_rows(parts, pilots, out, sums, self._workers)
        with np.errstate(invalid="ignore"):  # refused in the end
            for i, of_side in enumerate(left):
                self._left[i] += _arrays.in_library(of_side, self._sides[i].library)

    def _gpu_blocks(self, rows: slice) -> list[Array]:
        found = []
        for i, side in enumerate(self._sides):
            xp = _arrays.namespace(side.library)
            wide = [in_type(side, part, rows, side.dtype) for part in side.parts]
            block = xp.concatenate(wide, 1) if len(wide) > 1 else wide[0]
            block = block - _arrays.in_library(self._pilots[i], side.library)
            self._left[i] += _arrays.convert(block.sum(0), "float64")
            found.append(block)
        return found

    def left(self, names: Sequence[str] = ("features", "other")) -> list[Array]:
        """(D,) sums over all samples of what is left of each side, float64 in its library.

        Raises:
            ValueError: features are not finite; the names are what they are called then.
        """
        for side, left, name in zip(self._sides, self._left, names, strict=False):
            _refuse_non_finite(side, left, name)
        return self._left

    def means(self) -> list[Array]:
        """(D,) mean of each side, float64 in its library."""
        n_samples = self._sides[0].n_samples
        return [
            _arrays.in_library(pilot.astype(np.float64), side.library) + left / n_samples
            for side, pilot, left in zip(self._sides, self._pilots, self._left, strict=True)
        ]


def _pilot(side: Features) -> NDArray[np.floating]:
    """(D,) means of a few samples, spread over all, in the type that is computed in.

    An eighth at either end is left out, so that one far sample among many moves nothing. A
    dimension that is the same in all samples gets its value to the bit: nothing of it is left.
    """
    # One row of each of so many ranges, at no fixed distance: labels often come round in turn.
    edges = np.linspace(0, side.n_samples, min(side.n_samples, _PILOT_ROWS) + 1).astype(np.int64)
    rows = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    pieces = []
    with np.errstate(invalid="ignore", over="ignore"):  # refused in the end
        for part in side.parts:
            some = _arrays.as_numpy(in_type(side, part, rows, "float64"))
            ends = len(some) // 8
            some = np.sort(np.ascontiguousarray(some), axis=0)[ends : len(some) - ends]
            pieces.append(some[0] + (some - some[0]).mean(axis=0))
        return np.concatenate(pieces).astype(side.dtype)


def _readable(part: Typed, rows: slice) -> Typed:
    """Those rows as kernels read them: contiguous along dimensions; copied where they are not."""
    values = part.values[rows]
    own = values.dtype.newbyteorder("=")
    if values.strides[1] != values.itemsize or not values.flags.aligned or values.dtype != own:
        values = np.require(values, own, ["C", "A"])
    return part._replace(values=values)


def _refuse_non_finite(side: Features, left: Array, name: str) -> None:
    finite = np.isfinite(_arrays.as_numpy(left))
    if not finite.all():
        raise ValueError(
            f"{name} has NaN or infinite values in {int((~finite).sum())} of {side.n_dimensions} "
            f"dimensions, first in dimension {int(finite.argmin())}"
        )
