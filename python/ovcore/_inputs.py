"""Arguments, checked once: what was expected and what came, by name."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array, Typed
from ovcore._devices import DeviceArray
from ovcore.topk import TopK

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Logits(NamedTuple):
    """Checked logits of M models on N samples."""

    models: list[Typed]  # M views (N, K), last axis contiguous
    target: NDArray[np.int64]  # (N,), each in [0, K)
    labels: NDArray[np.int64] | DeviceArray  # the target where kernels read it: on a GPU a copy
    n_samples: int
    n_classes: int
    library: str
    ignored: NDArray[np.bool_] | None  # (N,) samples to leave out; their target reads 0


class Preds(NamedTuple):
    """Checked predictions of M models on the N samples that are not ignored."""

    models: list[NDArray[np.integer] | DeviceArray]  # M arrays (N,)
    target: NDArray[np.int64]  # (N,), each >= 0
    labels: NDArray[np.int64] | DeviceArray  # the target where kernels read it: on a GPU a copy
    n_samples: int
    library: str
    absent: dict[int, NDArray[np.bool_]]  # (N,) samples that a model has no prediction for


def read(
    data: Array | TopK | Sequence[Array | TopK],
    target: Array,
    *,
    ignore_index: int | None = None,
    name: str = "preds_or_logits",
) -> Logits | Preds:
    """Tells logits from predictions and checks either against the target.

    Args:
        data: (M, N, K) floating or a sequence of M arrays (N, K): logits.
            (M, N) integer or a sequence of M arrays (N,), or stored top-k outputs: predictions.
        target: (N,) integer.
        ignore_index: samples whose target is this are left out.
        name: what the caller calls ``data``.

    Raises:
        TypeError: an element type that is neither floating nor integer, or not the one expected.
        ValueError: a wrong shape, no model, no sample, mixed devices, a target out of range.
    """
    data = _outputs_of(data)
    _refuse_mixed_devices(data, name, target)
    arrays = _split(data, name)
    labels = _read_target(target)
    n_samples = _shape_of(arrays, name)[0]
    if n_samples != len(labels):
        raise ValueError(f"{name} has {n_samples} samples but target has {len(labels)}")
    return _read(arrays, labels, ignore_index, name)


def size(
    data: Array | TopK | Sequence[Array | TopK], target: Array, *, name: str
) -> tuple[int, int]:
    """How many models and samples there are; of samples there may be none."""
    arrays = _split(_outputs_of(data), name)
    n_samples, n_labels = _shape_of(arrays, name)[0], len(_read_target(target))
    if n_samples != n_labels:
        raise ValueError(f"{name} has {n_samples} samples but target has {n_labels}")
    return len(arrays), n_samples


def read_predictions(
    data: Array | TopK | Sequence[Array | TopK], *, name: str = "preds_or_logits"
) -> Logits | Preds:
    """Like :func:`read` where nobody asks what is right: every target reads 0."""
    data = _outputs_of(data)
    _refuse_mixed_devices(data, name)
    arrays = _split(data, name)
    return _read(arrays, np.zeros(_shape_of(arrays, name)[0], np.int64), None, name)


def read_logits(logits: Array | Sequence[Array], target: Array, *, name: str = "logits") -> Logits:
    """Like :func:`read`, and refuses predictions."""
    inputs = read(logits, target, name=name)
    if isinstance(inputs, Preds):
        raise TypeError(
            f"{name} must be (M, N, K) or a sequence of M arrays (N, K): got predicted classes or "
            "stored top-k outputs, which do not carry all confidences"
        )
    return inputs


def read_scores(
    logits: Array | TopK | Sequence[Array | TopK], target: Array | None, *, name: str = "logits"
) -> tuple[Logits | Preds, list[TopK]]:
    """Like :func:`read_logits`, and takes stored top-k outputs of all models: the second value.

    Without a target every one reads 0.
    """
    logits = _outputs_of(logits)
    arrays = _split(logits, name)
    if target is None:
        inputs = read_predictions(logits, name=name)
    else:
        inputs = read(logits, target, name=name)
    stored = [array for array in arrays if isinstance(array, TopK)]
    if isinstance(inputs, Preds) and not stored:
        raise TypeError(
            f"{name} must be (M, N, K), a sequence of M arrays (N, K), or stored top-k outputs: "
            "got predicted classes, which have no confidence"
        )
    return inputs, stored


def are_stored(data: Array | TopK | Sequence[Array | TopK]) -> bool:
    """Whether these are stored top-k outputs of all models."""
    parts = data if isinstance(data, list | tuple) else [data]
    return all(isinstance(part, TopK) for part in parts)


def read_temperature(
    temperature: float | Sequence[float] | Array, n_models: int
) -> NDArray[np.float64]:
    """(M,) temperatures from one for all or one each; refuses what is not positive and finite."""
    values = read_numbers(temperature, "temperature", f"a number or {n_models} numbers")
    if values.shape not in ((), (n_models,)):
        raise ValueError(
            f"temperature must be a number or ({n_models},), one a model: got shape {values.shape}"
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    return np.array(np.broadcast_to(values, n_models))


def read_numbers(data: Any, name: str, expected: str) -> NDArray[np.float64]:
    """Real numbers of any shape; not text, truth values or complex numbers."""
    try:
        given = _arrays.view_on_host(_arrays.adopt(data, name), name)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be {expected}: {error}") from error
    if given.dtype != "bfloat16" and given.values.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be {expected}: got {given.dtype}")
    flat = given._replace(values=given.values.reshape(-1))
    return _arrays.widen(flat).astype(np.float64).reshape(given.values.shape)


A_PREDICTION = "a prediction (NaN among the logits, or -inf throughout)"


def refuse_samples(
    m: int, lacking: NDArray[np.bool_], what: str = A_PREDICTION, advice: str = ""
) -> None:
    """Raises where samples (N,) of model ``m`` lack something; says how many and which is first."""
    if lacking.any():
        count = int(lacking.sum())
        raise ValueError(
            f"model {m} has {count} sample{'s' if count > 1 else ''} without {what}, "
            f"first at sample {int(lacking.argmax())}{advice}"
        )


def _read(
    arrays: Sequence[Array | TopK], labels: NDArray[np.int64], ignore_index: int | None, name: str
) -> Logits | Preds:
    """Models and as many labels as they have samples, checked."""
    shape = _shape_of(arrays, name)
    n_samples = shape[0]
    if n_samples == 0:
        raise ValueError(f"{name} has no samples")
    ignored = (
        None
        if ignore_index is None
        else labels == integer(ignore_index, "ignore_index", "an integer or None")
    )
    if ignored is not None and ignored.all():
        raise ValueError(f"all {n_samples} samples have the ignored target {ignore_index}")

    are_preds = len(shape) == 1 or any(isinstance(array, TopK) for array in arrays)
    n_classes = None if len(shape) == 1 else shape[1]
    if n_classes == 0:
        raise ValueError(f"{name} has no classes: expected (M, N, K) with K >= 1")
    _check_range(labels, n_classes, ignored)
    library = _library_of(arrays[0])
    if are_preds:
        return _read_preds(arrays, labels, ignored, library, name)
    assert n_classes is not None
    models = [_read_model(array, f"{name}[{m}]") for m, array in enumerate(arrays)]
    if ignored is not None:
        labels = np.where(ignored, 0, labels)
    there = _arrays.beside(labels, library)
    return Logits(models, labels, there, n_samples, n_classes, library, ignored)


def integer(value: Any, name: str, expected: str = "an integer") -> int:
    """The value as an int; refuses truth values and what is not whole."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{name} must be {expected}, got {value!r}")


def at_least_one(value: Any, name: str) -> int:
    """The value as a count."""
    count = integer(value, name)
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")
    return count


def refuse_unknown(name: str, value: Any, known: Sequence[str]) -> None:
    """Raises where an option is none of those there are."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}: got {value!r}")


def blocks(n_samples: int, sample_bytes: int, most: int) -> Iterator[slice]:
    """Samples in blocks of at most so many bytes, of one sample at least."""
    step = max(1, most // sample_bytes)
    for first in range(0, n_samples, step):
        yield slice(first, min(first + step, n_samples))


def _shape_of(arrays: Sequence[Array | TopK], name: str) -> tuple[int, ...]:
    """(N,) or (N, K), the same for every model."""
    shapes = [tuple(map(int, array.shape)) for array in arrays]
    for m, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"{name}[{m}] has shape {shape}, but {name}[0] has {shapes[0]}")
    return shapes[0]


def _read_model(array: Array, name: str) -> Typed:
    """One model's logits (N, K) as kernels read them."""
    model = _arrays.view(array, name)
    values = model.values
    if model.dtype not in _FLOATS:
        raise TypeError(
            f"{name} has two axes, so (N, K) logits in {', '.join(_FLOATS)}: got {model.dtype}"
        )
    if isinstance(values, np.ndarray):
        if not values.dtype.isnative:
            raise TypeError(
                f"{name} is in foreign byte order ({values.dtype.str}); pass a converted copy"
            )
        if not values.flags.aligned:
            raise ValueError(f"{name} is not aligned to its elements; pass a copy")
    if values.shape[1] > 1 and values.strides[1] != values.itemsize:
        raise ValueError(
            f"{name} is not contiguous along classes "
            f"(strides {values.strides} bytes); pass a contiguous copy"
        )
    return model


def _read_preds(
    arrays: Sequence[Array | TopK],
    labels: NDArray[np.int64],
    ignored: NDArray[np.bool_] | None,
    library: str,
    name: str,
) -> Preds:
    keep = None if ignored is None else ~ignored
    models: list[NDArray[np.integer] | DeviceArray] = []
    absent: dict[int, NDArray[np.bool_]] = {}
    for m, array in enumerate(arrays):
        if isinstance(array, TopK):
            classes = array.predictions()
        elif len(array.shape) == 1:
            classes, dtype = _arrays.view(array, f"{name}[{m}]")
            if not dtype.startswith(("int", "uint")):
                raise TypeError(f"{name}[{m}] has one axis, so integer classes: got {dtype}")
        else:
            raise TypeError(
                f"{name}[{m}] holds logits, but another model holds stored top-k outputs: "
                "pass the same kind for all models"
            )
        if keep is not None:
            classes = _arrays.take(classes, np.flatnonzero(keep))
        if isinstance(array, TopK) and (classes < 0).any():
            absent[m] = classes < 0
        if isinstance(classes, np.ndarray):
            classes = np.require(classes, classes.dtype.newbyteorder("="), ["A"])
        models.append(classes)
    target = labels if keep is None else labels[keep]
    return Preds(models, target, _arrays.beside(target, library), len(target), library, absent)


def is_sequence_of_arrays(data: object) -> TypeGuard[Sequence[Any]]:
    """Whether there are several arrays, rather than one as an array or as nested lists."""
    return isinstance(data, list | tuple) and any(_is_array(array) for array in data)


def _outputs_of(data: Any) -> Any:
    """A store's outputs; other data as it is."""
    return data.outputs() if callable(getattr(data, "outputs", None)) else data


def _split(data: Array | TopK | Sequence[Array | TopK], name: str) -> list[Array | TopK]:
    """The M arrays of one model each."""
    if isinstance(data, list | tuple) and len(data) == 0:
        raise ValueError(f"{name} has no models")
    if is_sequence_of_arrays(data):
        arrays = [
            array if isinstance(array, TopK) else _arrays.adopt(array, f"{name}[{m}]")
            for m, array in enumerate(data)
        ]
        for m, array in enumerate(arrays):
            if len(array.shape) not in (1, 2):
                raise ValueError(
                    f"{name}[{m}] must be (N, K) logits or (N,) classes, "
                    f"got shape {tuple(array.shape)}"
                )
        return arrays
    whole: Array = data if isinstance(data, TopK) else _arrays.adopt(data, name)
    shape = tuple(whole.shape)
    kind = "top-k outputs" if isinstance(whole, TopK) else str(whole.dtype)
    if len(shape) == 2 and ("float" in kind or isinstance(whole, TopK)):
        raise ValueError(
            f"{name} must be (M, N, K) logits or (M, N) integer classes, got {kind} {shape}; "
            "for the logits of one model pass [logits]"
        )
    if len(shape) not in (2, 3):
        raise ValueError(
            f"{name} must be (M, N, K) logits or (M, N) integer classes, got {kind} {shape}"
        )
    if shape[0] == 0:
        raise ValueError(f"{name} has no models: shape {shape}")
    return [whole[m] for m in range(shape[0])]


def _is_array(data: object) -> bool:
    return any(hasattr(data, a) for a in ("shape", "__dlpack__", "__cuda_array_interface__"))


def _library_of(array: Array | TopK) -> str:
    return array.library if isinstance(array, TopK) else _arrays.library_of(array)


def _read_target(target: Array) -> NDArray[np.int64]:
    labels = _arrays.integers(_arrays.adopt(target, "target"), "target")
    if labels.ndim != 1:
        raise ValueError(f"target must be (N,), got shape {labels.shape}")
    if labels.dtype == np.uint64 and len(labels) and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"target has a class beyond 2^63: {labels.max()}")
    return np.require(labels, np.int64, ["C_CONTIGUOUS", "ALIGNED"])


def _check_range(
    labels: NDArray[np.int64], n_classes: int | None, ignored: NDArray[np.bool_] | None
) -> None:
    outside = labels < 0
    expected = "a class >= 0"
    if n_classes is not None:
        outside |= labels >= n_classes
        expected = f"a class in 0..{n_classes - 1}"
    if ignored is not None:
        outside &= ~ignored
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"target[{first}] is {labels[first]}, expected {expected} "
            f"({int(outside.sum())} of {len(labels)} are outside)"
        )


def _refuse_mixed_devices(data: Any, name: str, target: Array | None = None) -> None:
    if isinstance(data, list | tuple) and not data:
        return  # refused as such
    if is_sequence_of_arrays(data):
        named = [(f"{name}[{m}]", array) for m, array in enumerate(data)]
    else:
        named = [(name, data)]
    if target is not None:
        named.append(("target", target))
    first, device = named[0][0], _arrays.device_of(named[0][1])
    for other, array in named:
        if _arrays.device_of(array) != device:
            raise ValueError(f"{first} is on {device} but {other} is on {_arrays.device_of(array)}")
