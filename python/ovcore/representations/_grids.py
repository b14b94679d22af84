"""How penalties are searched on validation samples, by the protocols that papers name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Grid(NamedTuple):
    """Penalties lambda, ascending, and the steps in which they are searched."""

    lambdas: NDArray[np.float64]
    strides: tuple[int, ...]  # the first over the whole grid, the rest beside the best so far

    def most_fits(self) -> int:
        """How many penalties are tried at most."""
        return len(self.lambdas[:: self.strides[0]]) + 2 * len(self.strides[1:])

    def search(self, accuracy_of: Callable[[int], float]) -> int:
        """Index of the best penalty; the larger one of two that are equally good.

        Goes from large to small, so that each fit can start from one of a larger penalty.
        """
        tried: dict[int, float] = {}

        def best() -> int:
            return max(tried, key=lambda i: (tried[i], i))

        for i in range(len(self.lambdas) - 1, -1, -self.strides[0]):
            tried[i] = accuracy_of(i)
        for stride in self.strides[1:]:
            center = best()
            for i in (center + stride, center - stride):
                if 0 <= i < len(self.lambdas) and i not in tried:
                    tried[i] = accuracy_of(i)
        return best()


PROTOCOLS = {
    # 96 logarithmic steps over twelve decades, one in sixteen first, then halved around the best
    "clip": Grid(10.0 ** np.linspace(-6, 6, 97), (16, 8, 4, 2, 1)),
    "kornblith": Grid(10.0 ** np.linspace(-6, 5, 45), (1,)),
}
