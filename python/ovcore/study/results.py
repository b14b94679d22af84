"""What an experiment is and what it leaves: tables, findings, and the choices behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from ovcore.study.charts import Chart

if TYPE_CHECKING:
    from ovcore.study.subject import Subject

HOLDS, FAILS, UNCLEAR = "holds", "does not hold", "cannot be told here"


@dataclass(frozen=True)
class Finding:
    """A claim of the paper, its verdict on these data, and the numbers behind the verdict."""

    claim: str
    verdict: str
    evidence: str


class Lacking(Exception):
    """What an experiment needs and a store does not have; its text is a phrase for the reader."""


@dataclass(frozen=True)
class Result:
    """What an experiment found.

    Attributes:
        tables: by name; figures are drawn from them alone.
        findings: verdicts on the experiment's claims, in their order.
        choices: what was chosen where the paper or the data leave it open ("combine", "seed", ...).
        notes: sentences for the reader, of what is shown and of what was left out.
        lacking: why the experiment could not be made; "" where it was.
    """

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacking: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; NaN is null."""
        return {
            "tables": {name: _columns(table) for name, table in self.tables.items()},
            "findings": [vars(finding) for finding in self.findings],
            "choices": self.choices,
            "notes": list(self.notes),
            "lacking": self.lacking,
        }

    @staticmethod
    def from_json(stored: dict[str, Any]) -> Result:
        """What :meth:`to_json` gave, with the same numbers to the last bit."""
        return Result(
            tables={name: _frame(columns) for name, columns in stored["tables"].items()},
            findings=tuple(Finding(**finding) for finding in stored["findings"]),
            choices=stored["choices"],
            notes=tuple(stored["notes"]),
            lacking=stored["lacking"],
        )


class Draw(Protocol):
    """Makes an experiment's figures of its result."""

    def __call__(self, result: Result, /) -> list[Chart]: ...  # noqa: D102


@dataclass(frozen=True)
class Experiment:
    """A figure or table of the paper.

    Attributes:
        name: as asked for on the command line: "fig2".
        title: what a reader sees above it.
        definition: what is shown, in a few sentences.
        claims: what the paper says of it.
        run: makes the result of a subject; raises :class:`Lacking` where it lacks something.
        draw: makes the figures of a result.
        shown: names of the tables that a page prints; all are offered for download.
    """

    name: str
    title: str
    definition: str
    claims: tuple[str, ...]
    run: Callable[[Subject], Result]
    draw: Draw
    shown: tuple[str, ...] = ()

    def conduct(self, subject: Subject) -> Result:
        """The result; where something is lacking, one that says so of every claim."""
        try:
            return self.run(subject)
        except Lacking as lacking:
            return Result(
                findings=tuple(Finding(claim, UNCLEAR, str(lacking)) for claim in self.claims),
                lacking=str(lacking),
            )


def no_charts(_result: Result) -> list[Chart]:
    """Of an experiment that is a table."""
    return []


def _columns(table: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): [_plain(v) for v in values] for name, values in table.items()}


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and value != value else value


def _frame(columns: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: _series(values) for name, values in columns.items()})


def _series(values: Iterable[Any]) -> pd.Series:
    """Of numbers alone null is NaN; text stays text."""
    values = list(values)
    numbers = all(v is None or (isinstance(v, float | int) and v is not True) for v in values)
    numbers = numbers and not any(isinstance(v, bool) for v in values)
    if numbers and any(v is None or isinstance(v, float) for v in values):
        return pd.Series([float("nan") if v is None else v for v in values], dtype=float)
    return pd.Series(values, dtype=object if not values else None)
