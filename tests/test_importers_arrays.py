"""Files of arrays and tables, and scikit-learn's dumps, are read as they are meant or refused."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ovcore.importers import Labels, Outputs, import_outputs, read_arrays, read_labels, read_sklearn
from ovcore.store import Store

PREDS = np.array([0, 2, 1])
LABELS = np.array([0, 2, 2], np.uint16)
LOGITS = np.array([[3.0, 1.0, 2.0], [0.1, 0.2, 0.30000000000000004], [0.0, 5.0, -1e30]])
PROBS = np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.125, 0.75, 0.125]])
IDS = ["x", "y", "z"]
CLASSES = ["ant", "cat", "dog"]


def read_one(path: Path, **options: Any) -> Outputs:
    (model,) = read_arrays(path, **options)
    return model


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes arrays or text to a file of the given name."""

    def write(name: str, text: str | None = None, **arrays: Any) -> Path:
        path = tmp_path / name
        if text is not None:
            path.write_text(text, encoding="utf-8")
        elif path.suffix == ".npz":
            np.savez(path, **arrays)
        elif path.suffix == ".safetensors":
            save_file(arrays, path)
        elif path.suffix == ".npy":
            np.save(path, arrays["array"], allow_pickle=True)
        else:
            import pandas as pd

            pd.DataFrame(arrays).to_parquet(path)
        return path

    return write


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_members_are_found_by_their_usual_names(ending: str, save: Callable[..., Path]) -> None:
    path = save(f"resnet.{ending}", logits=LOGITS, labels=LABELS)
    model = read_one(path)
    np.testing.assert_array_equal(model.logits, LOGITS)
    np.testing.assert_array_equal(model.target, LABELS)
    assert (model.card.name, model.card.source) == ("resnet", f"arrays:resnet.{ending}")
    assert model.sample_ids is None


def test_bfloat16_stays_bfloat16(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    logits = torch.tensor([[0.5, 1.0], [3.0, -2.0]], dtype=torch.bfloat16)
    save_torch({"logits": logits, "y": torch.tensor([1, 1])}, tmp_path / "a.safetensors")
    import_outputs(read_arrays(tmp_path / "a.safetensors"), tmp_path / "s")
    kept = Store(tmp_path / "s").logits("a")
    assert kept is not None
    assert kept.dtype.name == "bfloat16"
    np.testing.assert_array_equal(kept.astype(np.float32), logits.float().numpy())


def test_members_are_found_by_the_names_given(save: Callable[..., Path]) -> None:
    path = save("a.npz", out=PREDS, truth=LABELS, image=np.array(IDS))
    model = read_one(path, preds="out", target="truth", ids="image")
    np.testing.assert_array_equal(model.preds, PREDS)
    np.testing.assert_array_equal(model.target, LABELS)
    assert model.sample_ids == IDS


def test_several_members_are_one_model_each(save: Callable[..., Path]) -> None:
    path = save("all.npz", first=LOGITS, second=-LOGITS, labels=LABELS)
    models = read_arrays(path, logits=["first", "second"])
    assert [model.card.name for model in models] == ["first", "second"]
    np.testing.assert_array_equal(models[1].logits, -LOGITS)


def test_an_axis_of_models_has_their_names(save: Callable[..., Path]) -> None:
    path = save("all.npz", val_preds=[PREDS, PREDS[::-1]], val_labels=LABELS, names=["a", "b"])
    models = read_arrays(path, preds="val_preds", target="val_labels")
    assert [model.card.name for model in models] == ["a", "b"]
    np.testing.assert_array_equal(models[1].preds, PREDS[::-1])
    path = save("scores.npz", probs=[PROBS, PROBS[::-1]], names=["a", "b"])
    np.testing.assert_array_equal(read_arrays(path)[1].probs, PROBS[::-1])


def test_the_order_of_top_k_classes_breaks_ties(save: Callable[..., Path]) -> None:
    classes = np.array([[2, 1], [0, 2]], np.uint16)
    tied = np.array([[0.5, 0.5], [0.75, 0.25]], np.float16)
    model = read_one(save("a.npz", preds=classes, probs=tied))
    assert model.preds is not None
    assert model.preds.tolist() == [2, 0]
    unordered = read_one(save("b.npz", preds=classes, probs=tied[:, ::-1]))
    assert unordered.preds is None
    path = save("c.npz", preds=[classes] * 2, probs=[tied] * 2, names=["a", "b"], y=[2, 0])
    models = read_arrays(path)
    assert models[1].topk is not None
    np.testing.assert_array_equal(models[1].topk[0], classes)
    np.testing.assert_array_equal(models[1].topk[1], tied)


def test_predictions_beside_all_probabilities_follow_from_them(save: Callable[..., Path]) -> None:
    model = read_one(save("a.npz", preds=PREDS, probs=PROBS))
    assert model.preds is None
    np.testing.assert_array_equal(model.probs, PROBS)


def test_an_npy_file_is_mapped_into_memory(save: Callable[..., Path]) -> None:
    model = read_one(save("a.npy", array=LOGITS))
    assert isinstance(model.logits, np.memmap)
    assert read_one(save("b.npy", array=PROBS), kind="probs").probs is not None
    assert read_one(save("b.npy", array=PROBS), kind="logits").logits is not None
    np.testing.assert_array_equal(read_one(save("c.npy", array=PREDS)).preds, PREDS)


def test_names_of_classes_become_their_positions(save: Callable[..., Path]) -> None:
    path = save("a.npz", preds=["cat", "ant", "dog"], labels=np.array([b"dog", b"ant", b"ant"]))
    model = read_one(path, class_names=CLASSES)
    assert model.preds is not None
    assert model.target is not None
    assert (model.preds.tolist(), model.target.tolist()) == ([1, 0, 2], [2, 0, 0])
    numbers = read_one(save("b.npz", preds=["7", "3"]), class_names=["3", "7"])
    assert numbers.preds is not None
    assert numbers.preds.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("a.npz", {"preds": "p"}, "a.npz has no 'p' for preds; it has 'x'"),
        ("a.npz", {}, "a.npz has x: choose with preds, logits or probs"),
        ("two.npz", {}, "two.npz has 'pred' and 'preds': choose with preds"),
        ("both.npz", {}, "both.npz: give one of preds, logits and probs, or one preds and one pr"),
        ("object.npz", {}, "object.npz, member 'preds', cannot be read: Object arrays"),
        ("axes.npz", {}, r"axes.npz, 'preds' is \(2, 2\), expected \(N,\)"),
        ("names.npz", {}, "names.npz, 'preds' has 2 models but there are 1 names"),
        ("flat.npz", {}, r"flat.npz, 'logits' is \(2,\), expected \(M, N, K\)"),
        ("several.npz", {"preds": ["a", "b"]}, "several preds are one model each, and so have no"),
        ("text.npz", {}, "text.npz, 'preds': row 0 is 'dog', not a number: name the classes"),
        (
            "text.npz",
            {"class_names": ["dog"]},
            "row 1 is 'cat', not one of 1 class names such as 'dog'",
        ),
        ("digits.npz", {"class_names": ["3", "7"]}, "row 1 is '0', not one of 2 class names"),
        ("half.npz", {}, "half.npz, 'labels': row 1 is 0.5, not a number"),
        ("ids.npz", {}, r"ids.npz, 'ids' is float64 \(1,\), expected \(N,\) texts or integers"),
        ("top.npz", {}, r"top.npz, 'probs' is \(2, 2, 1, 1\), expected \(N, k\)"),
        ("object.npy", {}, "object.npy cannot be read: .*Python objects"),
        ("probs.npy", {}, "probs.npy may hold probabilities: give kind 'probs', or else 'logits'"),
        ("archive.npy", {}, "archive.npy cannot be read: it is an npz archive"),
        ("broken.npz", {}, "broken.npz cannot be read"),
        ("broken.npy", {}, "broken.npy cannot be read"),
        ("broken.safetensors", {}, "broken.safetensors cannot be read"),
        ("a.txt", {}, "a.txt ends in none of .npz, .npy, .safetensors, .csv, .parquet"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_member(
    file: str, options: dict[str, Any], message: str, save: Callable[..., Path]
) -> None:
    bytes_of: dict[str, dict[str, Any]] = {
        "a.npz": {"x": PREDS},
        "two.npz": {"pred": PREDS, "preds": PREDS},
        "both.npz": {"preds": PREDS, "logits": LOGITS},
        "object.npz": {"preds": np.array([0, None])},
        "axes.npz": {"preds": np.zeros((2, 2), int)},
        "names.npz": {"preds": np.zeros((2, 2), int), "names": ["a"]},
        "flat.npz": {"logits": np.zeros(2), "names": ["a"]},
        "several.npz": {"a": PREDS, "b": PREDS, "names": ["a", "b"]},
        "text.npz": {"preds": ["dog", "cat"]},
        "digits.npz": {"preds": ["7", "0"]},
        "half.npz": {"preds": [0, 0], "labels": [1.0, 0.5]},
        "ids.npz": {"preds": [0], "ids": [0.5]},
        "top.npz": {"preds": np.zeros((2, 2), int), "probs": np.zeros((2, 2, 1, 1))},
        "object.npy": {"array": np.array([0, None])},
        "probs.npy": {"array": PROBS},
    }
    if file in bytes_of:
        path = save(file, **bytes_of[file])
    elif file == "archive.npy":
        path = save("archive.npz", preds=PREDS).rename(Path(save("x", "")).with_name(file))
    else:
        path = save(file, "PK\x03\x04 cut short" if file.endswith("z") else "cut short")
    with pytest.raises(ValueError, match=message):
        read_arrays(path, **options)


def test_a_table_of_scores(save: Callable[..., Path], tmp_path: Path) -> None:
    text = (
        "id,label,ant,cat,dog\n007,ant,3,1,2\nNA,2,0.1,0.2,0.30000000000000004\nz,dog,0,5,-1e30\n"
    )
    model = read_one(save("a.csv", text))
    assert model.sample_ids == ["007", "NA", "z"]
    assert model.class_names == CLASSES
    np.testing.assert_array_equal(model.logits, LOGITS)
    assert model.target is not None
    assert model.target.tolist() == [0, 2, 2]
    same = read_one(
        save("a.parquet", id=IDS, label=LABELS, **dict(zip(CLASSES, LOGITS.T, strict=True)))
    )
    np.testing.assert_array_equal(same.logits, LOGITS)
    assert (same.sample_ids, same.class_names) == (IDS, CLASSES)
    reordered = read_one(save("a.csv", text), class_names=["dog", "cat", "ant"])
    np.testing.assert_array_equal(reordered.logits, LOGITS[:, ::-1])
    import_outputs([model], tmp_path / "s")
    assert Store(tmp_path / "s").accuracy.tolist() == pytest.approx([2 / 3])


def test_a_table_of_probabilities_is_said_to_be_one(save: Callable[..., Path]) -> None:
    path = save("a.csv", "a,b\n0.25,0.75\n1,0\n")
    with pytest.raises(ValueError, match="a.csv may hold probabilities: give kind 'probs', or el"):
        read_arrays(path)
    np.testing.assert_array_equal(read_one(path, kind="probs").probs, [[0.25, 0.75], [1, 0]])


def test_a_table_of_predictions_one_column_a_model(save: Callable[..., Path]) -> None:
    path = save("a.csv", "sample_id,y,one,two\nx,cat,cat,dog\ny,dog,-1,0\n")
    models = read_arrays(path, preds=["two", "one"], class_names=CLASSES)
    assert [model.card.name for model in models] == ["two", "one"]
    assert [np.asarray(model.preds).tolist() for model in models] == [[2, 0], [1, -1]]
    assert np.asarray(models[0].target).tolist() == [1, 2]
    single = read_one(save("b.csv", "prediction,label\n1,0\n2,2\n"))
    assert np.asarray(single.preds).tolist() == [1, 2]
    assert single.card.name == "b"


def test_a_table_of_rows_of_several_models(save: Callable[..., Path]) -> None:
    text = "model,id,pred,y\nb,x,0,0\na,y,1,1\nb,y,2,1\na,x,1,0\n"
    models = read_arrays(save("a.csv", text), names="model")
    assert [(m.card.name, m.sample_ids) for m in models] == [("b", ["x", "y"]), ("a", ["y", "x"])]
    assert [np.asarray(m.preds).tolist() for m in models] == [[0, 2], [1, 1]]
    assert np.asarray(models[1].target).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n3,\n", {}, r"a.csv, column 'b': row 1 is no number \(NaN\)"),
        ("a,b\n1,2\n3,x\n", {}, "a.csv, column 'b', cannot be read: .* invalid value 'x'"),
        ("a,b,a\n1,2,3\n", {}, "a.csv has column 'a' twice"),
        ("", {}, "a.csv cannot be read"),
        ("id,a\nx,1\n", {}, "a.csv has no column of predictions and 1 of scores"),
        ("id,a,b\nx,1,2\nx,2,3\n", {}, "a.csv, scores: sample id 'x' is there twice"),
        ("pred,y\n0,3.5\n", {}, "a.csv, column 'y': row 0 is '3.5', not a number"),
        ("pred,y\n0,-1\n", {}, "a.csv, column 'pred': label 0 is -1, expected 0 or more"),
        ("pred\n0\n\n-3\n", {}, "prediction 1 is -3, expected -1 or more"),
        ("a,b\n1,2\n", {"logits": "a"}, "logits names members of files of arrays; in a table"),
        ("a,b\n1,2\n", {"kind": "preds"}, "a.csv has no column of predictions: choose with preds"),
        ("a,b\n1,2\n", {"preds": "c"}, "a.csv has no 'c' for preds; it has 'a', 'b'"),
        ("m,a,b\nx,1,2\n", {"preds": ["a", "b"], "names": "m"}, "several preds are one model eac"),
        ("label,y,pred\n1,2,3\n", {}, "a.csv has 'label' and 'y': choose with target"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused_by_column(
    text: str, options: dict[str, Any], message: str, save: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=message):
        read_arrays(save("a.csv", text), **options)


def test_parquet_that_does_not_fit_is_refused_by_column(save: Callable[..., Path]) -> None:
    for columns, message in (
        ({"a": [1.0, None], "b": [1.0, 2.0]}, r"column 'a': row 1 is no number \(NaN\)"),
        ({"a": ["x", "y"], "b": [1.0, 2.0]}, "column 'a' holds no numbers"),
        ({"pred": [1, 2], "id": ["x", None]}, "column 'id': row 1 is null"),
    ):
        with pytest.raises(ValueError, match=message):
            read_arrays(save("a.parquet", **columns))
    with pytest.raises(ValueError, match="a.parquet cannot be read"):
        read_arrays(save("a.parquet", "cut short"))


def test_labels_of_their_own(save: Callable[..., Path]) -> None:
    for path, options in (
        (save("a.npy", array=LABELS), {}),
        (save("a.npz", y=LABELS, other=PREDS), {}),
        (save("b.npz", truth=LABELS), {}),
        (save("c.npz", truth=LABELS, other=PREDS), {"target": "truth"}),
        (save("a.csv", "target\nant\ndog\n2\n"), {"class_names": CLASSES}),
    ):
        labels = read_labels(path, **options)
        assert isinstance(labels, Labels)
        assert (labels.target.tolist(), labels.sample_ids) == ([0, 2, 2], None)
    assert read_labels(save("b.csv", "y,id\n1,07\n")).sample_ids == ["07"]
    with pytest.raises(ValueError, match="c.npz has 'truth', 'other': choose one with target"):
        read_labels(save("c.npz", truth=LABELS, other=PREDS))
    with pytest.raises(ValueError, match=r"d.npy is int64 \(1, 1\), expected|labels are \(1, 1\)"):
        read_labels(save("d.npy", array=np.zeros((1, 1), int)))


def test_dumps_of_predict_proba(save: Callable[..., Path], tmp_path: Path) -> None:
    named = save("forest.npz", proba=PROBS, classes_=np.array(CLASSES), y=["ant", "dog", "dog"])
    model = read_sklearn(named)
    np.testing.assert_array_equal(model.probs, PROBS)
    assert (model.card.name, model.class_names) == ("forest", CLASSES)
    assert np.asarray(model.target).tolist() == [0, 2, 2]
    import_outputs([model], tmp_path / "s")
    logits = Store(tmp_path / "s").logits("forest")
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(logits, np.log(PROBS))
    frame = save("tree.csv", ",ant,cat,dog,y\n17,0.5,0.25,0.25,ant\n4,0,0,1,dog\n")
    indexed = read_sklearn(frame)
    assert indexed.sample_ids == ["17", "4"]
    np.testing.assert_array_equal(indexed.probs, PROBS[:2])
    assert np.asarray(indexed.target).tolist() == [0, 2]
    plain = read_sklearn(save("a.npy", array=PROBS))
    assert (plain.class_names, plain.target) == (None, None)
    floats = save("b.npz", proba=PROBS[:, :2], classes_=[3.0, 7.0], y=[7, 3, 7])
    numbers = read_sklearn(floats)
    assert (numbers.class_names, np.asarray(numbers.target).tolist()) == (["3", "7"], [1, 0, 1])
    truths = save("c.npz", proba=PROBS[:, :2], classes_=[False, True], y=[True, False, True])
    assert np.asarray(read_sklearn(truths).target).tolist() == [1, 0, 1]


def test_predict_proba_of_scikit_learn_itself(save: Callable[..., Path], tmp_path: Path) -> None:
    import pandas as pd
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    data = load_iris()
    names = data.target_names[data.target]
    model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(data.data[::2], names[::2])
    proba = model.predict_proba(data.data)
    path = save("tree.npz", proba=proba, classes_=model.classes_.astype(str), y=names.astype(str))
    frame = tmp_path / "frame.csv"
    pd.DataFrame(proba, columns=model.classes_).assign(y=names).to_csv(frame, index=False)
    for file in (path, frame):
        import_outputs([read_sklearn(file)], tmp_path / file.stem)
        assert Store(tmp_path / file.stem).accuracy[0] == model.score(data.data, names)


def test_dumps_that_do_not_fit_are_refused(save: Callable[..., Path]) -> None:
    for arrays, message in (
        ({"proba": PROBS, "y": [0, 1, 3]}, r"a.npz, 'y': label 2 is '3', but the classes are '0',"),
        ({"proba": PROBS, "classes_": np.array(["a", None])}, "member 'classes_', cannot be read"),
        ({"out": PROBS}, "a.npz has out: choose with proba"),
        ({"proba": [PROBS, PROBS]}, r"a.npz: probabilities must be \(N, K\), got \(2, 3, 3\)"),
        ({"proba": PROBS, "classes_": ["a", "b"]}, "a.npz: 2 class names for 3 classes"),
    ):
        with pytest.raises(ValueError, match=message):
            read_sklearn(save("a.npz", **arrays))


@pytest.mark.parametrize(
    ("file", "library"), [("a.csv", "pyarrow"), ("a.parquet", "pyarrow"), ("a.safetensors", "saf")]
)
def test_a_library_that_is_missing_is_named(
    file: str, library: str, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(file, "a,b\n1,2\n")
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith(library):
            raise ModuleNotFoundError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError, match=rf"{file} is read with {library}.*: pip install 'ovcore\[import\]'"
    ):
        read_arrays(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    for name in ("a.npz", "a.npy", "a.safetensors", "a.csv", "a.parquet"):
        with pytest.raises(FileNotFoundError, match=name):
            read_arrays(tmp_path / name)
