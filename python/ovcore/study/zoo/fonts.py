"""Characters of the TrueType fonts that matplotlib and Pillow carry with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ovcore.study.zoo.raster import SIDE, Floats, block_counts, random_affine, random_boxes

FACES = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
    "cmr10", "cmb10", "cmss10", "cmtt10", "cmti10",
    "",  # Pillow's own face
)  # fmt: skip
DIGITS = "0123456789"
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # no I and O: too close to 1 and 0
SUPERSET = DIGITS + LETTERS  # 34 classes, the ten digits first

_SIZE = 64  # pixels of a glyph's frame


def draw_characters(
    labels: NDArray[np.int64], rng: np.random.Generator, *, alphabet: str = DIGITS
) -> NDArray[np.uint8]:
    """One drawing (8, 8) of 0..16 for each label, a place in `alphabet`."""
    images = np.empty((len(labels), 8, 8), dtype=np.uint8)
    face = rng.integers(len(FACES), size=len(labels))
    order = np.lexsort((face, labels))
    starts = np.flatnonzero(np.diff(labels[order] * len(FACES) + face[order], prepend=-1))
    for mine in np.split(order, starts[1:]):
        if len(mine):
            glyph = _glyph(FACES[face[mine[0]]], alphabet[labels[mine[0]]])
            images[mine] = block_counts(_vary(glyph, len(mine), rng))
    return images


def _vary(glyph: Floats, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Slant, turn and stretch a glyph (64, 64), fit its box, threshold: (n, 32, 32)."""
    ys, xs = np.nonzero(glyph > 0.5)
    ink = np.stack([xs, ys], -1).astype(np.float32) + 0.5 - _SIZE / 2
    maps = random_affine(rng, n, turn=0.08, shear=0.2, stretch=0.1)
    moved = ink @ maps.transpose(0, 2, 1)
    near, far = moved.min(axis=1) - 0.5, moved.max(axis=1) + 0.5
    low, high = random_boxes(rng, n)
    weight = rng.uniform(0.3, 0.7, (n, 1, 1))  # of the threshold: thinner or bolder strokes
    steps = (np.arange(SIDE, dtype=np.float32) + 0.5)[None, :, None]
    span = np.maximum(far - near, [[0.25 * _SIZE, 1.0]])  # a bare line stays narrow
    middle = (near + far) / 2
    at = middle[:, None] + ((steps - low[:, None]) / (high - low)[:, None] - 0.5) * span[:, None]
    grid = np.stack(np.broadcast_arrays(at[:, None, :, 0], at[:, :, None, 1]), -1)
    source = grid @ np.linalg.inv(maps)[:, None].transpose(0, 1, 3, 2) + _SIZE / 2 - 0.5
    return _bilinear(glyph, source) > weight


def _bilinear(image: Floats, at: NDArray[np.floating]) -> Floats:
    """Values of `image` at (x, y) in pixel centres; zero outside."""
    frame = np.pad(image, 1)
    place = np.clip(at + 1, 0, _SIZE + 0.999)
    corner = place.astype(np.int64)
    (x, y), (fx, fy) = np.moveaxis(corner, -1, 0), np.moveaxis(place - corner, -1, 0)
    top = frame[y, x] * (1 - fx) + frame[y, x + 1] * fx
    bottom = frame[y + 1, x] * (1 - fx) + frame[y + 1, x + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy, dtype=np.float32)


@cache
def _glyph(face: str, character: str) -> Floats:
    """The character in the middle of a (64, 64) frame, smoothed, ink 1."""
    font = _font(face)
    frame = Image.new("L", (_SIZE, _SIZE))
    ImageDraw.Draw(frame).text((_SIZE / 2, _SIZE / 2), character, fill=255, font=font, anchor="mm")
    return np.asarray(frame, dtype=np.float32) / np.float32(255)


@cache
def _font(face: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    if not face:
        return ImageFont.load_default(size=48)
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{face}.ttf"), size=48)
