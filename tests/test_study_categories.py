"""Means and standard errors of categories, and verdicts on them, with numbers made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ovcore.study.categories import apart, ordered, verdict_of
from ovcore.study.experiments import fig1
from ovcore.study.of_store import from_store
from ovcore.study.pairs import category_samples, difference, model_rows
from ovcore.study.results import FAILS, HOLDS, UNCLEAR
from ovcore.study.subject import compared
from plain_study import CATEGORIES, RANGE, made_up, stored

ALL = ("REINIT", "HPARAM", "ARCH", "FWORK", "DATASET")
CLAIM = "a claim"


def pairs_of(
    values: dict[str, list[float]], *, split: int = 0, out: tuple[str, ...] = ()
) -> pd.DataFrame:
    """One model a value, seen from one base."""
    return pd.DataFrame([
        {"split": split, "base": "base", "model": f"{category}-{i}", "category": category,
         "in_band": category not in out, "gain": value}
        for category, of in values.items()
        for i, value in enumerate(of)
    ])  # fmt: skip


def splits_of(*splits: dict[str, list[float]]) -> pd.DataFrame:
    return pd.concat([pairs_of(of, split=i) for i, of in enumerate(splits)], ignore_index=True)


def test_a_model_counts_once_however_many_bases_see_it() -> None:
    rows = pd.DataFrame(
        [(0, "b1", "m", 1.0), (0, "b2", "m", 3.0), (0, "b1", "n", 8.0), (0, "b1", "far", 99.0)],
        columns=["split", "base", "model", "gain"],
    ).assign(category="ARCH", in_band=[True, True, True, False])
    samples = category_samples(rows, ["gain"])
    assert samples["gain"].to_dict() == {("ARCH", "m"): 2.0, ("ARCH", "n"): 8.0}
    assert samples.attrs["unit"] == "model"
    points = model_rows(rows).set_index("model")
    assert points["gain"].to_dict() == {"m": 2.0, "n": 8.0, "far": 99.0}
    assert points["in_band"].tolist() == [True, True, False]


def test_splits_are_the_units_where_there_are_several() -> None:
    rows = splits_of({"ARCH": [1.0, 3.0]}, {"ARCH": [5.0, 5.0, 8.0]})
    samples = category_samples(rows, ["gain"])
    assert samples["gain"].to_dict() == {("ARCH", 0): 2.0, ("ARCH", 1): 6.0}


def test_what_moves_all_categories_of_a_split_is_no_noise() -> None:
    rows = splits_of(
        {"REINIT": [1.0], "DATASET": [2.0]}, {"REINIT": [11.0], "DATASET": [12.2]},
        {"REINIT": [5.0], "DATASET": [5.8]},
    )  # fmt: skip
    step, error = difference(category_samples(rows, ["gain"]), "gain", "REINIT", "DATASET")
    steps = np.array([1.0, 1.2, 0.8])
    assert (step, error) == pytest.approx((1.0, steps.std(ddof=1) / np.sqrt(3)))
    assert apart(category_samples(rows, ["gain"]), "gain", CLAIM).verdict == HOLDS


def test_models_of_two_categories_are_independent() -> None:
    low, high = np.array([1.0, 2.0, 4.0, 3.0]), np.array([5.0, 9.0, 6.0])
    rows = pairs_of({"REINIT": list(low), "DATASET": list(high)})
    step, error = difference(category_samples(rows, ["gain"]), "gain", "REINIT", "DATASET")
    assert step == pytest.approx(high.mean() - low.mean())
    assert error == pytest.approx(np.sqrt(low.var(ddof=1) / 4 + high.var(ddof=1) / 3))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        ([0.1, 0.2, 0.1], [0.5, 0.6, 0.5], HOLDS),
        ([0.5, 0.6, 0.5], [0.1, 0.2, 0.1], FAILS),
        ([0.1, 0.3, 0.2], [0.2, 0.4, 0.3], UNCLEAR),
        ([0.1, 0.1, 0.1], [0.5, 0.6, 0.5], HOLDS),
        ([0.1, 0.1, 0.1], [0.5, 0.5, 0.5], UNCLEAR),
        ([0.1, 0.11], [0.5, 0.51, 0.5], UNCLEAR),
        ([0.1], [0.5, 0.6], UNCLEAR),
        ([0.1], [0.5], UNCLEAR),
        ([0.1, 0.2], [float("nan")], UNCLEAR),
        ([0.1, 0.2], [], UNCLEAR),
    ],
    ids=[
        "above",
        "below",
        "within",
        "twins_alike",
        "all_alike",
        "two_twins",
        "one_twin",
        "one_each",
        "unknown",
        "absent",
    ],
)
def test_apart(low: list[float], high: list[float], verdict: str) -> None:
    found = apart(
        category_samples(pairs_of({"REINIT": low, "DATASET": high}), ["gain"]), "gain", CLAIM
    )
    assert (found.claim, found.verdict) == (CLAIM, verdict)
    if not pd.Series(high, dtype=float).dropna().empty:
        assert f"REINIT {np.mean(low):.3f}, DATASET {np.mean(high):.3f}" in found.evidence
    else:
        assert found.evidence == "no DATASET model is in the accuracy range"
    assert "nan" not in found.evidence


def test_models_outside_the_range_are_absent() -> None:
    rows = pairs_of({"REINIT": [0.1, 0.2], "DATASET": [0.5, 0.6]}, out=("REINIT",))
    found = apart(category_samples(rows, ["gain"]), "gain", CLAIM)
    assert found.evidence == "no REINIT model is in the accuracy range"


def test_a_unit_goes_with_one_digit() -> None:
    rows = pairs_of({"REINIT": [1.0, 2.0, 1.5], "DATASET": [7.0, 8.0, 7.5]})
    found = apart(category_samples(rows, ["gain"]), "gain", CLAIM, unit="°")
    assert found.evidence == ("REINIT 1.5°, DATASET 7.5°, apart by +6.0° ± 0.4 (standard error)")


def of(*means: float, spread: float = 0.01) -> dict[str, list[float]]:
    """Three models a category."""
    return {
        name: [mean - spread, mean, mean + spread] for name, mean in zip(ALL, means, strict=True)
    }


@pytest.mark.parametrize(
    ("values", "verdict", "said"),
    [
        (of(0.1, 0.2, 0.3, 0.4, 0.5), HOLDS, "FWORK 0.400, DATASET 0.500"),
        (of(0.1, 0.2, 0.15, 0.4, 0.5), FAILS, "ARCH is below HPARAM by more than two standard"),
        (of(0.5, 0.4, 0.3, 0.2, 0.1), FAILS, "DATASET is below FWORK"),
        (of(0.1, 0.2, 0.2, 0.4, 0.5), UNCLEAR,
         "within two standard errors of each other: HPARAM and ARCH"),
        (of(0.1, 0.2, 0.3, 0.4, 0.5) | {"ARCH": [0.3]}, UNCLEAR,
         "too few, or all alike, for a standard error: HPARAM and ARCH, ARCH and FWORK"),
        ({k: v for k, v in of(0.1, 0.2, 0.3, 0.4, 0.5).items() if k != "ARCH"}, UNCLEAR,
         "no model in the range: ARCH"),
        (of(0.1, 0.2, 0.15, 0.4, 0.5) | {"DATASET": [0.5]}, FAILS, "too few, or all alike"),
        ({k: v for k, v in of(0.5, 0.2, 0.3, 0.4, 0.1).items() if k in ("REINIT", "DATASET")},
         FAILS, "DATASET is below REINIT"),
        ({"OTHER": [0.1, 0.2]}, UNCLEAR,
         "no model in the range: REINIT, HPARAM, ARCH, FWORK, DATASET"),
    ],
    ids=["in_order", "one_back", "reversed", "equal", "one_model", "absent", "back_and_unknown",
         "two_alone", "other"],
)  # fmt: skip
def test_ordered(values: dict[str, list[float]], verdict: str, said: str) -> None:
    found = ordered(category_samples(pairs_of(values), ["gain"]), "gain", CLAIM)
    assert found.verdict == verdict
    assert said in found.evidence
    assert "nan" not in found.evidence


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [(2.1, 1.0, HOLDS), (2.0, 1.0, UNCLEAR), (-2.1, 1.0, FAILS), (-2.0, 1.0, UNCLEAR),
     (5.0, float("nan"), UNCLEAR), (float("nan"), 1.0, UNCLEAR), (0.0, 0.0, UNCLEAR),
     (5.0, 0.0, UNCLEAR)],
)  # fmt: skip
def test_two_standard_errors_decide(value: float, error: float, verdict: str) -> None:
    assert verdict_of(value, error) == verdict


def test_two_splits_of_a_subject(tmp_path: Path) -> None:
    """Means over models of each split; errors over the splits; ranges of each."""
    names = [n for n in CATEGORIES if n not in ("second", "strong", "tiny", "weak")]
    both = [made_up(names), made_up(names, seed=4)]
    subjects = [
        from_store(stored(tmp_path / str(i), m), accuracy_range=RANGE) for i, m in enumerate(both)
    ]
    subject = replace(subjects[0], splits=tuple(s.first for s in subjects))
    expected = []
    for models in both:
        found = []
        for name in ("far", "farther"):
            if RANGE[0] <= models.accuracy[models.index(name)] <= RANGE[1]:
                values = [models.numbers(b, name)["error_inconsistency"] for b in subject.bases]
                found.append(np.mean(values))
        expected.append(np.mean(found))
    result = fig1.run(subject)
    row = result.tables["categories"].set_index("category").loc["DATASET"]
    assert row["error_inconsistency"] == pytest.approx(np.mean(expected))
    assert row["error_inconsistency_se"] == pytest.approx(abs(expected[0] - expected[1]) / 2)
    assert result.choices["standard errors"] == "over splits"
    assert set(subject.pairs["split"]) == {0, 1}


def test_every_split_has_a_range_of_its_own(tmp_path: Path) -> None:
    names = ["base", "conv", "far"]
    stores = [stored(tmp_path / str(i), made_up(names, seed=i)) for i in (3, 4)]
    subject = from_store(stores[0])
    other = compared(
        stores[1], stores[1].outputs(), base="base", temperature=np.ones(3), fitted=None
    )
    for split, seed in ((subject.first, 3), (other, 4)):
        accuracy = made_up(names, seed=seed).accuracy
        assert subject.range_of(split) == pytest.approx((accuracy[0] - 0.05, accuracy[0] + 0.05))
