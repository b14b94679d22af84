"""The study's page: one HTML file that asks nothing of the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ovcore.study import feature_figures, figures
from ovcore.study.features import CURVES_EACH, PROBE, SEEDS, STEP
from ovcore.study.findings import PAPER, Finding
from ovcore.study.measure import ACCURACY_BAND, CATEGORIES, Measurement


@dataclass(frozen=True)
class Plot:
    """A figure with the words that stand for it where it cannot be seen."""

    name: str
    title: str
    alternative: str
    figure: go.Figure


def render(
    measurements: list[Measurement],
    *,
    pairs: pd.DataFrame,
    models: pd.DataFrame,
    categories: pd.DataFrame,
    table: pd.DataFrame,
    features: dict[str, pd.DataFrame],
    curves: pd.DataFrame,
    findings: list[Finding],
    about: dict[str, Any],
) -> str:
    """The page as text. ``about`` is what study.json says of the run."""
    first = measurements[0]
    means = categories.set_index("category")

    def spoken(metric: str, of: pd.DataFrame = categories) -> str:
        values = of.set_index("category")[metric]
        return ", ".join(f"{name} {values[name]:.3f}" for name in CATEGORIES)

    plots = {
        "by_category": [
            Plot(
                "inconsistency", "Error inconsistency",
                f"Mean error inconsistency by category: {spoken('error_inconsistency')}.",
                figures.by_category(
                    models, categories, "error_inconsistency", "error inconsistency"
                ),
            ),
            Plot(
                "chance", "Relative to chance",
                f"Inconsistency relative to chance by category: {spoken('relative_to_chance')}.",
                figures.by_category(
                    models, categories, "relative_to_chance", "inconsistency / by chance"
                ),
            ),
        ],
        "ensembles": [
            Plot(
                "gain", "Gain over the members' mean accuracy",
                f"Gain against inconsistency; means: {spoken('gain')}.",
                figures.against_inconsistency(
                    models, categories, "gain", "ensemble gain"
                ),
            ),
            Plot(
                "conversion", "Conversion rate",
                f"Conversion rate against inconsistency; means: {spoken('conversion_rate')}.",
                figures.against_inconsistency(
                    models, categories, "conversion_rate", "conversion rate"
                ),
            ),
        ],
        "heatmap": [
            Plot(
                "heatmap", "",
                "Matrix of error inconsistency for all pairs of models, clustered.",
                figures.heatmap(first, models),
            ),
        ],
        "theta": [
            Plot(
                f"theta-{category}", category,
                f"Distribution of the specialization angle for {category} pairs; the gap between "
                f"its means is {means.loc[category, 'theta_gap']:.1f} degrees.",
                figures.theta_histogram(first, pairs[pairs["split"] == 0], category),
            )
            for category in CATEGORIES
        ],
        "mixing": [
            Plot(
                "mixtures", "Mixtures",
                "Probe accuracy of mixtures of two models' features, minus that of the base's; "
                f"half and half: {spoken('over_base', features['mixing'])}.",
                feature_figures.mixtures(features["rates"]),
            ),
            Plot(
                "halves", "Half of each",
                "Probe accuracy of half and half, minus that of the other model's features: "
                f"{spoken('over_other', features['mixing'])}.",
                feature_figures.halves(features["mixing"]),
            ),
        ],
        "dimensions": [
            Plot(
                f"dimensions-{category}", category,
                f"Probe accuracy against the number of dimensions of {category} pairs, most "
                "diverse first, least diverse first, and in random order.",
                feature_figures.curves(curves, category),
            )
            for category in CATEGORIES
        ],
    }  # fmt: skip
    specifications = {
        plot.name: json.loads(plot.figure.to_json()) for group in plots.values() for plot in group
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ovcore.study"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = _fixed
    bases = [first.cards[m].name for m in first.bases]
    outside = models[~models["in_band"]].sort_values("accuracy")
    return environment.get_template("page.html.j2").render(
        about=about,
        categories=categories.to_dict("records"),
        table=table.to_dict("records"),
        findings=findings,
        outside=outside.to_dict("records"),
        n_models=len(first.cards),
        n_samples=first.comparison.n_samples,
        base=first.comparison.base,
        base_accuracy=pairs["base_accuracy"].mean(),
        n_bases=len(bases),
        band=ACCURACY_BAND,
        best=_best_partner(pairs),
        twin_gain=pairs[pairs["category"] == "REINIT"]["gain_over_base"].mean(),
        means=means.to_dict("index"),
        fewest=features["fewest"].to_dict("records"),
        mixing=features["mixing"].to_dict("records"),
        colors=figures.COLORS,
        curves_each=CURVES_EACH,
        seeds=SEEDS,
        step=STEP,
        probe_c=PROBE.C,
        paper=PAPER,
        plots=plots,
        # "<" cannot occur in a script element unescaped without ending it somewhere.
        specifications=json.dumps(specifications, sort_keys=True).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
    )


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value == value else "–"


def _best_partner(pairs: pd.DataFrame) -> dict[str, Any]:
    """Of the models no more accurate than the bases, the one that adds most to their accuracy."""
    by_model = pairs.groupby("model")[["accuracy", "gain_over_base"]].mean()
    by_model = by_model[by_model["accuracy"] <= pairs["base_accuracy"].mean()]
    name = by_model["gain_over_base"].idxmax()
    return {"name": name, **by_model.loc[name].to_dict()}
