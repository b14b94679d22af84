"""A store is whole or not there, and says what is wrong with a damaged one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ovcore.store import ModelCard, Store, StoreWriter

TARGET = np.array([0, 1, 2, 1])


def write(path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    logits = {name: rng.normal(size=(4, 3)).astype(np.float32) for name in ("a", "../b")}
    with StoreWriter(
        path,
        target=TARGET,
        sample_ids=list("wxyz"),
        class_names=["zero", "one", "two"],
        columns={"fold": np.array([0, 0, 1, 1])},
    ) as writer:
        card = ModelCard("a", "Sup.", "Trained", "BASE", {"seed": 3})
        writer.add(card, logits=logits["a"], features=logits["a"][:, :2])
        writer.add(ModelCard("../b"), logits=logits["../b"])
    return logits


def test_what_is_written_is_read(tmp_path: Path) -> None:
    logits = write(tmp_path / "store")
    store = Store(tmp_path / "store")
    assert [card.name for card in store.models] == ["a", "../b"]
    assert store.models[0] == ModelCard("a", "Sup.", "Trained", "BASE", {"seed": 3})
    assert (store.n_samples, store.n_classes, len(store)) == (4, 3, 2)
    assert store.sample_ids == list("wxyz")
    assert store.class_names == ["zero", "one", "two"]
    np.testing.assert_array_equal(store.target, TARGET)
    np.testing.assert_array_equal(store.columns["fold"], [0, 0, 1, 1])
    for name, values in logits.items():
        np.testing.assert_array_equal(store.logits(name), values)
    np.testing.assert_array_equal(store.features("a"), logits["a"][:, :2])
    assert store.features("../b") is None
    assert "2 models x 4 samples" in repr(store)


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert all(path.parent == tmp_path / "store" for path in tmp_path.rglob("*.safetensors"))


def test_an_interrupted_store_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "s", target=TARGET) as writer:
        writer.add(ModelCard("a"), logits=np.zeros((4, 3)))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere")
    with (
        pytest.raises(FileExistsError, match="already at"),
        StoreWriter(tmp_path / "s", target=TARGET) as late,
    ):
        (tmp_path / "elsewhere").rename(tmp_path / "s")
        late.add(ModelCard("late"), logits=np.zeros((4, 3)))
    assert [card.name for card in Store(tmp_path / "s").models] == ["a", "../b"]
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_bad_models_are_refused_by_name(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", target=TARGET) as writer:
        writer.add(ModelCard("a"), logits=np.zeros((4, 3)))
        with pytest.raises(ValueError, match="named 'a' already"):
            writer.add(ModelCard("a"), logits=np.zeros((4, 3)))
        with pytest.raises(
            ValueError,
            match="logits of 'b' has 3 samples but the store has 4",
        ):
            writer.add(ModelCard("b"), logits=np.zeros((3, 3)))
        with pytest.raises(ValueError, match=r"features of 'b' must be \(N, D\) in .*: got int64"):
            writer.add(ModelCard("b"), logits=np.zeros((4, 3)), features=np.zeros((4, 2), int))
        with pytest.raises(ValueError, match="logits of 'b' have 2 classes, the store 3"):
            writer.add(ModelCard("b"), logits=np.zeros((4, 2)))
    assert [card.name for card in Store(tmp_path / "s").models] == ["a"]
    with pytest.raises(FileExistsError, match="already at"):
        StoreWriter(tmp_path / "s", target=TARGET)
    with StoreWriter(tmp_path / "n", target=TARGET) as writer:
        with pytest.raises(TypeError, match="card of 'a' must be plain JSON"):
            ModelCard("a", training={"seed": np.int64(3)})
        with pytest.raises(TypeError, match="logits of 'a' is a masked array"):
            writer.add(ModelCard("a"), logits=np.ma.masked_array(np.zeros((4, 3))))
        writer.add(ModelCard("a"), logits=torch.ones(4, 3))
        writer.add(ModelCard("big"), logits=np.ones((4, 3), ">f4"))
    for name in ("a", "big"):
        np.testing.assert_array_equal(Store(tmp_path / "n").logits(name), np.ones((4, 3)))
    with pytest.raises(RuntimeError, match="inside its `with` block"):
        writer.add(ModelCard("b"), logits=np.zeros((4, 3)))
    with pytest.raises(TypeError, match="sample_ids must be a sequence of strings"):
        StoreWriter(tmp_path / "t", target=TARGET, sample_ids=[1, 2, 3, 4])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="sample_ids must be a sequence of strings"):
        StoreWriter(tmp_path / "t", target=TARGET, sample_ids=set("wxyz"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target has a number beyond 2"):
        StoreWriter(tmp_path / "t", target=np.array([0, 2**63], np.uint64))
    for options, message in (
        ({"sample_ids": ["x"]}, "1 sample ids for 4 samples"),
        ({"sample_ids": list("xxyz")}, "sample ids repeat"),
        ({"columns": {"fold": np.zeros(3, int)}}, "column 'fold' must be"),
        ({"target": np.array([0, 1, -1, 1])}, r"target\[2\] is -1, expected a class >= 0"),
        ({"target": TARGET[None]}, r"target must be \(N,\)"),
        ({"n_classes": 2}, r"target\[2\] is 2, expected a class in 0\.\.1"),
        ({"n_classes": 4, "class_names": list("abc")}, "3 names but n_classes is 4"),
    ):
        with pytest.raises(ValueError, match=message):
            StoreWriter(tmp_path / "t", **{"target": TARGET, **options})


def test_damage_is_said_with_the_file(tmp_path: Path) -> None:
    write(tmp_path / "s")
    store = Store(tmp_path / "s")
    with pytest.raises(KeyError, match="no model named 'c'"):
        store.logits("c")
    file = tmp_path / "s" / "model-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(
        ValueError,
        match=r"model-00000.safetensors has \d+ bytes, but its header tells of \d+ \(model 'a'",
    ):
        store.logits("a")
    manifest = tmp_path / "s" / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole.replace("model-00000", "../model-00000"))
    with pytest.raises(ValueError, match="lies outside the store"):
        Store(tmp_path / "s")
    manifest.write_text(whole.replace('"../b"', '"a"'))
    with pytest.raises(ValueError, match="is damaged: .*names repeat"):
        Store(tmp_path / "s")
    manifest.write_text(whole.replace("[0, 1, 2, 1]", "[0, 1, 2.5, 1]"))
    with pytest.raises(ValueError, match="is damaged: .*expected 4 integers"):
        Store(tmp_path / "s")
    manifest.write_text(whole.replace('"target"', '"labels"'))
    with pytest.raises(ValueError, match="is damaged: KeyError"):
        Store(tmp_path / "s")
    manifest.write_text('{"format": "other"}')
    with pytest.raises(ValueError, match="is not a manifest of format"):
        Store(tmp_path / "s")
    manifest.write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        Store(tmp_path / "s")
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match="no store at"):
        Store(tmp_path / "s")


def test_other_cards_stand_in(tmp_path: Path) -> None:
    logits = write(tmp_path / "store")
    store = Store(tmp_path / "store")
    card = replace(store.models[1], method="CLIP", category="DATASET", temperature=0.5)
    for given in (store, store.select(["../b", "a"]), store.select(samples=[2, 0])):
        view = given.with_cards([card])
        assert view.names == given.names
        assert {c.name: c for c in view.models} == {"a": store.models[0], "../b": card}
        np.testing.assert_array_equal(view.logits("../b"), given.logits("../b"))
        np.testing.assert_array_equal(view.target, given.target)
        np.testing.assert_array_equal(view.accuracy, given.accuracy)
        assert view.categorize("a", "../b") == "DATASET"
    assert store.models[1] == Store(tmp_path / "store").models[1] == ModelCard("../b")
    assert store.with_cards([]).models == store.models
    np.testing.assert_array_equal(
        store.with_cards([card]).select(samples=[3]).logits("a"), logits["a"][3:]
    )
    with pytest.raises(KeyError, match="has no model named 'c'"):
        store.with_cards([ModelCard("c")])
    with pytest.raises(ValueError, match="cards has names that repeat"):
        store.with_cards([card, card])


def test_a_hash_of_all_that_is_held(tmp_path: Path) -> None:
    write(tmp_path / "store")
    write(tmp_path / "again")
    store = Store(tmp_path / "store")
    assert store.sha256 == Store(tmp_path / "again").sha256
    assert len(store.sha256) == 64
    views = [
        store, store.select(["a"]), store.select(["../b", "a"]), store.select(samples=[0, 1]),
        store.select(samples=[1, 0]), store.with_cards([ModelCard("a", method="other")]),
    ]  # fmt: skip
    assert len({view.sha256 for view in views}) == len(views)
    with StoreWriter(tmp_path / "other", target=TARGET) as writer:
        writer.add(ModelCard("a"), logits=np.ones((4, 3)))
    assert Store(tmp_path / "other").sha256 not in {view.sha256 for view in views}


def test_a_hash_tells_selections_of_many_samples_apart(tmp_path: Path) -> None:
    """All of one class and without ids, they differ in the middle alone."""
    with StoreWriter(tmp_path / "s", target=np.zeros(3000, np.int64)) as writer:
        writer.add(ModelCard("a"), preds=np.arange(3000) % 2)
    store = Store(tmp_path / "s")
    one, other = (np.delete(np.arange(3000), [gap, 2500]) for gap in (1400, 1500))
    assert store.select(samples=one).sha256 != store.select(samples=other).sha256
