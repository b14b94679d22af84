"""The zoo's recipe on images it was not tuned on: MNIST, brought to the form of the digits.

    python bench/zoo_on_mnist.py mnist_dev.npz [--samples 6000] [--splits 1]

Takes an .npz file with `images` (N, 28, 28) uint8 and `labels` (N,). Each image is cut to its
ink, scaled to 32 pixels of height, thresholded and reduced to counts of 4x4 blocks, and the zoo
is trained with 100 labels a half. Prints every model against the base, and per category the means
over models in the accuracy band, with each seed of the base network as base in turn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovcore.study import Subject, from_zoo
from ovcore.study.experiments.tables import model_table
from ovcore.study.pairs import category_rows
from ovcore.study.zoo import Recipe, build
from ovcore.study.zoo.raster import SIDE, block_counts

WIDEST = 26  # pixels: the real digits keep a margin of about three on each side


def like_digits(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, H, W) of grey ink on black to block counts (N, 8, 8), 0..16."""
    frames = np.zeros((len(images), SIDE, SIDE), dtype=bool)
    for frame, image in zip(frames, images, strict=True):
        rows, columns = (np.flatnonzero((image > 127).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue  # no ink: an empty image stays one
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        scale = SIDE / (bottom - top)
        width = int(np.clip(round((right - left) * scale), 1, WIDEST))
        ink = Image.fromarray(image[top:bottom, left:right])
        bitmap = np.asarray(ink.resize((width, SIDE), Image.Resampling.BILINEAR)) > 127
        start = (SIDE - width) // 2
        frame[:, start : start + width] = bitmap
    return block_counts(frames)


METRICS = ("accuracy", "error_inconsistency", "relative_to_chance", "gain", "conversion_rate")


def report(subject: Subject) -> None:
    """Every model against the base, and the means of categories."""
    columns = ["model", "category", "temperature", "accuracy", "error_inconsistency", "gain"]
    print(model_table(subject)[columns].to_string(index=False, float_format="%.4f"))
    print(category_rows(subject, METRICS).to_string(index=False, float_format="%.4f"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path, help="an .npz file with images and labels")
    parser.add_argument("--samples", type=int, default=6000, help="first images to use")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--labelled", type=int, default=100, help="training images a half")
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    with np.load(options.mnist, allow_pickle=False) as data:
        images = like_digits(data["images"][: options.samples])
        labels = data["labels"][: options.samples].astype(np.int64)
    recipe = Recipe(labelled=options.labelled)
    splits = build(recipe, images=images, labels=labels, splits=options.splits, cache=options.cache)
    report(from_zoo(recipe, splits))


if __name__ == "__main__":
    main()
