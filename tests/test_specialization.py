"""Specialization of pairs of models against a loop over samples with math.atan2."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import ovcore as ov
from plain_ensembles import models

specialization = ov.ensembles.specialization
QUARTER = math.pi / 4


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def check(
    result: Any, logits: np.ndarray, target: np.ndarray, pairs: Any, temperature: Any = 1.0
) -> None:
    """Every number of a result, by a loop over the samples of every pair."""
    n_models, _, n_classes = logits.shape
    scale = np.broadcast_to(temperature, n_models)[:, None, None]
    confidence = softmax(logits.astype(np.float64) / scale, axis=2).max(axis=2)
    right = logits.argmax(axis=2) == target
    counted = [n for n in range(len(target)) if any(right[a, n] != right[b, n] for a, b in pairs)]
    assert result.n_samples == len(counted)
    assert result.pairs.tolist() == [list(pair) for pair in pairs]
    edges = result.edges
    for p, (a, b) in enumerate(pairs):
        histogram = np.zeros((4, len(edges) - 1), int)
        counts, specialized = np.zeros((n_classes, 4), int), np.zeros(n_classes, int)
        angles: dict[Any, list[float]] = {}
        for n in counted:
            theta = math.atan2(confidence[a, n], confidence[b, n]) - QUARTER
            outcome = 2 * (not right[a, n]) + (not right[b, n])
            histogram[outcome, max(i for i, edge in enumerate(edges[:-1]) if edge <= theta)] += 1
            counts[target[n], outcome] += 1
            specialized[target[n]] += (outcome == 1 and theta > 0) or (outcome == 2 and theta < 0)
            angles.setdefault(("class", target[n]), []).append(theta)
            angles.setdefault(("outcome", outcome), []).append(theta)
        np.testing.assert_array_equal(result.histogram[p], histogram)
        inconsistent = counts[:, 1] + counts[:, 2]
        share = ratio(specialized.sum(), inconsistent.sum())
        assert result.specialized[p] == pytest.approx(share, nan_ok=True)
        by_class = result.by_class(p)
        np.testing.assert_array_equal(by_class.counts, counts)
        shares = [ratio(*of_class) for of_class in zip(specialized, inconsistent, strict=True)]
        np.testing.assert_allclose(by_class.specialized, shares)
        for kind, found in (("class", by_class.mean_angle), ("outcome", result.mean_angle()[p])):
            means = [np.mean(angles.get((kind, i), [math.nan])) for i in range(len(found))]
            np.testing.assert_allclose(found, means, atol=1e-6)


def test_all_pairs_equal_a_loop_over_samples(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=4)
    temperature = rng.uniform(0.5, 2, len(logits))
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    result = specialization(logits, target, temperature=temperature)
    assert result.histogram.shape == (6, 4, 20)
    check(result, logits, target, pairs, temperature)


@pytest.mark.parametrize("base", [0, 2, 3])
def test_base_equals_a_loop_over_samples(base: int, rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=4)
    result = specialization(logits, target, base=base, bins=7)
    check(result, logits, target, [(base, m) for m in range(4) if m != base])


def test_edges_as_given(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=2)
    edges = [-QUARTER, -0.5, -0.01, 0.0, 0.3, QUARTER]
    for given in (edges, np.array(edges), torch.tensor(edges), np.array(edges, np.float32)):
        result = specialization(logits, target, bins=given)
        np.testing.assert_allclose(result.edges, edges, atol=1e-7)
        assert (result.edges[0], result.edges[-1]) == (-QUARTER, QUARTER)
        check(result, logits, target, [(0, 1)])


@pytest.mark.parametrize("bins", [1, 2, 3, 20, 31])
def test_equal_bins_are_symmetric(bins: int, rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=2, n_samples=50)
    edges = specialization(logits, target, bins=bins).edges
    np.testing.assert_allclose(np.diff(edges), 2 * QUARTER / bins)
    np.testing.assert_array_equal(edges, -edges[::-1])
    assert edges[-1] == QUARTER


def test_swapped_models_mirror_the_angle(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=2, n_samples=2000)
    result, swapped = (specialization(z, target) for z in (logits, logits[::-1].copy()))
    np.testing.assert_array_equal(swapped.histogram, result.histogram[:, [0, 2, 1, 3], ::-1])
    np.testing.assert_allclose(swapped.mean_angle(), -result.mean_angle()[:, [0, 2, 1, 3]])
    np.testing.assert_array_equal(swapped.specialized, result.specialized)
    one, other = result.by_class(0), swapped.by_class(0)
    np.testing.assert_array_equal(other.counts, one.counts[:, [0, 2, 1, 3]])
    np.testing.assert_allclose(other.mean_angle, -one.mean_angle)
    np.testing.assert_array_equal(other.specialized, one.specialized)


def test_outcomes_are_those_of_joint_errors(rng: np.random.Generator) -> None:
    """Inconsistent samples all count; of the others, those where every model is alike do not."""
    logits, target = models(rng, n_models=6)
    result = specialization(logits, target)
    errors = ov.pack_errors(logits, target)
    wrong, joint = (1 - errors.accuracy()) * len(target), ov.pairwise.joint_errors(errors)
    right = logits.argmax(axis=2) == target
    for (a, b), histogram in zip(result.pairs, result.histogram, strict=True):
        n11, n10, n01, n00 = histogram.sum(axis=1)
        assert n10 == round(wrong[b]) - joint[a, b]
        assert n01 == round(wrong[a]) - joint[a, b]
        assert n00 == joint[a, b] - (~right).all(axis=0).sum()
        assert n11 + n10 + n01 + n00 == result.n_samples
    assert result.n_samples == (right != right[0]).any(axis=0).sum()


def test_equal_confidences_are_neither_side() -> None:
    """theta = 0 is in the bin that starts there, and its model is not the more confident."""
    logits = np.array([[[2.0, 0.0], [2.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]]])
    result = specialization(logits, np.array([0, 1]), bins=2)
    assert result.histogram[0].tolist() == [[0, 0], [0, 1], [0, 1], [0, 0]]
    assert result.specialized.tolist() == [0.0]
    assert result.by_class(0).specialized.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(result.mean_angle()[0, 1:3], 0, atol=1e-12)


def test_a_temperature_decides_who_is_the_more_confident(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=2)
    first, second = (
        specialization(logits, target, temperature=t, bins=2).histogram[0]
        for t in ([0.01, 100.0], [100.0, 0.01])
    )
    assert first[:, 0].sum() == second[:, 1].sum() == 0
    np.testing.assert_array_equal(first[:, 1], second[:, 0])


def test_where_models_agree_nothing_is_counted() -> None:
    logits = np.array([[[1.0, 0.0], [1.0, 0.0]]] * 3)
    result = specialization(logits, np.array([0, 1]))
    assert result.n_samples == 0
    assert result.histogram.sum() == 0
    assert np.isnan(result.specialized).all()
    assert np.isnan(result.mean_angle()).all()
    assert result.by_class(1).counts.tolist() == [[0] * 4] * 2
    assert np.isnan(result.by_class(1).mean_angle).all()
    assert np.isnan(result.by_class(1).specialized).all()


@pytest.mark.parametrize("base", [None, 0])
def test_one_model_has_no_pairs(base: int | None) -> None:
    result = specialization(np.array([[[1.0, 0.0]]]), np.array([0]), base=base)
    assert result.pairs.shape == (0, 2)
    assert result.histogram.shape == (0, 4, 20)
    assert result.mean_angle().shape == (0, 4)
    with pytest.raises(ValueError, match="pair must be a row of pairs, 0 <= pair < 0: got 0"):
        result.by_class(0)


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=4)
    expected = specialization(logits, target)
    result = specialization(torch.from_numpy(logits), torch.from_numpy(target))
    found = {name: getattr(result, name) for name in ("pairs", "edges", "histogram", "specialized")}
    found["mean_angle"] = result.mean_angle()
    for name, value in found.items():
        assert isinstance(value, torch.Tensor), name
        of_numpy = getattr(expected, name)
        np.testing.assert_array_equal(value.numpy(), of_numpy() if callable(of_numpy) else of_numpy)
    for name in ("counts", "mean_angle", "specialized"):
        value = getattr(result.by_class(2), name)
        assert isinstance(value, torch.Tensor), name
        np.testing.assert_array_equal(value.numpy(), getattr(expected.by_class(2), name))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_element_type(dtype: str, rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=4)
    typed = torch.from_numpy(logits).to(getattr(torch, dtype))
    result = specialization(list(typed), torch.from_numpy(target))
    wide = typed.to(torch.float32 if dtype != "float64" else torch.float64).numpy()
    expected = specialization(wide, target)
    np.testing.assert_array_equal(result.histogram.numpy(), expected.histogram)


def test_bad_options_are_named(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=4)
    with pytest.raises(ValueError, match="needs at least two classes"):
        specialization(logits[:, :, :1], np.zeros_like(target))
    with pytest.raises(TypeError, match="got predicted classes"):
        specialization(np.zeros((2, 4), int), np.zeros(4, int))
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        specialization(logits, target, temperature=0.0)
    for bad_base in (4, -1):
        with pytest.raises(ValueError, match="base must be .* 0 <= base < 4: got"):
            specialization(logits, target, base=bad_base)
    for wrong_type in ("first", 1.0, True):
        with pytest.raises(TypeError, match="base must be the index of a model, got"):
            specialization(logits, target, base=wrong_type)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pair must be a row of pairs, got 0.5"):
        specialization(logits, target).by_class(0.5)  # type: ignore[arg-type]
    logits[3, 5, 2] = np.nan
    with pytest.raises(ValueError, match=r"model 3 has 1 sample without .* first at sample 5"):
        specialization(logits, target)
    logits[3, 8] = -np.inf
    with pytest.raises(ValueError, match=r"model 3 has 2 samples without .* first at sample 5"):
        specialization(logits, target, base=0)


@pytest.mark.parametrize(
    ("bins", "error", "message"),
    [
        (0, ValueError, "bins must be at least 1, got 0"),
        (True, TypeError, "bins must be a number of bins, or their edges in radians, got True"),
        (2.5, TypeError, "bins must be a number of bins, or their edges in radians, got 2.5"),
        ("auto", TypeError, "bins must be a number of bins"),
        (["a", "b"], TypeError, "bins must be a number of bins"),
        ([QUARTER], ValueError, r"bins must be \(B \+ 1,\) edges, B >= 1: got shape \(1,\)"),
        ([[-QUARTER, QUARTER]], ValueError, r"got shape \(1, 2\)"),
        ([-0.5, 0.0, 0.5], ValueError, "reach from -pi/4 to pi/4: got edges from -0.5 to 0.5"),
        ([-QUARTER, np.nan], ValueError, "reach from -pi/4 to pi/4"),
        ([-QUARTER, 0.2, 0.2, QUARTER], ValueError, "bins must be ascending edges"),
        ([-QUARTER, np.nan, QUARTER], ValueError, "bins must be ascending edges"),
        ([-QUARTER, QUARTER, QUARTER], ValueError, "bins must be ascending edges"),
    ],
)
def test_bad_bins_are_named(
    bins: Any, error: type[Exception], message: str, rng: np.random.Generator
) -> None:
    logits, target = models(rng, n_models=2, n_samples=10)
    with pytest.raises(error, match=message):
        specialization(logits, target, bins=bins)


def of_all_classes(logits: np.ndarray, temperature: np.ndarray) -> list[ov.TopK]:
    """Probabilities of every class, the best first, and the others in any order."""
    probs = softmax(logits.astype(np.float64) / temperature[:, None, None], axis=2)
    order = np.argsort(-probs, axis=2, kind="stable")
    best = np.take_along_axis(probs, order, axis=2)
    return [ov.TopK(c, p, probs.shape[2]) for c, p in zip(order, best, strict=True)]


@pytest.mark.parametrize("base", [None, 2])
def test_stored_outputs_equal_the_logits_they_are_of(
    base: int | None, rng: np.random.Generator
) -> None:
    logits, target = models(rng, n_models=4)
    temperature = rng.uniform(0.5, 2, len(logits))
    top = of_all_classes(logits, temperature)
    found = specialization(top, target, base=base)
    expected = specialization(logits, target, base=base, temperature=temperature)
    np.testing.assert_array_equal(found.pairs, expected.pairs)
    np.testing.assert_array_equal(found.histogram, expected.histogram)
    np.testing.assert_array_equal(found.specialized, expected.specialized)
    assert (found.n_samples, found.n_classes) == (expected.n_samples, expected.n_classes)
    np.testing.assert_allclose(found.mean_angle(), expected.mean_angle(), atol=1e-6)
    check(found, logits, target, found.pairs.tolist(), temperature)
    cut = [ov.TopK(t.classes[:, :1], t.probs[:, :1], t.n_classes) for t in top]
    alone = specialization(cut, target, base=base)
    np.testing.assert_array_equal(alone.histogram, found.histogram)
    shuffled = [ov.TopK(t.classes[:, ::-1], t.probs[:, ::-1], t.n_classes) for t in top]
    np.testing.assert_array_equal(
        specialization(shuffled, target, base=base).histogram, found.histogram
    )


def test_stored_outputs_of_several_models_in_one(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=3)
    top = of_all_classes(logits, np.ones(3))
    one = ov.TopK(np.stack([t.classes for t in top]), np.stack([t.probs for t in top]), 7)
    found = specialization(one, target)
    np.testing.assert_array_equal(found.histogram, specialization(top, target).histogram)


def test_ties_of_stored_outputs() -> None:
    """The lowest class is predicted; equal confidences are neither side."""
    classes = np.array([[2, 0], [1, 2]])
    one = ov.TopK(classes, np.array([[0.4, 0.4], [0.5, 0.3]]), 3)  # 0 and 1
    other = ov.TopK(classes, np.array([[0.4, 0.1], [0.2, 0.5]]), 3)  # 2 and 2
    found = specialization([one, other], np.array([0, 2]), bins=2)
    assert found.histogram[0].tolist() == [[0, 0], [0, 1], [0, 1], [0, 0]]
    assert found.specialized.tolist() == [0.0]
    assert found.by_class(0).counts.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_stored_outputs_that_do_not_serve(rng: np.random.Generator) -> None:
    logits, target = models(rng, n_models=2, n_samples=5)
    top = of_all_classes(logits, np.ones(2))
    with pytest.raises(ValueError, match="have no other temperature than 1: got 1.5"):
        specialization(top, target, temperature=[1.0, 1.5])
    raw = [ov.TopK(t.classes, 3 * t.probs, 7) for t in top]
    with pytest.raises(ValueError, match=r"stored top-k outputs combine by their prob.* in 0\.\.1"):
        specialization(raw, target)
    nothing = ov.TopK(top[1].classes, np.full((5, 7), np.nan), 7)
    with pytest.raises(ValueError, match="model 1"):
        specialization([top[0], nothing], target)
    with pytest.raises((TypeError, ValueError)):
        specialization([top[0], logits[1]], target)
