"""Every kind of output comes back as it went in, mapped and not copied; views and merges agree."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import torch

import ovcore as ov
from ovcore.store import CATEGORIES, ModelCard, Store, StoreError, StoreWriter, categorize, merge

N, K = 7, 5
RNG = np.random.default_rng(1)
TARGET = RNG.integers(0, K, N)
LOGITS = RNG.normal(size=(N, K)).astype(np.float32)
IDS = [f"sample {n}" for n in range(N)]


def write(path: Path, models: dict[str, dict[str, Any]], **facts: Any) -> Store:
    with StoreWriter(path, **{"target": TARGET, "sample_ids": IDS, **facts}) as writer:
        for name, outputs in models.items():
            writer.add(ModelCard(name), **outputs)
    return Store(path)


def base_of(array: np.ndarray) -> Any:
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return type(array).__name__


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floats_come_back_mapped(tmp_path: Path, dtype: str) -> None:
    given = LOGITS.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    store = write(tmp_path / "s", {"a": {"logits": given, "features": given[:, :3]}})
    found = store.logits("a")
    assert found.dtype == given.dtype
    assert not found.flags.writeable
    assert base_of(found) == "mmap"
    np.testing.assert_array_equal(found, given)
    np.testing.assert_array_equal(store.features("a"), given[:, :3])
    errors = ov.pack_errors([found], TARGET)
    np.testing.assert_array_equal(store.accuracy, errors.accuracy())
    np.testing.assert_array_equal(store.preds("a"), given.astype(np.float32).argmax(1))
    file = tmp_path / "s" / "model-00000.safetensors"
    np.testing.assert_array_equal(safetensors.numpy.load_file(file)["logits"], given)


def test_bfloat16_of_torch(tmp_path: Path) -> None:
    given = torch.from_numpy(LOGITS).bfloat16()
    found = write(tmp_path / "s", {"a": {"logits": given}}).logits("a")
    np.testing.assert_array_equal(found.astype(np.float32), given.float().numpy())


def test_topk_and_predictions(tmp_path: Path) -> None:
    classes = np.argsort(-LOGITS, axis=1)[:, :2]
    top = ov.TopK(classes, np.take_along_axis(LOGITS, classes, 1).astype(np.float16), K)
    preds = np.array([0, 1, 2, -1, 4, 0, 1], np.int8)
    store = write(
        tmp_path / "s",
        {"full": {"logits": LOGITS}, "top": {"topk": top}, "preds": {"preds": preds}},
    )
    assert [store.kinds(name) for name in store.names] == [
        ("logits", "preds"), ("topk", "preds"), ("preds",)
    ]  # fmt: skip
    back = store.topk("top")
    assert back is not None
    np.testing.assert_array_equal(back.classes, classes)
    np.testing.assert_array_equal(back.probs, top.probs)
    np.testing.assert_array_equal(store.preds("top"), LOGITS.argmax(1))
    np.testing.assert_array_equal(store.preds("preds"), preds)
    assert store.accuracy[2] == 1 - (preds != TARGET).mean()
    assert store.topk("full") is None
    with pytest.raises(ValueError, match="keeps no logits of 'top', but topk, preds"):
        store.logits("top")
    assert [output.shape for output in store.outputs()] == [(N,)] * 3
    assert isinstance(store.select(["top"]).outputs()[0], ov.TopK)
    assert store.select(["full"]).outputs()[0].shape == (N, K)


def test_many_models_of_predictions_take_few_files(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with StoreWriter(tmp_path / "s", target=TARGET) as writer:
        for m in range(60):
            writer.add(ModelCard(f"model {m}"), logits=LOGITS + m)
    store = Store(tmp_path / "s")
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 40, limit[1])
    )
    try:
        preds = [store.preds(name) for name in store.names]
        with pytest.raises(StoreError, match=r"raise the limit of open files \(ulimit -n\)"):
            store.outputs()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert ov.pairwise.joint_agreement(preds)[0, 59] == N


def test_features_alone_have_no_outputs(tmp_path: Path) -> None:
    store = write(tmp_path / "s", {"a": {"features": LOGITS}})
    assert np.isnan(store.accuracy[0])
    assert store.n_classes is None
    with pytest.raises(ValueError, match="'a' in the store at .* has features alone"):
        store.outputs()
    with StoreWriter(tmp_path / "e", target=TARGET):
        pass
    with pytest.raises(ValueError, match="has no models"):
        Store(tmp_path / "e").outputs()


def test_blocks_are_as_the_whole(tmp_path: Path) -> None:
    write(tmp_path / "whole", {"a": {"logits": LOGITS, "features": LOGITS[:, 1:]}})
    with StoreWriter(tmp_path / "blocks", target=TARGET, sample_ids=IDS) as writer:
        cuts = [slice(0, 1), slice(1, 1), slice(1, 6), slice(6, 7)]
        writer.add_blocks(
            ModelCard("a"),
            ({"logits": LOGITS[rows], "features": LOGITS[rows, 1:]} for rows in cuts),
        )
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "blocks" / file.name).read_bytes()


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([], "there is no block"),
        (
            [{"logits": LOGITS[:3]}, {"logits": LOGITS[:3]}],
            "logits of 'a' has 6 samples but the store has 7",
        ),
        (
            [{"logits": LOGITS}, {"logits": LOGITS[:1]}],
            "logits of 'a' has 8 samples but the store has 7",
        ),
        ([{"logits": LOGITS[:3]}, {"preds": TARGET[:4]}], "some blocks of 'a' have logits"),
        (
            [{"logits": LOGITS[:3]}, {"logits": LOGITS[3:].astype(np.float64)}],
            "blocks of 'a' differ in logits: float32 rows of .* float64",
        ),
        ([{"features": LOGITS, "preds": TARGET[:2]}], "of different samples: features 7, preds 2"),
        ([{"preds": TARGET + 5}], r"preds of 'a' must be in 0\.\.4, or -1 for none: got"),
        ([{"preds": TARGET[None]}], r"preds of 'a' must be \(N,\)"),
        ([{}], "has no outputs"),
    ],
)
def test_blocks_that_do_not_fit(tmp_path: Path, blocks: list[Any], message: str) -> None:
    with StoreWriter(tmp_path / "s", target=TARGET, n_classes=K) as writer:
        top = ov.TopK(TARGET[:, None], LOGITS[:, :1], 9)
        with pytest.raises(ValueError, match="topk of 'a' have 9 classes, the store 5"):
            writer.add(ModelCard("a"), logits=LOGITS, topk=top)
        with pytest.raises(ValueError, match=message):
            writer.add_blocks(ModelCard("a"), iter(blocks))
        writer.add(ModelCard("a"), logits=LOGITS)  # the name is free still
    assert sorted(p.name for p in (tmp_path / "s").glob("*.safetensors")) == [
        "model-00000.safetensors"
    ]


def test_models_are_appended(tmp_path: Path) -> None:
    write(tmp_path / "s", {"a": {"logits": LOGITS}})
    reader = Store(tmp_path / "s")
    with StoreWriter.append(tmp_path / "s") as writer:
        assert writer.n_samples == N
        assert (writer.n_classes, writer.sample_ids, writer.class_names) == (K, IDS, None)
        writer.add(ModelCard("b"), preds=TARGET)
        with pytest.raises(ValueError, match="'a' already"):
            writer.add(ModelCard("a"), preds=TARGET)
        with pytest.raises(ValueError, match="have 3 classes, the store 5"):
            writer.add(ModelCard("c"), logits=LOGITS[:, :3])
    assert reader.names == ("a",)
    assert Store(tmp_path / "s").names == ("a", "b")
    np.testing.assert_array_equal(reader.logits("a"), LOGITS)
    with pytest.raises(KeyboardInterrupt), StoreWriter.append(tmp_path / "s") as writer:
        writer.add(ModelCard("c"), preds=TARGET)
        raise KeyboardInterrupt
    assert Store(tmp_path / "s").names == ("a", "b")
    assert len(list((tmp_path / "s").glob("*.safetensors"))) == 2
    with pytest.raises(FileNotFoundError, match="no store at"):
        StoreWriter.append(tmp_path / "t")


def test_views_of_models_and_samples(tmp_path: Path) -> None:
    models = {"a": {"logits": LOGITS}, "b": {"logits": -LOGITS, "features": LOGITS}}
    fold = np.arange(N)
    store = write(tmp_path / "s", models, columns={"fold": fold})
    assert store.select(["b", "a"]).names == ("b", "a")
    run = store.select(samples=np.arange(2, 6))
    assert base_of(run.logits("a")) == "mmap"
    some = run.select(samples=[3, 0])
    for view, rows in (
        (run, [2, 3, 4, 5]),
        (some, [5, 2]),
        (store.select(samples=fold > 3), [4, 5, 6]),
    ):
        np.testing.assert_array_equal(view.logits("b"), -LOGITS[rows])
        np.testing.assert_array_equal(view.features("b"), LOGITS[rows])
        np.testing.assert_array_equal(view.target, TARGET[rows])
        np.testing.assert_array_equal(view.columns["fold"], rows)
        np.testing.assert_array_equal(
            view.accuracy, ov.pack_errors(view.outputs(), view.target).accuracy()
        )
        assert view.sample_ids == [IDS[row] for row in rows]
    nameless = write(tmp_path / "t", models, sample_ids=None)
    aligned = store.align(IDS[::-1])
    np.testing.assert_array_equal(aligned.logits("a"), LOGITS[::-1])
    for call, error, message in (
        (lambda: store.select(["c"]), KeyError, "no model named 'c'"),
        (lambda: store.select("ab"), TypeError, "must be a sequence of names"),
        (lambda: store.select(["a", "a"]), ValueError, "repeat"),
        (lambda: store.select(samples=[0, 7]), IndexError, r"must be in 0\.\.6"),
        (lambda: store.select(samples=[1, 1]), ValueError, "repeat"),
        (lambda: store.select(samples=np.ones(3, bool)), ValueError, r"\(7,\) truth values"),
        (lambda: store.select(samples=np.zeros(7, bool)), ValueError, "at least one"),
        (lambda: store.select(samples=[]), ValueError, "at least one"),
        (lambda: store.align(["x", IDS[0]]), ValueError, "lacks 1 of 2 samples, first 'x'"),
        (lambda: nameless.align(IDS), ValueError, "no sample ids"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()


def test_shards_merge_to_the_whole(tmp_path: Path) -> None:
    top = ov.TopK(np.argsort(-LOGITS, 1)[:, :2], -np.sort(-LOGITS, 1)[:, :2], K)
    models: dict[str, dict[str, Any]] = {
        "a": {"logits": LOGITS, "features": LOGITS[:, 2:]},
        "b": {"preds": TARGET},
        "c": {"topk": top},
    }
    facts = {"class_names": list("vwxyz"), "columns": {"fold": np.arange(N)}}
    whole = write(tmp_path / "whole", models, **facts)
    shards = []
    for first, last in ((0, 3), (3, 4), (4, 7)):
        rows = slice(first, last)
        with StoreWriter(
            tmp_path / f"shard{first}", target=TARGET[rows], sample_ids=IDS[rows],
            class_names=list("vwxyz"), columns={"fold": np.arange(N)[rows]},
        ) as writer:  # fmt: skip
            for name, outputs in models.items():
                writer.add(ModelCard(name), **{k: v[rows] for k, v in outputs.items()})
        shards.append(tmp_path / f"shard{first}")
    merged = merge(shards, tmp_path / "merged")
    for file in whole.path.iterdir():
        assert file.read_bytes() == (merged.path / file.name).read_bytes(), file.name
    with pytest.raises(ValueError, match="sample ids repeat, as 'sample 0'"):
        merge([shards[0], shards[0]], tmp_path / "twice")
    with pytest.raises(ValueError, match="only one of .* has the model 'c'"):
        merge([shards[0], Store(shards[1]).select(["a", "b"])], tmp_path / "odd")
    with pytest.raises(ValueError, match="two or more stores, got 1"):
        merge(shards[:1], tmp_path / "one")
    with pytest.raises(ValueError, match="by must be one of samples, models"):
        merge(shards, tmp_path / "by", by="rows")
    with pytest.raises(FileExistsError):
        merge(shards, tmp_path / "whole")
    assert not list(tmp_path.glob(".*"))


def test_a_merge_keeps_given_predictions_and_one_base(tmp_path: Path) -> None:
    preds = np.array([0, 1, -1, 1, 2, 2, 0])
    for name in ("a", "b"):
        with StoreWriter(tmp_path / name, target=TARGET) as writer:
            writer.add(ModelCard(name, category="BASE"), logits=LOGITS, preds=preds)
    same = [Store(tmp_path / "a").select(samples=rows) for rows in ([0, 1, 2], [3, 4, 5, 6])]
    np.testing.assert_array_equal(merge(same, tmp_path / "again").preds("a"), preds)
    with pytest.raises(ValueError, match="relative to one base, but the stores have 2: 'a', 'b'"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both", by="models")


def test_models_merge_by_sample_id(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"a": {"logits": LOGITS}})
    order = RNG.permutation(N)
    other = write(
        tmp_path / "other", {"b": {"logits": -LOGITS[order]}},
        target=TARGET[order], sample_ids=[IDS[row] for row in order],
    )  # fmt: skip
    both = merge([one, other], tmp_path / "both", by="models")
    assert both.names == ("a", "b")
    np.testing.assert_array_equal(both.logits("b"), -LOGITS)
    noted = write(
        tmp_path / "noted", {"n": {"preds": TARGET}}, columns={"fold": np.arange(N)}, n_classes=K
    )
    noted = merge([one, noted], tmp_path / "with", by="models")
    np.testing.assert_array_equal(noted.columns["fold"], np.arange(N))
    other_fold = write(
        tmp_path / "fold", {"f": {"preds": TARGET}}, columns={"fold": np.zeros(N, int)}, n_classes=K
    )
    with pytest.raises(ValueError, match="disagree on the column 'fold'"):
        merge([noted, other_fold], tmp_path / "bad", by="models")
    wrong = write(
        tmp_path / "wrong", {"c": {"preds": TARGET}}, target=(TARGET + 1) % K, n_classes=K
    )
    with pytest.raises(ValueError, match="disagree on the labels of 7 samples, first 'sample 0'"):
        merge([one, wrong], tmp_path / "bad", by="models")
    with pytest.raises(ValueError, match="'a' already"):
        merge([one, one], tmp_path / "bad", by="models")
    nameless = write(tmp_path / "nameless", {"d": {"logits": LOGITS}}, sample_ids=None)
    with pytest.raises(ValueError, match="only one has sample ids"):
        merge([one, nameless], tmp_path / "bad", by="models")


SEED = {
    "data": "IN",
    "objective": "sup",
    "architecture": "r50",
    "hyperparameters": {"lr": 1},
    "seed": 1,
}


@pytest.mark.parametrize(
    ("changes", "category"),
    [
        ({}, None),
        ({"seed": 2}, "REINIT"),
        ({"seed": 2, "hyperparameters": {"lr": 2}}, "HPARAM"),
        ({"hyperparameters": {"lr": 2}, "architecture": "vit"}, "ARCH"),
        ({"architecture": "vit", "objective": "clr"}, "FWORK"),
        ({"objective": "clr", "data": "JFT"}, "DATASET"),
        ({"data": None, "seed": 2}, None),
        ({"architecture": None, "data": "JFT"}, "DATASET"),
    ],
)
def test_the_most_divergent_axis_is_the_category(
    changes: dict[str, Any], category: str | None
) -> None:
    a, b = ModelCard("a", training=SEED), ModelCard("b", training={**SEED, **changes})
    assert categorize(a, b) == categorize(b, a) == category
    assert category is None or category in CATEGORIES


def test_an_explicit_category_wins(tmp_path: Path) -> None:
    cards = [
        ModelCard("base", category="BASE", training=SEED),
        ModelCard("x", category="FWORK", training={**SEED, "seed": 2}),
        ModelCard("y", training={**SEED, "architecture": "vit"}),
    ]
    with StoreWriter(tmp_path / "s", target=TARGET) as writer:
        for card in cards:
            writer.add(card, preds=TARGET)
    store = Store(tmp_path / "s")
    assert store.models == tuple(cards)
    assert store.categorize("base", "x") == store.categorize("x", "base") == "FWORK"
    assert store.categorize("base", "y") == "ARCH"
    assert store.categorize("x", "y") == "ARCH"
    with pytest.raises(KeyError, match="no model named 'z'"):
        store.categorize("x", "z")


@pytest.mark.parametrize(
    ("card", "error", "message"),
    [
        ({"name": 3}, TypeError, "a card's name must be text, got 3"),
        ({"name": ""}, ValueError, "must not be empty"),
        ({"name": "a", "training": ["seed"]}, TypeError, "must be a dict"),
        ({"name": "a", "training": {"lr": float("nan")}}, TypeError, "plain JSON"),
        ({"name": "a", "temperature": 0.0}, ValueError, "must be positive, got 0.0"),
    ],
)
def test_bad_cards(card: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ModelCard(**card)


def test_bfloat16_without_ml_dtypes_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write(tmp_path / "s", {"a": {"logits": torch.from_numpy(LOGITS).bfloat16()}})
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="bfloat16, which numpy reads with ml_dtypes"):
        store.logits("a")
    assert issubclass(StoreError, ValueError)
