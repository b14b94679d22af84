"""The study's charts, in a browser's words and on paper: the same layers, the same bytes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from ovcore.study.charts import (
    SYMBOLS,
    Axis,
    Bars,
    Chart,
    Layer,
    Line,
    Panel,
    Points,
    Ribbon,
    Rule,
    numbers,
)
from ovcore.study.paint import on_page, on_paper

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


def on_the_page(*layers: Layer, **axes: Any) -> dict[str, Any]:
    """As it reaches the browser."""
    return json.loads(json.dumps(on_page.panel(of(*layers, **axes), height=300), allow_nan=False))


def only_trace(*layers: Layer, **axes: Any) -> dict[str, Any]:
    (trace,) = on_the_page(*layers, **axes)["data"]
    return trace


def axes_of(*layers: Layer, **axes: Any) -> Axes:
    return on_paper.draw(chart(of(*layers, **axes))).axes[0]


def legend_names(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def in_inches(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return float(width), float(height)


# In the browser.


def test_points_become_markers() -> None:
    trace = only_trace(Points((1, 2), (3, 4), BLUE, "diamond", name="ARCH", size=11))
    assert (trace["type"], trace["mode"]) == ("scatter", "markers")
    assert (trace["x"], trace["y"]) == ([1, 2], [3, 4])
    assert trace["marker"]["color"] == BLUE
    assert (trace["marker"]["symbol"], trace["marker"]["size"]) == ("diamond", 11)
    assert "line" not in trace["marker"]
    assert "error_y" not in trace
    assert "visible" not in trace


def test_symbols_are_plotlys() -> None:
    symbols = {
        symbol: only_trace(Points((0,), (0,), BLUE, symbol))["marker"]["symbol"]
        for symbol in [*sorted(set(SYMBOLS.values())), "star"]
    }
    assert symbols == {
        "circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up",
        "cross": "cross", "pentagon": "pentagon", "star": "star",
    }  # fmt: skip


def test_hollow_edged_and_uncertain_points() -> None:
    hollow = only_trace(Points((0,), (0,), BLUE, "triangle", hollow=True))
    assert hollow["marker"]["symbol"] == "triangle-up-open"
    edged = only_trace(Points((0,), (0,), BLUE, edged=True, error=(0.5,)))
    assert edged["marker"]["line"]["color"] == "black"
    assert edged["error_y"]["array"] == [0.5]


def test_hidden_layers_wait_for_a_click_on_their_name() -> None:
    assert only_trace(Points((0,), (0,), BLUE, name="a", hidden=True))["visible"] == "legendonly"
    assert only_trace(Line((0,), (0,), BLUE, name="a", hidden=True))["visible"] == "legendonly"


def test_a_name_has_one_entry_and_hides_all_of_its_layers() -> None:
    drawn = on_the_page(
        Points((), (), BLUE, name="a"),
        Points((0,), (0,), BLUE, name="a"),
        Points((1,), (0,), BLUE, name="a", hollow=True),
        Points((2,), (0,), ORANGE, name="b"),
        Points((3,), (0,), ORANGE),
    )
    assert [trace["showlegend"] for trace in drawn["data"]] == [True, False, True, False]
    assert [trace.get("legendgroup") for trace in drawn["data"]] == ["a", "a", "b", None]
    assert [trace.get("name") for trace in drawn["data"]] == ["a", "a", "b", None]
    assert drawn["layout"]["showlegend"] is True


def test_without_names_there_is_no_legend() -> None:
    assert on_the_page(Points((0,), (0,), BLUE))["layout"]["showlegend"] is False


def test_a_ribbon_stands_for_its_name_only_where_nothing_else_does() -> None:
    ribbon, line = Ribbon((0, 1), (0, 0), (1, 1), BLUE, "fit"), Line((0, 1), (0, 1), BLUE, "fit")
    assert [t["showlegend"] for t in on_the_page(ribbon, line)["data"]] == [False, True]
    assert only_trace(ribbon)["showlegend"] is True


def test_lines() -> None:
    plain = only_trace(Line((0, 1), (2, 3), BLUE, dash="dot"))
    assert (plain["mode"], plain["x"], plain["y"]) == ("lines", [0, 1], [2, 3])
    assert plain["line"] == {"color": BLUE, "dash": "dot", "width": 2}
    assert "fill" not in plain
    marked = only_trace(Line((0,), (0,), BLUE, marked="triangle", error=(0.1,)))
    assert (marked["mode"], marked["marker"]["symbol"]) == ("lines+markers", "triangle-up")
    assert marked["error_y"]["array"] == [0.1]
    steps = only_trace(Line((0, 1), (2, 3), BLUE, steps=True, filled=True))
    assert steps["line"]["shape"] == "hvh"
    assert (steps["fill"], steps["fillcolor"]) == ("tozeroy", "rgba(0,114,178,0.18)")


def test_ribbons_are_closed_and_have_gaps() -> None:
    trace = only_trace(Ribbon((0, 1, 2, 3), (1, 2, NAN, 4), (5, 6, 7, 8), BLUE))
    assert trace["x"] == [0, 1, 1, 0, None, 3, 3]
    assert trace["y"] == [5, 6, 2, 1, None, 8, 4]
    assert trace["fill"] == "toself"
    assert trace["fillcolor"] == "rgba(0,114,178,0.18)"
    assert trace["line"]["width"] == 0


def test_bars_are_stacked() -> None:
    drawn = on_the_page(Bars((0, 1), (2, 3), BLUE, name="a"), Bars((0, 1), (4, 5), ORANGE))
    assert drawn["layout"]["barmode"] == "stack"
    assert [trace["type"] for trace in drawn["data"]] == ["bar", "bar"]
    assert [trace["y"] for trace in drawn["data"]] == [[2, 3], [4, 5]]
    assert [trace["marker"]["color"] for trace in drawn["data"]] == [BLUE, ORANGE]
    assert "barmode" not in on_the_page(Points((0,), (0,), BLUE))["layout"]


def test_rules_cross_the_panel() -> None:
    layout = on_the_page(Rule(0.5, text="chance"), Rule(12, axis="x"))["layout"]
    level, upright = layout["shapes"]
    assert (level["y0"], level["y1"], level["yref"]) == (0.5, 0.5, "y")
    assert (level["x0"], level["x1"], level["xref"]) == (0, 1, "x domain")
    assert (upright["x0"], upright["x1"], upright["xref"]) == (12, 12, "x")
    assert (upright["y0"], upright["y1"], upright["yref"]) == (0, 1, "y domain")
    (text,) = layout["annotations"]
    assert (text["text"], text["y"], text["showarrow"]) == ("chance", 0.5, False)
    assert "margin" not in layout


def test_texts_of_neighbouring_upright_rules_are_on_different_lines() -> None:
    rules = (Rule(9, "x", "b"), Rule(7, "x", "a"), Rule(9, "y", "level"), Rule(30, "x", "c"))
    layout = on_the_page(*rules)["layout"]
    shifts = {text["text"]: text["yshift"] for text in layout["annotations"]}
    assert shifts == {"a": 0, "b": 14, "c": 0, "level": 0}
    assert layout["margin"]["t"] == 42
    heights = {text.get_text(): text.xyann[1] for text in axes_of(*rules).texts}
    assert heights["a"] == heights["c"] == heights["level"] < heights["b"]


def test_axes_of_numbers() -> None:
    layout = on_the_page(
        Points((0,), (0,), BLUE),
        x=Axis("accuracy", format=".1%", limits=(0, 0.5)),
        y=Axis("gain", from_zero=True),
    )["layout"]
    assert layout["xaxis"] == {
        "title": {"text": "accuracy"}, "tickformat": ".1%", "hoverformat": ".1%", "range": [0, 0.5],
    }  # fmt: skip
    assert layout["yaxis"] == {"title": {"text": "gain"}, "rangemode": "tozero"}
    assert layout["height"] == 300
    assert "title" not in layout


def test_axes_of_words() -> None:
    long = "vit_base_patch16_224.augreg2_in21k_ft_in1k"
    layout = on_the_page(Points((0,), (0,), BLUE), x=Axis(ticks=((0, "BASE"), (1, long))))["layout"]
    assert layout["xaxis"]["tickvals"] == [0, 1]
    assert layout["xaxis"]["ticktext"] == ["BASE", "vit_base_patc…n21k_ft_in1k"]
    assert "tickfont" not in layout["xaxis"]
    crowd = Axis(ticks=tuple((i, f"class {i}") for i in range(60)))
    assert (
        on_the_page(Points((0,), (0,), BLUE), x=crowd)["layout"]["xaxis"]["tickfont"]["size"] == 8
    )


def test_long_titles_are_broken_where_there_is_little_room() -> None:
    axis = Axis("gain of the ensemble in percentage points over its best member")
    layout = on_the_page(Points((0,), (0,), BLUE), y=axis)["layout"]
    lines = layout["yaxis"]["title"]["text"].split("<br>")
    assert " ".join(lines) == axis.title
    assert len(lines) == 3
    assert max(map(len, lines)) <= 27


def test_hovering_tells_the_name_and_the_values() -> None:
    x, y = Axis("accuracy"), Axis("gain")
    named = only_trace(Points((0,), (0,), BLUE, name="ARCH", text=("m",)), x=x, y=y)
    assert named["hovertext"] == ["m"]
    assert named["hovertemplate"] == (
        "<b>%{hovertext}</b><br>accuracy: %{x}<br>gain: %{y}<extra>ARCH</extra>"
    )
    assert only_trace(Line((0,), (0,), BLUE))["hovertemplate"] == "%{x}<br>%{y}<extra></extra>"
    bars = only_trace(Bars((0,), (3,), BLUE, text=("m",)), y=y)
    assert bars["hovertemplate"] == "<b>%{hovertext}</b><br>%{x}<br>gain: %{y}<extra></extra>"
    assert only_trace(Ribbon((0,), (0,), (1,), BLUE))["hoverinfo"] == "skip"


def test_hovering_tells_no_numbers_between_words() -> None:
    words = Axis(ticks=((0, "BASE"), (1, "REINIT")))
    beside = only_trace(Points((0.1,), (5,), BLUE), x=words)
    assert beside["hovertemplate"] == "%{y}<extra></extra>"
    at_them = only_trace(Points((0, 1), (5, 6), BLUE), x=words)
    assert at_them["hovertemplate"] == "%{x}<br>%{y}<extra></extra>"
    named = only_trace(Points((0, 1), (5, 6), BLUE, text=("a", "b")), x=words)
    assert named["hovertemplate"] == "<b>%{hovertext}</b><br>%{y}<extra></extra>"
    angles = Axis(ticks=((-45, "−45°"), (0, "0"), (45, "45°")))
    assert only_trace(Points((12,), (5,), BLUE), x=angles)["hovertemplate"].startswith("%{x}<br>")


def test_text_is_not_read_as_tags() -> None:
    drawn = on_the_page(
        Points((0,), (0,), BLUE, name="<b>", text=("a & b",)),
        Rule(0, text="<i>"),
        x=Axis("x < 1", ticks=((0, "<br>"),)),
    )
    (trace,), layout = drawn["data"], drawn["layout"]
    assert (trace["name"], trace["hovertext"]) == ("&lt;b&gt;", ["a &amp; b"])
    assert trace["hovertemplate"].endswith("<extra>&lt;b&gt;</extra>")
    assert layout["annotations"][0]["text"] == "&lt;i&gt;"
    assert layout["xaxis"]["title"]["text"] == "x &lt; 1"
    assert layout["xaxis"]["ticktext"] == ["&lt;br&gt;"]


def test_what_is_not_finite_is_null() -> None:
    points = only_trace(Points((0, NAN), (math.inf, 1), BLUE, error=(NAN, -math.inf)))
    assert (points["x"], points["y"]) == ([0, None], [None, 1])
    assert points["error_y"]["array"] == [None, None]
    assert only_trace(Bars((0, 1), (NAN, 2), BLUE))["y"] == [None, 2]
    assert only_trace(Line((0, 1), (NAN, 2), BLUE))["y"] == [None, 2]


def test_numbers_of_arrays_are_plain() -> None:
    values = tuple(np.array([1, 2], dtype=np.float32))
    assert only_trace(Points(values, values, BLUE))["x"] == [1, 2]
    assert only_trace(Points(numbers(values), numbers(values), BLUE))["y"] == [1, 2]


def test_layers_without_values_are_left_out() -> None:
    empty = (
        Points((), (), BLUE, name="p"), Line((), (), BLUE, name="l"),
        Ribbon((), (), (), BLUE, name="r"), Bars((), (), BLUE, name="b"),
    )  # fmt: skip
    drawn = on_the_page(*empty)
    assert drawn["data"] == []
    assert drawn["layout"]["showlegend"] is False
    figure = on_paper.draw(chart(of(*empty, y=Axis(from_zero=True))))
    assert legend_names(figure) == []
    assert not figure.axes[0].lines
    assert not figure.axes[0].patches
    assert not figure.axes[0].collections


def test_the_template_is_apart() -> None:
    template = on_page.template()
    assert template["layout"]["plot_bgcolor"] == "white"  # of simple_white
    assert template["layout"]["xaxis"]["automargin"] is True
    assert template["layout"]["yaxis"]["automargin"] is True
    assert template["layout"]["legend"]["orientation"] == "h"
    assert json.dumps(template, allow_nan=False) == json.dumps(on_page.template())
    specification = on_page.panel(every_layer(), height=300)
    assert "template" not in specification["layout"]
    assert json.dumps(specification) == json.dumps(on_page.panel(every_layer(), height=300))


# On paper.


def test_points_are_drawn_at_their_places() -> None:
    (marks,) = axes_of(Points((1, 2), (3, 4), BLUE, "square", size=10)).lines
    assert np.array_equal(marks.get_xydata(), [[1, 3], [2, 4]])
    assert (marks.get_marker(), marks.get_linestyle()) == ("s", "None")
    assert marks.get_markersize() == 6
    assert to_hex(marks.get_markerfacecolor()) == BLUE


def test_hollow_and_edged_points() -> None:
    hollow, edged = axes_of(
        Points((0,), (0,), BLUE, hollow=True), Points((1,), (1,), BLUE, edged=True)
    ).lines
    assert hollow.get_markerfacecolor() == "none"
    assert to_hex(hollow.get_markeredgecolor()) == BLUE
    assert to_hex(edged.get_markerfacecolor()) == BLUE
    assert edged.get_markeredgecolor() == "black"


def test_intervals_of_points() -> None:
    ax = axes_of(Points((1, 2, 3), (3, 4, 5), BLUE, error=(0.5, 1, NAN)))
    (bars,) = ax.collections
    segments = bars.get_segments()
    assert np.array_equal(segments[0], [[1, 2.5], [1, 3.5]])
    assert np.array_equal(segments[1], [[2, 3], [2, 5]])


def test_lines_on_paper() -> None:
    dashed, stepped = axes_of(
        Line((0, 1), (2, 3), BLUE, dash="dash", marked="circle"),
        Line((0, 1), (1, 2), ORANGE, steps=True),
    ).lines
    assert np.array_equal(dashed.get_xydata(), [[0, 2], [1, 3]])
    assert (dashed.get_linestyle(), dashed.get_marker()) == ("--", "o")
    assert (stepped.get_drawstyle(), stepped.get_marker()) == ("steps-mid", "none")


def outline(ax: Axes) -> np.ndarray:
    (area,) = ax.collections
    assert isinstance(area, PolyCollection)
    (path,) = area.get_paths()
    return np.unique(path.vertices, axis=0)


def test_areas() -> None:
    ribbon = outline(axes_of(Ribbon((0, 1), (1, 2), (5, 6), BLUE)))
    assert ribbon.tolist() == [[0, 1], [0, 5], [1, 2], [1, 6]]
    filled = outline(axes_of(Line((0, 2), (1, 3), BLUE, filled=True, steps=True)))
    assert filled.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 3], [2, 0], [2, 3]]
    area = axes_of(Ribbon((0, 1), (1, 2), (5, 6), BLUE)).collections[0]
    assert tuple(area.get_facecolor()[0]) == to_rgba(BLUE, on_page.FADED)


def test_bars_stand_on_one_another() -> None:
    ax = axes_of(
        Bars((0, 10), (2, NAN), BLUE),
        Bars((10, 20), (4, 5), ORANGE),
        Bars((0, 10), (1, 1), GREEN),
        Bars((0, 20), (1, 1), BLUE),
    )
    lower, middle, upper, top = (container.patches for container in ax.containers)
    assert [bar.get_y() for bar in middle] == [0, 0]
    assert [bar.get_y() for bar in upper] == [2, 4]
    assert [bar.get_y() for bar in top] == [3, 5]
    assert [bar.get_height() for bar in upper] == [1, 1]
    assert {bar.get_width() for bar in (*lower, *middle, *upper)} == {8}
    assert lower[0].get_x() == -4


def test_rules_and_their_texts() -> None:
    ax = axes_of(
        Rule(0.5, text="chance"), Rule(2, axis="x"), Rule(9, text="far"), y=Axis(limits=(0, 1))
    )
    level, upright, _ = ax.lines
    assert np.array_equal(level.get_ydata(), [0.5, 0.5])
    assert np.array_equal(upright.get_xdata(), [2, 2])
    assert [text.get_text() for text in ax.texts] == ["chance", "", "far"]


def test_texts_of_rules_outside_the_limits_are_not_drawn(tmp_path: Path) -> None:
    panel = of(Rule(1.0, text="edge"), Rule(9, text="far"), y=Axis(limits=(0, 1)))
    (file,) = on_paper.save(chart(panel), tmp_path, formats=("svg",))
    assert ">edge<" in file.read_text()
    assert ">far<" not in file.read_text()


def test_limits_formats_and_zero() -> None:
    points = Points((0.2, 0.4), (3, 4), BLUE)
    ax = axes_of(points, x=Axis("accuracy", ".0%", limits=(0, 0.5)), y=Axis("gain", from_zero=True))
    assert ax.get_xlim() == (0, 0.5)
    assert ax.get_ylim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("accuracy", "gain")
    assert "20%" in [label.get_text() for label in ax.get_xticklabels()]
    below = axes_of(Points((0,), (-3,), BLUE), y=Axis(from_zero=True))
    assert below.get_ylim()[1] == 0
    around = axes_of(Points((0, 1), (-3, 3), BLUE), y=Axis(from_zero=True)).get_ylim()
    assert around[0] < -3 < 3 < around[1]


@pytest.mark.parametrize("high", [0.1, 0.15, 0.2, 0.25, 0.3])
def test_ticks_have_no_more_digits_than_their_format(high: float) -> None:
    ax = axes_of(Points((0.02, high), (0, 1), BLUE), x=Axis(format=".2f"))
    low, high = ax.get_xlim()
    told = [t for t in ax.get_xticks() if low <= t <= high]
    assert len(told) > 2
    assert all(round(t, 2) == pytest.approx(t) for t in told)


def test_words_that_nearly_fit_are_made_smaller() -> None:
    names = ("REINITS", "HPARAMS", "ARCHITECT", "FWORKS", "DATASETS", "OTHERS")
    points = Points(tuple(range(6)), (0,) * 6, BLUE)
    ax = axes_of(points, x=Axis(ticks=tuple(enumerate(names))))
    labels = ax.get_xticklabels()
    assert {label.get_rotation() for label in labels} == {0}
    assert {label.get_fontsize() for label in labels} == {0.85 * 7}
    boxes = [label.get_window_extent() for label in labels]
    assert all(before.x1 < after.x0 for before, after in pairwise(boxes))


def test_words_that_would_collide_are_turned() -> None:
    def labels(count: int, words: str) -> tuple[Figure, list[Any]]:
        axis = Axis(ticks=tuple((i, f"{words} {i}") for i in reversed(range(count))))
        figure = on_paper.draw(chart(of(Points((0,), (0,), BLUE), x=axis)))
        return figure, figure.axes[0].get_xticklabels()

    few, there = labels(3, "class")
    assert [label.get_text() for label in there] == ["class 0", "class 1", "class 2"]
    assert {label.get_rotation() for label in there} == {0}
    for count in (8, 30):
        figure, there = labels(count, "a class with a name")
        assert {label.get_rotation() for label in there} == {40 if count == 8 else 90}
        assert in_inches(figure)[1] > in_inches(few)[1]
        boxes = [label.get_window_extent() for label in there]
        assert min(box.y0 for box in boxes) >= 0
        tall = figure.axes[0].get_window_extent().height
        assert tall > 0.7 * few.axes[0].get_window_extent().height


def test_many_words_beside_the_axis_become_smaller() -> None:
    axis = Axis(ticks=tuple((i, f"model {i}") for i in range(40)))
    figure = on_paper.draw(chart(of(Points((0,), (0,), BLUE), y=axis)))
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))


def test_hidden_layers_are_not_on_paper() -> None:
    figure = on_paper.draw(
        chart(of(Points((0,), (0,), BLUE, name="a", hidden=True), Line((0,), (0,), BLUE)))
    )
    assert len(figure.axes[0].lines) == 1
    assert legend_names(figure) == []


def test_one_legend_below_all_panels_has_each_name_once() -> None:
    one = of(Ribbon((0, 1), (0, 0), (1, 1), BLUE, "a"), Points((0,), (0,), ORANGE, name="b"))
    two = of(Line((0, 1), (0, 1), BLUE, "a"), Bars((0,), (1,), GREEN, name="c"))
    figure = on_paper.draw(chart(one, two))
    assert legend_names(figure) == ["a", "b", "c"]
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert all(ax.get_tightbbox().y0 >= box.y1 for ax in figure.axes)


def test_a_long_legend_has_rows() -> None:
    layers = [Points((i,), (0,), BLUE, name=f"a rather long name, {i}") for i in range(6)]
    figure = on_paper.draw(chart(of(*layers)))
    assert len(legend_names(figure)) == 6
    assert figure.legends[0].get_window_extent().width <= figure.bbox.width


def test_panels_fill_rows() -> None:
    panels = [of(Points((0,), (i,), BLUE), title=f"panel {i}") for i in range(5)]
    figure = on_paper.draw(chart(*panels, columns=3))
    assert [ax.get_title(loc="left") for ax in figure.axes] == [f"panel {i}" for i in range(5)]
    boxes = [ax.get_position() for ax in figure.axes]
    assert {round(box.y0, 3) for box in boxes[:3]} == {round(boxes[0].y0, 3)}
    assert boxes[3].y1 < boxes[0].y0
    assert in_inches(figure) == pytest.approx((9.6, 5.0))
    assert in_inches(on_paper.draw(chart(panels[0], columns=3)))[0] == pytest.approx(3.2)


# Files.


def test_files_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    drawn = chart(every_layer(), every_layer(), every_layer())
    first = on_paper.save(drawn, tmp_path / "new" / "folder")
    assert first == [tmp_path / "new" / "folder" / f"fig0.{kind}" for kind in ("svg", "pdf")]
    settings = {"font.size": 20, "svg.hashsalt": "other", "savefig.facecolor": "red"}
    with mpl.rc_context(settings):
        second = on_paper.save(drawn, tmp_path / "again", formats=("pdf", "svg"))[::-1]
        assert mpl.rcParams["font.size"] == 20
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert sorted(file.name for file in (tmp_path / "again").iterdir()) == ["fig0.pdf", "fig0.svg"]


def test_another_process_gives_the_same(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path\n"
        "import test_study_paint as t; from ovcore.study.paint import on_page, on_paper\n"
        "on_paper.save(t.chart(t.every_layer()), Path(sys.argv[1]))\n"
        "print(json.dumps(on_page.panel(t.every_layer(), height=300)))"
    )
    told = set()
    for seed, date in (("1", None), ("2", "86400")):
        environment = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
        environment |= {"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        environment |= {"SOURCE_DATE_EPOCH": date} if date else {}
        finished = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        files = sorted((tmp_path / seed).iterdir())
        told.add((finished.stdout, *(file.read_bytes() for file in files)))
    ((specification, pdf, svg),) = told
    assert json.loads(specification) == on_page.panel(every_layer(), height=300)
    here = on_paper.save(chart(every_layer()), tmp_path)
    assert [svg, pdf] == [file.read_bytes() for file in here]


def test_text_stays_text(tmp_path: Path) -> None:
    points = Points((0,), (0,), BLUE, name="costs $1, not $2")
    svg, pdf = on_paper.save(chart(of(points)), tmp_path)
    assert ">costs $1, not $2</text>" in svg.read_text()
    assert "What is seen." in svg.read_text()
    assert "<dc:date>" not in svg.read_text()
    assert b"/CIDFontType2" in pdf.read_bytes() or b"/TrueType" in pdf.read_bytes()
    assert b"/Type3" not in pdf.read_bytes()
    assert b"CreationDate" not in pdf.read_bytes()


def test_no_file_where_one_cannot_be_drawn(tmp_path: Path) -> None:
    before = on_paper.save(chart(every_layer()), tmp_path, formats=("svg",))[0].read_bytes()
    with pytest.raises(ValueError, match="nonsense"):
        on_paper.save(chart(of(Rule(0))), tmp_path, formats=("svg", "nonsense"))
    assert [file.name for file in tmp_path.iterdir()] == ["fig0.svg"]
    assert (tmp_path / "fig0.svg").read_bytes() == before


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = on_paper.save(chart(every_layer()), tmp_path, formats=("svg",))[0].read_bytes()

    def fail(_self: Path, _target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        on_paper.save(chart(of(Rule(0))), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["fig0.svg"]
    assert (tmp_path / "fig0.svg").read_bytes() == before
