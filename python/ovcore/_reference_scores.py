"""What ensembles sum, in plain numpy: the definition that every backend follows to the bit.

float32 steps are rounded one by one (no fused multiply-add) and sums run in one fixed order, so
that a score is the same number on every chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LANES = 16  # running sums: class k is added to sum k % 16
_LOWEST = np.float32(-124)  # 2^y is 0 from here on: below lie float32's subnormal numbers
_ROUND = np.float32(12582912)  # 1.5 * 2^23: adding it rounds to a whole number
# 2^f = 1 + f q(f) for |f| <= 1/2, to 2e-9; highest power first.
_Q = tuple(
    np.float32(q)
    for q in (
        0.00015353320432157173,
        0.0013398926044037507,
        0.009618437854461696,
        0.05550332347906885,
        0.240226479069414,
        0.6931472029069689,
    )
)


def power_of_two(y: NDArray[np.float32]) -> NDArray[np.float32]:
    """2^y for y <= 0, within a unit in the last place; 0 for y <= -124; 2^0 = 1."""
    inside = np.maximum(y, _LOWEST)
    shifted = inside + _ROUND
    f = inside - (shifted - _ROUND)
    q = np.full_like(f, _Q[0])
    for coefficient in _Q[1:]:
        q = q * f + coefficient
    p = q * f + np.float32(1)
    bits = p.view(np.int32) + (shifted.view(np.int32) << 23)  # p * 2^n
    return np.where(y > _LOWEST, bits.view(np.float32), np.float32(0))


def distances(z: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The distance z - max of its row, in the precision of z (16-bit floats widened to float32).

    The maximum itself is at 0 also where it is +inf: it wins, and all else is out of the question.
    """
    top = z.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(z == top, z.dtype.type(0), z - top)


def weights(
    z: NDArray[np.floating[Any]],  # (N, K) float32 or float64, no NaN
    temperature: float,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:  # (N, K), (N,)
    """exp((z - max) / T) of every class, as a power of two, and their sum."""
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    with np.errstate(over="ignore", divide="ignore"):
        scale = np.float32(np.clip(1 / np.log(2) / np.float64(temperature), tiny, huge))
        weight = power_of_two(distances(z).astype(np.float32) * scale)
    sums = np.zeros((len(z), _LANES))
    for k in range(0, z.shape[1], _LANES):
        some = weight[:, k : k + _LANES]
        sums[:, : some.shape[1]] += some
    width = _LANES
    while width > 1:
        width //= 2
        sums = sums[:, :width] + sums[:, width:]
    return weight, sums[:, 0]


def scores(
    z: NDArray[np.floating[Any]],  # (N, K) float32 or float64, no NaN
    temperature: float,
    combine: str,
) -> NDArray[np.float32]:  # (N, K)
    """What an ensemble sums: softmax(z / T), for "logit" z / T less its maximum, as float32."""
    if combine == "logit":
        with np.errstate(over="ignore"):
            return (distances(z).astype(np.float64) / temperature).astype(np.float32)
    weight, mass = weights(z, temperature)
    return (weight / mass[:, None]).astype(np.float32)
