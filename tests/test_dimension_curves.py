"""Probes on the first dimensions in an order, against subsets that are cut by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ovcore.representations import (
    LinearProbe,
    LinearProbes,
    ProbeWarning,
    dims_to_target,
    rank_features,
)
from plain_probes import problem


def halves(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features with shared and with constant dimensions, in two halves of 300 samples."""
    features, target = problem(rng, 600, 12, 4)
    features[:, 4] = features[:, 0] + 0.1 * features[:, 4]
    features = np.insert(features, [2, 9], 0.1, axis=1)  # now of 14 dimensions
    return features[:300], target[:300], features[300:], target[300:]


@pytest.mark.parametrize("score", ["sum", "max", "variance"])
@pytest.mark.parametrize("step", [1, 5, 6, 12, 256])
def test_curves_are_those_of_subsets_cut_by_hand(
    step: int, score: str, rng: np.random.Generator
) -> None:
    x, target, x_test, test_target = halves(rng)
    probe = LinearProbe(C=0.2)
    curves = dims_to_target(
        x, target, x_test, test_target, step=step, score=score, probe=probe, n_random=2, seed=3
    )
    expected = {1: range(1, 13), 5: [5, 10, 12], 6: [6, 12], 12: [12], 256: [12]}[step]
    assert curves.dims.tolist() == list(expected)
    assert (curves.n_constant, curves.score) == (2, score)
    order = rank_features(x, score=score).order
    assert set(order[12:]) == {2, 10}
    for chosen, curve in [(order[:12], curves.diverse), (order[:12][::-1], curves.reverse)]:
        for d, accuracy in zip(curves.dims, curve, strict=True):
            alone = LinearProbe(C=0.2).fit(x[:, chosen[:d]], target)
            by_hand = alone.score(x_test[:, chosen[:d]], test_target)
            assert accuracy == pytest.approx(by_hand, abs=0.0034)  # a tie by rounding at most
    assert curves.random.shape == (2, len(curves.dims))
    ends = np.array([curves.diverse[-1], curves.reverse[-1], *curves.random[:, -1]])
    assert (ends == ends[0]).all()
    of_all = LinearProbe(C=0.2).fit(x, target).score(x_test, test_target)
    assert ends[0] == pytest.approx(of_all, abs=0.0034)


def test_random_orders_are_permutations_by_seed(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, made = halves(rng), []
    fit = LinearProbes.fit

    def watched(self: LinearProbes, *arguments: Any) -> LinearProbes:
        made.append(self.subsets)
        return fit(self, *arguments)

    monkeypatch.setattr(LinearProbes, "fit", watched)
    for seed in (0, 0, 1):
        dims_to_target(*given, step=11, n_random=3, seed=seed)
    diverse, reverse, *drawn, whole = made[0]
    assert len(drawn) == 3
    assert len({tuple(subset) for subset in made[0]}) == 6
    assert all(not {2, 10} & set(subset) for subset in made[0])
    assert set(whole) - set(diverse) == {whole[-1]}
    assert set(whole) - set(reverse) == {whole[0]}
    for one, same in zip(made[0], made[1], strict=True):
        np.testing.assert_array_equal(one, same)
    assert any(not np.array_equal(a, b) for a, b in zip(drawn, made[2][2:5], strict=True))


def test_fewest_dimensions(rng: np.random.Generator) -> None:
    x, target, x_test, test_target = halves(rng)
    given = ([x[:, :5], x[:, 5:]], target, [x_test[:, :5], x_test[:, 5:]], test_target)
    curves = dims_to_target(*given, step=2, n_random=4, target_accuracy=0.5)
    for accuracy in (None, 0.0, 0.4, 0.55, 1.0, curves.diverse[-1], curves.diverse.max() + 1e-9):
        wanted = 0.5 if accuracy is None else accuracy
        found = curves.fewest(accuracy)
        for curve, fewest in [
            (curves.diverse, found["diverse"]),
            (curves.reverse, found["reverse"]),
            *zip(curves.random, found["random"], strict=True),
        ]:
            reached = [d for d, a in zip(curves.dims, curve, strict=True) if a >= wanted]
            np.testing.assert_equal(float(fewest), float(reached[0]) if reached else np.nan)
    assert curves.fewest(0.0)["diverse"] == 2
    assert isinstance(found["diverse"], float)
    assert np.isnan(curves.fewest(1.0)["random"]).all()
    missing = np.where(test_target == 0, 77, test_target)  # which the training lacks
    with_unknown = dims_to_target(*given[:3], missing, step=20)
    assert with_unknown.diverse[-1] < curves.diverse[-1]
    with pytest.raises(ValueError, match="fewest needs an accuracy"):
        with_unknown.fewest()


def test_what_is_refused_before_anything_is_fitted(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinearProbes, "fit", lambda *_: pytest.fail("a fit began"))
    given = halves(rng)
    x, target, x_test, test_target = given
    for arguments, options, message in [
        (given, {"step": 0}, "step must be at least 1, got 0"),
        (given, {"n_random": 0}, "n_random must be at least 1, got 0"),
        (given, {"target_accuracy": 1.1}, "target_accuracy must be between 0 and 1, got 1.1"),
        (given, {"target_accuracy": np.nan}, "target_accuracy must be between 0 and 1, got nan"),
        (given, {"score": "mean"}, "score must be one of sum, cross, max, raw, variance"),
        (given, {"score": "cross"}, "at least two models"),
        (given, {"probe": LinearProbe(protocol="clip")}, "one C for all, got protocol 'clip'"),
        ((x, target[1:], x_test, test_target), {}, "features has 300 samples but target has 299"),
        ((x, target, x_test[:, 1:], test_target), {}, "(14,) but test_features have (13,)"),
        ((x, target, x_test, test_target[1:]), {}, "test_features has 300 samples but test_target"),
        ((np.ones_like(x), target, x_test, test_target), {}, "features are constant"),
    ]:
        with pytest.raises(ValueError) as raised:
            dims_to_target(*arguments, **options)
        assert message in str(raised.value)


def test_a_warning_is_of_the_line_that_asked(rng: np.random.Generator) -> None:
    with pytest.warns(ProbeWarning) as warned:
        dims_to_target(*halves(rng), probe=LinearProbe(max_iter=1))
    assert warned[0].filename == __file__
