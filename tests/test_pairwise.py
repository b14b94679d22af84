"""Pairwise metrics against their definitions, other people's libraries, and real data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

import ovcore as ov
from ovcore import _tables

METRICS = [
    "accuracy_difference",
    "dominance",
    "double_fault",
    "error_consistency",
    "error_correlation",
    "error_covariance",
    "error_inconsistency",
    "q_statistic",
    "relative_inconsistency",
]


def random_errors(
    rng: np.random.Generator, n_models: int = 6, n_samples: int = 700
) -> tuple[np.ndarray, ov.ErrorBits]:
    """(M, N) which model is wrong, of unequal accuracies and dependent, and the same as bits."""
    hard = rng.normal(size=n_samples)
    wrong = hard + rng.normal(size=(n_models, n_samples)) > rng.normal(size=(n_models, 1))
    return wrong, ov.pack_errors(wrong.astype(int), np.zeros(n_samples, int))


def definitions(wrong_a: np.ndarray, wrong_b: np.ndarray) -> dict[str, float]:
    """Every metric of two models as DEFINITIONS.md writes it, on (N,) truth values."""
    n = len(wrong_a)
    n11 = sum(not a and not b for a, b in zip(wrong_a, wrong_b, strict=True))
    n10 = sum(not a and b for a, b in zip(wrong_a, wrong_b, strict=True))
    n01 = sum(a and not b for a, b in zip(wrong_a, wrong_b, strict=True))
    n00 = sum(a and b for a, b in zip(wrong_a, wrong_b, strict=True))
    p_a, p_b = (n11 + n10) / n, (n11 + n01) / n
    c_obs = (n11 + n00) / n
    c_exp = p_a * p_b + (1 - p_a) * (1 - p_b)
    margins = (n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)
    higher_wrong, lower_wrong = (wrong_a, wrong_b) if p_a >= p_b else (wrong_b, wrong_a)
    return {
        "joint_errors": n00,
        "accuracy_difference": p_a - p_b,
        "dominance": (higher_wrong & ~lower_wrong).mean(),
        "conditional_dominance": (higher_wrong & ~lower_wrong).sum() / higher_wrong.sum(),
        "double_fault": n00 / n,
        "error_consistency": (c_obs - c_exp) / (1 - c_exp),
        "error_correlation": (n11 * n00 - n01 * n10) / margins**0.5,
        "error_covariance": n00 / n - (1 - p_a) * (1 - p_b),
        "error_inconsistency": (n10 + n01) / n,
        "q_statistic": (n11 * n00 - n01 * n10) / (n11 * n00 + n01 * n10),
        "relative_inconsistency": (1 - c_obs) / (p_a * (1 - p_b) + p_b * (1 - p_a)),
        "lowest": (1 - (min(p_a, 1 - p_b) + min(1 - p_a, p_b)) - c_exp) / (1 - c_exp),
        "highest": (min(p_a, p_b) + min(1 - p_a, 1 - p_b) - c_exp) / (1 - c_exp),
    }


def all_metrics(errors: ov.ErrorBits | ov.JointErrors) -> dict[str, Any]:
    lowest, highest = ov.pairwise.error_consistency_bounds(errors)
    names = [*METRICS, "joint_errors"]
    return {name: getattr(ov.pairwise, name)(errors) for name in names} | {
        "conditional_dominance": ov.pairwise.dominance(errors, conditional=True),
        "lowest": lowest,
        "highest": highest,
    }


def test_every_metric_is_its_definition(rng: np.random.Generator) -> None:
    wrong, errors = random_errors(rng)
    results = all_metrics(errors)
    for a in range(len(wrong)):
        for b in range(len(wrong)):
            expected = definitions(wrong[a], wrong[b])
            assert expected.keys() == results.keys()
            for name, value in expected.items():
                assert results[name][a, b] == pytest.approx(value, rel=1e-11, abs=1e-14), name


def test_pairs_are_judged_on_the_samples_both_models_have(rng: np.random.Generator) -> None:
    wrong, errors = random_errors(rng, n_models=4)
    present = rng.random(wrong.shape) < 0.6
    present[3] &= ~present[0]  # these two share none
    logits = np.eye(2)[wrong.astype(int)]
    logits[~present] = np.nan
    errors = ov.pack_errors(logits, np.zeros(wrong.shape[1], int), nan_policy="omit")
    results = all_metrics(errors)
    for a in range(4):
        for b in range(4):
            both = present[a] & present[b]
            if {a, b} == {0, 3}:
                assert not both.any()
                assert results.pop("joint_errors", np.zeros((4, 4)))[a, b] == 0
                for name, values in results.items():
                    assert np.isnan(values[a, b]), name
                continue
            for name, value in definitions(wrong[a, both], wrong[b, both]).items():
                if name in results:
                    assert results[name][a, b] == pytest.approx(value, rel=1e-11, abs=1e-14), name
    replaced = ov.pairwise.error_consistency(errors, replace_undefined_by=0.5)
    assert np.isnan(replaced[0, 3])  # undefined is one thing, unknown another
    np.testing.assert_array_equal(replaced, results["error_consistency"])


def test_slabs_of_pairs_make_no_difference(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, errors = random_errors(rng, n_models=13)
    whole = all_metrics(errors)
    monkeypatch.setattr(_tables, "_SLAB", 3 * 13 + 5)
    in_slabs = all_metrics(errors)
    for name, values in whole.items():
        np.testing.assert_array_equal(in_slabs[name], values, err_msg=name)
    perfect = ov.pack_errors(np.zeros((13, 5), int), np.zeros(5, int))
    with pytest.warns(RuntimeWarning, match="undefined for 91 pairs") as warned:
        ov.pairwise.error_consistency(perfect)
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_slabs_of_pairs_meet_every_pair_once(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng, n_models=7)
    counts = ov.JointErrors.from_errors(errors)
    n_met, joint = np.zeros((7, 7), int), np.zeros((7, 7))
    for rows, cols, table in _tables.pair_slabs(counts, 3):
        assert table.n00.shape[1] <= 3
        n_met[rows, cols] += 1
        joint[rows, cols] = table.n00
    np.testing.assert_array_equal(n_met, np.triu(np.ones((7, 7), int)))
    np.testing.assert_array_equal(joint, np.triu(counts.joint))


def test_bounds_of_consistency_are_reached_and_never_passed(rng: np.random.Generator) -> None:
    n = 12
    for n_wrong_a in range(1, n):
        for n_wrong_b in range(1, n):
            first, last = np.arange(n) < n_wrong_a, np.arange(n) >= n - n_wrong_b
            nested, shuffled = np.arange(n) < n_wrong_b, rng.permutation(last)
            wrong = np.array([first, last, nested, shuffled]).astype(int)
            errors = ov.pack_errors(wrong, np.zeros(n, int))
            lowest, highest = ov.pairwise.error_consistency_bounds(errors)
            kappa = ov.pairwise.error_consistency(errors)
            assert kappa[0, 1] == pytest.approx(lowest[0, 1], abs=1e-12)
            assert kappa[0, 2] == pytest.approx(highest[0, 2], abs=1e-12)
            assert lowest[0, 3] - 1e-12 <= kappa[0, 3] <= highest[0, 3] + 1e-12
            assert highest[0, 0] == 1


def test_accuracy_difference_is_antisymmetric_and_relative_inconsistency_one_less_kappa(
    rng: np.random.Generator,
) -> None:
    _, errors = random_errors(rng)
    difference = ov.pairwise.accuracy_difference(errors)
    np.testing.assert_array_equal(difference, -difference.T)
    accuracy = errors.accuracy()
    np.testing.assert_allclose(difference, accuracy[:, None] - accuracy, atol=1e-15)
    relative = ov.pairwise.relative_inconsistency(errors)
    np.testing.assert_allclose(relative, 1 - ov.pairwise.error_consistency(errors), atol=1e-15)


def test_prediction_diversity_is_a_mean_over_the_other_models(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, errors = random_errors(rng, n_models=13)
    expected = [
        np.mean([(wrong[a] != wrong[b]).mean() for b in range(13) if b != a]) for a in range(13)
    ]
    diversity = ov.pairwise.prediction_diversity(errors)
    assert diversity.shape == (13,)
    np.testing.assert_allclose(diversity, expected, rtol=1e-13)
    counts = ov.JointErrors.from_errors(errors)
    np.testing.assert_array_equal(ov.pairwise.prediction_diversity(counts), diversity)
    monkeypatch.setattr(_tables.pair_slabs, "__defaults__", (3,))
    np.testing.assert_allclose(ov.pairwise.prediction_diversity(errors), expected, rtol=1e-13)


def test_prediction_diversity_where_models_lack_samples(rng: np.random.Generator) -> None:
    wrong, _ = random_errors(rng, n_models=5)
    present = rng.random(wrong.shape) < 0.6
    present[3] &= ~present[0]  # these two share none
    logits = np.eye(2)[wrong.astype(int)]
    logits[~present] = np.nan
    errors = ov.pack_errors(logits, np.zeros(wrong.shape[1], int), nan_policy="omit")
    diversity = ov.pairwise.prediction_diversity(errors)
    for a in range(5):
        if a in (0, 3):
            assert np.isnan(diversity[a])
            continue
        both = [present[a] & present[b] for b in range(5)]
        apart = [(wrong[a] != wrong[b])[both[b]].mean() for b in range(5) if b != a]
        assert diversity[a] == pytest.approx(np.mean(apart), rel=1e-13)


def test_prediction_diversity_of_few_models_and_no_samples() -> None:
    alone = ov.pack_errors(np.array([[0, 1, 1]]), np.zeros(3, int))
    diversity = ov.pairwise.prediction_diversity(alone)
    assert diversity.shape == (1,)
    assert np.isnan(diversity[0])
    two = ov.pack_errors(torch.tensor([[0, 1, 1], [0, 0, 1]]), torch.zeros(3, dtype=torch.int64))
    diversity = ov.pairwise.prediction_diversity(two)
    assert isinstance(diversity, torch.Tensor)
    assert diversity.tolist() == [1 / 3, 1 / 3]
    with pytest.raises(ValueError, match="no samples"):
        ov.pairwise.prediction_diversity(ov.JointErrors.empty(2))


def test_every_name_is_listed() -> None:
    for name in ov.pairwise.__all__:
        assert callable(getattr(ov.pairwise, name))
    assert sorted(METRICS) == sorted(metric.__name__ for metric in ov.pairwise.FORMULAS)


def test_error_bits_and_joint_errors_give_the_same(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng)
    counts = ov.JointErrors.from_errors(errors)
    for name in [*METRICS, "joint_errors", "mcnemar"]:
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
    np.testing.assert_array_equal(replaced, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    with pytest.warns(RuntimeWarning, match="relative inconsistency is undefined for 3 pairs"):
        relative = ov.pairwise.relative_inconsistency(perfect_perfect_good)
    np.testing.assert_array_equal(relative, [[np.nan, np.nan, 1], [np.nan, np.nan, 1], [1, 1, 0]])
    replaced = ov.pairwise.relative_inconsistency(perfect_perfect_good, replace_undefined_by=0.0)
    assert replaced[0, 1] == 0
    assert np.isnan(ov.pairwise.error_consistency_bounds(perfect_perfect_good)[0][0, 1])


def test_zero_denominators_are_nan() -> None:
    errors = ov.pack_errors(np.array([[0, 0], [0, 1]]), np.zeros(2, int))
    assert np.isnan(ov.pairwise.q_statistic(errors)[0, 1])
    assert np.isnan(ov.pairwise.error_correlation(errors)[0, 1])
    assert ov.pairwise.error_correlation(errors)[1, 1] == 1
    assert np.isnan(ov.pairwise.dominance(errors, conditional=True)[0, 1])  # one is always right
    assert ov.pairwise.dominance(errors)[0, 1] == 0


def test_no_sample_and_wrong_types_are_refused() -> None:
    for name in [*METRICS, "error_consistency_bounds", "mcnemar"]:
        with pytest.raises(ValueError, match="no samples"):
            getattr(ov.pairwise, name)(ov.JointErrors.empty(2))
    with pytest.raises(TypeError, match="expected ErrorBits or JointErrors, got ndarray"):
        ov.pairwise.error_inconsistency(np.zeros((2, 2)))  # type: ignore[arg-type]


def test_one_model_gives_one_by_one(rng: np.random.Generator) -> None:
    _, errors = random_errors(rng, n_models=1)
    for name, values in all_metrics(errors).items():
        assert values.shape == (1, 1), name
    assert ov.pairwise.mcnemar(errors).tolist() == [[1.0]]


def test_tensors_give_tensors(rng: np.random.Generator) -> None:
    wrong, errors = random_errors(rng)
    target = torch.zeros(wrong.shape[1], dtype=torch.int64)
    of_tensors = ov.pack_errors(torch.from_numpy(wrong.astype(int)), target)
    expected = all_metrics(errors) | {"mcnemar": ov.pairwise.mcnemar(errors)}
    results = all_metrics(of_tensors) | {"mcnemar": ov.pairwise.mcnemar(of_tensors)}
    for name, values in results.items():
        assert isinstance(values, torch.Tensor), name
        np.testing.assert_array_equal(values.numpy(), expected[name])


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
