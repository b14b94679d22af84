"""Arguments, checked once: what was expected and what came, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array, Typed

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class Logits(NamedTuple):
    """Checked logits of M models on N samples."""

    models: list[Typed]  # M views (N, K), last axis contiguous
    target: NDArray[np.int64]  # (N,), each in [0, K)
    n_samples: int
    n_classes: int
    library: str


class Preds(NamedTuple):
    """Checked predictions of M models on N samples."""

    models: list[NDArray[np.integer]]  # M views (N,)
    target: NDArray[np.int64]  # (N,), each >= 0
    n_samples: int
    library: str


def read(
    data: Array | Sequence[Array], target: Array, *, name: str = "preds_or_logits"
) -> Logits | Preds:
    """Tells logits from predictions and checks either against the target.

    Args:
        data: (M, N, K) floating or a sequence of M arrays (N, K): logits.
            (M, N) integer or a sequence of M arrays (N,): predicted classes.
        target: (N,) integer.
        name: what the caller calls ``data``.

    Raises:
        TypeError: an element type that is neither floating nor integer, or not the one expected.
        ValueError: a wrong shape, no model, no sample, mixed devices, a target out of range.
    """
    arrays = _split(data, name)
    _refuse_mixed_devices(
        [*arrays, target], [*(f"{name}[{m}]" for m in range(len(arrays))), "target"]
    )
    models = [_arrays.view(array, f"{name}[{m}]") for m, array in enumerate(arrays)]
    labels = _read_target(target)
    n_samples = models[0].values.shape[0] if models[0].values.ndim else 0
    library = _arrays.library_of(arrays[0])

    for m, model in enumerate(models):
        if model.values.shape != models[0].values.shape:
            raise ValueError(
                f"{name}[{m}] has shape {model.values.shape}, but {name}[0] has "
                f"{models[0].values.shape}"
            )
    if n_samples != len(labels):
        raise ValueError(f"{name} has {n_samples} samples but target has {len(labels)}")
    if n_samples == 0:
        raise ValueError(f"{name} has no samples")

    if models[0].values.ndim == 1:
        for m, model in enumerate(models):
            if model.values.dtype.kind not in "iu" or model.dtype == "bfloat16":
                raise TypeError(f"{name}[{m}] has one axis, so integer classes: got {model.dtype}")
        _check_range(labels, None)
        return Preds([model.values for model in models], labels, n_samples, library)

    n_classes = models[0].values.shape[1]
    if n_classes == 0:
        raise ValueError(f"{name} has no classes: expected (M, N, K) with K >= 1")
    for m, model in enumerate(models):
        if model.dtype not in _FLOATS:
            raise TypeError(
                f"{name}[{m}] has two axes, so (N, K) logits in {', '.join(_FLOATS)}: "
                f"got {model.dtype}"
            )
        if not model.values.dtype.isnative:
            raise TypeError(
                f"{name}[{m}] is in foreign byte order ({model.values.dtype.str}); "
                "pass a converted copy"
            )
        if not model.values.flags.aligned:
            raise ValueError(f"{name}[{m}] is not aligned to its elements; pass a copy")
        if n_classes > 1 and model.values.strides[1] != model.values.itemsize:
            raise ValueError(
                f"{name}[{m}] is not contiguous along classes "
                f"(strides {model.values.strides} bytes); pass a contiguous copy"
            )
    _check_range(labels, n_classes)
    return Logits(models, labels, n_samples, n_classes, library)


def read_logits(logits: Array | Sequence[Array], target: Array, *, name: str = "logits") -> Logits:
    """Like :func:`read`, and refuses predictions."""
    inputs = read(logits, target, name=name)
    if isinstance(inputs, Preds):
        raise TypeError(
            f"{name} must be (M, N, K) or a sequence of M arrays (N, K): got predicted classes, "
            "which carry no confidences"
        )
    return inputs


def refuse_rows_without_prediction(counts: Sequence[int]) -> None:
    """Raises where a model has rows with NaN, or with -inf throughout; ``counts`` is (M,)."""
    for m, count in enumerate(counts):
        if count:
            raise ValueError(
                f"model {m} has {count} sample{'s' if count > 1 else ''} without a prediction "
                "(NaN among the logits, or -inf throughout)"
            )


def _split(data: Array | Sequence[Array], name: str) -> list[Array]:
    """The M arrays of one model each."""
    is_sequence = isinstance(data, list | tuple)
    if is_sequence and len(data) == 0:
        raise ValueError(f"{name} has no models")
    if is_sequence and any(hasattr(array, "shape") for array in data):
        arrays = [array if hasattr(array, "shape") else np.asarray(array) for array in data]
        for m, array in enumerate(arrays):
            if len(array.shape) not in (1, 2):
                raise ValueError(
                    f"{name}[{m}] must be (N, K) logits or (N,) classes, "
                    f"got shape {tuple(array.shape)}"
                )
        return arrays
    is_array = hasattr(data, "shape") and hasattr(data, "dtype")
    whole: Array = data if is_array else np.asarray(data)
    shape = tuple(whole.shape)
    kind = str(whole.dtype)
    if len(shape) == 2 and "float" in kind:
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


def _read_target(target: Array) -> NDArray[np.int64]:
    labels = _arrays.view(target, "target").values
    if labels.ndim != 1:
        raise ValueError(f"target must be (N,), got shape {labels.shape}")
    if labels.dtype.kind not in "iu" and len(labels):
        raise TypeError(f"target must be integer classes, got {labels.dtype}")
    if labels.dtype == np.uint64 and len(labels) and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"target has a class beyond 2^63: {labels.max()}")
    return np.require(labels, np.int64, ["C_CONTIGUOUS", "ALIGNED"])


def _check_range(labels: NDArray[np.int64], n_classes: int | None) -> None:
    outside = labels < 0
    expected = "a class >= 0"
    if n_classes is not None:
        outside |= labels >= n_classes
        expected = f"a class in 0..{n_classes - 1}"
    if outside.any():
        first = int(np.argmax(outside))
        raise ValueError(
            f"target[{first}] is {labels[first]}, expected {expected} "
            f"({int(outside.sum())} of {len(labels)} are outside)"
        )


def _refuse_mixed_devices(arrays: Sequence[Array], names: Sequence[str]) -> None:
    devices = [_arrays.device_of(array) for array in arrays]
    for device, name in zip(devices, names, strict=True):
        if device != devices[0]:
            raise ValueError(f"{names[0]} is on {devices[0]} but {name} is on {device}")
