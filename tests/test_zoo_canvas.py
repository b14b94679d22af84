"""The zoo's transfer task: canvases of several digits, and the networks' features of them."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_opening

from ovcore.store import ModelCard, Store
from ovcore.study.transfer_task import read_task
from ovcore.study.zoo import Recipe, ZooSplit, load_digits_images
from ovcore.study.zoo.canvas import Canvases, draw_canvases
from ovcore.study.zoo.classical import fit_classical
from ovcore.study.zoo.digits import as_inputs
from ovcore.study.zoo.nets import Net, make_net
from ovcore.study.zoo.split import set_up
from ovcore.study.zoo.streams import initialised, numpy_stream
from ovcore.study.zoo.transfer import canvas_features, fold_canvases, write_transfer
from ovcore.study.zoo.workbench import FOLDS, Member, Workbench

TINY = Recipe.tiny()
INKS = np.array([6, 9, 15])  # of class 0, 1 and 2; no third of one is another


def squares(*inks: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """An image of one ink throughout for each class."""
    images = np.repeat(inks, 64).reshape(-1, 8, 8).astype(np.uint8)
    return images, np.arange(len(inks))


def draw(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    count: int = 400,
    shift: int = 0,
    hard: float = 0.0,
    seed: int = 0,
) -> Canvases:
    rng = np.random.default_rng(seed)
    return draw_canvases(images, labels, rng, count=count, shift=shift, hard=hard)


def cells(canvases: Canvases) -> NDArray[np.uint8]:
    """(N, 4, 8, 8) of canvases without shifts."""
    n = len(canvases.images)
    parts = canvases.images.reshape(n, 2, 8, 2, 8).transpose(0, 1, 3, 2, 4)
    return parts.reshape(n, 4, 8, 8)


def test_each_digit_fills_a_cell_of_its_own() -> None:
    found = draw(*squares(*range(1, 11)), count=1000)
    assert found.images.shape == (1000, 16, 16)
    assert found.images.dtype == np.uint8
    assert found.present.shape == found.difficult.shape == (1000, 10)
    ink = cells(found)
    np.testing.assert_array_equal(ink.min(axis=(2, 3)), ink.max(axis=(2, 3)))
    shown = ink[:, :, 0, 0]
    for there, inks in zip(found.present, shown, strict=True):
        assert set(np.flatnonzero(there) + 1) == set(inks.tolist()) - {0}
    on_each = (shown > 0).sum(axis=1)
    assert (np.bincount(on_each, minlength=5)[1:] > 200).all()
    assert on_each.min() == 1
    assert ((shown > 0).mean(axis=0) > 0.57).all()  # of 0.625: no cell is preferred
    assert not found.difficult.any()


def test_a_shift_moves_both_ways_and_the_border_cuts() -> None:
    found = draw(*squares(16), shift=1)
    ink = found.images > 0
    alone = np.zeros(len(ink), dtype=bool)
    edges = []
    for i, canvas in enumerate(ink):
        rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
        alone[i] = max(len(rows), len(columns)) <= 8  # two digits in line reach further
        if alone[i]:
            edges.append((rows[0], rows[-1], columns[0], columns[-1]))
            assert canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    spans = {(0, 6), (0, 7), (1, 8), (7, 14), (8, 15), (9, 15)}
    assert {(top, bottom) for top, bottom, _, _ in edges} == spans
    assert {(left, right) for _, _, left, right in edges} == spans
    assert len(set(edges)) > 25  # of 36: both directions are drawn apart


def test_where_digits_meet_the_larger_count_shows() -> None:
    found = draw(*squares(5, 16), shift=2)
    assert set(np.unique(found.images)) == {0, 5, 16}
    met = 0
    for canvas in found.images:
        dark = np.pad(canvas == 16, 2, mode="edge")
        whole = binary_opening(dark, np.ones((8, 8)))  # what squares of 8 x 8 can cover
        np.testing.assert_array_equal(whole, dark)
        met += bool((canvas == 5).any() and dark.any())
    assert met > 100


def test_a_hard_digit_is_faded_or_half_covered() -> None:
    found = draw(*squares(12), count=2000, hard=1.0)
    np.testing.assert_array_equal(found.difficult, found.present)
    there = cells(found).reshape(-1, 8, 8)
    there = there[there.any(axis=(1, 2))]
    faded = (there == 4).all(axis=(1, 2))
    assert 0.45 < faded.mean() < 0.55
    upper = np.zeros((8, 8))
    upper[:4] = 12
    for half in (upper, upper[::-1], upper.T, upper.T[:, ::-1]):
        same = (there == half).all(axis=(1, 2))
        assert 0.1 < same.mean() < 0.15
        faded |= same
    assert faded.all()


def test_a_class_is_difficult_where_all_its_digits_are_hard() -> None:
    found = draw(*squares(*INKS), hard=0.5)
    ink = cells(found)
    kinds = set()
    for there, difficult, canvas in zip(found.present, found.difficult, ink, strict=True):
        for label, value in enumerate(INKS):
            faded = (canvas == value / 3).all(axis=(1, 2)).sum()
            half = ((canvas == value).sum(axis=(1, 2)) == 32).sum()
            easy = (canvas == value).all(axis=(1, 2)).sum()
            assert there[label] == (faded + half + easy > 0)
            assert difficult[label] == (easy == 0 and faded + half > 0)
            kinds.add((bool(easy), bool(faded + half)))
    assert len(kinds) == 4
    assert not found.present[:, 3:].any()
    few = draw(*squares(9), hard=0.15, count=4000).difficult[:, 0].mean()
    assert few == pytest.approx(np.mean([0.15**n for n in (1, 2, 3, 4)]), abs=0.01)


def test_drawing_depends_on_the_stream_alone() -> None:
    images, labels = load_digits_images()
    kept = images.copy()
    one, again, other = (
        draw(images, labels, shift=1, hard=0.2, seed=seed).images for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(images, kept)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    return set_up(TINY, *load_digits_images(), 0)


@pytest.mark.parametrize("fold", FOLDS)
def test_canvases_show_no_image_of_the_trained_half(bench: Workbench, fold: int) -> None:
    images, labels = load_digits_images()
    found = fold_canvases(bench, images, fold)
    unseen = np.zeros(len(images), dtype=bool)
    unseen[bench.folds[fold].test] = True
    for kept, is_same in ((unseen, True), (~unseen, False)):
        other = np.where(kept[:, None, None], images, 16 - images).astype(np.uint8)
        blind = replace(bench, labels=torch.from_numpy(np.where(kept, labels, 9 - labels)))
        again = fold_canvases(blind, other, fold)
        assert np.array_equal(again.images, found.images) == is_same
        assert np.array_equal(again.present, found.present) == is_same


@pytest.mark.parametrize("recipe", [TINY, Recipe()])
def test_every_class_has_positives_in_both_halves_of_a_folds_canvases(recipe: Recipe) -> None:
    images, labels = load_digits_images()
    for split in (0, 1, 2, 3):
        bench = set_up(recipe, images, labels, split)
        for fold in FOLDS:
            found = fold_canvases(bench, images, fold)
            scored = found.present & ~found.difficult
            half = recipe.transfer.canvases // 2
            for part in (scored[:half], scored[half:], scored[::2], scored[1::2]):
                assert part.sum(axis=0).min() >= half // 10 - 2
            assert found.difficult.any(axis=0).sum() >= 8


@pytest.mark.parametrize("architecture", ["cnn", "rescnn", "vit-4x4", "mixer", "mlp-128"])
def test_features_are_means_over_windows(architecture: str) -> None:
    images, labels = load_digits_images()
    canvases = draw(images, labels, count=40, shift=1).images  # 360 windows: more than one batch
    net = initialised(lambda: make_net(architecture, 10), "canvas")
    before = copy.deepcopy(net.state_dict())
    got = canvas_features(net, canvases)
    want = np.zeros((40, net.width))
    for top in (0, 4, 8):
        for left in (0, 4, 8):
            with torch.no_grad():
                window = as_inputs(canvases[:, top : top + 8, left : left + 8])
                want += net.body(window).numpy().astype(np.float64) / 9
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    assert want.std(axis=0).max() > 0.01
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.stride() == before[name].stride()


def test_each_instance_sees_the_canvases_of_its_fold(bench: Workbench, tmp_path: Path) -> None:
    images, _ = load_digits_images()
    nets: list[Net] = [initialised(partial(make_net, "cnn", 10), "fold", f) for f in FOLDS]
    svms = [fit_classical("svm", x.flatten(1).numpy(), y.numpy()) for x, y in bench.labelled()]
    cards = [ModelCard(name, "m", "Trained", "ARCH") for name in ("svm", "net")]
    members = [Member(cards[0], (svms[0], svms[1])), Member(cards[1], (nets[0], nets[1]))]
    threads = torch.get_num_threads()
    write_transfer(bench, members, images, tmp_path / "transfer")
    assert torch.get_num_threads() == threads
    store = Store(tmp_path / "transfer")
    assert store.models == (cards[1],)
    assert store.kinds("net") == ("features",)
    features = store.features("net")
    assert features is not None
    for fold, net in zip(FOLDS, nets, strict=True):
        want = canvas_features(net, fold_canvases(bench, images, fold).images)
        got = features[store.columns["fold"] == fold]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_the_store_says_what_is_on_the_canvases(zoo_split: ZooSplit, bench: Workbench) -> None:
    images, _ = load_digits_images()
    store, n = zoo_split.transfer, TINY.transfer.canvases
    assert store.path.name == "transfer"
    assert store.path.parent == zoo_split.test.path.parent
    assert store.models == tuple(card for card in zoo_split.test.models if card.name != "svm")
    for name in store.names:
        features, tested = store.features(name), zoo_split.test.features(name)
        assert features is not None
        assert tested is not None
        assert features.shape == (2 * n, tested.shape[1])
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
        assert features.std(axis=0).max() > 0
    assert store.sample_ids == [f"canvas/{fold}/{i:04d}" for fold in FOLDS for i in range(n)]
    np.testing.assert_array_equal(store.columns["fold"], np.repeat(FOLDS, n))
    assert not store.target.any()
    digits = range(10)
    names = [f"{kind}.{digit}" for kind in ("present", "difficult") for digit in digits]
    assert list(store.columns) == ["fold", *names]
    drawn = [fold_canvases(bench, images, fold) for fold in FOLDS]
    task = read_task(store)
    assert task.classes == tuple(map(str, digits))
    np.testing.assert_array_equal(task.truth, np.concatenate([c.present for c in drawn]))
    assert task.difficult is not None
    np.testing.assert_array_equal(task.difficult, np.concatenate([c.difficult for c in drawn]))


def test_canvases_of_folds_and_splits_differ(bench: Workbench) -> None:
    data: Any = load_digits_images()
    second = set_up(TINY, *data, 1)
    drawn = [fold_canvases(b, data[0], fold).images for b in (bench, second) for fold in FOLDS]
    assert len({images.tobytes() for images in drawn}) == 4
    rng = numpy_stream(*bench.stream("canvases", 0))
    unseen = bench.folds[0].test
    want = draw_canvases(data[0][unseen], data[1][unseen], rng, count=60, shift=1, hard=0.15)
    np.testing.assert_array_equal(drawn[0], want.images)
