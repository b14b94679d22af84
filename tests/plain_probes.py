"""Logistic regression as scikit-learn finds it, and its loss in plain float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits


def problem(
    rng: np.random.Generator,
    n_samples: int = 300,
    n_dimensions: int = 8,
    n_classes: int = 3,
    mean: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Features of unequal spread, and classes 0 to K - 1 that they tell in part."""
    x = rng.normal(size=(n_samples, n_dimensions))
    logits = x @ rng.normal(size=(n_dimensions, n_classes)) / n_dimensions**0.5
    target = (2 * logits + rng.gumbel(size=logits.shape)).argmax(1)
    target[:n_classes] = np.arange(n_classes)
    return x * np.linspace(0.5, 2, n_dimensions) + mean, target


def objective(
    features: Any, target: np.ndarray, coefficients: np.ndarray, intercepts: np.ndarray, C: float
) -> float:
    """Sum over samples of -log softmax(W x + b)[target], plus |W|^2 / (2 C)."""
    z = np.asarray(features, np.float64) @ coefficients.T + intercepts
    if z.shape[1] == 1:
        z = np.hstack([np.zeros_like(z), z])
    ahead = z - z[np.arange(len(z)), target][:, None]
    return float(logsumexp(ahead, axis=1).sum() + (coefficients**2).sum() / (2 * C))


def scikit_learn(
    features: Any, target: np.ndarray, C: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Its coefficients and intercepts: (K, D) and (K,), of two classes (1, D) and (1,)."""
    model = LogisticRegression(C=C, tol=1e-10, max_iter=10_000, solver="newton-cholesky")
    with threadpool_limits(1):
        model.fit(np.asarray(features, np.float64), target)
    return model.coef_, model.intercept_
