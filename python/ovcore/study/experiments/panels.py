"""Panels that several figures share: models by category, and models against a measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ovcore.study.charts import COLORS, GREY, SYMBOLS, Axis, Layer, Line, Panel, Points, numbers

FAR = 1.5
"""How many times the span of the models in the range all models must have to be cut off."""

BEYOND = (
    "Where models outside the accuracy range would crowd the others, they lie beyond the axes; the "
    "button below the figure shows them."
)


def marks(
    rows: pd.DataFrame, x: NDArray[np.float64] | pd.Series, metric: str, category: str,
    *, named: bool = False,
) -> Iterator[Points]:  # fmt: skip
    """One point a model of the category, hollow outside the accuracy range."""
    mine = (rows["category"] == category).to_numpy()
    inside = rows["in_band"].to_numpy(bool)
    for within in (True, False):
        chosen = mine & (inside == within)
        if chosen.any():
            yield Points(
                numbers(np.asarray(x)[chosen]),
                numbers(rows.loc[chosen, metric]),
                COLORS[category],
                SYMBOLS[category],
                name=category if named else "",
                text=tuple(rows.loc[chosen, "model"]),
                hollow=not within,
                size=7,
            )


def by_category(models: pd.DataFrame, means: pd.DataFrame, metric: str, axis: Axis) -> Panel:
    """Every model as a point beside its category's mean and two standard errors."""
    categories = list(means["category"])
    # Sideways scatter, so that points do not hide each other.
    places = dict(zip(categories, range(len(categories)), strict=True))
    sideways = np.random.default_rng(0).uniform(-0.25, 0.01, len(models))
    x = models["category"].map(places).to_numpy(float) + sideways
    layers: list[Layer] = []
    for place, category in enumerate(categories):
        layers += marks(models, x, metric, category)
        row = means[means["category"] == category]
        layers.append(mean_mark(place + 0.24, row, metric, category))
    ticks = tuple((float(place), name) for name, place in places.items())
    x_axis = Axis(ticks=ticks, limits=(-0.5, len(places) - 0.4))
    return Panel(tuple(layers), x=x_axis, y=_near(axis, models, metric))


def _near(axis: Axis, models: pd.DataFrame, metric: str) -> Axis:
    """The axis cut to the models in the range, where others are so far out that they crowd them."""
    inside = models.loc[models["in_band"], metric].dropna()
    everywhere = models[metric].dropna()
    if inside.nunique() < 2:
        return axis
    low, high = inside.min(), inside.max()
    if everywhere.max() - everywhere.min() < FAR * (high - low):
        return axis
    margin = 0.1 * (high - low)
    bottom = 0.0 if axis.from_zero and low >= 0 else low - margin
    return replace(axis, limits=(bottom, high + margin))


def mean_mark(x: float, row: pd.DataFrame, metric: str, category: str) -> Points:
    """The category's mean with two standard errors."""
    return Points(
        (x,),
        numbers(row[metric]),
        COLORS[category],
        SYMBOLS[category],
        text=(f"mean of {category}",),
        error=numbers(2 * row[f"{metric}_se"]),
        size=12,
        edged=True,
    )


def against(
    models: pd.DataFrame, means: pd.DataFrame, x: str, metric: str, axes: tuple[Axis, Axis]
) -> Panel:
    """Models as points over the measure ``x``, with stars for the category means."""
    layers: list[Layer] = []
    for category in means["category"]:
        layers += marks(models, models[x], metric, category, named=True)
    for _, row in means.iterrows():
        layers.append(
            Points(
                numbers([row[x]]),
                numbers([row[metric]]),
                COLORS[row["category"]],
                "star",
                text=(f"mean of {row['category']}",),
                size=16,
                edged=True,
            )
        )
    return Panel(tuple(layers), x=_near(axes[0], models, x), y=_near(axes[1], models, metric))


def diagonal(ends: Sequence[float]) -> Line:
    """Where both axes have the same value."""
    return Line(tuple(ends), tuple(ends), GREY, dash="dot")


def spoken(means: pd.DataFrame, metric: str, digits: str = ".3f", unit: str = "") -> str:
    """Means by category, for who cannot see the figure."""
    return ", ".join(
        f"{row['category']} "
        + (f"{row[metric]:{digits}}{unit}" if row[metric] == row[metric] else "unknown")
        for _, row in means.iterrows()
    )
