"""Tables 1 to 4: every model against the base, by accuracy and category."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ovcore.study import paper
from ovcore.study.of_store import Models, as_subject
from ovcore.study.results import Experiment, Result, no_charts
from ovcore.study.subject import Subject, place

CLOSE = ("REINIT", "HPARAM")
"""Categories of models that are the base's own recipe, or nearly."""

SHOWN = ("models", "the paper’s models")


def model_table(subject: Subject) -> pd.DataFrame:
    """One row a model, means over splits: how it was trained, and all that compares it to the base.

    Sorted by category, then inconsistency; the base comes first.
    """
    frames = []
    for split in subject.splits:
        rows = pd.DataFrame(split.comparison.rows(subject.base))
        rows = rows.drop(columns="temperature", errors="ignore").set_index("model")
        if split.fitted is not None:
            rows["temperature"] = pd.Series(split.fitted, index=list(split.names))
        within = pd.Series(subject.in_range(split).astype(float), index=list(split.names))
        frames.append(rows.assign(in_range=within))
    numbers = sum(frames[1:], frames[0]) / len(frames)
    numbers["in_range"] = numbers["in_range"] > 0.5
    cards = {card.name: card for card in subject.cards}
    described = pd.DataFrame({
        "model": numbers.index,
        "category": [
            "BASE" if name == subject.base else subject.category(subject.base, name)
            for name in numbers.index
        ],
        "method": [cards[name].method for name in numbers.index],
        "head": [cards[name].head for name in numbers.index],
    })  # fmt: skip
    first = [name for name in ("temperature", "accuracy") if name in numbers]
    numbers = numbers[first + [name for name in numbers if name not in first]]
    table = described.join(numbers, on="model")
    table["order"] = table["category"].map(place)
    table = table.sort_values(["order", "error_inconsistency"], kind="stable")
    untold = [name for name in ("method", "head") if (table[name] == "").all()]
    return table.drop(columns=["order", *untold]).reset_index(drop=True)


def table(
    number: int, title: str, definition: str, chosen: Callable[[pd.DataFrame, Subject], pd.Series]
) -> Experiment:
    """The experiment that is Table ``number``: the models for which ``chosen`` is true."""

    def run(models: Models) -> Result:
        subject = as_subject(models)
        rows = model_table(subject)
        rows = rows[chosen(rows, subject)].drop(columns="in_range").reset_index(drop=True)
        low, high = subject.range_of(subject.first)
        printed = paper.tables()
        printed = printed[printed["table"] == number].drop(columns="table")
        printed = printed.dropna(axis="columns", how="all").reset_index(drop=True)
        printed.insert(1, "category", printed.pop("category"))
        return Result(
            tables=({} if rows.empty else {"models": rows}) | {"the paper’s models": printed},
            choices={"accuracy range": f"{low:.4f} to {high:.4f}", "base": subject.base},
            notes=(_beside(rows, printed),),
        )

    return Experiment(f"table{number}", title, definition, (), run, no_charts, shown=SHOWN)


def _beside(rows: pd.DataFrame, printed: pd.DataFrame) -> str:
    """What the two tables have in common, in a sentence."""
    if rows.empty:
        return "No model here belongs in this table: the paper’s stands alone."
    ours = rows["error_inconsistency"][rows["category"] != "BASE"]
    theirs = printed.get("error_inconsistency", pd.Series(dtype=float)).dropna()
    text = f"The paper’s table has {len(printed)} models"
    if len(theirs) and np.isfinite(ours).any():
        text += (
            f", of mean inconsistency {theirs.mean():.3f} with its base (here {ours.mean():.3f})"
        )
    return f"{text}."


def above(rows: pd.DataFrame, subject: Subject) -> pd.Series:
    """More accurate than the accuracy range."""
    higher = rows["accuracy"] > np.mean(subject.range_of(subject.first))
    return ~rows["in_range"] & higher & (rows["category"] != "BASE")


def below(rows: pd.DataFrame, subject: Subject) -> pd.Series:
    """Less accurate than the accuracy range."""
    lower = rows["accuracy"] < np.mean(subject.range_of(subject.first))
    return ~rows["in_range"] & lower & (rows["category"] != "BASE")


def close(rows: pd.DataFrame) -> pd.Series:
    """Of the base's own recipe, or with other hyper-parameters."""
    return rows["category"].isin(CLOSE)
