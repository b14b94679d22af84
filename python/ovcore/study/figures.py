"""The page's figures, as plotly draws them in the browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from ovcore.study.measure import CATEGORIES, Measurement, theta

# Okabe and Ito's colours, which colour-blind readers tell apart; categories also differ in shape.
COLORS = {
    "BASE": "#000000", "REINIT": "#0072B2", "HPARAM": "#56B4E9", "ARCH": "#009E73",
    "FWORK": "#E69F00", "DATASET": "#D55E00",
}  # fmt: skip
SYMBOLS = {
    "REINIT": "circle", "HPARAM": "square", "ARCH": "diamond", "FWORK": "triangle-up",
    "DATASET": "cross",
}  # fmt: skip
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


def new_figure(x_title: str, y_title: str, *, height: int = 400) -> go.Figure:
    """An empty figure in the page's style."""
    figure = go.Figure()
    figure.update_layout(
        template="simple_white",
        font={"family": _FONT, "size": 13},
        height=height,
        margin={"l": 64, "r": 12, "t": 12, "b": 56},
        showlegend=False,
        hoverlabel={"font": {"family": _FONT}},
    )
    figure.update_xaxes(title=x_title, automargin=True)
    figure.update_yaxes(title=y_title, automargin=True)
    return figure


def _in_and_out(models: pd.DataFrame, category: str) -> list[tuple[pd.DataFrame, bool]]:
    """The category's models inside the accuracy band, and those outside."""
    mine = models[models["category"] == category]
    return [(mine[mine["in_band"] == inside], inside) for inside in (True, False)]


def _add_models(
    figure: go.Figure,
    shown: pd.DataFrame,
    x: Any,
    metric: str,
    category: str,
    inside: bool,
    **options: Any,
) -> None:
    """One point a model, hollow outside the accuracy band."""
    figure.add_scatter(
        x=x,
        y=shown[metric],
        mode="markers",
        marker={
            "color": COLORS[category],
            "symbol": SYMBOLS[category] + ("" if inside else "-open"),
            "size": 8,
            "opacity": 0.75,
        },
        text=shown["model"],
        customdata=shown[["accuracy", "error_inconsistency"]],
        hovertemplate="<b>%{text}</b><br>%{y:.4f}<br>accuracy %{customdata[0]:.4f}"
        "<br>inconsistency %{customdata[1]:.4f}"
        f"<extra>{category}{'' if inside else ', outside the band'}</extra>",
        **options,
    )


def by_category(
    models: pd.DataFrame, categories: pd.DataFrame, metric: str, title: str, *, unit: str = ""
) -> go.Figure:
    """Every model as a point beside its category's mean and two standard errors."""
    figure = new_figure("", title)
    if unit:
        figure.update_yaxes(ticksuffix=unit)
    generator = np.random.default_rng(0)  # sideways scatter, so that points do not hide each other
    for place, category in enumerate(CATEGORIES):
        for shown, inside in _in_and_out(models, category):
            sideways = generator.uniform(-0.13, 0.13, len(shown))
            _add_models(figure, shown, place - 0.12 + sideways, metric, category, inside)
        row = categories[categories["category"] == category].iloc[0]
        figure.add_scatter(
            x=[place + 0.24],
            y=[row[metric]],
            error_y={"array": [2 * row[f"{metric}_se"]], "thickness": 2, "width": 6},
            mode="markers",
            marker={"color": COLORS[category], "symbol": SYMBOLS[category], "size": 13,
                    "line": {"color": "black", "width": 1.5}},
            hovertemplate=f"mean %{{y:.4f}} ± {row[f'{metric}_se']:.4f}<extra>{category}</extra>",
        )  # fmt: skip
    figure.update_xaxes(
        tickvals=list(range(len(CATEGORIES))),
        ticktext=list(CATEGORIES),
        tickangle=0,
        tickfont={"size": 11},
        range=[-0.5, len(CATEGORIES) - 0.4],
    )
    figure.update_layout(margin={"l": 48, "b": 36})
    figure.update_yaxes(rangemode="tozero")
    return figure


def against_inconsistency(
    models: pd.DataFrame, categories: pd.DataFrame, metric: str, title: str
) -> go.Figure:
    """A metric of each model's ensembles over error inconsistency, with stars for the means."""
    figure = new_figure("error inconsistency with the base", title)
    for category in CATEGORIES:
        for shown, inside in _in_and_out(models, category):
            _add_models(
                figure, shown, shown["error_inconsistency"], metric, category, inside,
                showlegend=inside, name=category, legendgroup=category,
            )  # fmt: skip
    for _, row in categories.iterrows():
        figure.add_scatter(
            x=[row["error_inconsistency"]],
            y=[row[metric]],
            mode="markers",
            showlegend=False,
            marker={"color": COLORS[row["category"]], "symbol": "star", "size": 17,
                    "line": {"color": "black", "width": 1.2}, "opacity": 0.9},
            hovertemplate=f"{row['category']} mean<br>inconsistency %{{x:.4f}}<br>%{{y:.4f}}"
            "<extra></extra>",
        )  # fmt: skip
    band = models[models["in_band"]]
    slope, intercept = np.polyfit(band["error_inconsistency"], band[metric], 1)
    ends = np.array([band["error_inconsistency"].min(), band["error_inconsistency"].max()])
    figure.add_scatter(
        x=ends,
        y=intercept + slope * ends,
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
        line={"color": "#666666", "dash": "dot", "width": 1.5},
    )
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.2, "x": 0})
    if not models["in_band"].all():
        _offer_zoom(figure, band["error_inconsistency"], band[metric])
    return figure


def _offer_zoom(figure: go.Figure, x: pd.Series, y: pd.Series) -> None:
    """Starts at the models in the band, which the few far outside would crowd; buttons switch."""

    def around(values: pd.Series) -> list[float]:
        margin = 0.08 * (values.max() - values.min())
        return [float(values.min() - margin), float(values.max() + margin)]

    near = {"xaxis.range": around(x), "yaxis.range": around(y)}
    far = {"xaxis.autorange": True, "yaxis.autorange": True}
    figure.update_xaxes(range=near["xaxis.range"])
    figure.update_yaxes(range=near["yaxis.range"])
    buttons = [
        {"label": label, "method": "relayout", "args": [ranges]}
        for label, ranges in (("in the accuracy band", near), ("all models", far))
    ]
    figure.update_layout(
        margin={"t": 44},
        updatemenus=[{
            "type": "buttons", "direction": "right", "buttons": buttons, "showactive": True,
            "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "b": 4},
            "font": {"size": 12},
        }],
    )  # fmt: skip


def heatmap(m: Measurement, models: pd.DataFrame) -> go.Figure:
    """Error inconsistency of all pairs, models that err alike side by side."""
    order = m.comparison.clustered_order()
    names = [m.comparison.models[i] for i in order]
    matrix = np.asarray(m.comparison.error_inconsistency)[np.ix_(order, order)]
    assert m.comparison.ensembles is not None
    combined = np.asarray(m.comparison.ensembles.accuracy)[np.ix_(order, order)]
    # Models far outside the band would take all the colours: they share the last one.
    inside = np.isin(names, models.loc[models["in_band"], "model"])
    between = np.triu(np.outer(inside, inside), 1)
    low, high = np.quantile(matrix[between], [0.0, 0.98])
    figure = new_figure("", "", height=240 + 13 * len(names))
    figure.add_heatmap(
        z=np.round(matrix, 5),
        x=names,
        y=names,
        customdata=np.round(combined, 4),
        colorscale="Cividis",
        zmin=low,
        zmax=high,
        colorbar={
            "title": {
                "text": f"inconsistency ({high:.2f} and above: last colour)",
                "side": "right",
            },
            "thickness": 14,
        },
        hovertemplate="%{y}<br>%{x}<br>inconsistency %{z:.4f}"
        "<br>ensemble accuracy %{customdata:.4f}<extra></extra>",
    )
    # Each name carries its category's mark, in the colour of the other figures.
    colored = [
        f'<span style="color:{COLORS[m.cards[i].category]}">■</span> {m.cards[i].name}'
        for i in order
    ]
    ticks = {"tickmode": "array", "tickvals": names, "ticktext": colored, "tickfont": {"size": 10}}
    figure.update_xaxes(tickangle=-90, **ticks)
    figure.update_yaxes(autorange="reversed", **ticks)
    return figure


def theta_histogram(m: Measurement, pairs: pd.DataFrame, category: str) -> go.Figure:
    """Specialization angles of a category's pairs: where only the base is right, or the other."""
    edges = np.linspace(-45, 45, 31)
    counts = {"base": np.zeros(30), "other": np.zeros(30)}
    index = {name: i for i, name in enumerate(m.comparison.models)}
    chosen = pairs[(pairs["category"] == category) & pairs["in_band"]]
    for base_name, model_name in zip(chosen["base"], chosen["model"], strict=True):
        base, model = index[base_name], index[model_name]
        angle = np.degrees(theta(m, base, model))
        counts["base"] += np.histogram(angle[m.right[base] & ~m.right[model]], edges)[0]
        counts["other"] += np.histogram(angle[m.right[model] & ~m.right[base]], edges)[0]
    figure = new_figure("θ, degrees", "", height=240)
    figure.update_layout(margin={"l": 36})
    centres = (edges[:-1] + edges[1:]) / 2
    for who, color in (("base", "#000000"), ("other", COLORS[category])):
        total = max(counts[who].sum(), 1)
        figure.add_scatter(
            x=centres,
            y=np.round(counts[who] / total, 5),
            mode="lines",
            line={"color": color, "shape": "hvh", "dash": "dot" if who == "base" else "solid"},
            fill="tozeroy" if who == "other" else None,
            name=f"only the {who} is right" if who == "base" else "only the other is right",
            hovertemplate="%{x:.0f}°: %{y:.3f}<extra>only the " + who + " is right</extra>",
        )
    figure.add_vline(x=0, line={"color": "#999999", "width": 1})
    figure.update_xaxes(range=[-45, 45], tickvals=[-45, 0, 45])
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    return figure
