"""Fig. 7: the same models' features on another task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

import ovcore as ov
from ovcore.store import Store
from ovcore.study.categories import apart
from ovcore.study.charts import Axis, Chart
from ovcore.study.experiments.fig2 import fit_interval
from ovcore.study.experiments.panels import BEYOND, against, by_category, spoken
from ovcore.study.features import PROBE, describe_probe, halves, is_among, refuse_nan
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import category_rows, category_samples, errors_over, model_rows
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Experiment, Finding, Lacking, Result
from ovcore.study.subject import Split, Subject
from ovcore.study.transfer_task import read_task

METRICS = ("score", "together", "gain_over_mean", "gain_over_better")
CLAIMS = (
    "Models that are more accurate on their own task transfer better.",
    "Models that err more differently from the rest transfer better.",
    "On another task, too, the features of two models are worth more together where one was "
    "trained on other data than where they differ by their seed.",
)


def run(models: Models) -> Result:
    """Scores of probes on the transfer task: of each model, and of the base with each other."""
    subject = as_subject(models)
    if not subject.transfer:
        raise Lacking("no store of the models' features on another task is given")
    parts = [
        part
        for number, (split, store) in enumerate(zip(subject.splits, subject.transfer, strict=True))
        for part in _parts(subject, number, split, store)
    ]
    rows: list[dict[str, object]] = []
    for part in tqdm(parts, desc="transfer", disable=not subject.progress, leave=False):
        rows += part
    scored = pd.DataFrame(rows)
    task = read_task(subject.transfer[0])
    keys = ["split", "base", "model", "category", "in_band"]
    pairs = scored.groupby(keys, sort=False, as_index=False).mean(numeric_only=True)
    pairs = pairs.drop(columns="part")
    samples = category_samples(pairs[pairs["model"] != subject.base], METRICS)
    alone = model_rows(pairs)
    inside = alone[alone["in_band"]]
    return Result(
        tables={
            "models": alone,
            "categories": category_rows(subject, METRICS, samples=samples),
            "pairs": pairs,
        },
        findings=(
            _correlated(inside, "accuracy", CLAIMS[0]),
            _correlated(inside, "diversity", CLAIMS[1]),
            apart(samples, "gain_over_mean", CLAIMS[2]),
        ),
        choices={
            "task": f"{len(task.classes)} classes, {subject.transfer[0].n_samples:,} samples",
            "score": task.metric
            + (", samples marked difficult for a class left out" if task.difficult is not None
               else ""),
            "probe": describe_probe() + (", one a class" if task.truth.ndim == 2 else ""),
            "split": "probes are fitted on half of the samples and scored on the rest, drawn with "
            f"seed {subject.seed}",
            "together": f"a probe on the features of {subject.base} beside those of one other",
            "prediction diversity": "mean error inconsistency with the other models in the "
            "accuracy range, on the models' own task",
            "standard errors": errors_over(subject),
        },
        notes=(BEYOND,),
    )  # fmt: skip


def _parts(
    subject: Subject, number: int, split: Split, store: Store
) -> Iterator[list[dict[str, object]]]:
    """Rows of each part of a split's samples, as they are computed."""
    task = read_task(store)
    names = _networks(subject, split, store)
    features = [_features(store, name) for name in names]
    diversity = _diversity(subject, split)
    inside = subject.in_range(split)
    for part, fitting, scoring in halves(store, subject.seed):
        found = ov.representations.stacked_generalization(
            [f[fitting] for f in features],
            task.truth[fitting],
            [f[scoring] for f in features],
            task.truth[scoring],
            difficult=None if task.difficult is None else task.difficult[fitting],
            test_difficult=None if task.difficult is None else task.difficult[scoring],
            pairs=[(0, m) for m in range(1, len(names))],
            probe=PROBE,
        ).scores
        alone = np.diagonal(found)
        yield [
            {
                "split": number, "part": part, "base": subject.base, "model": name,
                "category": subject.category(subject.base, name) if m else "BASE",
                "in_band": inside[split.index(name)],
                "accuracy": split.accuracy[split.index(name)],
                "diversity": diversity[split.index(name)],
                "score": alone[m],
                "together": found[0, m] if m else float("nan"),
                "gain_over_mean": found[0, m] - (alone[0] + alone[m]) / 2 if m else float("nan"),
                "gain_over_better": found[0, m] - max(alone[0], alone[m]) if m else float("nan"),
            }
            for m, name in enumerate(names)
        ]  # fmt: skip


def _networks(subject: Subject, split: Split, store: Store) -> list[str]:
    """The base, models in the range and then the others: of several heads on one network the first.

    Raises:
        Lacking: the store has no features of the base, or of it alone.
    """
    if subject.base not in store.names:
        raise Lacking(f"the transfer store has no features of {subject.base}")
    partners = (name for _, name in subject.partners(split, subject.base))
    chosen: list[str] = []
    seen: list[NDArray[np.floating]] = []
    for name in dict.fromkeys(chain([subject.base], partners, split.names)):
        features = store.features(name) if name in store.names else None
        if features is None or is_among(features, seen):
            continue
        refuse_nan(name, features)
        chosen.append(name)
        seen.append(features)
    if len(chosen) < 2 or chosen[0] != subject.base:
        raise Lacking(f"the transfer store has features of {len(chosen)} of the models")
    return chosen


def _features(store: Store, name: str) -> NDArray[np.floating]:
    features = store.features(name)
    assert features is not None
    return features


def _diversity(subject: Subject, split: Split) -> NDArray[np.float64]:
    """(M,) mean inconsistency with the other models in the range; NaN of models outside it."""
    inside = np.flatnonzero(subject.in_range(split))
    diversity = np.full(len(split.names), np.nan)
    counts = split.comparison.errors.select(inside)
    diversity[inside] = np.asarray(ov.pairwise.prediction_diversity(counts))
    return diversity


def _correlated(models: pd.DataFrame, metric: str, claim: str) -> Finding:
    """A correlation above 0 by its 95% interval."""
    known = models[[metric, "score"]].dropna()
    if len(known) < 4 or (known.nunique() < 2).any():
        return Finding(claim, UNCLEAR, f"{len(known)} models in the range are too few to correlate")
    r = np.corrcoef(known[metric], known["score"])[0, 1]
    low, high = fit_interval(r, len(known))
    return Finding(
        claim,
        HOLDS if low > 0 else FAILS if high < 0 else UNCLEAR,
        f"r = {r:.2f} over {len(known)} models in the accuracy range (95% interval {low:.2f} to "
        f"{high:.2f})",
    )


def draw(result: Result) -> list[Chart]:
    """Transfer against accuracy and diversity, and what two models' features gain."""
    alone, means = result.tables["models"], result.tables["categories"]
    score = Axis("score on the transfer task", ".2f")
    others = alone[alone["category"] != "BASE"]
    categories = means.assign(accuracy=_mean(others, means, "accuracy"),
                              diversity=_mean(others, means, "diversity"))  # fmt: skip
    return [
        Chart(
            "fig7",
            "Another task",
            f"Mean score by category: {spoken(means, 'score')}. Gain of two models' features over "
            f"the mean of each alone: {spoken(means, 'gain_over_mean')}.",
            (
                replace(
                    against(others, categories, "accuracy", "score",
                            (Axis("accuracy on the models’ own task", ".0%"), score)),
                    title="Accuracy and transfer",
                ),
                replace(
                    against(others[others["diversity"].notna()], categories, "diversity", "score",
                            (Axis("prediction diversity", ".1%"), score)),
                    title="Diversity and transfer",
                ),
                replace(
                    by_category(others, means, "gain_over_mean",
                                Axis("score over the mean of both", ".2f", from_zero=True)),
                    title="Two models’ features together",
                ),
            ),
            "models",
            columns=3,
        )
    ]  # fmt: skip


def _mean(models: pd.DataFrame, means: pd.DataFrame, metric: str) -> list[float]:
    inside = models[models["in_band"]]
    return [inside.loc[inside["category"] == c, metric].mean() for c in means["category"]]


EXPERIMENT = Experiment(
    "fig7",
    "Another task",
    "Linear probes on the models’ features learn a task that the models were not trained for. "
    "Left and centre: does accuracy on the models’ own task, or how differently a model errs "
    "there, tell how well its features serve another? Right: a probe on the features of the base "
    "and one other model together, over the mean of what each reaches alone.",
    CLAIMS,
    run,
    draw,
    shown=("categories",),
)
