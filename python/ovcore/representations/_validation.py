"""Samples to train a probe on and samples to choose its penalty by."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore.representations._features import Features, join, read_features, take
from ovcore.representations._targets import positions_of

Labelled: TypeAlias = tuple[Features, NDArray[np.int64]]
"""Features and the positions (N,) of their classes."""


class Split(NamedTuple):
    """Two parts of the samples, and all of them."""

    training: Labelled
    held: Labelled
    whole: Labelled


def held_out(x: Features, positions: NDArray[np.int64], fraction: float, seed: int) -> Split:
    """Holds out a share of each class, rounded down.

    Raises:
        ValueError: the share is not between 0 and 1, or no class has enough samples for it.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction must be between 0 and 1, got {fraction!r}")
    is_held = np.zeros(x.n_samples, bool)
    generator = np.random.default_rng(seed)
    for k in range(positions.max() + 1):
        members = np.flatnonzero(positions == k)
        is_held[generator.permutation(members)[: int(fraction * len(members))]] = True
    if not is_held.any():
        raise ValueError(
            f"validation_fraction = {fraction} of no class is a whole sample: raise it, or pass "
            "validation samples"
        )
    training, held = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    return Split(
        (take(x, training), positions[training]), (take(x, held), positions[held]), (x, positions)
    )


def beside(
    x: Features, classes: NDArray[Any], positions: NDArray[np.int64], features: Any, labels: Any
) -> Split:
    """Takes validation samples as they are given.

    Raises:
        ValueError: features unlike those to train on, or a label that is not among theirs.
    """
    held = read_features(features, "validation[0]")
    whole = join(x, held, "validation[0]")
    of_held = positions_of(labels, classes, held.n_samples, "validation[1]", "validation[0]")
    if (of_held < 0).any():
        first = int((of_held < 0).argmax())
        raise ValueError(f"validation[1][{first}] is a label that y does not have")
    return Split((x, positions), (held, of_held), (whole, np.concatenate([positions, of_held])))
