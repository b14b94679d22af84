"""The covariance of two models' features. Its answer comes from plain numpy in float64.

Features are made anew in every process: sooner done than read from a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cases import Case, WrongAnswerError

MEAN = 100.0  # of all dimensions, whose variance is 1: float32 keeps 17 bits of the deviation
FACTORS, SHARED = 8, 0.1  # what dimensions of either model have in common, and of their variance
CHECKED_DIMS = 64  # of each model: the entries of each with each are checked
Features = tuple[np.ndarray, np.ndarray]  # (N, D) of one model, (N, D) of the other


class Covariance:
    """(D, D) covariance of each dimension of one model with each of another."""

    def make(self, folder: Path, cases: list[Case]) -> None:
        for case in cases:
            x, y = (deviations(features) for features in self.load(folder, case))
            rng = np.random.default_rng(case.dims)
            i, j = (rng.permutation(case.dims)[:CHECKED_DIMS] for _ in range(2))
            signs = rng.choice([-1.0, 1.0], case.dims)
            np.savez(
                answers(folder, case),
                i=i,
                j=j,
                entries=x[:, i].T @ y[:, j] / (case.samples - 1),
                signs=signs,
                sums=x.T @ (y @ signs) / (case.samples - 1),
                scale=x.std(axis=0),
                other_scale=y.std(axis=0),
            )

    def load(self, folder: Path, case: Case) -> Features:  # noqa: ARG002
        rng = np.random.default_rng([case.samples, case.dims])
        factors = rng.standard_normal((FACTORS, case.samples, 1), np.float32)
        factors *= np.float32(SHARED**0.5)
        return draw(rng, factors, case), draw(rng, factors, case)

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> str:
        """Tells the largest error of some entries: of one (i, j), as a share of s_i s_j.

        All others are judged by sums over rows with random signs, in which errors of one size add
        up to that size times the square root of their number.
        """
        with np.load(answers(folder, case)) as kept:
            known = dict(kept)
        found = np.asarray(contestant.form(answer, case.samples) if contestant.form else answer)
        if found.shape != (case.dims, case.dims):
            raise WrongAnswerError(f"wrong: an answer of shape {found.shape}")
        found = found.astype(np.float64)
        i, j, scale, other = (known[name] for name in ("i", "j", "scale", "other_scale"))
        of_entries = np.abs(found[np.ix_(i, j)] - known["entries"]) / np.outer(scale[i], other[j])
        of_sums = np.abs(found @ known["signs"] - known["sums"]) / (scale * np.linalg.norm(other))
        error = np.maximum(of_entries.max(), of_sums.max())  # NaN if either is
        if not error <= contestant.tolerance:
            raise WrongAnswerError(f"wrong: off by {error:.1e}")
        return f"off by {of_entries.max():.1e}"

    def amount(self, case: Case) -> float:
        """Floating-point operations of the product of the two alone."""
        return 2 * case.samples * case.dims**2


def draw(rng: np.random.Generator, factors: np.ndarray, case: Case) -> np.ndarray:
    """(N, D): without products, whose last bit depends on the number of threads."""
    found = rng.standard_normal((case.samples, case.dims), np.float32)
    found *= np.float32((1 - SHARED) ** 0.5)
    for first, factor in enumerate(factors):
        found[:, first::FACTORS] += factor
    found += np.float32(MEAN)
    return found


def deviations(features: np.ndarray) -> np.ndarray:
    """From the mean of each dimension, in float64."""
    found = features.astype(np.float64)
    found -= found.mean(axis=0)
    return found


def answers(folder: Path, case: Case) -> Path:
    return folder / f"covariance_{case.samples}_{case.dims}.npz"
