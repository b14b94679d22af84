"""Likelihood, Brier score and calibration errors against loops and against other libraries."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import foldnorm
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional import classification as functional

import ovcore as ov
from ovcore.calibration import _bins, _likelihood
from ovcore.calibration._bins import expected_calibration_error, reliability_curve
from ovcore.calibration._likelihood import brier_score, negative_log_likelihood

OPTIONS = [(b, n) for b in ("equal_width", "equal_mass", "sweep") for n in ("l1", "l2", "max")]
MEASURES = [negative_log_likelihood, brier_score, expected_calibration_error, reliability_curve]


def problem(
    rng: np.random.Generator, n_samples: int = 300, n_classes: int = 5, n_models: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Models between poor and good, none of them calibrated."""
    target = rng.integers(0, n_classes, n_samples)
    signal = np.linspace(0.5, 2.5, n_models)[:, None, None] * np.eye(n_classes)[target]
    noise = rng.normal(size=(n_models, n_samples, n_classes))
    return (1.5 * (signal + noise)).astype(np.float32), target


def split(confidence: np.ndarray, n_bins: int, binning: str) -> list[np.ndarray]:
    """Samples of each bin, by definition."""
    n_samples = len(confidence)
    if binning == "equal_width":
        edges = [(b / n_bins, (b + 1) / n_bins) for b in range(n_bins)]
        index = [
            next(b for b, (low, high) in enumerate(edges) if low <= c < high or c >= 1 == high)
            for c in confidence
        ]
        return [np.flatnonzero(np.array(index) == b) for b in range(n_bins)]
    order = sorted(range(n_samples), key=lambda n: (confidence[n], n))
    edges_at = [b * n_samples // n_bins for b in range(n_bins + 1)]
    return [np.array(order[a:b], int) for a, b in pairwise(edges_at)]


def swept(confidence: np.ndarray, hit: np.ndarray) -> int:
    """Bins before the first number of them whose accuracies decrease somewhere."""
    for n_bins in range(2, len(hit) + 1):
        means = [hit[bin_].mean() for bin_ in split(confidence, n_bins, "equal_mass")]
        if any(a > b + 1e-12 for a, b in pairwise(means)):
            return n_bins - 1
    return len(hit)


def error(
    confidence: np.ndarray, hit: np.ndarray, n_bins: int, binning: str, norm: str, debias: bool
) -> float:
    if binning == "sweep":
        n_bins, binning = swept(confidence, hit), "equal_mass"
    total, bias, largest = 0.0, 0.0, 0.0
    for samples in split(confidence, n_bins, binning):
        n = len(samples)
        if n == 0:
            continue
        accuracy = hit[samples].mean()
        gap = accuracy - confidence[samples].mean()
        largest = max(largest, abs(gap))
        total += n / len(hit) * (abs(gap) if norm == "l1" else gap**2)
        if 0 < accuracy < 1 and norm == "l2":
            bias += n / len(hit) * accuracy * (1 - accuracy) / (n - 1)
        elif 0 < accuracy < 1:
            deviation = np.sqrt(accuracy * (1 - accuracy) / n)
            mean = foldnorm.mean(abs(gap) / deviation, scale=deviation)
            bias += n / len(hit) * (mean - abs(gap))
    if norm == "max":
        return largest
    total = max(total - bias, 0) if debias else total
    return float(np.sqrt(total)) if norm == "l2" else total


def widened(logits: Any) -> np.ndarray:
    return np.asarray(logits).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_likelihood_and_brier_score_equal_their_formulas(
    dtype: Any, rng: np.random.Generator
) -> None:
    for n_samples, n_classes in [(1, 2), (63, 3), (65, 17), (300, 64)]:
        logits, target = problem(rng, n_samples, n_classes)
        logits = logits.astype(dtype)
        temperature = [0.3, 1.0, 7.0]
        z = widened(logits) / np.array(temperature)[:, None, None]
        at_target = (slice(None), np.arange(n_samples), target)
        nll = negative_log_likelihood(logits, target, temperature=temperature)
        np.testing.assert_allclose(
            nll, -log_softmax(z, axis=2)[at_target].mean(axis=1), rtol=1e-10, atol=1e-14
        )
        distance = softmax(z, axis=2)
        distance[at_target] -= 1
        brier = brier_score(list(logits), target, temperature=temperature)
        np.testing.assert_allclose(
            brier, (distance**2).sum(axis=2).mean(axis=1), rtol=1e-12, atol=1e-14
        )


def test_likelihood_and_brier_score_equal_those_of_scikit_learn(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 200, 2, 1)
    probability = softmax(logits[0].astype(np.float64), axis=1)
    brier = brier_score_loss(target, probability[:, 1])
    assert brier_score(logits, target)[0] == pytest.approx(2 * brier, rel=1e-12)
    nll = log_loss(target, probability)
    assert negative_log_likelihood(logits, target)[0] == pytest.approx(nll, rel=1e-12)


def test_likelihood_is_not_of_clipped_probabilities() -> None:
    logits = np.array([[[0.0, 5000.0], [5000.0, 0.0]]])
    assert negative_log_likelihood(logits, np.zeros(2, int))[0] == 2500
    assert brier_score(logits, np.zeros(2, int))[0] == 1
    assert brier_score(logits, np.array([0, 1]))[0] == 2


def test_what_infinite_logits_mean() -> None:
    logits = np.array([[[0.0, -np.inf, 0.0], [0.0, 0.0, 0.0]]])
    half, third = np.log(2), np.log(3)
    assert negative_log_likelihood(logits, np.array([0, 0]))[0] == pytest.approx((half + third) / 2)
    assert negative_log_likelihood(logits, np.array([1, 0]))[0] == np.inf
    wins = np.array([[[np.inf, 3.0, -np.inf], [np.inf, np.inf, 1e30]]])
    assert brier_score(wins, np.array([0, 0]))[0] == 0.25  # mean of 0 and 1/4 + 1/4
    classwise = expected_calibration_error(wins, np.array([0, 2]), n_bins=2, kind="classwise")
    assert classwise[0] == pytest.approx((0.25 + 0.25 + 0.5) / 3)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[[1e308, -1e308]], [[-1e308, 1e308]]])
    target = np.zeros(1, int)
    np.testing.assert_array_equal(negative_log_likelihood(logits, target), [0, np.inf])
    np.testing.assert_array_equal(brier_score(logits, target, temperature=1e-3), [0, 2])
    small = negative_log_likelihood(np.ones((1, 1, 2)), target, temperature=1e-320)
    assert small[0] == pytest.approx(np.log(2))


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize(("binning", "norm"), OPTIONS)
def test_top_label_error_equals_a_loop(
    binning: str, norm: str, debias: bool, rng: np.random.Generator
) -> None:
    debias = debias and norm != "max"  # which is refused
    for n_samples in (1, 2, 63, 64, 65, 300):
        logits, target = problem(rng, n_samples)
        for n_bins in (1, 7, 100):
            values = expected_calibration_error(
                logits, target, n_bins=n_bins, binning=binning, norm=norm, debias=debias
            )
            for z, value in zip(logits, values, strict=True):
                confidence = softmax(z.astype(np.float64), axis=1).max(axis=1)
                hit = z.argmax(axis=1) == target
                expected = error(confidence, hit, n_bins, binning, norm, debias)
                assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("binning", "norm"), OPTIONS)
def test_classwise_error_equals_a_loop(
    binning: str, norm: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, target = problem(rng, 65)
    options = {"n_bins": 6, "binning": binning, "norm": norm, "kind": "classwise"}
    for debias in (False, True) if norm != "max" else (False,):
        values = expected_calibration_error(
            logits, target, temperature=2.0, debias=debias, **options
        )
        for z, value in zip(logits, values, strict=True):
            p = softmax(z.astype(np.float64) / 2, axis=1)
            each = [error(p[:, k], target == k, 6, binning, norm, debias) for k in range(5)]
            assert value == pytest.approx(np.mean(each), abs=1e-12)
    monkeypatch.setattr(_bins, "_BLOCK_BYTES", 8 * 65 * 2)
    monkeypatch.setattr(_likelihood, "_BLOCK_BYTES", 8 * 5 * 7)
    blocked = expected_calibration_error(logits, target, temperature=2.0, debias=debias, **options)
    np.testing.assert_allclose(blocked, values, rtol=1e-14)


def test_errors_equal_those_of_torchmetrics(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 1000)
    for norm in ("l1", "l2", "max"):
        values = expected_calibration_error(logits, target, norm=norm)
        for z, value in zip(logits, values, strict=True):
            theirs = functional.multiclass_calibration_error(
                torch.from_numpy(z).softmax(1), torch.from_numpy(target), 5, 15, norm
            )
            assert value == pytest.approx(float(theirs), abs=1e-6)


def test_curve_equals_that_of_scikit_learn(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 500)
    curve = reliability_curve(logits, target, n_bins=10)
    for m, z in enumerate(logits):
        confidence = softmax(z.astype(np.float64), axis=1).max(axis=1)
        hit = z.argmax(axis=1) == target
        accuracy, mean = calibration_curve(hit, confidence, n_bins=10)
        filled = curve.count[m] > 0
        np.testing.assert_allclose(curve.accuracy[m, filled], accuracy, rtol=1e-12)
        np.testing.assert_allclose(curve.confidence[m, filled], mean, rtol=1e-6)
        assert np.isnan(curve.accuracy[m, ~filled]).all()
        assert np.isnan(curve.confidence[m, ~filled]).all()
        assert curve.count[m].sum() == 500


def test_bins_are_closed_on_the_left_and_the_last_on_both_sides() -> None:
    quarter = np.zeros((1, 2, 4), np.float32)
    curve = reliability_curve(quarter, np.array([0, 1]), n_bins=4)
    np.testing.assert_array_equal(curve.count, [[0, 2, 0, 0]])
    assert curve.confidence[0, 1] == 0.25
    assert curve.accuracy[0, 1] == 0.5
    certain = np.array([[[0, 5000], [0, 0]]], np.float32)
    curve = reliability_curve(certain, np.array([1, 1]), n_bins=2)
    np.testing.assert_array_equal(curve.count, [[0, 2]])
    assert (curve.confidence[0, 1], curve.accuracy[0, 1]) == (0.75, 0.5)


def test_bins_of_equal_mass_keep_the_order_of_equal_confidences() -> None:
    sample = np.arange(202)
    logits = np.stack([sample % 2, np.zeros(202)], axis=1)[None]  # two confidences in turn
    right = (sample < 101) == (sample % 2 == 0)  # of the low ones the first half, of the high last
    curve = reliability_curve(logits, (~right).astype(int), n_bins=4, binning="equal_mass")
    np.testing.assert_array_equal(curve.count, [[50, 51, 50, 51]])
    np.testing.assert_array_equal(curve.accuracy, [[1, 1 / 51, 0, 1]])
    few = reliability_curve(logits[:, :2], np.zeros(2, int), n_bins=4, binning="equal_mass")
    np.testing.assert_array_equal(few.count, [[0, 1, 0, 1]])


@pytest.mark.parametrize("n_samples", [1, 2, 3, 10, 64, 65])
def test_sweep_stops_before_accuracies_decrease(n_samples: int, rng: np.random.Generator) -> None:
    rank = np.arange(n_samples)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        for ascending in (False, True):
            hit = rng.random(n_samples) < share
            if ascending:  # but for two that change places
                hit = np.sort(hit)
                hit[rng.integers(0, n_samples, 2)] = hit[rng.integers(0, n_samples, 2)]
            before = np.concatenate([[0], np.cumsum(hit)])
            assert _bins._most_ascending_bins(before) == swept(rank, hit)


def test_a_model_with_fewer_sweep_bins_has_empty_ones_at_its_end(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 200)
    curve = reliability_curve(logits, target, binning="sweep")
    numbers = []
    for m, z in enumerate(logits):
        hit = z.argmax(axis=1) == target
        confidence = softmax(z.astype(np.float64), axis=1).max(axis=1)
        numbers.append(swept(confidence, hit))
        assert (curve.count[m, : numbers[m]] > 0).all()
        assert (curve.count[m, numbers[m] :] == 0).all()
    assert len(set(numbers)) > 1
    assert curve.count.shape == (3, max(numbers))


def test_debiasing_takes_off_what_chance_adds() -> None:
    """Calibrated by construction, so that all error is chance."""
    rng = np.random.default_rng(1)
    probability = rng.uniform(0.5, 1, 2000)
    logits = np.log(np.stack([probability, 1 - probability], axis=1))[None]
    target = (rng.random(2000) > probability).astype(int)
    for norm in ("l1", "l2"):
        plain, debiased = (
            expected_calibration_error(logits, target, n_bins=100, norm=norm, debias=debias)[0]
            for debias in (False, True)
        )
        assert 0 <= debiased < 0.6 * plain


def test_results_are_in_the_callers_library_whatever_the_type(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    half = torch.from_numpy(logits).bfloat16()
    for measure in MEASURES[:3]:
        value = measure(half, torch.from_numpy(target), temperature=torch.tensor([1.0, 2.0, 3.0]))
        assert isinstance(value, torch.Tensor)
        assert value.dtype == torch.float64
        same = measure(half.float().numpy(), target, temperature=[1.0, 2.0, 3.0])
        np.testing.assert_allclose(value.numpy(), same, rtol=1e-12)
    curve = reliability_curve(half, target)
    assert isinstance(curve.count, torch.Tensor)


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = problem(rng)
    whole = brier_score(logits, target)
    monkeypatch.setattr(_likelihood, "_BLOCK_BYTES", 8 * 5 * 7)
    np.testing.assert_allclose(brier_score(logits, target), whole, rtol=1e-13)
    logits[1, 123, 2] = logits[1, 200, 0] = np.nan
    with pytest.raises(ValueError, match=r"model 1 has 2 samples .* first at sample 123"):
        brier_score(logits, target)


@pytest.mark.parametrize("measure", MEASURES)
def test_bad_input_is_named(measure: Any) -> None:
    target = np.zeros(4, int)
    good = np.zeros((4, 3))
    with pytest.raises(ValueError, match="at least two classes"):
        measure(np.zeros((1, 4, 1)), target)
    with pytest.raises(TypeError, match="logits must be .*got predicted classes"):
        measure(np.zeros((2, 4), int), target)
    with pytest.raises(ValueError, match="temperature must be positive"):
        measure([good], target, temperature=0)
    nan, lost, infinite = good.copy(), good.copy(), good.copy()
    nan[2, 1], lost[2], infinite[2, 1] = np.nan, -np.inf, np.inf
    for bad in (nan, lost):
        with pytest.raises(ValueError, match=r"model 1 has 1 sample without .* first at sample 2"):
            measure([good, bad], target)
    if measure is negative_log_likelihood:
        with pytest.raises(ValueError, match=r"model 1 has 1 sample without .*\+inf"):
            measure([good, infinite], target)
    else:
        measure([good, infinite], target)


def test_unknown_options_are_named() -> None:
    logits, target = np.zeros((1, 4, 3)), np.zeros(4, int)
    for option, known in (
        ("binning", "equal_width, equal_mass, sweep"),
        ("norm", "l1, l2, max"),
        ("kind", "top_label, classwise"),
    ):
        with pytest.raises(ValueError, match=f"{option} must be one of {known}: got 'other'"):
            expected_calibration_error(logits, target, **{option: "other"})
    with pytest.raises(ValueError, match="debias needs norm='l1' or 'l2'"):
        expected_calibration_error(logits, target, norm="max", debias=True)
    with pytest.raises(ValueError, match="n_bins must be at least 1, got 0"):
        reliability_curve(logits, target, n_bins=0)
    with pytest.raises(TypeError, match="n_bins must be an integer"):
        reliability_curve(logits, target, n_bins=1.5)


def test_classwise_nan_is_named() -> None:
    logits = np.zeros((2, 4, 3))
    logits[1, 3, 0] = np.nan
    with pytest.raises(ValueError, match="model 1 has 1 sample without a prediction"):
        expected_calibration_error(logits, np.zeros(4, int), kind="classwise")


def test_a_fitted_temperature_lowers_the_likelihood(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    fit = ov.calibration.fit_temperature(logits, target)
    nll = negative_log_likelihood(logits, target, temperature=fit.temperature)
    np.testing.assert_allclose(nll, fit.nll, rtol=1e-12)
    assert (nll < negative_log_likelihood(logits, target)).all()
