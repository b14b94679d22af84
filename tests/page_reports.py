"""Small reports for tests of the page: made-up models, and one section of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import ovcore as ov
from ovcore.store import ModelCard, StoreWriter
from ovcore.study import from_store
from ovcore.study.charts import Axis, Bars, Chart, Line, Panel, Points, Ribbon, Rule
from ovcore.study.page import Report, Section
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Experiment, Finding, Result, no_charts
from ovcore.study.subject import Split, Subject

CLASSES = ["ant", "bee & co", "<cat>", "dog", "eel"]
CATEGORIES = ["BASE", "REINIT", "HPARAM", "ARCH", "FWORK", "DATASET", "DATASET"]
NAMES = ["base", "twin", "wider <b>", "conv", "self-taught", "elsewhere", "weak"]
N_SAMPLES = 300
LACKING = "the store keeps predicted classes alone, of which no ensemble is made"


def made_up_store(folder: Path, *, preds_alone: bool = False) -> Path:
    """Seven models of five named classes; the last is far less accurate."""
    rng = np.random.default_rng(7)
    target = rng.integers(0, len(CLASSES), N_SAMPLES)
    shared = rng.normal(size=(N_SAMPLES, len(CLASSES)))
    with StoreWriter(folder, target=target, class_names=CLASSES) as writer:
        for place, (name, category) in enumerate(zip(NAMES, CATEGORIES, strict=True)):
            own = rng.normal(size=shared.shape)
            mixed = np.sqrt(1 - 0.12 * place) * shared + np.sqrt(0.12 * place) * own
            strength = 0.8 if name == "weak" else 2.0
            logits = (mixed + strength * np.eye(len(CLASSES))[target]).astype(np.float32)
            card = ModelCard(
                name, method=f"method {place}", head="Trained" if place % 2 else "Zero-shot",
                category=category, temperature=1 + 0.1 * place,
            )  # fmt: skip
            outputs = {"preds": logits.argmax(axis=1)} if preds_alone else {"logits": logits}
            writer.add(card, **outputs)
    return folder


def made_up_subject(folder: Path, *, preds_alone: bool = False) -> Subject:
    """All models but the last are in the accuracy range."""
    return from_store(made_up_store(folder, preds_alone=preds_alone), accuracy_range=(0.6, 1.0))


def models_of(subject: Subject) -> pd.DataFrame:
    """One row a model, measured against the base; unknown of the base itself is NaN."""
    split: Split = subject.first
    rows = pd.DataFrame(split.comparison.rows()).set_index("model").loc[list(split.names)]
    described = pd.DataFrame(
        [[card.name, card.category, card.method, card.head] for card in subject.cards],
        columns=["model", "category", "method", "head"],
    )
    table = described.join(rows, on="model")
    table["in_range"] = subject.in_range(split)
    return table


TABLES = {
    "by category": pd.DataFrame({
        "category": ["REINIT", "DATASET", "OTHER"],
        "models": [2, 1, 0],
        "gain": [0.01234567890123456, 1e-7, float("nan")],
        "ratio": [1.5, float("inf"), float("-inf")],
        "gain_se": [0.001, float("nan"), float("nan")],
        "conversion_rate": [0.6, -0.25, float("nan")],
        "in_band": [True, False, True],
        "said": ['a "quoted", word', "<script>", "é"],
    }),
    "nobody": pd.DataFrame({"model": [], "gain": []}),
}  # fmt: skip

PANELS = (
    Panel(
        (
            Points((0, 1, 2), (1, 2, 3), "#0072B2", name="here", text=("a", "b", "</script>")),
            Points((0, 1), (2, 2), "#D55E00", name="the paper’s models", hidden=True),
            Rule(1.5, text="half"),
        ),
        x=Axis("x", limits=(-0.5, 1.5)),
        y=Axis("y", ".2f"),
        title="points <here>",
    ),
    Panel(
        (
            Ribbon((0, 1), (0, 1), (1, 2), "#66666b"),
            Line((0, 1), (0.5, 1.5), "#66666b", dash="dot"),
        ),
        title="a line",
    ),
)

SPOKEN = 'Two panels: "points" & a line.'


def made_up_report(subject: Subject) -> Report:
    """A section with all that there can be, one with a single panel, and one left out."""
    full = Experiment(
        "fig2", "What an ensemble buys", "The definition of gain.", ("A claim.",),
        lambda _: Result(), no_charts, shown=("by category", "nobody"),
    )  # fmt: skip
    result = Result(
        tables=TABLES,
        findings=(
            Finding("Ensembles gain.", HOLDS, "by 0.1 ± 0.01"),
            Finding("They gain more.", FAILS, "by -0.1 ± 0.01"),
        ),
        choices={"combine": "mean of <probabilities>"},
        notes=("A note for the reader.",),
    )
    bars = Panel((Bars((0.0, 1.0), (3, 4), "#009E73", name="counts"),))
    single = Experiment("fig8", "Outcomes", "Shares.", (), lambda _: Result(), no_charts)
    left_out = Experiment("fig6", "Features", "Mixing.", ("Mixing helps.",), lambda _: Result(),
                          no_charts)  # fmt: skip
    lacking = Result(findings=(Finding("Mixing helps.", UNCLEAR, LACKING),), lacking=LACKING)
    n_samples = subject.first.comparison.n_samples
    return Report(
        title=f"{len(subject.cards)} classifiers, {n_samples} samples",
        summary=("What was found.", "Where it comes from."),
        sections=(
            Section(full, result, (
                Chart("fig2", "Gain", SPOKEN, PANELS, "by category"),
            )),
            Section(single, Result(tables={"counts": pd.DataFrame({"n": [3, 4]})}), (
                Chart("fig8", "Counts", "Bars of 3 and 4.", (bars,), "counts", columns=1),
            )),
            Section(left_out, lacking, ()),
        ),
        models=models_of(subject),
        subject=subject,
        about={"ovcore": ov.__version__, "date": "2025-03-01", "seed": 0, "sha256": "12" * 32,
               "recipe": {"labelled": 100}},
        files={"study.json": "all tables", "a b.csv": "with a space in its name"},
    )  # fmt: skip
