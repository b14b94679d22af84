"""Samples of several files are matched by id or position; what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovcore as ov
from ovcore.importers import ImportReport, Labels, Outputs, import_outputs
from ovcore.store import ModelCard, Store


def model(
    name: str, ids: str | None, preds: list[int], target: list[int] | None = None, **more: Any
) -> Outputs:
    return Outputs(
        ModelCard(name, source=f"test:{name}"),
        f"{name}.csv",
        None if ids is None else list(ids),
        None if target is None else np.array(target, int),
        preds=np.array(preds or np.zeros(0, int)),
        **more,
    )


def scores(name: str, logits: Any, **more: Any) -> Outputs:
    return Outputs(ModelCard(name), f"{name}.npy", logits=np.asarray(logits), **more)


def test_samples_are_matched_by_id_in_the_first_models_order(tmp_path: Path) -> None:
    a = model("a", "wxyz", [0, 1, 2, 0], [0, 1, 1, 1])
    b = model("b", "zvxw", [1, 2, 0, 0], [1, 2, 1, 0])
    reports = import_outputs([a, b], tmp_path / "s")
    store = Store(tmp_path / "s")
    assert store.sample_ids == ["w", "x", "z"]
    assert store.target.tolist() == [0, 1, 1]
    assert [np.asarray(store.preds(name)).tolist() for name in "ab"] == [[0, 1, 0], [0, 0, 1]]
    assert [replace(report, accuracy=0.0) for report in reports] == [
        ImportReport("a", "a.csv", matched=3, dropped=1, missing=1, accuracy=0.0),
        ImportReport("b", "b.csv", matched=3, dropped=1, missing=1, accuracy=0.0),
    ]
    assert [report.accuracy for report in reports] == pytest.approx([2 / 3, 2 / 3])
    assert store.models[0].source == "test:a"


def test_without_ids_samples_are_matched_by_position(tmp_path: Path) -> None:
    models = [model("a", None, [0, 1, -1], [0, 1, 1]), model("b", None, [1, 1, 1])]
    reports = import_outputs(models, tmp_path / "s")
    assert Store(tmp_path / "s").sample_ids is None
    assert [report.matched for report in reports] == [3, 3]
    assert [report.accuracy for report in reports] == pytest.approx([2 / 3, 2 / 3])


def test_samples_that_are_labelled_differently_are_dropped_for_all(tmp_path: Path) -> None:
    a = model("a", "wxyz", [0, 0, 0, 0], [0, 1, 2, 0])
    b = model("b", "zyxw", [1, 1, 1, 1], [0, 1, 0, 0])
    reports = import_outputs([a, b], tmp_path / "s")
    assert Store(tmp_path / "s").sample_ids == ["w", "z"]
    assert (reports[0].disagreed, reports[0].dropped) == (0, 2)
    assert (reports[1].disagreed, reports[1].dropped, reports[1].first_disagreed) == (2, 2, "x")
    assert str(reports[1]) == (
        "b: 2 matched, 2 dropped, 0 missing, 2 disagreed on the label (first 'x'), accuracy 0.0000"
    )


def test_of_positions_the_first_that_is_labelled_differently_is_said(tmp_path: Path) -> None:
    models = [model("a", None, [0, 0, 0], [0, 1, 2]), model("b", None, [0, 0, 0], [0, 1, 1])]
    reports = import_outputs(models, tmp_path / "s")
    assert (reports[1].first_disagreed, reports[1].matched) == ("2", 2)


def test_different_labels_can_be_refused(tmp_path: Path) -> None:
    models = [model("a", "xy", [0, 0], [0, 1]), model("b", "yx", [0, 0], [2, 0])]
    with pytest.raises(
        ValueError, match=r"b.csv labels 1 of 2 samples otherwise than a.csv, first 'y': 2, not 1"
    ):
        import_outputs(models, tmp_path / "s", disagreeing="refuse")
    with pytest.raises(ValueError, match="disagreeing must be 'drop' or 'refuse', got 'keep'"):
        import_outputs(models, tmp_path / "s", disagreeing="keep")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no sample has the same label in all files"):
        import_outputs([models[0], model("b", "xy", [0, 0], [1, 0])], tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_labels_of_their_own_decide_which_samples_and_which_labels(tmp_path: Path) -> None:
    labels = Labels(np.array([2, 1, 0]), ["y", "x", "u"], "labels.csv")
    models = [model("a", "xyz", [1, 2, 0]), model("b", "xyz", [1, 1, 1], [1, 0, 0])]
    reports = import_outputs(models, tmp_path / "s", labels=labels)
    store = Store(tmp_path / "s")
    assert (store.sample_ids, store.target.tolist()) == (["x"], [1])
    assert [(r.matched, r.dropped, r.missing, r.disagreed) for r in reports] == [
        (1, 2, 1, 0),
        (1, 2, 1, 1),
    ]
    by_position = Labels(np.array([1, 0]), ["x", "y"])
    import_outputs([model("a", None, [1, 1])], tmp_path / "t", labels=by_position)
    assert Store(tmp_path / "t").sample_ids == ["x", "y"]


@pytest.mark.parametrize(
    ("models", "labels", "message"),
    [
        ([], None, "models is empty"),
        ([model("a", None, [0])], None, "none of the files has labels.*a.csv"),
        ([model("a", None, [], [])], None, "a.csv has no samples"),
        (
            [model("a", None, [0], [0]), model("b", None, [0, 0], [0, 1])],
            None,
            "b.csv has 2 samples but a.csv has 1: without sample ids they must be the same",
        ),
        (
            [model("a", "x", [0], [0]), model("b", None, [0], [0])],
            None,
            "b.csv has no sample ids but a.csv has",
        ),
        (
            [model("a", "x", [0], [0])],
            Labels(np.array([0]), None, "labels.npy"),
            "labels.npy has no sample ids but a.csv has",
        ),
        (
            [model("a", "wx", [0, 0], [0, 0]), model("b", "yz", [0, 0], [0, 0])],
            None,
            "no sample is in all files: for example a.csv has 'w', b.csv has 'y'",
        ),
        (
            [model("a", "x", [0], [0]), model("a", "x", [1], [0])],
            None,
            r"two models are named 'a' \(a.csv, a.csv\): name each of them",
        ),
    ],
    ids=["none", "no labels", "no samples", "lengths", "some ids", "no label ids", "disjoint",
         "names"],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused(
    models: list[Outputs], labels: Labels | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        import_outputs(models, tmp_path / "s", labels=labels)
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_where_they_are_made() -> None:
    for make, error, message in (
        (lambda: model("a", "xyx", [0, 0, 0]), ValueError, "a.csv: sample id 'x' is there twice"),
        (lambda: model("a", "xy", [0]), ValueError, "a.csv: 2 sample ids for 1 samples"),
        (lambda: model("a", None, [0, -2]), ValueError, "prediction 1 is -2, expected -1 or more"),
        (lambda: model("a", None, [0, 0], [0, -1]), ValueError, "label 1 is -1, expected 0"),
        (lambda: model("a", None, [0], [0, 1]), ValueError, r"labels are \(2,\), expected \(1,\)"),
        (lambda: scores("a", [1.0]), ValueError, r"a.npy: logits must be \(N, K\), got \(1,\)"),
        (lambda: scores("a", [[1]]), TypeError, "a.npy: logits must be floating, got int64"),
        (lambda: scores("a", np.ones((2, 0))), ValueError, r"must be \(N, K\), got \(2, 0\)"),
        (
            lambda: scores("a", [[1.0, 2.0]], class_names=["x"]),
            ValueError,
            "a.npy: 1 class names for 2 classes",
        ),
        (
            lambda: scores("a", [[1.0, 2.0]], preds=np.array([0, 1])),
            ValueError,
            "a.npy: outputs of 1 and of 2 samples",
        ),
        (lambda: Outputs(ModelCard("a"), "a.npy"), ValueError, "a.npy: 'a' has no outputs"),
        (
            lambda: Outputs(ModelCard("a"), "a", preds=np.array([0.5])),
            TypeError,
            "predictions must be integers, got float64",
        ),
        (
            lambda: Outputs(ModelCard("a"), "a", preds=np.array([[0]])),
            ValueError,
            r"predictions must be \(N,\), got \(1, 1\)",
        ),
        (
            lambda: Outputs(ModelCard("a"), "a", topk=(np.zeros((1, 2), int), np.zeros((1, 3)))),
            ValueError,
            r"a: top-k classes are \(1, 2\) but their probabilities \(1, 3\)",
        ),
        (lambda: Labels(np.array([0.5])), TypeError, "labels: labels must be integers"),
    ):
        with pytest.raises(error, match=message):
            make()


def test_models_are_added_to_the_samples_of_a_store(tmp_path: Path) -> None:
    import_outputs([model("a", "xyz", [0, 1, 1], [0, 1, 0])], tmp_path / "s")
    before = (tmp_path / "s" / "manifest.json").read_bytes()
    reports = import_outputs(
        [model("b", "vzyx", [0, 0, 1, 0], [1, 0, 1, 0])], tmp_path / "s", append=True
    )
    assert reports == [ImportReport("b", "b.csv", matched=3, dropped=1, missing=0, accuracy=1.0)]
    store = Store(tmp_path / "s")
    assert store.sample_ids == ["x", "y", "z"]
    assert np.asarray(store.preds("b")).tolist() == [0, 1, 0]
    (tmp_path / "s" / "manifest.json").write_bytes(before)
    for bad, message in (
        (model("c", "xy", [0, 1]), "c.csv lacks 1 of 3 samples of the store .*s, first 'z'"),
        (
            model("c", "xyz", [0, 1, 1], [0, 2, 0]),
            "c.csv labels 1 of 3 samples otherwise than the store .*, first 'y': 2, not 1",
        ),
        (model("c", None, [0, 1]), "c.csv has 2 samples but the store .* has 3"),
        (model("a", "xyz", [0, 1, 1]), "the store has a model named 'a' already"),
    ):
        with pytest.raises(ValueError, match=message):
            import_outputs([bad], tmp_path / "s", append=True)
    with pytest.raises(ValueError, match="labels cannot be given with append"):
        import_outputs([bad], tmp_path / "s", append=True, labels=Labels(np.array([0])))
    with pytest.raises(FileExistsError, match="is there already; append adds models to a store"):
        import_outputs([model("c", "xyz", [0, 1, 1], [0, 1, 0])], tmp_path / "s")
    with pytest.raises(FileNotFoundError):
        import_outputs([model("c", "x", [0])], tmp_path / "t", append=True)
    assert (tmp_path / "s" / "manifest.json").read_bytes() == before


def test_by_position_models_are_added_to_a_store_with_ids(tmp_path: Path) -> None:
    import_outputs([model("a", "xyz", [0, 1, 1], [0, 1, 0])], tmp_path / "s")
    import_outputs([model("b", None, [0, 0, 0])], tmp_path / "s", append=True)
    assert Store(tmp_path / "s").accuracy.tolist() == pytest.approx([2 / 3, 2 / 3])


def test_probabilities_become_their_logarithms(tmp_path: Path) -> None:
    probs = np.array([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]])
    kinds = [np.float64, np.float32, np.float16]
    models = [
        Outputs(ModelCard(str(i)), "a.npz", target=np.array([1, 0]), probs=probs.astype(kind))
        for i, kind in enumerate(kinds)
    ]
    import_outputs(models, tmp_path / "s")
    store = Store(tmp_path / "s")
    for i, kept in enumerate([np.float64, np.float32, np.float32]):
        logits = store.logits(str(i))
        assert logits is not None
        assert logits.dtype == kept
        np.testing.assert_array_equal(np.exp(logits), probs.astype(kept))
    assert store.logits("0")[1].tolist() == [0.0, -np.inf, -np.inf]  # type: ignore[index]


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"logits": np.array([[0.0, 1.0], [0.0, np.nan]])},
            r"a.npz: logits of sample 1, column 1: no number \(NaN\)",
        ),
        (
            {"probs": np.array([[0.5, 0.5], [1.5, -0.5]])},
            "a.npz: probabilities of sample 1, column 0: not in 0..1",
        ),
        (
            {"probs": np.array([[0.5, 0.5], [0.5, 0.4]])},
            "a.npz: probabilities of sample 1: in a row that does not sum to 1",
        ),
        (
            {"probs": np.array([[0.5, 0.5], [np.nan, 0.4]])},
            "a.npz: probabilities of sample 1, column 0: not in 0..1",
        ),
    ],
    ids=["NaN", "range", "sum", "NaN probability"],
)
@pytest.mark.parametrize("reordered", [False, True])
def test_bad_values_leave_no_store(
    outputs: dict[str, Any], message: str, reordered: bool, tmp_path: Path
) -> None:
    first = model("first", "yx" if reordered else "xy", [0, 0], [0, 0])
    bad = Outputs(ModelCard("a"), "a.npz", list("xy"), **outputs)
    with pytest.raises(ValueError, match=message):
        import_outputs([first, bad], tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_large_scores_are_written_in_blocks(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ovcore.importers._writing._BLOCK", 7 * 3 * 8)
    logits = rng.normal(size=(100, 3))
    target = rng.integers(0, 3, 100)
    ids = [f"s{i}" for i in range(100)]
    order = rng.permutation(100)
    import_outputs(
        [
            scores("a", logits, sample_ids=ids, target=target),
            scores("b", logits[order], sample_ids=[ids[i] for i in order]),
        ],
        tmp_path / "s",
    )
    store = Store(tmp_path / "s")
    for name in "ab":
        np.testing.assert_array_equal(store.logits(name), logits)
    assert store.accuracy[0] == (logits.argmax(1) == target).mean()


def test_fewer_choices_than_the_store_has_are_filled_where_that_is_meant(tmp_path: Path) -> None:
    a = scores("a", [[1.0, 2.0, 3.0]], target=np.array([2]), pad=True)
    b = scores("b", [[1.0, 2.0]], pad=True)
    import_outputs([a, b], tmp_path / "s")
    assert Store(tmp_path / "s").logits("b").tolist() == [[1.0, 2.0, -np.inf]]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="b.npy has 2 classes but a.npy has 3"):
        import_outputs(
            [scores("a", [[1.0, 2.0, 3.0]], target=np.array([2])), scores("b", [[1.0, 2.0]])],
            tmp_path / "t",
        )
    with pytest.raises(ValueError, match="a.npy has 3 classes, expected 2"):
        import_outputs([a, scores("b", [[1.0, 2.0]])], tmp_path / "t")


def test_how_many_classes_top_k_outputs_have(tmp_path: Path) -> None:
    top = (np.array([[3, 1], [0, 2]]), np.array([[0.5, 0.2], [0.4, 0.3]]))
    one = Outputs(ModelCard("a"), "a.npz", target=np.array([3, 1]), topk=top)
    import_outputs([one, model("b", None, [5, 0])], tmp_path / "s")
    store = Store(tmp_path / "s")
    assert store.n_classes == 6
    assert isinstance(store.topk("a"), ov.TopK)
    assert store.accuracy.tolist() == [0.5, 0.0]
    import_outputs([one], tmp_path / "t", n_classes=10)
    assert Store(tmp_path / "t").n_classes == 10
    with pytest.raises(ValueError, match=r"a.npz: top-k class 0 is 3, expected 0..2"):
        import_outputs(
            [Outputs(ModelCard("a"), "a.npz", target=np.array([1, 1]), topk=top)],
            tmp_path / "u",
            n_classes=3,
        )
    with pytest.raises(ValueError, match=r"a.npz: label 0 is 3, expected 0..2"):
        import_outputs([one], tmp_path / "u", n_classes=3)
    nan = (top[0], np.array([[0.5, np.nan], [0.4, 0.3]]))
    with pytest.raises(ValueError, match="a.npz: top-k probabilities of sample 0, column 1: no nu"):
        import_outputs(
            [Outputs(ModelCard("a"), "a.npz", target=np.array([3, 1]), topk=nan)], tmp_path / "u"
        )


def test_class_names_must_be_the_same(tmp_path: Path) -> None:
    names = ["ant", "cat"]
    a = model("a", None, [0, 1], [0, 1], class_names=names)
    import_outputs([a, model("b", None, [0, 1])], tmp_path / "s")
    assert Store(tmp_path / "s").class_names == names
    for other, message in (
        (["ant", "dog"], "class 1 is 'cat' in a.csv and 'dog' in b.csv"),
        (["ant"], "a.csv has 2, b.csv has 1"),
    ):
        with pytest.raises(ValueError, match=f"class names differ: {message}"):
            import_outputs([a, model("b", None, [0, 0], class_names=other)], tmp_path / "t")
    with pytest.raises(ValueError, match="class 1 is 'cat' in the store and 'dog' in b.csv"):
        import_outputs(
            [model("b", None, [0, 0], class_names=["ant", "dog"])], tmp_path / "s", append=True
        )
    with pytest.raises(ValueError, match="n_classes has 3 classes but class_names has 2"):
        import_outputs([a], tmp_path / "t", class_names=names, n_classes=3)
    with pytest.raises(ValueError, match=r"b.csv: prediction 0 is 2, expected 0..1"):
        import_outputs([a, model("b", None, [2, 0])], tmp_path / "t")
