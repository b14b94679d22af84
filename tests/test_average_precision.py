"""Average precision against hand-made cases, exact fractions and scikit-learn's curves."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve

from ovcore.representations._precision import (
    MeanAveragePrecision,
    average_precision_11pt,
    average_precision_area,
    mean_average_precision,
)

BOTH = [
    pytest.param(average_precision_11pt, id="11pt"),
    pytest.param(average_precision_area, id="area"),
]


def column(*values: Any) -> np.ndarray:
    """One class: (N, 1)."""
    return np.array(values)[:, None]


def ranked(*positive: int) -> tuple[np.ndarray, np.ndarray]:
    """Falling scores without ties, and the targets in that order."""
    return column(*range(len(positive), 0, -1)).astype(float), column(*positive)


def exact(scores: np.ndarray, positive: np.ndarray) -> tuple[Fraction, Fraction]:
    """11-point AP and area of one class (N,) by their definitions, each threshold on its own."""
    n_positive = int(positive.sum())
    points = []  # recall, precision
    for threshold in set(scores.tolist()):
        found = [bool(y) for s, y in zip(scores, positive, strict=True) if s >= threshold]
        points.append((Fraction(sum(found), n_positive), Fraction(sum(found), len(found))))
    at = [max(p for r, p in points if r >= Fraction(k, 10)) for k in range(11)]
    steps = [
        max(p for r, p in points if r >= Fraction(i, n_positive)) for i in range(1, n_positive + 1)
    ]
    return sum(at, Fraction(0)) / 11, sum(steps, Fraction(0)) / n_positive


def of_scikit_learn(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """11-point AP and area of one class (N,) from the curve that scikit-learn draws."""
    precision, recall, _ = precision_recall_curve(positive, scores)
    precision, recall = precision[:-1], recall[:-1]  # less the point it adds: precision 1, recall 0
    n_positive = int(positive.sum())
    exact_recall = [Fraction(round(r * n_positive), n_positive) for r in recall]
    eleven = [
        max(p for p, r in zip(precision, exact_recall, strict=True) if r >= Fraction(k, 10))
        for k in range(11)
    ]
    envelope = np.maximum.accumulate(precision)  # from the highest recall down
    return float(np.mean(eleven)), float(-np.sum(np.diff(recall, append=0) * envelope))


@pytest.mark.parametrize("n_positive", [10, 20, 30])
@pytest.mark.parametrize("tenths", range(11))
def test_thresholds_are_reached_exactly(tenths: int, n_positive: int) -> None:
    first = tenths * n_positive // 10
    scores, target = ranked(*[1] * first, *[0] * n_positive, *[1] * (n_positive - first))
    reached = tenths + 1 if tenths else 0  # by the positives before the first negative
    expected = (reached + (11 - reached) * 0.5) / 11  # all are found among twice as many
    assert average_precision_11pt(scores, target)[0] == pytest.approx(expected, rel=1e-14)
    in_floats = first / n_positive >= np.linspace(0, 1, 11)[tenths]
    assert in_floats == (tenths not in (3, 6, 7))  # the trap that this is about


def test_precision_is_the_largest_at_that_recall_or_a_higher_one() -> None:
    scores, target = ranked(0, 1, 1, 1)
    assert average_precision_11pt(scores, target)[0] == pytest.approx(3 / 4)
    assert average_precision_area(scores, target)[0] == pytest.approx(3 / 4)
    scores, target = ranked(1, 0, 0, 1)
    assert average_precision_11pt(scores, target)[0] == pytest.approx((6 + 5 * 0.5) / 11)
    assert average_precision_area(scores, target)[0] == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize("average_precision", BOTH)
def test_perfect_and_worst_rankings(average_precision: Any) -> None:
    for n in (1, 2, 63, 64, 65):
        perfect = ranked(*[1] * n, *[0] * 7)
        assert average_precision(*perfect).tolist() == [1.0]
        worst = ranked(*[0] * 7, *[1] * n)  # the best precision comes last
        assert average_precision(*worst)[0] == pytest.approx(n / (n + 7), rel=1e-14)
        every = ranked(*[1] * n)
        assert average_precision(*every).tolist() == [1.0]


@pytest.mark.parametrize("average_precision", BOTH)
def test_one_sample(average_precision: Any) -> None:
    result = average_precision(np.array([[0.3, 0.7]]), np.array([[1, 0]]))
    np.testing.assert_array_equal(result, [1, np.nan])
    assert result.dtype == np.float64


@pytest.mark.parametrize("average_precision", BOTH)
def test_ties_enter_together_whatever_the_order(
    average_precision: Any, rng: np.random.Generator
) -> None:
    assert average_precision(column(0.5, 0.5, 0.5, 0.5), column(1, 0, 0, 0)).tolist() == [0.25]
    assert average_precision(column(0.0, -0.0), column(0, 1)).tolist() == [0.5]
    scores = column(0.9, 0.5, 0.5, 0.5, 0.1)
    target = column(1, 1, 0, 0, 0)
    expected = {average_precision_11pt: (6 + 5 * 0.5) / 11, average_precision_area: 0.75}
    for _ in range(20):
        order = rng.permutation(5)
        result = average_precision(scores[order], target[order])
        assert result[0] == pytest.approx(expected[average_precision], rel=1e-14)


@pytest.mark.parametrize("average_precision", BOTH)
def test_the_order_of_samples_does_not_matter(
    average_precision: Any, rng: np.random.Generator
) -> None:
    scores = rng.integers(0, 9, (200, 4)).astype(float)
    target, difficult = rng.random((200, 4)) < 0.3, rng.random((200, 4)) < 0.2
    expected = average_precision(scores, target, difficult=difficult)
    for _ in range(5):
        order = rng.permutation(200)
        result = average_precision(scores[order], target[order], difficult=difficult[order])
        np.testing.assert_array_equal(result, expected)


def test_difficult_samples_are_left_out_for_their_class_alone() -> None:
    scores = np.array([[0.9, 0.9], [0.8, 0.8], [0.7, 0.7], [0.6, 0.6]])
    target = np.array([[0, 0], [1, 1], [1, 1], [0, 0]])
    difficult = np.zeros((4, 2), bool)
    difficult[0, 0] = True  # a negative that came first
    results = [
        average_precision_area(scores, target, difficult=marks).tolist()
        for marks in (difficult, difficult.astype(np.uint8), torch.from_numpy(difficult))
    ]
    assert results == [[1, pytest.approx(2 / 3)]] * 3
    difficult = np.zeros((4, 2), bool)
    difficult[2, 1] = True  # a positive, which is then not missed either
    result = average_precision_11pt(scores, target, difficult=difficult)
    np.testing.assert_allclose(result, [2 / 3, 1 / 2], rtol=1e-14)
    difficult[1, 1] = True  # class 1 has no other
    for area in (False, True):
        found = mean_average_precision(scores, target, difficult=difficult, area=area)
        np.testing.assert_allclose(found.per_class, [2 / 3, np.nan], rtol=1e-14)
        assert found.value == pytest.approx(2 / 3)
        assert found.n_without_positives == 1
    difficult[:, 1] = True
    result = average_precision_11pt(scores, target, difficult=difficult)
    assert np.isnan(result[1])


def test_leaving_samples_out_is_as_not_having_them(rng: np.random.Generator) -> None:
    scores = rng.integers(0, 9, (100, 3)).astype(float)
    target, difficult = rng.random((100, 3)) < 0.4, rng.random((100, 3)) < 0.3
    for average_precision in (average_precision_11pt, average_precision_area):
        result = average_precision(scores, target, difficult=difficult)
        for k in range(3):
            kept = ~difficult[:, k]
            alone = average_precision(scores[kept, k : k + 1], target[kept, k : k + 1])
            assert result[k] == alone[0]


def test_classes_without_positives_are_counted_and_not_averaged() -> None:
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.5], [0.7, 0.3, 0.5]])
    target = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    found = mean_average_precision(scores, target)
    assert isinstance(found, MeanAveragePrecision)
    assert type(found.value) is float
    assert (found.value, found.n_without_positives) == (0.75, 1)
    np.testing.assert_array_equal(found.per_class, [1, 0.5, np.nan])
    found = mean_average_precision(scores, np.zeros((3, 3), int))
    assert np.isnan(found.value)
    assert found.n_without_positives == 3
    assert np.isnan(found.per_class).all()


def test_the_mean_is_of_what_was_asked_for(rng: np.random.Generator) -> None:
    scores, target = rng.normal(size=(50, 6)), rng.random((50, 6)) < 0.3
    eleven, area = (mean_average_precision(scores, target, area=a) for a in (False, True))
    np.testing.assert_array_equal(eleven.per_class, average_precision_11pt(scores, target))
    np.testing.assert_array_equal(area.per_class, average_precision_area(scores, target))
    assert eleven.value == pytest.approx(eleven.per_class.mean())
    assert area.value == pytest.approx(area.per_class.mean())
    assert eleven.value != area.value


@pytest.mark.parametrize("levels", [1, 2, 4, 1000], ids=lambda levels: f"{levels}_scores")
def test_small_problems_with_ties_equal_exact_fractions(
    levels: int, rng: np.random.Generator
) -> None:
    for n_samples in (1, 2, 3, 10, 21):
        for share in (0.1, 0.5, 0.9):
            scores = rng.integers(0, levels, (n_samples, 8)).astype(float)
            target = rng.random((n_samples, 8)) < share
            eleven, area = (
                average_precision_11pt(scores, target),
                average_precision_area(scores, target),
            )
            for k in range(8):
                if not target[:, k].any():
                    assert np.isnan(eleven[k])
                    assert np.isnan(area[k])
                    continue
                expected = exact(scores[:, k], target[:, k])
                assert eleven[k] == pytest.approx(float(expected[0]), rel=1e-14)
                assert area[k] == pytest.approx(float(expected[1]), rel=1e-14)


@pytest.mark.parametrize("n_samples", [63, 64, 65, 1000])
def test_random_problems_equal_the_curves_of_scikit_learn(
    n_samples: int, rng: np.random.Generator
) -> None:
    target = rng.random((n_samples, 7)) < np.linspace(0.05, 0.9, 7)
    target[0] = True
    scores = rng.normal(size=(n_samples, 7)) + target
    assert all(len(np.unique(scores[:, k])) == n_samples for k in range(7))  # no ties
    eleven, area = average_precision_11pt(scores, target), average_precision_area(scores, target)
    for k in range(7):
        expected = of_scikit_learn(scores[:, k], target[:, k])
        assert eleven[k] == pytest.approx(expected[0], rel=1e-13)
        assert area[k] == pytest.approx(expected[1], rel=1e-12)
        assert area[k] >= average_precision_score(target[:, k], scores[:, k]) - 1e-12


@pytest.mark.parametrize("average_precision", BOTH)
def test_infinite_scores_are_ordinary(average_precision: Any) -> None:
    infinite = column(np.inf, 1.0, 0.0, np.inf, -np.inf, -np.inf)
    finite = column(9.0, 1.0, 0.0, 9.0, -9.0, -9.0)
    target = column(1, 0, 1, 0, 1, 0)
    result = average_precision(infinite, target)
    assert result.tolist() == average_precision(finite, target).tolist()


@pytest.mark.parametrize("average_precision", BOTH)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, ">f8"])
def test_other_element_types(average_precision: Any, dtype: Any, rng: np.random.Generator) -> None:
    scores = rng.normal(size=(65, 3)).astype(dtype)
    target = rng.random((65, 3)) < 0.4
    expected = average_precision(scores.astype(np.float64), target)
    result = average_precision(scores, target)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(
        average_precision(scores[:, ::-1], target[:, ::-1]), expected[::-1]
    )


@pytest.mark.parametrize("average_precision", BOTH)
def test_targets_are_truth_values_or_integers(
    average_precision: Any, rng: np.random.Generator
) -> None:
    scores, target = rng.normal(size=(30, 3)), rng.random((30, 3)) < 0.4
    expected = average_precision(scores, target)
    for dtype in (np.int64, np.uint8, np.int8, ">i4"):
        np.testing.assert_array_equal(average_precision(scores, target.astype(dtype)), expected)
    np.testing.assert_array_equal(average_precision(scores.tolist(), target.tolist()), expected)


def test_tensors_give_tensors(rng: np.random.Generator) -> None:
    scores = torch.from_numpy(rng.normal(size=(40, 3))).bfloat16()
    target = torch.from_numpy(rng.random((40, 3)) < 0.4)
    expected = scores.double().numpy(), target.numpy()
    for average_precision in (average_precision_11pt, average_precision_area):
        result = average_precision(scores, target)
        assert isinstance(result, torch.Tensor)
        assert result.dtype == torch.float64
        np.testing.assert_array_equal(result.numpy(), average_precision(*expected))
    found = mean_average_precision(scores, target.long())
    assert isinstance(found.per_class, torch.Tensor)
    assert type(found.value) is float
    assert isinstance(average_precision_11pt(expected[0], target), np.ndarray)  # as the scores


class OnGpu:
    """What an array on a GPU says of itself."""

    shape, dtype = (4, 3), np.dtype(np.float32)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


GOOD = np.zeros((4, 3))
MARKS = np.zeros((4, 3), int)


@pytest.mark.parametrize(
    ("scores", "target", "error", "message"),
    [
        (GOOD[0], MARKS[0], ValueError, r"scores must be \(N, K\) .* got shape \(3,\)"),
        (GOOD[:0], MARKS[:0], ValueError, r"at least one sample .* got shape \(0, 3\)"),
        (GOOD[:, :0], MARKS[:, :0], ValueError, r"and one class, got shape \(4, 0\)"),
        (MARKS, MARKS, TypeError, "scores must be floating, got int64"),
        (GOOD, MARKS[:, 0], ValueError, r"NAME must be \(N, K\) .* got shape \(4,\)"),
        (GOOD, MARKS[:3], ValueError, "scores has 4 samples but NAME has 3"),
        (GOOD, MARKS[:, :2], ValueError, "scores has 3 classes but NAME has 2"),
        (GOOD, MARKS[:1], ValueError, "scores has 4 samples but NAME has 1"),
        (GOOD, GOOD, TypeError, "NAME must be truth values or integers 0 and 1, got float64"),
        (GOOD, GOOD.astype(ml_dtypes.bfloat16), TypeError, "integers 0 and 1, got bfloat16"),
        (
            GOOD,
            np.array([[0, 0, 0], [0, 1, -1], [0, 2, 0], [1, 1, 1]]),
            ValueError,
            r"NAME\[1, 2\] is -1, expected 0 or 1 \(2 of 12 are neither\)",
        ),
        (OnGpu(), MARKS, ValueError, r"scores is on cuda:0, but average precision is computed in"),
        (GOOD, OnGpu(), ValueError, r"NAME is on cuda:0, but they are read in host memory"),
    ],
    ids=[
        "one_axis",
        "no_sample",
        "no_class",
        "integer_scores",
        "marks_of_one_axis",
        "other_samples",
        "other_classes",
        "no_broadcasting",
        "floating_marks",
        "16_bit_marks",
        "marks_of_other_values",
        "scores_on_gpu",
        "marks_on_gpu",
    ],
)
def test_bad_input_is_named(scores: Any, target: Any, error: type[Exception], message: str) -> None:
    for average_precision in (
        average_precision_11pt,
        average_precision_area,
        mean_average_precision,
    ):
        with pytest.raises(error, match=message.replace("NAME", "target")):
            average_precision(scores, target)
        if "NAME" in message:
            with pytest.raises(error, match=message.replace("NAME", "difficult")):
                average_precision(scores, MARKS, difficult=target)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_nan_is_named_even_of_a_difficult_sample(dtype: Any) -> None:
    scores = GOOD.copy()
    scores[[1, 3], 2] = np.nan
    difficult = np.isnan(scores)
    for marks in (None, difficult):
        with pytest.raises(
            ValueError, match="scores of class 2 are NaN for 2 of 4 samples, first at sample 1"
        ):
            average_precision_11pt(scores.astype(dtype), MARKS, difficult=marks)


def test_scores_that_require_grad_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pass scores\.detach\(\)"):
        average_precision_11pt(torch.zeros(4, 3, requires_grad=True), MARKS)
