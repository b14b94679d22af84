"""Ensembles as plain numpy scans of all classes, and logits that tie and leave no class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ovcore import TopK, _reference_scores

KINDS = ("plain", "integers", "forest", "outsiders", "infinite")
DTYPES = ("float32", "float64", "float16", "bfloat16")


def models(
    rng: np.random.Generator, n_models: int = 5, n_samples: int = 500, n_classes: int = 7
) -> tuple[np.ndarray, np.ndarray]:
    """(M, N, K) float32 logits between poor and good, and their target."""
    target = rng.integers(0, n_classes, n_samples)
    signal = rng.uniform(0.5, 3, (n_models, 1, 1)) * np.eye(n_classes)[target]
    return (rng.normal(size=(n_models, n_samples, n_classes)) + signal).astype(np.float32), target


def draw(
    rng: np.random.Generator, kind: str, n_models: int, n_samples: int, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(M, N, K) logits of a kind and their target."""
    shape = (n_models, n_samples, n_classes)
    target = rng.integers(0, n_classes, n_samples)
    signal = rng.uniform(0.2, 3, (n_models, 1, 1)) * np.eye(n_classes)[target]
    if kind == "plain":
        return rng.normal(size=shape) + signal, target
    if kind == "integers":
        return rng.integers(-1, 2, shape) + np.rint(signal / 2), target
    if kind == "forest":  # log of votes of a few trees: probabilities of exactly 0 and 1
        trees = np.where(
            rng.random((7, *shape[:2])) < 0.4, target, rng.integers(0, n_classes, (7, *shape[:2]))
        )
        n_trees = rng.integers(1, 8, (n_models, 1, 1))
        asked = np.arange(7)[:, None, None, None] < n_trees
        votes = ((trees[..., None] == np.arange(n_classes)) & asked).sum(axis=0)
        with np.errstate(divide="ignore"):
            return np.log(votes / n_trees), target
    if kind == "outsiders":  # a class that no model predicts wins most ensembles
        z = 0.01 * rng.normal(size=shape)
        z[..., n_classes // 2] += 1
        np.put_along_axis(z, rng.integers(0, n_classes, (*shape[:2], 1)), 1.05, axis=2)
        return z, np.where(rng.random(n_samples) < 0.5, n_classes // 2, z[0].argmax(axis=1))
    z = rng.choice([np.inf, -np.inf, 0.0, 1.0], shape, p=[0.1, 0.3, 0.3, 0.3])
    z[(z == -np.inf).all(axis=2), -1] = 0.0
    return z, target


def of_type(logits: np.ndarray, dtype: str) -> tuple[Any, np.ndarray]:
    """Logits of a type, bfloat16 in torch, and the same values in float32 or float64."""
    if dtype == "bfloat16":
        short = torch.from_numpy(logits).bfloat16()
        return short, short.float().numpy()
    given = logits.astype(dtype)
    return given, given.astype(np.float32) if dtype == "float16" else given


def scores(
    logits: np.ndarray, temperature: float | np.ndarray = 1.0, combine: str = "prob"
) -> np.ndarray:
    """(M, N, K) float32 scores, in float64."""
    kind = "logit" if combine == "logprob" else combine
    temperatures = np.broadcast_to(temperature, len(logits))
    both = zip(logits, temperatures, strict=True)
    return np.array([_reference_scores.scores(z, t, kind) for z, t in both], np.float64)


def together(
    own: np.ndarray,  # (M, N) what models predict
    terms: np.ndarray,  # (M, N, K) their scores
    members: Sequence[int],
    weights: Sequence[float] | None = None,
    combine: str = "prob",
) -> np.ndarray:
    """(N,) what members predict together; -1 where no class is left."""
    shares = np.ones(len(members)) if weights is None else weights
    kept = [(m, w) for m, w in zip(members, shares, strict=True) if w > 0]
    total = np.full(terms.shape[1:], -np.inf if combine == "max" else 0.0)
    for m, w in kept:
        if combine == "max":
            total = np.maximum(total, w * terms[m])
        else:
            total += w * (np.eye(terms.shape[2])[own[m]] if combine == "vote" else terms[m])
    classes = np.where(total.max(axis=1) > -np.inf, total.argmax(axis=1), -1)
    for n in range(len(classes)):
        voices = {int(own[m, n]) for m, _ in kept}
        if len(voices) == 1:
            classes[n] = voices.pop()
    return classes


def stored(
    rng: np.random.Generator, n_models: int, n_samples: int, n_classes: int, k: int, dtype: str
) -> tuple[TopK, np.ndarray, np.ndarray]:
    """Outputs of k classes in any order, with ties, zeros and ones; what they predict and score."""
    classes = rng.random((n_models, n_samples, n_classes)).argsort(axis=2)[..., :k]
    probs = rng.integers(0, 9, classes.shape) / 8
    if dtype == "float64":
        probs = np.minimum(probs + rng.choice([0, 1e-12], classes.shape), 1.0)
    probs = probs.astype(dtype)
    own = np.where(probs == probs.max(axis=2, keepdims=True), classes, n_classes).min(axis=2)
    dense = np.zeros((n_models, n_samples, n_classes))
    np.put_along_axis(dense, classes, probs.astype(np.float64), axis=2)
    return TopK(classes, probs, n_classes), own, dense
