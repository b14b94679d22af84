"""The one file that names torch and cupy.

Neither is imported: an array of theirs can only exist once somebody else has imported them, so they
are looked up in ``sys.modules``.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _devices
from ovcore._devices import DeviceArray, NoDeviceError, Place

Array: TypeAlias = Any
"""An array of the caller's library: of numpy, torch, cupy, or any that tells how it is read."""

_NOTHING = contextlib.nullcontext()
_DLPACK_CPU, _DLPACK_CUDA, _DLPACK_MANAGED = 1, 2, 13


class Typed(NamedTuple):
    """A view of an array, and its element type; in host memory numpy's, bfloat16 as its bits."""

    values: NDArray[Any] | DeviceArray
    dtype: str


def library_of(array: Array) -> str:
    """Library and GPU that results go back to: "numpy", "torch", "torch:cuda:0", "cupy:cuda:1".

    Anything else is "numpy", or "cuda:0" on a GPU.
    """
    if _devices.is_device_array(array):
        return str(array.place.library)
    name, device = _name_of(array), device_of(array)
    if not device.startswith("cuda"):
        return name
    return device if name == "numpy" else f"{name}:{device}"


def _name_of(array: Array) -> str:
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is not None and isinstance(array, torch.Tensor):
        return "torch"
    if cupy is not None and isinstance(array, cupy.ndarray):
        return "cupy"
    return "numpy"


def device_of(array: Array) -> str:
    """Where an array lies, as torch writes it: "cpu", "cuda:0", ..."""
    if _name_of(array) == "torch":
        return str(array.device)
    if _name_of(array) == "cupy":
        return f"cuda:{array.device.id}"
    if hasattr(array, "__dlpack_device__"):
        kind, index = array.__dlpack_device__()
        if kind in (_DLPACK_CUDA, _DLPACK_MANAGED):
            return f"cuda:{index}"
        return "cpu" if kind == _DLPACK_CPU else f"dlpack device ({int(kind)}, {index})"
    if hasattr(array, "__cuda_array_interface__"):
        try:
            return f"cuda:{_devices.device_of(array.__cuda_array_interface__)}"
        except ImportError:
            return "cuda:0"  # refused later, for want of the module
    return "cpu"


def is_on_gpu(array: Array) -> bool:
    """Whether an array lies in the memory of an NVIDIA GPU."""
    return device_of(array).startswith("cuda")


def place(library: str) -> Place:
    """GPU memory for arrays of a library, and the stream in force there now."""
    device = _devices.device_number(library)
    assert device is not None
    name = library.partition(":")[0]
    if name == "torch":
        stream = sys.modules["torch"].cuda.current_stream(device).cuda_stream
        return Place(library, device, stream, functools.partial(_torch_memory, device))
    if name == "cupy":
        with _current(library):
            stream = sys.modules["cupy"].cuda.get_current_stream().ptr
        return Place(library, device, stream, functools.partial(_cupy_memory, device))
    stream = _devices.LEGACY_STREAM
    own = functools.partial(_devices.own_memory, device=device, stream=stream)
    return Place(library, device, stream, own)


def _current(library: str) -> contextlib.AbstractContextManager[Any]:
    """While it lasts, the GPU is its library's current one."""
    device = _devices.device_number(library)
    if library.startswith("torch"):
        return sys.modules["torch"].cuda.device(device)
    return sys.modules["cupy"].cuda.Device(device) if library.startswith("cupy") else _NOTHING


def _torch_memory(device: int, n_bytes: int) -> tuple[int, object]:
    torch = sys.modules["torch"]
    memory = torch.empty(n_bytes, dtype=torch.uint8, device=f"cuda:{device}")
    return memory.data_ptr(), memory


def _cupy_memory(device: int, n_bytes: int) -> tuple[int, object]:
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(device):
        memory = cupy.empty(n_bytes, dtype=np.uint8)
    return memory.data.ptr, memory


def view(array: Array, name: str) -> Typed:
    """Sees an array in host memory as numpy does, or where it lies on a GPU; without a copy.

    Raises:
        ValueError: the array lies on a device of another kind, or on a GPU that nothing here can
            read, or requires grad.
        TypeError: it is not a plain dense array.
        BufferError: its library does not export it.
    """
    if _devices.is_device_array(array):
        return Typed(array, array.dtype)
    if _name_of(array) == "torch" and array.requires_grad:
        raise ValueError(f"{name} requires grad: pass {name}.detach()")
    if is_on_gpu(array):
        if _name_of(array) == "torch" and array.is_neg():  # a sign that is not in memory
            raise ValueError(f"{name} is a negated view: pass {name}.resolve_neg()")
        seen = _view_on_gpu(array, name)
        return Typed(seen, str(seen.dtype))
    _refuse_other_devices(array, name)
    if _name_of(array) == "torch":
        torch = sys.modules["torch"]
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


def view_on_host(array: Array, name: str) -> Typed:
    """:func:`view` of few numbers; those on a GPU are copied."""
    seen = view(array, name)
    return seen._replace(values=on_host(seen.values))


def adopt(data: Any, name: str) -> Array:
    """Data that tells its shape and element type: itself, or what it holds, not copied if it can.

    Arrays of any library pass through; those on a GPU become views of theirs. What offers
    ``__dlpack__`` alone, lists and tables are read.
    """
    if is_on_gpu(data):
        return view(data, name).values
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return data
    if hasattr(data, "__dlpack__"):
        _refuse_other_devices(data, name)
        return _import(data, name)
    try:
        return np.asarray(data)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array: {error}") from error


def _view_on_gpu(array: Array, name: str) -> DeviceArray:
    """Through the compiled module; without it cupy's arrays stay what they are."""
    advice = f"pass {name} in host memory (.cpu() in torch, .get() in cupy)"
    try:
        _devices.look_for_gpus(_devices.module())
    except ImportError as error:
        if _name_of(array) == "cupy":  # numba's kernels take them
            return array
        raise NoDeviceError(
            f"{name} is on {device_of(array)}, but this build of ovcore has no CUDA kernels "
            f"({error}): install it with OVCORE_CUDA=ON where nvcc is, or {advice}"
        ) from error
    except RuntimeError as error:
        raise NoDeviceError(f"{name} is on {device_of(array)}, but {error}: {advice}") from error
    library = library_of(array)
    there = place(library)
    with _current(library):  # torch exports arrays of its current device alone
        return _devices.view(array, there, name)


def _refuse_other_devices(array: Any, name: str) -> None:
    device = device_of(array)
    if device != "cpu":
        raise ValueError(
            f"{name} is on {device}, where ovcore has no kernels: pass {name} in host memory "
            "or on an NVIDIA GPU"
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
    """:func:`view_on_host` of integers; refuses other types, also bfloat16's bits."""
    values, dtype = view_on_host(array, name)
    if dtype == "bfloat16" or (values.dtype.kind not in "iu" and values.size):
        raise TypeError(f"{name} must be integer, got {dtype}")
    return values


def widen(array: Typed, rows: slice | NDArray[np.int64] = slice(None)) -> NDArray[np.floating[Any]]:
    """Those rows in float32 or float64; 16-bit floats are copied, others are not.

    Raises:
        NoDeviceError: the array lies on a GPU, and what is asked for is not computed there.
    """
    refuse_gpu(array.values, "the array", "this is computed")
    values = array.values[rows]
    if array.dtype == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if array.dtype == "float16":
        return values.astype(np.float32)
    return values


def namespace(library: str) -> Any:
    """The module whose functions take arrays of a library: numpy, torch or cupy."""
    name = library.partition(":")[0]
    return np if name == "numpy" else sys.modules[name]


def convert(array: Array, dtype: str) -> Array:
    """An array of numpy, torch or cupy in another element type; itself if it has that."""
    if _name_of(array) == "torch":
        return array.to(getattr(sys.modules["torch"], dtype))
    return array.astype(dtype, copy=False)


def zeros(shape: Sequence[int], dtype: str, library: str) -> Array:
    """Zeros as an array of numpy, torch or cupy, where arrays of a library are."""
    xp = namespace(library)
    if xp is np:
        return np.zeros(shape, dtype)
    if library.startswith("torch"):
        device = _devices.device_number(library)
        where = "cpu" if device is None else f"cuda:{device}"
        return xp.zeros(tuple(shape), dtype=getattr(xp, dtype), device=where)
    with _current(library):
        return xp.zeros(shape, dtype)


def refuse_gpu(array: Array, name: str, what: str) -> None:
    """Raises where an array on a GPU would have to be copied for something."""
    if is_on_gpu(array):
        raise NoDeviceError(
            f"{name} is on {device_of(array)}, but {what} in host memory: "
            f"pass {name} there (.cpu() in torch, .get() in cupy)"
        )


def rows_on_host(array: Typed, rows: slice) -> NDArray[np.floating[Any]]:
    """:func:`widen` of rows that an error is told of, copied from wherever they lie."""
    return widen(array._replace(values=on_host(array.values[rows])))


def as_numpy(array: Array) -> NDArray[Any]:
    """A result of ours, in host memory."""
    if is_on_gpu(array) and _name_of(array) == "torch":
        return array.cpu().numpy()
    if is_on_gpu(array) and _name_of(array) == "cupy":
        return array.get()
    return view_on_host(array, "the array").values


def span(classes: Sequence[NDArray[np.integer[Any]] | DeviceArray]) -> tuple[int, int]:
    """Lowest and highest of all models' classes."""
    if not _devices.is_device_array(classes[0]):
        return min(int(c.min()) for c in classes), max(int(c.max()) for c in classes)
    spans = []
    for are_wide in (False, True):  # unsigned classes past 2^63 look negative
        some = [c for c in classes if (c.dtype == "uint64") == are_wide]
        if some:
            low, high = _devices.module().class_span(some)
            spans.append((low, high + 2**64 if are_wide and low < 0 else high))
    return min(low for low, _ in spans), max(high for _, high in spans)


def on_host(array: NDArray[Any] | DeviceArray) -> NDArray[Any]:
    """A view's values in host memory: itself, or a copy from the GPU, bfloat16 as its bits."""
    if isinstance(array, np.ndarray):
        return array
    return array.numpy() if _devices.is_device_array(array) else array.get()


def empty(shape: Sequence[int], dtype: str, library: str) -> NDArray[Any] | DeviceArray:
    """A new array for kernels to fill, where arrays of a library are."""
    device = _devices.device_number(library)
    if device is None:
        return np.empty(shape, dtype)
    if _uses_numba(library):
        with _current(library):
            return sys.modules["cupy"].empty(shape, dtype)
    return _devices.empty(shape, dtype, place(library))


def beside(values: NDArray[Any], library: str) -> NDArray[Any] | DeviceArray:
    """Host values for kernels to read where arrays of a library are; copied if that is a GPU."""
    device = _devices.device_number(library)
    if device is None:
        return values
    if _uses_numba(library):
        with _current(library):
            return sys.modules["cupy"].asarray(values)
    return _devices.upload(values, place(library))


def queued_now(array: DeviceArray) -> DeviceArray:
    """An array on a GPU that was made in an earlier call, for work on the stream in force now."""
    if not _devices.is_device_array(array):
        return array
    return _devices.at(array, place(array.place.library))


def take(array: NDArray[Any] | DeviceArray, rows: NDArray[np.int64]) -> NDArray[Any] | DeviceArray:
    """A copy of some rows."""
    if isinstance(array, np.ndarray):
        return np.take(array, rows, axis=0)
    return array.take(rows) if _devices.is_device_array(array) else array[rows]


def _uses_numba(library: str) -> bool:
    """Whether arrays of cupy are what kernels take, as the compiled module is not there."""
    if not library.startswith("cupy"):
        return False
    return not _devices.is_built()


def in_library(values: NDArray[Any], library: str) -> Array:
    """Hands a host result back as an array of the caller's library, where its arrays lie."""
    device = _devices.device_number(library)
    if library.startswith("torch"):
        tensor = sys.modules["torch"].from_numpy(values)
        return tensor if device is None else tensor.to(f"cuda:{device}")
    return values if device is None else _handed_over(values, library)


def from_torch(tensor: Array, library: str) -> Array:
    """Hands a tensor back as an array of the caller's library, without a copy."""
    if library.startswith("cupy"):
        return sys.modules["cupy"].from_dlpack(tensor)
    return tensor.numpy() if library == "numpy" else tensor


def _handed_over(values: NDArray[Any], library: str) -> Array:
    if not library.startswith("cupy"):
        return _devices.upload(values, place(library))
    with _current(library):
        return sys.modules["cupy"].asarray(values)
