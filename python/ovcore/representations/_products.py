"""Matrix products that add to a matrix, each by the BLAS of the array's own library."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ovcore import _arrays
from ovcore._arrays import Array

_SLAB = 1 << 16  # numbers of a product that is never whole: no second matrix in memory


def add_product(total: Array, a: Array, b: Array, library: str) -> None:
    """``total += a.T @ b``; where ``b is a`` of numpy the upper triangle of it alone."""
    if library.startswith("torch"):
        total.addmm_(a.T, b)
    elif library != "numpy" or _blas() is None:
        total += a.T @ b
    else:
        # numpy's own product cannot add: what it returns would be read and written once more.
        # BLAS takes columns for rows, so it is handed total.T += b.T @ a.
        kind = "d" if total.dtype == np.float64 else "s"
        if a is b:
            update = getattr(_blas(), f"{kind}syrk")
            update(1.0, a.T, beta=1.0, c=total.T, lower=1, overwrite_c=1)
        else:
            update = getattr(_blas(), f"{kind}gemm")
            update(1.0, b.T, a.T, beta=1.0, c=total.T, trans_b=1, overwrite_c=1)


@functools.cache
def _blas() -> Any:
    """BLAS as scipy offers it, or None where scipy is not installed."""
    try:
        from scipy.linalg import blas
    except ImportError:
        return None
    return blas


def mirror(matrix: Array, library: str) -> None:
    """Copies the upper triangle to the lower one, in place."""
    xp, step = _arrays.namespace(library), 256
    for first in range(0, len(matrix), step):
        rows = slice(first, first + step)
        square = matrix[rows, rows]
        matrix[rows, rows] = xp.triu(square) + xp.triu(square, 1).T
        matrix[first + step :, rows] = matrix[rows, first + step :].T


def add_outer(matrix: Array, u: Array, v: Array) -> None:
    """``matrix += outer(u, v)``."""
    step = max(1, _SLAB // len(v))
    for first in range(0, len(u), step):
        rows = slice(first, first + step)
        matrix[rows] += u[rows, None] * v


@contextlib.contextmanager
def full_precision(library: str) -> Iterator[None]:
    """While it lasts, torch multiplies float32 as float32, whatever faster form was allowed."""
    if not library.startswith("torch"):
        yield
        return
    torch = _arrays.namespace(library)
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # before torch 2.9
            allowed = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            try:
                yield
            finally:
                torch.set_float32_matmul_precision(allowed)
            return
        forms = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
        before = [form.fp32_precision for form in forms]
        try:
            for form in forms:
                form.fp32_precision = "ieee"
            yield
        finally:
            for form, precision in zip(forms, before, strict=True):
                form.fp32_precision = precision
