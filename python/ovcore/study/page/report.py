"""What a page is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from ovcore.study.charts import Chart
from ovcore.study.results import Experiment, Result
from ovcore.study.subject import Subject


@dataclass(frozen=True)
class Section:
    """An experiment, what it found, and its figures."""

    experiment: Experiment
    result: Result
    charts: tuple[Chart, ...]


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        title: of the page.
        summary: paragraphs of plain text.
        sections: in the order of the page.
        models: one row a model: model, category, method, head, temperature, accuracy, in_range,
            and its metrics against the base.
        subject: the models, of which the page shows all pairs.
        about: what study.json says of the run: "ovcore" (version), "date", "seed", recipe, hashes.
        files: names of the files beside the page, with what each holds.
    """

    title: str
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    models: pd.DataFrame
    subject: Subject
    about: dict[str, Any]
    files: dict[str, str]
