"""Rankings and mixtures of features against plain loops and by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.linalg
import torch

from ovcore.representations import Moments, mix_features, mixed_dimensions, rank_features
from ovcore.representations._ranking import SCORES


def with_covariance(matrix: Sequence[Sequence[float]], rng: np.random.Generator) -> np.ndarray:
    """(50, D) features of that covariance, and of some mean."""
    deviations = rng.normal(size=(50, len(matrix)))
    deviations, _ = np.linalg.qr(deviations - deviations.mean(0))
    return 7 * deviations @ np.linalg.cholesky(np.array(matrix, float)).T + rng.normal(
        size=len(matrix)
    )


def by_loop(matrix: np.ndarray, model: Sequence[int], score: str) -> list[float]:
    """Scores of dimensions from their covariance; model: whose each of them is."""
    found = []
    for j in range(len(matrix)):
        if matrix[j, j] <= 0:
            found.append(np.nan)
            continue
        shared = []
        for i in range(len(matrix)):
            scale = 1.0 if score == "raw" else (matrix[i, i] * matrix[j, j]) ** 0.5
            apart = model[i] != model[j] if score == "cross" else i != j
            shared.append(abs(matrix[i, j]) / scale if apart and matrix[i, i] > 0 else 0.0)
        reduced = max(shared) if score == "max" else sum(shared)
        found.append(matrix[j, j] if score == "variance" else reduced)
    return found


HAND_MADE = [[4.0, 1, -1, 0], [1, 1, 0, 0.5], [-1, 0, 1, 0.25], [0, 0.5, 0.25, 9]]
BY_HAND = {  # correlations: 1/2, -1/2, 0; 0, 1/6; 1/12. Orders where scores differ
    "sum": ([1, 2 / 3, 7 / 12, 1 / 4], [3, 2, 1, 0]),
    "cross": ([1 / 2, 1 / 6, 1 / 2, 1 / 6], None),  # of {0, 1} and {2, 3}
    "max": ([1 / 2, 1 / 2, 1 / 2, 1 / 6], None),
    "raw": ([2, 1.5, 1.25, 0.75], [3, 2, 1, 0]),
    "variance": ([4, 1, 1, 9], None),
}


@pytest.mark.parametrize("score", SCORES)
def test_by_hand(score: str, rng: np.random.Generator) -> None:
    x = with_covariance(HAND_MADE, rng)
    scores, order = BY_HAND[score]
    found = rank_features(x[:, :2], x[:, 2:], score=score)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-12)
    np.testing.assert_allclose(scores, by_loop(np.array(HAND_MADE), [0, 0, 1, 1], score))
    assert sorted(found.order) == [0, 1, 2, 3]
    if order is not None:
        assert found.order.tolist() == order
    assert (found.score, found.n_constant, found.sizes) == (score, 0, (2, 2))
    assert (found.order.dtype, found.scores.dtype) == (np.int64, np.float64)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_scores_are_those_of_a_plain_loop(
    score: str, dtype: Any, backend: str, rng: np.random.Generator
) -> None:
    x = rng.normal(0, [1, 2, 3, 0.1, 5, 1, 1, 9], (400, 8)) @ rng.normal(size=(8, 8))
    x = x.astype(dtype)
    x[:, 5] = 0.1
    model = [0, 0, 0, 1, 2, 2, 2, 2]
    matrix = np.cov(x.astype(float), rowvar=False)
    matrix[5] = matrix[:, 5] = 0  # to the bit
    expected = by_loop(matrix, model, score)
    found = rank_features([x[:, :3], x[:, 3:4], x[:, 4:]], score=score, backend=backend)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-10)
    assert found.order.tolist() == sorted(range(8), key=lambda j: (j == 5, expected[j]))
    assert (found.n_constant, found.sizes) == (1, (3, 1, 4))


def test_equal_scores_keep_their_order_and_constants_come_last() -> None:
    """Columns of a Hadamard matrix: they share nothing with each other, to the bit."""
    of_signs = scipy.linalg.hadamard(16).astype(float)
    one, two, three, four = of_signs[:, 1:5].T
    flat = np.full(16, 0.1)
    x = np.stack([flat, one, two, one, three, flat, 2 * two, four], axis=1)
    for score, order in {
        "sum": [4, 7, 1, 2, 3, 6],  # three and four share nothing, the rest 1 each
        "max": [4, 7, 1, 2, 3, 6],
        "raw": [4, 7, 1, 3, 2, 6],
        "variance": [1, 2, 3, 4, 7, 6],
    }.items():
        found = rank_features(x, score=score)
        assert found.order.tolist() == [*order, 0, 5], score
        assert np.isnan(found.scores[[0, 5]]).all()
        assert found.n_constant == 2
    cross = rank_features(x[:, :3], x[:, 3:], score="cross")
    assert cross.order.tolist() == [4, 7, 1, 2, 3, 6, 0, 5]
    np.testing.assert_array_equal(cross.scores[1:5], [1, 1, 1, 0])
    within = rank_features([x[:, [1, 3]], x[:, [4, 7]]], score="cross")
    assert within.order.tolist() == [0, 1, 2, 3]
    assert not within.scores.any()


def test_all_constant() -> None:
    found = rank_features(np.tile([0.1, 3, -7], (20, 1)), score="sum")
    assert found.order.tolist() == [0, 1, 2]
    assert np.isnan(found.scores).all()
    assert found.n_constant == 3


def test_duplicates_score_the_same(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 40)).astype(np.float32)
    for score in ("sum", "max"):
        found = rank_features([x, x], score=score)
        np.testing.assert_allclose(found.scores[:40], found.scores[40:], rtol=1e-12)
        assert (found.scores >= 1 - 1e-12).all()
    np.testing.assert_allclose(found.scores, 1, rtol=1e-12)


def test_standardised_scores_know_no_units(rng: np.random.Generator) -> None:
    x = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12))
    units = np.logspace(-6, 6, 12)
    for score in ("sum", "max"):
        found, expected = rank_features(x * units + 5, score=score), rank_features(x, score=score)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-9)
    assert rank_features(x * units, score="variance").order.tolist() == list(range(12))


@pytest.mark.parametrize("score", SCORES)
def test_moments_lists_and_pairs_give_one_ranking(score: str, rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(200, 5)), rng.normal(size=(200, 3))
    x[:, 1] = 2
    expected = rank_features(x, y, score=score)
    total = Moments()
    for rows in (slice(1), slice(1, 90), slice(90, None)):
        total += Moments.from_features([x[rows], y[rows]])
    before = total.comoment.copy()
    for found in (
        rank_features([x, y], score=score),
        rank_features((x,), y, score=score),
        rank_features(total, score=score),
    ):
        np.testing.assert_array_equal(found.order, expected.order)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-12)
        assert found.sizes == (5, 3)
    np.testing.assert_array_equal(total.comoment, before)
    three = rank_features([x, y], x[:, :1] + y[:, :1], score=score)
    assert (three.sizes, len(three.order)) == ((5, 3, 1), 9)
    tensors = rank_features(torch.from_numpy(x), torch.from_numpy(y), score=score)
    assert (tensors.order.dtype, tensors.scores.dtype) == (torch.int64, torch.float64)
    np.testing.assert_array_equal(tensors.order.numpy(), expected.order)
    np.testing.assert_allclose(tensors.scores.numpy(), expected.scores, rtol=1e-12)


X = np.arange(12.0).reshape(4, 3) ** 2
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "score": (
        lambda: rank_features(X, score="mean"),
        ValueError,
        "score must be one of sum, cross, max, raw, variance, got 'mean'",
    ),
    "cross of one": (
        lambda: rank_features(X, score="cross"), ValueError, "needs features of at least two models"
    ),
    "moments and other": (
        lambda: rank_features(Moments.from_features(X), X), ValueError, "other must be among"
    ),
    "moments of two sides": (
        lambda: rank_features(Moments.from_features(X, X)), ValueError, "takes moments of one side"
    ),
    "no moments": (lambda: rank_features(Moments()), ValueError, "at least two samples, got 0"),
    "one sample": (lambda: rank_features(X[:1]), ValueError, "at least two samples, got 1"),
    "integers": (lambda: rank_features(X.astype(int)), TypeError, "^features must be .* got int64"),
    "integers of other": (lambda: rank_features(X, X > 3), TypeError, "^other must be .* got bool"),
    "samples": (
        lambda: rank_features(X, X[:3]), ValueError, "features has 4 samples but other has 3"
    ),
    "libraries": (
        lambda: rank_features(X, torch.ones(4, 2)), ValueError, "of numpy but other of torch"
    ),
    "NaN": (lambda: rank_features(X * np.nan), ValueError, "features has NaN"),
    "rate": (lambda: mix_features(X, X, rate=1.1), ValueError, "rate must be between 0 and 1"),
    "rate below": (lambda: mixed_dimensions(3, 3, rate=-0.1), ValueError, "got -0.1"),
    "rate of NaN": (lambda: mixed_dimensions(3, 3, rate=np.nan), ValueError, "got nan"),
    "none left": (
        lambda: mixed_dimensions(1, 1, rate=0.5), ValueError, "rate = 0.5 of 1 and 1 .* takes none"
    ),
    "types": (
        lambda: mix_features(X, X.astype("f4"), rate=0.5),
        TypeError,
        "base is float64 but other is float32",
    ),
    "mixed samples": (
        lambda: mix_features(X, X[:3], rate=0.5), ValueError, "base has 4 samples but other has 3"
    ),
    "mixed libraries": (
        lambda: mix_features(X, torch.ones(4, 2), rate=0.5), ValueError, "of numpy but other"
    ),
    "mixed integers": (lambda: mix_features(X, X > 3, rate=0.5), TypeError, "^other must be"),
    "several": (lambda: mix_features([X, X], X, rate=0.5), ValueError, r"shape \(2, 4, 3\)"),
    "gradients": (
        lambda: mix_features(torch.ones(4, 2, requires_grad=True), torch.ones(4, 2), rate=0.5),
        ValueError,
        "base requires grad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("sizes", "rate", "expected"),
    [
        ((10, 10), 0.0, (0, 10)),
        ((10, 10), 0.1, (1, 9)),
        ((10, 10), 0.5, (5, 5)),
        ((10, 10), 1.0, (10, 0)),
        ((10, 4), 0.0, (0, 4)),
        ((10, 4), 0.1, (1, 4)),  # 3.6
        ((10, 4), 0.5, (5, 2)),
        ((10, 40), 0.0, (0, 10)),  # no more than the base has
        ((10, 40), 0.1, (1, 9)),
        ((10, 40), 0.5, (5, 5)),
        ((10, 40), 1.0, (10, 0)),
        ((7, 7), 0.5, (4, 3)),  # 3.5 and what is left
    ],
)
def test_sizes_of_mixtures(
    sizes: tuple[int, int], rate: float, expected: tuple[int, int], rng: np.random.Generator
) -> None:
    for seed in range(5):
        chosen = mixed_dimensions(*sizes, rate=rate, seed=seed)
        own = chosen[chosen < sizes[0]]
        assert (len(own), len(chosen) - len(own)) == expected
        assert len(chosen) <= sizes[0]
        assert (np.diff(chosen) > 0).all()  # none twice
        assert chosen.min() >= 0
        assert chosen.max() < sum(sizes)
    if rate in (0, 1) and sizes[1] <= sizes[0]:
        given = [rng.normal(size=(6, size)) for size in sizes]
        np.testing.assert_array_equal(mix_features(*given, rate=rate), given[int(rate == 0)])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "tensor"])
def test_columns_of_mixtures_are_those_of_the_models(dtype: str, rng: np.random.Generator) -> None:
    kind = {"bfloat16": ml_dtypes.bfloat16, "tensor": np.float32}.get(dtype, dtype)
    base, other = (rng.normal(size=(30, size)).astype(kind) for size in (9, 14))
    both = np.concatenate([base, other], axis=1)
    given = [
        torch.from_numpy(x).to(torch.bfloat16) if dtype == "tensor" else x for x in (base, other)
    ]
    for rate in (0, 0.3, 0.5, 1):
        for seed in (0, 1):
            found = mix_features(*given, rate=rate, seed=seed)
            expected = both[:, mixed_dimensions(9, 14, rate=rate, seed=seed)]
            assert (found.dtype, tuple(found.shape)) == (given[0].dtype, expected.shape)
            if dtype == "tensor":
                expected = torch.from_numpy(expected).to(torch.bfloat16)
                assert torch.equal(found, expected)
            else:
                np.testing.assert_array_equal(found, expected)
    found[:] = 0
    np.testing.assert_array_equal(both[:, :9], base)  # what is given out is a copy


def test_seeds_choose_every_dimension_as_often() -> None:
    draws = [tuple(mixed_dimensions(8, 12, rate=0.5, seed=seed)) for seed in range(400)]
    assert draws == [tuple(mixed_dimensions(8, 12, rate=0.5, seed=seed)) for seed in range(400)]
    assert len(set(draws)) > 390  # of 70 x 495
    often = np.bincount(np.concatenate(draws), minlength=20)
    assert abs(often[:8] - 200).max() < 50  # 5 standard errors
    assert abs(often[8:] - 133).max() < 47
    pairs = [(0 in draw, 8 in draw) for draw in draws]
    assert abs(np.corrcoef(np.transpose(pairs))[0, 1]) < 0.25  # one model's choice tells nothing


@pytest.mark.parametrize("score", ["sum", "cross", "max", "raw", "variance"])
def test_twins_keep_their_order(score: str, rng: np.random.Generator) -> None:
    features = rng.standard_normal((200, 37))
    place = np.argsort(rank_features([features, features], score=score).order)
    assert (place[:37] < place[37:]).all()
