"""Logits and the features of a named layer, taken in one pass by a forward hook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]
Batch = Tensor | tuple[Any, ...] | Mapping[str, Any]
Side: TypeAlias = Literal["output", "input"]


@overload
def extract_outputs(
    module: nn.Module, batches: Iterable[Batch], *, layer: None = None
) -> tuple[Floats, None]: ...


@overload
def extract_outputs(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    layer: str,
    side: Side = "output",
) -> tuple[Floats, Floats]: ...


def extract_outputs(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    layer: str | None = None,
    side: Side = "output",
) -> tuple[Floats, Floats | None]:
    """Run `module` over `batches`: logits (N, K) and `layer`'s features (N, D), float32.

    The features are the layer's output or its first input (`side="input"` on the classifier
    itself gives what it classifies), axes past the first flattened. A batch is the module's
    input, a tuple of its positional arguments or a mapping of its keyword arguments. The
    module runs in eval mode without gradients and is left in the mode it was found in, with
    no hook on it, also where a batch fails.

    Raises ValueError where there is no such layer or no batch, and RuntimeError where the
    layer did not run exactly once in a batch.
    """
    refuse_unknown_side(side)
    logits: list[Floats] = []
    features: list[Floats] = []
    with evaluating(module), recording(module, layer, side) as seen, torch.no_grad():
        for batch in batches:
            seen.clear()
            logits.append(_rows(logits_of(call(module, batch))))
            if layer is not None:
                features.append(_rows(only(seen, layer)).reshape(len(logits[-1]), -1))
    if not logits:
        raise ValueError("batches is empty")
    return np.concatenate(logits), np.concatenate(features) if layer is not None else None


def refuse_unknown_side(side: str) -> None:
    """Raises ValueError unless ``side`` is one of a layer's two."""
    if side not in ("output", "input"):
        raise ValueError(f"side must be 'output' or 'input', not {side!r}")


def call(module: nn.Module, batch: Any) -> Any:
    """The module's output on a tensor, on positional arguments or on keyword arguments."""
    if isinstance(batch, Tensor):
        return module(batch)
    return module(**batch) if isinstance(batch, Mapping) else module(*batch)


def logits_of(output: Any) -> Tensor:
    """The tensor itself, the `logits` of a structured output, or the first of a tuple: (N, K).

    Raises:
        TypeError: there is no such tensor, or it has other axes.
    """
    output = getattr(output, "logits", output)
    if isinstance(output, tuple):
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(f"the module must return logits of shape (N, K), not {shape}")
    return output


def only(seen: list[Tensor], layer: str) -> Tensor:
    """What a layer gave in one run of the module; RuntimeError unless it ran once."""
    if len(seen) != 1:
        raise RuntimeError(f"layer {layer!r} ran {len(seen)} times in one batch, not 1")
    return seen[0]


def _rows(tensor: Tensor) -> Floats:
    array: Floats = tensor.detach().to(device="cpu", dtype=torch.float32, copy=True).numpy()
    return array


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode; afterwards every submodule is in its own former mode again."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def recording(module: nn.Module, layer: str | None, side: Side) -> Iterator[list[Tensor]]:
    """A list that receives the layer's tensor each time the layer runs."""
    seen: list[Tensor] = []
    if layer is None:
        yield seen
        return
    layers = dict(module.named_modules())
    if layer not in layers:
        known = ", ".join(repr(name) for name in list(layers)[1:9])
        raise ValueError(f"layer {layer!r} is not in the module; it has {known}, ...")

    def record(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        value = output if side == "output" else (args[0] if args else None)
        if isinstance(value, tuple):
            value = value[0]
        if not isinstance(value, Tensor):
            raise TypeError(f"the {side} of layer {layer!r} is not a tensor")
        seen.append(value.detach().clone())  # a later layer may work in place

    handle = layers[layer].register_forward_hook(record)
    try:
        yield seen
    finally:
        handle.remove()
