"""The k best partners that each of many models has met so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore._tables import Values


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
        owners: NDArray[np.int64],  # (P,)
        partners: NDArray[np.int64],  # (P,) that the owners have not met
        keys: Values,  # (P,) less is better; NaN: no partner
        joint: NDArray[np.int64],  # (P,)
    ) -> None:
        """Keeps what is better than the last of its owner's; of equal keys, the lower number."""
        last = self.keys[owners, -1]
        better = np.flatnonzero(keys <= last)
        ahead = self.number[partners[better]] < self.number[self.partners[owners[better], -1]]
        better = better[(keys[better] < last[better]) | ahead]
        order = np.lexsort((self.number[partners[better]], keys[better], owners[better]))
        at = better[order]
        owners, partners, keys, joint = owners[at], partners[at], keys[at], joint[at]
        first = np.flatnonzero(np.diff(owners, prepend=-1))
        n_offers = np.minimum(np.diff(first, append=len(owners)), self.keys.shape[1])
        for turn in range(int(n_offers.max(initial=0))):  # one offer of each owner at a time
            at = first[n_offers > turn] + turn
            self._insert(owners[at], partners[at], keys[at], joint[at])

    def _insert(
        self,
        owners: NDArray[np.int64],  # all different, as are the rows of what they keep
        partners: NDArray[np.int64],
        keys: Values,
        joint: NDArray[np.int64],
    ) -> None:
        kept = self.keys[owners], self.partners[owners], self.joint[owners]
        stays = kept[0] < keys[:, None]
        ties = np.nonzero(kept[0] == keys[:, None])
        stays[ties] = self.number[kept[1][ties]] < self.number[partners[ties[0]]]
        place = stays.sum(axis=1)
        rows = np.flatnonzero(place < kept[0].shape[1])
        for table, rows_of, new in zip(
            (self.keys, self.partners, self.joint), kept, (keys, partners, joint), strict=True
        ):
            after = np.where(stays, rows_of, np.roll(rows_of, 1, axis=1))
            after[rows, place[rows]] = new[rows]
            table[owners] = after
