"""Fig. 8: the three outcomes of a pair, model by model."""

from __future__ import annotations

from dataclasses import replace

from ovcore.study.charts import Axis, Chart
from ovcore.study.experiments import fig1
from ovcore.study.experiments.panels import BEYOND, by_category, spoken
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import category_rows, errors_over, model_rows
from ovcore.study.results import Experiment, Result


def run(models: Models) -> Result:
    """Shares of both right, exactly one right and both wrong, of every model with the bases."""
    subject = as_subject(models)
    metrics = tuple(fig1.OUTCOMES)
    return Result(
        tables={
            "models": model_rows(subject.pairs)[["category", "model", "in_band", *metrics]],
            "categories": category_rows(subject, metrics),
        },
        choices={"standard errors": errors_over(subject)},
        notes=(BEYOND,),
    )


def draw(result: Result) -> list[Chart]:
    """One panel an outcome."""
    means, models = result.tables["categories"], result.tables["models"]
    panels = tuple(
        replace(
            by_category(models, means, metric, Axis("share of samples", ".1%")),
            title=name.capitalize(),
        )
        for metric, name in fig1.OUTCOMES.items()
    )
    said = (f"{name}: {spoken(means, metric)}" for metric, name in fig1.OUTCOMES.items())
    return [
        Chart(
            "fig8",
            "Outcomes, model by model",
            f"Means by category. {'. '.join(said).capitalize()}.",
            panels,
            "models",
            columns=3,
        )
    ]


EXPERIMENT = Experiment(
    "fig8",
    "Outcomes, model by model",
    "The three shares of Fig. 1 for every model. They add up to 1: at given accuracies, a sample "
    "more on which exactly one is right is half a sample less that both get right and half a "
    "sample less that both get wrong.",
    (),
    run,
    draw,
)
