"""The oracle: each kernel in plain numpy, as its formula reads. Never optimised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore._arrays import Typed, widen
from ovcore._progress import Progress


def pack_errors(
    models: Sequence[Typed | NDArray[np.integer[Any]]],  # M logits (N, K), or classes (N,)
    target: NDArray[np.int64],  # (N,)
    words: NDArray[np.uint64],  # (M, W), written: bit n % 64 of word n // 64 is 1 where wrong
    preds: NDArray[np.int32] | None,  # (M, N), written where models are logits
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> list[int]:  # (M,)
    """Errors of every model. Returns how many rows have no prediction: those count as wrong."""
    without_prediction = []
    for m, model in enumerate(models):
        if isinstance(model, Typed):
            values = widen(model)
            predicted = values.argmax(axis=1)
            without = np.isnan(values).any(axis=1) | (values == -np.inf).all(axis=1)
            predicted[without] = -1
            if preds is not None:
                preds[m] = predicted
            without_prediction.append(int(without.sum()))
            wrong = predicted != target
        else:
            wrong = np.array([int(p) != int(t) for p, t in zip(model, target, strict=True)], bool)
            without_prediction.append(0)
        packed = np.zeros(words.shape[1] * 64, bool)
        packed[: len(target)] = wrong
        words[m] = np.packbits(packed, bitorder="little").view(np.uint64)
    return without_prediction


def joint_errors(
    words: NDArray[np.uint64],  # (M, W)
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.int64]:  # (M, M)
    """joint[i, j] = samples that models i and j both get wrong."""
    joint = [[np.bitwise_count(a & b).sum(dtype=np.int64) for b in words] for a in words]
    return np.array(joint, np.int64).reshape(len(words), len(words))


def joint_agreement(
    preds: Sequence[NDArray[np.integer[Any]]],  # M classes (N,)
    lowest: int,  # noqa: ARG001
    highest: int,  # noqa: ARG001
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.int64]:  # (M, M)
    """agreement[i, j] = samples for which models i and j predict the same class."""
    agreement = [[(a.astype(object) == b.astype(object)).sum() for b in preds] for a in preds]
    return np.array(agreement, np.int64)


def temperature_nll(
    logits: NDArray[np.float64],  # (N, K) finite, but for -inf outside the target
    target: NDArray[np.int64],  # (N,)
    beta: float,  # 1 / T
) -> tuple[float, float, float]:
    """Sums over samples of the NLL of softmax(beta z) and of its two derivatives in beta."""
    with np.errstate(over="ignore"):  # a distance past float64 is as good as infinite
        shifted = logits - logits.max(axis=1, keepdims=True)
    weight = np.exp(beta * shifted)
    z = np.where(weight > 0, shifted, 0.0)  # a class of probability 0 adds nothing, even at -inf
    total = weight.sum(axis=1)
    mean = (weight * z).sum(axis=1) / total
    variance = (weight * (z - mean[:, None]) ** 2).sum(axis=1) / total
    of_target = np.take_along_axis(shifted, target[:, None], axis=1)[:, 0]
    nll = np.log(total) - beta * of_target
    return float(nll.sum()), float((mean - of_target).sum()), float(variance.sum())


def ensemble_scores(
    logits: NDArray[np.floating[Any]],  # (N, K), no NaN
    temperature: float,
    combine: str,
) -> NDArray[np.float32]:  # (N, K)
    """What an ensemble sums: softmax(z / T) ("prob") or z / T ("logit"), rounded to float32.

    Each row of z is taken relative to its maximum, which changes no arg max and keeps float32's
    digits for the classes that can win.
    """
    z = logits.astype(np.float64)
    top = z.max(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):  # inf - inf: replaced below, or refused
        scaled = (z - top) / temperature
        if combine == "logit":
            return scaled.astype(np.float32)
        weight = np.exp(scaled)
    weight = np.where(np.isposinf(top), np.isposinf(z), weight)  # +inf wins
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


def pair_ensemble_hits(
    scores: NDArray[np.float32],  # (M, N, K)
    preds: NDArray[np.int32],  # (M, N)
    target: NDArray[np.int64],  # (N,)
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # each (M, M)
    """Samples that each pair's ensemble gets right: all, of those only one gets right, of neither.

    Where both models predict the same class, so does the ensemble. Elsewhere it predicts the
    class of the largest sum of scores, formed in float64; the lowest class wins a tie, and where
    every sum is -inf there is no prediction.
    """
    n_models = len(scores)
    hits, conversions, rescues = (np.zeros((n_models, n_models), np.int64) for _ in range(3))
    right = preds == target
    for a in range(n_models):
        for b in range(a, n_models):
            total = scores[a].astype(np.float64) + scores[b]
            hit = (total.argmax(axis=1) == target) & (total.max(axis=1) > -np.inf)
            hit = np.where(preds[a] == preds[b], right[a], hit)
            hits[a, b] = hits[b, a] = hit.sum()
            conversions[a, b] = conversions[b, a] = (hit & (right[a] != right[b])).sum()
            rescues[a, b] = rescues[b, a] = (hit & ~right[a] & ~right[b]).sum()
    return hits, conversions, rescues
