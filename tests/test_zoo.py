"""The built-in zoo, on a recipe of a few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovcore.study.zoo import Recipe, ZooSplit, assembly, build, load_digits_images
from ovcore.study.zoo.cache import appearing_whole, default_folder, split_key
from ovcore.study.zoo.contrastive import nt_xent
from ovcore.study.zoo.digits import as_inputs, make_folds
from ovcore.study.zoo.fonts import SUPERSET
from ovcore.study.zoo.from_sources import draw_source
from ovcore.study.zoo.heads import class_mapped, with_probe
from ovcore.study.zoo.nets import make_net
from ovcore.study.zoo.recipe import ArchitectureRun, Training, TransferTask
from ovcore.study.zoo.split import set_up, train_split, trainings
from ovcore.study.zoo.streams import initialised, numpy_stream
from ovcore.study.zoo.supervised import Job, one_hot, train

TINY = Recipe.tiny()
CATEGORIES = {"BASE", "REINIT", "HPARAM", "ARCH", "FWORK", "DATASET"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="module")
def split(folder: Path) -> ZooSplit:
    (one,) = build(TINY, cache=folder, progress=False)
    return one


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(assembly, "train_split", refuse)


def test_every_category_and_one_base(split: ZooSplit) -> None:
    cards = split.test.models
    assert {card.category for card in cards} == CATEGORIES
    assert [card.name for card in cards if card.category == "BASE"] == ["cnn/seed-0"]
    assert cards[0].name == "cnn/seed-0"
    assert len({card.name for card in cards}) == len(cards)
    heads = {card.head for card in cards}
    assert heads == {"Trained", "L-BFGS", "Fine-tuned", "Distilled", "Zero-shot", "Class-mapped"}
    assert split.calibration.models == cards
    assert not split.cached
    assert split.seconds > 0


def test_full_recipe_has_the_counts_it_states() -> None:
    recipe = Recipe()
    variants = (
        recipe.hparam_dropout, recipe.hparam_smoothing,
        recipe.hparam_rate_factor, recipe.hparam_weight_decay,
    )  # fmt: skip
    assert recipe.reinit == 6
    assert sum(map(len, variants)) == 18
    assert (recipe.labelled, recipe.calibration) == (60, 250)
    assert recipe.transfer.canvases == 500


def test_stores_hold_every_image_once_in_order(split: ZooSplit) -> None:
    _, labels = load_digits_images()
    np.testing.assert_array_equal(split.test.target, labels)
    assert split.test.sample_ids == [f"digits/{i:04d}" for i in range(1797)]
    held = split.calibration
    assert held.n_samples == 2 * TINY.calibration
    rows = np.array([int(name.removeprefix("digits/")) for name in held.sample_ids or ()])
    np.testing.assert_array_equal(held.target, labels[rows])
    for store in (split.test, split.calibration):
        for card in store.models:
            logits, features = store.logits(card.name), store.features(card.name)
            assert logits.shape == (store.n_samples, 10)
            assert logits.dtype == np.float32
            assert np.isfinite(logits).all()
            assert (features is None) == (card.name == "svm")
            if features is not None:
                assert features.dtype == np.float32
                assert features.shape in {(store.n_samples, 64), (store.n_samples, 128)}


def test_models_learned_something(split: ZooSplit) -> None:
    right = {
        card.name: (split.test.logits(card.name).argmax(1) == split.test.target).mean()
        for card in split.test.models
    }
    assert right["svm"] > 0.85
    assert right["cnn/seed-0"] > 0.7
    assert min(right.values()) > 0.2


@pytest.mark.parametrize("number", [0, 1])
def test_folds_cut_each_half_apart(number: int) -> None:
    _, labels = load_digits_images()
    recipe = Recipe()
    folds = make_folds(labels, recipe, number)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([fold.test for fold in folds])), np.arange(1797)
    )
    for fold, other in zip(folds, folds[::-1], strict=True):
        parts = (fold.labelled, fold.calibration, fold.pool)
        seen = np.concatenate(parts)
        assert not np.isin(seen, fold.test).any()
        np.testing.assert_array_equal(np.sort(seen), other.test)
        np.testing.assert_array_equal(np.bincount(labels[fold.labelled]), [6] * 10)
        assert len(fold.calibration) == 250
        whole, half = np.bincount(labels), np.bincount(labels[fold.test])
        assert (np.abs(whole - 2 * half) <= 1).all()


def test_splits_differ() -> None:
    _, labels = load_digits_images()
    first, second = (make_folds(labels, Recipe(), number)[0] for number in (0, 1))
    assert not np.array_equal(first.test, second.test)


def test_stores_follow_the_folds(split: ZooSplit) -> None:
    _, labels = load_digits_images()
    folds = make_folds(labels, TINY, 0)
    ids = np.array(split.calibration.sample_ids)
    for number, fold in enumerate(folds):
        np.testing.assert_array_equal(
            np.flatnonzero(split.test.columns["fold"] == number), fold.test
        )
        mine = ids[split.calibration.columns["fold"] == number]
        assert mine.tolist() == [f"digits/{row:04d}" for row in fold.calibration]


def test_no_instance_depends_on_its_test_images(split: ZooSplit, tmp_path: Path) -> None:
    images, labels = load_digits_images()
    fold = make_folds(labels, TINY, 0)[0]
    blind = images.copy()
    blind[fold.test] = 16 - blind[fold.test]
    (other,) = build(TINY, images=blind, labels=labels, cache=tmp_path, progress=False)
    mine = split.calibration.columns["fold"] == 0
    for card in split.test.models:
        np.testing.assert_array_equal(
            other.calibration.logits(card.name)[mine],
            split.calibration.logits(card.name)[mine],
            err_msg=card.name,
        )


def test_no_instance_depends_on_calibration_or_pool_labels(split: ZooSplit) -> None:
    images, labels = load_digits_images()
    bench = set_up(TINY, images, labels, 0)
    for fold in bench.folds:
        bench.labels[[*fold.calibration, *fold.pool]] = 0  # each half's only other images
    members = train_split(bench, lambda _: None)
    fold = bench.folds[0]
    for member in members:
        net = member.instances[0]
        if isinstance(net, torch.nn.Module):
            with torch.no_grad():
                got = net.eval()(bench.inputs[fold.test]).numpy()
            want = split.test.logits(member.card.name)[fold.test]
            np.testing.assert_array_equal(got, want, err_msg=member.card.name)


@pytest.mark.usefixtures("no_training", "split")
def test_finished_split_is_loaded_without_training(split: ZooSplit, folder: Path) -> None:
    (again,) = build(TINY, cache=folder, progress=False)
    assert again.cached
    assert again.seconds == split.seconds
    assert again.test.path == split.test.path
    assert again.transfer.path == split.transfer.path


def test_same_recipe_gives_identical_stores(split: ZooSplit, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    (again,) = build(TINY, cache=tmp_path, progress=False)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not again.cached
    assert again.test.models == split.test.models
    for one, two in ((split.test, again.test), (split.calibration, again.calibration)):
        for card in one.models:
            np.testing.assert_array_equal(one.logits(card.name), two.logits(card.name))
            np.testing.assert_equal(one.features(card.name), two.features(card.name))
    assert again.transfer.sha256 == split.transfer.sha256


def test_keys_know_recipe_data_and_split() -> None:
    images, labels = load_digits_images()
    changed = images.copy()
    changed[0, 0, 0] += 1
    recipes = [
        TINY,
        replace(TINY, seed=1),
        replace(TINY, base=replace(TINY.base, steps=41)),
        replace(TINY, architectures=(ArchitectureRun("mlp-64", 1, Training()),)),
        replace(TINY, transfer=TransferTask(canvases=61)),
    ]
    assert len({recipe.digest() for recipe in recipes}) == len(recipes)
    assert Recipe.tiny().digest() == TINY.digest()
    keys = {split_key(recipe, images, labels, 0) for recipe in recipes}
    keys |= {split_key(TINY, images, labels, 1), split_key(TINY, changed, labels, 0)}
    keys |= {split_key(TINY, images, labels[::-1], 0)}
    assert len(keys) == len(recipes) + 3


@pytest.mark.parametrize(
    "at", ["train_split", "write_stores", "write_transfer", "cached_splits.write_seconds"]
)
def test_interrupted_build_leaves_nothing(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(assembly, "train_split", lambda *_: [])
    monkeypatch.setattr(f"ovcore.study.zoo.assembly.{at}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(TINY, cache=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_killed_build_is_not_taken_as_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / split_key(TINY, *load_digits_images(), 0)
    for left in (place, tmp_path / f".{place.name}.abcd"):
        (left / "test").mkdir(parents=True)
        (left / "test" / "manifest.json").write_text("{")
    monkeypatch.setattr(assembly, "train_split", lambda *_: [])
    (split,) = build(TINY, cache=tmp_path, progress=False)
    assert not split.cached
    assert split.test.models == split.transfer.models == ()


def test_the_first_to_finish_wins(tmp_path: Path) -> None:
    place = tmp_path / "split"
    with appearing_whole(place) as late:
        with appearing_whole(place) as early:
            (early / "split.json").write_text('{"seconds": 1}')
        (late / "split.json").write_text('{"seconds": 2}')
    assert (place / "split.json").read_text() == '{"seconds": 1}'
    assert list(tmp_path.iterdir()) == [place]


def test_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "some/where")
    assert default_folder() == Path("some/where/ovcore/zoo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "ovcore" / "zoo"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((10, 28, 28))}, r"shape \(N, 8, 8\), not \(10, 28, 28\)"),
        ({"images": np.full((10, 8, 8), 17)}, r"in 0\.\.16, not 17"),
        ({"labels": np.arange(9)}, r"labels has shape \(9,\) but images has 10"),
        ({"labels": np.arange(10) + 1}, r"in 0\.\.9, not 1\.\.10"),
        ({"labels": None}, "go together"),
        ({"splits": 0}, "splits must be at least 1"),
        ({}, "a half has 1 images of class"),
        ({"recipe": replace(TINY, labelled=65)}, "multiple of 10, not 65"),
    ],
)
def test_bad_arguments_are_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "recipe": TINY,
        "images": np.zeros((10, 8, 8), dtype=np.uint8),
        "labels": np.arange(10),
        "cache": tmp_path,
        "progress": False,
    }
    with pytest.raises(ValueError, match=message):
        build(**{**options, **change})


@pytest.mark.parametrize(("source", "classes"), [("pen", 10), ("font", 10), ("superset", 34)])
def test_renderers(source: str, classes: int) -> None:
    images, labels = draw_source(source, 20 * classes, numpy_stream("test"))
    assert images.shape == (20 * classes, 8, 8)
    assert images.dtype == np.uint8
    assert images.min() == 0
    assert images.max() == 16
    np.testing.assert_array_equal(np.bincount(labels), [20] * classes)
    ink = images.sum(axis=(1, 2)) / 1024
    assert ink.min() > 0.05
    assert 0.2 < ink.mean() < 0.4
    assert (images.sum(axis=2)[:, [0, 7]] > 0).mean() > 0.95  # the height is filled
    again, _ = draw_source(source, 20 * classes, numpy_stream("test"))
    np.testing.assert_array_equal(images, again)
    assert len(np.unique(images[labels == 3].reshape(20, -1), axis=0)) > 15


def test_pen_digits_are_told_apart_by_the_nearest_mean() -> None:
    """A drawn digit resembles the real ones: without training, most are nearest their own."""
    images, labels = load_digits_images()
    drawn, classes = draw_source("pen", 1000, numpy_stream("test"))
    means = np.stack([drawn[classes == k].mean(axis=0).ravel() for k in range(10)])
    apart = ((images.reshape(-1, 1, 64) - means) ** 2).sum(axis=-1)
    assert (apart.argmin(axis=1) == labels).mean() > 0.6


def jobs(names: Sequence[str]) -> list[Job]:
    images, labels = load_digits_images()
    x, y = as_inputs(images[:50]), one_hot(torch.from_numpy(labels[:50]), 10)
    settings = {"a": Training(steps=8, batch=20), "b": Training(8, 20, 1e-3, 0.1, 0.5, 0.2)}
    return [
        Job(initialised(lambda: make_net("cnn", 10), name), "cnn", x, y, settings[name], (name,))
        for name in names
    ]


def test_a_model_does_not_depend_on_its_company() -> None:
    together, alone = jobs("ab"), [*jobs("a"), *jobs("b")]
    train(together, lambda _: None)
    for job in alone:
        train([job], lambda _: None)
    for one, two in zip(together, alone, strict=True):
        for p, q in zip(one.net.parameters(), two.net.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)
    first, second = (job.net.head.weight for job in together)
    assert not torch.allclose(first, second, atol=1e-2)


def test_stacked_steps_are_those_of_adamw() -> None:
    """One model, constant data: against torch's AdamW under the same schedule."""
    (mine,), (theirs,) = jobs("b"), jobs("b")
    steps = mine.training.steps
    whole = replace(mine.training, batch=50, dropout=0.0)  # every batch is all images
    train([replace(mine, training=whole)], lambda _: None)
    net = theirs.net
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.99), eps=1e-8
    )
    for step in range(steps):
        warm = min(1.0, step + 1)
        scale = warm * 0.5 * (1 + np.cos(np.pi * step / steps))
        optimizer.param_groups[0]["lr"] = 1e-3 * scale
        loss = torch.nn.functional.cross_entropy(
            net(theirs.images), theirs.targets, label_smoothing=0.2
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for p, q in zip(mine.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


def test_probe_is_the_logistic_regression_of_the_features() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = load_digits_images()
    x, y = as_inputs(images[:80]), torch.from_numpy(labels[:80])
    net = initialised(lambda: make_net("mlp-128", 10), "probe")
    with torch.no_grad():
        got = with_probe(net, x, y, 1.0)(x).numpy()
        features = net.body(x).double().numpy()
    fit = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    want = fit.fit(features, labels[:80]).decision_function(features)
    np.testing.assert_allclose(got, want, atol=1e-2)


def test_class_map_picks_the_digits_logits() -> None:
    images, _ = load_digits_images()
    net = initialised(lambda: make_net("cnn", len(SUPERSET)), "map")
    chosen = [SUPERSET.index(c) for c in "9Z3"]
    with torch.no_grad():
        got = class_mapped(net, chosen)(as_inputs(images[:5]))
        torch.testing.assert_close(got, net(as_inputs(images[:5]))[:, chosen])


def test_contrast_is_least_where_views_agree() -> None:
    apart = torch.eye(4).repeat(2, 1)
    want = np.log(1 + 6 * np.exp(-1 / 0.5))
    assert nt_xent(apart, 0.5).item() == pytest.approx(want, rel=1e-5)
    assert nt_xent(torch.roll(apart, 1, 0), 0.5) == pytest.approx(want, rel=1e-5)
    assert nt_xent(torch.eye(8), 0.5).item() == pytest.approx(np.log(7), rel=1e-5)


def test_ticks_add_up_to_the_trainings() -> None:
    short = Training(steps=1, batch=20)
    recipe = replace(
        TINY,
        base=short,
        architectures=(),
        contrastive=tuple(replace(run, training=short) for run in TINY.contrastive),
        distillation=short,
        sources=tuple(replace(run, training=short) for run in TINY.sources),
        fine_tuning=short,
    )
    ticks: list[float] = []
    train_split(set_up(recipe, *load_digits_images(), 0), ticks.append)
    assert sum(ticks) == pytest.approx(trainings(recipe))
