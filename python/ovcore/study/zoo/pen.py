"""Digits drawn by a jittered pen: templates of strokes, rendered as the real digits were."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ovcore.study.zoo.raster import (
    SIDE,
    Floats,
    block_counts,
    pixel_centres,
    random_affine,
    random_boxes,
)

# Per digit, per way of writing it, per stroke: "~" a smooth curve through its points,
# "/" straight lines; points are x,y in percent, y downwards.
TEMPLATES: tuple[tuple[str, ...], ...] = (
    (
        "~ 55,0 25,8 8,35 8,65 25,92 50,100 75,92 92,65 92,35 78,10 52,0",
        "~ 70,8 40,0 15,25 8,60 25,95 55,98 85,75 90,40 75,12 55,6 30,15",
    ),
    (
        "/ 10,40 35,22 60,0 60,50 60,100",
        "/ 12,35 55,0 55,50 55,100 | / 15,100 55,100 95,100",
        "/ 20,38 45,20 72,0 64,50 56,100",
    ),
    (
        "~ 10,25 25,5 50,0 78,10 82,30 65,55 35,80 10,98 | / 10,98 50,97 95,96",
        "~ 8,22 30,2 62,2 80,22 68,50 40,75 15,92 12,82 30,78 60,92 95,96",
        "~ 20,12 50,0 75,12 72,38 50,65 15,100 | / 15,100 55,100 90,100",
    ),
    (
        "~ 12,10 45,0 80,12 75,35 40,48 80,60 88,80 55,99 10,92",
        "/ 10,3 50,2 88,2 45,42 | ~ 45,42 80,50 90,75 60,98 10,96",
        "~ 15,14 40,0 70,6 76,26 42,46 | ~ 42,46 76,54 82,78 55,98 12,90",
    ),
    (
        "/ 45,0 28,30 8,62 50,63 95,62 | / 66,35 64,68 60,100",
        "/ 60,0 30,32 5,66 50,67 92,66 | / 62,0 63,50 64,100",
        "~ 20,0 14,28 18,48 50,55 80,48 | / 84,5 80,50 72,100",
        "/ 42,0 28,25 12,52 | ~ 12,52 40,62 88,56 | / 68,28 62,60 52,100",
    ),
    (
        "/ 88,2 55,2 22,3 20,22 18,42 | ~ 18,42 50,32 82,45 85,75 55,98 12,94",
        "/ 25,4 22,25 20,45 | ~ 20,45 55,36 85,55 78,85 45,100 10,92 | / 25,4 60,3 92,2",
        "/ 92,6 60,3 30,4 22,40 | ~ 22,40 48,40 66,58 66,80 45,97 10,98",
    ),
    (
        "~ 62,0 35,20 15,50 12,78 30,98 62,98 85,80 78,62 50,55 22,68",
        "~ 45,0 25,25 12,55 15,85 45,100 78,92 88,72 65,58 35,62 15,80",
        "~ 78,3 45,12 20,40 10,72 28,96 60,98 82,80 70,58 40,55 14,74",
    ),
    (
        "/ 8,4 50,3 90,3 68,35 50,68 38,100",
        "/ 8,8 45,4 85,2 70,35 55,68 42,100 | / 25,52 55,48 88,44",
        "~ 8,22 14,4 45,10 88,2 66,36 50,66 44,100 | / 28,56 54,50 84,46",
    ),
    (
        "~ 75,12 45,0 20,12 28,32 55,48 80,68 72,92 45,100 20,90 18,70 45,50 75,32 76,12",
        "~ 50,47 22,32 25,8 52,0 78,10 75,34 50,47 22,62 15,85 48,100 82,88 80,64 50,47",
        "~ 85,5 50,2 25,18 40,40 70,62 72,88 45,100 22,84 40,58 72,32 85,5",
    ),
    (
        "~ 82,18 55,0 22,10 16,32 40,48 72,40 84,15 | ~ 84,15 80,55 62,85 25,99",
        "~ 80,22 58,2 28,6 16,26 32,46 64,42 80,20 | / 80,20 76,60 70,100",
        "~ 78,10 45,0 18,16 30,38 60,38 80,14 | ~ 80,14 84,48 76,84 45,100 12,90",
    ),
)  # fmt: skip

_POINTS = 64  # a curve's samples: about one every 1.5 pixels
_CHUNK = 200  # images at a time: 50 MB of squared distances


def draw_digits(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One drawing (8, 8) of 0..16 for each label 0..9."""
    images = np.empty((len(labels), 8, 8), dtype=np.uint8)
    variant = rng.random(len(labels))
    for digit, ways in enumerate(TEMPLATES):
        for number, way in enumerate(ways):
            mine = labels == digit
            mine &= (variant * len(ways)).astype(int) == number
            images[mine] = _draw(way, int(mine.sum()), rng)
    return images


def _draw(way: str, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    points, weights = _template(way)
    jitter = rng.normal(0, 1, (n, *points.shape)) * rng.uniform(0.01, 0.06, (n, 1, 1))
    curves = weights @ (points + jitter).astype(np.float32)
    curves = curves @ random_affine(rng, n, turn=0.08, shear=0.15, stretch=0.1).transpose(0, 2, 1)
    radius = rng.uniform(1.6, 3.0, (n, 1)).astype(np.float32)
    low, high = random_boxes(rng, n)
    curves -= curves.min(axis=1, keepdims=True)
    curves /= np.maximum(curves.max(axis=1, keepdims=True), 0.25)  # a bare line stays narrow
    curves = (low + radius)[:, None] + curves * (high - low - 2 * radius)[:, None]
    drawn = [
        block_counts(_ink(curves[i : i + _CHUNK], radius[i : i + _CHUNK]))
        for i in range(0, n, _CHUNK)
    ]
    return np.concatenate(drawn) if drawn else np.empty((0, 8, 8), dtype=np.uint8)


def _ink(curves: Floats, radius: Floats) -> NDArray[np.bool_]:
    """Pixels whose centre is within the pen's radius of a curve point: (n, 32, 32)."""
    centres = pixel_centres()
    squared = (curves**2).sum(-1)[:, None, :] - 2 * centres @ curves.transpose(0, 2, 1)
    nearest = squared.min(axis=-1) + (centres**2).sum(-1)
    return (nearest <= radius**2).reshape(-1, SIDE, SIDE)


@cache
def _template(way: str) -> tuple[Floats, Floats]:
    """Control points (C, 2) of all strokes and the matrix (P, C) that draws their curves."""
    strokes = [stroke.split() for stroke in way.split("|")]
    points = [
        np.array([point.split(",") for point in stroke[1:]], dtype=np.float32) / 100
        for stroke in strokes
    ]
    lengths = np.array([np.linalg.norm(np.diff(p, axis=0), axis=1).sum() for p in points])
    shares = np.maximum(2, np.round(_POINTS * lengths / lengths.sum())).astype(int)
    total = sum(len(p) for p in points)
    rows, start = [], 0
    for stroke, p, share in zip(strokes, points, shares, strict=True):
        block = np.zeros((share, total), dtype=np.float32)
        spread = _straight if stroke[0] == "/" else _smooth
        block[:, start : start + len(p)] = spread(len(p), share)
        rows.append(block)
        start += len(p)
    return np.concatenate(points), np.concatenate(rows)


def _straight(points: int, samples: int) -> Floats:
    """Linear interpolation of control points as a matrix (samples, points)."""
    at = np.linspace(0, points - 1, samples)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(points))).astype(np.float32)


def _smooth(points: int, samples: int) -> Floats:
    """Catmull-Rom spline through the control points, ends repeated, as a matrix."""
    at = np.linspace(0, points - 1, samples)
    first = np.minimum(at.astype(int), points - 2)
    t = at - first
    basis = 0.5 * np.stack(
        [
            -(t**3) + 2 * t**2 - t,
            3 * t**3 - 5 * t**2 + 2,
            -3 * t**3 + 4 * t**2 + t,
            t**3 - t**2,
        ]
    )
    matrix = np.zeros((samples, points))
    for offset, values in zip((-1, 0, 1, 2), basis, strict=True):
        np.add.at(matrix, (np.arange(samples), np.clip(first + offset, 0, points - 1)), values)
    return matrix.astype(np.float32)
