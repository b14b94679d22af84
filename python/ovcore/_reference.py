"""The oracle: each kernel in plain numpy, as its formula reads. Never optimised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore._arrays import Typed, widen
from ovcore._progress import Progress
from ovcore._reference_angles import angle_histogram
from ovcore._reference_ensembles import (
    candidate_hits,
    candidate_scores,
    confidences,
    ensemble_predictions,
    pair_ensemble_hits,
    temperature_nll,
)
from ovcore._reference_screens import joint_errors_between, screen_pairs

__all__ = [
    "angle_histogram",
    "candidate_hits",
    "candidate_scores",
    "center_rows",
    "confidences",
    "ensemble_predictions",
    "joint_agreement",
    "joint_errors",
    "joint_errors_between",
    "pack_errors",
    "pair_ensemble_hits",
    "screen_pairs",
    "temperature_nll",
]


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


def center_rows(
    parts: Sequence[Typed],  # P features (N, D_p)
    pilots: Sequence[NDArray[np.floating[Any]]],  # P (D_p,) float32 or float64
    out: Sequence[NDArray[np.floating[Any]]],  # P (N, D_p) of that type, written
    sums: Sequence[NDArray[np.floating[Any]]],  # P (D_p,) of that type, written
    workers: int,  # noqa: ARG001
) -> None:
    """Features - pilot, rounded once, and the sums of its rows, which are added in order from 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        for part, pilot, left, total in zip(parts, pilots, out, sums, strict=True):
            left[:] = widen(part).astype(left.dtype) - pilot
            total[:] = 0
            for row in left:
                total += row
