"""Figures as data: what to draw, for the page and for papers alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# Okabe and Ito's colours, which colour-blind readers tell apart; categories also differ in shape.
COLORS = {
    "BASE": "#000000", "REINIT": "#0072B2", "HPARAM": "#56B4E9", "ARCH": "#009E73",
    "FWORK": "#E69F00", "DATASET": "#D55E00", "OTHER": "#7a7a80",
}  # fmt: skip
SYMBOLS = {
    "BASE": "circle", "REINIT": "circle", "HPARAM": "square", "ARCH": "diamond",
    "FWORK": "triangle", "DATASET": "cross", "OTHER": "pentagon",
}  # fmt: skip
GREY = "#66666b"


@dataclass(frozen=True)
class Axis:
    """One axis of a panel.

    Attributes:
        title: with its unit in words.
        format: of tick labels and values: "" for as short as can be, ".0%", ".1%", ".2f", ".3f".
        ticks: (position, words), instead of numbers.
        limits: lowest and highest value shown; default: what the data need.
        from_zero: whether 0 is on the axis whatever the data are.
    """

    title: str = ""
    format: str = ""
    ticks: tuple[tuple[float, str], ...] = ()
    limits: tuple[float, float] | None = None
    from_zero: bool = False


@dataclass(frozen=True)
class Points:
    """Marks at (x, y), each with a name of its own and perhaps an interval y ± error.

    Attributes:
        symbol: circle, square, diamond, triangle, cross, star or pentagon.
        name: in the legend; points of one name are shown and hidden together. "" for no entry.
        size: in points, a mark's width.
        hollow: drawn as an outline.
        edged: with a black outline, for means among points.
        hidden: on the page only after a click on its name in the legend; not in a paper's figure.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    color: str
    symbol: str = "circle"
    name: str = ""
    text: tuple[str, ...] = ()
    error: tuple[float, ...] = ()
    size: float = 8
    hollow: bool = False
    edged: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Line:
    """Values joined by a line, or as steps that are centred on x.

    Attributes:
        dash: solid, dash or dot.
        marked: with a symbol at every value; "" for none.
        error: half the intervals in y.
        filled: down to 0, lightly.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]
    color: str
    name: str = ""
    dash: str = "solid"
    marked: str = ""
    error: tuple[float, ...] = ()
    steps: bool = False
    filled: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Ribbon:
    """The area between low and high: an interval along x."""

    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    color: str
    name: str = ""


@dataclass(frozen=True)
class Bars:
    """Bars at x; those of several layers in one panel stand on one another."""

    x: tuple[float, ...]
    height: tuple[float, ...]
    color: str
    name: str = ""
    text: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A thin grey line across the panel where x, or y, is ``at``."""

    at: float
    axis: str = "y"  # "x" for an upright line
    text: str = ""


Layer: TypeAlias = Points | Line | Ribbon | Bars | Rule


@dataclass(frozen=True)
class Panel:
    """One coordinate system; layers are drawn in their order."""

    layers: tuple[Layer, ...]
    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    title: str = ""


@dataclass(frozen=True)
class Chart:
    """A figure: panels side by side.

    Attributes:
        name: unique among all charts, fit for a file: "fig2".
        title: in a few words.
        alternative: what the figure shows, in words and numbers, for who cannot see it.
        table: name of the result's table that it is drawn from, offered for download.
        columns: panels in a row where there is room.
        height: of a panel, in pixels at 96 to the inch.
    """

    name: str
    title: str
    alternative: str
    panels: tuple[Panel, ...]
    table: str
    columns: int = 2
    height: int = 400

    def __post_init__(self) -> None:
        if not self.panels:
            raise ValueError(f"a chart has one panel at least, {self.name} has none")


def numbers(values: Iterable[Any]) -> tuple[float, ...]:
    """Of an array, a column or anything else, rounded to 7 digits: more cannot be seen."""
    return tuple(float(f"{float(v):.7g}") for v in values)
