"""What the trainings of one split work on, and what they hand over."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from ovcore.store import ModelCard
from ovcore.study.zoo.classical import Classical
from ovcore.study.zoo.digits import CLASSES, Fold
from ovcore.study.zoo.nets import Net, make_net, parameter_count
from ovcore.study.zoo.recipe import Recipe, Training
from ovcore.study.zoo.streams import initialised
from ovcore.study.zoo.supervised import Job, one_hot

FOLDS = (0, 1)
Name = tuple[str | int, ...]
Instances = tuple[Net | Classical, Net | Classical]


@dataclass(frozen=True)
class Member:
    """A model of the zoo: its card and one instance per fold (the same one where it may be)."""

    card: ModelCard
    instances: Instances


@dataclass(frozen=True)
class Workbench:
    """The images of one split, cut into folds, and the names of its random streams."""

    recipe: Recipe
    split: int
    inputs: Tensor  # (N, 1, 8, 8)
    labels: Tensor  # (N,) int64
    folds: tuple[Fold, Fold]

    def stream(self, *name: str | int) -> Name:
        """The full name of a random stream of this split."""
        return ("zoo", self.recipe.seed, self.split, *name)

    def labelled(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Per fold the labelled images (n, 1, 8, 8) and their classes (n,)."""
        return tuple((self.inputs[f.labelled], self.labels[f.labelled]) for f in self.folds)

    def unlabelled(self) -> tuple[Tensor, ...]:
        """Per fold the pool with the labelled images behind it, without labels."""
        return tuple(self.inputs[[*f.pool.tolist(), *f.labelled.tolist()]] for f in self.folds)

    def fresh(self, architecture: str, stream: Name, classes: int = CLASSES) -> Net:
        """A network initialised from its own stream."""
        return initialised(lambda: make_net(architecture, classes), *stream, "weights")

    def fine_tuning(self, name: str, architecture: str, starts: Sequence[Net]) -> list[Job]:
        """A job a fold that trains its copy of a start on the fold's labelled digits."""
        return [
            Job(
                copy.deepcopy(start), architecture, x, one_hot(y, CLASSES),
                self.recipe.fine_tuning, self.stream(name, fold),
            )
            for fold, start, (x, y) in zip(FOLDS, starts, self.labelled(), strict=True)
        ]  # fmt: skip


def describe(
    objective: str, data: str, architecture: str, seed: int, net: Net, *trainings: Training
) -> dict[str, object]:
    """A card's `training`: how a network came about, in plain JSON."""
    return {
        "objective": objective,
        "data": data,
        "architecture": architecture,
        "seed": seed,
        "parameters": parameter_count(net),
        "runs": [asdict(training) for training in trainings],
    }
