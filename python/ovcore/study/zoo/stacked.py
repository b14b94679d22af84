"""AdamW over a stack of equally shaped networks: one pass trains them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

Tick = Callable[[float], None]  # told how many more models' worth of training is done

_BETA1, _BETA2, _EPS = 0.9, 0.99, 1e-8
_WARM_UP = 0.05  # share of the steps


def train_stacked(
    nets: Sequence[nn.Module],
    *,
    rates: Sequence[float],
    decays: Sequence[float],
    steps: int,
    batch: Callable[[int], tuple[Tensor, ...]],
    loss: Callable[..., Tensor],
    tick: Tick,
) -> None:
    """Train M networks of one architecture, each with its own rate and decay, in place.

    `batch(step)` gives tensors whose first axis is M; `loss(forward, *tensors)` is one
    model's scalar, where `forward` calls that model. The networks must not hold buffers.
    """
    params, _ = stack_module_state(list(nets))
    names, stack = list(params), [p.detach().requires_grad_() for p in params.values()]
    skeleton = nets[0]

    def one(weights: dict[str, Tensor], *tensors: Tensor) -> Tensor:
        return loss(lambda *x: functional_call(skeleton, weights, x), *tensors)

    all_losses = vmap(one)
    first = [torch.zeros_like(p) for p in stack]
    second = [torch.zeros_like(p) for p in stack]
    rate = [_per_model(rates, p) for p in stack]
    decay = [_per_model(decays, p) for p in stack]
    for step in range(steps):
        total = all_losses(dict(zip(names, stack, strict=True)), *batch(step)).sum()
        grads = torch.autograd.grad(total, stack)
        scale = _schedule(step, steps)
        fix1, fix2 = 1 - _BETA1 ** (step + 1), math.sqrt(1 - _BETA2 ** (step + 1))
        with torch.no_grad():
            for p, g, m, v, lr, wd in zip(stack, grads, first, second, rate, decay, strict=True):
                m.lerp_(g, 1 - _BETA1)
                v.lerp_(g * g, 1 - _BETA2)
                p.mul_(1 - scale * lr * wd)
                p.sub_(scale / fix1 * lr * m / (v.sqrt() / fix2 + _EPS))
        tick(len(nets) / steps)
    with torch.no_grad():
        for index, net in enumerate(nets):
            for name, p in net.named_parameters():
                p.copy_(stack[names.index(name)][index])


def _per_model(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, *[1] * (like.ndim - 1))


def _schedule(step: int, steps: int) -> float:
    warm = max(1.0, _WARM_UP * steps)
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))
