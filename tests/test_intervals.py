"""Intervals against statsmodels, their formulas, and samples resampled one by one."""

from __future__ import annotations

import re
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from statsmodels.stats.inter_rater import cohens_kappa

import ovcore as ov
from ovcore import intervals

Z = NormalDist().inv_cdf(0.975)


def random_errors(
    rng: np.random.Generator, n_models: int = 4, n_samples: int = 500
) -> tuple[np.ndarray, ov.ErrorBits]:
    """(M, N) which model is wrong, of unequal accuracies and dependent, and the same as bits."""
    hard = rng.normal(size=n_samples)
    skill = np.linspace(-0.8, 0.8, n_models)[:, None]
    wrong = hard + rng.normal(size=(n_models, n_samples)) > skill
    return wrong, bits(wrong)


def bits(wrong: np.ndarray) -> ov.ErrorBits:
    return ov.pack_errors(wrong.astype(int), np.zeros(wrong.shape[1], int))


def table(wrong_a: np.ndarray, wrong_b: np.ndarray) -> list[list[int]]:
    return [
        [int((~wrong_a & ~wrong_b).sum()), int((~wrong_a & wrong_b).sum())],
        [int((wrong_a & ~wrong_b).sum()), int((wrong_a & wrong_b).sum())],
    ]


def test_standard_error_and_interval_of_kappa_agree_with_statsmodels(
    rng: np.random.Generator,
) -> None:
    wrong, errors = random_errors(rng, n_models=6)
    se = intervals.error_consistency_se(errors)
    low, high = intervals.error_consistency(errors)
    low_90, _ = intervals.error_consistency(errors, level=0.9)
    for a in range(len(wrong)):
        assert se[a, a] == pytest.approx(0, abs=1e-8)
        assert low[a, a] == pytest.approx(1, abs=1e-7)
        for b in range(len(wrong)):
            if a != b:
                expected = cohens_kappa(table(wrong[a], wrong[b]))
                assert se[a, b] == pytest.approx(expected.std_kappa, rel=1e-10)
                assert low[a, b] == pytest.approx(expected.kappa_low, rel=1e-4)  # z of 1.96
                assert high[a, b] == pytest.approx(expected.kappa_upp, rel=1e-4)
                z_90 = NormalDist().inv_cdf(0.95)
                assert low_90[a, b] == pytest.approx(expected.kappa - z_90 * expected.std_kappa)


def test_intervals_of_kappa_stay_within_one() -> None:
    nearly = np.zeros((2, 12), bool)
    nearly[:, :4] = True
    nearly[1, 4] = True
    low, high = intervals.error_consistency(bits(nearly))
    assert low[0, 1] < high[0, 1] == 1
    opposed = np.array([[0, 1, 1, 0, 1, 0, 1, 0, 0], [1, 0, 0, 1, 0, 1, 0, 1, 0]], bool)
    low, high = intervals.error_consistency(bits(opposed))
    assert -1 == low[0, 1] < high[0, 1] < 0


def test_accuracy_difference_is_a_paired_mean(rng: np.random.Generator) -> None:
    """(n10 - n01) / N is the mean of the differences of being right; so is its variance."""
    wrong, errors = random_errors(rng)
    low, high = intervals.accuracy_difference(errors)
    wide_low, wide_high = intervals.accuracy_difference(errors, level=0.99)
    np.testing.assert_array_equal(low, -high.T)
    n = wrong.shape[1]
    for a in range(len(wrong)):
        for b in range(len(wrong)):
            difference = wrong[b].astype(float) - wrong[a]
            margin = Z * difference.std() / n**0.5
            assert low[a, b] == pytest.approx(difference.mean() - margin, abs=1e-12)
            assert high[a, b] == pytest.approx(difference.mean() + margin, abs=1e-12)
            assert wide_low[a, b] < low[a, b] or a == b
            assert wide_high[a, b] > high[a, b] or a == b


@pytest.mark.parametrize("name", sorted(m.__name__ for m in ov.pairwise.FORMULAS))
def test_bootstrap_is_resampling_samples(name: str, rng: np.random.Generator) -> None:
    """Against resamples drawn sample by sample, within what 2,000 of either can differ."""
    wrong, errors = random_errors(rng, n_models=3, n_samples=400)
    metric = getattr(ov.pairwise, name)
    low, high = intervals.bootstrap(metric, errors, n_resamples=2000, seed=3)
    resampled = np.stack([
        metric(bits(wrong[:, rng.integers(0, 400, 400)])) for _ in range(2000)
    ])  # fmt: skip
    spread = resampled.std(axis=0)
    expected_low, expected_high = np.quantile(resampled, [0.025, 0.975], axis=0)
    # a quantile of 2,000 is known within 0.06 spreads: six times that of a difference of two
    assert (abs(low - expected_low) <= 0.5 * spread + 1e-12).all()
    assert (abs(high - expected_high) <= 0.5 * spread + 1e-12).all()
    off_diagonal = ~np.eye(3, dtype=bool)
    assert (low < metric(errors))[off_diagonal].all()
    assert (metric(errors) < high)[off_diagonal].all()
    if name == "accuracy_difference":
        np.testing.assert_array_equal(low, -high.T)
    else:
        np.testing.assert_array_equal(low, low.T)
        np.testing.assert_array_equal(high, high.T)


def test_bootstrap_and_analytic_intervals_of_kappa_meet(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng, n_models=3, n_samples=4000)
    low, high = intervals.error_consistency(errors)
    drawn = intervals.error_consistency(errors, method="bootstrap", n_resamples=2000, seed=1)
    se = intervals.error_consistency_se(errors)
    assert (abs(drawn[0] - low) <= 0.5 * se + 1e-7).all()
    assert (abs(drawn[1] - high) <= 0.5 * se + 1e-7).all()


def test_the_same_seed_gives_the_same_and_another_does_not(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng)
    metric = ov.pairwise.error_inconsistency
    first, again = (intervals.bootstrap(metric, errors, n_resamples=50, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (intervals.bootstrap(metric, errors, n_resamples=50, seed=6)[0] != first[0]).any()
    counts = ov.JointErrors.from_errors(errors)
    np.testing.assert_array_equal(
        intervals.bootstrap(metric, counts, n_resamples=50, seed=5), first
    )


def test_level_is_the_share_between(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng)
    low, high = intervals.bootstrap(ov.pairwise.double_fault, errors, level=0.5)
    wide_low, wide_high = intervals.bootstrap(ov.pairwise.double_fault, errors, level=0.99)
    assert (wide_low < low).all()
    assert (high < wide_high).all()
    ratio = (wide_high - wide_low) / (high - low)
    assert ratio == pytest.approx(NormalDist().inv_cdf(0.995) / NormalDist().inv_cdf(0.75), rel=0.3)


def test_slabs_draw_every_pair(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    _, errors = random_errors(rng, n_models=5)
    metric = ov.pairwise.error_inconsistency
    whole = np.array(intervals.bootstrap(metric, errors, n_resamples=400))
    for draws in (1, 800):
        monkeypatch.setattr(intervals, "_SLAB_DRAWS", draws)
        low, high = intervals.bootstrap(metric, errors, n_resamples=400)
        np.testing.assert_allclose([low, high], whole, atol=0.02)


def test_undefined_pairs_are_nan_without_a_warning() -> None:
    wrong = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0]], bool)
    for method in ("analytic", "bootstrap"):
        low, high = intervals.error_consistency(bits(wrong), method=method)
        assert np.isnan(low[0, 1])
        assert np.isnan(high[0, 1])
    assert np.isnan(intervals.error_consistency_se(bits(wrong))[0, 1])
    low, high = intervals.bootstrap(ov.pairwise.error_inconsistency, bits(wrong))
    assert low[0, 1] == high[0, 1] == 0
    assert low[0, 2] < 0.5 < high[0, 2]


def test_pairs_are_judged_on_the_samples_both_have(rng: np.random.Generator) -> None:
    wrong, _ = random_errors(rng, n_models=3)
    n = wrong.shape[1]
    logits = np.eye(2)[wrong.astype(int)]
    logits[0, :300] = np.nan
    logits[1, 400:] = np.nan
    logits[2, 300:] = np.nan
    errors = ov.pack_errors(logits, np.zeros(n, int), nan_policy="omit")
    alone = bits(wrong[:2, 300:400])
    for interval in (intervals.error_consistency, intervals.accuracy_difference):
        for end, expected in zip(interval(errors), interval(alone), strict=True):
            assert end[0, 1] == pytest.approx(expected[0, 1], rel=1e-12)
            assert np.isnan(end[0, 2])
    low, high = intervals.bootstrap(ov.pairwise.error_inconsistency, errors)
    expected = intervals.bootstrap(ov.pairwise.error_inconsistency, alone)
    assert low[0, 1] == pytest.approx(expected[0][0, 1], abs=0.03)
    assert high[1, 0] == pytest.approx(expected[1][0, 1], abs=0.03)
    assert np.isnan([low[0, 2], high[2, 0]]).all()


def test_tensors_give_tensors_and_one_model_one_by_one(rng: np.random.Generator) -> None:
    wrong, _ = random_errors(rng)
    target = torch.zeros(wrong.shape[1], dtype=torch.int64)
    errors = ov.pack_errors(torch.from_numpy(wrong.astype(int)), target)
    results = [
        intervals.error_consistency_se(errors),
        *intervals.error_consistency(errors),
        *intervals.accuracy_difference(errors),
        *intervals.bootstrap(ov.pairwise.double_fault, errors, n_resamples=10),
    ]
    assert all(isinstance(values, torch.Tensor) for values in results)
    low, high = intervals.bootstrap(ov.pairwise.double_fault, errors.select([0]), n_resamples=10)
    assert tuple(low.shape) == tuple(high.shape) == (1, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: intervals.bootstrap(ov.pairwise.joint_errors, e), "among accuracy_difference, "),
        (lambda e: intervals.bootstrap("kappa", e), "got kappa"),
        (lambda e: intervals.bootstrap(ov.pairwise.double_fault, e, n_resamples=0), ">= 1, got 0"),
        (lambda e: intervals.bootstrap(ov.pairwise.double_fault, e, n_resamples=1.5), "got 1.5"),
        (lambda e: intervals.bootstrap(ov.pairwise.double_fault, e, level=1), "0 and 1, got 1"),
        (lambda e: intervals.accuracy_difference(e, level=0), "between 0 and 1, got 0"),
        (lambda e: intervals.error_consistency(e, level=95), "between 0 and 1, got 95"),
        (lambda e: intervals.error_consistency(e, method="jackknife"), "got 'jackknife'"),
        (lambda _: intervals.error_consistency_se(ov.JointErrors.empty(2)), "no samples"),
        (lambda _: intervals.accuracy_difference(ov.JointErrors.empty(2)), "no samples"),
        (lambda _: intervals.bootstrap(ov.pairwise.dominance, ov.JointErrors.empty(2)),
         "no samples"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(call: Any, message: str, rng: np.random.Generator) -> None:
    _, errors = random_errors(rng)
    with pytest.raises(ValueError, match=re.escape(message)):
        call(errors)
