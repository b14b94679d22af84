"""Figures 1 to 3 and 8 and the tables, by loops over samples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import ovcore as ov
from ovcore.store import Store
from ovcore.study.categories import verdict_of
from ovcore.study.experiments import EXPERIMENTS, fig1, fig2, fig3, fig8, panels
from ovcore.study.of_store import from_store
from ovcore.study.results import UNCLEAR
from ovcore.study.subject import Subject, compared
from plain_study import CATEGORIES, RANGE, Models, made_up, stored

NAMES = [*made_up().names, "second"]
BASES = ("base", "twin", "second")
RANKS = ["BASE", "REINIT", "HPARAM", "ARCH", "FWORK", "DATASET"]


@pytest.fixture(scope="module")
def models() -> Models:
    return made_up(NAMES)


@pytest.fixture(scope="module")
def store(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(tmp_path_factory.mktemp("stores") / "logits", models)


@pytest.fixture(scope="module")
def subject(store: Store) -> Subject:
    return from_store(store, accuracy_range=RANGE)


def category(a: str, b: str) -> str:
    rank = max(RANKS.index(CATEGORIES[name]) for name in (a, b))
    return RANKS[max(rank, 1)]


def by_model(models: Models, metric: str, without: str = "") -> dict[str, dict[str, float]]:
    """category -> model -> mean over bases, of all models but one."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for base in BASES:
        for name in models.names:
            if name != base and without not in (base, name):
                value = models.numbers(base, name)[metric]
                found[category(base, name)][name].append(value)
    return {c: {n: float(np.mean(v)) for n, v in of.items()} for c, of in found.items()}


def in_range(models: Models, name: str) -> bool:
    return bool(RANGE[0] <= models.accuracy[models.index(name)] <= RANGE[1])


def check_categories(models: Models, table: pd.DataFrame, metrics: list[str]) -> None:
    """Means over the models in the range, each averaged over bases, and their standard errors."""
    assert list(table["category"]) == RANKS[1:]
    rows = table.set_index("category")
    for metric in metrics:
        for name, of in by_model(models, metric).items():
            values = [v for model, v in of.items() if in_range(models, model)]
            assert rows.loc[name, metric] == pytest.approx(np.mean(values), abs=1e-12)
            assert rows.loc[name, "models"] == len(values)
            if len(values) > 1:
                left = [
                    np.mean(
                        [
                            v
                            for m, v in by_model(models, metric, model)[name].items()
                            if in_range(models, m)
                        ]
                    )
                    for model in of
                    if in_range(models, model)
                ]
                n = len(left)
                error = np.sqrt((n - 1) / n * ((left - np.mean(left)) ** 2).sum())
                assert rows.loc[name, f"{metric}_se"] == pytest.approx(error, abs=1e-12)
            else:
                assert np.isnan(rows.loc[name, f"{metric}_se"])


OUTCOMES = ["both_right", "error_inconsistency", "both_wrong"]


def test_outcomes_by_category_and_model(models: Models, subject: Subject) -> None:
    for experiment, metrics in ((fig1, [*OUTCOMES, "relative_to_chance"]), (fig8, OUTCOMES)):
        result = experiment.run(subject)
        check_categories(models, result.tables["categories"], metrics)
        for _, row in result.tables["models"].iterrows():
            assert sum(row[m] for m in OUTCOMES) == pytest.approx(1)
            for metric in metrics:
                expected = by_model(models, metric)[row["category"]][row["model"]]
                assert row[metric] == pytest.approx(expected, abs=1e-12)
            assert row["in_band"] == in_range(models, row["model"])


def test_ensembles_by_category(models: Models, subject: Subject) -> None:
    result = fig2.run(subject)
    metrics = ["error_inconsistency", "gain", "ensemble_accuracy", "conversion_rate"]
    check_categories(models, result.tables["categories"], metrics)


def test_lines_are_least_squares(subject: Subject) -> None:
    result = fig2.run(subject)
    rows = result.tables["models"]
    rows = rows[rows["in_band"]]
    for _, fit in result.tables["lines"].iterrows():
        x, y = rows["error_inconsistency"].to_numpy(), rows[fit["metric"]].to_numpy()
        n, dx, dy = len(x), x - x.mean(), y - y.mean()
        slope, r = (dx * dy).sum() / (dx**2).sum(), np.corrcoef(x, y)[0, 1]
        left = dy - slope * dx
        residual = np.sqrt((left**2).sum() / (n - 2))
        assert fit["n"] == n
        assert fit["slope"] == pytest.approx(slope)
        assert fit["intercept"] == pytest.approx(y.mean() - slope * x.mean())
        assert fit["slope_se"] == pytest.approx(residual / np.sqrt((dx**2).sum()))
        assert fit["residual"] == pytest.approx(residual)
        interval = stats.pearsonr(x, y).confidence_interval(0.95)
        assert fit["r"] == pytest.approx(r)
        assert (fit["r_low"], fit["r_high"]) == pytest.approx(tuple(interval), abs=1e-4)
        assert (fit["x_low"], fit["x_high"]) == (x.min(), x.max())


@pytest.mark.parametrize("rows", [3, 5])
def test_too_little_for_a_line(rows: int) -> None:
    data = pd.DataFrame({"error_inconsistency": [0.1, 0.2, 0.3, 0.4, 0.5][:rows], "gain": 0.1})
    fit = fig2.line(data.assign(model=range(rows)), "gain")
    assert fit["n"] == fit["models"] == rows
    assert np.isnan([v for k, v in fit.items() if k not in ("n", "models")]).all()


def test_a_model_counts_once_in_the_interval_of_a_line() -> None:
    rows = pd.DataFrame({
        "error_inconsistency": [0.1, 0.2, 0.3, 0.4, 0.5] * 2,
        "gain": [0.1, 0.3, 0.2, 0.5, 0.4] * 2,
        "model": list("abcde") * 2,
    })  # fmt: skip
    once, twice = fig2.line(rows[:5], "gain"), fig2.line(rows, "gain")
    for key in ("r", "r_low", "r_high", "models"):
        assert twice[key] == pytest.approx(once[key])
    assert twice["n"] == 10


def gap(models: Models, base: str, other: str) -> tuple[float, float]:
    """Mean angle where only the base is right minus where only the other is; who is the surer."""
    ours, theirs = models.right[models.index(base)], models.right[models.index(other)]
    theta = models.theta(base, other)
    one, two = theta[ours & ~theirs], theta[~ours & theirs]
    surer = (one > 0).sum() + (two < 0).sum()
    return one.mean() - two.mean(), surer / (len(one) + len(two))


def check_angles(models: Models, subject: Subject, bases: tuple[str, ...]) -> None:
    result = fig3.run(subject)
    gaps = result.tables["theta gaps"].set_index("category")
    theta = result.tables["theta"]
    edges = np.linspace(-45, 45, fig3.BINS + 1)
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    totals: dict[str, Any] = defaultdict(lambda: np.zeros((2, fig3.BINS)))
    for base in bases:
        for name in subject.first.names:
            if name == base or not in_range(models, name):
                continue
            kind = subject.category(base, name)
            found[kind][name].append(gap(models, base, name))
            ours, theirs = models.right[models.index(base)], models.right[models.index(name)]
            angle = models.theta(base, name)
            for row, chosen in enumerate((ours & ~theirs, ~ours & theirs)):
                totals[kind][row] += np.histogram(angle[chosen], edges)[0]
    for kind, of in found.items():
        values = [np.mean(v, axis=0) for v in of.values()]
        wanted, surer = np.mean(values, axis=0)
        assert abs(gaps.loc[kind, "theta_gap"] - wanted) <= 90 / fig3.BINS / 2
        assert gaps.loc[kind, "specialized"] == pytest.approx(surer)
        mine = theta[theta["category"] == kind]
        np.testing.assert_array_equal(mine[["only_base", "only_other"]].T, totals[kind])


def test_angles_of_several_bases(models: Models, subject: Subject) -> None:
    check_angles(models, subject, BASES)


@pytest.mark.parametrize("base", ["base", "conv", "second"])
def test_the_base_is_model_1_wherever_it_stands(models: Models, store: Store, base: str) -> None:
    subject = from_store(store, base=base, accuracy_range=RANGE)
    check_angles(models, replace(subject, bases=(base,)), (base,))


def test_many_models_take_one_pass_a_base(
    models: Models, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fig3, "MANY_PAIRS", 1)
    monkeypatch.setattr(fig3, "FEW_BASES", 2)
    check_angles(models, subject, BASES[:2])
    assert fig3.run(subject).notes == ("Of 3 bases the first 2 are taken here.",)


@pytest.mark.parametrize("order", [["base", "far"], ["far", "base"]])
def test_equal_confidences_are_neither_surer(tmp_path: Path, order: list[str]) -> None:
    """A model is the more confident where its angle is strictly on its side, in any order."""
    target = np.array([0, 0, 1, 1, 0, 1])
    wrong = {"base": np.array([0, 0, 0, 1, 0, 0], bool), "far": np.array([1, 1, 0, 0, 1, 0], bool)}
    sure = {"base": [0.8, 0.7, 0.7, 0.6, 0.9, 0.6], "far": [0.8, 0.7, 0.7, 0.9, 0.6, 0.6]}
    tops = {
        name: ov.TopK(
            np.where(wrong[name], 1 - target, target)[:, None],
            np.array(sure[name])[:, None],
            2,
        )
        for name in order
    }
    with ov.store.StoreWriter(tmp_path / "s", target=target) as writer:
        for name in order:
            writer.add(ov.store.ModelCard(name, category=CATEGORIES[name]), topk=tops[name])
    for names in (("base",), ("base", "far")):  # through either path
        subject = from_store(tmp_path / "s", accuracy_range=(0, 1))
        gaps = fig3.run(replace(subject, bases=names)).tables["theta gaps"]
        assert gaps["specialized"].tolist() == [0.5]  # 2 of 4: the others are equally sure


def test_samples_of_the_nearest_partner(models: Models, subject: Subject) -> None:
    points = fig3.run(subject).tables["samples"]
    assert points.groupby("category")["model"].unique().str[0].to_dict() == {
        "REINIT": "second", "HPARAM": "wide", "ARCH": "conv", "FWORK": "ssl", "DATASET": "farther"
    }  # fmt: skip
    for (name, outcome), rows in points.groupby(["model", "outcome"]):
        ours, theirs = models.right[0], models.right[models.index(name)]
        chosen = ours & ~theirs if outcome == "only_base" else ~ours & theirs
        assert rows["sample"].tolist() == np.flatnonzero(chosen).tolist()
        for who, column in (("base", "base_confidence"), (name, "other_confidence")):
            np.testing.assert_allclose(rows[column], models.confidence(who)[chosen])


def monotone(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The non-decreasing fit of least squares: neighbours out of order are pooled."""
    blocks: list[list[float]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            v, w, n = blocks.pop()
            v0, w0, n0 = blocks.pop()
            blocks.append([(v * w + v0 * w0) / (w + w0), w + w0, n + n0])
    return np.concatenate([[v] * int(n) for v, _, n in blocks])


def test_who_prevails_by_angle(models: Models, subject: Subject) -> None:
    result = fig3.run(subject)
    shares, crossings = (
        result.tables["shares"],
        result.tables["prevailing angles"].set_index("category"),
    )
    partners = {"REINIT": ["twin", "second"], "DATASET": ["far", "farther"], "ARCH": ["conv"]}
    edges = np.linspace(-45, 45, 181)
    for kind, names in partners.items():
        follows, every = np.zeros(180), np.zeros(180)
        for name in names:
            m = models.index(name)
            together = (models.probs[0] + models.probs[m]).argmax(axis=1)
            differ = models.preds[0] != models.preds[m]
            for i in np.flatnonzero(differ):
                place = np.searchsorted(edges, models.theta("base", name)[i], side="right") - 1
                every[place] += 1
                follows[place] += together[i] == models.preds[0][i]
        mine = shares[shares["category"] == kind]
        seen = every > 0
        first, last = np.flatnonzero(seen)[[0, -1]]  # nothing is told beyond the angles seen
        assert mine["samples"].tolist() == every[first : last + 1].tolist()
        centres = (edges[:-1] + edges[1:]) / 2
        fit = monotone(follows[seen] / every[seen], every[seen])
        wanted = np.interp(centres[first : last + 1], centres[seen], fit)
        np.testing.assert_allclose(mine["share"], wanted, atol=1e-9)
        for share in (0.1, 0.5, 0.9):
            reached = mine["share"].to_numpy() >= share
            angle = edges[first : last + 1][reached].min() if not reached[0] else np.nan
            np.testing.assert_equal(crossings.loc[kind, f"theta_{100 * share:.0f}"], angle)


def table_of(name: str, subject: Subject) -> pd.DataFrame:
    result = EXPERIMENTS[name].conduct(subject)
    assert len(result.tables["the paper’s models"]) > 1
    if "models" not in result.tables:
        assert result.notes[0].startswith("No model here belongs in this table")
    return result.tables.get("models", pd.DataFrame({"model": []}))


TABLES = ("table1", "table2", "table3", "table4")


def test_tables_have_the_models_they_say(models: Models, subject: Subject) -> None:
    found = [set(table_of(name, subject)["model"]) for name in TABLES]
    low = {"strong": 1, "weak": 2, "tiny": 3}
    expected: list[set[str]] = [set(), set(), set(), set()]
    for name in models.names:
        expected[low.get(name, 0)].add(name)
    assert found == expected


@pytest.mark.parametrize("accuracy_range", [(0.9, 1.0), (0.4, 0.6), (0.7, 0.79), None])
def test_every_model_is_in_one_table(store: Store, accuracy_range: Any) -> None:
    """The base, too, where it is outside the range itself."""
    subject = from_store(store, accuracy_range=accuracy_range)
    found = [name for table in TABLES for name in table_of(table, subject)["model"]]
    assert sorted(found) == sorted(store.names)


def test_tables_compare_with_the_base(models: Models, subject: Subject) -> None:
    rows = table_of("table1", subject)
    assert rows["category"].tolist() == sorted(rows["category"], key=RANKS.index)
    assert rows["model"].iloc[0] == "base"
    for _, row in rows.iterrows():
        m = models.index(row["model"])
        assert row["temperature"] == pytest.approx(models.temperature[m])
        assert row["accuracy"] == pytest.approx(models.accuracy[m])
        if row["model"] != "base":
            for key in ("error_inconsistency", "ensemble_accuracy", "gain", "conversion_rate"):
                assert row[key] == pytest.approx(models.numbers("base", row["model"])[key])
    apart = rows["error_inconsistency"][rows["category"] == "DATASET"]
    assert apart.is_monotonic_increasing


def test_tables_of_two_splits_are_means(models: Models, subject: Subject) -> None:
    split = subject.first
    half = split.store.select(samples=np.arange(120))
    again = compared(
        half, half.outputs(), base="base", temperature=models.temperature,
        fitted=2 * models.temperature,
    )  # fmt: skip
    rows = table_of("table1", replace(subject, splits=(split, again))).set_index("model")
    wide = models.index("wide")
    right = models.right[wide]
    assert rows.loc["wide", "accuracy"] == pytest.approx((right.mean() + right[:120].mean()) / 2)
    assert rows.loc["wide", "temperature"] == pytest.approx(1.5 * models.temperature[wide])


def test_one_pair_of_twins_is_one_observation(tmp_path: Path) -> None:
    """Seen from both bases it has the same number twice, which is no standard error of 0."""
    store = stored(tmp_path / "s", made_up())
    rows = fig1.run(from_store(store, accuracy_range=RANGE)).tables["categories"]
    assert np.isnan(rows.set_index("category").loc["REINIT", "error_inconsistency_se"])
    assert verdict_of(0.1, float("nan")) == UNCLEAR


@pytest.mark.parametrize("value", [-0.02, 0.01])
def test_axes_show_all_models_in_the_range(value: float) -> None:
    rows = pd.DataFrame({
        "category": "ARCH", "model": list("abc"), "in_band": [True, True, False],
        "gain": [value, 0.03, 0.9],
    })  # fmt: skip
    means = pd.DataFrame({"category": ["ARCH"], "gain": [0.0], "gain_se": [0.01]})
    panel = panels.by_category(rows, means, "gain", fig2.Axis(from_zero=True))
    assert panel.y.limits is not None
    assert panel.y.limits[0] <= value
    assert panel.y.limits[0] <= 0
    assert 0.03 < panel.y.limits[1] < 0.1
