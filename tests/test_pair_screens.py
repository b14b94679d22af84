"""Kernels that count a part of all pairs, or keep the few that pass, against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from on_gpu import kernels
from ovcore import _reference
from ovcore._screens import Screen

RANGES = [
    (range(40), range(40)),
    (range(3, 20), range(20, 41)),
    (range(41), range(7, 8)),
    (range(30, 41), range(12)),  # left of the diagonal
    (range(5, 25), range(15, 41)),  # across it
    (range(0), range(41)),
    (range(41, 41), range(41, 41)),
]


def bits(rng: np.random.Generator, n_models: int, n_words: int) -> np.ndarray:
    return rng.integers(0, 1 << 64, (n_models, n_words), np.uint64)


def screen(rng: np.random.Generator, n_models: int, n_words: int, slack: float) -> Screen:
    """Numbers that often tie: halves, few of them, about what the counts are."""
    usual = 16 * n_words + 1

    def few(lowest: int, highest: int) -> np.ndarray:
        return rng.integers(lowest, highest, n_models) / 2

    alpha = few(usual, 3 * usual)
    alpha[::7], alpha[3::11] = -np.inf, np.inf
    x = few(0, usual)
    x[5::9] = np.nan
    return Screen(
        sign=1.0 if rng.random() < 0.7 else -1.0,
        alpha=alpha,
        beta=rng.choice([0.0, 0.5, -0.5, 1 / 3], n_models),
        gamma=rng.choice([0.0, 0.1], n_models),
        x=x,
        y=few(0, 9),
        slack=slack,
        number=rng.permutation(n_models),
        last=rng.integers(0, n_models, n_models),
        last_x=rng.choice(x, n_models),
    )


def as_set(found: tuple[np.ndarray, ...]) -> list[tuple[int, ...]]:
    assert all(column.dtype == np.int64 for column in found)
    return sorted(zip(*(column.tolist() for column in found), strict=True))


@pytest.mark.parametrize("n_words", [0, 1, 2, 7, 16, 17, 63, 64, 65, 130])
def test_joint_errors_between_equals_the_oracle(
    backend: str, n_words: int, rng: np.random.Generator
) -> None:
    words = bits(rng, 41, n_words)
    for rows, cols in RANGES:
        found = kernels(backend).joint_errors_between(words, rows, cols, 2, None)
        expected = _reference.joint_errors_between(words, rows, cols, 1, None)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)


@pytest.mark.too_much_to_simulate
def test_joint_errors_between_of_several_blocks(
    fast_backend: str, rng: np.random.Generator
) -> None:
    words = bits(rng, 500, 33)
    expected = _reference.joint_errors(words[:460], 1, None)
    for rows, cols in ((range(193), range(193, 460)), (range(100, 400), range(50, 449))):
        found = kernels(fast_backend).joint_errors_between(words, rows, cols, 2, None)
        np.testing.assert_array_equal(found, expected[rows.start : rows.stop, cols])


@pytest.mark.parametrize("slack", [0.0, 1.5])
@pytest.mark.parametrize("n_words", [0, 1, 7, 16])
def test_screen_pairs_equals_the_oracle(
    backend: str, n_words: int, slack: float, rng: np.random.Generator
) -> None:
    n_found = 0
    for _ in range(3):
        words = bits(rng, 41, n_words)
        asked = screen(rng, 41, n_words, slack)
        for rows, cols in RANGES:
            found = as_set(kernels(backend).screen_pairs(words, rows, cols, asked, 2, None))
            expected = as_set(_reference.screen_pairs(words, rows, cols, asked, 1, None))
            assert found == expected
            n_found += len(found)
    assert n_found > 100


@pytest.mark.too_much_to_simulate
def test_screen_pairs_of_several_blocks(fast_backend: str, rng: np.random.Generator) -> None:
    words = bits(rng, 420, 3)
    asked = screen(rng, 420, 3, 0.0)
    for rows, cols in ((range(420), range(420)), (range(200), range(200, 420))):
        found = as_set(kernels(fast_backend).screen_pairs(words, rows, cols, asked, 2, None))
        assert found == as_set(_reference.screen_pairs(words, rows, cols, asked, 1, None))


def test_a_tie_with_the_last_partner_goes_to_the_lower_number(backend: str) -> None:
    """Models 1 and 2 each err with model 0 on one sample, as does the partner it has kept."""
    words = np.array([[0b111], [0b001], [0b010]], np.uint64)
    none = np.zeros(3)
    asked = Screen(
        sign=1.0,
        alpha=np.array([1.0, np.inf, np.inf]),
        beta=none,
        gamma=none,
        x=none,
        y=none,
        slack=0.0,
        number=np.array([0, 5, 7]),
        last=np.array([6, 0, 0]),
        last_x=none,
    )

    def passed(**changed: Any) -> list[tuple[int, ...]]:
        every = range(3)
        of = kernels(backend).screen_pairs
        return as_set(of(words, every, every, asked._replace(**changed), 1, None))

    assert passed() == [(0, 1, 1)]
    assert passed(last=np.array([9, 0, 0])) == [(0, 1, 1), (0, 2, 1)]
    assert passed(slack=0.1) == [(0, 1, 1)]
    assert passed(slack=0.1, last_x=np.ones(3)) == [(0, 1, 1), (0, 2, 1)]  # rounding may hide it
    assert passed(x=np.array([0, np.nan, 0])) == []


@pytest.mark.parametrize("rows", [range(-1, 2), range(4), range(2, 1)])
def test_ranges_outside_the_words_are_refused(rows: range, rng: np.random.Generator) -> None:
    native = pytest.importorskip("ovcore._native")
    with pytest.raises(ValueError, match="not within the words"):
        native.joint_errors_between(bits(rng, 3, 2), rows, range(3), 1, None)
