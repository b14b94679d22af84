"""Members trained on the labelled digits: the base, its re-seeds, variants, architectures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ovcore.store import ModelCard
from ovcore.study.zoo.classical import METHODS, SETTINGS, fit_classical
from ovcore.study.zoo.digits import CLASSES
from ovcore.study.zoo.recipe import Recipe, Training
from ovcore.study.zoo.stacked import Tick
from ovcore.study.zoo.supervised import Job, one_hot, train
from ovcore.study.zoo.workbench import FOLDS, Member, Workbench, describe

METHOD = "Sup. / digits"


@dataclass(frozen=True)
class _Run:
    name: str
    category: str
    architecture: str
    seed: int
    training: Training


def trainings(recipe: Recipe) -> int:
    """How many networks `members` trains."""
    return len(FOLDS) * len(list(_runs(recipe)))


def members(bench: Workbench, tick: Tick) -> list[Member]:
    """Train the networks of all runs and fit the classical models."""
    jobs = [_job(bench, run, fold) for run in _runs(bench.recipe) for fold in FOLDS]
    train(jobs, tick)
    found = []
    for run, first, second in zip(_runs(bench.recipe), jobs[::2], jobs[1::2], strict=True):
        training = describe(
            "cross-entropy", "digits, labelled", run.architecture, run.seed, first.net, run.training
        )
        card = ModelCard(run.name, METHOD, "Trained", run.category, training)
        found.append(Member(card, (first.net, second.net)))
    return found + [_classical(bench, kind) for kind in bench.recipe.classical]


def _runs(recipe: Recipe) -> Iterator[_Run]:
    base = recipe.base
    for seed in range(1 + recipe.reinit):
        yield _Run(f"cnn/seed-{seed}", "REINIT" if seed else "BASE", "cnn", seed, base)
    variants = (
        [(f"dropout-{v:g}", replace(base, dropout=v)) for v in recipe.hparam_dropout]
        + [(f"smoothing-{v:g}", replace(base, smoothing=v)) for v in recipe.hparam_smoothing]
        + [
            (f"rate-x{v:.2g}", replace(base, learning_rate=base.learning_rate * v))
            for v in recipe.hparam_rate_factor
        ]
        + [(f"decay-{v:g}", replace(base, weight_decay=v)) for v in recipe.hparam_weight_decay]
    )
    for name, training in variants:
        yield _Run(f"cnn/{name}", "HPARAM", "cnn", 0, training)
    for a in recipe.architectures:
        for seed in range(a.seeds):
            yield _Run(f"{a.architecture}/seed-{seed}", "ARCH", a.architecture, seed, a.training)


def _job(bench: Workbench, run: _Run, fold: int) -> Job:
    stream = bench.stream(run.name, fold)
    images, labels = bench.labelled()[fold]
    net = bench.fresh(run.architecture, stream)
    return Job(net, run.architecture, images, one_hot(labels, CLASSES), run.training, stream)


def _classical(bench: Workbench, kind: str) -> Member:
    first, second = (
        fit_classical(kind, x.flatten(1).numpy(), y.numpy(), *bench.stream(kind, fold))
        for (x, y), fold in zip(bench.labelled(), FOLDS, strict=True)
    )
    training = {"objective": METHODS[kind], "data": "digits, labelled", "settings": SETTINGS[kind]}
    return Member(ModelCard(kind, METHOD, "Trained", "ARCH", training), (first, second))
