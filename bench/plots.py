"""Time against the number of models and of samples, both axes logarithmic: how the cost grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cases import Case
from tables import NATIVE, fixed_size, in_words

mpl.use("Agg")  # draws to files; no screen is needed

# Okabe and Ito's colours, told apart with every kind of colour vision
COLOURS = {
    NATIVE: "#000000",
    "ovcore numba": "#0072B2",
    "numpy float32 product": "#D55E00",
    "torch._int_mm int8": "#CC79A7",
    "numkong dots_symmetric uint1": "#009E73",
    "simsimd cdist hamming": "#E69F00",
}
SLOPE = {"models": 2, "samples": 1}
APART = 0.05  # least distance of labels, as a share of the axis


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """One figure an axis; returns the files."""
    return [draw_axis(axis, rows, folder) for axis, rows in record["growth"].items()]


def draw_axis(axis: str, rows: list[dict[str, Any]], folder: Path) -> Path:
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xscale="log", yscale="log")
    ends = []
    for name, colour in COLOURS.items():
        points = sorted(
            (row["case"][axis], 1e3 * row["seconds"])
            for row in rows
            if row["contestant"] == name and not row["problem"]
        )
        if not points:
            continue
        sizes, times = zip(*points, strict=True)
        width = 2.2 if name == NATIVE else 1.3
        axes.plot(sizes, times, "o-", color=colour, linewidth=width, markersize=4)
        ends.append((sizes[-1], times[-1], name, colour))
    lowest = min(ends, key=lambda end: end[1] / end[0] ** SLOPE[axis])
    guide(axes, axis, min(row["case"][axis] for row in rows), lowest[:2])
    axes.autoscale_view()  # now, as labels go by where curves end on the page
    label(axes, ends)
    about = f"{fixed_size(axis, Case(**rows[0]['case']))}, {in_words(rows[0]['threads'])}"
    axes.set_title(f"Joint errors of all pairs, {about}", loc="left")
    axes.set_xlabel(f"number of {axis}, {axis[0].upper().replace('S', 'N')}")
    axes.set_ylabel("time (ms)")
    for numbers in (axes.xaxis, axes.yaxis):
        numbers.set_major_formatter(lambda value, _: f"{value:,.9g}")
    axes.grid(color="0.92", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    path = folder / f"joint_errors_vs_{axis}.png"
    figure.savefig(path, dpi=150)
    return path


def guide(axes: Axes, axis: str, smallest: float, end: tuple[float, float]) -> None:
    """A light line of proportional growth, a third below the curve that ends lowest."""
    largest, time = end[0], end[1] / 3
    start = time * (smallest / largest) ** SLOPE[axis]
    axes.plot([smallest, largest], [start, time], color="0.75", zorder=0)
    axes.annotate(
        "proportional to " + ("M²" if axis == "models" else "N"),
        ((smallest * largest) ** 0.5, (start * time) ** 0.5),
        xytext=(8, -12),
        textcoords="offset points",
        color="0.45",
        fontsize=9,
    )


def label(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """The name at each curve's end; where curves end together, right of the axes and apart."""
    to_axes = axes.transScale + axes.transLimits
    last, at = max(end[0] for end in ends), 1 + APART
    for x, y, name, colour in sorted(ends, key=lambda end: -end[1]):
        text = {"text": name, "xy": (x, y), "color": colour, "fontsize": 9}
        if x < last:
            axes.annotate(**text, xytext=(0, 7), textcoords="offset points", ha="center")
            continue
        at = min(float(to_axes.transform((x, y))[1]), at - APART)
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5)}
        axes.annotate(
            **text, xytext=(1.03, at), textcoords=axes.transAxes, va="center", arrowprops=line
        )
