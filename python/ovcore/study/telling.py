"""What a study says on a terminal, read from what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from ovcore.study.results import Result

_COLUMNS = {
    "model": ("model", ""), "category": ("category", ""), "method": ("method", ""),
    "head": ("head", ""), "models": ("models", ""), "temperature": ("T", ".2f"),
    "accuracy": ("accuracy", ".4f"), "error_inconsistency": ("inconsistency", ".4f"),
    "error_inconsistency_se": ("±", ".4f"), "relative_to_chance": ("/ chance", ".3f"),
    "ensemble_accuracy": ("ensemble", ".4f"), "gain": ("gain", ".4f"), "gain_se": ("± ", ".4f"),
    "conversion_rate": ("conversion", ".3f"), "conversion_rate_se": (" ±", ".3f"),
}  # fmt: skip


def tell(folder: Path) -> str:
    """The models near the base, category means, and the paper's claims with their verdicts."""
    study = json.loads((folder / "study.json").read_text("utf-8"))
    parts = []
    for name, table, words in (
        ("table1", "models", f"Models near the accuracy of {study['base']}:"),
        ("fig1", "categories", "Means over the models in the accuracy range:"),
        ("fig2", "categories", "Their ensembles:"),
    ):
        if name in study["experiments"] and not study["experiments"][name]["lacking"]:
            stored = json.loads((folder / "experiments" / f"{name}.json").read_text("utf-8"))
            parts.append(f"{words}\n\n{_text(Result.from_json(stored['result']).tables[table])}")
    verdicts = [
        (finding["verdict"], finding["claim"])
        for experiment in study["experiments"].values()
        for finding in experiment["findings"]
    ]
    if verdicts:
        parts.append("What of the paper holds here:\n\n" + tabulate(verdicts, tablefmt="plain"))
    left_out = [(n, e["lacking"]) for n, e in study["experiments"].items() if e["lacking"]]
    if left_out:
        parts.append("Left out:\n\n" + tabulate(left_out, tablefmt="plain"))
    return "\n" + "\n\n".join(parts)


def _text(table: pd.DataFrame) -> str:
    shown = [name for name in _COLUMNS if name in table and not _is_empty(table[name])]
    rows = table[shown].astype(object).where(table[shown].notna(), None)
    text: str = tabulate(
        rows.rename(columns={name: _COLUMNS[name][0] for name in shown}),
        headers="keys",
        floatfmt=[_COLUMNS[name][1] for name in shown],
        showindex=False,
        missingval="–",
        disable_numparse=[i for i, name in enumerate(shown) if not _COLUMNS[name][1]],
    )
    return text


def _is_empty(column: pd.Series) -> bool:
    return bool(column.isna().all() or (column.astype(str) == "").all())
