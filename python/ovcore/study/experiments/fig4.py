"""Fig. 4: classes on which one of two models is the specialist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

import ovcore as ov
from ovcore.study.charts import COLORS, GREY, Axis, Chart, Panel, Points, Rule, numbers
from ovcore.study.of_store import Models, as_subject
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Experiment, Finding, Lacking, Result
from ovcore.study.subject import CATEGORIES, OTHER, Subject

PARTNERS = 3
LISTED = 8
HEIGHT = 260
LEVEL = 0.05
SOME = 2
"""Classes that each of two models must own to be a specialist of some."""

ONE_SIDED = 6
"""Classes that all belong to one of two models: of a fair coin, once in 32 times."""

CLAIMS = (
    "Models trained on other data are specialists of whole classes: each is right alone on some "
    "of them far more often than the other.",
)


def run(models: Models) -> Result:
    """Angles, specialization and ownership of each class, of the base and up to three partners."""
    subject = as_subject(models)
    subject.need_confidences()
    partners = chosen_partners(subject)
    if not partners:
        raise Lacking("no model but the base is in the accuracy range")
    split = subject.first
    members = [split.index(subject.base), *(split.index(name) for _, name in partners)]
    assert split.temperature is not None
    found = ov.ensembles.specialization(
        [split.outputs[m] for m in members],
        split.target,
        base=0,
        temperature=split.temperature[members],
        bins=2,
    )
    n_classes = found.n_classes
    names = split.store.class_names or [str(k) for k in range(n_classes)]
    samples = np.bincount(split.target, minlength=n_classes)
    classes = pd.concat(
        [
            _rows(found.by_class(row), category, name, names, samples)
            for row, (category, name) in enumerate(partners)
        ],
        ignore_index=True,
    )
    owned = classes[classes["owner"] != ""].copy()
    owned["apart"] = (owned["only_base"] - owned["only_other"]).abs() / owned["samples"]
    owned = owned.sort_values(
        ["model", "owner", "apart"], ascending=[True, True, False], kind="stable"
    )
    most = owned.groupby(["model", "owner"], sort=False).head(LISTED)
    columns = ["category", "model", "owner", "class", "samples", "only_base", "only_other", "p"]
    return Result(
        tables={"classes": classes, "classes owned": most[columns].reset_index(drop=True)},
        findings=(_finding(classes, subject),),
        choices={
            "partners": "of the three most different categories, the model in the accuracy range "
            f"that errs most differently from {subject.base}; of fewer categories, the next of any",
            "owner": "the model that is right alone more often on the class: exact binomial test "
            f"(McNemar), Benjamini and Hochberg over all classes of a pair, {LEVEL:.0%}",
        },
        notes=(
            f"The table lists up to {LISTED} classes an owner, of the largest difference; the "
            "download has all.",
        ),
    )


def chosen_partners(subject: Subject) -> list[tuple[str, str]]:
    """(category, model): one each of the most different categories; if too few, the next of any."""
    split = subject.first
    base = split.index(subject.base)
    apart = np.asarray(split.comparison.error_inconsistency)[base]
    found = sorted(
        subject.partners(split, subject.base), key=lambda partner: -apart[split.index(partner[1])]
    )
    firsts = [
        next((partner for partner in found if partner[0] == category), None)
        for category in (*reversed(CATEGORIES), OTHER)
    ]
    chosen = [partner for partner in firsts if partner is not None][:PARTNERS]
    rest = [partner for partner in found if partner not in chosen]
    return chosen + rest[: PARTNERS - len(chosen)]


def _rows(
    found: ov.ensembles.ClassSpecialization,
    category: str,
    model: str,
    names: list[str],
    samples: NDArray[np.int64],
) -> pd.DataFrame:
    counts = np.asarray(found.counts)
    only_base, only_other = counts[:, 1], counts[:, 2]
    p = adjusted(only_base, only_other)
    owner = np.where(only_base > only_other, "base", "other")
    return pd.DataFrame({
        "category": category,
        "model": model,
        "class": names,
        "samples": samples,
        "only_base": only_base,
        "only_other": only_other,
        "theta": np.degrees(np.asarray(found.mean_angle)),
        "specialized": np.asarray(found.specialized),
        "p": p,
        "owner": np.where(p <= LEVEL, owner, ""),
    })  # fmt: skip


def adjusted(n10: NDArray[np.int64], n01: NDArray[np.int64]) -> NDArray[np.float64]:
    """Two-sided exact binomial p of (n10, n01) by class, after Benjamini and Hochberg."""
    n = n10 + n01
    p = np.minimum(1, 2 * stats.binom.cdf(np.minimum(n10, n01), n, 0.5))
    corrected: NDArray[np.float64] = stats.false_discovery_control(p)
    return corrected


def _finding(classes: pd.DataFrame, subject: Subject) -> Finding:
    """Holds where the DATASET partner and the base own some classes each.

    Fails where one owns so many and the other none that a fair coin would hardly do it.
    """
    counts = {
        (category, model): tuple(int((rows["owner"] == who).sum()) for who in ("base", "other"))
        for (category, model), rows in classes.groupby(["category", "model"], sort=False)
    }
    n = int(classes.groupby("model").size().iloc[0])
    evidence = f"of {n:,} classes, {subject.base} and the other own: " + "; ".join(
        f"{model} ({category}) {ours} and {theirs}"
        for (category, model), (ours, theirs) in counts.items()
    )
    of_data = [c for (category, _), c in counts.items() if category == "DATASET"]
    if not of_data:
        return Finding(CLAIMS[0], UNCLEAR, f"no DATASET model is in the accuracy range; {evidence}")
    fewer, more = sorted(of_data[0])
    verdict = HOLDS if fewer >= SOME else FAILS if more >= ONE_SIDED else UNCLEAR
    return Finding(CLAIMS[0], verdict, f"{evidence}; it holds where each owns {SOME} or more")


@dataclass(frozen=True)
class _Series:
    """A column by class, as a panel shows it."""

    column: str
    axis: Axis
    rule: float


_SERIES = (
    _Series("theta", Axis("mean θ, degrees", ".1f"), 0),
    _Series("specialized", Axis("specialization", ".0%", limits=(0, 1.02)), 0.5),
)


def draw(result: Result) -> list[Chart]:
    """Mean angle by class, and the share of samples on which the right one is the surer."""
    classes = result.tables["classes"]
    models = list(dict.fromkeys(classes["model"]))
    panels = [_panel(classes, model, series) for series in _SERIES for model in models]
    owners = classes.groupby("model", sort=False)["owner"].value_counts()
    few = _are_few(classes, models[0])
    longest = int(classes["class"].str.len().max())
    told = "; ".join(
        f"{model}: the base owns {owners.get((model, 'base'), 0)} classes, the other "
        f"{owners.get((model, 'other'), 0)}"
        for model in models
    )
    return [
        Chart(
            "fig4",
            "By class, in the order of the angle",
            f"Mean angle and specialization of every class. {told}.",
            tuple(panels),
            "classes",
            columns=len(models),
            height=HEIGHT + (5 * min(longest, 26) if few else 0),
        )
    ]


def _are_few(classes: pd.DataFrame, model: str) -> bool:
    """So that names fit below the axis."""
    return bool((classes["model"] == model).sum() <= 20)


def _panel(classes: pd.DataFrame, model: str, series: _Series) -> Panel:
    mine = classes[classes["model"] == model].sort_values("theta", kind="stable", ignore_index=True)
    category = mine["category"].iloc[0]
    layers: list[Points | Rule] = [Rule(series.rule)]
    for owner, color, name in (
        ("", "#b5b5ba", "neither’s"),
        ("base", "#000000", "the base’s"),
        ("other", COLORS.get(category, GREY), "the other’s"),
    ):
        rows = mine[(mine["owner"] == owner) & mine[series.column].notna()]
        layers.append(
            Points(
                numbers(rows.index),
                numbers(rows[series.column]),
                color,
                name=name,
                text=tuple(
                    f"{k}: only base {a}, only other {b}"
                    for k, a, b in zip(
                        rows["class"], rows["only_base"], rows["only_other"], strict=True
                    )
                ),
                size=7 if len(mine) <= 100 else 4,
            )
        )
    few = _are_few(classes, model)
    ticks = tuple((float(i), str(name)) for i, name in enumerate(mine["class"])) if few else ()
    return Panel(
        tuple(layers),
        x=Axis("class" if few else "classes, by angle", ticks=ticks),
        y=series.axis,
        title=f"{category}: {model}" if series is _SERIES[0] else "",
    )


EXPERIMENT = Experiment(
    "fig4",
    "Who is the specialist of which class",
    "For every class, on samples where at least one of the compared pairs differs in who is right: "
    "the mean specialization angle (above 0 the base is the surer), and the share of the samples "
    "that exactly one model gets right on which that one is the more confident. A class belongs to "
    "a model that is right alone on it significantly more often than the other.",
    CLAIMS,
    run,
    draw,
    shown=("classes owned",),
)
