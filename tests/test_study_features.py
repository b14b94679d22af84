"""The study's probes of features: what is fitted on what, and what is made of the accuracies."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ovcore import representations
from ovcore.study import feature_figures, features, findings, measure, report
from ovcore.study.zoo import Recipe, ZooSplit


@pytest.fixture(scope="module")
def rows(zoo_split: ZooSplit) -> features.FeatureRows:
    measured = measure.measure(zoo_split)
    pairs = measure.pair_rows([measured]).assign(in_band=True)
    return features.feature_rows([zoo_split], [measured], pairs, progress=False)


def test_probes_are_scored_on_images_that_neither_they_nor_the_networks_saw(
    zoo_split: ZooSplit,
) -> None:
    target, fold = zoo_split.test.target, zoo_split.test.columns["fold"]
    for half in (0, 1):
        fitting, scoring = features._halves(zoo_split.test, half)
        assert set(fitting).isdisjoint(scoring)
        assert sorted([*fitting, *scoring]) == np.flatnonzero(fold == half).tolist()
        fitted, scored = (np.bincount(target[part], minlength=10) for part in (fitting, scoring))
        assert (abs(fitted - scored) <= 1).all()


def test_mixtures_are_what_probes_reach_on_them(
    zoo_split: ZooSplit, rows: features.FeatureRows
) -> None:
    store, (_, row) = zoo_split.test, next(iter(rows.mixing[rows.mixing["rate"] == 0.5].iterrows()))
    base = next(card.name for card in store.models if card.category == "BASE")
    fitting, scoring = features._halves(store, row["half"])
    both = [features._features(store, name) for name in (base, row["model"])]
    mixed = representations.mix_features(*both, rate=0.5, seed=row["seed"])
    assert mixed.shape[1] == both[0].shape[1]
    probe = representations.LinearProbe(**features.PROBE.get_params())
    probe.fit(mixed[fitting], store.target[fitting])
    assert row["accuracy"] == pytest.approx(
        probe.score(mixed[scoring], store.target[scoring]), abs=2 / len(scoring)
    )


def test_each_network_is_there_once_and_as_wide_as_the_base(
    zoo_split: ZooSplit, rows: features.FeatureRows
) -> None:
    models = rows.mixing["model"].unique()
    assert len(models) > 5
    width = features._features(zoo_split.test, "cnn/seed-0").shape[1]
    held = [features._features(zoo_split.test, name) for name in models]
    assert all(f.shape[1] >= width for f in held)
    for i, one in enumerate(held):
        assert not any(np.array_equal(one, other) for other in held[:i])
    seeds = rows.mixing.groupby(["model", "half", "rate"])["seed"].nunique().unstack("rate")
    assert (seeds[0.5] == features.SEEDS).all()
    assert (seeds[1.0] == 1).all()


def test_the_base_alone_is_the_same_beside_every_partner(rows: features.FeatureRows) -> None:
    alone = rows.mixing[rows.mixing["rate"] == 1.0]
    assert (alone.groupby("half")["accuracy"].nunique() == 1).all()


def test_curves_end_with_all_dimensions_alike(rows: features.FeatureRows) -> None:
    keys = ["model", "half"]
    last = rows.curves[rows.curves["dims"] == rows.curves.groupby(keys)["dims"].transform("max")]
    assert set(rows.curves["order"]) == {"diverse", "reverse", "random"}
    assert (last.groupby(keys)["accuracy"].nunique() == 1).all()
    per_category = rows.curves.groupby("category")["model"].nunique()
    assert per_category.max() <= features.CURVES_EACH


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
    samples = features.mixing_samples(mixing_of({"a": (0.8, 0.95, 0.9), "b": (0.9, 0.9, 0.7)}))
    table = features.category_table(samples, features.MIXING).set_index("category")
    found = table.loc["DATASET"]
    assert found["units"] == 2
    assert found["mixed"] == pytest.approx(0.925)
    assert found["over_base"] == pytest.approx((0.05 + 0.2) / 2)
    assert found["over_other"] == pytest.approx((0.15 + 0.0) / 2)
    assert found["over_better"] == pytest.approx((0.05 + 0.0) / 2)
    assert found["over_mean"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["over_better_se"] == pytest.approx(0.025)
    assert np.isnan(table.loc["REINIT", "mixed"])


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
    samples = features.fewest_samples(pd.DataFrame(rows))
    found = features.category_table(samples, features.FEWEST).set_index("category").loc["ARCH"]
    assert [found[order] for order in features.FEWEST] == [16, 32, 48 + features.STEP]


@pytest.mark.parametrize(
    ("mixed", "verdict"),
    [
        ((0.95, 0.94), findings.HOLDS),
        ((0.7, 0.71), findings.FAILS),
        ((0.85, 0.95), findings.UNCLEAR),
    ],
    ids=["above_both", "below_both", "scattered"],
)
def test_mixtures_are_judged_against_both_alone(mixed: tuple[float, float], verdict: str) -> None:
    data = mixing_of({"a": (0.85, mixed[0], 0.9), "b": (0.86, mixed[1], 0.9)})
    assert findings._adds_up(features.mixing_samples(data)).verdict == verdict


@pytest.mark.parametrize(
    ("diverse", "random", "verdict"),
    [
        ((16, 16), (32, 48), findings.HOLDS),
        ((16, 16), (16, 16), findings.UNCLEAR),
        ((48, 48), (48, 48), findings.FAILS),
    ],
    ids=["fewer", "no_fewer_than_random", "more"],
)
def test_a_ranking_must_beat_the_random_order(
    diverse: tuple[int, int], random: tuple[int, int], verdict: str
) -> None:
    rows = []
    for model, d, r, twin in zip("ab", diverse, random, (32, 32), strict=True):
        rows += curves_of({"diverse": d, "random": r, "reverse": 48}, "DATASET", model)
        rows += curves_of({"diverse": twin, "random": 32, "reverse": 32}, "REINIT", f"{model}0")
    samples = features.fewest_samples(pd.DataFrame(rows))
    assert findings._fewer_dimensions(samples).verdict == verdict


def test_the_study_tells_of_features(
    zoo_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SEEDS", 1)
    monkeypatch.setattr(features, "CURVES_EACH", 1)
    page = report.run(tmp_path / "study", recipe=Recipe.tiny(), cache=zoo_cache, quiet=True)
    text = page.read_text()
    assert "What their features add to each other" in text
    assert "dimensions-DATASET" in text
    study = json.loads((page.parent / "study.json").read_text())
    assert [row["category"] for row in study["features_mixing"]] == list(measure.CATEGORIES)
    assert any("Ranked by covariance" in finding["claim"] for finding in study["findings"])
    for name, column in (("mixing.csv", "rate"), ("dimensions.csv", "order")):
        with (page.parent / name).open() as file:
            assert column in next(csv.reader(file))


def test_nobody_in_the_band_leaves_the_figures_empty() -> None:
    nothing = pd.DataFrame(columns=["split", "half", "model", "category", "order", "draw", "dims",
                                    "accuracy", "target"])  # fmt: skip
    assert len(feature_figures.curves(nothing, "ARCH").data) == 3
