"""A real browser for tests of the study's page, and what a reader does there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ovcore.study.page import Report, render
from page_reports import made_up_report, made_up_subject


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
