"""Arrays in the memory of GPUs: how they come in, and where new ones are made.

What comes in is a view of the caller's memory, kept alive as long as the view is; the compiled
module's ``DeviceArray``, which knows shapes, slices and little else.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

DeviceArray: TypeAlias = Any
"""ovcore._cuda.DeviceArray; a cupy.ndarray where that module is not built."""

LEGACY_STREAM = 1
"""What DLPack calls CUDA's default stream; 0 is not legal there."""


class Place(NamedTuple):
    """Memory of one GPU, and the stream on which work on it is queued."""

    library: str  # whose memory: see ovcore._arrays.library_of
    device: int
    stream: int
    allocate: Callable[[int], tuple[int, object]]  # bytes -> address, and what keeps it


class NoDeviceError(ValueError):
    """There is an array on a GPU, and nothing that could read it there."""


def module() -> Any:
    """The compiled module. Raises ImportError where it is not built."""
    return importlib.import_module("ovcore._cuda")


@functools.cache  # asking takes a millisecond and more; a failure is not kept
def look_for_gpus(compiled: Any) -> tuple[str, ...]:
    """Names of the GPUs that the compiled module finds; RuntimeError where there are none."""
    return tuple(compiled.devices())


def is_built() -> bool:
    """Whether the compiled module is there."""
    try:
        module()
    except ImportError:
        return False
    return True


def is_device_array(array: object) -> TypeGuard[DeviceArray]:
    """Whether it is a view in GPU memory already."""
    return type(array).__name__ == "DeviceArray" and hasattr(array, "place")


def device_number(library: str) -> int | None:
    """The GPU that arrays of a library like "torch:cuda:1" are on; None in host memory."""
    found = re.search(r"cuda:(\d+)$", library)
    return int(found[1]) if found else None


def view(array: Any, place: Place, name: str) -> DeviceArray:
    """Sees an array of any library where it lies: through DLPack, or __cuda_array_interface__.

    Raises:
        BufferError: its library does not export it; the message passes its reason on.
        ValueError: it is not aligned to its elements.
        TypeError: an element type that is not supported, or nothing to see it through.
    """
    try:
        if hasattr(array, "__dlpack__"):
            capsule = _capsule(array, place, name)
            return module().DeviceArray.from_dlpack(place, capsule)
        return _through_interface(array.__cuda_array_interface__, array, place)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} cannot be read: {error}") from error


def _capsule(array: Any, place: Place, name: str) -> Any:
    """The producer makes what it has queued come before what we queue."""
    stream = place.stream or LEGACY_STREAM
    try:
        try:
            return array.__dlpack__(stream=stream, max_version=(1, 0))
        except TypeError:  # a producer from before DLPack 1.0
            return array.__dlpack__(stream=stream)
    except BufferError as error:
        raise BufferError(
            f"{name} is not exported by its library: {error} "
            f"(an array that requires grad: pass {name}.detach())"
        ) from error


def _through_interface(told: dict[str, Any], owner: Any, place: Place) -> DeviceArray:
    if told.get("mask") is not None:
        raise TypeError("it is a masked array: drop or fill what is masked")
    kind = np.dtype(told["typestr"])
    if not kind.isnative:
        raise TypeError(f"it is in foreign byte order ({told['typestr']})")
    produced_on = told.get("stream")
    if produced_on is not None:
        module().order(place.device, produced_on, place.stream)
    address, _ = told["data"]
    shape, strides = list(told["shape"]), told.get("strides")
    return module().DeviceArray(
        place, kind.name, shape, None if strides is None else list(strides), address, owner
    )


def device_of(told: dict[str, Any]) -> int:
    """The GPU of an array that tells of itself by __cuda_array_interface__ alone."""
    device = int(module().device_of(told["data"][0]))
    if device < 0:
        raise ValueError("__cuda_array_interface__ tells of memory that is on no GPU")
    return device


def at(array: DeviceArray, place: Place) -> DeviceArray:
    """The same memory, for work on the stream that is in force now."""
    return module().DeviceArray(
        place, array.dtype, list(array.shape), list(array.strides), array.address, array
    )


def empty(shape: Sequence[int], dtype: str, place: Place) -> DeviceArray:
    """A new array that is not yet written."""
    return module().DeviceArray.empty(place, list(shape), dtype)


def upload(values: NDArray[Any], place: Place) -> DeviceArray:
    """A copy of an array in host memory."""
    return module().DeviceArray.upload(place, np.ascontiguousarray(values))


def own_memory(n_bytes: int, device: int, stream: int) -> tuple[int, object]:
    """Memory of our own, for arrays of libraries that cannot be asked for some."""
    memory = module().Buffer(n_bytes, device, stream)
    return memory.address, memory
