"""Members that also use unlabelled digits: SimCLR pretraining, and students of the SVM."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from ovcore.store import ModelCard
from ovcore.study.zoo.classical import fit_classical
from ovcore.study.zoo.contrastive import PretrainingJob, pretrain
from ovcore.study.zoo.heads import with_probe
from ovcore.study.zoo.recipe import ContrastiveRun, Recipe
from ovcore.study.zoo.stacked import Tick
from ovcore.study.zoo.supervised import Job, train
from ovcore.study.zoo.workbench import FOLDS, Member, Workbench, describe

SIMCLR, DISTILLED = "SimCLR / digits", "Distilled (SVM)"


def trainings(recipe: Recipe) -> int:
    """How many networks `members` trains, pretraining and fine-tuning each counted."""
    return len(FOLDS) * (2 * sum(run.seeds for run in recipe.contrastive) + recipe.distilled)


def members(bench: Workbench, tick: Tick) -> list[Member]:
    """Pretrain, probe and fine-tune; then distil."""
    found = [member for run in bench.recipe.contrastive for member in _simclr(bench, run, tick)]
    return found + _distilled(bench, tick)


def _simclr(bench: Workbench, run: ContrastiveRun, tick: Tick) -> list[Member]:
    labelled, unlabelled = bench.labelled(), bench.unlabelled()
    stem, strength = f"simclr-{run.architecture}", bench.recipe.probe_strength
    bodies = [
        PretrainingJob(bench.fresh(run.architecture, stream), unlabelled[fold], stream)
        for seed in range(run.seeds)
        for fold in FOLDS
        for stream in [bench.stream(stem, seed, fold)]
    ]
    pretrain(bodies, run, tick)
    found, tuned = [], []
    for seed in range(run.seeds):
        pair = [job.net for job in bodies[2 * seed : 2 * seed + 2]]
        first, second = (
            with_probe(net, x, y, strength) for net, (x, y) in zip(pair, labelled, strict=True)
        )
        training = describe(
            "SimCLR, then L-BFGS head", "digits", run.architecture, seed, first, run.training
        )
        card = ModelCard(f"{stem}/probe/seed-{seed}", SIMCLR, "L-BFGS", "FWORK", training)
        found.append(Member(card, (first, second)))

        name = f"{stem}/fine-tuned/seed-{seed}"
        jobs = bench.fine_tuning(name, run.architecture, [first, second])
        tuned += jobs
        training = describe(
            "SimCLR, L-BFGS head, then cross-entropy", "digits", run.architecture, seed, first,
            run.training, bench.recipe.fine_tuning,
        )  # fmt: skip
        card = ModelCard(name, SIMCLR, "Fine-tuned", "FWORK", training)
        found.append(Member(card, (jobs[0].net, jobs[1].net)))
    train(tuned, tick)
    return found


def _distilled(bench: Workbench, tick: Tick) -> list[Member]:
    """Students that learn the SVM's soft outputs on the pool and the labelled images."""
    recipe, unlabelled = bench.recipe, bench.unlabelled()
    soft = []
    for fold, (x, y) in zip(FOLDS, bench.labelled(), strict=True):
        teacher = fit_classical(
            "svm", x.flatten(1).numpy(), y.numpy(), *bench.stream("teacher", fold)
        )
        scores = torch.from_numpy(teacher.logits(unlabelled[fold].flatten(1).numpy()))
        soft.append(F.softmax(scores / recipe.distillation_temperature, dim=-1))
    jobs = [
        Job(
            bench.fresh("cnn", stream),
            "cnn",
            unlabelled[fold],
            soft[fold],
            recipe.distillation,
            stream,
        )
        for seed in range(recipe.distilled)
        for fold in FOLDS
        for stream in [bench.stream("distilled", seed, fold)]
    ]
    train(jobs, tick)
    found = []
    for seed in range(recipe.distilled):
        first, second = (job.net for job in jobs[2 * seed : 2 * seed + 2])
        training = describe(
            "soft outputs of an RBF SVM", "digits", "cnn", seed, first, recipe.distillation
        )
        card = ModelCard(f"distilled/seed-{seed}", DISTILLED, "Distilled", "FWORK", training)
        found.append(Member(card, (first, second)))
    return found
