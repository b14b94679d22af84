"""Probes on many subsets of dimensions, and probes of several labels a sample."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from ovcore.representations import (
    LinearProbe,
    LinearProbes,
    MultilabelProbe,
    ProbeWarning,
    _design,
    _features,
    _fitting,
    mean_average_precision,
)
from ovcore.representations._objective import Problems
from plain_probes import problem, scikit_learn

MIXED = [[0], [5, 2, 7], [1, 3], [7, 5, 2], [4], [6, 0], list(range(8)), [3, 1]]


def same_as_alone(
    probes: LinearProbes, features: np.ndarray, target: Any, loss: float = 1e-7
) -> None:
    """Each probe is the one that its subset alone gives."""
    settings = {k: v for k, v in probes.get_params().items() if k != "subsets"}
    assert len(probes.coef_) == len(probes.intercept_) == len(probes.status_) == len(probes.subsets)
    accuracy, labels = probes.score(features, target), probes.predict(features)
    for s, subset in enumerate(probes.subsets):
        alone = LinearProbe(**settings).fit(features[:, subset], target)
        assert probes.loss_[s] == pytest.approx(alone.loss_, rel=loss)
        scale = abs(alone.coef_).max()
        np.testing.assert_allclose(probes.coef_[s], alone.coef_, atol=3e-4 * scale)
        np.testing.assert_allclose(probes.intercept_[s], alone.intercept_, atol=1e-3 * scale)
        assert accuracy[s] == pytest.approx(alone.score(features[:, subset], target), abs=0.005)
        assert (labels[s] == np.asarray(target)).mean() == accuracy[s]


@pytest.mark.parametrize("standardize", [True, False], ids=["standardized", "as given"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_each_probe_is_that_of_its_subset(
    n_classes: int, standardize: bool, rng: np.random.Generator
) -> None:
    features, target = problem(rng, 400, 8, n_classes)
    probes = LinearProbes(MIXED, C=0.3, standardize=standardize).fit(features, target)
    same_as_alone(probes, features, target)
    assert [c.shape[1] for c in probes.coef_] == [len(s) for s in MIXED]
    np.testing.assert_allclose(probes.coef_[1], probes.coef_[3][:, [1, 2, 0]], atol=1e-4)


@pytest.mark.parametrize("most_together", [1, 3, 32])
@pytest.mark.parametrize("numbers", [0, 1000, 1 << 24])
def test_groups_make_no_difference(
    most_together: int, numbers: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng, 200, 8, 3)
    monkeypatch.setattr(_fitting, "_MOST_TOGETHER", most_together)
    monkeypatch.setattr(_fitting, "_GROUP_NUMBERS", numbers)
    sizes, gather = [], _fitting.gather

    def watched(design: torch.Tensor, subsets: Sequence[Any]) -> torch.Tensor:
        sizes.append(len(subsets))
        assert len({len(subset) for subset in subsets}) == 1  # none is padded
        return gather(design, subsets)

    subsets = [*MIXED, *([d] for d in range(8))]
    with monkeypatch.context() as while_fitting:
        while_fitting.setattr(_fitting, "gather", watched)
        probes = LinearProbes(subsets, tol=1e-8).fit(features, target)
    assert sum(sizes) == len(subsets)
    assert max(sizes) == min(most_together, {0: 1, 1000: 5, 1 << 24: 10}[numbers])
    same_as_alone(probes, features, target)


def test_probes_together_take_bounded_memory(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moments of wide subsets of few samples count, too, and so do all probes' logits."""
    design = torch.empty(10, 3000)
    subsets = [np.arange(2000) + s for s in range(40)]
    assert max(map(len, _fitting.groups(subsets, design))) * 2000**2 <= _fitting._GROUP_NUMBERS
    features, target = problem(rng, 900, 8, 5)
    logits, sizes = Problems.logits, []

    def watched(self: Problems, weights: torch.Tensor, rows: slice) -> torch.Tensor:
        found = logits(self, weights, rows)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(Problems, "logits", watched)
    monkeypatch.setattr("ovcore.representations._objective._BLOCK_NUMBERS", 5 * 8 * 20)
    probes = LinearProbes([[d] for d in range(8)]).fit(features, target)
    sizes.append(0)
    probes.score(features, target)
    assert sum(sizes[sizes.index(0) :]) == 8 * 900 * 5
    assert max(sizes) <= 5 * 8 * 20


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_probes_in_float32_and_on_tensors(
    dtype: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_design, "_SMALL", 0)
    features, target = problem(rng, 2000, 8, 3)
    given = torch.from_numpy(features).to(getattr(torch, dtype))
    probes = LinearProbes(MIXED).fit([given[:, :3], given[:, 3:]], torch.from_numpy(target))
    same_as_alone(probes, given.double().numpy(), target)
    labels = probes.predict(given)
    assert isinstance(labels, torch.Tensor)
    assert labels.shape == (8, 2000)
    names = LinearProbes(MIXED).fit(given, np.array(list("abc"))[target]).predict(given)
    np.testing.assert_array_equal(names, np.array(list("abc"))[labels.numpy()])


def test_a_search_of_many_that_is_cut_short_says_so(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    with pytest.warns(
        ProbeWarning, match="3 of 4 probes had not converged after max_iter = 4"
    ) as w:
        probes = LinearProbes([[0, 1], [2, 3], [4, 5, 6], [7]], max_iter=4).fit(
            np.where(np.arange(8) == 7, 1.0, features), target
        )
    assert w[0].filename == __file__
    assert probes.status_ == ["max_iter", "max_iter", "max_iter", "converged"]


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        ([], "subsets must be at least one"),
        ([[0], []], "subsets[1] must be "),
        ([[0], [1, 2, 1]], "subsets[1] must be different dimensions, at least one"),
        ([[0], [1, 8]], "subsets[1] has dimensions from 1 to 8, but features has 8"),
        ([[-1]], "subsets[0] has dimensions from -1 to -1, but features has 8"),
        ([[0.0, 1.0]], "subsets[0] must be a sequence of dimensions, got [0.0, 1.0]"),
        ([[True, False]], "subsets[0] must be a sequence of dimensions, got [True, False]"),
        ([0, 1], "subsets[0] must be a sequence of dimensions, got 0"),
        ([[[0], [1]]], "subsets[0] must be a sequence of dimensions, got [[0], [1]]"),
    ],
)
def test_subsets_that_are_none_are_refused(
    subsets: Any, message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError) as raised:
        LinearProbes(subsets).fit(*problem(rng))
    assert message in str(raised.value)


def test_many_probes_are_estimators(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    probes = LinearProbes(MIXED, C=2.0)
    for method in (probes.predict, lambda x: probes.score(x, target)):
        with pytest.raises(NotFittedError, match="this LinearProbes is not fitted yet"):
            method(features)
    copied = clone(probes).set_params(workers=1).fit(features, target)
    again = pickle.loads(pickle.dumps(copied))
    np.testing.assert_array_equal(again.predict(features), copied.predict(features))
    missing = np.where(target == 0, 17, target)
    unknown = (copied.predict(features) == target) & (target > 0)
    np.testing.assert_allclose(copied.score(features, missing), unknown.mean(axis=1))
    with pytest.raises(ValueError, match="features has 7 dimensions, but this LinearProbes was"):
        copied.predict(features[:, 1:])


def several(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features, and four labels of which samples have any number."""
    features, _ = problem(rng, 400, 8, 3)
    logits = (features - 1) @ rng.normal(size=(8, 4)) + [0, -2, 1, -4]
    return features, logits + 2 * rng.logistic(size=logits.shape) > 0


def test_each_label_is_told_apart_alone(rng: np.random.Generator) -> None:
    """As scikit-learn does it, on the samples that are not difficult for that label."""
    features, labels = several(rng)
    difficult = rng.random(labels.shape) < [0, 0.1, 0.5, 0.2]
    for standardize in (True, False):
        mean, deviation = (features.mean(0), features.std(0)) if standardize else (0.0, 1.0)
        for hard, C in ((None, 1.0), (difficult, 1.0), (difficult, 0.01)):
            probe = MultilabelProbe(C=C, standardize=standardize)
            probe.fit(features, labels, difficult=hard)
            total = 0.0
            for k in range(4):
                easy = np.ones(400, bool) if hard is None else ~hard[:, k]
                z, y = ((features - mean) / deviation)[easy], labels[easy, k].astype(int)
                weights, intercept = scikit_learn(z, y, C)
                own = probe.coef_[k] * deviation
                tolerance = 1e-4 * max(abs(weights).max(), abs(intercept).max())
                np.testing.assert_allclose(own, weights[0], atol=tolerance)
                own_intercept = probe.intercept_[k] + probe.coef_[k] @ (mean + 0 * features[0])
                assert own_intercept == pytest.approx(intercept[0], abs=tolerance)
                margin = (z @ weights[0] + intercept) * (2 * y - 1)
                total += np.log1p(np.exp(-margin)).sum() + (weights**2).sum() / (2 * C)
            assert probe.loss_ * 400 == pytest.approx(total, rel=1e-8)


def test_labels_without_samples(rng: np.random.Generator) -> None:
    """No sample has the second, all have the third, and all are difficult for the fourth."""
    features, labels = several(rng)
    labels[:, 1:3] = False, True
    difficult = np.zeros_like(labels)
    difficult[:, 3] = True
    probe = MultilabelProbe().fit(features, labels, difficult=difficult)
    assert probe.status_ == "converged"
    share = expit(probe.predict_logits(features))
    assert share[:, 1].max() < 1e-5
    assert share[:, 2].min() > 1 - 1e-5
    np.testing.assert_array_equal(share[:, 3], 0.5)
    alone = MultilabelProbe().fit(features, labels[:, :1])
    np.testing.assert_allclose(probe.coef_[0], alone.coef_[0], atol=1e-5)


def test_labels_in_the_callers_library(rng: np.random.Generator) -> None:
    features, labels = several(rng)
    probe = MultilabelProbe().fit(features, labels.astype(np.int8))
    logits = probe.predict_logits(features)
    np.testing.assert_allclose(logits, features @ probe.coef_.T + probe.intercept_, atol=1e-10)
    np.testing.assert_array_equal(probe.predict(features), logits > 0)
    tensor = torch.from_numpy(features)
    of_torch = MultilabelProbe().fit(tensor, torch.from_numpy(labels))
    np.testing.assert_allclose(of_torch.coef_, probe.coef_, rtol=1e-9)
    assert of_torch.predict(tensor).dtype == torch.bool
    again = pickle.loads(pickle.dumps(clone(probe).fit([features[:, :3], features[:, 3:]], labels)))
    np.testing.assert_array_equal(again.predict(features), probe.predict(features))
    with pytest.warns(ProbeWarning, match="max_iter = 2") as warned:
        MultilabelProbe(max_iter=2).fit(features, labels)
    assert warned[0].filename == __file__


def test_labels_that_are_refused(rng: np.random.Generator) -> None:
    features, labels = several(rng)
    probe = MultilabelProbe()
    with pytest.raises(NotFittedError, match="this MultilabelProbe is not fitted"):
        probe.predict(features)
    twos = labels.astype(int)
    twos[[5, 9], 2] = 2
    for given, difficult, message in [
        (labels[:, 0], None, "Y must be (N, K) with at least one sample and one class"),
        (labels[:399], None, "X has 400 samples but Y has 399"),
        (twos, None, "Y[5, 2] is 2, expected 0 or 1 (2 of 1600 are neither)"),
        (labels.astype(float), None, "Y must be truth values or integers 0 and 1, got float64"),
        (labels, labels[1:], "Y has 400 samples but difficult has 399"),
        (labels, labels[:, 1:], "Y has 4 classes but difficult has 3"),
        (labels, twos, "difficult[5, 2] is 2, expected 0 or 1"),
    ]:
        with pytest.raises((ValueError, TypeError)) as raised:
            probe.fit(features, given, difficult=difficult)
        assert message in str(raised.value)


def test_status_is_each_probe_s_own(rng: np.random.Generator) -> None:
    target = np.arange(300) % 3
    features = rng.standard_normal((300, 6)) + np.eye(3, 6)[target]
    far, near = features[:, :1] * 1e3 + rng.standard_normal((300, 1)), features[:, 1:2] * 1e-3
    uneven = np.hstack([features, far, near])
    probes = LinearProbes([[0, 1], [6, 7], [2, 3]], C=1e3, standardize=False, max_iter=12)
    with pytest.warns(ProbeWarning, match="1 of 3 probes had not converged"):
        probes.fit(uneven, target)
    assert probes.status_ == ["converged", "max_iter", "converged"]


def test_labels_work_with_scikit_learn_s_helpers(rng: np.random.Generator) -> None:
    features = rng.standard_normal((200, 4))
    labels = features[:, :2] + 0.3 * rng.standard_normal((200, 2)) > 0
    probe = MultilabelProbe().fit(features, labels)
    assert (cross_val_score(MultilabelProbe(), features, labels, scoring="f1_macro") > 0.8).all()
    assert (cross_val_score(MultilabelProbe(), features, labels) > 0.8).all()
    logits = probe.predict_logits(features)
    np.testing.assert_allclose(probe.predict_proba(features), expit(logits), atol=1e-12)
    found = mean_average_precision(logits, labels).value
    assert probe.score(features, labels) == found


def test_predictions_do_not_depend_on_pieces(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng, 203, 8, 3)
    probe, probes = LinearProbe().fit(features, target), LinearProbes(MIXED).fit(features, target)
    logits, labels = probe.predict_logits(features), probes.predict(features)
    monkeypatch.setattr(_features, "_PIECE_NUMBERS", 8 * 10)
    np.testing.assert_allclose(probe.predict_logits(features), logits, atol=1e-12)
    np.testing.assert_array_equal(probes.predict(features), labels)
    assert probe.predict_logits(features[:1]).shape == (1, 3)
