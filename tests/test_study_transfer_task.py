"""What a transfer store asks for, read from its columns or its target."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ovcore.store import ModelCard, Store, StoreWriter
from ovcore.study.transfer_task import read_task

YES_NO = np.array([1, 0, 0, 1])
NEVER = np.zeros(4, dtype=np.int64)


def store_of(
    folder: Path,
    target: np.ndarray = NEVER,
    class_names: list[str] | None = None,
    n_classes: int | None = None,
    **columns: np.ndarray,
) -> Store:
    """Columns are named with two underscores for the dot."""
    named = {name.replace("__", "."): values for name, values in columns.items()}
    path = folder / "transfer"
    with StoreWriter(
        path, target=target, class_names=class_names, n_classes=n_classes, columns=named
    ) as writer:
        writer.add(ModelCard("m"), features=np.zeros((4, 2), np.float32))
    return Store(path)


def test_several_labels(tmp_path: Path) -> None:
    store = store_of(
        tmp_path, present__dog=YES_NO, fold=np.array([0, 0, 5, 5]), present__cat=1 - YES_NO,
        difficult__cat=np.array([0, 1, 0, 0]),
    )  # fmt: skip
    task = read_task(store)
    assert task.classes == ("dog", "cat")
    assert task.metric == "mAP, 11 points"
    assert task.truth.dtype == np.bool_
    assert task.truth.tolist() == [[True, False], [False, True], [False, True], [True, False]]
    assert task.difficult is not None
    assert task.difficult.dtype == np.bool_
    assert np.argwhere(task.difficult).tolist() == [[1, 1]]  # none for dog: no column says so


def test_labels_without_difficult_ones(tmp_path: Path) -> None:
    task = read_task(store_of(tmp_path, present__a=YES_NO))
    assert task.classes == ("a",)
    assert task.difficult is None
    assert task.truth.tolist() == [[True], [False], [False], [True]]


def test_names_may_have_dots(tmp_path: Path) -> None:
    store = store_of(tmp_path, **{"present.a.b": YES_NO, "difficult.a.b": NEVER})
    assert read_task(store).classes == ("a.b",)


@pytest.mark.parametrize(
    ("class_names", "n_classes", "classes"),
    [
        (None, None, ("0", "1", "2")),
        (None, 4, ("0", "1", "2", "3")),
        (["x", "y", "z", "w"], None, ("x", "y", "z", "w")),
    ],
)
def test_one_label(
    class_names: list[str] | None, n_classes: int | None, classes: tuple[str, ...], tmp_path: Path
) -> None:
    target = np.array([2, 0, 1, 2])
    store = store_of(tmp_path, target, class_names, n_classes, fold=NEVER, presently=NEVER + 7)
    task = read_task(store)
    np.testing.assert_array_equal(task.truth, target)
    assert task.truth.dtype == np.int64
    assert task.difficult is None
    assert task.classes == classes
    assert task.metric == "accuracy"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"difficult.cat": YES_NO}, "has a column 'difficult.cat' but none named 'present.cat'"),
        (
            {"present.dog": YES_NO, "difficult.cat": YES_NO},
            "has a column 'difficult.cat' but none named 'present.cat'",
        ),
        (
            {"present.cat": np.array([0, 1, -1, 2])},
            "is -1 at sample 2, expected 0 or 1 (2 of 4 are neither)",
        ),
        (
            {"present.cat": YES_NO, "difficult.cat": np.array([0, 3, 0, 1])},
            "column 'difficult.cat' of the store at ",
        ),
        ({}, "has no columns present.NAME, and all its samples are of class 0"),
    ],
)
def test_what_is_no_task_is_refused(
    columns: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    store = store_of(tmp_path, **columns)
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        read_task(store)
    assert str(store.path) in str(refused.value)
