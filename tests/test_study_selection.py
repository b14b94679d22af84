"""Figures 4 and 5: classes that a model owns, and models that join a stronger one, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ovcore.store import Store
from ovcore.study.experiments import fig4, fig5
from ovcore.study.of_store import from_store
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Lacking
from ovcore.study.subject import Subject
from plain_study import CATEGORIES, N_CLASSES, RANGE, Models, made_up, stored

CLASSES = ["ant", "bee", "cat", "dog"]


@pytest.fixture(scope="module")
def models() -> Models:
    found = made_up(n_samples=400)
    far = found.index("far")
    rng = np.random.default_rng(0)
    for own, other, k in ((far, 0, 0), (0, far, 1)):  # each is poor on a class of the other
        rows = np.flatnonzero(found.target == k)
        found.logits[other, rows] = rng.normal(size=(len(rows), N_CLASSES))
        found.logits[own, rows, k] += 2
    return found


@pytest.fixture(scope="module")
def store(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(tmp_path_factory.mktemp("stores") / "logits", models, class_names=CLASSES)


@pytest.fixture(scope="module")
def subject(store: Store) -> Subject:
    return from_store(store, accuracy_range=(0.55, 0.85))


def test_partners_err_most_differently(models: Models, subject: Subject) -> None:
    inside = [n for n, a in zip(models.names, models.accuracy, strict=True) if 0.55 <= a <= 0.85]
    expected = []
    for category in ("DATASET", "FWORK", "ARCH"):
        mine = [n for n in inside if CATEGORIES[n] == category]
        apart = [models.numbers("base", n)["error_inconsistency"] for n in mine]
        expected.append((category, mine[int(np.argmax(apart))]))
    assert fig4.chosen_partners(subject) == expected


def test_of_few_categories_the_next_partners_are_taken(models: Models, store: Store) -> None:
    subject = from_store(store.select(["base", "conv", "far", "farther"]), accuracy_range=(0, 1))
    by_errors = sorted(
        ("far", "farther"), key=lambda n: -models.numbers("base", n)["error_inconsistency"]
    )
    expected = [("DATASET", by_errors[0]), ("ARCH", "conv"), ("DATASET", by_errors[1])]
    assert fig4.chosen_partners(subject) == expected
    alone = from_store(store.select(["base", "conv"]), accuracy_range=(0, 1))
    assert fig4.chosen_partners(alone) == [("ARCH", "conv")]


def test_classes_equal_a_loop_over_samples(models: Models, subject: Subject) -> None:
    result = fig4.run(subject)
    table = result.tables["classes"]
    partners = list(dict.fromkeys(table["model"]))
    right = models.right
    differs = np.array([
        any(right[0, i] != right[models.index(name), i] for name in partners)
        for i in range(len(models.target))
    ])  # fmt: skip
    for name in partners:
        other, theta = right[models.index(name)], models.theta("base", name)
        rows = table[table["model"] == name].set_index("class").loc[CLASSES]
        raw = []
        for k, (_, row) in enumerate(rows.iterrows()):
            mine = models.target == k
            n10, n01 = int((mine & right[0] & ~other).sum()), int((mine & ~right[0] & other).sum())
            assert (row["samples"], row["only_base"], row["only_other"]) == (mine.sum(), n10, n01)
            assert row["theta"] == pytest.approx(theta[mine & differs].mean(), abs=1e-4)
            surer = (mine & right[0] & ~other & (theta > 0)).sum()
            surer += (mine & ~right[0] & other & (theta < 0)).sum()
            assert row["specialized"] == pytest.approx(surer / (n10 + n01), nan_ok=True)
            raw.append(stats.binomtest(n10, n10 + n01).pvalue if n10 + n01 else 1.0)
        p = stats.false_discovery_control(raw)
        np.testing.assert_allclose(rows["p"], p)
        leads = np.where(rows["only_base"] > rows["only_other"], "base", "other")
        assert rows["owner"].tolist() == np.where(p <= 0.05, leads, "").tolist()


@pytest.mark.parametrize(("some", "verdict"), [(1, HOLDS), (2, UNCLEAR)])
def test_owned_classes_are_listed_by_difference(
    subject: Subject, some: int, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fig4, "SOME", some)  # each of the two owns one
    result = fig4.run(subject)
    classes, owned = result.tables["classes"], result.tables["classes owned"]
    assert len(owned) == (classes["owner"] != "").sum()
    far = owned[owned["model"] == fig4.chosen_partners(subject)[0][1]].set_index("class")["owner"]
    assert (far["ant"], far["bee"]) == ("other", "base")
    assert result.findings[0].verdict == verdict
    for _, rows in owned.groupby(["model", "owner"]):
        apart = (rows["only_base"] - rows["only_other"]).abs() / rows["samples"]
        assert apart.is_monotonic_decreasing


def test_a_class_without_discordant_samples_has_no_owner() -> None:
    n10, n01 = np.array([0, 9, 3]), np.array([0, 0, 3])
    raw = [1.0, stats.binomtest(9, 9).pvalue, 1.0]
    np.testing.assert_allclose(fig4.adjusted(n10, n01), stats.false_discovery_control(raw))


def test_no_partner_is_lacking(store: Store, models: Models) -> None:
    base = models.accuracy[0]
    alone = from_store(store.select(["base", "weak", "strong"]), accuracy_range=(base, base))
    with pytest.raises(Lacking, match="no model but the base is in the accuracy range"):
        fig4.run(alone)


def plain_greedy(
    models: Models, pool: list[int], select: np.ndarray, held: np.ndarray, size: int
) -> tuple[list[int], list[float]]:
    """Members, and their accuracy on the samples held out, by trying every one."""
    probs, members = models.probs, pool[:1]

    def hits(chosen: list[int], rows: np.ndarray) -> int:
        mean = sum(probs[m] for m in chosen)
        return int((mean.argmax(axis=1) == models.target)[rows].sum())

    def loss(chosen: list[int]) -> float:
        mean = np.mean([probs[m] for m in chosen], axis=0)
        return float(-np.log(mean[np.arange(len(mean)), models.target])[select].sum())

    while len(members) < size:
        left = [m for m in pool if m not in members]
        members = [*members, max(
            left, key=lambda m: (hits([*members, m], select), -loss([*members, m]))
        )]  # fmt: skip
    return members, [hits(members[:n], held) / len(held) for n in range(1, size + 1)]


def test_members_are_the_best_on_one_half(
    models: Models, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fig5, "JOINING", 3)
    seen: list[np.ndarray] = []
    found = fig5.ov.ensembles.greedy

    def greedy(*args: Any, **options: Any) -> Any:
        seen.append(np.asarray((result := found(*args, **options)).held_out))
        return result

    monkeypatch.setattr(fig5.ov.ensembles, "greedy", greedy)
    result = fig5.run(subject)
    accuracy = models.accuracy
    order = sorted(range(len(accuracy)), key=lambda m: -accuracy[m])
    strong = order[:2]  # a quarter of ten
    weak = [m for m in order if accuracy[m] < accuracy[strong[-1]] and accuracy[m] <= 0.85]
    steps, first = result.tables["steps"], result.tables["first partners"]
    assert first["start"].tolist() == [models.names[m] for m in strong]
    for start, held, (_, row) in zip(strong, seen, first.iterrows(), strict=True):
        select = np.setdiff1d(np.arange(400), held)
        assert len(select) == len(held) == 200
        members, shares = plain_greedy(models, [start, *weak], select, held, 4)
        mine = steps[steps["start"] == models.names[start]]
        assert mine["joined"].tolist() == [models.names[m] for m in members]
        np.testing.assert_allclose(mine["accuracy"], shares)
        pair = (models.probs[start] + models.probs[members[1]]).argmax(axis=1)
        together, alone = (pair == models.target)[held], models.right[start][held]
        n10, n01, n = (together & ~alone).sum(), (~together & alone).sum(), len(held)
        half = 1.959964 * np.sqrt((n10 + n01) - (n10 - n01) ** 2 / n) / n
        assert row["gain"] == pytest.approx((n10 - n01) / n)
        assert (row["low"], row["high"]) == pytest.approx(
            ((n10 - n01) / n - half, (n10 - n01) / n + half), abs=1e-7
        )
        assert row["partner_accuracy"] < row["start_accuracy"] + 0.1


def test_best_partners_are_of_all_samples(models: Models, subject: Subject) -> None:
    partners = fig5.run(subject).tables["best partners"]
    strong, weak = fig5.strong_and_weak(subject)
    for start in strong:
        name = models.names[start]
        found = {m: models.numbers(name, models.names[m])["ensemble_accuracy"] for m in weak}
        best = sorted(weak, key=lambda m: (-found[m], m))[: fig5.PARTNERS]
        rows = partners[partners["start"] == name]
        assert rows["partner"].tolist() == [models.names[m] for m in best]
        np.testing.assert_allclose(rows["ensemble_accuracy"], [found[m] for m in best])
        np.testing.assert_allclose(
            rows["gain"], [found[m] - models.accuracy[start] for m in best], atol=1e-12
        )


@pytest.mark.parametrize("accuracy_range", [None, (0.4, 0.55), (0.0, 1.0), RANGE])
def test_no_stronger_model_is_among_the_weak(
    models: Models, store: Store, accuracy_range: Any
) -> None:
    subject = from_store(store, accuracy_range=accuracy_range)
    strong, weak = fig5.strong_and_weak(subject)
    high = subject.range_of(subject.first)[1]
    assert weak
    for m in weak:
        assert all(models.accuracy[m] < models.accuracy[s] for s in strong)
        assert models.accuracy[m] <= high + 1e-12


def test_nobody_weaker_is_lacking(models: Models, tmp_path: Path) -> None:
    same = Models(["base", "twin"], models.target, models.logits[[0, 0]], models.temperature[:2])
    subject = from_store(stored(tmp_path / "s", same))
    with pytest.raises(Lacking, match="no model is weaker than the 1 strongest"):
        fig5.run(subject)


def rows_of(twins: int, weak: int, added: float) -> pd.DataFrame:
    rows = [("REINIT", f"t{i}", 0.02 + 0.01 * i, 0.76, True) for i in range(twins)]
    rows += [("DATASET", f"w{i}", 0.02 + added + 0.01 * i, 0.5, False) for i in range(weak)]
    rows += [("DATASET", "in_range", -9.0, 0.75, True), ("DATASET", "above", 9.0, 0.9, False)]
    return pd.DataFrame(
        rows, columns=["category", "model", "gain_over_base", "accuracy", "in_band"]
    ).assign(base_accuracy=0.76)


@pytest.mark.parametrize(("twins", "weak"), [(1, 1), (3, 1), (1, 3)])
def test_one_model_tells_no_error(twins: int, weak: int) -> None:
    """It is unknown and not 0."""
    assert fig5._weak_but_different(rows_of(twins, weak, 0.3)).verdict == UNCLEAR


@pytest.mark.parametrize(("added", "verdict"), [(0.3, HOLDS), (-0.3, FAILS), (0.0, UNCLEAR)])
def test_weak_models_of_other_data_against_twins(added: float, verdict: str) -> None:
    assert fig5._weak_but_different(rows_of(3, 3, added)).verdict == verdict


@pytest.mark.parametrize(
    ("twins", "weak", "said"),
    [(0, 2, "no model is the base with another seed"),
     (2, 0, "no DATASET model is weaker than the accuracy range")],
)  # fmt: skip
def test_without_either_there_is_no_verdict(twins: int, weak: int, said: str) -> None:
    found = fig5._weak_but_different(rows_of(twins, weak, 0.3))
    assert (found.verdict, found.evidence) == (UNCLEAR, said)
