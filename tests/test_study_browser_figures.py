"""The study's page in a real browser: figures, downloads, print, and what it asks for."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from browser import Reader, click_on_cell, driver, file, reader, report, shown_pair  # noqa: F401
from ovcore.store import ModelCard, StoreWriter
from ovcore.study import from_store
from ovcore.study.page import Report, render
from page_reports import NAMES, TABLES, made_up_report, made_up_subject


def test_figures_are_drawn_when_they_come_near(reader: Reader) -> None:
    last = "#panel-fig8-1"
    assert reader.run("scrollTo(0, 0); return scrollY") == 0
    assert not reader.all(f"{last}.js-plotly-plot")
    assert reader.find(last).size["height"] >= 400  # the place is kept
    reader.scroll_to(last)
    reader.until(lambda: reader.all(f"{last}.js-plotly-plot .bars path"))


def test_buttons_show_what_a_figure_hides(reader: Reader) -> None:
    def state() -> Any:
        return reader.run(
            "const place = document.getElementById('panel-fig2-1');"
            "return [place.data[1].visible, place._fullLayout.xaxis.range[1]]"
        )

    layer, beyond = "#figure-fig2 [data-layer]", "#figure-fig2 .buttons button:not([data-layer])"
    reader.scroll_to(layer)
    reader.until(lambda: reader.all("#panel-fig2-1.js-plotly-plot"))
    assert state() == ["legendonly", 1.5]
    reader.press(layer, "\n")
    assert reader.find(layer).get_attribute("aria-pressed") == "true"
    assert state()[0] is True
    reader.press(beyond, "\n")
    assert state()[1] > 2
    reader.press(layer, "\n")
    reader.press(beyond, "\n")
    assert state() == ["legendonly", 1.5]


def test_a_table_is_saved_with_all_digits(reader: Reader, report: Report) -> None:
    saved = """
        const done = arguments[1];
        const make = URL.createObjectURL;
        URL.createObjectURL = (blob) => {
          URL.createObjectURL = make;
          blob.text().then((text) => done([blob.type, text]));
          return "data:,";
        };
        HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };
        arguments[0].click();
    """
    for selector, name, frame in (
        ('[data-file="fig2-by-category.csv"]', "fig2-by-category.csv", TABLES["by category"]),
        ('[data-file="models.csv"]', "models.csv", report.models),
    ):
        kind, text = reader.driver.execute_async_script(saved, reader.find(selector))
        assert kind == "text/csv"
        assert reader.run("return window.savedAs") == name
        header, *rows = csv.reader(io.StringIO(text))
        assert header == list(frame.columns)
        assert len(rows) == len(frame)
        for row, expected in zip(rows, frame.to_numpy(object), strict=True):
            for value, known in zip(row, expected, strict=True):
                number = isinstance(known, float) and value != ""
                assert (float(value) if number else value) == (
                    known if number else "" if pd.isna(known) else str(known)
                )


def test_a_download_reaches_the_disk(reader: Reader, tmp_path: Path) -> None:
    reader.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    reader.press('[data-file="fig8-counts.csv"]', "\n")
    reader.until((tmp_path / "fig8-counts.csv").exists)
    assert (tmp_path / "fig8-counts.csv").read_text() == "n\n3\n4\n"


def test_printing_draws_everything(reader: Reader) -> None:
    reader.run("scrollTo(0, 0)")
    reader.until(lambda: reader.run("return study.matrix.isReady()"))
    assert len(reader.all(".js-plotly-plot")) < 4
    reader.run("dispatchEvent(new Event('beforeprint'))")
    drawn = [place.get_attribute("id") for place in reader.all(".js-plotly-plot")]
    assert drawn == ["matrix", "panel-fig2-1", "panel-fig2-2", "panel-fig8-1"]
    assert not reader.all("details:not([open])")
    widest = reader.run(
        "return Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.clientWidth))"
    )
    assert 400 < widest <= 681  # 180 mm
    reader.run("dispatchEvent(new Event('afterprint'))")
    assert not reader.all("details[open]")
    reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        for selector in ("nav", ".controls", ".buttons"):
            assert not any(place.is_displayed() for place in reader.all(selector))
    finally:
        reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def use_everything(reader: Reader) -> None:
    reader.matrix()
    reader.choose("#model-a", "1")
    reader.choose("#model-b", "4")
    shown_pair(reader, NAMES[1], NAMES[4])
    reader.run("study.plots.drawAll()")
    for button in reader.all("main button"):
        reader.run("arguments[0].click()", button)
    reader.run("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")


def test_nothing_is_complained_of_and_nothing_is_asked_for(reader: Reader, file: Path) -> None:
    use_everything(reader)
    complaints = [entry for entry in reader.driver.get_log("browser") if entry["level"] != "INFO"]
    assert complaints == []
    messages = [json.loads(e["message"])["message"] for e in reader.driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages
             if m["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert file.as_uri() in asked  # the log is of this page
    assert [url for url in asked if not url.startswith((file.as_uri(), "data:", "blob:"))] == []


@pytest.mark.parametrize("width", [360, 800])
def test_narrow_windows_scroll_in_one_direction(reader: Reader, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        reader.driver.refresh()
        use_everything(reader)
        assert reader.run("return innerWidth") == width
        assert reader.run("return document.documentElement.scrollWidth") == width
    finally:
        reader.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name(reader: Reader) -> None:
    use_everything(reader)
    reader.driver.execute_cdp_cmd("Accessibility.enable", {})
    tree = reader.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = ("button", "combobox", "checkbox", "searchbox", "link", "region", "navigation",
                "textbox", "image", "table")  # fmt: skip
    found: dict[str, list[str]] = {}
    for node in tree:
        role = node.get("role", {}).get("value")
        if not node.get("ignored") and role in controls:
            found.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    for role, many in (("combobox", 4), ("checkbox", 7), ("searchbox", 1), ("button", 15),
                       ("image", 5), ("navigation", 1)):  # fmt: skip
        assert len(found[role]) >= many, role
    assert [role for role, names in found.items() if "" in names and role != "table"] == []


def test_the_keyboard_goes_to_the_results_first(reader: Reader) -> None:
    from selenium.webdriver.common.keys import Keys

    reader.find("body").send_keys(Keys.TAB)
    skip = reader.driver.switch_to.active_element
    assert skip.text == "To the results"
    assert skip.rect["x"] >= 0  # seen while it has the focus
    skip.send_keys(Keys.ENTER)
    assert reader.run("return document.activeElement.id") == "main"


def test_many_models_are_drawn_when_asked_for(
    reader: Reader, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovcore.study.page import pair_data

    monkeypatch.setattr(pair_data, "MANY_MODELS", 3)
    (tmp_path / "many.html").write_text(render(report), encoding="utf-8")
    reader.driver.get((tmp_path / "many.html").as_uri())
    reader.scroll_to("#matrix")
    reader.choose("#metric", "gain")
    assert not reader.all("#matrix.js-plotly-plot")
    reader.find("#draw-matrix").click()
    reader.until(lambda: reader.all("#matrix.js-plotly-plot"))
    assert "Matrix of gain" in reader.label_of_matrix()
    assert not reader.find("#draw-matrix").is_displayed()


def test_too_many_names_give_way_to_a_strip_of_categories(reader: Reader, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    target = rng.integers(0, 3, 40)
    with StoreWriter(tmp_path / "store", target=target, n_classes=3) as writer:
        for place in range(125):
            category = "BASE" if place == 0 else "REINIT" if place % 2 else "DATASET"
            wrong = rng.random(40) < 0.3
            card = ModelCard(f"model {place}", category=category)
            writer.add(card, preds=np.where(wrong, (target + 1) % 3, target))
    report = made_up_report(from_store(tmp_path / "store"))
    (tmp_path / "strip.html").write_text(render(report), encoding="utf-8")
    reader.driver.get((tmp_path / "strip.html").as_uri())
    assert reader.matrix().shape == (125, 125)
    reader.choose("#order", "given")
    drawn = "return document.getElementById('matrix').data[1].text.flat().slice(0, 3)"
    reader.until(lambda: reader.run(drawn) == ["BASE", "REINIT", "DATASET"])
    assert "The strip on the left has the categories" in reader.find("#matrix-note").text
    click_on_cell(reader, 7, 90)
    shown_pair(reader, "model 7", "model 90")
    assert [e for e in reader.driver.get_log("browser") if e["level"] != "INFO"] == []


def test_what_is_left_out_is_said_of_a_pair(
    reader: Reader, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovcore.study.page import pair_data

    monkeypatch.setattr(pair_data, "MOST_BYTES", 200)
    (tmp_path / "left_out.html").write_text(render(report), encoding="utf-8")
    reader.driver.get((tmp_path / "left_out.html").as_uri())
    reader.choose("#model-a", "1")
    reader.choose("#model-b", "4")
    shown_pair(reader, NAMES[1], NAMES[4])
    assert "disagreement by class is left out" in reader.filled("lacking")
    assert "Angles of 21 pairs would take more than 64 MB" in reader.filled("lacking")
    for figure in ("#pair-theta-figure", "#pair-classes-figure"):
        assert not reader.find(figure).is_displayed()


def test_a_page_of_predictions_alone_works(reader: Reader, tmp_path: Path) -> None:
    subject = made_up_subject(tmp_path / "store", preds_alone=True)
    (tmp_path / "preds.html").write_text(render(made_up_report(subject)), encoding="utf-8")
    reader.driver.get((tmp_path / "preds.html").as_uri())
    offered = reader.run("return [...document.getElementById('metric').options].map(o => o.value)")
    assert offered[-1] == "q_statistic"
    off = ~np.eye(len(NAMES), dtype=bool)
    reader.matrix()
    reader.choose("#order", "given")
    expected = np.asarray(subject.first.comparison.error_inconsistency)
    reader.until(lambda: np.allclose(reader.matrix()[off], expected[off]))
    reader.choose("#model-a", "1")
    reader.choose("#model-b", "4")
    shown_pair(reader, NAMES[1], NAMES[4])
    assert reader.filled("lacking").startswith("The store keeps predicted classes alone")
    assert not reader.find("#pair-theta-figure").is_displayed()
    assert reader.find("#pair-classes-figure").is_displayed()
    assert [e for e in reader.driver.get_log("browser") if e["level"] != "INFO"] == []
