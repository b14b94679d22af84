"""Measures of a group of models against their definitions and the identities between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

import ovcore as ov
from ovcore import groups

MEASURES: list[Callable[[ov.ErrorBits], float]] = [
    groups.entropy,
    groups.kohavi_wolpert_variance,
    groups.interrater_agreement,
    groups.difficulty,
    groups.generalized_diversity,
    groups.coincident_failure_diversity,
]
NEED_TWO = [
    groups.entropy,
    groups.interrater_agreement,
    groups.generalized_diversity,
    groups.coincident_failure_diversity,
]


def bits(wrong: np.ndarray) -> ov.ErrorBits:
    return ov.pack_errors(wrong.astype(int), np.zeros(wrong.shape[1], int))


def random_group(rng: np.random.Generator, n_models: int, n_samples: int = 900) -> np.ndarray:
    """(L, N) which model is wrong, of unequal accuracies and dependent."""
    hard = rng.normal(size=n_samples)
    return hard + rng.normal(size=(n_models, n_samples)) > rng.normal(size=(n_models, 1))


def definitions(wrong: np.ndarray) -> list[float]:
    """Each measure of (L, N) errors, a sample at a time."""
    n_models, n_samples = wrong.shape
    right = [int((~column).sum()) for column in wrong.T]  # l_j
    p = (~wrong).mean()
    split = sum(r * (n_models - r) for r in right)
    half = n_models - math.ceil(n_models / 2)
    failing = [n_models - r for r in right]
    one_fails = sum(f / n_models for f in failing) / n_samples
    pairs = list(itertools.combinations(range(n_models), 2))
    two_fail = np.mean([(wrong[a] & wrong[b]).mean() for a, b in pairs])
    share = [sum(f == i for f in failing) / n_samples for i in range(n_models + 1)]
    return [
        sum(min(r, n_models - r) / half for r in right) / n_samples,
        split / (n_samples * n_models**2),
        1 - split / n_models / (n_samples * (n_models - 1) * p * (1 - p)),
        float(np.var([r / n_models for r in right])),
        1 - two_fail / one_fails,
        sum((n_models - i) / (n_models - 1) * share[i] for i in range(1, n_models + 1))
        / (1 - share[0]),
    ]


@pytest.mark.parametrize("n_models", [2, 3, 4, 9])
def test_every_measure_is_its_definition(n_models: int, rng: np.random.Generator) -> None:
    wrong = random_group(rng, n_models)
    errors = bits(wrong)
    n_right = (~wrong).sum(axis=0)
    histogram = groups.n_right_histogram(errors)
    assert histogram.tolist() == [int((n_right == k).sum()) for k in range(n_models + 1)]
    assert histogram.dtype == np.int64
    for measure, expected in zip(MEASURES, definitions(wrong), strict=True):
        assert measure(errors) == pytest.approx(expected, rel=1e-12), measure.__name__
        assert isinstance(measure(errors), float)


@pytest.mark.parametrize("n_models", [2, 5, 12])
def test_identities_with_mean_inconsistency(n_models: int, rng: np.random.Generator) -> None:
    wrong = random_group(rng, n_models)
    errors = bits(wrong)
    pairs = np.triu_indices(n_models, 1)
    inconsistency = ov.pairwise.error_inconsistency(errors)[pairs].mean()
    expected = (n_models - 1) / (2 * n_models) * inconsistency
    assert groups.kohavi_wolpert_variance(errors) == pytest.approx(expected, rel=1e-12)
    p = errors.accuracy().mean()
    expected = 1 - inconsistency / (2 * p * (1 - p))
    assert groups.interrater_agreement(errors) == pytest.approx(expected, rel=1e-12)


def test_extremes() -> None:
    apart = bits(np.eye(4, dtype=bool))  # one model fails on each sample
    together = bits(np.array([[1, 0, 0, 0]] * 4))
    half = bits(np.array([[1, 0], [1, 0], [0, 1], [0, 1]]))
    assert groups.generalized_diversity(apart) == 1
    assert groups.coincident_failure_diversity(apart) == 1
    assert groups.difficulty(apart) == 0
    assert groups.generalized_diversity(together) == 0
    assert groups.coincident_failure_diversity(together) == 0
    assert groups.interrater_agreement(together) == 1
    assert groups.entropy(together) == groups.kohavi_wolpert_variance(together) == 0
    assert groups.entropy(half) == 1
    assert groups.kohavi_wolpert_variance(half) == 0.25


def test_models_that_never_fail_or_always() -> None:
    perfect, hopeless = bits(np.zeros((3, 5))), bits(np.ones((3, 5)))
    assert np.isnan(groups.generalized_diversity(perfect))
    assert np.isnan(groups.interrater_agreement(perfect))
    assert np.isnan(groups.interrater_agreement(hopeless))
    assert groups.coincident_failure_diversity(perfect) == 0
    assert groups.coincident_failure_diversity(hopeless) == 0
    assert groups.generalized_diversity(hopeless) == 0


def test_one_model_has_variances_only(rng: np.random.Generator) -> None:
    wrong = random_group(rng, 1)
    errors = bits(wrong)
    assert groups.n_right_histogram(errors).tolist() == [wrong.sum(), (~wrong).sum()]
    assert groups.kohavi_wolpert_variance(errors) == 0
    assert groups.difficulty(errors) == pytest.approx(wrong.var())
    for measure in NEED_TWO:
        with pytest.raises(ValueError, match="expected a group of at least 2 models, got 1"):
            measure(errors)


def test_only_samples_that_all_models_have_count(rng: np.random.Generator) -> None:
    wrong = random_group(rng, 4)
    present = rng.random(wrong.shape) < 0.8
    logits = np.eye(2)[wrong.astype(int)]
    logits[~present] = np.nan
    errors = ov.pack_errors(logits, np.zeros(wrong.shape[1], int), nan_policy="omit")
    alone = bits(wrong[:, present.all(axis=0)])
    np.testing.assert_array_equal(groups.n_right_histogram(errors), groups.n_right_histogram(alone))
    for measure in MEASURES:
        assert measure(errors) == measure(alone)
    logits[0, present[1]] = np.nan  # now no sample is shared
    errors = ov.pack_errors(logits, np.zeros(wrong.shape[1], int), nan_policy="omit")
    assert groups.n_right_histogram(errors).tolist() == [0] * 5
    for measure in MEASURES:
        assert np.isnan(measure(errors)), measure.__name__


def test_blocks_of_samples_make_no_difference(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = bits(random_group(rng, 3, 1000))
    whole = groups.n_right_histogram(errors)
    for n_words in (1, 2, 15, 16):
        monkeypatch.setattr(groups, "_BLOCK_BYTES", 64 * 3 * n_words)
        np.testing.assert_array_equal(groups.n_right_histogram(errors), whole)
    assert whole.sum() == 1000


def test_groups_are_selected_and_tensors_give_tensors(rng: np.random.Generator) -> None:
    wrong = random_group(rng, 6)
    chosen = bits(wrong).select([1, 4, 5])
    assert groups.entropy(chosen) == groups.entropy(bits(wrong[[1, 4, 5]]))
    target = torch.zeros(wrong.shape[1], dtype=torch.int64)
    of_tensors = ov.pack_errors(torch.from_numpy(wrong.astype(int)), target)
    assert isinstance(groups.n_right_histogram(of_tensors), torch.Tensor)
    assert groups.entropy(of_tensors) == groups.entropy(bits(wrong))


def test_what_is_no_group_is_refused(rng: np.random.Generator) -> None:
    errors = bits(random_group(rng, 3))
    none = ov.ErrorBits(np.zeros((3, 0), np.uint64), 0)
    for measure in [*MEASURES, groups.n_right_histogram]:
        with pytest.raises(TypeError, match="expected ErrorBits, got JointErrors"):
            measure(ov.JointErrors.from_errors(errors))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="got 3 models and 0 samples"):
            measure(none)
