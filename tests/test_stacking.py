"""Stacked generalization against probes that are fitted pair by pair."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovcore.representations import (
    LinearProbe,
    MultilabelProbe,
    ProbeWarning,
    _fitting,
    mean_average_precision,
    stacked_generalization,
)
from plain_probes import problem

SIZES = (3, 5, 3, 1)

Data = tuple[list[np.ndarray], np.ndarray, list[np.ndarray], np.ndarray]


def models(rng: np.random.Generator, n_classes: int = 4) -> Data:
    """Four models' features of 300 samples to train on and 200 to test on, and their classes."""
    features, target = problem(rng, 500, sum(SIZES), n_classes)
    parts = np.hsplit(features, np.cumsum(SIZES)[:-1])
    return [p[:300] for p in parts], target[:300], [p[300:] for p in parts], target[300:]


def labelled(rng: np.random.Generator) -> tuple[Data, np.ndarray, np.ndarray]:
    """As above with three labels, each of which a sample can have, and the difficult ones."""
    train, _, test, _ = models(rng)
    features = np.vstack([np.hstack(train), np.hstack(test)])
    logits = (features - 1) @ rng.normal(size=(sum(SIZES), 3)) + [0, -2, 1]
    labels = logits + 2 * rng.logistic(size=logits.shape) > 0
    hard = rng.random(labels.shape) < 0.2
    return (train, labels[:300], test, labels[300:]), hard[:300], hard[300:]


def on_each_pair(train: list[np.ndarray], test: list[np.ndarray], score: Any) -> np.ndarray:
    """(M, M) scores of two models' features side by side, of one model's on the diagonal."""
    found = np.zeros((len(train), len(train)))
    for i in range(len(train)):
        found[i, i] = score(train[i], test[i])
    for i, j in combinations(range(len(train)), 2):
        both = np.hstack([train[i], train[j]]), np.hstack([test[i], test[j]])
        found[i, j] = found[j, i] = score(*both)
    return found


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("settings", [{}, {"C": 0.01, "standardize": False}], ids=["", "other"])
def test_accuracies_are_those_of_probes_of_each_pair(
    settings: dict[str, Any], n_classes: int, rng: np.random.Generator
) -> None:
    train, target, test, test_target = models(rng, n_classes)
    names = np.array(["owl", "cat", "dog", "ant"])[:n_classes]

    def score(x: np.ndarray, x_test: np.ndarray) -> float:
        return LinearProbe(**settings).fit(x, names[target]).score(x_test, names[test_target])

    probe = LinearProbe(**settings)
    found = stacked_generalization(train, names[target], test, names[test_target], probe=probe)
    expected = on_each_pair(train, test, score)
    np.testing.assert_allclose(found.scores, expected, atol=0.0051)  # a tie by rounding at most
    assert (found.scores == expected).mean() > 0.8
    np.testing.assert_array_equal(found.scores, found.scores.T)
    assert found.metric == "accuracy"
    np.testing.assert_array_equal(np.diagonal(found.gain), 0)
    alone = np.diagonal(found.scores)
    assert found.gain[1, 3] == found.gain[3, 1] == found.scores[1, 3] - max(alone[1], alone[3])
    tensors = [[torch.from_numpy(p) for p in side] for side in (train, test)]
    of_torch = stacked_generalization(tensors[0], target, tensors[1], test_target, probe=probe)
    np.testing.assert_allclose(of_torch.scores, expected, atol=0.0051)


@pytest.mark.parametrize("area", [False, True], ids=["11 points", "area"])
@pytest.mark.parametrize("leave_out", [False, True], ids=["all", "not the difficult"])
def test_mean_average_precision_of_each_pair(
    leave_out: bool, area: bool, rng: np.random.Generator
) -> None:
    (train, target, test, test_target), difficult, test_difficult = labelled(rng)
    hard, test_hard = (difficult, test_difficult) if leave_out else (None, None)

    def score(x: np.ndarray, x_test: np.ndarray) -> float:
        logits = MultilabelProbe().fit(x, target, difficult=hard).predict_logits(x_test)
        return mean_average_precision(logits, test_target, difficult=test_hard, area=area).value

    given = (train, torch.from_numpy(target), test, test_target.astype(int))
    found = stacked_generalization(*given, difficult=hard, test_difficult=test_hard, area=area)
    np.testing.assert_allclose(found.scores, on_each_pair(train, test, score), atol=2e-3)
    assert found.metric == "mean average precision"


def test_only_the_pairs_that_are_asked_for(rng: np.random.Generator, tmp_path: Path) -> None:
    given = models(rng)
    whole = stacked_generalization(*given, checkpoint=tmp_path)
    asked = np.eye(4, dtype=bool)
    asked[[0, 2, 1, 3], [2, 0, 3, 1]] = True
    for checkpoint in (None, tmp_path):
        pairs = [(2, 0), (1, 3), (0, 2)]
        some = stacked_generalization(*given, pairs=iter(pairs), checkpoint=checkpoint)
        np.testing.assert_array_equal(np.isnan(some.scores), ~asked)
        np.testing.assert_array_equal(np.isnan(some.gain), ~asked)
        np.testing.assert_allclose(some.scores[asked], whole.scores[asked], atol=0.0051)
    alone = stacked_generalization(*given, pairs=[])
    np.testing.assert_array_equal(np.isfinite(alone.scores), np.eye(4, dtype=bool))
    one = stacked_generalization([given[0][1]], given[1], [given[2][1]], given[3])
    assert one.scores.shape == (1, 1)
    for pair in ((0, 4), (-1, 2), (1, 1)):
        with pytest.raises(ValueError, match=r"pairs has \(.*\), expected two of models 0 to 3"):
            stacked_generalization(*given, pairs=[(0, 1), pair])


def test_an_interrupted_call_goes_on(
    rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = models(rng)
    whole = stacked_generalization(*given)
    fit, fitted = _fitting.fit, list[int]()

    def counted(problems: Any, *arguments: Any, **options: Any) -> Any:
        if len(fitted) == most:
            raise KeyboardInterrupt
        fitted.append(len(problems.features))
        return fit(problems, *arguments, **options)

    monkeypatch.setattr(_fitting, "fit", counted)
    most = 2
    with pytest.raises(KeyboardInterrupt):
        stacked_generalization(*given, checkpoint=tmp_path)
    n_before, most = sum(fitted), 99
    settings = LinearProbe(workers=1)
    found = stacked_generalization(*given, probe=settings, checkpoint=tmp_path)
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert 0 < n_before < sum(fitted) == 10
    again = stacked_generalization(*given, checkpoint=tmp_path)
    np.testing.assert_array_equal(again.scores, whole.scores)
    assert sum(fitted) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.npz"]


def test_scores_of_something_else_are_not_taken(rng: np.random.Generator, tmp_path: Path) -> None:
    (train, target, test, test_target), difficult, test_difficult = labelled(rng)
    train, test = ([np.round(4 * p) for p in side] for side in (train, test))  # sums are exact
    given: dict[str, Any] = {
        "features": train,
        "target": target,
        "test_features": test,
        "test_target": test_target,
        "difficult": difficult,
        "test_difficult": test_difficult,
    }
    first = stacked_generalization(**given, checkpoint=tmp_path)
    others: list[dict[str, Any]] = [
        {"features": [train[2], train[1], train[0], train[3]]},
        {"features": [train[0][::-1], *train[1:]]},
        {"test_features": [test[0][::-1], *test[1:]]},
        *({name: given[name][::-1]} for name in given if "features" not in name),
        {"area": True},
        {"probe": LinearProbe(C=2)},
        {"probe": LinearProbe(tol=1e-5)},
    ]
    for other in others:
        with pytest.raises(ValueError, match="is a checkpoint of other data or settings"):
            stacked_generalization(**{**given, **other}, checkpoint=tmp_path)
    again = stacked_generalization(**given, checkpoint=tmp_path)
    np.testing.assert_array_equal(again.scores, first.scores)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"pairs\.npz cannot be read as a checkpoint"):
        stacked_generalization(**given, checkpoint=tmp_path)


def test_what_stacking_refuses(rng: np.random.Generator) -> None:
    train, target, test, test_target = models(rng)
    labels = np.eye(4, dtype=bool)
    several, of_test = labels[target], labels[test_target]
    clip = {"probe": LinearProbe(protocol="clip")}
    for given, options, message in [
        (
            (train, target, test[::-1], test_target),
            {},
            "features have sizes (3, 5, 3, 1) but test_",
        ),
        ((train, target, test[1:], test_target), {}, "but test_features have (5, 3, 1)"),
        ((train, target[1:], test, test_target), {}, "features has 300 samples but target has 299"),
        (
            (train, target, test, target),
            {},
            "test_features has 200 samples but test_target has 300",
        ),
        ((train, target, test, test_target), clip, "one C for all, got protocol 'clip'"),
        ((train, target, test, test_target), {"difficult": several}, "of a target (N, K)"),
        ((train, several, test, test_target), {}, "test_target must be (N, K)"),
        ((train, several, test, of_test[:, 1:]), {}, "target has 4 classes but test_target has 3"),
        ((train, several, test, of_test[1:]), {}, "test_features has 200 samples but test_target"),
        ((train, several, test, of_test), {"test_difficult": several}, "test_difficult has 300"),
        (
            ([*train[:3], train[3][1:]], target, test, test_target),
            {},
            "features[3] has 299 samples",
        ),
    ]:
        with pytest.raises(ValueError) as raised:
            stacked_generalization(*given, **options)
        assert message in str(raised.value)
    test[2][5, 1] = np.nan
    threads = torch.get_num_threads()
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 12 dimensions"):
        stacked_generalization(train, target, test, test_target)
    assert torch.get_num_threads() == threads


def test_a_warning_is_of_the_line_that_asked(rng: np.random.Generator) -> None:
    with pytest.warns(ProbeWarning, match="10 of 10 probes had not converged") as warned:
        stacked_generalization(*models(rng), probe=LinearProbe(max_iter=1))
    assert warned[0].filename == __file__
