"""Charts as matplotlib draws them for papers."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis as DrawnAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from matplotlib.transforms import BboxBase

from ovcore.study.charts import GREY, Axis, Bars, Chart, Layer, Line, Panel, Points, Ribbon, Rule
from ovcore.study.paint.layers import FADED, drawn, legend_entries, rule_levels
from ovcore.study.writing import write

_WORDS = 7.0  # size of what stands at ticks, in points
_STYLE = {
    "font.size": 8,
    "text.parse_math": False,  # names may have dollars
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "xtick.labelsize": _WORDS,
    "ytick.labelsize": _WORDS,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "errorbar.capsize": 2,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",  # text, to be searched and edited; in whatever font the reader has
    "svg.hashsalt": "ovcore",
    "pdf.fonttype": 42,  # TrueType; some publishers refuse matplotlib's default, Type 3
}
_WIDTH = 3.2  # of a panel, in inches
_SCALE = 0.6  # of what is a pixel on the page: a panel is about that much narrower here
_SYMBOLS = {
    "circle": "o", "square": "s", "diamond": "D", "triangle": "^", "cross": "P", "star": "*",
    "pentagon": "p",
}  # fmt: skip
_SIZES = {"diamond": 0.85, "star": 1.35}  # of a symbol that looks smaller or larger than others
_DASHES = {"solid": "-", "dash": "--", "dot": ":"}


def save(chart: Chart, folder: Path, *, formats: Sequence[str] = ("svg", "pdf")) -> list[Path]:
    """Writes the chart's panels as one figure; the same chart gives the same bytes.

    Args:
        chart: what to draw.
        folder: where to; made if it is not there.
        formats: "svg", "pdf" or "png", of the files ``<chart.name>.<format>``.

    Returns:
        The files. Each is written whole or not at all, and none where one cannot be drawn.

    Raises:
        OSError: where a file cannot be written.
    """
    figure = draw(chart)
    with matplotlib.style.context(_STYLE, after_reset=True):
        pictures = {kind: _encoded(figure, chart, kind) for kind in formats}
    paths = {kind: folder / f"{chart.name}.{kind}" for kind in formats}
    for kind, path in paths.items():
        write(path, pictures[kind])
    return list(paths.values())


def draw(chart: Chart) -> Figure:
    """All panels in rows, with one legend below; without hidden layers and the chart's title.

    It is the same whatever matplotlib's settings are, and changes none.
    """
    columns = min(chart.columns, len(chart.panels))
    rows = math.ceil(len(chart.panels) / columns)
    with matplotlib.style.context(_STYLE, after_reset=True):
        size = (_WIDTH * columns, rows * chart.height * _SCALE / 96)
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        artists: list[tuple[Layer, Artist]] = []
        for place, panel in enumerate(chart.panels, 1):
            artists += _draw_panel(figure.add_subplot(rows, columns, place), panel, chart.height)
        higher = _add_legend(figure, artists)
        figure.draw_without_rendering()
        higher += _fit_words(figure.axes, chart.panels, columns)
        figure.set_figheight(figure.get_figheight() + higher)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # what is placed stays, whatever draws it
    return figure


def _encoded(figure: Figure, chart: Chart, kind: str) -> bytes:
    about: dict[str, str | None] = {"Title": chart.title}
    about["Subject" if kind == "pdf" else "Description"] = chart.alternative
    if kind != "png":
        about["CreationDate" if kind == "pdf" else "Date"] = None  # each time another
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=about, dpi=200 if kind == "png" else "figure")
    return stream.getvalue()


def _draw_panel(ax: Axes, panel: Panel, height: int) -> list[tuple[Layer, Artist]]:
    """The layers with what a legend shows of them."""
    layers = [layer for layer in drawn(panel.layers) if not getattr(layer, "hidden", False)]
    places = sorted({x for layer in layers if isinstance(layer, Bars) for x in layer.x})
    width = 0.8 * min((after - before for before, after in pairwise(places)), default=1.0)
    tops: dict[float, float] = dict.fromkeys(places, 0.0)
    artists: list[tuple[Layer, Artist]] = []
    levels = rule_levels(layers)
    for order, layer in enumerate(layers, 2):
        if isinstance(layer, Rule):
            _draw_rule(ax, layer, order, levels.get(layer.at, 0))
        elif isinstance(layer, Bars):
            artists.append((layer, _draw_bars(ax, layer, order, width, tops)))
        elif isinstance(layer, Ribbon):
            area = ax.fill_between(
                layer.x, layer.low, layer.high, color=layer.color, alpha=FADED, lw=0, zorder=order
            )
            artists.append((layer, area))
        else:
            artists.append((layer, _draw_marks(ax, layer, order)))
    if panel.title:
        ax.set_title(panel.title, pad=6 + 8 * max((1 + n for n in levels.values()), default=0))
    _set_axis(ax, "x", panel.x, 48)
    _set_axis(ax, "y", panel.y, max(16, height // 10 - 6))
    return artists


def _draw_marks(ax: Axes, layer: Points | Line, order: int) -> Artist:
    style: dict[str, Any]
    if isinstance(layer, Points):
        style = {
            "linestyle": "none",
            "marker": _SYMBOLS[layer.symbol],
            "markersize": _SCALE * layer.size * _SIZES.get(layer.symbol, 1),
            "markerfacecolor": "none" if layer.hollow else layer.color,
            "markeredgecolor": "black" if layer.edged and not layer.hollow else layer.color,
            "markeredgewidth": 0.7 if layer.edged or layer.hollow else 0,
            "alpha": 1 if layer.edged else 0.75,
        }
    else:
        style = {
            "linestyle": _DASHES[layer.dash],
            "marker": _SYMBOLS[layer.marked] if layer.marked else "none",
            "markersize": _SCALE * 6,
            "drawstyle": "steps-mid" if layer.steps else "default",
        }
        if layer.filled:
            step: Any = "mid" if layer.steps else None
            ax.fill_between(
                layer.x, layer.y, step=step, color=layer.color, alpha=FADED, lw=0, zorder=order
            )
    marks = ax.errorbar(
        layer.x, layer.y, yerr=layer.error or None, color=layer.color, elinewidth=0.9,
        zorder=order, **style,
    )  # fmt: skip
    return marks.lines[0]


def _draw_bars(ax: Axes, layer: Bars, order: int, width: float, tops: dict[float, float]) -> Artist:
    """On what stands there already, which ``tops`` says and is told."""
    bottoms = [tops[x] for x in layer.x]
    for x, height in zip(layer.x, layer.height, strict=True):
        tops[x] += height if math.isfinite(height) else 0.0
    bars = ax.bar(layer.x, layer.height, width, bottoms, color=layer.color, zorder=order)
    return bars.patches[0]


def _draw_rule(ax: Axes, rule: Rule, order: int, level: int) -> None:
    style: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "alpha": 0.7, "zorder": order}
    text: dict[str, Any]
    if rule.axis == "x":
        ax.axvline(rule.at, **style)
        text = {"xy": (rule.at, 1), "xycoords": ("data", "axes fraction"), "ha": "center"}
        text["xytext"] = (0, 1.5 + 8 * level)
    else:
        ax.axhline(rule.at, **style)
        text = {"xy": (1, rule.at), "xycoords": ("axes fraction", "data"), "ha": "right"}
        text["xytext"] = (0, 1.5)
    ax.annotate(
        rule.text, **text, textcoords="offset points", annotation_clip=True,
        fontsize=6.5, color=GREY, zorder=order,
    )  # fmt: skip


def _set_axis(ax: Axes, which: str, axis: Axis, room: int) -> None:
    """``room`` for a line of its title, in characters."""
    one: DrawnAxis = getattr(ax, f"{which}axis")
    one.set_label_text(textwrap.fill(axis.title, room))
    # Steps of 2.5 would need a digit more than formats give.
    one.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
    if axis.format:
        one.set_major_formatter(StrMethodFormatter(f"{{x:{axis.format}}}"))
    if axis.ticks:
        places, words = zip(*sorted(axis.ticks), strict=True)
        one.set_ticks(places, [textwrap.fill(text, 26) for text in words])
    low, high = getattr(ax.dataLim, f"interval{which}")
    if axis.limits:
        ax.set(**{f"{which}lim": axis.limits})
    elif axis.from_zero and low >= 0:
        ax.set(**{f"{which}lim": (0, None)})
    elif axis.from_zero and high <= 0:
        ax.set(**{f"{which}lim": (None, 0)})


def _add_legend(figure: Figure, artists: list[tuple[Layer, Artist]]) -> float:
    """In as few rows as fit; returns its height in inches."""
    entries = legend_entries(layer for layer, _ in artists)
    if not entries:
        return 0.0
    shown = {id(layer): artist for layer, artist in artists}
    handles = [shown[id(layer)] for layer in entries.values()]
    names = [textwrap.fill(name, 48) for name in entries]
    for columns in range(len(names), 0, -1):
        legend = figure.legend(handles, names, loc="outside lower center", ncols=columns)
        extent = legend.get_window_extent()
        if columns == 1 or extent.width <= figure.bbox.width:
            break
        legend.remove()
    return float(extent.height) / figure.dpi


def _fit_words(axes: Sequence[Axes], panels: Sequence[Panel], columns: int) -> float:
    """Of all panels; returns the height that it takes, in inches."""
    for ax, panel in zip(axes, panels, strict=True):
        if panel.y.ticks:
            _fit_words_beside(ax)
    taken = [
        _fit_words_below(ax) if panel.x.ticks else 0.0
        for ax, panel in zip(axes, panels, strict=True)
    ]
    return sum(max(taken[i : i + columns]) for i in range(0, len(taken), columns))


def _fit_words_below(ax: Axes) -> float:
    """Shrinks or turns words where they would collide; returns the height it takes, in inches."""
    labels = ax.get_xticklabels()
    for size in (_WORDS, 0.85 * _WORDS):
        boxes = _boxes(labels, size)
        if all(before.x1 + 2 < after.x0 for before, after in pairwise(boxes)):
            return 0.0
    line = max(box.height for box in boxes)
    step = min((b.x0 + b.x1 - a.x0 - a.x1) / 2 for a, b in pairwise(boxes))
    slanted = step * math.sin(math.radians(40)) > line
    for label in labels:
        label.set(rotation=40 if slanted else 90, rotation_mode="anchor", ha="right")
        label.set(va="top" if slanted else "center", fontsize=_fitting(step / line))
    taken = max(label.get_window_extent().height for label in labels) - line
    return float(taken) / ax.figure.dpi


def _fit_words_beside(ax: Axes) -> None:
    """Shrinks words where they would collide."""
    labels = ax.get_yticklabels()
    boxes = _boxes(labels, _WORDS)
    steps = [above.y0 - below.y0 for below, above in pairwise(boxes)]
    line = max(box.height for box in boxes)
    for label in labels:
        label.set_fontsize(_fitting(min(steps, default=line) / line))


def _boxes(labels: Iterable[Text], size: float) -> list[BboxBase]:
    """What the labels cover in this size, in the order of their ticks."""
    for label in labels:
        label.set_fontsize(size)
    return [label.get_window_extent() for label in labels]


def _fitting(share: float) -> float:
    """A size of words that have this share of the room that they would take."""
    return _WORDS * min(1.0, max(0.4, share))
