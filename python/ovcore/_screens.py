"""What kernels that look for pairs among many are told of the models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Screen(NamedTuple):
    """Which pairs are worth their metric: those whose joint errors reach what a model asks for.

    Of a model a, partner b scores ``sign * joint - beta[a] * x[b] - gamma[a] * y[b]``, in float64
    and in this order. It passes where that is at least ``alpha[a] - slack``. Where it equals
    ``alpha[a]``, b is no better than the last partner that a has kept, and loses to it if b's
    number is higher; with a slack only if their x are the same, too, as rounding hides less than
    that. A pair passes if either model lets the other pass.
    """

    sign: float  # 1, or -1 where fewer joint errors are wanted
    alpha: NDArray[np.float64]  # (M,) -inf: all pass; inf: none
    beta: NDArray[np.float64]  # (M,)
    gamma: NDArray[np.float64]  # (M,)
    x: NDArray[np.float64]  # (M,) NaN: never passes
    y: NDArray[np.float64]  # (M,)
    slack: float  # what rounding may cost a score; 0 where scores are exact
    number: NDArray[np.int64]  # (M,) ties go to the lower
    last: NDArray[np.int64]  # (M,) number of the last partner kept
    last_x: NDArray[np.float64]  # (M,) and its x
