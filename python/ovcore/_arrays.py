"""The one file that names torch and cupy.

Neither is imported: an array of theirs can only exist once somebody else has imported them, so they
are looked up in ``sys.modules``.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""An array of the caller's library: numpy.ndarray, or torch.Tensor where one was given."""

_DLPACK_CPU = 1


class Typed(NamedTuple):
    """A numpy view and the name of its element type; bfloat16, which numpy lacks, as its bits."""

    values: NDArray[Any]
    dtype: str


def library_of(array: Array) -> str:
    """Name of the library an array comes from: "torch", "cupy" or "numpy" (anything else)."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(array, torch.Tensor):
        return "torch"
    if cupy is not None and isinstance(array, cupy.ndarray):
        return "cupy"
    return "numpy"


def device_of(array: Array) -> str:
    """Where an array lies, as its library writes it: "cpu", "cuda:0", ..."""
    if library_of(array) == "torch":
        return str(array.device)
    if library_of(array) == "cupy":
        return f"cuda:{array.device.id}"
    if hasattr(array, "__dlpack_device__"):
        kind, index = array.__dlpack_device__()
        return "cpu" if kind == _DLPACK_CPU else f"dlpack device ({int(kind)}, {index})"
    return "cpu"


def view(array: Array, name: str) -> Typed:
    """Sees an array in host memory as numpy does, without a copy.

    Raises:
        ValueError: the array lies on another device, or requires grad.
        TypeError: it is not a plain dense array.
    """
    _refuse_other_devices(array, name)
    if library_of(array) == "torch":
        torch = sys.modules["torch"]
        if array.requires_grad:
            raise ValueError(f"{name} requires grad: pass {name}.detach()")
        try:
            if array.dtype == torch.bfloat16:
                return Typed(array.view(torch.uint16).numpy(), "bfloat16")
            return _typed(array.numpy())
        except (TypeError, RuntimeError) as error:  # sparse, quantised, negated views, ...
            raise TypeError(f"{name} cannot be read as a plain array: {error}") from error
    if "numpy.ma" in sys.modules and isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: drop or fill what is masked")
    if not isinstance(array, np.ndarray) and hasattr(array, "__dlpack__"):
        return view(_import(array, name), name)
    return _typed(np.asarray(array))


def adopt(data: Any, name: str) -> Array:
    """Data that tells its shape and element type: itself, or what it holds, not copied if it can.

    Arrays of any library pass through; what offers ``__dlpack__`` alone, lists and tables are read.
    """
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return data
    if hasattr(data, "__dlpack__"):
        _refuse_other_devices(data, name)
        return _import(data, name)
    try:
        return np.asarray(data)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array: {error}") from error


def _refuse_other_devices(array: Any, name: str) -> None:
    device = device_of(array)
    if device != "cpu":
        raise ValueError(
            f"{name} is on {device}, but this build of ovcore computes on the CPU: "
            f"pass {name} in host memory (.cpu() in torch, .get() in cupy)"
        )


def _import(array: Any, name: str) -> Array:
    """Through DLPack; bfloat16, which numpy refuses there, through torch or ``__array__``."""
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError) as error:
        if "torch" in sys.modules:
            with contextlib.suppress(BufferError, RuntimeError, TypeError):
                return sys.modules["torch"].from_dlpack(array)
        if hasattr(array, "__array__"):
            return np.asarray(array)
        raise TypeError(
            f"{name} offers __dlpack__ but cannot be imported: {error} "
            "(bfloat16 needs torch to be imported, or __array__)"
        ) from error


def _typed(values: NDArray[Any]) -> Typed:
    name = values.dtype.name
    if name == "bfloat16":
        values = values.view(np.dtype(np.uint16).newbyteorder(values.dtype.byteorder))
    return Typed(values, name)


def integers(array: Array, name: str) -> NDArray[np.integer[Any]]:
    """:func:`view` of integers; refuses other types, also bfloat16, whose bits are integers."""
    values, dtype = view(array, name)
    if dtype == "bfloat16" or (values.dtype.kind not in "iu" and values.size):
        raise TypeError(f"{name} must be integer, got {dtype}")
    return values


def widen(array: Typed, rows: slice = slice(None)) -> NDArray[np.floating[Any]]:
    """Those rows in float32 or float64; 16-bit floats are copied, others are not."""
    values = array.values[rows]
    if array.dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if array.dtype == "float16":
        return values.astype(np.float32)
    return values


def in_library(values: NDArray[Any], library: str) -> Array:
    """Hands a host result back as an array of the caller's library, without a copy."""
    return sys.modules["torch"].from_numpy(values) if library == "torch" else values
