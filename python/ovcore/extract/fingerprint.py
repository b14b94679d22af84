"""SHA-256 of what an extraction depends on: a module's state, a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovcore.extract.batches import Batch


def of_state(module: nn.Module) -> str:
    """Of a module's parameters and buffers, with their names, shapes and types."""
    return _of(dict(module.state_dict()))


def of_batch(batch: Batch) -> str:
    """Of a batch's inputs, labels and ids."""
    return _of([batch.inputs, batch.labels, batch.ids])


def of_inputs(inputs: Any) -> str:
    """Of a module's inputs."""
    return _of(inputs)


def _of(value: Any) -> str:
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    """Each value with its kind and size before it, so that no two read alike."""
    if isinstance(value, Tensor):
        kept = value.detach().cpu().contiguous()
        digest.update(f"tensor {kept.dtype} {tuple(kept.shape)} ".encode())
        digest.update(kept.flatten().view(torch.uint8).numpy().data)
    elif isinstance(value, np.ndarray) and value.dtype.kind != "O":
        digest.update(f"array {value.dtype} {value.shape} ".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)} ".encode())
        for key, part in value.items():
            _feed(digest, str(key))
            _feed(digest, part)
    elif isinstance(value, tuple | list):
        digest.update(f"sequence {len(value)} ".encode())
        for part in value:
            _feed(digest, part)
    elif isinstance(value, str | bytes | int | float | bool | None):
        text = repr(value).encode()
        digest.update(f"value {len(text)} ".encode() + text)
    elif hasattr(value, "tobytes") and hasattr(value, "size"):  # an image of PIL
        digest.update(f"image {getattr(value, 'mode', '')} {value.size} ".encode())
        digest.update(value.tobytes())
    else:  # of other objects nothing is known that stays the same
        digest.update(f"object {type(value).__qualname__} ".encode())
