"""What covariance refuses, by name, and that nothing warns on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import ovcore as ov
from ovcore.representations import Moments, _features, _products, cka, covariance

of = Moments.from_features

X = np.arange(12.0).reshape(4, 3)
NAN = np.where(X == 7, np.nan, X)
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "NaN": (
        lambda: covariance(NAN),
        ValueError,
        r"^features has NaN or infinite values in 1 of 3 dimensions, first in dimension 1$",
    ),
    "NaN in the other": (lambda: covariance(X, NAN), ValueError, "^other has NaN .* dimension 1$"),
    "NaN in the second of several": (
        lambda: covariance([X, NAN]),
        ValueError,
        "^features has NaN or infinite values in 1 of 6 dimensions, first in dimension 4$",
    ),
    "infinity": (
        lambda: covariance(np.where(X > 7, np.inf, X)),
        ValueError,
        "in 3 of 3 dimensions",
    ),
    "one infinity among many": (
        lambda: covariance(np.where(np.arange(900).reshape(300, 3) == 16, -np.inf, 1.0)),
        ValueError,
        "in 1 of 3 dimensions, first in dimension 1$",
    ),
    "both infinities": (
        lambda: covariance(np.where(X > 7, np.inf, np.where(X < 2, -np.inf, X)), block_size=1),
        ValueError,
        "NaN or infinite values in 3 of 3 dimensions",
    ),
    "signalling NaN": (
        lambda: covariance(np.full((3, 2), 0x7D00, np.uint16).view(np.float16)),
        ValueError,
        "NaN or infinite values in 2 of 2",
    ),
    "squares of float64": (lambda: covariance(X * 1e200), ValueError, "squares overflow float64"),
    "the largest of float64": (
        lambda: covariance(np.where(X % 2, -1.7e308, 1.7e308)),
        ValueError,
        "^features ",
    ),
    "integers": (
        lambda: covariance(X.astype(int)),
        TypeError,
        "^features must be float16, bfloat16, float32, float64, got int64",
    ),
    "integers in the other": (
        lambda: covariance(X, X.astype(bool)),
        TypeError,
        "^other .* got bool",
    ),
    "integers of several": (
        lambda: covariance([X, X.astype("u1")]),
        TypeError,
        r"^features\[1\] .* uint8",
    ),
    "tensor of integers": (
        lambda: covariance(torch.ones(3, 2, dtype=torch.int32)),
        TypeError,
        "got int32",
    ),
    "long doubles": (lambda: covariance(X.astype(np.longdouble)), TypeError, "^features must be"),
    "complex": (lambda: covariance(X.astype(complex)), TypeError, "got complex128"),
    "one axis": (
        lambda: covariance(X[0]),
        ValueError,
        r"features must be \(N, D\) with at least one sample and one dimension, got shape \(3,\)",
    ),
    "three axes": (lambda: covariance(X[None]), ValueError, r"got shape \(1, 4, 3\)"),
    "no samples": (lambda: covariance(X[:0]), ValueError, r"features .* got shape \(0, 3\)"),
    "no dimensions": (lambda: covariance(X, X[:, :0]), ValueError, r"other .* got shape \(4, 0\)"),
    "no models": (lambda: covariance([]), ValueError, r"features .* got shape \(0,\)"),
    "other samples": (
        lambda: covariance(X, X[:3]),
        ValueError,
        "features has 4 samples but other has 3",
    ),
    "other samples of several": (
        lambda: covariance([X, X[:3]]),
        ValueError,
        r"features\[1\] has 3 samples but features\[0\] has 4",
    ),
    "libraries": (
        lambda: covariance(X, torch.from_numpy(X)),
        ValueError,
        "features is of numpy but other of torch",
    ),
    "libraries of several": (
        lambda: covariance([torch.from_numpy(X), X]),
        ValueError,
        r"features\[1\] is of numpy but features\[0\] of torch",
    ),
    "gradients": (
        lambda: covariance(torch.ones(3, 2, requires_grad=True)),
        ValueError,
        r"features requires grad: pass features\.detach\(\)",
    ),
    "another device": (lambda: covariance(torch.ones(3, 2, device="meta")), ValueError, "on meta"),
    "sparse": (lambda: covariance(torch.ones(3, 2).to_sparse()), TypeError, "plain array"),
    "masked": (lambda: covariance(np.ma.masked_less(X, 3)), TypeError, "masked array"),
    "ddof": (
        lambda: covariance(X, ddof=4),
        ValueError,
        "ddof = 4 needs more than 4 samples, got 4",
    ),
    "one sample": (
        lambda: covariance(X[:1]),
        ValueError,
        "ddof = 1 needs more than 1 samples, got 1",
    ),
    "empty": (lambda: Moments().covariance(), ValueError, "needs more than 1 samples, got 0"),
    "variance of none": (lambda: Moments().variance(), ValueError, "variance .* of none"),
    "correlation of none": (lambda: Moments().correlation(), ValueError, "correlation .* of none"),
    "variance of two": (
        lambda: of(X, X).variance(),
        ValueError,
        "variance takes moments of one side",
    ),
    "correlation of two": (
        lambda: of(X, X).correlation(),
        ValueError,
        "correlation takes .* one side",
    ),
    "block_size": (
        lambda: covariance(X, block_size=0),
        ValueError,
        "block_size must be at least 1, got 0",
    ),
    "workers": (lambda: covariance(X, workers=0), ValueError, "workers must be at least 1"),
    "backend": (
        lambda: covariance(X, backend="fast"),
        ValueError,
        "backend must be one of .* 'fast'",
    ),
    "backend elsewhere": (
        lambda: covariance(X, backend="cuda"),
        ov.BackendUnavailableError,
        "these are in host memory",
    ),
    "merging sizes": (
        lambda: of(X) + of(X[:, :2]),
        ValueError,
        r"moments of \(2,\) dimensions, matrix \(2, 2\), cannot be added to those of \(3,\)",
    ),
    "merging other models": (
        lambda: of([X[:, :1], X]) + of([X, X[:, :1]]),
        ValueError,
        r"moments of \(3, 1\) dimensions",
    ),
    "merging columns": (
        lambda: of(X, X) + of(X, X[:, :2]),
        ValueError,
        r"matrix \(3, 2\), cannot be added to .* matrix \(3, 3\)",
    ),
    "merging sides": (
        lambda: of(X) + of(X, X),
        ValueError,
        "moments of one side cannot be added to those of two",
    ),
    "merging libraries": (
        lambda: of(X) + of(torch.from_numpy(X)),
        ValueError,
        "moments of torch cannot be added to those of numpy",
    ),
    "merging arrays": (lambda: of(X) + X.tolist(), TypeError, "unsupported operand"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("has_scipy", [True, False])
def test_refused(name: str, has_scipy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_scipy:
        monkeypatch.setattr(_products, "_blas", lambda: None)
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("has_scipy", [True, False])
def test_too_large_for_float32(
    has_scipy: bool, backend: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Where products are few there is room in float64."""
    if not has_scipy:
        monkeypatch.setattr(_products, "_blas", lambda: None)
    x = (rng.normal(size=(300, 20)) * 1e25).astype(np.float32)
    scale = 1e50 * np.eye(20)
    np.testing.assert_allclose(covariance(x, backend=backend), scale, atol=0.3e50)
    monkeypatch.setattr(_features, "_FEW_PRODUCTS", 0)
    for given in (x, torch.from_numpy(x)):
        for call in (
            lambda x: covariance(x, backend=backend),
            lambda x: covariance(x, x[:, :3], backend=backend),
            lambda x: cka(x, x, backend=backend),
        ):
            with pytest.raises(ValueError, match="features are too large: "):
                call(given)
