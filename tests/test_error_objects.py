"""ErrorBits and JointErrors as objects: selected, concatenated, saved, and never impossible."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovcore as ov


def test_select_picks_models_in_the_order_asked(rng: np.random.Generator) -> None:
    preds, target = rng.integers(0, 3, (6, 300)), rng.integers(0, 3, 300)
    errors = ov.pack_errors(preds, target)
    counts = ov.JointErrors.from_errors(errors)
    for models, rows in (
        ([4, 1, 1], [4, 1, 1]),
        (-1, [5]),
        (slice(1, 5, 2), [1, 3]),
        (np.array([True, False, False, True, False, False]), [0, 3]),
        (np.array([2, -2], np.int8), [2, 4]),
    ):
        part = errors.select(models)
        np.testing.assert_array_equal(part.words, errors.words[rows])
        assert ov.JointErrors.from_errors(part) == counts.select(models)
    with pytest.raises(IndexError, match="there is no model 6; there are 6"):
        errors.select([0, 6])
    with pytest.raises(TypeError, match="models must be indices or 6 truth values, got bool"):
        errors.select([True, False])
    with pytest.raises(ValueError, match="no models are selected"):
        counts.select([])


@pytest.mark.parametrize(
    "sizes", [[1, 63, 64], [64, 64], [10, 1, 1, 200], [127], [0, 5], [1000, 24]]
)
def test_concatenated_samples_are_those_of_one_call(
    sizes: list[int], rng: np.random.Generator
) -> None:
    preds, target = rng.integers(0, 3, (3, sum(sizes))), rng.integers(0, 3, sum(sizes))
    whole = ov.pack_errors(preds, target)
    edges = np.cumsum([0, *sizes])
    parts = [
        ov.pack_errors(preds[:, a:b], target[a:b])
        if b > a
        else ov.ErrorBits(np.zeros((3, 0), np.uint64), 0)
        for a, b in itertools.pairwise(edges)
    ]
    assert ov.ErrorBits.concatenate(parts) == whole


def test_concatenating_keeps_what_is_missing(rng: np.random.Generator) -> None:
    target = rng.integers(0, 3, 150)
    logits = rng.normal(size=(2, 150, 3))
    logits[1, 100:120] = np.nan
    whole = ov.pack_errors(logits, target, nan_policy="omit")
    parts = [
        ov.pack_errors(logits[:, a:b], target[a:b], nan_policy="omit")
        for a, b in ((0, 70), (70, 110), (110, 150))
    ]
    assert parts[0].present is None
    assert ov.ErrorBits.concatenate(parts) == whole
    assert ov.ErrorBits.concatenate(parts) != ov.ErrorBits(whole.words, whole.n_samples)
    with pytest.raises(ValueError, match="cannot concatenate errors of 2 and 1 models"):
        ov.ErrorBits.concatenate([whole, whole.select(0)])
    with pytest.raises(ValueError, match="nothing to concatenate"):
        ov.ErrorBits.concatenate([])
    with pytest.raises(TypeError, match="expected ErrorBits, got ndarray"):
        ov.ErrorBits.concatenate([whole, np.zeros(3)])  # type: ignore[list-item]


@pytest.mark.parametrize("holed", [False, True])
def test_saved_errors_and_counts_come_back(
    holed: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=(3, 200, 4))
    if holed:
        logits[0, 10:20] = np.nan
    errors = ov.pack_errors(logits, rng.integers(0, 4, 200), nan_policy="omit")
    counts = ov.JointErrors.from_errors(errors)
    errors.save(tmp_path / "errors.npz")
    counts.save(str(tmp_path / "counts"))
    assert ov.ErrorBits.load(tmp_path / "errors.npz") == errors
    assert ov.JointErrors.load(tmp_path / "counts") == counts
    assert sorted(p.name for p in tmp_path.iterdir()) == ["counts", "errors.npz"]
    with pytest.raises(ValueError, match="is not a file of JointErrors: it has words"):
        ov.JointErrors.load(tmp_path / "errors.npz")
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(ValueError, match="is not a file of ErrorBits"):
        ov.ErrorBits.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        ov.ErrorBits.load(tmp_path / "nothing")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = ov.pack_errors(np.zeros((1, 5), int), np.zeros(5, int))
    errors.save(tmp_path / "errors.npz")

    def fail(*_arguments: Any, **_arrays: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        ov.pack_errors(np.ones((1, 5), int), np.zeros(5, int)).save(tmp_path / "errors.npz")
    monkeypatch.undo()
    assert ov.ErrorBits.load(tmp_path / "errors.npz") == errors
    assert len(list(tmp_path.iterdir())) == 1


def test_impossible_states_with_missing_samples_are_refused() -> None:
    words, present = np.ones((1, 1), np.uint64), np.zeros((1, 1), np.uint64)
    with pytest.raises(ValueError, match="words has errors on samples that are not present"):
        ov.ErrorBits(words, 5, present=present)
    with pytest.raises(ValueError, match="present must be"):
        ov.ErrorBits(words, 5, present=present.astype(np.int64))
    counts = np.zeros((2, 2), np.int64)
    with pytest.raises(ValueError, match="given together or not at all"):
        ov.JointErrors(counts, 5, shared=counts)
    with pytest.raises(ValueError, match="shared is of 3 models but joint of 2"):
        ov.JointErrors(counts, 5, shared=np.zeros((3, 3), np.int64), wrong_shared=counts)


@pytest.mark.parametrize(
    ("joint", "shared", "wrong_shared"),
    [
        ([[1, 9], [9, 1]], None, None),  # err together more often than either errs
        ([[1, -9], [-9, 1]], None, None),
        ([[5, 3], [2, 5]], None, None),  # asymmetric
        ([[8, 2], [2, 7]], None, None),  # 13 different samples wrong of 10
        ([[1, 0], [0, 1]], [[9, 5], [4, 9]], [[1, 0], [0, 1]]),
        ([[1, 0], [0, 1]], [[9, 11], [11, 9]], [[1, 0], [0, 1]]),
        ([[1, 0], [0, 1]], [[9, -7], [-7, 9]], [[1, 0], [0, 1]]),
        ([[1, 0], [0, 1]], [[9, 5], [5, 9]], [[1, 6], [0, 1]]),
        ([[1, 0], [0, 1]], [[9, 5], [5, 9]], [[2, 0], [0, 1]]),
    ],
)
def test_counts_that_no_samples_could_give_are_refused(
    joint: Any, shared: Any, wrong_shared: Any
) -> None:
    matrices = [None if m is None else np.array(m) for m in (joint, shared, wrong_shared)]
    with pytest.raises(ValueError, match="joint|shared"):
        ov.JointErrors(matrices[0], 10, shared=matrices[1], wrong_shared=matrices[2])


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    errors = ov.pack_errors(np.zeros((2, 500), int), np.zeros(500, int))
    path = tmp_path / "errors.npz"
    errors.save(path)
    whole = path.read_bytes()
    damaged = [whole[:-4], whole[: len(whole) // 2], whole[:200] + b"?" + whole[201:], b""]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is not a file of ErrorBits"):
            ov.ErrorBits.load(path)
    np.save(tmp_path / "array.npy", errors.words)
    with pytest.raises(ValueError, match="is not a file of ErrorBits"):
        ov.ErrorBits.load(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="is not a file of JointErrors"):
        ov.JointErrors.load(tmp_path)
    for n_samples in (3.7, np.inf, [500, 500]):
        np.savez(path, words=errors.words, n_samples=n_samples)
        with pytest.raises(ValueError, match="is not a file of ErrorBits"):
            ov.ErrorBits.load(path)


def test_what_is_no_array_is_named() -> None:
    for build, message in (
        (lambda: ov.ErrorBits([[1]], 3), "words must be an (M, W) uint64 array, got list"),
        (lambda: ov.JointErrors(None, 3), "joint must be an (M, M) int64 array, got NoneType"),
        (lambda: ov.ErrorBits.concatenate(ov.ErrorBits(np.zeros((1, 1), np.uint64), 3)), "got one"),
    ):
        with pytest.raises(TypeError, match=re.escape(message)):
            build()  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="preds_or_logits cannot be read as an array"):
        ov.pack_errors([[0, 1], [0]], np.zeros(2, int))
    with pytest.raises(ValueError, match="n_models must be an integer >= 0, got -1"):
        ov.JointErrors.empty(-1)
    for nothing in ([False, False], slice(2, 2), []):
        with pytest.raises(ValueError, match="no models are selected"):
            ov.JointErrors.empty(2).select(nothing)
