"""The page's figures of features: mixtures, and dimensions ranked by covariance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ovcore.study.features import RATES
from ovcore.study.figures import COLORS, SYMBOLS, new_figure
from ovcore.study.measure import CATEGORIES

_ORDERS = {
    "diverse": ("most diverse first", "solid", "circle"),
    "reverse": ("least diverse first", "dash", "square-open"),
    "random": ("random", "dot", "x-thin-open"),
}


def mixtures(table: pd.DataFrame) -> go.Figure:
    """Probe accuracy of mixtures over that of the base's features, by the base's share."""
    figure = new_figure("share of the base’s dimensions", "accuracy over the base’s features")
    for place, category in enumerate(CATEGORIES):
        row = table[table["category"] == category].iloc[0]
        shift = 0.008 * (place - 2)  # so that error bars do not hide each other
        figure.add_scatter(
            x=[rate + shift for rate in RATES],
            y=[row[rate] for rate in RATES],
            error_y={"array": [2 * row[f"{rate}_se"] for rate in RATES], "width": 3},
            mode="lines+markers",
            name=category,
            line={"color": COLORS[category]},
            marker={"symbol": SYMBOLS[category], "size": 9},
            hovertemplate="%{y:.2%}<extra>" + category + "</extra>",
        )
    _finish(figure)
    figure.update_xaxes(tickvals=list(RATES), tickformat=".0%")
    figure.update_yaxes(tickformat=".1%")
    return figure


def halves(table: pd.DataFrame) -> go.Figure:
    """What half of each has more than the base's features, the other's, and their mean."""
    figure = new_figure("", "accuracy of half and half, over")
    sides = {"over_base": "the base", "over_other": "the other", "over_mean": "their mean"}
    marks = {"over_base": "circle", "over_other": "diamond", "over_mean": "star"}
    for shift, (metric, name) in zip((-0.2, 0.0, 0.2), sides.items(), strict=True):
        values = table.set_index("category").loc[list(CATEGORIES)]
        figure.add_scatter(
            x=np.arange(len(CATEGORIES)) + shift,
            y=values[metric],
            error_y={"array": 2 * values[f"{metric}_se"], "width": 3, "color": "#666666"},
            mode="markers",
            name=name,
            marker={
                "symbol": marks[metric],
                "size": 11,
                "color": [COLORS[category] for category in CATEGORIES],
                "line": {"width": 2, "color": [COLORS[category] for category in CATEGORIES]},
            },
            hovertemplate="%{y:.2%}<extra>over " + name + "</extra>",
        )
    _finish(figure)
    figure.update_xaxes(tickvals=list(range(len(CATEGORIES))), ticktext=list(CATEGORIES))
    figure.update_yaxes(tickformat=".1%")
    return figure


def curves(rows: pd.DataFrame, category: str) -> go.Figure:
    """Mean probe accuracy on the first dimensions of a category's pairs, in three orders."""
    figure = new_figure("dimensions", "", height=260)
    figure.update_layout(margin={"l": 48})
    mine = rows[rows["category"] == category]
    pairs = ["split", "half", "model"]
    shortest = mine.groupby(pairs)["dims"].max().min()  # where pairs end differs: not a mean of all
    shown = mine[mine["dims"] <= shortest] if len(mine) else mine
    for order, (name, dash, symbol) in _ORDERS.items():
        of_order = shown[shown["order"] == order]
        mean = of_order.groupby("dims")["accuracy"].mean()
        everywhere = of_order.groupby("dims")["accuracy"].count()
        mean = mean[everywhere == everywhere.max()] if len(mean) else mean
        figure.add_scatter(
            x=mean.index,
            y=mean,
            mode="lines+markers",
            name=name,
            line={"color": "#000000" if order == "random" else COLORS[category], "dash": dash},
            marker={"symbol": symbol, "size": 7},
            hovertemplate="%{x} dimensions: %{y:.1%}<extra>" + name + "</extra>",
        )
    if len(mine):
        figure.add_hline(
            y=mine.drop_duplicates(pairs)["target"].mean(), line={"color": "#999999", "width": 1}
        )
    figure.update_yaxes(tickformat=".0%")
    return figure


def _finish(figure: go.Figure) -> None:
    figure.add_hline(y=0, line={"color": "#999999", "width": 1})
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2, "x": 0})
