"""What a loader gives: inputs, labels and sample ids of a batch, whole or in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Batch(NamedTuple):
    """Samples that are run together."""

    inputs: Any
    labels: NDArray[np.int64]  # (n,)
    ids: list[str] | None


def read_batch(given: Any) -> Batch:
    """A batch as loaders give it: (inputs, labels), (inputs, labels, ids), or a mapping.

    A mapping has "labels", and "ids" where there are any; the rest are the inputs, by name.

    Raises:
        TypeError: another form, or labels that are not (n,) integers.
        ValueError: no sample, or different numbers of inputs, labels and ids.
    """
    if isinstance(given, Mapping):
        rest = dict(given)
        if "labels" not in rest:
            raise TypeError(f"a batch that is a mapping needs 'labels', got {', '.join(rest)}")
        inputs, labels, ids = rest, rest.pop("labels"), rest.pop("ids", None)
    elif isinstance(given, tuple | list) and len(given) in (2, 3):
        inputs, labels, ids = (*given, None)[:3]
    else:
        raise TypeError(
            "a batch must be (inputs, labels), (inputs, labels, ids) or a mapping with 'labels', "
            f"got {type(given).__name__}"
        )
    target = _labels(labels)
    names = None if ids is None else [str(i) for i in _listed(ids)]
    if names is not None and len(names) != len(target):
        raise ValueError(f"a batch has {len(names)} ids but {len(target)} labels")
    tensor = next(tensors(inputs), None)
    if tensor is not None and tensor.ndim and len(tensor) != len(target):
        raise ValueError(f"a batch has {len(tensor)} inputs but {len(target)} labels")
    return Batch(inputs, target, names)


def _labels(given: Any) -> NDArray[np.int64]:
    labels = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise TypeError(
            f"a batch's labels must be (n,) integers, got {labels.dtype} {labels.shape}"
        )
    if not len(labels):
        raise ValueError("a batch has no sample")
    return labels.astype(np.int64)


def _listed(ids: Any) -> list[Any]:
    return ids.tolist() if isinstance(ids, Tensor | np.ndarray) else list(ids)


def tensors(inputs: Any) -> Iterator[Tensor]:
    """Those among a module's arguments."""
    if isinstance(inputs, Tensor):
        yield inputs
    elif isinstance(inputs, Mapping | tuple | list):
        parts = inputs.values() if isinstance(inputs, Mapping) else inputs
        yield from (part for part in parts if isinstance(part, Tensor))


def take(inputs: Any, rows: slice, n_samples: int) -> Any:
    """Some samples of a batch's inputs: of all arguments that are of as many samples."""
    if isinstance(inputs, Tensor):
        return _rows(inputs, rows, n_samples)
    if isinstance(inputs, Mapping):
        return {name: _rows(part, rows, n_samples) for name, part in inputs.items()}
    return tuple(_rows(part, rows, n_samples) for part in inputs)


def _rows(part: Any, rows: slice, n_samples: int) -> Any:
    if isinstance(part, Tensor | np.ndarray):
        return part[rows] if part.ndim and len(part) == n_samples else part
    if isinstance(part, list) and len(part) == n_samples:
        return part[rows]
    return part


def move(inputs: Any, device: torch.device) -> Any:
    """The inputs with every tensor on the device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: move(part, device) for name, part in inputs.items()}
    if isinstance(inputs, list):
        return [move(part, device) for part in inputs]
    return tuple(move(part, device) for part in inputs) if isinstance(inputs, tuple) else inputs
