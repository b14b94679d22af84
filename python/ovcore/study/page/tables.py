"""Data frames as the page prints them: words for columns, digits for numbers, "–" for none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ovcore.study.subject import place

NONE = "–"

_LABELS = {
    "temperature": "T",
    "error_inconsistency": "inconsistency",
    "relative_to_chance": "/ chance",
    "error_consistency": "κ",
    "ensemble_accuracy": "ensemble",
    "conversion_rate": "conversion",
    "rescue_rate": "rescue",
    "theta": "θ, °",
    "theta_gap": "θ gap, °",
    "in_band": "in range",
    "only_base": "only base right",
    "only_other": "only other right",
}
_RATES = {
    "relative_to_chance", "error_consistency", "error_correlation", "q_statistic", "specialized",
    "slope", "intercept", "r", "r_low", "r_high",
}  # fmt: skip
_LARGE = 10  # from here on one digit tells enough


@dataclass(frozen=True)
class Column:
    """Attributes: its name in the frame, what a reader sees above it, whether it has numbers."""

    name: str
    label: str
    is_number: bool


@dataclass(frozen=True)
class Cell:
    """Attributes: what a reader sees, and what it is sorted by ("" for none: always last)."""

    text: str
    value: str


@dataclass(frozen=True)
class Table:
    """Columns, and rows of as many cells."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table_of(frame: pd.DataFrame) -> Table:
    """A frame as a table; a column ``x_se`` goes into ``x`` as "x ± se"."""
    names = [str(name) for name in frame.columns]
    shown = [name for name in names if not (name.endswith("_se") and name[:-3] in names)]
    columns = tuple(Column(name, label(name), _has_numbers(frame[name])) for name in shown)
    cells = [
        _cells(frame[name], name, frame.get(f"{name}_se"), column.is_number)
        for name, column in zip(shown, columns, strict=True)
    ]
    return Table(columns, tuple(zip(*cells, strict=True)))


def label(name: str) -> str:
    """Words for a column."""
    if name.startswith("paper_"):
        return f"paper’s {label(name.removeprefix('paper_'))}"
    if share := re.fullmatch(r"theta_(\d+)", name):
        return f"θ at {share[1]}%"
    return _LABELS.get(name, name.replace("_", " "))


def _has_numbers(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _cells(values: pd.Series, name: str, errors: pd.Series | None, is_number: bool) -> list[Cell]:
    if name == "category":
        return [Cell(str(value), str(place(value))) for value in values]
    if not is_number:
        return [_words(value) for value in values]
    pattern = _pattern(values.to_numpy(float), name)
    texts = [_fixed(value, pattern) for value in values]
    if errors is not None:
        texts = [f"{text} ± {_fixed(e, pattern)}" for text, e in zip(texts, errors, strict=True)]
    keys = ["" if value != value else repr(float(value)) for value in values]
    return [Cell(text, key) for text, key in zip(texts, keys, strict=True)]


def _words(value: Any) -> Cell:
    if value is None or value != value or value == "":
        return Cell(NONE, "")
    if isinstance(value, bool | np.bool_):
        return Cell("yes" if value else "no", "yes" if value else "no")
    return Cell(str(value), str(value))


def _pattern(values: np.ndarray[Any, np.dtype[np.float64]], name: str) -> str:
    """How the numbers of a column are written, all alike."""
    known = values[np.isfinite(values)]
    largest = np.abs(known).max(initial=0)
    name = name.removeprefix("paper_")
    if name == "p":
        return ".2g"
    if name == "temperature":
        return ".2f"
    if name.startswith("theta"):
        return ".1f"
    if (known == np.round(known)).all() and (largest > 1 or len(known) == 0):
        return ",.0f"  # counts; a share of 1 in all rows is no count
    if largest >= _LARGE:
        return ",.1f"
    return ".3f" if name in _RATES or name.endswith("rate") else ".4f"


def _fixed(value: float, pattern: str) -> str:
    if value != value:
        return NONE
    return f"{value:{pattern}}".replace("-", "−")
