"""Figures 6 and 7: probes of features, against probes made directly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ovcore import representations
from ovcore.store import ModelCard, Store, StoreWriter
from ovcore.study import features
from ovcore.study.experiments import fig6, fig7
from ovcore.study.of_store import from_store
from ovcore.study.of_zoo import from_zoo
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Lacking
from ovcore.study.subject import Subject
from ovcore.study.zoo import Recipe, ZooSplit
from plain_study import CATEGORIES, Models, features_of, made_up, stored

NAMES = [n for n in CATEGORIES if n not in ("strong", "tiny", "second")]
RANGE = (0.7, 0.85)


@pytest.fixture(scope="module")
def models() -> Models:
    return made_up(NAMES)


@pytest.fixture(scope="module")
def kept(models: Models) -> dict[str, np.ndarray]:
    """ssl has fewer than the base, conv more; farther is another head on far."""
    widths = {"ssl": 5, "conv": 8}
    found = {name: features_of(models, name, widths.get(name, 6)) for name in NAMES}
    return found | {"farther": found["far"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="module")
def store(models: Models, kept: dict[str, np.ndarray], folder: Path) -> Store:
    return stored(folder / "own", models, features=kept)


@pytest.fixture(scope="module")
def transfer(models: Models, kept: dict[str, np.ndarray], folder: Path) -> Store:
    """Three labels, of which samples are difficult for one; twin is not there."""
    rng = np.random.default_rng(1)
    some = [name for name in NAMES if name != "twin"]
    common = models.logits.mean(axis=0)
    columns: dict[str, np.ndarray] = {}
    for k, name in enumerate(("dog", "cat", "bird")):
        columns[f"present.{name}"] = (common[:, k] + rng.normal(size=240) > 1).astype(np.int64)
    columns["difficult.cat"] = (rng.random(240) < 0.1).astype(np.int64)
    with StoreWriter(folder / "transfer", target=np.zeros(240, np.int64), columns=columns) as w:
        for name in some:
            w.add(ModelCard(name), features=kept[name])
    return Store(folder / "transfer")


def test_parts_are_halves_of_each_class_and_fold(models: Models, tmp_path: Path) -> None:
    fold = (np.arange(240) % 3 == 0).astype(np.int64)
    store = stored(tmp_path / "s", models, columns={"fold": fold})
    parts = list(features.halves(store, 0))
    assert [part for part, _, _ in parts] == [0, 1]
    for part, fitting, scoring in parts:
        assert set(fitting).isdisjoint(scoring)
        assert sorted([*fitting, *scoring]) == np.flatnonzero(fold == part).tolist()
        fitted, scored = (np.bincount(models.target[p], minlength=4) for p in (fitting, scoring))
        assert (abs(fitted - scored) <= 1).all()
    again, other = (next(features.halves(store, seed))[1].tolist() for seed in (0, 1))
    assert again == parts[0][1].tolist() != other


def test_of_many_samples_some_are_drawn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST_SAMPLES", 50)
    ((_, fitting, scoring),) = features.halves(store, 0)
    assert len(fitting) + len(scoring) == 100
    assert max(len(fitting), len(scoring)) <= 52


def test_each_network_is_there_once(store: Store) -> None:
    """Of two heads the nearer in accuracy; nothing narrower than the base."""
    pairs = features.feature_pairs(from_store(store, accuracy_range=RANGE))
    assert [(p.category, p.model, p.rank) for p in pairs] == [
        ("REINIT", "twin", 0), ("HPARAM", "wide", 0), ("ARCH", "conv", 0),
        ("DATASET", "farther", 0),
    ]  # fmt: skip
    assert {p.features[1].shape[1] for p in pairs} == {6, 8}


@pytest.mark.parametrize("twin_of", ["base", "wide"])
def test_heads_of_different_categories_are_one_network(
    models: Models, kept: dict[str, np.ndarray], tmp_path: Path, twin_of: str
) -> None:
    store = stored(tmp_path / "s", models, features=kept | {"far": kept[twin_of]})
    pairs = features.feature_pairs(from_store(store, accuracy_range=RANGE))
    assert "far" not in [p.model for p in pairs]


def test_mixtures_are_what_probes_reach(store: Store, kept: dict[str, np.ndarray]) -> None:
    subject = from_store(store, accuracy_range=RANGE)
    mixing = fig6.run(subject).tables["mixing"]
    ((_, fitting, scoring),) = features.halves(store, 0)
    rows = mixing[mixing["model"] == "conv"]
    assert len(rows) == 4 * fig6.SEEDS + 1
    for _, row in rows.iterrows():
        mixed = representations.mix_features(
            kept["base"], kept["conv"], rate=row["rate"], seed=row["seed"]
        )
        assert mixed.shape[1] == 6
        probe = representations.LinearProbe(C=1.0).fit(mixed[fitting], store.target[fitting])
        expected = probe.score(mixed[scoring], store.target[scoring])
        assert row["accuracy"] == pytest.approx(expected, abs=1.5 / len(scoring))
    alone = mixing[mixing["rate"] == 1]["accuracy"]
    assert len(alone) == 4
    assert alone.nunique() == 1


def test_curves_are_what_probes_reach(store: Store, kept: dict[str, np.ndarray]) -> None:
    curves = fig6.run(from_store(store, accuracy_range=RANGE)).tables["curves"]
    ((_, fitting, scoring),) = features.halves(store, 0)
    both = np.hstack([kept["base"], kept["farther"]])
    correlated = abs(np.corrcoef(both[fitting].T))
    np.fill_diagonal(correlated, 0)
    order = np.argsort(correlated.sum(axis=0))
    base = representations.LinearProbe(C=1.0).fit(kept["base"][fitting], store.target[fitting])
    target = base.score(kept["base"][scoring], store.target[scoring])
    mine = curves[curves["model"] == "farther"]
    np.testing.assert_allclose(mine["target"], target)
    for name, ranked in (("diverse", order), ("reverse", order[::-1])):
        for _, row in mine[mine["order"] == name].iterrows():
            first = both[:, ranked[: row["dims"]]]
            probe = representations.LinearProbe(C=1.0).fit(first[fitting], store.target[fitting])
            expected = probe.score(first[scoring], store.target[scoring])
            assert row["accuracy"] == pytest.approx(expected, abs=1.5 / len(scoring))
    last = curves[curves["dims"] == curves.groupby("model")["dims"].transform("max")]
    assert set(last["order"]) == {"diverse", "reverse", "random"}
    assert (last.groupby("model")["accuracy"].nunique() == 1).all()
    assert curves["draw"].max() == fig6.SEEDS - 1


def test_points_of_the_curves_are_as_many_as_said(tmp_path: Path) -> None:
    """POINTS of them up to twice the base's own number of dimensions."""
    some = made_up(["base", "far"])
    wide = {name: features_of(some, name, 16) for name in some.names}
    subject = from_store(stored(tmp_path / "s", some, features=wide), accuracy_range=RANGE)
    curves = fig6.run(subject).tables["curves"]
    dims = np.unique(curves["dims"])
    assert dims[-1] == 32
    assert len(dims) == fig6.POINTS


def mixing_of(values: dict[str, tuple[float, float, float]]) -> pd.DataFrame:
    """Accuracies of each model of DATASET at rates 0, 0.5 and 1."""
    return pd.DataFrame([
        {"split": 0, "half": half, "model": model, "category": "DATASET", "rate": rate,
         "seed": seed, "accuracy": accuracy + shift}
        for model, of_rates in values.items()
        for rate, accuracy in zip((0.0, 0.5, 1.0), of_rates, strict=True)
        for half in (0, 1)
        for seed, shift in ((0, 0.01), (1, -0.01))
    ])  # fmt: skip


def test_mixtures_are_averaged_before_the_better_one_is_chosen() -> None:
    samples = fig6.mixing_samples(mixing_of({"a": (0.8, 0.95, 0.9), "b": (0.9, 0.9, 0.7)}))
    found = fig6.category_table(samples, fig6.OVER).set_index("category").loc["DATASET"]
    assert found["units"] == 2
    assert found["over_base"] == pytest.approx((0.05 + 0.2) / 2)
    assert found["over_other"] == pytest.approx((0.15 + 0.0) / 2)
    assert found["over_better"] == pytest.approx((0.05 + 0.0) / 2)
    assert found["over_mean"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["over_better_se"] == pytest.approx(0.025)


def curves_of(dims: dict[str, int | None], category: str, model: str) -> list[dict[str, object]]:
    """Curves that reach the target at a number of dimensions each, or nowhere."""
    return [
        {"split": 0, "half": 0, "model": model, "category": category, "order": order, "draw": 0,
         "dims": d, "accuracy": 0.9 if reached is not None and d >= reached else 0.5,
         "target": 0.9}
        for order, reached in dims.items()
        for d in (16, 32, 48)
    ]  # fmt: skip


def test_what_is_never_reached_counts_as_one_step_more() -> None:
    rows = curves_of({"diverse": 16, "random": 32, "reverse": None}, "ARCH", "a")
    samples = fig6.fewest_samples(pd.DataFrame(rows))
    found = fig6.category_table(samples, fig6.FEWEST).set_index("category").loc["ARCH"]
    assert [found[order] for order in fig6.FEWEST] == [16, 32, 64]


@pytest.mark.parametrize(
    ("mixed", "verdict"),
    [((0.95, 0.94), HOLDS), ((0.7, 0.71), FAILS), ((0.85, 0.95), UNCLEAR)],
    ids=["above_both", "below_both", "scattered"],
)
def test_mixtures_are_judged_against_both_alone(mixed: tuple[float, float], verdict: str) -> None:
    data = mixing_of({
        "a": (0.85, mixed[0], 0.9), "b": (0.86, mixed[1], 0.9), "c": (0.84, mixed[1], 0.89)
    })  # fmt: skip
    assert fig6._adds_up(fig6.mixing_samples(data)).verdict == verdict


@pytest.mark.parametrize(
    ("diverse", "random", "verdict"),
    [
        ((16, 16, 16), (32, 48, 32), HOLDS),
        ((16, 16, 16), (16, 16, 16), UNCLEAR),
        ((None, None, None), (None, None, None), FAILS),
    ],
    ids=["fewer", "no_fewer_than_random", "more"],
)
def test_a_ranking_must_beat_the_random_order(
    diverse: tuple[int | None, ...], random: tuple[int | None, ...], verdict: str
) -> None:
    rows = []
    for model, d, r, twin in zip("abc", diverse, random, (32, 32, 48), strict=True):
        rows += curves_of({"diverse": d, "random": r, "reverse": 48}, "DATASET", model)
        rows += curves_of({"diverse": twin, "random": 32, "reverse": 32}, "REINIT", f"{model}0")
    samples = fig6.fewest_samples(pd.DataFrame(rows))
    assert fig6._fewer_dimensions(samples).verdict == verdict


def test_the_zoo_is_probed_where_its_networks_were_not_trained(zoo_split: ZooSplit) -> None:
    subject = from_zoo(Recipe.tiny(), [zoo_split])
    pairs = features.feature_pairs(subject)
    fold = zoo_split.test.columns["fold"]
    assert {(p.half, int(f)) for p in pairs for f in np.unique(fold[p.fitting])} == {(0, 0), (1, 1)}
    assert len({p.model for p in pairs}) > 5


@pytest.fixture(scope="module")
def moved(store: Store, transfer: Store) -> Subject:
    return from_store(store, accuracy_range=RANGE, transfer=transfer)


def test_scores_on_another_task(
    moved: Subject, transfer: Store, kept: dict[str, np.ndarray], models: Models
) -> None:
    result = fig7.run(moved)
    pairs = result.tables["pairs"].set_index("model")
    assert sorted(pairs.index) == sorted(["base", "wide", "conv", "ssl", "farther", "weak"])
    ((_, fitting, scoring),) = features.halves(transfer, 0)
    truth = np.stack([transfer.columns[f"present.{n}"] for n in ("dog", "cat", "bird")], axis=1)
    truth = truth.astype(bool)
    difficult = np.zeros_like(truth)
    difficult[:, 1] = transfer.columns["difficult.cat"] == 1

    def score(x: np.ndarray) -> float:
        found = []
        for k in range(3):
            use = fitting[~difficult[fitting, k]]
            probe = representations.LinearProbe(C=1.0).fit(x[use], truth[use, k])
            rows = scoring[~difficult[scoring, k]]
            said, is_there = x[rows] @ probe.coef_[0] + probe.intercept_, truth[rows, k]
            ranked = is_there[np.argsort(-said, kind="stable")].cumsum()
            best = [0.0] * 11
            for t in range(11):
                reached = 10 * ranked >= t * is_there.sum()
                best[t] = (ranked / np.arange(1, len(rows) + 1))[reached].max()
            found.append(np.mean(best))
        return float(np.mean(found))

    alone = {name: score(kept[name]) for name in pairs.index}
    inside = [m for m, a in enumerate(models.accuracy) if RANGE[0] <= a <= RANGE[1]]
    for name, row in pairs.iterrows():
        assert row["score"] == pytest.approx(alone[str(name)], abs=0.02)
        m = models.index(str(name))
        assert row["accuracy"] == pytest.approx(models.accuracy[m])
        if name != "weak":
            apart = [(models.right[m] != models.right[o]).mean() for o in inside if o != m]
            assert row["diversity"] == pytest.approx(np.mean(apart))
        if name != "base":
            together = score(np.hstack([kept["base"], kept[str(name)]]))
            assert row["together"] == pytest.approx(together, abs=0.02)
            mean = (pairs.loc["base", "score"] + row["score"]) / 2
            assert row["gain_over_mean"] == pytest.approx(row["together"] - mean)
    assert np.isnan(pairs.loc["weak", "diversity"])


def test_categories_count_models_that_were_scored(moved: Subject) -> None:
    table = fig7.run(moved).tables["categories"].set_index("category")
    assert table["models"].to_dict() == {
        "REINIT": 0, "HPARAM": 1, "ARCH": 1, "FWORK": 1, "DATASET": 1
    }  # fmt: skip


def test_what_is_lacking_is_said(store: Store, transfer: Store, tmp_path: Path) -> None:
    def subject(own: Store, **options: Any) -> Subject:
        return from_store(own, accuracy_range=RANGE, **options)

    cases = [
        (fig7, subject(store), "no store of the models' features on another task is given"),
        (fig7, subject(store, transfer=transfer.select(["far"])),
         "the transfer store has no features of base"),
        (fig7, subject(store, transfer=transfer.select(["base"])),
         "the transfer store has features of 1 of the models"),
        (fig6, subject(stored(tmp_path / "bare", made_up(NAMES))),
         "the store keeps no features of base"),
        (fig6, subject(store.select(["base", "ssl", "weak"])),
         "no model in the accuracy range has features, at least as many as base has"),
    ]  # fmt: skip
    for experiment, of, message in cases:
        with pytest.raises(Lacking) as caught:
            experiment.run(of)
        assert str(caught.value) == message
        result = experiment.EXPERIMENT.conduct(of)
        assert result.lacking == message
        assert [(f.claim, f.verdict) for f in result.findings] == [
            (claim, UNCLEAR) for claim in experiment.CLAIMS
        ]


def test_one_label_a_sample_is_scored_by_accuracy(store: Store) -> None:
    result = fig7.run(from_store(store, accuracy_range=RANGE, transfer=store))
    assert result.choices["score"] == "accuracy"
    rows = result.tables["pairs"].set_index("model")
    assert 0.25 < rows.loc["base", "score"] < 1
    alone = replace(from_store(store, transfer=store), accuracy_range=(0.79, 0.9))
    assert fig7.run(alone).findings[1].verdict == UNCLEAR
