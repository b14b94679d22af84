"""The study's page in a real browser, opened from a file."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import ovcore as ov
from ovcore.store import ModelCard, StoreWriter
from ovcore.study.from_store import from_store
from ovcore.study.page import Report, render
from page_reports import CLASSES, NAMES, TABLES, made_up_report, made_up_subject


def need_browser() -> None:
    """Skips where there is none, or fails where one is asked for."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        lacking = "selenium is not installed"
    else:
        programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
        if not programs:
            return
        lacking = f"{' and '.join(programs)} is not installed"
    if os.environ.get("OVCORE_REQUIRE_BROWSER"):
        pytest.fail(f"OVCORE_REQUIRE_BROWSER is set, but {lacking}")
    pytest.skip(lacking)


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    need_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--window-size=1280,1000", "--force-prefers-reduced-motion",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.set_script_timeout(30)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    need_browser()
    return made_up_report(made_up_subject(tmp_path_factory.mktemp("browser") / "store"))


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render(report), encoding="utf-8")
    return path


class Reader:
    """Somebody with the page before them."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def until(self, holds: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 20).until(lambda _: holds())

    def choose(self, selector: str, value: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.find(selector)).select_by_value(value)

    def press(self, selector: str, keys: str) -> None:
        """By keyboard alone."""
        self.run("arguments[0].focus()", self.find(selector))
        self.driver.switch_to.active_element.send_keys(keys)

    def scroll_to(self, selector: str) -> None:
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})",
                 self.find(selector))  # fmt: skip

    def models(self) -> list[str]:
        """Names in the table that can be seen, in their order."""
        return list(self.run(
            "return [...document.querySelectorAll('#models-table tbody tr:not([hidden]) th')]"
            ".map((cell) => cell.textContent.trim())"
        ))  # fmt: skip

    def matrix(self) -> NDArray[np.float64]:
        """What is drawn; NaN where there is nothing."""
        self.scroll_to("#matrix")
        self.until(lambda: self.run("return Boolean(document.getElementById('matrix').data)"))
        z = self.run("return document.getElementById('matrix').data[0].z")
        return np.array(z, float)

    def label_of_matrix(self) -> str:
        return str(self.find("#matrix").get_attribute("aria-label"))

    def filled(self, name: str) -> str:
        return str(self.find(f'[data-fill="{name}"]').text)


@pytest.fixture
def reader(driver: Any, file: Path) -> Reader:
    """With the page just opened; what was logged before is forgotten."""
    driver.set_window_size(1280, 1000)
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(file.as_uri())
    return Reader(driver)


def head(name: str) -> str:
    return f'#models-table th[data-name="{name}"]'


def test_the_table_sorts_by_numbers_and_text(reader: Reader, report: Report) -> None:
    table = report.models
    reader.find(f"{head('accuracy')} button").click()
    ascending = table.sort_values("accuracy", kind="stable")["model"].tolist()
    assert reader.models() == ascending
    assert reader.find(head("accuracy")).get_attribute("aria-sort") == "ascending"
    reader.find(f"{head('accuracy')} button").click()
    descending = table.sort_values("accuracy", ascending=False, kind="stable")
    assert reader.models() == descending["model"].tolist()
    assert reader.find(head("accuracy")).get_attribute("aria-sort") == "descending"
    reader.find(f"{head('model')} button").click()
    assert reader.models() == sorted(NAMES)
    assert len(reader.all("#models-table th[aria-sort]")) == 1
    reader.find(f"{head('category')} button").click()  # from the same recipe to other data
    assert reader.models() == ["base", "twin", "wider <b>", "conv", "self-taught",
                               "elsewhere", "weak"]  # fmt: skip


def test_none_is_last_in_both_directions(reader: Reader, report: Report) -> None:
    assert report.models["conversion_rate"].isna().tolist() == [True] + 6 * [False]
    for _ in range(2):
        reader.find(f"{head('conversion_rate')} button").click()
        assert reader.models()[-1] == "base"


def test_rows_of_equal_value_keep_their_order(reader: Reader, report: Report) -> None:
    reader.find(f"{head('model')} button").click()
    reader.find(f"{head('head')} button").click()
    by_name = report.models.sort_values("model")
    assert reader.models() == by_name.sort_values("head", kind="stable")["model"].tolist()
    reader.find(f"{head('head')} button").click()
    expected = by_name.sort_values("head", kind="stable", ascending=False)["model"].tolist()
    assert reader.models() == expected


def test_the_keyboard_sorts(reader: Reader, report: Report) -> None:
    reader.press(f"{head('gain')} button", "\n")
    expected = report.models.sort_values("gain", kind="stable")["model"].tolist()
    assert reader.models() == expected
    reader.press(f"{head('gain')} button", " ")
    backwards = report.models.sort_values("gain", kind="stable", ascending=False)
    assert reader.models() == backwards["model"].tolist()


def test_filters_narrow_the_table_and_count(reader: Reader) -> None:
    def count() -> str:
        return str(reader.find("#models-count").text)

    assert count() == "7 of 7 models"
    reader.find("#filter-text").send_keys("ZERO-shot")
    assert reader.models() == NAMES[::2]
    assert count() == "4 of 7 models"
    reader.find("#filter-text").clear()
    reader.find("#filter-text").send_keys("method 3")
    assert reader.models() == ["conv"]
    reader.find("#filter-text").clear()
    reader.find("#filter-text").send_keys("er <b")
    assert reader.models() == ["wider <b>"]
    reader.run("const t = arguments[0]; t.value = ''; t.dispatchEvent(new Event('input'))",
               reader.find("#filter-text"))  # fmt: skip
    reader.find('#models-filter input[value="DATASET"]').click()
    assert reader.models() == NAMES[:5]
    reader.find('#models-filter input[value="DATASET"]').click()
    reader.find("#filter-range").click()
    assert reader.models() == NAMES[:6]
    assert count() == "6 of 7 models"
    assert reader.find("#models-count").get_attribute("aria-live") == "polite"


def expected_metrics(report: Report) -> dict[str, NDArray[np.float64]]:
    comparison = report.subject.first.comparison
    errors, ensembles = comparison.errors, comparison.ensembles
    assert ensembles is not None
    return {
        "error_inconsistency": ov.pairwise.error_inconsistency(errors),
        "relative_to_chance": ov.pairwise.relative_inconsistency(errors),
        "error_consistency": ov.pairwise.error_consistency(errors),
        "error_correlation": ov.pairwise.error_correlation(errors),
        "double_fault": ov.pairwise.double_fault(errors),
        "q_statistic": ov.pairwise.q_statistic(errors),
        "ensemble_accuracy": ensembles.accuracy,
        "gain": ensembles.gain,
        "gain_over_best": ensembles.gain_over_best,
        "conversion_rate": ensembles.conversion_rate,
        "rescue_rate": ensembles.rescue_rate,
    }


def test_every_metric_is_that_of_the_library(reader: Reader, report: Report) -> None:
    offered = reader.run("return [...document.getElementById('metric').options].map(o => o.value)")
    expected = expected_metrics(report)
    assert offered == list(expected)
    reader.matrix()
    reader.choose("#order", "given")
    for name, matrix in expected.items():
        reader.choose("#metric", name)
        words = reader.find(f'#metric option[value="{name}"]').text
        reader.until(lambda words=words: f"Matrix of {words} " in reader.label_of_matrix())
        shown = reader.matrix()
        assert np.isnan(shown.diagonal()).all()
        apart = ~np.eye(len(NAMES), dtype=bool)
        np.testing.assert_allclose(shown[apart], np.asarray(matrix)[apart], rtol=0, atol=1e-12)


def test_colours_span_the_pairs_in_the_accuracy_range(reader: Reader, report: Report) -> None:
    reader.matrix()
    inside = report.subject.in_range(report.subject.first)
    matrix = expected_metrics(report)["error_inconsistency"]
    between = matrix[np.triu(np.outer(inside, inside), 1)]
    trace = reader.run(
        "const [t] = document.getElementById('matrix').data; return [t.zmin, t.zmax]"
    )
    np.testing.assert_allclose(trace, np.quantile(between, [0.02, 0.98]), rtol=1e-12)


def test_the_order_of_models_can_be_chosen(reader: Reader, report: Report) -> None:
    comparison = report.subject.first.comparison
    matrix = np.asarray(comparison.error_inconsistency)
    by_accuracy = np.argsort(-np.asarray(comparison.accuracy), kind="stable")
    reader.matrix()
    for name, order in (
        ("clustered", comparison.clustered_order()),
        ("accuracy", by_accuracy),
        ("given", np.arange(len(NAMES))),
    ):
        reader.choose("#order", name)
        names = [NAMES[m] for m in order]
        reader.until(lambda names=names: reader.run(
            "return document.getElementById('matrix').data[0].y"
        ) == names)  # fmt: skip
        off = ~np.eye(len(NAMES), dtype=bool)
        np.testing.assert_allclose(reader.matrix()[off], matrix[np.ix_(order, order)][off])


def click_on_cell(reader: Reader, row: int, column: int) -> None:
    """With the mouse, in the middle of a cell."""
    from selenium.webdriver.common.action_chains import ActionChains

    reader.scroll_to("#matrix")
    x, y = reader.run(
        "const place = document.getElementById('matrix'), { xaxis, yaxis } = place._fullLayout;"
        "const box = place.getBoundingClientRect();"
        "return [box.x + xaxis._offset + xaxis.c2p(arguments[0]),"
        " box.y + yaxis._offset + yaxis.c2p(arguments[1])]",
        column, row,
    )  # fmt: skip
    mouse = ActionChains(reader.driver)
    mouse.w3c_actions.pointer_action.move_to_location(int(x) - 2, int(y))
    mouse.w3c_actions.pointer_action.move_to_location(int(x), int(y))
    mouse.w3c_actions.pointer_action.click()
    mouse.perform()


def shown_pair(reader: Reader, a: str, b: str) -> None:
    reader.until(lambda: reader.find("#pair-shown").is_displayed()
                 and reader.filled("names") == f"A: {a}, B: {b}")  # fmt: skip


def check_pair(reader: Reader, report: Report, a: str, b: str) -> None:
    """All that the panel says of a pair, against samples counted one by one."""
    subject, split = report.subject, report.subject.first
    n = split.comparison.n_samples
    right_a, right_b = split.right(a), split.right(b)
    only_a, only_b = right_a & ~right_b, right_b & ~right_a
    for outcome, chosen in (
        ("n11", right_a & right_b), ("n10", only_a), ("n01", only_b), ("n00", ~right_a & ~right_b),
    ):  # fmt: skip
        expected = f"{chosen.sum()} ({100 * chosen.mean():.2f} %)"
        assert reader.filled(outcome) == expected, outcome
    assert reader.filled("category") == subject.category(a, b)

    i, j = split.index(a), split.index(b)
    ensembles = split.comparison.ensembles
    assert ensembles is not None
    told = {
        group.find_element("css selector", "dt").text: group.find_element("css selector", "dd").text
        for group in reader.all("#pair-metrics > div")
    }
    assert told["accuracy of A"] == f"{right_a.mean():.4f}"
    assert told["error inconsistency"] == f"{(only_a | only_b).mean():.4f}"
    assert told["ensemble accuracy"] == f"{ensembles.accuracy[i, j]:.4f}"
    assert told["gain over the mean"] == f"{ensembles.gain[i, j]:.4f}".replace("-", "−")
    assert told["conversion rate"] == (
        f"{ensembles.conversions[i, j]} of {(only_a | only_b).sum()}: "
        f"{ensembles.conversion_rate[i, j]:.4f}"
    )
    assert told["rescue rate"].startswith(f"{ensembles.rescues[i, j]} of ")

    drawn = reader.run("return document.getElementById('pair-theta').data.map(t => [t.name, t.y])")
    angle, edges = np.degrees(split.theta(a, b)), np.linspace(-45, 45, 19)
    assert dict(drawn) == {
        "only A is right": np.histogram(angle[only_a], edges)[0].tolist(),
        "only B is right": np.histogram(angle[only_b], edges)[0].tolist(),
    }
    names, of_a, of_b = reader.run(
        "const [a, b] = document.getElementById('pair-classes').data;return [a.hovertext, a.x, b.x]"
    )
    counts = [np.bincount(split.target[who], minlength=len(CLASSES)) for who in (only_a, only_b)]
    order = np.argsort(-(counts[0] + counts[1]), kind="stable")
    escaped = [name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
               for name in CLASSES]  # fmt: skip
    assert names == [escaped[k] for k in order]
    assert of_a == counts[0][order].tolist()
    assert of_b == counts[1][order].tolist()
    assert n == of_samples(reader)


def of_samples(reader: Reader) -> int:
    """The four counts of the table add up to all samples."""
    cells = [reader.filled(outcome) for outcome in ("n11", "n10", "n01", "n00")]
    return sum(int(cell.split()[0]) for cell in cells)


def test_a_click_on_a_cell_shows_the_pair(reader: Reader, report: Report) -> None:
    reader.matrix()
    order = report.subject.first.comparison.clustered_order()
    for row, column in ((1, 4), (5, 2)):
        a, b = NAMES[order[row]], NAMES[order[column]]
        click_on_cell(reader, row, column)
        shown_pair(reader, a, b)
        check_pair(reader, report, a, b)
    chosen = [reader.find(f"#model-{which}").get_attribute("value") for which in "ab"]
    assert chosen == [str(order[5]), str(order[2])]


def test_two_lists_show_the_pair_without_a_mouse(reader: Reader, report: Report) -> None:
    hint = reader.find("#pair-hint")
    assert hint.is_displayed()
    reader.choose("#model-a", "5")
    reader.choose("#model-b", "2")
    shown_pair(reader, NAMES[5], NAMES[2])
    check_pair(reader, report, NAMES[5], NAMES[2])
    assert not hint.is_displayed()
    assert reader.find("#pair").get_attribute("aria-live") == "polite"
    reader.choose("#model-b", "5")
    reader.until(hint.is_displayed)
    assert hint.text == "A pair takes two different models."
    assert not reader.find("#pair-shown").is_displayed()


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


def test_the_keyboard_goes_to_the_findings_first(reader: Reader) -> None:
    from selenium.webdriver.common.keys import Keys

    reader.find("body").send_keys(Keys.TAB)
    skip = reader.driver.switch_to.active_element
    assert skip.text == "To the findings"
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
