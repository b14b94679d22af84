"""The study in a few sentences, with numbers and intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ovcore.study.pairs import category_rows
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
    told = (_models(subject), _errors(subject), _verdicts(results))
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
    """How often exactly one of two is right, and what an ensemble gains, with 95 % intervals."""
    known = [c for c in subject.categories if c in _SAID]
    if not known:
        if set(subject.categories) == {OTHER}:
            return (
                "How differently the models were trained is not known, so that pairs have no "
                "training category: a table of metadata would tell."
            )
        return ""
    together = subject.first.comparison.ensembles is not None
    means = category_rows(subject, ("error_inconsistency", *(("gain",) if together else ())))
    means = means.set_index("category")
    sentences = []
    for category in known:
        row = means.loc[category]
        if not np.isfinite(row["error_inconsistency"]):
            continue
        text = (
            f"Of two models {_SAID[category]}, exactly one is right on "
            f"{_share(row, 'error_inconsistency')} of the samples"
        )
        if together:
            text += f", and their ensemble gains {_points(row, 'gain')} points over their mean"
        sentences.append(text + ".")
    return " ".join(sentences)


def _share(row: pd.Series, metric: str) -> str:
    return f"{100 * row[metric]:.1f} %{_interval(row, metric, ' %')}"


def _points(row: pd.Series, metric: str) -> str:
    return f"{100 * row[metric]:.1f}{_interval(row, metric, '')}"


def _interval(row: pd.Series, metric: str, unit: str) -> str:
    """95 % by the standard error, not below 0 %; nothing where there is none."""
    half = 1.96 * row[f"{metric}_se"]
    if not np.isfinite(half):
        return ""
    return f" [{100 * (row[metric] - half):.1f}, {100 * (row[metric] + half):.1f}{unit}]"


def _verdicts(results: Mapping[str, Result]) -> str:
    counts = Counter(f.verdict for result in results.values() for f in result.findings)
    if not counts:
        return ""
    return (
        f"Of {counts.total()} claims of the paper, {counts[HOLDS]} hold here, {counts[FAILS]} do "
        f"not, and {counts[UNCLEAR]} cannot be told."
    )
