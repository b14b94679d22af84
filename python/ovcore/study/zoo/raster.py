"""32x32 bitmaps, normalised to their bounding box, reduced to 8x8 counts of 4x4 blocks.

The way the real digits were made: their height fills the frame, their width about 3/4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels of a bitmap

Floats = NDArray[np.float32]


def block_counts(bitmaps: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Set pixels of each 4x4 block: (N, 32, 32) to (N, 8, 8), 0..16."""
    blocks = bitmaps.reshape(-1, 8, 4, 8, 4)
    return blocks.sum(axis=(2, 4), dtype=np.uint8)


def random_affine(
    rng: np.random.Generator, n: int, *, turn: float, shear: float, stretch: float
) -> Floats:
    """(n, 2, 2) maps of (x, y): rotation (radians), slant and log-stretch, all normal."""
    angle = rng.normal(0, turn, n)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    slant = np.zeros((n, 2, 2))
    slant[:, 0, 0] = np.exp(rng.normal(0, stretch, n))
    slant[:, 0, 1] = rng.normal(0, shear, n)
    slant[:, 1, 1] = 1
    return (rotation @ slant).astype(np.float32)


def random_boxes(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Where the ink goes, in pixels: low and high corner, each (n, 2) as (x, y)."""
    width = rng.uniform(20, 25, n)
    centre = rng.normal(15.5, 0.7, n)
    low = np.stack([centre - width / 2, np.zeros(n)], -1)
    high = np.stack([centre + width / 2, np.full(n, SIDE)], -1)
    return low.astype(np.float32), high.astype(np.float32)


def pixel_centres() -> Floats:
    """(1024, 2) as (x, y), row by row."""
    centre = np.arange(SIDE, dtype=np.float32) + 0.5
    x, y = np.meshgrid(centre, centre)
    return np.stack([x.ravel(), y.ravel()], -1)
