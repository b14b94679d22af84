"""The k best partners that each of many models has met so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore._tables import Values

_MANY = 4  # times k offers of one owner that are worth sorting


class Best:
    """Models are known by their places, 0 to M - 1, in the order that blocks go through them.

    Attributes:
        number: (M + 1,) of the model at each place, which settles ties; the last is past all.
        keys: (M, k) ascending; inf where fewer partners were met.
        partners: (M, k) places of the partners; M where there is none.
        joint: (M, k) joint errors with them.
    """

    def __init__(self, number: NDArray[np.int64], k: int) -> None:
        n_models = len(number)
        self.number = np.append(number, n_models)
        self.keys: Values = np.full((n_models, k), np.inf)
        self.partners = np.full((n_models, k), n_models, np.int64)
        self.joint = np.zeros((n_models, k), np.int64)

    def offer(
        self,
        owners: NDArray[np.int64],  # (P,) fewer than 2^16 after the first
        partners: NDArray[np.int64],  # (P,) that the owners have not met
        keys: Values,  # (P,) less is better; NaN: no partner
        joint: NDArray[np.int64],  # (P,)
    ) -> None:
        """Keeps what is better than the last of its owner's; of equal keys, the lower number."""
        better = self._better(owners, partners, keys)
        if len(better) == 0:
            return
        of = owners[better]
        lowest = of.min()
        order = np.argsort((of - lowest).astype(np.uint16), kind="stable")  # a radix sort
        n_offers = np.bincount(of - lowest)
        if n_offers.max() > _MANY * self.keys.shape[1]:  # most of them would come and go
            order = np.lexsort((self.number[partners[better]], keys[better], of))
        n_offers = n_offers[n_offers > 0]
        first = np.cumsum(n_offers) - n_offers
        turns = min(int(n_offers.max()), _MANY * self.keys.shape[1])
        better = better[order]
        for turn in range(turns):  # one offer of each owner at a time
            at = better[first[n_offers > turn] + turn]
            if turn > 0:
                at = at[self._better(owners[at], partners[at], keys[at])]
            self._insert(owners[at], partners[at], keys[at], joint[at])

    def _better(
        self, owners: NDArray[np.int64], partners: NDArray[np.int64], keys: Values
    ) -> NDArray[np.int64]:
        """Which offers would be kept."""
        last = self.keys[owners, -1]
        found = np.flatnonzero(keys <= last)
        ties = keys[found] == last[found]
        if not ties.any():
            return found
        lower = self.number[partners[found]] < self.number[self.partners[owners[found], -1]]
        return found[~ties | lower]

    def _insert(
        self,
        owners: NDArray[np.int64],  # all different
        partners: NDArray[np.int64],
        keys: Values,  # better than the last of the owner's
        joint: NDArray[np.int64],
    ) -> None:
        kept = self.keys[owners]
        stays = kept < keys[:, None]
        row, column = np.nonzero(kept == keys[:, None])
        if len(row):
            ahead = self.number[self.partners[owners[row], column]] < self.number[partners[row]]
            stays[row, column] = ahead
        place = stays.sum(axis=1)
        for table, new in ((self.keys, keys), (self.partners, partners), (self.joint, joint)):
            before = table[owners]
            after = before.copy()
            np.copyto(after[:, 1:], before[:, :-1], where=~stays[:, 1:])
            after[np.arange(len(owners)), place] = new
            table[owners] = after
