"""The study's page as text: its structure, what it carries, and how tables are printed."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import ovcore as ov
from ovcore.study.charts import GREY, Bars, Chart, Layer, Line, Panel, Points, Rule
from ovcore.study.page import Report, pair_data, render
from ovcore.study.page.legend import shared_legend
from ovcore.study.page.tables import NONE, label, table_of
from page_reports import CLASSES, LACKING, NAMES, SPOKEN, made_up_report, made_up_subject


class Page(HTMLParser):
    """Collects a page's elements, its text, and what its scripts carry."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.carried: dict[str, str] = {}
        self._script: str | None = None
        self._quiet = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.elements.append((tag, values))
        self._quiet = tag in ("script", "style")
        self._script = values.get("id") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._quiet, self._script = False, None

    def handle_data(self, data: str) -> None:
        if self._script:
            self.carried[self._script] = self.carried.get(self._script, "") + data
        elif not self._quiet:
            self.text.append(data)

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [values for tag, values in self.elements if tag in tags]

    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return made_up_report(made_up_subject(tmp_path_factory.mktemp("page") / "store"))


@pytest.fixture(scope="module")
def source(report: Report) -> str:
    return render(report)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def numbers(page: Page, name: str) -> np.ndarray[Any, Any]:
    kind = json.loads(page.carried["pairs-about"])["types"][name]
    data = gzip.decompress(base64.b64decode(page.carried[f"pairs-{name}"]))
    return np.frombuffer(data, kind).astype(np.int64)


def test_sections_come_in_their_order(page: Page) -> None:
    sections = [values["id"] for values in page.of("section")]
    assert sections == ["findings", "models", "pairs", "fig2", "fig8", "fig6", "method"]
    links = [values["href"] for values in page.of("a")]
    assert links[0] == "#main"
    assert links[1:8] == [f"#{name}" for name in sections]
    ids = [values["id"] for _, values in page.elements if "id" in values]
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    for section in page.of("section"):
        assert section["aria-labelledby"] in ids


def test_headings_go_down_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_it_asks_the_network_for_nothing(source: str, page: Page) -> None:
    assert "default-src 'none'" in source
    for _, values in page.elements:
        assert not {"src", "srcset", "action"} & set(values)
        assert "://" not in values.get("href", "")
    beside = [v["href"] for v in page.of("a") if not v["href"].startswith("#")]
    assert beside == ["study.json", "a%20b.csv"]
    assert not page.of("link", "img", "iframe")


def test_every_finding_stands_with_its_verdict_and_evidence(page: Page) -> None:
    words = page.words()
    assert "Ensembles gain. holds by 0.1 ± 0.01. What an ensemble buys" in words
    assert "They gain more. does not hold by −0.1 ± 0.01." in words
    assert f"Mixing helps. cannot be told here {LACKING}." in words


def test_without_claims_there_is_no_list_of_them(report: Report) -> None:
    silent = tuple(
        replace(section, result=replace(section.result, findings=())) for section in report.sections
    )
    page = Page(render(replace(report, sections=silent)))
    assert "What of the paper holds here" not in page.words()
    assert "#findings" not in [v["href"] for v in page.of("a")]


def test_a_section_left_out_says_why_and_shows_nothing(source: str, page: Page) -> None:
    section = source[source.index('<section id="fig6"') :]
    section = section[: section.index("</section>")]
    assert f"Left out here: {LACKING}." in section
    for what in ("data-panel", "<table", "<button", "<figure"):
        assert what not in section
    assert page.words().count(LACKING) == 2


def test_figures_carry_their_data_and_words(page: Page) -> None:
    described = [v for v in page.of("div") if v.get("aria-label") == SPOKEN]
    assert [values["role"] for values in described] == ["img"]
    panels = [values["data-panel"] for values in page.of("div") if "data-panel" in values]
    assert panels == ["panel-fig2-1-data", "panel-fig2-2-data", "panel-fig8-1-data"]
    drawn = json.loads(page.carried["panel-fig2-1-data"])
    assert [trace["name"] for trace in drawn["data"]] == ["here", "the paper’s models"]
    assert drawn["data"][0]["y"] == [1, 2, 3]
    assert "points <here>" in page.words()
    assert "layout" in json.loads(page.carried["template"])
    buttons = [v.get("data-layer", "") for v in page.of("button") if "data-figure" in v]
    assert buttons == ["the paper’s models", ""]  # and one for the point beyond the axis


def test_downloads_have_the_exact_numbers(report: Report, page: Page) -> None:
    offered = [v for v in page.of("button") if "data-source" in v]
    assert [v["data-file"] for v in offered] == [
        "models.csv", "fig2-by-category.csv", "fig2-nobody.csv", "fig8-counts.csv",
    ]  # fmt: skip
    for button in offered:
        assert button["data-table"] in json.loads(page.carried[button["data-source"]])
    tables = json.loads(page.carried["data-fig2"])
    assert tables["by category"]["gain"] == [0.01234567890123456, 1e-7, None]
    assert tables["by category"]["ratio"] == [1.5, "inf", "-inf"]
    assert tables["by category"]["in_band"] == [True, False, True]
    models = json.loads(page.carried["data-models"])["models"]
    assert models["model"] == NAMES
    assert models["gain"] == report.models["gain"].tolist()


def test_text_of_the_data_stays_text(source: str, page: Page) -> None:
    """Names with tags, and tables that hold the end of a script."""
    assert "wider <b>" in page.words()
    assert "<b>wider" not in source
    scripts = source.count("<script")
    assert source.count("</script>") == scripts
    assert json.loads(page.carried["panel-fig2-1-data"])["data"][0]["hovertext"][2] == (
        "&lt;/script&gt;"
    )


def test_tables_print_means_with_errors(page: Page) -> None:
    words = page.words()
    assert "By category category models gain ratio conversion in range said" in words
    assert "REINIT 2 0.0123 ± 0.0010 1.5000 0.600 yes" in words
    assert "DATASET 1 0.0000 ± – inf −0.250 no <script>" in words
    assert "OTHER 0 – ± – −inf – yes é" in words
    assert "Nobody: none." in words
    chips = [v["style"] for v in page.of("span") if v.get("class") == "chip" and "style" in v]
    assert "--c: #D55E00" in chips


def test_choices_of_the_study_and_of_the_section_are_told(page: Page) -> None:
    words = page.words()
    assert "combine mean of <probabilities>" in words
    assert words.count("the store's own temperatures") == 3  # two sections, and how it was done
    assert "Taken over models." in words
    assert "12" * 32 in words


def test_the_date_is_all_that_differs_between_runs(report: Report, source: str) -> None:
    assert render(report) == source
    later = render(replace(report, about={**report.about, "date": "2026-07-08"}))
    assert later != source
    assert later.replace("2026-07-08", "2025-03-01") == source
    assert len(Page(later).of("time")) == 1
    assert later.count("2026-07-08") == 2  # for people, and for machines


def test_pairs_carry_the_counts_of_the_comparison(report: Report, page: Page) -> None:
    about = json.loads(page.carried["pairs-about"])
    split = report.subject.first
    comparison = split.comparison
    a, b = np.triu_indices(len(NAMES), 1)
    np.testing.assert_array_equal(numbers(page, "joint"), comparison.errors.joint[a, b])
    for name in ("hits", "conversions", "rescues"):
        expected = getattr(comparison.ensembles, name)[a, b]
        np.testing.assert_array_equal(numbers(page, name), expected)
    kinds = [about["categories"][code] for code in numbers(page, "kind")]
    assert kinds == [report.subject.category(NAMES[i], NAMES[j]) for i, j in zip(a, b, strict=True)]
    assert about["wrong"] == comparison.errors.n_wrong().tolist()
    assert about["models"] == NAMES
    assert about["in_range"] == [1] * 6 + [0]
    assert about["orders"]["clustered"] == comparison.clustered_order().tolist()
    by_accuracy = about["orders"]["accuracy"]
    assert (np.diff(np.asarray(comparison.accuracy)[by_accuracy]) <= 0).all()
    in_order = [about["category"][m] for m in about["orders"]["category"]]
    assert in_order == sorted(in_order)
    assert about["orders"]["given"] == list(range(len(NAMES)))


def test_pairs_carry_angles_bits_and_classes(report: Report, page: Page) -> None:
    about = json.loads(page.carried["pairs-about"])
    split = report.subject.first
    n = split.comparison.n_samples
    for a, first in enumerate(NAMES[:-1]):
        block = numbers(page, f"theta-{a}").reshape(-1, 2, about["bins"])
        assert len(block) == len(NAMES) - 1 - a
        for (only_first, only_second), second in zip(block, NAMES[a + 1 :], strict=True):
            angle = np.degrees(split.theta(first, second))
            edges = np.linspace(-45, 45, about["bins"] + 1)
            right, other = split.right(first), split.right(second)
            for counts, outcome in ((only_first, right & ~other), (only_second, other & ~right)):
                np.testing.assert_array_equal(counts, np.histogram(angle[outcome], edges)[0])
    bits = numbers(page, "bits").astype(np.uint8).reshape(len(NAMES), -1)
    wrong = np.unpackbits(bits, axis=1, count=n, bitorder="little").astype(bool)
    np.testing.assert_array_equal(wrong, [~split.right(name) for name in NAMES])
    np.testing.assert_array_equal(numbers(page, "classes"), split.target)
    assert about["class_names"] == CLASSES


def test_integers_are_as_narrow_as_they_can_be(page: Page) -> None:
    types = json.loads(page.carried["pairs-about"])["types"]
    assert types["hits"] == "uint16"  # up to 300
    assert types["kind"] == "uint8"


def test_what_would_take_too_much_is_left_out_and_said(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_data, "MOST_BYTES", 700)
    packed = pair_data.pair_data(report)
    assert "joint" in packed.arrays
    assert not [name for name in packed.arrays if name.startswith("theta")]
    assert packed.about["lacking"] == {
        "theta": "Angles of 21 pairs would take more than 64 MB: they are left out of this page.",
    }
    monkeypatch.setattr(pair_data, "MOST_BYTES", 200)
    lacking = pair_data.pair_data(report).about["lacking"]
    assert lacking["classes"].startswith("Which of 300 samples each of 7 models gets wrong would")


def test_many_models_are_clustered_without_the_optimal_order(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_data, "MANY_MODELS", 3)
    monkeypatch.delattr(ov.Comparison, "clustered_order")
    about = pair_data.pair_data(report).about
    assert sorted(about["orders"]["clustered"]) == list(range(len(NAMES)))
    assert about["many"]
    assert "Draw the matrix of 7 models" in Page(render(report)).words()


def test_of_predictions_alone_there_are_no_ensembles(tmp_path: Path) -> None:
    report = made_up_report(made_up_subject(tmp_path / "store", preds_alone=True))
    page = Page(render(report))
    about = json.loads(page.carried["pairs-about"])
    assert set(about["types"]) == {"joint", "kind", "bits", "classes"}
    assert about["lacking"]["theta"].startswith("The store keeps predicted classes alone")
    assert "pairs-hits" not in page.carried


def test_of_several_splits_the_first_is_shown_and_said(report: Report) -> None:
    split = report.subject.first
    several = replace(report, subject=replace(report.subject, splits=(split, split)))
    words = Page(render(several)).words()
    assert "One cell a pair of models, of the first of 2 splits." in words
    assert "Taken over splits, of which there are 2" in words


@pytest.mark.parametrize(
    ("name", "values", "printed"),
    [
        ("accuracy", [0.5, 1.0], ["0.5000", "1.0000"]),
        ("conversion_rate", [0.12345, float("nan")], ["0.123", NONE]),
        ("temperature", [2.0, 3.0], ["2.00", "3.00"]),
        ("samples", [12345.0, float("nan")], ["12,345", NONE]),
        ("dimensions", [123.44, 0.5], ["123.4", "0.5"]),
        ("theta_50", [-8.0], ["−8.0"]),
        ("p", [0.000123], ["0.00012"]),
        ("paper_gain", [0.0123], ["0.0123"]),
        ("paper_conversion_rate", [0.6123], ["0.612"]),
        ("in_band", [True, False], ["yes", "no"]),
        ("head", ["Trained", "", None], ["Trained", NONE, NONE]),
    ],
)
def test_numbers_are_printed_by_their_columns(
    name: str, values: list[Any], printed: list[str]
) -> None:
    table = table_of(pd.DataFrame({name: values}))
    assert [row[0].text for row in table.rows] == printed


def test_cells_sort_by_exact_values() -> None:
    table = table_of(
        pd.DataFrame({"gain": [0.1 + 0.2, float("nan")], "category": ["DATASET", "OTHER"]})
    )
    assert [cell.value for cell in table.rows[0]] == [repr(0.1 + 0.2), "5"]
    assert [cell.value for cell in table.rows[1]] == ["", "6"]


def test_columns_have_words() -> None:
    assert label("paper_conversion_rate") == "paper’s conversion"
    assert label("theta_90") == "θ at 90%"
    assert label("base_accuracy") == "base accuracy"


def chart_of(*panels: tuple[Layer, ...]) -> Chart:
    return Chart("f", "t", "a", tuple(Panel(layers) for layers in panels), "models")


def test_panels_with_the_same_names_share_one_legend() -> None:
    one = (Points((0,), (0,), "#000001", "star", "a"), Line((0,), (0,), "#000002", "b", "dash"))
    two = (Points((0,), (0,), "#000003", "star", "a"), Line((0,), (0,), "#000002", "b", "dash"))
    entries = shared_legend(chart_of(one, two, (Rule(0),)))
    assert [(entry.name, entry.color) for entry in entries] == [("a", GREY), ("b", "#000002")]
    assert [(entry.symbol, entry.dash) for entry in entries] == [("star", ""), ("", "dash")]


def test_other_panels_keep_their_own_legends() -> None:
    a, b = Points((0,), (0,), "#000001", name="a"), Bars((0,), (1,), "#000002", "b")
    hidden = Points((0,), (0,), "#000003", name="c", hidden=True)
    assert shared_legend(chart_of((a,))) == []
    assert shared_legend(chart_of((a,), (b,))) == []
    assert [e.name for e in shared_legend(chart_of((b, hidden), (b,)))] == ["b"]
    assert shared_legend(chart_of((b, hidden), (b,)))[0].area
