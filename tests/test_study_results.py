"""Results of every experiment: repeated, through JSON and back, and drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ovcore.store import Store
from ovcore.study.charts import Bars, Chart, Line, Points, Ribbon, Rule
from ovcore.study.experiments import EXPERIMENTS
from ovcore.study.of_store import from_store
from ovcore.study.of_zoo import from_zoo
from ovcore.study.results import UNCLEAR, Experiment, Finding, Lacking, Result, no_charts
from ovcore.study.subject import Subject
from ovcore.study.zoo import Recipe, ZooSplit
from plain_study import RANGE, Models, features_of, made_up, stored

KINDS = ("logits", "topk", "preds", "few", "unmarked", "zoo")


@pytest.fixture(scope="module")
def subjects(tmp_path_factory: pytest.TempPathFactory, zoo_split: ZooSplit) -> dict[str, Subject]:
    """What experiments may meet: full stores, poor ones, and the zoo."""
    folder = tmp_path_factory.mktemp("stores")
    models = made_up()
    kept = {name: features_of(models, name) for name in models.names}
    full = stored(folder / "full", models, features=kept)
    bare = {name: {"category": ""} for name in models.names}
    return {
        "logits": from_store(full, accuracy_range=RANGE, transfer=full),
        "topk": from_store(stored(folder / "topk", models, kind="topk", listed=2)),
        "preds": from_store(stored(folder / "preds", models, kind="preds")),
        "few": from_store(full.select(["base", "far"]), accuracy_range=RANGE, transfer=full),
        "unmarked": from_store(stored(folder / "unmarked", models, cards=bare), all_bases=True),
        "zoo": from_zoo(Recipe.tiny(), [zoo_split]),
    }


@pytest.fixture(scope="module")
def results(subjects: dict[str, Subject]) -> dict[tuple[str, str], Result]:
    """Of the zoo the features are left to other tests, which take long."""
    return {
        (kind, name): experiment.conduct(subject)
        for kind, subject in subjects.items()
        for name, experiment in EXPERIMENTS.items()
        if kind != "zoo" or name not in ("fig6", "fig7")
    }


def the_same(a: Any, b: Any) -> bool:
    """To the last bit; all missing values are one."""
    if pd.isna(a) or pd.isna(b):
        return bool(pd.isna(a) and pd.isna(b))
    if isinstance(a, bool | np.bool_) or isinstance(b, bool | np.bool_):
        return isinstance(a, bool | np.bool_) and isinstance(b, bool | np.bool_) and bool(a == b)
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a == b
    return float(a).hex() == float(b).hex()


def check_same(one: Result, other: Result) -> None:
    assert list(one.tables) == list(other.tables)
    for name, table in one.tables.items():
        back = other.tables[name]
        assert list(back.columns) == list(table.columns)
        assert back.index.tolist() == table.index.tolist() == list(range(len(table)))
        for column in table:
            pairs = zip(table[column], back[column], strict=True)
            assert all(the_same(a, b) for a, b in pairs), (name, column)
            if table[column].notna().any():
                assert back[column].dtype.kind == table[column].dtype.kind, (name, column)
    assert (one.findings, one.choices) == (other.findings, other.choices)
    assert (one.notes, one.lacking) == (other.notes, other.lacking)


@pytest.mark.parametrize("kind", KINDS)
def test_results_survive_json(results: dict[tuple[str, str], Result], kind: str) -> None:
    for (of, _), result in results.items():
        if of == kind:
            text = json.dumps(result.to_json(), allow_nan=False)
            check_same(result, Result.from_json(json.loads(text)))


def test_any_table_survives_json() -> None:
    table = pd.DataFrame({
        "float": [0.1, 1e-300, float("nan")], "single": np.array([0.1, 2, 3], np.float32),
        "whole": [1.0, 2.0, 3.0], "int": [1, 2**53 + 1, 3], "bool": [True, False, True],
        "text": ["a", "", "é"], "some": ["a", None, "b"], "none": [float("nan")] * 3,
    })  # fmt: skip
    nothing = pd.DataFrame({"a": pd.Series(dtype=float), "b": pd.Series(dtype=str)})
    result = Result(
        {"t": table, "nothing": nothing, "bare": pd.DataFrame()},
        (Finding("c", UNCLEAR, "e"),), {"k": "v"}, ("n",), "l",
    )  # fmt: skip
    back = Result.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    check_same(result, back)
    assert back.tables["t"]["int"].tolist() == [1, 2**53 + 1, 3]
    assert list(back.tables["nothing"].columns) == ["a", "b"]


def told(chart: Chart) -> list[float]:
    """Every number of a chart."""
    found: list[float] = []
    for panel in chart.panels:
        for axis in (panel.x, panel.y):
            found += [at for at, _ in axis.ticks]
            found += axis.limits or ()
        for layer in panel.layers:
            if isinstance(layer, Points | Line):
                assert len(layer.x) == len(layer.y)
                assert len(layer.error) in (0, len(layer.x))
                found += [*layer.x, *layer.y, *layer.error]
            if isinstance(layer, Points):
                assert len(layer.text) in (0, len(layer.x))
            if isinstance(layer, Bars):
                assert len(layer.x) == len(layer.height)
                found += [*layer.x, *layer.height]
            if isinstance(layer, Ribbon):
                assert len(layer.x) == len(layer.low) == len(layer.high)
                found += [*layer.x, *layer.low, *layer.high]
            if isinstance(layer, Rule):
                found.append(layer.at)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_back_is_drawn(results: dict[tuple[str, str], Result], kind: str) -> None:
    names: list[str] = []
    for (of, name), result in results.items():
        if of != kind or result.lacking:
            continue
        back = Result.from_json(json.loads(json.dumps(result.to_json())))
        charts = EXPERIMENTS[name].draw(back)
        assert charts == EXPERIMENTS[name].draw(result) or "nan" in repr(charts)
        shown = set(EXPERIMENTS[name].shown) - ({"models"} if name.startswith("table") else set())
        assert shown <= set(result.tables)
        for chart in charts:
            names.append(chart.name)
            assert chart.table in back.tables
            assert chart.panels
            assert chart.alternative
            values = told(chart)
            assert values
            assert not any(math.isinf(value) for value in values)
    assert len(set(names)) == len(names)
    assert names


def test_what_a_store_lacks(results: dict[tuple[str, str], Result]) -> None:
    lacking = {name: results["preds", name].lacking for name in EXPERIMENTS}
    assert {n for n, why in lacking.items() if why} >= {"fig2", "fig3", "fig4", "fig5", "fig6"}
    assert not lacking["fig1"]
    assert not lacking["fig8"]
    assert not lacking["table1"]
    for name in ("fig2", "fig3", "fig4", "fig5"):
        assert lacking[name] == (
            "the store keeps predicted classes alone, of which no ensemble is made"
        )
        found = results["preds", name].findings
        assert [f.claim for f in found] == list(EXPERIMENTS[name].claims)
        assert {(f.verdict, f.evidence) for f in found} == {(UNCLEAR, lacking[name])}
    made = [name for name in EXPERIMENTS if not results["logits", name].lacking]
    assert made == list(EXPERIMENTS)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_the_same_twice(
    subjects: dict[str, Subject], results: dict[tuple[str, str], Result], name: str
) -> None:
    check_same(results["logits", name], EXPERIMENTS[name].conduct(subjects["logits"]))


def test_claims_are_those_of_the_findings(results: dict[tuple[str, str], Result]) -> None:
    for (_, name), result in results.items():
        assert [f.claim for f in result.findings] == list(EXPERIMENTS[name].claims)
        assert not any("nan" in f.evidence for f in result.findings), result.findings


def test_a_lack_is_a_result() -> None:
    def run(_models: object) -> Result:
        raise Lacking("nothing there")

    found = Experiment("x", "", "", ("one", "two"), run, no_charts).conduct(None)
    assert found.lacking == "nothing there"
    assert [f.claim for f in found.findings] == ["one", "two"]


def run_all(store: Store, **options: Any) -> None:
    """Every experiment is made or lacks something, and what is made is drawn."""
    subject = from_store(store, **options)
    for experiment in EXPERIMENTS.values():
        result = experiment.conduct(subject)
        if not result.lacking:
            experiment.draw(Result.from_json(result.to_json()))


def test_nobody_but_the_base_in_the_range(tmp_path: Path) -> None:
    """A twin outside the range is a base all the same, whose partner is the base."""
    models = made_up(["base", "twin", "far"])
    kept = {name: features_of(models, name) for name in models.names}
    own = models.accuracy[0]
    store = stored(tmp_path / "s", models, features=kept)
    run_all(store, accuracy_range=(own, own), transfer=store)


def test_models_that_predict_the_same(tmp_path: Path) -> None:
    """They differ in confidence alone: no sample tells whom an ensemble follows."""
    one = made_up(["base"])
    both = np.concatenate([one.logits, 2 * one.logits])
    run_all(stored(tmp_path / "s", Models(["base", "far"], one.target, both, np.ones(2))))


@pytest.mark.filterwarnings("ignore:error consistency is undefined")
def test_models_that_are_always_right(tmp_path: Path) -> None:
    one = made_up(["base"])
    right = np.stack([np.eye(4, dtype=np.float32)[one.target]] * 3)
    right[2, :20] = 1 - right[2, :20]
    run_all(stored(tmp_path / "s", Models(["base", "far", "conv"], one.target, right, np.ones(3))))
