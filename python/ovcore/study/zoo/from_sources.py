"""Members trained on other data: pen strokes, fonts, and a superset of the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ovcore.store import ModelCard
from ovcore.study.zoo.digits import CLASSES, as_inputs
from ovcore.study.zoo.fonts import DIGITS, SUPERSET, draw_characters
from ovcore.study.zoo.heads import class_mapped, with_probe
from ovcore.study.zoo.nets import Net
from ovcore.study.zoo.pen import draw_digits
from ovcore.study.zoo.recipe import Recipe, SourceRun, Training
from ovcore.study.zoo.stacked import Tick
from ovcore.study.zoo.streams import numpy_stream
from ovcore.study.zoo.supervised import Job, one_hot, train
from ovcore.study.zoo.workbench import FOLDS, Member, Workbench, describe


@dataclass(frozen=True)
class Source:
    """A synthetic data set: how its members are called and what its classes are."""

    method: str
    alphabet: str


SOURCES = {
    "pen": Source("Sup. / pen strokes", DIGITS),
    "font": Source("Sup. / fonts", DIGITS),
    "superset": Source("Sup. / fonts, 34 classes", SUPERSET),
}


def trainings(recipe: Recipe) -> int:
    """How many networks `members` trains; both folds share one on the source itself."""
    return (1 + len(FOLDS)) * sum(run.seeds for run in recipe.sources)


def draw_source(
    source: str, samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (samples, 8, 8) of 0..16 and their classes, as balanced as `samples` allows."""
    alphabet = SOURCES[source].alphabet
    labels = np.arange(samples, dtype=np.int64) % len(alphabet)
    if source == "pen":
        return draw_digits(labels, rng), labels
    return draw_characters(labels, rng, alphabet=alphabet), labels


def members(bench: Workbench, tick: Tick) -> list[Member]:
    """Train on each source; use as is, under an L-BFGS head, and fine-tuned."""
    runs = [(run, seed) for run in bench.recipe.sources for seed in range(run.seeds)]
    jobs = [job for run in bench.recipe.sources for job in _source_jobs(bench, run)]
    train(jobs, tick)
    found: list[Member] = []
    tuned: list[Job] = []
    for (run, seed), job in zip(runs, jobs, strict=True):
        three, tuning = _three_heads(bench, run, seed, job.net)
        found += three
        tuned += tuning
    train(tuned, tick)
    return found


def _source_jobs(bench: Workbench, run: SourceRun) -> list[Job]:
    """One job a seed on one common drawing of the source."""
    rng = numpy_stream(*bench.stream(run.source, "images"))
    images, labels = draw_source(run.source, run.samples, rng)
    classes = len(SOURCES[run.source].alphabet)
    x, y = as_inputs(images), one_hot(torch.from_numpy(labels), classes)
    streams = [bench.stream(f"{run.source}-{run.architecture}", seed) for seed in range(run.seeds)]
    return [
        Job(bench.fresh(run.architecture, s, classes), run.architecture, x, y, run.training, s)
        for s in streams
    ]


def _three_heads(
    bench: Workbench, run: SourceRun, seed: int, net: Net
) -> tuple[list[Member], list[Job]]:
    stem, source = f"{run.source}-{run.architecture}", SOURCES[run.source]
    mapped = len(source.alphabet) > CLASSES
    if mapped:
        net = class_mapped(net, [source.alphabet.index(digit) for digit in DIGITS])
    data = f"{source.method.partition(' / ')[2]}, {run.samples} images"

    def card(kind: str, head: str, objective: str, real: str, *more: Training) -> ModelCard:
        runs = [run.training, *more]
        training = describe(objective, data + real, run.architecture, seed, net, *runs)
        return ModelCard(f"{stem}/{kind}/seed-{seed}", source.method, head, "DATASET", training)

    plain = (
        card("class-mapped", "Class-mapped", "cross-entropy", "")
        if mapped
        else card("zero-shot", "Zero-shot", "cross-entropy", "")
    )
    first, second = (
        with_probe(net, x, y, bench.recipe.probe_strength) for x, y in bench.labelled()
    )
    probed = card("probe", "L-BFGS", "cross-entropy, then L-BFGS head", "; digits, labelled")
    tuned = card(
        "fine-tuned", "Fine-tuned", "cross-entropy, L-BFGS head, then cross-entropy",
        "; digits, labelled", bench.recipe.fine_tuning,
    )  # fmt: skip
    jobs = bench.fine_tuning(tuned.name, run.architecture, [first, second])
    found = [
        Member(plain, (net, net)),
        Member(probed, (first, second)),
        Member(tuned, (jobs[0].net, jobs[1].net)),
    ]
    return found, jobs
