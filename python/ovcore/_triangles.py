"""Symmetric matrices as flat rows of what does not repeat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def size(m: int) -> int:
    """Elements of an (m, m) matrix on its diagonal and above."""
    return m * (m + 1) // 2


def write(matrix: NDArray[np.int64], flat: NDArray[np.int64]) -> None:
    """The upper triangle of a symmetric matrix into (size,), row by row, diagonal included."""
    for row, there in _rows(len(matrix)):
        flat[there] = matrix[row, row:]


def read(flat: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    """The matrix again."""
    matrix = np.empty((m, m), np.int64)
    for row, there in _rows(m):
        matrix[row, row:] = matrix[row:, row] = flat[there]
    return matrix


def _rows(m: int) -> Iterator[tuple[int, slice]]:
    """Each row, and where its elements from the diagonal on lie: no index a matrix element."""
    first = 0
    for row in range(m):
        yield row, slice(first, first + m - row)
        first += m - row
