"""Pairwise metrics against their definitions, other people's libraries, and real data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

import ovcore as ov

METRICS = [
    "error_inconsistency",
    "error_covariance",
    "error_correlation",
    "double_fault",
    "q_statistic",
]


def random_errors(
    rng: np.random.Generator, n_models: int = 6, n_samples: int = 700
) -> tuple[np.ndarray, ov.ErrorBits]:
    """(M, N) which model is wrong, of unequal accuracies and dependent, and the same as bits."""
    hard = rng.normal(size=n_samples)
    wrong = hard + rng.normal(size=(n_models, n_samples)) > rng.normal(size=(n_models, 1))
    return wrong, ov.pack_errors(wrong.astype(int), np.zeros(n_samples, int))


def test_every_metric_is_its_definition(rng: np.random.Generator) -> None:
    wrong, errors = random_errors(rng)
    n = wrong.shape[1]
    for a in range(len(wrong)):
        for b in range(len(wrong)):
            n11 = int((~wrong[a] & ~wrong[b]).sum())
            n10 = int((~wrong[a] & wrong[b]).sum())
            n01 = int((wrong[a] & ~wrong[b]).sum())
            n00 = int((wrong[a] & wrong[b]).sum())
            p_a, p_b = (n11 + n10) / n, (n11 + n01) / n
            c_obs = (n11 + n00) / n
            c_exp = p_a * p_b + (1 - p_a) * (1 - p_b)
            margins = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)
            expected = {
                "joint_errors": n00,
                "error_inconsistency": (n10 + n01) / n,
                "error_consistency": (c_obs - c_exp) / (1 - c_exp),
                "error_covariance": n00 / n - (1 - p_a) * (1 - p_b),
                "error_correlation": (n11 * n00 - n01 * n10) / margins**0.5,
                "q_statistic": (n11 * n00 - n01 * n10) / (n11 * n00 + n01 * n10),
                "double_fault": n00 / n,
            }
            for name, value in expected.items():
                result = getattr(ov.pairwise, name)(errors)[a, b]
                assert result == pytest.approx(value, rel=1e-12, abs=1e-15), name


def test_error_bits_and_joint_errors_give_the_same(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng)
    counts = ov.JointErrors.from_errors(errors)
    for name in [*METRICS, "error_consistency", "joint_errors"]:
        metric = getattr(ov.pairwise, name)
        np.testing.assert_array_equal(metric(errors), metric(counts))


def test_other_libraries_agree(rng: np.random.Generator) -> None:
    wrong, errors = random_errors(rng)
    kappa = [[cohen_kappa_score(a, b) for b in wrong] for a in wrong]
    np.testing.assert_allclose(ov.pairwise.error_consistency(errors), kappa, rtol=1e-12)
    np.testing.assert_allclose(
        ov.pairwise.error_correlation(errors), np.corrcoef(wrong), rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(
        ov.pairwise.error_covariance(errors), np.cov(wrong, bias=True), rtol=1e-12, atol=1e-15
    )
    from scipy.spatial.distance import pdist, squareform

    np.testing.assert_allclose(
        ov.pairwise.error_inconsistency(errors), squareform(pdist(wrong, "hamming")), rtol=1e-12
    )


def test_counts_beyond_32_bits_keep_their_meaning() -> None:
    """Products of counts near 250,000 pass 2^31, and of 5e8 pass 2^53: kappa stays a kappa."""
    joint = np.array([[150_000, 60_000], [60_000, 100_000]])
    for scale in (1, 2_000):
        counts = ov.JointErrors(joint * scale, 250_000 * scale)
        kappa = ov.pairwise.error_consistency(counts)
        np.testing.assert_allclose(kappa, [[1, 0], [0, 1]], atol=1e-12)
        assert np.isfinite(ov.pairwise.error_correlation(counts)).all()


def test_correlations_stay_within_one(rng: np.random.Generator) -> None:
    wrong = rng.random((40, 977)) < rng.uniform(0.1, 0.9, (40, 1))
    errors = ov.pack_errors(np.concatenate([wrong, wrong]).astype(int), np.zeros(977, int))
    rho = ov.pairwise.error_correlation(errors)
    assert (rho.diagonal() == 1).all()
    assert (abs(rho) <= 1).all()


def test_undefined_consistency_is_nan_and_counted() -> None:
    perfect_perfect_good = ov.pack_errors(np.array([[0, 0], [0, 0], [0, 1]]), np.zeros(2, int))
    with pytest.warns(RuntimeWarning, match="undefined for 3 pairs"):
        kappa = ov.pairwise.error_consistency(perfect_perfect_good)
    np.testing.assert_array_equal(kappa, [[np.nan, np.nan, 0], [np.nan, np.nan, 0], [0, 0, 1]])
    always_wrong = ov.pack_errors(np.ones((1, 2), int), np.zeros(2, int))
    with pytest.warns(RuntimeWarning, match="undefined for 1 pair "):
        assert np.isnan(ov.pairwise.error_consistency(always_wrong)).all()
    replaced = ov.pairwise.error_consistency(perfect_perfect_good, replace_undefined_by=1.0)
    assert replaced[0, 1] == 1.0


def test_zero_denominators_are_nan() -> None:
    errors = ov.pack_errors(np.array([[0, 0], [0, 1]]), np.zeros(2, int))
    assert np.isnan(ov.pairwise.q_statistic(errors)[0, 1])
    assert np.isnan(ov.pairwise.error_correlation(errors)[0, 1])
    assert ov.pairwise.error_correlation(errors)[1, 1] == 1


def test_no_sample_and_wrong_types_are_refused() -> None:
    for name in [*METRICS, "error_consistency"]:
        with pytest.raises(ValueError, match="no samples"):
            getattr(ov.pairwise, name)(ov.JointErrors.empty(2))
    with pytest.raises(TypeError, match="expected ErrorBits or JointErrors, got ndarray"):
        ov.pairwise.error_inconsistency(np.zeros((2, 2)))  # type: ignore[arg-type]


def test_one_model_gives_one_by_one(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng, n_models=1)
    for name in METRICS:
        assert getattr(ov.pairwise, name)(errors).shape == (1, 1)


def check_against_reference(preds: Any, target: Any, reference: Any, backend: str) -> None:
    errors = ov.pack_errors(preds, target, backend=backend)
    counts = ov.JointErrors.from_errors(errors, backend=backend)
    np.testing.assert_array_equal(len(target) - errors.n_wrong(), reference["top1_correct"])
    inconsistent = ov.pairwise.error_inconsistency(counts) * len(target)
    np.testing.assert_array_equal(np.rint(inconsistent).astype(int), reference["xor_all_pairs"])
    base = reference["names"].index(reference["base"])
    np.testing.assert_allclose(
        ov.pairwise.error_consistency(counts)[base], reference["kappa_with_base"], rtol=1e-12
    )


def test_real_imagenet_predictions(backend: str, real_data: Any) -> None:
    data, reference = real_data("imagenet_top5_dev.npz")
    check_against_reference(data["preds"][:, :, 0], data["labels"], reference, backend)


def test_real_imagenet_v2_predictions(backend: str, real_data: Any) -> None:
    data, reference = real_data("imagenet_val_v2_top1_dev.npz")
    check_against_reference(data["val_preds"], data["val_labels"], reference["val"], backend)
    check_against_reference(
        data["v2_matchedfreq_preds"],
        data["v2_matchedfreq_labels"],
        reference["v2_matchedfreq"],
        backend,
    )
