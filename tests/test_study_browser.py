"""The study's page in a real browser: its table of models, and all pairs."""

from __future__ import annotations

from html import escape

import numpy as np
from numpy.typing import NDArray

import ovcore as ov
from browser import Reader, click_on_cell, driver, file, reader, report, shown_pair  # noqa: F401
from ovcore.study.page import Report
from page_reports import CLASSES, NAMES


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
        names = [escape(NAMES[m], quote=False) for m in order]  # as plotly reads tags
        reader.until(lambda names=names: reader.run(
            "return document.getElementById('matrix').data[0].y"
        ) == names)  # fmt: skip
        off = ~np.eye(len(NAMES), dtype=bool)
        np.testing.assert_allclose(reader.matrix()[off], matrix[np.ix_(order, order)][off])


def check_pair(reader: Reader, report: Report, a: str, b: str) -> None:
    """All that the panel says of a pair, against samples counted one by one."""
    subject, split = report.subject, report.subject.first
    n = split.comparison.n_samples
    right_a, right_b = split.right(a), split.right(b)
    only_a, only_b = right_a & ~right_b, right_b & ~right_a
    for outcome, chosen in (
        ("n11", right_a & right_b), ("n10", only_a), ("n01", only_b), ("n00", ~right_a & ~right_b),
    ):  # fmt: skip
        expected = f"{chosen.sum()} ({100 * chosen.mean():.2f}%)"
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
