"""The study's charts on paper: the same layers, the same bytes."""

from __future__ import annotations

import json
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
    Axis,
    Bars,
    Line,
    Points,
    Ribbon,
    Rule,
)
from ovcore.study.paint import on_page, on_paper
from painted import BLUE, GREEN, NAN, ORANGE, axes_of, chart, every_layer, legend_names, of


def in_inches(figure: Figure) -> tuple[float, float]:
    width, height = figure.get_size_inches()
    return float(width), float(height)


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
        "import painted as t; from ovcore.study.paint import on_page, on_paper\n"
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
