"""The study in a few sentences, with numbers and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ovcore.study.pairs import category_samples, errors_over, interval, of_category
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Result
from ovcore.study.subject import OTHER, Subject

_SAID = {
    "REINIT": "that differ by their random seed",
    "DATASET": "of which one was trained on other data",
}


def title(subject: Subject) -> str:
    """Of the page."""
    return (
        f"{len(subject.first.names)} models, {subject.first.comparison.n_samples:,} samples, "
        "different mistakes"
    )


def summary(subject: Subject, results: Mapping[str, Result]) -> tuple[str, ...]:
    """Paragraphs of plain text."""
    told = (_models(subject), _errors(subject), _partner(results), _verdicts(results))
    return tuple(text for text in told if text)


def _models(subject: Subject) -> str:
    split = subject.first
    within = int(subject.in_range(split).sum())
    low, high = subject.range_of(split)
    turn = (
        f"Compared with {subject.base}"
        if len(subject.bases) == 1
        else f"Each of {len(subject.bases)} models serves as the base in turn, {subject.base} in "
        "the tables"
    )
    accuracy = split.accuracy[split.index(subject.base)]
    return (
        f"{len(split.names)} {subject.name}. {turn}, which is right on {accuracy:.1%} of the "
        f"samples. {within} of {len(split.names)} models are in the accuracy range from {low:.1%} "
        f"to {high:.1%} that means are taken over."
    )


def _errors(subject: Subject) -> str:
    """How often exactly one of two is right, and what an ensemble gains, with 95% intervals."""
    if set(subject.categories) == {OTHER}:
        return (
            "How differently the models were trained is not known, so that pairs have no "
            "training category: a table of metadata would tell."
        )
    together = subject.first.comparison.ensembles is not None
    metrics = ("error_inconsistency", *(("gain",) if together else ()))
    samples = category_samples(subject.pairs, metrics)
    sentences = []
    for category, words in _SAID.items():
        values = of_category(samples, category)
        if values["error_inconsistency"].dropna().empty:
            continue
        text = (
            f"Of two models {words}, exactly one is right on "
            f"{_points(values['error_inconsistency'], '%', least=0)} of the samples"
        )
        if together:
            text += f", and their ensemble gains {_points(values['gain'])} points over their mean"
        sentences.append(text + ".")
    if sentences:
        sentences.append(f"Brackets are 95% intervals {errors_over(subject)}, on these samples.")
    return " ".join(sentences)


def _points(values: pd.Series, unit: str = "", least: float = -np.inf) -> str:
    """Mean of shares in hundredths, with its interval where there is one."""
    low, high = (100 * end for end in interval(values))
    told = f"{100 * values.mean():.1f}{unit}"
    if np.isfinite(low):
        told += f" [{max(least, low):.1f}, {high:.1f}{unit}]"
    return told.replace("-", "−")


def _partner(results: Mapping[str, Result]) -> str:
    """What the weaker model chosen for the strongest one is worth on other samples."""
    found = results.get("fig5", Result()).tables.get("first partners")
    if found is None:
        return ""
    row = found.iloc[0]
    low, gain, high = (
        f"{100 * row[key]:+.1f}".replace("-", "−") for key in ("low", "gain", "high")
    )
    return (
        f"Of the models weaker than {row['start']}, the most accurate one here, {row['partner']} "
        f"({row['partner_accuracy']:.1%}) was chosen to join it: on samples that it was not chosen "
        f"on, the ensemble is right on {row['ensemble_accuracy']:.1%}, {gain} points [{low}, "
        f"{high}] over the strongest alone."
    )


def _verdicts(results: Mapping[str, Result]) -> str:
    counts = Counter(f.verdict for result in results.values() for f in result.findings)
    if not counts:
        return ""
    hold, do = "holds" if counts[HOLDS] == 1 else "hold", "does" if counts[FAILS] == 1 else "do"
    return (
        f"Of {counts.total()} claims of the paper, {counts[HOLDS]} {hold} here, {counts[FAILS]} "
        f"{do} not, and {counts[UNCLEAR]} cannot be told."
    )
