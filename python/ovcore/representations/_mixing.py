"""Features mixed from two models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore.representations._features import read_features, side_by_side

__all__ = ["mix_features", "mixed_dimensions"]


def mix_features(
    base: Array,  # (N, D) floating
    other: Array,  # (N, D') floating
    *,
    rate: float,
    seed: int = 0,
) -> Array:
    """A random share of one model's dimensions beside one of another's, no wider than the base.

    round(rate D) dimensions of the base and round((1 - rate) D') of the other, but never more than
    D in all (Gontijo-Lopes, Dauphin and Cubuk, 2022, Fig. 6, left and centre). A linear probe on
    them tells whether the two models' features add up; average it over seeds.

    Args:
        base: features of the base model.
        other: of the other model, of the same samples.
        rate: share of the base, 0 to 1. At 1 the base's features, at 0 the other's (D of them at
            most), either in their own order.
        seed: of the choice.

    Returns:
        (N, D'') in the caller's library, base dimensions first.

    Raises:
        TypeError: element types that are not floating or not the same.
        ValueError: other shapes; numbers of samples, libraries or devices that differ; a rate
            outside 0 to 1.

    >>> import numpy as np
    >>> mix_features(np.zeros((2, 4)), np.ones((2, 4)), rate=0.5)
    array([[0., 0., 1., 1.],
           [0., 0., 1., 1.]])
    """
    names = ["base", "other"]
    given = [
        one if _arrays.is_on_gpu(one) else _arrays.adopt(one, name)
        for one, name in zip((base, other), names, strict=True)
    ]
    sides = [read_features(one, name) for one, name in zip(given, names, strict=True)]
    x, y = side_by_side(sides, names)
    if x.parts[0].dtype != y.parts[0].dtype:
        raise TypeError(f"base is {x.parts[0].dtype} but other is {y.parts[0].dtype}")
    chosen = mixed_dimensions(x.n_dimensions, y.n_dimensions, rate=rate, seed=seed)
    own = chosen < x.n_dimensions
    xp = _arrays.namespace(x.library)
    pieces = [
        array[:, _arrays.in_library(dimensions, x.library)]
        for array, dimensions in zip(
            given, (chosen[own], chosen[~own] - x.n_dimensions), strict=True
        )
    ]
    return xp.concatenate(pieces, 1)


def mixed_dimensions(n_base: int, n_other: int, *, rate: float, seed: int = 0) -> NDArray[np.int64]:
    """The dimensions that :func:`mix_features` takes, of both models' features side by side.

    For :class:`LinearProbes` on ``[base, other]``: the base's are 0 to D - 1, the other's D to
    D + D' - 1; ascending.

    Raises:
        ValueError: a rate outside 0 to 1, or one that leaves nothing.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be between 0 and 1, got {rate!r}")
    from_base = round(rate * n_base)
    from_other = min(round((1 - rate) * n_other), n_base - from_base)
    if from_base + from_other == 0:
        raise ValueError(f"rate = {rate} of {n_base} and {n_other} dimensions takes none")
    generator = np.random.default_rng(seed)
    own = np.sort(generator.permutation(n_base)[:from_base])
    others = np.sort(generator.permutation(n_other)[:from_other])
    return np.concatenate([own, n_base + others])
