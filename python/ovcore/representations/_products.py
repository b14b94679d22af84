"""Matrix products that add to a matrix, each by the BLAS of the array's own library."""

from __future__ import annotations

import contextlib
import functools
import threading
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


_settings = threading.Lock()
_depth = 0  # calls of full_precision that are under way, on any thread
_asked: list[tuple[Any, str]] = []  # what torch was set to before the first of them


@contextlib.contextmanager
def full_precision(library: str) -> Iterator[None]:
    """While it lasts, torch multiplies float32 as float32, whatever faster form was allowed."""
    if not library.startswith("torch"):
        yield
        return
    global _depth
    torch = _arrays.namespace(library)
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        with _settings:
            if _depth == 0:
                _asked[:] = _ask_for_full_precision(torch)
            _depth += 1
        try:
            yield
        finally:
            with _settings:
                _depth -= 1
                if _depth == 0:
                    _restore(torch)


def _ask_for_full_precision(torch: Any) -> list[tuple[Any, str]]:
    """Sets it for the process, which is all that torch offers; returns what was set before."""
    if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # before torch 2.9
        before = [(None, torch.get_float32_matmul_precision())]
        torch.set_float32_matmul_precision("highest")
        return before
    forms = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    found = [(form, form.fp32_precision) for form in forms]
    for form in forms:
        form.fp32_precision = "ieee"
    return found


def _restore(torch: Any) -> None:
    for form, precision in _asked:
        if form is None:
            torch.set_float32_matmul_precision(precision)
            continue
        form.fp32_precision = "none"  # what torch.backends.fp32_precision says, whenever it changes
        if form.fp32_precision != precision:
            form.fp32_precision = precision
