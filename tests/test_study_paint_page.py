"""The study's charts in a browser's words: what plotly is told of each layer."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from ovcore.study.charts import (
    SYMBOLS,
    Axis,
    Bars,
    Layer,
    Line,
    Points,
    Ribbon,
    Rule,
    numbers,
)
from ovcore.study.paint import on_page, on_paper
from painted import BLUE, NAN, ORANGE, axes_of, chart, every_layer, legend_names, of


def on_the_page(*layers: Layer, **axes: Any) -> dict[str, Any]:
    """As it reaches the browser."""
    return json.loads(json.dumps(on_page.panel(of(*layers, **axes), height=300), allow_nan=False))


def only_trace(*layers: Layer, **axes: Any) -> dict[str, Any]:
    (trace,) = on_the_page(*layers, **axes)["data"]
    return trace


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
