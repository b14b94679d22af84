"""Where a module's penultimate features are: the input of its classifier, found by running it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn


def find_classifier(module: nn.Module, run: Callable[[], Tensor]) -> str:
    """Name of the layer that gives the module's logits.

    That is the layer without parts, but with weights, whose output is the very tensor that ``run``
    returns; where there is none (the logits are scaled or normalised afterwards), the last
    ``nn.Linear`` that ran and has as many outputs as there are classes.

    Args:
        module: a classifier.
        run: runs it and gives its logits (n, K).

    Raises:
        ValueError: neither is there, or the layer's input is not (n, D).

    >>> import torch
    >>> module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1))
    >>> find_classifier(module, lambda: module(torch.zeros(2, 4)))
    '2'
    """
    # Weak, so that the outputs of all layers are not in memory at once.
    ran: list[tuple[str, nn.Module, weakref.ref[Tensor], tuple[int, ...]]] = []

    def noting(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor) and args and isinstance(args[0], Tensor):
                ran.append((name, layer, weakref.ref(output), tuple(args[0].shape)))

        return note

    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if next(layer.children(), None) is None and next(layer.parameters(), None) is not None:
                hooks.callback(layer.register_forward_hook(noting(name)).remove)
        logits = run()
    n_samples, n_classes = logits.shape
    found = [(name, layer, shape) for name, layer, output, shape in ran if output() is logits] or [
        (name, layer, shape)
        for name, layer, _, shape in ran
        if isinstance(layer, nn.Linear) and layer.out_features == n_classes
    ]
    if not found:
        raise ValueError(
            "no layer was found that gives the logits: name the one whose output are the "
            "features by layer=, or pass layer=None for none"
        )
    name, layer, shape = found[-1]
    # Features are the last axis of a linear layer, the second of a convolution.
    others = shape[1:-1] if isinstance(layer, nn.Linear) else shape[2:]
    if len(shape) < 2 or shape[0] != n_samples or any(length != 1 for length in others):
        raise ValueError(
            f"the input of {name!r}, which gives the logits, has shape {shape} for {n_samples} "
            "samples, not (N, D): name the layer of the features by layer=, or pass layer=None "
            "for none"
        )
    return name
