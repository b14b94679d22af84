"""What kernels that combine models are told of them, and the few classes that can win a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore._arrays import Typed

PAD = 16
"""Models in scores are padded to a multiple of this, so that vectors never end mid-row."""


class Scored(NamedTuple):
    """M models, and what an ensemble of them sums: see :func:`ovcore._reference_scores.scores`."""

    models: Sequence[Typed]  # M logits (N, K)
    temperature: NDArray[np.float64]  # (M,), positive
    combine: str  # "prob", "logit" or "max"


class Candidates(NamedTuple):
    """Of each sample on which models differ, the classes that can win and every model's scores.

    The classes of a sample are its target and each model's prediction, ascending. Any other class
    scores at most ``outside``, so that a winner among the listed ones often is the winner of all.
    Samples for which all models predict the same need no list: so does any ensemble of them. Of
    logits on a GPU all arrays are there.
    """

    samples: NDArray[np.int64]  # (S,) ascending
    offsets: NDArray[np.int64]  # (S + 1,): classes of sample s are at offsets[s]:offsets[s + 1]
    classes: NDArray[np.int32]  # (U,)
    target: NDArray[np.int32]  # (S,) where the target is among its sample's classes
    tops: NDArray[np.int32]  # (S, P) where each model's prediction is; -1 in the padding
    scores: NDArray[np.floating[Any]]  # (U, P) float32; float64 where they were given, not made
    outside: NDArray[np.floating[Any]]  # (S, P) best score of a class that is not listed, or -inf
    mass: NDArray[np.float64]  # (S, P) what scores were divided by
    n_classes: int


def padded(n_models: int) -> int:
    """Columns P of M models."""
    return -(-n_models // PAD) * PAD
