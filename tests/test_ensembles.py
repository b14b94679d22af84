"""Pair ensembles against a full scan that shares no code with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import ovcore as ov
from plain_ensembles import DTYPES, KINDS, draw, models, of_type, scores, together


@pytest.mark.parametrize("combine", ["prob", "logit"])
def test_pairs_equal_a_loop_over_samples(combine: str, rng: np.random.Generator) -> None:
    logits, target = models(rng)
    temperature = rng.uniform(0.5, 2, len(logits))
    result = ov.ensembles.pairs(logits, target, temperature=temperature, combine=combine)
    scaled = logits.astype(np.float64) / temperature[:, None, None]
    scores = softmax(scaled, axis=2) if combine == "prob" else scaled
    right = logits.argmax(axis=2) == target
    for a in range(len(logits)):
        for b in range(len(logits)):
            hit = (scores[a] + scores[b]).argmax(axis=1) == target
            assert result.hits[a, b] == hit.sum()
            one = right[a] ^ right[b]
            assert result.conversions[a, b] == (hit & one).sum()
            assert result.rescues[a, b] == (hit & ~(right[a] | right[b])).sum()
            if a != b:
                assert result.conversion_rate[a, b] == pytest.approx((hit & one).sum() / one.sum())
            accuracies = right[a].mean(), right[b].mean()
            assert result.accuracy[a, b] == pytest.approx(hit.mean())
            assert result.gain[a, b] == pytest.approx(hit.mean() - np.mean(accuracies))
            assert result.gain_over_best[a, b] == pytest.approx(hit.mean() - max(accuracies))


@pytest.mark.parametrize("combine", ["prob", "logit", "logprob"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_pairs_equal_a_full_scan_of_scores(
    dtype: str,
    combine: str,
    backend: str,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ties, exact zeros and ones, infinities; without any tolerance."""
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    for n_classes, n_samples in ((2, 65), (3, 130), (17, 90), (1000, 20)):
        for kind in KINDS:
            values, target = draw(rng, kind, 5, n_samples, n_classes)
            logits, z = of_type(values, dtype)
            temperature = rng.choice([0.5, 1.0, 3.7], 5)
            result, stats = ov.ensembles.pairs(
                logits, target, temperature=temperature, combine=combine, return_stats=True
            )
            check(result, z.argmax(axis=2), scores(z, temperature, combine), target)
            assert sum(stats) == 10 * n_samples
            own = z.argmax(axis=2)
            agreed = sum((own[a] == own[b]).sum() for a in range(5) for b in range(a))
            assert stats.agreed == agreed


def check(result: Any, own: np.ndarray, terms: np.ndarray, target: np.ndarray) -> None:
    right = own == target
    for a in range(len(own)):
        for b in range(len(own)):
            hit = together(own, terms, [a, b]) == target
            assert result.hits[a, b] == hit.sum()
            assert result.conversions[a, b] == (hit & (right[a] ^ right[b])).sum()
            assert result.rescues[a, b] == (hit & ~right[a] & ~right[b]).sum()
            assert (hit | ~(right[a] & right[b])).all()


@pytest.mark.parametrize("combine", ["prob", "logit"])
def test_stats_tell_how_pairs_were_settled(
    combine: str, fast_backend: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain logits settle at once, ties by exact sums, and classes nobody predicts by a scan."""
    monkeypatch.setenv("OVCORE_BACKEND", fast_backend)

    def settle(kind: str, n_classes: int) -> ov.ensembles.PairStats:
        logits, target = draw(rng, kind, 6, 300, n_classes)
        _, stats = ov.ensembles.pairs(logits, target, combine=combine, return_stats=True)
        assert sum(stats) == 15 * 300
        assert min(stats) >= 0
        return stats

    plain, ties, outsiders = settle("plain", 10), settle("integers", 3), settle("outsiders", 10)
    assert plain.agreed > 500
    assert plain.compared > 1000
    assert ties.summed > 100
    assert outsiders.scanned > 100


def test_a_model_twice_and_one_alone(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=2)
    one, stats = ov.ensembles.pairs(logits[:1], target, return_stats=True)
    right = int((logits[0].argmax(axis=1) == target).sum())
    assert one.hits.tolist() == [[right]]
    assert tuple(stats) == (0, 0, 0, 0)
    assert one.gain.tolist() == [[0.0]]
    twice, stats = ov.ensembles.pairs([logits[0], logits[0]], target, return_stats=True)
    assert twice.hits.tolist() == [[right, right], [right, right]]
    assert tuple(stats) == (len(target), 0, 0, 0)


def test_hits_are_accounted_for(rng: np.random.Generator) -> None:
    """hits = n11 + converted + rescued; a pair is symmetric; a model with itself is that model."""
    logits, target = models(rng, n_models=8)
    result = ov.ensembles.pairs(logits, target)
    wrong = result.errors.n_wrong()
    both_right = len(target) - wrong[:, None] - wrong[None, :] + result.errors.joint
    np.testing.assert_array_equal(result.hits, both_right + result.conversions + result.rescues)
    for matrix in (result.hits, result.conversions, result.rescues):
        np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_allclose(result.accuracy.diagonal(), result.errors.accuracy())
    assert np.isnan(result.conversion_rate.diagonal()).all()
    swapped = ov.ensembles.pairs(logits[::-1].copy(), target)
    np.testing.assert_array_equal(swapped.hits, result.hits[::-1, ::-1])


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = models(rng)
    whole = ov.ensembles.pairs(logits, target)
    monkeypatch.setattr(ov.ensembles._pairs, "_BLOCK_BYTES", 1)  # 64 samples: 6 blocks and a part
    blocked = ov.ensembles.pairs(logits, target)
    for name in ("hits", "conversions", "rescues"):
        np.testing.assert_array_equal(getattr(blocked, name), getattr(whole, name))


def test_ties_go_to_the_lowest_class() -> None:
    sure_of_0, sure_of_1 = [[0.0, -np.inf, -np.inf]], [[-np.inf, 0.0, -np.inf]]
    for target, hits in ((0, 1), (1, 0), (2, 0)):
        result = ov.ensembles.pairs(np.array([sure_of_0, sure_of_1]), np.array([target]))
        assert result.hits[0, 1] == hits


def test_float32_sums_do_not_tie_what_float64_separates() -> None:
    """Scores one step apart: their float32 sum would round to a tie and the lower class win."""
    up = np.float32(1) + np.finfo(np.float32).eps
    logits = np.array([[[1.0, up]], [[2.0**24, 2.0**24]]], np.float32)
    result = ov.ensembles.pairs(logits, np.array([1]), combine="logit")
    assert result.hits[0, 1] == 1


@pytest.mark.parametrize("combine", ["prob", "logit", "logprob"])
def test_plus_infinity_wins(combine: str) -> None:
    logits = np.array([[[np.inf, 0.0]], [[0.0, 1000.0]]])
    for target, hits in ((0, [[1, 1], [1, 0]]), (1, [[0, 0], [0, 1]])):
        result = ov.ensembles.pairs(logits, np.array([target]), combine=combine)
        assert result.hits.tolist() == hits


def test_members_sure_of_different_classes_leave_none_by_logits() -> None:
    logits = np.array([[[np.inf, 0.0, 5.0]], [[0.0, np.inf, 5.0]]])
    for target in range(3):
        result = ov.ensembles.pairs(logits, np.array([target]), combine="logit")
        assert (result.hits[0, 1], result.rescues[0, 1]) == (0, 0)
        by_mean = ov.ensembles.pairs(logits, np.array([target]))
        assert by_mean.hits[0, 1] == (target == 0)


@pytest.mark.parametrize("combine", ["prob", "logit"])
def test_logits_beyond_float32(combine: str) -> None:
    logits = np.array([[[1e300, 0.0]], [[0.0, 1.0]]])
    assert ov.ensembles.pairs(logits, np.array([0]), combine=combine).hits[0, 1] == 1
    tiny = ov.ensembles.pairs(logits, np.array([1]), temperature=1e-40, combine=combine)
    assert tiny.hits[1, 1] == 1


def test_an_offset_of_all_logits_changes_nothing(rng: np.random.Generator) -> None:
    logits, target = models(rng)
    logits = logits.astype(np.float64)
    for combine in ("prob", "logit"):
        plain = ov.ensembles.pairs(logits, target, combine=combine)
        offset = ov.ensembles.pairs(logits + 1e6, target, combine=combine)
        np.testing.assert_array_equal(offset.hits, plain.hits)


def test_models_that_agree_stay_right_where_scores_tie() -> None:
    """At T = 1000 these probabilities are the same float32; both models still predict class 1."""
    logits = np.array([[[0.0, 1e-6]], [[0.0, 1e-6]]])
    result = ov.ensembles.pairs(logits, np.array([1]), temperature=1000.0)
    assert (result.hits == 1).all()
    assert (result.gain == 0).all()


def test_where_no_class_is_left_there_is_no_hit() -> None:
    logits = np.array([[[0.0, -np.inf]], [[-np.inf, 0.0]]])
    result = ov.ensembles.pairs(logits, np.array([0]), combine="logit")
    assert result.hits.tolist() == [[1, 0], [0, 0]]


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    logits, target = models(rng)
    expected = ov.ensembles.pairs(logits, target)
    result = ov.ensembles.pairs(torch.from_numpy(logits), torch.from_numpy(target))
    for name in ("hits", "accuracy", "gain", "gain_over_best", "conversion_rate", "rescue_rate"):
        value = getattr(result, name)
        assert isinstance(value, torch.Tensor), name
        np.testing.assert_allclose(value.numpy(), getattr(expected, name), rtol=1e-15)


def test_bad_options_are_named(rng: np.random.Generator) -> None:
    logits, target = models(rng)
    with pytest.raises(ValueError, match="combine must be one of prob, logit, logprob: got 'mean'"):
        ov.ensembles.pairs(logits, target, combine="mean")
    with pytest.raises(TypeError, match="temperature must be a number or 5 numbers"):
        ov.ensembles.pairs(logits, target, temperature="warm")  # type: ignore[arg-type]
    for bad in (0.0, -1.0, np.nan, np.inf, [1.0] * 4 + [0.0]):
        with pytest.raises(ValueError, match="temperature must be positive and finite"):
            ov.ensembles.pairs(logits, target, temperature=bad)
    with pytest.raises(ValueError, match=r"temperature must be a number or \(5,\)"):
        ov.ensembles.pairs(logits, target, temperature=[1.0, 2.0])
    with pytest.raises(TypeError, match="got predicted classes"):
        ov.ensembles.pairs(np.zeros((2, 4), int), np.zeros(4, int))
    logits[3, 5, 2] = np.nan
    with pytest.raises(ValueError, match="model 3 has 1 sample without a prediction"):
        ov.ensembles.pairs(logits, target)


@pytest.mark.parametrize("name", ["breast_cancer", "iris"])
def test_real_probabilities(name: str, real_data: Any) -> None:
    """Random forests give exact 0, 1 and ties: log 0 is -inf, and ties may round either way."""
    data, references = real_data("tabular_fullprobs_dev.npz")
    reference = references[name]
    with np.errstate(divide="ignore"):
        logits = np.log(data[f"{name}_probs"])
    result = ov.ensembles.pairs(logits, data[f"{name}_labels"])
    np.testing.assert_array_equal(
        np.rint(result.errors.accuracy() * len(data[f"{name}_labels"])), reference["top1_correct"]
    )
    for first, second, correct, near_ties in reference["ensemble_pairs"]["rows"]:
        a, b = reference["names"].index(first), reference["names"].index(second)
        assert abs(int(result.hits[a, b]) - correct) <= near_ties
