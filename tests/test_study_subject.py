"""What a study starts from: bases, categories of pairs, the accuracy range, temperatures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from ovcore.store import ModelCard, Store, StoreWriter
from ovcore.study import of_store
from ovcore.study.metadata import with_metadata
from ovcore.study.of_store import as_subject, from_store
from ovcore.study.results import Lacking
from plain_study import RANGE, Models, made_up, stored


@pytest.fixture(scope="module")
def models() -> Models:
    return made_up()


@pytest.fixture(scope="module")
def store(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(tmp_path_factory.mktemp("stores") / "logits", models)


def named(path: Path, cards: list[ModelCard], rights: list[int] | None = None) -> Store:
    """A store of predictions of 100 samples, of which each model gets so many right."""
    target = np.zeros(100, np.int64)
    with StoreWriter(path, target=target, n_classes=2) as writer:
        for m, card in enumerate(cards):
            right = 60 + m if rights is None else rights[m]
            writer.add(card, preds=(np.arange(100) >= right).astype(np.int64))
    return Store(path)


TRAINED = {"data": "A", "objective": "sup", "architecture": "r50", "hyperparameters": "x"}


def test_categories_of_pairs_that_cards_state(store: Store) -> None:
    subject = from_store(store, accuracy_range=RANGE)
    expected = {
        ("base", "twin"): "REINIT", ("base", "weak"): "DATASET", ("wide", "base"): "HPARAM",
        ("twin", "conv"): "ARCH", ("wide", "conv"): "ARCH", ("far", "wide"): "DATASET",
        ("ssl", "strong"): "OTHER", ("far", "farther"): "OTHER", ("wide", "tiny"): "OTHER",
    }  # fmt: skip
    for (a, b), category in expected.items():
        assert subject.category(a, b) == subject.category(b, a) == category


def test_categories_of_pairs_that_training_tells(tmp_path: Path) -> None:
    cards = [
        ModelCard("base", category="BASE", training=TRAINED | {"seed": 1}),
        ModelCard("twin", category="REINIT", training=TRAINED | {"seed": 2}),
        ModelCard("other-twin", category="REINIT", training=TRAINED | {"seed": 3}),
        ModelCard("b", category="DATASET", training=TRAINED | {"data": "B", "seed": 1}),
        ModelCard("b2", category="DATASET", training=TRAINED | {"data": "B", "seed": 2}),
        ModelCard("c", category="DATASET", training=TRAINED | {"data": "C", "seed": 1}),
        ModelCard("unmarked", training=TRAINED | {"architecture": "vit", "seed": 1}),
        ModelCard("unknown"),
    ]
    subject = from_store(named(tmp_path / "s", cards), accuracy_range=(0, 1))
    expected = {
        ("twin", "other-twin"): "REINIT", ("b", "b2"): "REINIT", ("b", "c"): "DATASET",
        ("base", "unmarked"): "ARCH", ("b", "unmarked"): "DATASET", ("base", "unknown"): "OTHER",
        ("twin", "unknown"): "OTHER",
    }  # fmt: skip
    for (a, b), category in expected.items():
        assert subject.category(a, b) == subject.category(b, a) == category
    assert subject.bases == ("base", "twin", "other-twin")
    assert subject.categories == ("REINIT", "ARCH", "DATASET", "OTHER")


def test_the_base_is_the_marked_one_or_of_median_accuracy(tmp_path: Path) -> None:
    cards = [ModelCard(name) for name in "abcd"]
    plain = named(tmp_path / "plain", cards, [90, 60, 80, 70])
    assert from_store(plain, accuracy_range=(0, 1)).base == "d"  # the lower of two in the middle
    assert from_store(plain, base="b", accuracy_range=(0, 1)).bases == ("b",)
    marked = plain.with_cards([replace(cards[2], category="BASE")])
    assert from_store(marked, accuracy_range=(0, 1)).base == "c"
    assert as_subject(plain).base == "d"
    subject = from_store(marked)
    assert as_subject(subject) is subject


def test_another_base_than_the_marked_one_stands_alone(store: Store) -> None:
    assert from_store(store).bases == ("base", "twin")
    assert from_store(store, base="conv").bases == ("conv",)
    assert from_store(store, base="twin").bases == ("twin",)


@pytest.mark.parametrize("base_right", [30, 43, 61, 70, 85])
def test_the_ends_of_the_default_range_are_in_it(tmp_path: Path, base_right: int) -> None:
    rights = [base_right + d for d in (0, 5, -5, 6, -6)]
    cards = [ModelCard(name, category="BASE" if name == "a" else "ARCH") for name in "abcde"]
    store = named(tmp_path / "s", cards, rights)
    subject = from_store(store)
    assert subject.in_range(subject.first).tolist() == [True, True, True, False, False]
    low, high = subject.range_of(subject.first)
    assert (low, high) == pytest.approx((base_right / 100 - 0.05, base_right / 100 + 0.05))
    assert from_store(store, all_bases=True).bases == ("a", "b", "c")


def test_all_bases_are_the_models_in_the_range(tmp_path: Path) -> None:
    """Models of category means and bases are the same, whatever the mean of the bases is."""
    cards = [ModelCard(name, category="BASE" if name == "a" else "ARCH") for name in "abcde"]
    store = named(tmp_path / "s", cards, [70, 74, 75, 66, 71])
    for given in (None, (0.7, 0.75)):
        subject = from_store(store, all_bases=True, accuracy_range=given)
        inside = subject.in_range(subject.first)
        assert subject.bases == tuple(np.array(subject.first.names)[inside])
    assert subject.bases == ("a", "b", "c", "e")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "nobody"}, r"logits has no model 'nobody' to be the base"),
        ({"accuracy_range": (0.8, 0.7)}, r"an accuracy range is LO <= HI within 0\.\.1, got 0\.8"),
        ({"accuracy_range": (0.5, 1.1)}, r"within 0\.\.1, got 0\.5 to 1\.1"),
        ({"accuracy_range": (float("nan"), 1)}, r"within 0\.\.1, got nan to 1"),
        ({"accuracy_range": (0.1, 0.2)}, r"no model has an accuracy from 0\.1 to 0\.2; they have "
                                         r"0\.5\d+ to 0\.9\d+"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(store: Store, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_store(store, **options)


def test_one_model_is_no_study(store: Store, models: Models, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="compares at least two models; .* has outputs of 1"):
        from_store(store.select(["base"]))
    with StoreWriter(tmp_path / "s", target=models.target) as writer:
        writer.add(ModelCard("a"), features=np.zeros((240, 2), np.float32))
        for name in "bc":
            writer.add(ModelCard(name), preds=models.preds[0])
    subject = from_store(tmp_path / "s")
    assert subject.first.names == ("b", "c")
    assert subject.choices["left out"].startswith("1 model ")


def test_temperatures_of_the_cards(store: Store, models: Models) -> None:
    split = from_store(store, accuracy_range=RANGE).first
    np.testing.assert_array_equal(split.fitted, models.temperature)
    assert split.comparison.n_samples == 240
    for name in ("base", "far"):
        np.testing.assert_allclose(split.confidence(name), models.confidence(name), rtol=1e-12)
        np.testing.assert_array_equal(split.right(name), models.right[models.index(name)])
    np.testing.assert_allclose(
        np.degrees(split.theta("base", "far")), models.theta("base", "far"), atol=1e-9
    )


def nll(models: Models, m: int, rows: np.ndarray) -> float:
    """The temperature of least negative log likelihood, by a search of its own."""
    z = models.logits[m, rows].astype(np.float64)
    target = models.target[rows]

    def mean(log_t: float) -> float:
        scaled = z / np.exp(log_t)
        top = scaled.max(axis=1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((total - scaled[np.arange(len(rows)), target]).mean())

    return float(np.exp(minimize_scalar(mean, bounds=(-6, 6), options={"xatol": 1e-10}).x))


WITHOUT = {name: {"temperature": None} for name in made_up().names}


def test_temperatures_of_other_samples(tmp_path: Path) -> None:
    other = made_up(seed=11)
    bare = stored(tmp_path / "bare", made_up(), cards=WITHOUT)
    order = [*reversed(other.names)]
    held = stored(tmp_path / "held", other).select(order)
    split = from_store(bare, calibration=held, accuracy_range=RANGE).first
    expected = [nll(other, m, np.arange(240)) for m in range(len(other.names))]
    np.testing.assert_allclose(split.fitted, expected, rtol=1e-5)
    assert split.comparison.n_samples == 240
    with pytest.raises(ValueError, match=r"held has no model 'weak' to fit a temperature of"):
        from_store(bare, calibration=held.select(order[1:]))


def test_stored_temperatures_give_way_to_a_calibration_store(
    store: Store, models: Models, tmp_path: Path
) -> None:
    subject = from_store(store, accuracy_range=RANGE)
    np.testing.assert_array_equal(subject.first.fitted, models.temperature)
    assert subject.choices["calibration"] == "the store's own temperatures"
    held = stored(tmp_path / "held", made_up(seed=11))
    subject = from_store(store, calibration=held, accuracy_range=RANGE)
    assert (subject.first.fitted != models.temperature).all()
    assert subject.choices["calibration"].endswith("on the 240 samples of held")


def test_a_calibration_store_that_does_not_go_with_it(models: Models, tmp_path: Path) -> None:
    ids = [f"s{i}" for i in range(240)]
    one = stored(tmp_path / "one", models, sample_ids=ids)
    two = stored(
        tmp_path / "two", made_up(seed=11), sample_ids=[*ids[:2], *(f"t{i}" for i in range(238))]
    )
    with pytest.warns(UserWarning, match="2 samples that temperatures are fitted on are also"):
        from_store(one, calibration=two, accuracy_range=RANGE)
    target = np.zeros(3, np.int64)
    with StoreWriter(tmp_path / "wide", target=target) as writer:
        for name in models.names:
            writer.add(ModelCard(name), logits=np.zeros((3, 7), np.float32))
    with pytest.raises(ValueError, match="wide has 7 classes and .*one has 4"):
        from_store(one, calibration=tmp_path / "wide", accuracy_range=RANGE)
    with StoreWriter(tmp_path / "preds", target=target, n_classes=4) as writer:
        for name in ("a", "b"):
            writer.add(ModelCard(name), preds=target)
    with pytest.raises(ValueError, match="calibration is of logits, which .*preds does not keep"):
        from_store(tmp_path / "preds", calibration=two)


def test_a_drawn_share_is_left_out_of_the_rest(models: Models, tmp_path: Path) -> None:
    ids = [f"s{i}" for i in range(240)]
    bare = stored(tmp_path / "bare", models, sample_ids=ids, cards={"far": {"temperature": None}})
    subject = from_store(bare, accuracy_range=RANGE, seed=5)
    split = subject.first
    kept = np.array([int(name[1:]) for name in split.store.sample_ids or ()])
    drawn = np.setdiff1d(np.arange(240), kept)
    assert np.bincount(models.target[drawn]).tolist() == [12, 12, 12, 12]  # a fifth of 60
    assert subject.choices["score"] == "192 of 240 samples"
    assert (
        "on the other 48 samples, drawn within each class with seed 5"
        in (subject.choices["calibration"])
    )
    expected = [nll(models, m, drawn) for m in range(len(models.names))]
    np.testing.assert_allclose(split.fitted, expected, rtol=1e-4)
    np.testing.assert_allclose(split.accuracy, models.right[:, kept].mean(axis=1))
    again, other = (from_store(bare, accuracy_range=RANGE, seed=s).first for s in (5, 6))
    assert again.store.sample_ids == split.store.sample_ids != other.store.sample_ids


@pytest.mark.parametrize(
    ("n_classes", "each", "most"), [(10, 10_000, 10_000), (12_000, 2, 10_000), (3, 2, 3)]
)
def test_not_too_many_are_drawn(n_classes: int, each: int, most: int) -> None:
    drawn = of_store._drawn(np.arange(n_classes * each) % n_classes, 0)
    assert 0 < len(drawn) <= most
    assert (np.diff(drawn) > 0).all()


def test_classes_of_one_sample_leave_nothing_to_draw(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", target=np.arange(3)) as writer:
        for name in "ab":
            writer.add(ModelCard(name), logits=np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="every class has one sample: too few .* calibration"):
        from_store(tmp_path / "s")


def test_stored_outputs_are_probabilities_as_they_are(models: Models, tmp_path: Path) -> None:
    subject = from_store(stored(tmp_path / "s", models, kind="topk", listed=2))
    split = subject.first
    assert split.fitted is None
    assert "taken as probabilities as they are" in subject.choices["calibration"]
    np.testing.assert_allclose(split.confidence("far"), models.confidence("far"), rtol=1e-12)
    subject.need_confidences()


def test_predictions_have_no_confidences(models: Models, tmp_path: Path) -> None:
    subject = from_store(stored(tmp_path / "s", models, kind="preds"))
    np.testing.assert_allclose(subject.first.accuracy, models.accuracy)
    with pytest.raises(Lacking, match="predicted classes alone, of which no ensemble is made"):
        subject.need_confidences()
    with pytest.raises(Lacking, match="predicted classes alone, of which no ensemble is made"):
        subject.first.confidence("base")
    assert "gain" not in subject.pairs


def test_bfloat16_logits_are_logits(models: Models, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", target=models.target) as writer:
        for m, name in enumerate(("base", "twin")):
            short = torch.from_numpy(models.logits[m]).bfloat16()
            writer.add(ModelCard(name, temperature=1.5), logits=short)
    subject = from_store(tmp_path / "s")
    assert subject.choices.get("outputs") is None
    assert subject.choices["calibration"] == "the store's own temperatures"
    assert subject.first.confidence("base").min() >= 0.25


def test_pairs_equal_a_loop_over_samples(store: Store, models: Models) -> None:
    subject = from_store(store, accuracy_range=RANGE)
    assert len(subject.pairs) == 2 * 9
    for _, row in subject.pairs.iterrows():
        for key, value in models.numbers(row["base"], row["model"]).items():
            assert row[key] == pytest.approx(value, abs=1e-12), key
        assert row["in_band"] == (RANGE[0] <= row["accuracy"] <= RANGE[1])


def test_partners_are_nearest_in_accuracy_first(store: Store, models: Models) -> None:
    subject = from_store(store, accuracy_range=RANGE)
    found = list(subject.partners(subject.first, "base"))
    assert [name for _, name in found] == ["twin", "wide", "conv", "ssl", "farther", "far"]
    distance = abs(models.accuracy - models.accuracy[0])
    assert distance[models.index("farther")] < distance[models.index("far")]


def test_a_table_tells_of_models(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "about.csv"
    table.write_text("name,category,method,seed,head\nconv,FWORK,,3,Linear\nabsent,ARCH,,,\n")
    card = {c.name: c for c in with_metadata(store, table)[0].models}["conv"]
    before = {c.name: c for c in store.models}["conv"]
    assert card == replace(before, category="FWORK", head="Linear", training={"seed": 3})
    subject = from_store(store, metadata=table)
    assert subject.category("base", "conv") == "FWORK"
    told = f"about.csv tells of 1 of {len(store)} models; 1 of its rows are of no model here"
    assert subject.choices["metadata"] == told


def test_a_table_is_read_as_people_write_it(store: Store, tmp_path: Path) -> None:
    """A byte order mark, space around fields, quotes, rows that end early, words of JSON."""
    table = tmp_path / "about.csv"
    table.write_text(
        '\ufeffname, head ,data,hyperparameters,seed\nconv, Linear,"a, b",NaN,1e999\n twin ,,nan\n',
        encoding="utf-8",
    )
    cards = {c.name: c for c in with_metadata(store, table)[0].models}
    assert cards["conv"].head == "Linear"
    training = {"data": "a, b", "hyperparameters": "NaN", "seed": "1e999"}
    assert training.items() <= cards["conv"].training.items()
    assert cards["twin"].training["data"] == "nan"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,category\na,ARCH\n", "has no column called name; it has model, category"),
        ("name,colour\nconv,red\n", "has a column 'colour'; columns are name, method, head"),
        ("name,head\nconv,a\nconv,b\n", "has two rows of 'conv'"),
        ("name,category\nconv,Arch\n", "gives 'conv' the category 'Arch'; categories are BASE, "),
        ("name,head,head\nconv,a,b\n", "has two columns called 'head'"),
        ("name,head\nconv,a\n,b\n", "has no name in row 3"),
        ("name,head\nconv,a,b\n", "about.csv is not a table of comma-separated values: .* line 2"),
        ("", "about.csv is not a table of comma-separated values: No columns"),
        ("name,head\nconv,é\n", "about.csv is not a table of comma-separated values: .*utf-8"),
        ("name,head\nnobody,a\n", "has no row of any model of .*, whose first is 'base'"),
    ],
)
def test_a_table_that_does_not_fit(store: Store, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "about.csv").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=message):
        with_metadata(store, tmp_path / "about.csv")


def test_a_table_names_one_base(store: Store, tmp_path: Path) -> None:
    """Where cards have another one already, that is not silently the base."""
    (tmp_path / "about.csv").write_text("name,category\nconv,BASE\n")
    with pytest.raises(ValueError, match="'base' and 'conv'"):
        from_store(store, metadata=tmp_path / "about.csv")
