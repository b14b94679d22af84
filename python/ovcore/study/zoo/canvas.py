"""Canvases of several digits: what the transfer task shows, and which classes are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore.study.zoo.digits import CLASSES, Index

SIDE = 16  # pixels of a canvas: 2 x 2 cells of 8 x 8
MOST = 4  # digits on a canvas, one a cell


@dataclass(frozen=True, eq=False)
class Canvases:
    """N canvases and what is on them.

    Attributes:
        images: (N, 16, 16) counts 0..16.
        present: (N, K) whether a digit of the class is there.
        difficult: (N, K) whether one is there and all of that class are hard.
    """

    images: NDArray[np.uint8]
    present: NDArray[np.bool_]
    difficult: NDArray[np.bool_]


def draw_canvases(
    images: NDArray[np.uint8],  # (N, 8, 8) of 0..16
    labels: Index,  # (N,)
    rng: np.random.Generator,
    *,
    count: int,
    shift: int,
    hard: float,
) -> Canvases:
    """Puts 1 to 4 digits on each canvas, in different cells of a 2 x 2 grid.

    Each number of digits is as likely as any other. What a shift moves beyond the border is cut
    off; where two digits meet, each pixel has the larger of their counts.

    Args:
        images: digits to take from, each any number of times.
        labels: their classes, 0..9.
        rng: of all choices.
        count: how many canvases.
        shift: most pixels that a digit is moved by in each direction.
        hard: probability that a digit is hard: half of those fade to a third of their ink, the
            rest lose their upper, lower, left or right half.
    """
    slots = (count, MOST)  # those beyond a canvas's number of digits stay empty
    used = np.arange(MOST) < rng.integers(1, MOST + 1, size=(count, 1))
    cell = rng.permuted(np.broadcast_to(np.arange(MOST), slots), axis=1)
    moved = rng.integers(2 * shift + 1, size=(2, *slots))  # in a frame that is wider by `shift`
    chosen = rng.integers(len(images), size=slots)
    flaw = np.where(rng.random(slots) < hard, rng.integers(1, len(_KEPT), size=slots), 0)

    digits = (images[chosen] * _KEPT[flaw]).round().astype(np.uint8) * used[:, :, None, None]
    top, left = np.stack(np.divmod(cell, 2)) * 8 + moved
    frame = np.zeros((count, SIDE + 2 * shift, SIDE + 2 * shift), dtype=np.uint8)
    canvas, step = np.arange(count)[:, None, None], np.arange(8)
    for slot in range(MOST):
        rows = top[:, slot, None, None] + step[:, None]
        columns = left[:, slot, None, None] + step
        place = (canvas, rows, columns)
        frame[place] = np.maximum(frame[place], digits[:, slot])
    inner = slice(shift, shift + SIDE)

    shown = (labels[chosen][:, :, None] == np.arange(CLASSES)) & used[:, :, None]
    present = shown.any(axis=1)
    easy = (shown & (flaw == 0)[:, :, None]).any(axis=1)
    return Canvases(frame[:, inner, inner].copy(), present, present & ~easy)


def _shares_kept() -> NDArray[np.float64]:
    """(9, 8, 8) share of the ink that is left: all, a third in four of nine, each half once."""
    upper = np.repeat([[1.0], [0.0]], 4, axis=0) * np.ones(8)
    halves = [upper, 1 - upper, upper.T, 1 - upper.T]
    return np.stack([np.ones((8, 8)), *[np.full((8, 8), 1 / 3)] * len(halves), *halves])


_KEPT = _shares_kept()
