"""Panels as plotly draws them in the browser."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable
from html import escape
from itertools import groupby
from typing import Any

import plotly.graph_objects as go
import plotly.io
from matplotlib.colors import to_rgb

from ovcore.study.charts import GREY, Axis, Bars, Line, Panel, Points, Ribbon, Rule
from ovcore.study.paint.layers import FADED, drawn, legend_entries, rule_levels

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_TICK_SIZE = 12
_AXIS = {
    "automargin": True, "title": {"font": {"size": 13}}, "tickfont": {"size": _TICK_SIZE},
}  # fmt: skip
_STYLE: dict[str, Any] = {
    "font": {"family": _FONT, "size": 13},
    "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
    "hoverlabel": {"font": {"family": _FONT}},
    "legend": {
        "orientation": "h", "traceorder": "normal",
        "x": 0, "y": 0, "yref": "container", "yanchor": "bottom",
    },
    "xaxis": {**_AXIS, "autotickangles": [0, -35, -90], "ticklabeloverflow": "allow"},
    "yaxis": _AXIS,
}  # fmt: skip
_SYMBOLS = {
    "circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up",
    "cross": "cross", "star": "star", "pentagon": "pentagon",
}  # fmt: skip


def template() -> dict[str, Any]:
    """What all panels share, as plain JSON: a page sets it once, as each one's layout.template."""
    style = go.layout.Template(plotly.io.templates["simple_white"])
    style.layout.update(_STYLE)
    return style.to_plotly_json()


def panel(panel: Panel, *, height: int, legend: bool = True) -> dict[str, Any]:
    """What plotly draws, without title and without :func:`template`.

    Layers without values are left out; values that are not finite are null.

    Args:
        panel: what to draw.
        height: in pixels, with axes and legend.
        legend: whether layers that have names are in a legend.

    Returns:
        {"data", "layout"} of plain JSON; of the same panel always the same.
    """
    layers = drawn(panel.layers)
    entries, levels = legend_entries(layers), rule_levels(layers)
    figure = go.Figure()
    for layer in layers:
        if isinstance(layer, Rule):
            _add_rule(figure, layer, levels.get(layer.at, 0))
        else:
            figure.add_trace(_trace(layer, panel, entries.get(layer.name) is layer))
    figure.update_layout(height=height, showlegend=legend and bool(entries))
    if any(isinstance(layer, Bars) for layer in layers):
        figure.update_layout(barmode="stack")
    if levels:
        figure.update_layout(margin={"t": 28 + 14 * max(levels.values())})
    figure.update_layout(xaxis=_axis(panel.x, 340), yaxis=_axis(panel.y, max(110, height - 110)))
    specification = figure.to_plotly_json()
    specification["layout"].pop("template", None)  # plotly's own, of several kB
    return specification


def _trace(layer: Points | Line | Ribbon | Bars, panel: Panel, in_legend: bool) -> Any:
    options: dict[str, Any] = {"showlegend": in_legend}
    if layer.name:
        options |= {"name": _escaped(layer.name), "legendgroup": layer.name}
    if isinstance(layer, Ribbon):
        x, y = _outline(layer)
        return go.Scatter(
            x=x, y=y, mode="lines", line={"width": 0}, fill="toself", fillcolor=_faded(layer.color),
            hoverinfo="skip", **options,
        )  # fmt: skip
    options["hovertemplate"] = _hover(layer, panel)
    if not isinstance(layer, Line) and layer.text:
        options["hovertext"] = [_wrapped(text, 44) for text in layer.text]
    x = _plain(layer.x)
    if isinstance(layer, Bars):
        return go.Bar(x=x, y=_plain(layer.height), marker={"color": layer.color}, **options)
    if layer.error:
        options["error_y"] = {"array": _plain(layer.error), "thickness": 1.5, "width": 5}
    if layer.hidden:
        options["visible"] = "legendonly"
    if isinstance(layer, Points):
        options |= {"mode": "markers", "marker": _marker(layer)}
    else:
        options |= _line(layer)
    return go.Scatter(x=x, y=_plain(layer.y), **options)


def _marker(layer: Points) -> dict[str, Any]:
    marker: dict[str, Any] = {
        "color": layer.color,
        "symbol": _SYMBOLS[layer.symbol] + ("-open" if layer.hollow else ""),
        "size": layer.size,
        "opacity": 1 if layer.edged else 0.75,
    }
    if layer.edged:
        marker["line"] = {"color": "black", "width": 1.2}
    return marker


def _line(layer: Line) -> dict[str, Any]:
    options: dict[str, Any] = {
        "mode": "lines+markers" if layer.marked else "lines",
        "line": {"color": layer.color, "dash": layer.dash, "width": 2},
    }
    if layer.marked:
        options["marker"] = {"symbol": _SYMBOLS[layer.marked], "size": 7}
    if layer.steps:
        options["line"]["shape"] = "hvh"
    if layer.filled:
        options |= {"fill": "tozeroy", "fillcolor": _faded(layer.color)}
    return options


def _outline(layer: Ribbon) -> tuple[list[float | None], list[float | None]]:
    """There along high and back along low; one closed line for each run without gaps."""
    x: list[float | None] = []
    y: list[float | None] = []
    values = zip(layer.x, layer.low, layer.high, strict=True)
    for whole, run in groupby(values, key=lambda row: all(map(math.isfinite, row))):
        if whole:
            at, low, high = zip(*run, strict=True)
            x += [*([None] if x else []), *at, *at[::-1]]
            y += [*([None] if y else []), *high, *low[::-1]]
    return x, y


def _add_rule(figure: go.Figure, rule: Rule, level: int) -> None:
    upright = rule.axis == "x"
    along, across = ("y", "x") if upright else ("x", "y")
    figure.add_shape(
        type="line", layer="below", line={"color": GREY, "width": 1}, opacity=0.6,
        **{f"{across}0": rule.at, f"{across}1": rule.at, f"{across}ref": across},
        **{f"{along}0": 0, f"{along}1": 1, f"{along}ref": f"{along} domain"},
    )  # fmt: skip
    if rule.text:
        figure.add_annotation(
            text=_escaped(rule.text), showarrow=False, borderpad=0,
            font={"size": 11, "color": GREY},
            **{across: rule.at, f"{across}ref": across, along: 1, f"{along}ref": f"{along} domain"},
            xanchor="center" if upright else "right", yanchor="bottom",
            yshift=14 * level if upright else 0,
        )  # fmt: skip


def _axis(axis: Axis, room: int) -> dict[str, Any]:
    """``room`` along it in pixels, of which a character of its title takes about 7."""
    options: dict[str, Any] = {}
    if axis.title:
        options["title"] = {"text": _wrapped(axis.title, room // 7)}
    if axis.format:
        options |= {"tickformat": axis.format, "hoverformat": axis.format}
    if axis.ticks:
        options["tickvals"] = [float(at) for at, _ in axis.ticks]
        options["ticktext"] = [_escaped(_shortened(words)) for _, words in axis.ticks]
        size = max(8, int(0.9 * room / len(axis.ticks)))
        if size < _TICK_SIZE:
            options["tickfont"] = {"size": size}
    if axis.limits:
        options["range"] = [float(end) for end in axis.limits]
    if axis.from_zero:
        options["rangemode"] = "tozero"
    return options


def _hover(layer: Points | Line | Bars, panel: Panel) -> str:
    """The mark's own name, then its values; plotly formats these as the axes do."""
    named = not isinstance(layer, Line) and bool(layer.text)
    lines = ["<b>%{hovertext}</b>"] if named else []
    heights = layer.height if isinstance(layer, Bars) else layer.y
    # %{y} brings its error along.
    for axis, values, place in ((panel.x, layer.x, "%{x}"), (panel.y, heights, "%{y}")):
        if _has_numbers(axis) or (not named and set(values) <= {at for at, _ in axis.ticks}):
            lines.append(f"{_literal(axis.title)}: {place}" if axis.title else place)
    return "<br>".join(lines) + f"<extra>{_literal(layer.name)}</extra>"


def _has_numbers(axis: Axis) -> bool:
    """Whether values say something on it: between words that are no numbers they do not."""
    return all(words.replace("−", "-").strip("%° ") == f"{at:g}" for at, words in axis.ticks)


def _faded(color: str) -> str:
    red, green, blue = (round(255 * part) for part in to_rgb(color))
    return f"rgba({red},{green},{blue},{FADED})"


def _plain(values: Iterable[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _escaped(text: str) -> str:
    """As it is, where plotly reads tags."""
    return escape(text, quote=False)


def _literal(text: str) -> str:
    """As it is, also where plotly puts values in place of %{...}."""
    return _escaped(text).replace("%{", "&#37;{")


def _shortened(words: str) -> str:
    """To both its ends, where it is longer than there is room for below an axis."""
    return words if len(words) <= 26 else f"{words[:13]}…{words[-12:]}"


def _wrapped(text: str, width: int) -> str:
    return "<br>".join(map(_escaped, textwrap.wrap(text, width)))
