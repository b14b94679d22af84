"""SimCLR on the unlabelled digits: two random views of an image should look alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovcore.study.zoo.nets import Net
from ovcore.study.zoo.recipe import ContrastiveRun
from ovcore.study.zoo.stacked import Tick, train_stacked
from ovcore.study.zoo.streams import batch_order, initialised, torch_stream


@dataclass(frozen=True)
class PretrainingJob:
    """A network whose body is pretrained in place on images (n, 1, 8, 8)."""

    net: Net
    images: Tensor
    stream: tuple[str | int, ...]


def pretrain(jobs: Sequence[PretrainingJob], run: ContrastiveRun, tick: Tick) -> None:
    """Pretrain the bodies of equal networks together; their heads are left alone."""
    training = run.training
    steps, batch = training.steps, training.batch
    streams = [torch_stream(*j.stream, "views") for j in jobs]
    orders = [
        batch_order(len(j.images), batch, steps, torch_stream(*j.stream, "batches")) for j in jobs
    ]

    def draw(step: int) -> tuple[Tensor, ...]:
        pairs = [
            random_views(j.images[order[step]].repeat(2, 1, 1, 1), stream)
            for j, order, stream in zip(jobs, orders, streams, strict=True)
        ]
        return (torch.stack(pairs),)

    def contrast(forward: Callable[..., Tensor], views: Tensor) -> Tensor:
        return nt_xent(forward(views), run.temperature)

    projected = [
        nn.Sequential(
            j.net.body,
            initialised(partial(_projector, j.net.width, run), *j.stream, "projector"),
        )
        for j in jobs
    ]
    train_stacked(
        projected,
        rates=[training.learning_rate] * len(jobs),
        decays=[training.weight_decay] * len(jobs),
        steps=steps,
        batch=draw,
        loss=contrast,
        tick=tick,
    )


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Each of 2B projections must find its other view, B places on, among the rest."""
    z = F.normalize(projections, dim=-1)
    n = len(z)
    similar = z @ z.T / temperature - 1e9 * torch.eye(n)
    partner = torch.roll(torch.eye(n), n // 2, dims=1)
    return -(partner * F.log_softmax(similar, dim=-1)).sum(dim=-1).mean()


def random_views(images: Tensor, stream: torch.Generator) -> Tensor:
    """Images (n, 1, 8, 8) turned, slanted, scaled, shifted, faded and made noisy."""
    n = len(images)

    def normal(scale: float) -> Tensor:
        return torch.randn(n, generator=stream) * scale

    turn, slant = normal(math.radians(7)), normal(0.12)
    wide, high = torch.exp(normal(0.1)), torch.exp(normal(0.1))
    cos, sin = torch.cos(turn), torch.sin(turn)
    maps = torch.stack(
        [
            torch.stack([cos * wide, slant - sin, normal(0.12)], -1),
            torch.stack([sin, cos * high, normal(0.12)], -1),
        ],
        dim=1,
    )
    grid = F.affine_grid(maps, [n, 1, 8, 8], align_corners=False)
    ink = images - _BLANK  # outside the frame there is no ink
    moved = F.grid_sample(ink, grid, align_corners=False)
    faded = moved * (1 + normal(0.2)).reshape(n, 1, 1, 1)
    return faded + _BLANK + torch.randn(images.shape, generator=stream) * 0.15


_BLANK = -0.3 / 0.38  # an empty block as a network input


def _projector(width: int, run: ContrastiveRun) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, run.projection))
