"""Charts to paint, one of every layer, and what of them is on paper."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ovcore.study.charts import Axis, Bars, Chart, Layer, Line, Panel, Points, Ribbon, Rule
from ovcore.study.paint import on_paper

NAN = math.nan
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"


def of(*layers: Layer, x: Axis | None = None, y: Axis | None = None, title: str = "") -> Panel:
    return Panel(layers, x=x or Axis(), y=y or Axis(), title=title)


def chart(*panels: Panel, columns: int = 2) -> Chart:
    return Chart("fig0", "A title", "What is seen.", panels, "table", columns=columns)


def every_layer() -> Panel:
    return of(
        Ribbon((0, 1, 2), (0.1, 0.2, 0.3), (0.3, 0.4, 0.5), GREEN, name="fit"),
        Line((0, 1, 2), (0.2, 0.3, 0.4), GREEN, name="fit", dash="dash"),
        Line((0, 1, 2), (0.5, 0.1, 0.5), BLUE, steps=True, filled=True),
        Bars((0, 1, 2), (0.1, 0.1, 0.2), BLUE, name="right"),
        Bars((0, 1, 2), (0.2, 0.1, 0.1), ORANGE, name="wrong"),
        Points((0, 1), (0.5, 0.6), ORANGE, "star", name="mean", error=(0.1, 0.2), edged=True),
        Points((0.5,), (0.7,), BLUE, "square", name="paper", hidden=True),
        Rule(0.5, text="chance"),
        Rule(1.5, axis="x", text="half"),
        x=Axis("category", ticks=((0, "BASE"), (1, "REINIT"), (2, "ARCH"))),
        y=Axis("share", format=".0%", from_zero=True),
        title="All of them",
    )


def axes_of(*layers: Layer, **axes: Any) -> Axes:
    return on_paper.draw(chart(of(*layers, **axes))).axes[0]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
