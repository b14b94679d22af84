"""Histograms of the angle between confidences: every backend against the oracle, by equality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from on_gpu import kernels
from ovcore import _reference_angles

SIZES = [0, 1, 63, 64, 65, 127, 1000]


def problem(rng: np.random.Generator, n_models: int, n_samples: int) -> tuple[Any, ...]:
    """Confidences of which many are equal or in simple ratios, all ordered pairs shuffled."""
    shape = (n_models, n_samples)
    eighths = rng.integers(1, 9, shape) / 8
    confidence = np.where(rng.random(shape) < 0.4, eighths, rng.uniform(0.01, 1, shape))
    right = rng.random(shape) < 0.7
    pairs = np.argwhere(np.ones((n_models, n_models), bool))
    keep = rng.random(n_samples) < 0.8
    return confidence.astype(np.float32), right, rng.permutation(pairs), keep


def slopes_of(n_bins: int) -> np.ndarray:
    """Those of bins of equal width, and of simple ratios in place of the nearest."""
    slopes = np.tan(np.arange(1, n_bins) / n_bins * np.pi / 2)
    for ratio in (0.25, 0.5, 1.0, 2.0, 4.0):
        if len(slopes) > 4:
            slopes[np.abs(slopes - ratio).argmin()] = ratio
    return np.sort(slopes)


def histogram(backend: str, *args: Any, workers: int = 2, progress: Any = None) -> np.ndarray:
    return kernels(backend).angle_histogram(*args, workers, progress)


@pytest.mark.parametrize("n_bins", [1, 2, 3, 4, 5, 20, 41])
@pytest.mark.parametrize("n_samples", SIZES)
def test_angle_histogram_equals_the_oracle(
    fast_backend: str, n_samples: int, n_bins: int, rng: np.random.Generator
) -> None:
    confidence, right, pairs, keep = problem(rng, 4, n_samples)
    slopes = slopes_of(n_bins)
    for kept in (keep, np.ones_like(keep), np.zeros_like(keep)):
        expected = _reference_angles.angle_histogram(
            confidence, right, pairs, slopes, kept, 1, None
        )
        found = histogram(fast_backend, confidence, right, pairs, slopes, kept)
        assert found.dtype == np.int64
        assert found.shape == (len(pairs), 4, n_bins)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found.sum(axis=(1, 2)), kept.sum())


@pytest.mark.parametrize("n_models", [0, 1, 2, 23])
def test_any_number_of_models(fast_backend: str, n_models: int, rng: np.random.Generator) -> None:
    confidence, right, pairs, keep = problem(rng, n_models, 2100)
    for some in (pairs, pairs[:0], pairs[: len(pairs) // 2]):
        expected = _reference_angles.angle_histogram(
            confidence, right, some, slopes_of(7), keep, 1, None
        )
        for workers in (1, 2, 7):
            args = (confidence, right, some, slopes_of(7), keep)
            found = histogram(fast_backend, *args, workers=workers)
            np.testing.assert_array_equal(found, expected)


def test_a_loop_over_samples(backend: str, rng: np.random.Generator) -> None:
    confidence, right, pairs, keep = problem(rng, 3, 200)
    slopes = slopes_of(6)
    expected = np.zeros((len(pairs), 4, 6), np.int64)
    for p, (first, second) in enumerate(pairs):
        for n in np.flatnonzero(keep):
            one, other = float(confidence[first, n]), float(confidence[second, n])
            reached = [slope for slope in slopes if one >= slope * other]
            outcome = [(1, 1), (1, 0), (0, 1), (0, 0)].index((right[first, n], right[second, n]))
            expected[p, outcome, len(reached)] += 1
    found = histogram(backend, confidence, right, pairs, slopes, keep)
    np.testing.assert_array_equal(found, expected)


def test_bins_are_closed_on_the_left(backend: str) -> None:
    """Equal confidences and exact ratios are in the bin that starts there, the next float below."""
    below = np.nextafter(np.float32(0.5), np.float32(0))
    first = np.array([0.5, 0.5, 0.5, below, below, below, 0.5], np.float32)
    second = np.array([1, 0.5, 0.25, 1, 0.5, 0.25, np.nextafter(np.float32(0.5), 1)], np.float32)
    right = np.ones((2, 7), bool)
    args = (right, np.array([[0, 1]]), np.array([0.5, 1.0, 2.0]), np.ones(7, bool))
    (counts,) = histogram(backend, np.stack([first, second]), *args)
    np.testing.assert_array_equal(counts[0], [1, 3, 2, 1])
    assert counts[1:].sum() == 0


def test_products_are_compared_unrounded(fast_backend: str, rng: np.random.Generator) -> None:
    """Confidences right at, above and below slope * conf_2: a rounding to float32 would show."""
    second = rng.uniform(0.1, 1, 3000).astype(np.float32)
    slopes = np.sort(rng.uniform(0.2, 3, 9))
    nearest = (rng.choice(slopes, 3000) * second).astype(np.float32)
    up, down = (np.nextafter(nearest, np.float32(to)) for to in (4, 0))
    confidence = np.stack([second, nearest, up, down])
    right = rng.random(confidence.shape) < 0.5
    args = (confidence, right, np.array([[1, 0], [2, 0], [3, 0]]), slopes, np.ones(3000, bool))
    expected = _reference_angles.angle_histogram(*args, 1, None)
    np.testing.assert_array_equal(histogram(fast_backend, *args), expected)
    assert (expected[0] != expected[2]).any()


def test_slopes_beyond_every_ratio(backend: str) -> None:
    confidence = np.array([[1.0, 0.001], [0.001, 1.0]], np.float32)
    right = np.array([[True, False], [False, True]])
    slopes = np.array([0.0, 1e-30, 1e-3, 1e30, 1e300])
    args = (confidence, right, np.array([[0, 1]]), slopes, np.ones(2, bool))
    (counts,) = histogram(backend, *args)
    expected = np.zeros((4, 6), int)
    # float32's 0.001 is above 1/1000
    expected[1, 3] = expected[2, 3] = 1
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("outcome", range(4))
def test_counts_do_not_overflow(fast_backend: str, outcome: int) -> None:
    """One outcome and bin for 200,000 samples: narrow counts on the way would run over."""
    n = 200_000
    confidence = np.stack([np.full(n, 0.9, np.float32), np.full(n, 0.3, np.float32)])
    right = np.array([[outcome < 2] * n, [outcome % 2 == 0] * n])
    args = (confidence, right, np.array([[0, 1]]), np.array([0.5, 2.0, 3.5]), np.ones(n, bool))
    (counts,) = histogram(fast_backend, *args)
    expected = np.zeros((4, 4), int)
    expected[outcome, 2] = n
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.on_host
def test_progress_is_reported(fast_backend: str, rng: np.random.Generator) -> None:
    confidence, right, pairs, keep = problem(rng, 20, 3000)
    seen: list[tuple[int, int]] = []
    args = (confidence, right, pairs, slopes_of(8), keep)
    found = histogram(fast_backend, *args, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1][0] == seen[-1][1] > 1
    np.testing.assert_array_equal(found, histogram(fast_backend, *args))
