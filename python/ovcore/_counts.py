"""What matrices of joint counts can be: refused by name where no samples could give them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_SAMPLES = 1 << 62  # sums of two stay within int64
_SLAB = 1 << 20  # entries looked at at a time, so that checks take little memory


def check_size(n_samples: object) -> None:
    """Refuses what is no number of samples."""
    if (
        not isinstance(n_samples, int | np.integer)
        or isinstance(n_samples, bool)
        or not 0 <= n_samples <= _MOST_SAMPLES
    ):
        raise ValueError(f"n_samples must be an integer >= 0 and <= 2^62, got {n_samples!r}")


def check_type(matrix: object, n_models: int | None, name: str) -> None:
    """Refuses what is no (M, M) matrix of int64."""
    if not isinstance(matrix, np.ndarray):
        raise TypeError(f"{name} must be an (M, M) int64 array, got {type(matrix).__name__}")
    shape = matrix.shape
    if len(shape) != 2 or shape[0] != shape[1] or matrix.dtype != np.int64:
        raise ValueError(f"{name} must be (M, M) int64, got {matrix.dtype} {shape}")
    if n_models is not None and len(matrix) != n_models:
        raise ValueError(f"{name} is of {len(matrix)} models but joint of {n_models}")


def check_counts(
    joint: NDArray[np.int64],
    n_samples: int,
    shared: NDArray[np.int64] | None,
    wrong_shared: NDArray[np.int64] | None,
) -> None:
    """Refuses counts that no samples could give: asymmetric, negative, or more than there are."""
    wrong = joint.diagonal()
    if len(joint) and not (wrong.min() >= 0 and wrong.max() <= n_samples):
        raise ValueError(
            f"joint must count from 0 to {n_samples} errors a model, "
            f"got {wrong.min()} to {wrong.max()}"
        )
    if (shared is None) != (wrong_shared is None):
        raise ValueError("shared and wrong_shared are given together or not at all")
    step = max(1, _SLAB // max(len(joint), 1))
    for first in range(0, len(joint), step):
        rows = slice(first, first + step)
        both = joint[rows]
        n, wrong_a, wrong_b = np.full((1, 1), n_samples), wrong[rows, None], wrong[None]
        if shared is not None and wrong_shared is not None:
            n, wrong_a, wrong_b = shared[rows], wrong_shared[rows], wrong_shared[:, rows].T
            if (n != shared[:, rows].T).any() or (n < 0).any() or (n > n_samples).any():
                raise ValueError(f"shared must be symmetric, from 0 to {n_samples}")
        right = n - wrong_a - wrong_b + both  # both right
        if (
            (both != joint[:, rows].T).any()
            or (both < 0).any()
            or (both > np.minimum(wrong_a, wrong_b)).any()
            or (right < 0).any()
        ):
            raise ValueError(
                "joint is not a matrix of joint errors: it must be symmetric, and no pair can "
                "err together more often than its better model errs, or than samples allow"
            )
    if wrong_shared is not None and (wrong_shared.diagonal() != wrong).any():
        raise ValueError("wrong_shared must have the models' own errors on its diagonal")


def check_pairs(
    joint: NDArray[np.int64],
    n_samples: int,
    agreement: NDArray[np.int64] | None,
    conversions: NDArray[np.int64] | None,
    rescues: NDArray[np.int64] | None,
) -> None:
    """Refuses counts of pairs that no samples with these joint errors could give."""
    named = {"agreement": agreement, "conversions": conversions, "rescues": rescues}
    given = {name: matrix for name, matrix in named.items() if matrix is not None}
    for name, matrix in given.items():
        check_type(matrix, len(joint), name)
    if (conversions is None) != (rescues is None):
        raise ValueError("conversions and rescues are given together or not at all")
    wrong = joint.diagonal()
    for row, n00 in enumerate(joint if given else ()):
        n11 = n_samples - wrong[row] - wrong + n00
        least_same = n11.copy()
        least_same[row] = n_samples  # a model agrees with itself
        limits = {
            "agreement": (least_same, n11 + n00, "at least n11 and at most n11 + n00"),
            "conversions": (0, n_samples - n11 - n00, "at most n10 + n01"),
            "rescues": (0, n00, "at most n00"),
        }
        for name, matrix in given.items():
            least, most, expected = limits[name]
            values = matrix[row]
            if (values != matrix[:, row]).any() or ((values < least) | (values > most)).any():
                raise ValueError(f"{name} must be symmetric and count {expected} of every pair")
