"""What ensembles sum, in plain numpy: the definition that every backend follows to the bit.

float32 steps are rounded one by one (no fused multiply-add) and sums run in one fixed order, so
that a score is the same number on every chip.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LANES = 16  # running sums: class k is added to sum k % 16
_LOWEST = np.float32(-86)  # exp is 0 from here on: below lie float32's subnormal numbers
_LOG2_E = np.float32(1.44269504)
_ROUND = np.float32(12582912)  # 1.5 * 2^23: adding it rounds to a whole number
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# exp(r) = 1 + r + r^2 q(r) for |r| <= ln(2) / 2, to 3e-9; highest power first.
_Q = tuple(
    np.float32(q)
    for q in (
        0.0013814540579915047,
        0.00836874544620514,
        0.04166838899254799,
        0.1666652113199234,
        0.4999999403953552,
    )
)


def exponential(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """exp(x) for x <= 0, within 2 units in the last place; 0 for x <= -86; exp(0) = 1."""
    inside = np.maximum(x, _LOWEST)
    shifted = inside * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = inside - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    q = np.full_like(r, _Q[0])
    for coefficient in _Q[1:]:
        q = q * r + coefficient
    p = (r * r) * q + r + np.float32(1)
    bits = p.view(np.int32) + (shifted.view(np.int32) << 23)  # p * 2^n
    return np.where(x > _LOWEST, bits.view(np.float32), np.float32(0))


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
    """exp((z - max) / T) of every class, and their sum."""
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    with np.errstate(over="ignore", divide="ignore"):
        beta = np.float32(np.clip(1 / np.float64(temperature), tiny, huge))
        weight = exponential(distances(z).astype(np.float32) * beta)
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
