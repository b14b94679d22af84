"""Features of one or more models, checked once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array, Typed
from ovcore._inputs import is_sequence_of_arrays

_BLOCK_NUMBERS = 1 << 20
_PIECE_NUMBERS = 1 << 25
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_FEW_PRODUCTS = 1 << 30  # computed in float64 whatever features come in: it takes milliseconds


class Features(NamedTuple):
    """Checked features of M models on the same N samples, side by side."""

    parts: list[Typed]  # M arrays (N, D_m): views in host memory, or the library's own on a GPU
    sizes: tuple[int, ...]  # D_m
    n_samples: int
    library: str
    dtype: str  # what is computed in: float64 where a part is, otherwise float32

    @property
    def n_dimensions(self) -> int:
        """All models' dimensions, D."""
        return sum(self.sizes)

    @property
    def on_gpu(self) -> bool:
        """Whether the parts are the library's own arrays on a GPU."""
        return "cuda" in self.library

    def placed(self) -> Iterator[tuple[Typed, int, int]]:
        """Each part, its first dimension and the one behind its last."""
        stop = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            start, stop = stop, stop + size
            yield part, start, stop


def read_features(data: Array | Sequence[Array], name: str = "features") -> Features:
    """Checks features (N, D) of one model, or a list of M arrays (N, D_m) of several.

    Raises:
        TypeError: an element type that is not floating.
        ValueError: not two axes; no sample or dimension; other numbers of samples; mixed libraries
            or devices; a GPU whose arrays belong to neither torch nor cupy.
    """
    several = is_sequence_of_arrays(data)
    given = list(data) if several else [data]
    parts, libraries = [], []
    for m, part in enumerate(given):
        part_name = f"{name}[{m}]" if several else name
        libraries.append(_arrays.library_of(part))
        parts.append(_read_part(part, part_name))
        if len(parts[m].values) != len(parts[0].values):
            raise ValueError(
                f"{part_name} has {len(parts[m].values)} samples but {name}[0] has "
                f"{len(parts[0].values)}"
            )
        if libraries[m] != libraries[0]:
            raise ValueError(f"{part_name} is of {libraries[m]} but {name}[0] of {libraries[0]}")
    wide = any(part.dtype == "float64" for part in parts)
    sizes = tuple(part.values.shape[1] for part in parts)
    dtype = "float64" if wide else "float32"
    return Features(parts, sizes, len(parts[0].values), libraries[0], dtype)


def _read_part(part: Array, name: str) -> Typed:
    library = _arrays.library_of(part)
    if "cuda" in library:
        if not library.startswith(("torch", "cupy")):
            raise ValueError(
                f"{name} is on {_arrays.device_of(part)}, where torch or cupy multiplies matrices: "
                "pass an array of theirs"
            )
        if getattr(part, "requires_grad", False):
            raise ValueError(f"{name} requires grad: pass {name}.detach()")
        seen = Typed(part, str(part.dtype).removeprefix("torch."))
    else:
        seen = _arrays.view(_arrays.adopt(part, name), name)
    if seen.values.ndim != 2 or 0 in seen.values.shape:
        raise ValueError(
            f"{name} must be (N, D) with at least one sample and one dimension, got shape "
            f"{tuple(seen.values.shape)}"
        )
    if seen.dtype not in _FLOATS:
        raise TypeError(f"{name} must be {', '.join(_FLOATS)}, got {seen.dtype}")
    return seen


def read_both(
    features: Array | Sequence[Array], test_features: Array | Sequence[Array]
) -> tuple[Features, Features]:
    """Features to train on, and features of the same models to test on.

    Raises:
        TypeError: as :func:`read_features`.
        ValueError: as there; other numbers of models or dimensions.
    """
    x, x_test = read_features(features), read_features(test_features, "test_features")
    if x.sizes != x_test.sizes:
        raise ValueError(f"features have sizes {x.sizes} but test_features have {x_test.sizes}")
    return x, x_test


def side_by_side(sides: list[Features], names: list[str]) -> list[Features]:
    """Features that are multiplied with each other: in one type, float64 where that is cheap.

    Raises:
        ValueError: they are of other samples, libraries or devices than the first.
    """
    first = sides[0]
    for side, name in zip(sides, names, strict=True):
        if side.n_samples != first.n_samples:
            raise ValueError(
                f"{names[0]} has {first.n_samples} samples but {name} has {side.n_samples}"
            )
        if side.library != first.library:
            raise ValueError(f"{names[0]} is of {first.library} but {name} of {side.library}")
    few = first.n_samples * max(side.n_dimensions for side in sides) ** 2 <= _FEW_PRODUCTS
    wide = few or any(side.dtype == "float64" for side in sides)
    return [side._replace(dtype="float64") if wide else side for side in sides]


def in_type(features: Features, part: Typed, rows: slice | NDArray[np.int64], dtype: str) -> Array:
    """Those rows of a part in another element type."""
    if features.on_gpu:
        chosen = rows if isinstance(rows, slice) else _arrays.in_library(rows, features.library)
        return _arrays.convert(part.values[chosen], dtype)
    return _arrays.widen(part, rows).astype(dtype, copy=False)


def rows_of(x: Features) -> Iterator[NDArray[np.floating]]:
    """Blocks of samples of each part, in host memory, in the type that is computed in."""
    for part, size in zip(x.parts, x.sizes, strict=True):
        step = max(1, _BLOCK_NUMBERS // size)
        for first in range(0, x.n_samples, step):
            yield _arrays.as_numpy(in_type(x, part, slice(first, first + step), x.dtype))


def in_pieces(x: Features) -> Iterator[tuple[slice, Features]]:
    """Ranges of samples and views of them, each a small part of what fits memory."""
    step = max(1, _PIECE_NUMBERS // x.n_dimensions)
    for first in range(0, x.n_samples, step):
        rows = slice(first, min(first + step, x.n_samples))
        parts = [part._replace(values=part.values[rows]) for part in x.parts]
        yield rows, x._replace(parts=parts, n_samples=rows.stop - rows.start)


def take(x: Features, rows: NDArray[np.int64]) -> Features:
    """A copy of some samples."""
    chosen = _arrays.in_library(rows, x.library) if x.on_gpu else rows
    parts = [part._replace(values=part.values[chosen]) for part in x.parts]
    return x._replace(parts=parts, n_samples=len(rows))


def join(x: Features, more: Features, name: str) -> Features:
    """A copy of the samples of one after those of the other.

    Raises:
        ValueError: they have other dimensions, element types, libraries or devices.
    """
    expected, came = (
        " and ".join(
            f"{part.dtype} (N, {size})" for part, size in zip(f.parts, f.sizes, strict=True)
        )
        + f" of {f.library}"
        for f in (x, more)
    )
    if expected != came:
        raise ValueError(f"{name} must be {expected}, got {came}")
    xp = _arrays.namespace(x.library) if x.on_gpu else np
    parts = [
        one._replace(values=xp.concatenate([one.values, other.values]))
        for one, other in zip(x.parts, more.parts, strict=True)
    ]
    return x._replace(parts=parts, n_samples=x.n_samples + more.n_samples)
