"""Supervised training jobs, grouped so that equal architectures train together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovcore.study.zoo.nets import Net
from ovcore.study.zoo.recipe import Training
from ovcore.study.zoo.stacked import Tick, train_stacked
from ovcore.study.zoo.streams import batch_order, torch_stream


@dataclass(frozen=True)
class Job:
    """One network to train in place on images (n, 1, 8, 8) and class shares (n, K)."""

    net: Net
    architecture: str
    images: Tensor
    targets: Tensor
    training: Training
    stream: tuple[str | int, ...]  # name of the model's own random streams


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Classes (n,) as shares (n, K)."""
    return F.one_hot(labels, classes).float()


def train(jobs: Sequence[Job], tick: Tick) -> None:
    """Train every job; which jobs share a stack does not touch their random streams."""
    groups: dict[tuple[object, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        key = (job.architecture, job.targets.shape[1], job.training.steps, job.training.batch)
        groups[key].append(job)
    for group in groups.values():
        _train_group(group, tick)


def _train_group(jobs: Sequence[Job], tick: Tick) -> None:
    steps, batch = jobs[0].training.steps, jobs[0].training.batch
    images, targets, starts = _pooled(jobs)
    order = torch.stack(
        [
            start + batch_order(len(j.images), batch, steps, torch_stream(*j.stream, "batches"))
            for j, start in zip(jobs, starts, strict=True)
        ],
        dim=1,
    )  # (steps, M, batch)
    drops = [j.training.dropout for j in jobs]
    noises = [torch_stream(*j.stream, "dropout") for j in jobs]
    smoothing = torch.tensor([j.training.smoothing for j in jobs]).reshape(-1, 1, 1)
    classes, width = targets.shape[1], jobs[0].net.width

    def draw(step: int) -> tuple[Tensor, ...]:
        x, y = images[order[step]], targets[order[step]]
        y = (1 - smoothing) * y + smoothing / classes
        keep = [
            (torch.rand(batch, width, generator=noise) >= drop) / (1 - drop)
            for noise, drop in zip(noises, drops, strict=True)
        ]
        return x, y, torch.stack(keep)

    train_stacked(
        [j.net for j in jobs],
        rates=[j.training.learning_rate for j in jobs],
        decays=[j.training.weight_decay for j in jobs],
        steps=steps,
        batch=draw,
        loss=_cross_entropy,
        tick=tick,
    )


def _cross_entropy(forward: Callable[..., Tensor], x: Tensor, y: Tensor, keep: Tensor) -> Tensor:
    return -(y * F.log_softmax(forward(x, keep), dim=-1)).sum(dim=-1).mean()


def _pooled(jobs: Sequence[Job]) -> tuple[Tensor, Tensor, list[int]]:
    """The jobs' data behind one another, data that several jobs share only once."""
    starts: dict[tuple[int, int], int] = {}
    images, targets, total = [], [], 0
    for job in jobs:
        key = (id(job.images), id(job.targets))
        if key not in starts:
            starts[key] = total
            images.append(job.images)
            targets.append(job.targets)
            total += len(job.images)
    where = [starts[id(j.images), id(j.targets)] for j in jobs]
    return torch.cat(images), torch.cat(targets), where
