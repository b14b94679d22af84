"""Fig. 1: the three outcomes of a pair, by training category."""

from __future__ import annotations

from dataclasses import replace

from ovcore.study.categories import apart, ordered
from ovcore.study.charts import Axis, Bars, Chart, Panel, numbers
from ovcore.study.experiments.panels import BEYOND, by_category, spoken
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import category_rows, category_samples, errors_over, model_rows
from ovcore.study.results import Experiment, Result

METRICS = ("both_right", "error_inconsistency", "both_wrong", "relative_to_chance", "accuracy")
OUTCOMES = {"both_right": "both right", "error_inconsistency": "exactly one right",
            "both_wrong": "both wrong"}  # fmt: skip
OUTCOME_COLORS = {"both_right": "#9fb8cc", "error_inconsistency": "#D55E00",
                  "both_wrong": "#4d4d52"}  # fmt: skip
CLAIMS = (
    "Models trained on other data err more differently than models of another seed.",
    "The more the training differs, the more inconsistent the errors: "
    "REINIT < HPARAM < ARCH < FWORK < DATASET.",
)


def run(models: Models) -> Result:
    """Means of the three outcome shares by category, and of inconsistency relative to chance."""
    subject = as_subject(models)
    samples = category_samples(subject.pairs, METRICS)
    columns = ["category", "model", "in_band", *METRICS]
    return Result(
        tables={
            "categories": category_rows(subject, METRICS),
            "models": model_rows(subject.pairs)[columns],
        },
        findings=(
            apart(samples, "error_inconsistency", CLAIMS[0]),
            ordered(samples, "error_inconsistency", CLAIMS[1]),
        ),
        choices={"standard errors": errors_over(subject)},
        notes=(BEYOND,),
    )


def draw(result: Result) -> list[Chart]:
    """Shares as stacked bars, and inconsistency as it is and relative to chance."""
    means, models = result.tables["categories"], result.tables["models"]
    places = numbers(range(len(means)))
    ticks = tuple(zip(places, means["category"], strict=True))
    shares = Panel(
        tuple(
            Bars(places, numbers(means[m]), OUTCOME_COLORS[m], name, tuple(means["category"]))
            for m, name in OUTCOMES.items()
        ),
        x=Axis(ticks=ticks),
        y=Axis("share of samples", ".0%", from_zero=True),
        title="Outcomes of a pair",
    )
    raw = by_category(
        models, means, "error_inconsistency", Axis("error inconsistency", ".1%", from_zero=True)
    )
    chance = by_category(
        models, means, "relative_to_chance",
        Axis("inconsistency / by chance", ".2f", from_zero=True),
    )  # fmt: skip
    return [
        Chart(
            "fig1",
            "What two models do on the same sample",
            "Mean shares by category. Exactly one right: "
            f"{spoken(means, 'error_inconsistency')}. Both wrong: {spoken(means, 'both_wrong')}. "
            f"Inconsistency relative to chance: {spoken(means, 'relative_to_chance')}.",
            (
                shares,
                replace(raw, title="Error inconsistency"),
                replace(chance, title="Relative to chance"),
            ),
            "categories",
            columns=3,
        )
    ]


EXPERIMENT = Experiment(
    "fig1",
    "Errors by training category",
    "Error inconsistency is the share of samples that exactly one of two models gets right. "
    "Relative to chance it is divided by what independent errors at the same two accuracies would "
    "give, which is 1 − κ and makes pairs of different accuracy comparable. One point a model, "
    "averaged over the bases; large marks are means with two standard errors. Hollow points are "
    "outside the accuracy range and stay out of the means.",
    CLAIMS,
    run,
    draw,
    shown=("categories",),
)
