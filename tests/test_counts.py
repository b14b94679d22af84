"""Mergeable counts of pairs: what they say, how they merge, and their flat form."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ovcore as ov
from ovcore import PairCounts

KINDS: list[dict[str, Any]] = [
    {"agreement": False},
    {"agreement": True},
    {"agreement": False, "temperature": 1.5},
    {"agreement": True, "temperature": [1.0, 2.0, 0.5, 1.5], "combine": "logit"},
]
"""What is counted: of errors alone, and more."""


def random_logits(
    rng: np.random.Generator, n_models: int = 4, n_samples: int = 150, n_classes: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    target = rng.integers(0, n_classes, n_samples)
    common = rng.normal(size=(n_samples, n_classes)) + np.eye(n_classes)[target]
    logits = rng.normal(size=(n_models, n_samples, n_classes)) + common
    return logits.astype(np.float32), target


def counted(kinds: dict[str, Any]) -> dict[str, bool]:
    """The same for ``empty`` and ``from_vector``."""
    return {"agreement": kinds["agreement"], "ensembles": "temperature" in kinds}


def lacking(rng: np.random.Generator, n_samples: int = 90) -> PairCounts:
    logits, target = random_logits(rng, n_samples=n_samples)
    logits[1, ::3] = np.nan
    logits[2, 5:20] = np.nan
    return PairCounts.from_outputs(logits, target, agreement=False, nan_policy="omit")


def test_counts_are_those_of_the_plain_functions(rng: np.random.Generator) -> None:
    logits, target = random_logits(rng)
    counts = PairCounts.from_outputs(logits, target, temperature=1.5)
    errors = ov.pack_errors(logits, target)
    assert counts.errors == ov.JointErrors.from_errors(errors)
    assert np.array_equal(counts.agreement, ov.pairwise.joint_agreement(logits))
    expected = ov.ensembles.pairs(logits, target, temperature=1.5)
    for name in ("hits", "conversions", "rescues", "gain", "conversion_rate", "rescue_rate"):
        found = getattr(counts.ensembles, name)
        np.testing.assert_array_equal(found, getattr(expected, name), err_msg=name)
    assert (counts.n_models, counts.n_samples) == (4, 150)
    assert np.array_equal(counts.accuracy(), errors.accuracy())
    assert np.array_equal(counts.label_disagreement(), ov.pairwise.label_disagreement(logits))
    same = ov.pairwise.same_wrong_answer(logits, target)
    assert np.array_equal(counts.same_wrong_answer(), same)


@pytest.mark.parametrize("combine", ["prob", "logit"])
def test_ways_to_combine_are_passed_on(rng: np.random.Generator, combine: str) -> None:
    logits, target = random_logits(rng)
    counts = PairCounts.from_outputs(
        logits, target, agreement=False, temperature=0.7, combine=combine
    )
    expected = ov.ensembles.pairs(logits, target, temperature=0.7, combine=combine)
    assert np.array_equal(counts.rescues, expected.rescues)
    assert np.array_equal(counts.conversions, expected.conversions)


@pytest.mark.parametrize("kinds", KINDS)
def test_shards_merge_to_the_whole(rng: np.random.Generator, kinds: dict[str, Any]) -> None:
    logits, target = random_logits(rng)
    whole = PairCounts.from_outputs(logits, target, **kinds)
    total = PairCounts.empty(4, **counted(kinds))
    for part in (slice(0, 1), slice(1, 1), slice(1, 100), slice(100, 150)):
        total += PairCounts.from_outputs(logits[:, part], target[part], **kinds)
    assert total == whole
    more = PairCounts.from_outputs(logits[:, 3:50], target[3:50], **kinds)
    assert more + whole == whole + more != whole


def test_an_accumulator_is_not_tied_to_what_was_merged_into_it(rng: np.random.Generator) -> None:
    logits, target = random_logits(rng)
    part = PairCounts.from_outputs(logits, target, temperature=1.0)
    before = copy.deepcopy(part)
    total = PairCounts.empty(4, ensembles=True) + part
    total.agreement[:] = 0
    total.errors.joint[:] = 0
    part.ensembles.conversions[:] = 0
    assert part == before


def test_shards_without_samples_count_nothing() -> None:
    for outputs in (np.zeros((3, 0), int), np.zeros((3, 0, 4)), [np.zeros((0, 4))] * 3):
        counts = PairCounts.from_outputs(outputs, np.zeros(0, int), agreement=False)
        assert counts == PairCounts.empty(3, agreement=False)
    counts = PairCounts.from_outputs(np.zeros((3, 0, 4)), np.zeros(0, int), temperature=1.0)
    assert counts == PairCounts.empty(3, ensembles=True)
    assert counts != PairCounts.empty(3)
    top = [ov.TopK(np.zeros((0, 1), int), np.zeros((0, 1)), 4)] * 2
    assert PairCounts.from_outputs(top, np.zeros(0, int)) == PairCounts.empty(2)


@pytest.mark.parametrize("kinds", KINDS)
def test_counts_of_no_sample_take_the_kinds_of_others(
    rng: np.random.Generator, kinds: dict[str, Any]
) -> None:
    counts = PairCounts.from_outputs(*random_logits(rng), **kinds)
    for empty in (PairCounts.empty(4), PairCounts.empty(4, agreement=False, ensembles=True)):
        assert empty + counts == counts
        assert counts + empty == counts
        empty += counts
        assert empty == counts


def test_models_that_lack_samples(rng: np.random.Generator) -> None:
    logits, target = random_logits(rng)
    logits[1, ::3] = np.nan
    counts = PairCounts.from_outputs(logits, target, agreement=False, nan_policy="omit")
    errors = ov.pack_errors(logits, target, nan_policy="omit")
    assert counts.errors == ov.JointErrors.from_errors(errors)
    assert counts.errors.shared is not None
    for refused in ({}, {"agreement": False, "temperature": 1.0}):
        with pytest.raises(ValueError, match="needs agreement=False and temperature=None"):
            PairCounts.from_outputs(logits, target, nan_policy="omit", **refused)
    with pytest.raises(ValueError, match="model 1 has 50 samples without a prediction"):
        PairCounts.from_outputs(logits, target)
    ones = np.full((4, 4), 1)
    with pytest.raises(ValueError, match="not defined where models lack samples"):
        PairCounts(counts.errors, agreement=ones)


def test_results_come_back_in_the_callers_library(rng: np.random.Generator) -> None:
    logits, target = random_logits(rng)
    counts = PairCounts.empty(4, ensembles=True)
    counts += PairCounts.from_outputs(
        torch.from_numpy(logits), torch.from_numpy(target), temperature=1.0
    )
    for values in (counts.label_disagreement(), counts.same_wrong_answer(), counts.ensembles.gain):
        assert isinstance(values, torch.Tensor)
    assert isinstance(counts.agreement, np.ndarray)
    assert isinstance(counts.conversions, np.ndarray)
    assert counts == PairCounts.from_outputs(logits, target, temperature=1.0)


def test_real_models_in_shards(real_data: Any) -> None:
    data, _ = real_data("imagenet_top5_dev.npz")
    preds, probs, target = data["preds"][:6], data["probs"][:6], data["labels"]
    total = PairCounts.empty(6, ensembles=True)
    for part in (slice(0, 17), slice(17, 30_000), slice(30_000, 50_000)):
        top = ov.TopK(preds[:, part], probs[:, part], 1000)
        total += PairCounts.from_outputs(top, target[part], temperature=1.0)
    top = ov.TopK(preds, probs, 1000)
    assert total.errors == ov.JointErrors.from_errors(ov.pack_errors(top, target))
    assert np.array_equal(total.agreement, ov.pairwise.joint_agreement(top))
    assert np.array_equal(total.ensembles.hits, ov.ensembles.pairs(top, target).hits)


def test_what_was_not_counted_is_refused(rng: np.random.Generator) -> None:
    preds, target = rng.integers(0, 3, (4, 20)), rng.integers(0, 3, 20)
    counts = PairCounts.from_outputs(preds, target, agreement=False)
    for metric in ("label_disagreement", "same_wrong_answer"):
        with pytest.raises(ValueError, match="no agreement: count with agreement=True"):
            getattr(counts, metric)()
        with pytest.raises(ValueError, match="no samples is undefined"):
            getattr(PairCounts.empty(4), metric)()
    with pytest.raises(ValueError, match="no pair ensembles: count with a temperature"):
        _ = counts.ensembles
    with pytest.raises(ValueError, match="no samples are undefined"):
        _ = PairCounts.empty(4, ensembles=True).ensembles
    with pytest.raises(TypeError, match="predicted classes, which have no confidence"):
        PairCounts.from_outputs(preds, target, temperature=1.0)


def test_bad_arguments_are_refused() -> None:
    logits, target = np.zeros((2, 3, 4)), np.zeros(3, int)
    with pytest.raises(ValueError, match="outputs has 3 samples but target has 2"):
        PairCounts.from_outputs(logits, target[:2])
    with pytest.raises(ValueError, match="outputs has 0 samples but target has 3"):
        PairCounts.from_outputs(logits[:, :0], target)
    with pytest.raises(ValueError, match="nan_policy must be one of raise, omit: got 'drop'"):
        PairCounts.from_outputs(logits, target, nan_policy="drop")
    with pytest.raises(ValueError, match="combine must be one of prob, logit, logprob: got 'vote'"):
        PairCounts.from_outputs(logits, target, temperature=1.0, combine="vote")
    with pytest.raises(ValueError, match="combine='logit' is of pair ensembles"):
        PairCounts.from_outputs(logits, target, combine="logit")
    with pytest.raises(ValueError, match=r"n_models must be an integer >= 0, got -1"):
        PairCounts.empty(-1)


def test_counts_that_do_not_merge() -> None:
    preds, target = np.zeros((3, 2), int), np.zeros(2, int)
    counts = PairCounts.from_outputs(preds, target)
    with pytest.raises(ValueError, match="cannot merge counts of 3 and 2 models"):
        counts += PairCounts.empty(2)
    with pytest.raises(
        ValueError,
        match="cannot merge counts of joint errors, agreement with counts of joint errors$",
    ):
        counts += PairCounts.from_outputs(preds, target, agreement=False)
    with pytest.raises(TypeError, match="expected PairCounts to merge, got JointErrors"):
        counts += counts.errors


@pytest.mark.parametrize(
    ("name", "matrix", "expected"),
    [
        ("agreement", [[2, 0], [1, 2]], "must be symmetric"),
        ("agreement", [[2, 3], [3, 2]], "at least n11 and at most n11 + n00"),
        ("agreement", [[2, 0], [0, 1]], "at least n11 and at most n11 + n00"),
        ("agreement", [[2, 0, 0]] * 3, "agreement is of 3 models but joint of 2"),
        ("conversions", [[0, 3], [3, 0]], "conversions must be symmetric and count at most n10"),
        ("conversions", [[0, -1], [-1, 0]], "conversions must be"),
        ("rescues", [[0, 1], [1, 0]], "rescues must be symmetric and count at most n00"),
    ],
)
def test_impossible_counts_are_refused(name: str, matrix: list[Any], expected: str) -> None:
    errors = PairCounts.from_outputs(np.array([[0, 1], [1, 0]]), np.zeros(2, int)).errors
    more = {name: np.array(matrix)}
    if name != "agreement":
        more = {"conversions": np.zeros((2, 2), int), "rescues": np.zeros((2, 2), int)} | more
    with pytest.raises(ValueError, match=re.escape(expected)):
        PairCounts(errors, **more)


def test_counts_are_made_of_joint_errors() -> None:
    errors = ov.pack_errors(np.array([[0, 1], [1, 0]]), np.zeros(2, int))
    with pytest.raises(TypeError, match="expected JointErrors, got ErrorBits"):
        PairCounts(errors)  # type: ignore[arg-type]
    counts = ov.JointErrors.from_errors(errors)
    with pytest.raises(ValueError, match="conversions and rescues are given together"):
        PairCounts(counts, rescues=np.zeros((2, 2), int))


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kinds", KINDS)
def test_vectors_sum_as_counts_do(
    rng: np.random.Generator, kinds: dict[str, Any], missing: bool
) -> None:
    logits, target = random_logits(rng)
    total = np.zeros(1, np.int64)
    for part in (slice(0, 7), slice(7, 7), slice(7, 150)):
        counts = PairCounts.from_outputs(logits[:, part], target[part], **kinds)
        vector = counts.to_vector(missing=missing)
        assert (
            vector.shape == PairCounts.empty(4, **counted(kinds)).to_vector(missing=missing).shape
        )
        total = total + vector
    found = PairCounts.from_vector(total, 4, **counted(kinds), missing=missing)
    assert found == PairCounts.from_outputs(logits, target, **kinds)
    assert found.errors.shared is None


def test_vectors_of_models_that_lack_samples(rng: np.random.Generator) -> None:
    first, second = lacking(rng), lacking(rng, 40)
    whole = PairCounts.from_outputs(*random_logits(rng), agreement=False)
    total = sum(counts.to_vector(missing=True) for counts in (first, second, whole))
    found = PairCounts.from_vector(total, 4, agreement=False, missing=True)
    assert found == first + second + whole
    assert found.errors.shared is not None
    with pytest.raises(ValueError, match="models that lack samples: pass missing=True"):
        first.to_vector()


def test_vectors_of_no_model_and_of_one() -> None:
    assert PairCounts.empty(0).to_vector(missing=True).tolist() == [0]
    assert PairCounts.from_vector(np.zeros(1, int), 0) == PairCounts.empty(0)
    one = PairCounts.from_outputs(np.array([[0, 1, 1]]), np.zeros(3, int))
    assert one.to_vector(missing=True).tolist() == [3, 2, 3, 3, 2]


def test_bad_vectors_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"must be \(7,\) of 2 models and these counts, got \(6,\)"
    ):
        PairCounts.from_vector(np.zeros(6, np.int64), 2)
    with pytest.raises(TypeError, match="vector must be an int64 array, got float64"):
        PairCounts.from_vector(np.zeros(7), 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="vector must be an int64 array, got list"):
        PairCounts.from_vector([0] * 7, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="joint must count from 0 to 3 errors a model"):
        PairCounts.from_vector(np.array([3, 4, 0, 0, 3, 3, 3]), 2)


@pytest.mark.parametrize("kinds", KINDS)
def test_files_and_pickles_hold_everything(
    rng: np.random.Generator, tmp_path: Path, kinds: dict[str, Any]
) -> None:
    counts = PairCounts.from_outputs(*random_logits(rng), **kinds)
    counts.save(tmp_path / "counts.npz")
    assert PairCounts.load(tmp_path / "counts.npz") == counts
    assert ov.JointErrors.load(tmp_path / "counts.npz") == counts.errors
    assert pickle.loads(pickle.dumps(counts)) == counts


def test_files_of_models_that_lack_samples(rng: np.random.Generator, tmp_path: Path) -> None:
    counts = lacking(rng)
    counts.save(tmp_path / "counts.npz")
    found = PairCounts.load(tmp_path / "counts.npz")
    assert found == counts
    assert found.errors.shared is not None
    (tmp_path / "other.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"other\.npz is not a file of PairCounts"):
        PairCounts.load(tmp_path / "other.npz")


def test_counts_say_what_they_are() -> None:
    counts = PairCounts.empty(3, ensembles=True)
    assert repr(counts) == (
        "PairCounts(3 models x 0 samples: joint errors, agreement, pair ensembles)"
    )
    assert counts != PairCounts.empty(3)
    assert counts != counts.errors
    with pytest.raises(TypeError, match="unhashable"):
        hash(counts)
