"""Error bits of one model, from logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from peers import forms
from peers.contestant import Call, Contestant

Logits = tuple[np.ndarray, np.ndarray]  # (N, K) values, (N,) target


def ovcore_pack_errors(backend: str) -> Callable[[Logits, int], Call]:
    def prepare(data: Logits, threads: int) -> Call:
        import ovcore as ov

        values, target = data
        return lambda: ov.pack_errors([values], target, backend=backend, workers=threads)

    return prepare


def numpy_argmax(data: Logits, _: int) -> Call:
    values, target = data
    return lambda: np.packbits(values.argmax(axis=1) != target)


def as_tensors(data: Logits, threads: int) -> tuple[Any, Any]:
    """Logits and target as torch has them, in the same memory."""
    import torch

    torch.set_num_threads(threads)
    values, target = data
    if values.dtype == "bfloat16":
        return torch.from_numpy(values.view(np.uint16)).view(torch.bfloat16), torch.from_numpy(
            target
        )
    return torch.from_numpy(values), torch.from_numpy(target)


def torch_argmax(data: Logits, threads: int) -> Call:
    logits, target = as_tensors(data, threads)
    return lambda: logits.argmax(dim=1) != target


def torch_max(data: Logits, threads: int) -> Call:
    logits, target = as_tensors(data, threads)
    return lambda: logits.max(dim=1).indices != target


def torch_amax(data: Logits, threads: int) -> Call:
    """Right where the target scores the maximum: no prediction, and ties count as right."""
    logits, target = as_tensors(data, threads)
    of_target = target[:, None]
    return lambda: logits.gather(1, of_target)[:, 0] < logits.amax(dim=1)


PACK_ERRORS = [
    Contestant("ovcore native", ovcore_pack_errors("native"), forms.wrong_from_errors),
    Contestant("ovcore numba", ovcore_pack_errors("numba"), forms.wrong_from_errors),
    Contestant("numpy argmax", numpy_argmax, forms.wrong_from_bytes, one_thread=True),
    Contestant("torch argmax", torch_argmax),
    Contestant("torch max().indices", torch_max),
    Contestant("torch amax against the target's", torch_amax),
]
