"""The zoo's recipe on images it was not tuned on: MNIST, brought to the form of the digits.

    python bench/zoo_on_mnist.py mnist_dev.npz [--samples 6000] [--splits 1]

Takes an .npz file with `images` (N, 28, 28) uint8 and `labels` (N,). Each image is cut to its
ink, scaled to 32 pixels of height, thresholded and reduced to counts of 4x4 blocks, and the zoo
is trained with 100 labels a half. Prints every model's accuracy, and per category the means over
pairs with each seed of the base network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ovcore as ov
from ovcore.study.zoo import Recipe, ZooSplit, build
from ovcore.study.zoo.raster import SIDE, block_counts

CATEGORIES = ("REINIT", "HPARAM", "FWORK", "ARCH", "DATASET")
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


def calibrated(split: ZooSplit) -> NDArray[np.float32]:
    """Test logits (M, N, K), each fold's divided by its own instances' temperature."""
    names = [card.name for card in split.test.models]
    test = np.stack([split.test.logits(name) for name in names])
    held = np.stack([split.calibration.logits(name) for name in names])
    for fold in (0, 1):
        mine = split.calibration.columns["fold"] == fold
        fit = ov.calibration.fit_temperature(held[:, mine], split.calibration.target[mine])
        test[:, split.test.columns["fold"] == fold] /= fit.temperature[:, None, None]
    return test


def report(split: ZooSplit) -> None:
    cards = split.test.models
    logits, target = calibrated(split), split.test.target
    errors = ov.pack_errors(logits, target)
    apart = ov.pairwise.error_inconsistency(errors)
    pairs = ov.ensembles.pairs(logits, target)
    accuracy = errors.accuracy()
    for card, value in zip(cards, accuracy, strict=True):
        print(f"{card.category:8} {card.name:36} {value:.3f}")
    categories = np.array([card.category for card in cards])
    bases = np.flatnonzero(np.isin(categories, ("BASE", "REINIT")))
    print(f"\nbase accuracy {accuracy[categories == 'BASE'][0]:.3f}, {split.seconds:.0f} s")
    print("category  models  accuracy         inconsistency  gain    conversion")
    for category in CATEGORIES:
        mine = bases if category == "REINIT" else np.flatnonzero(categories == category)
        at = tuple(np.array([(b, m) for b in bases for m in mine if b != m]).T)
        print(
            f"{category:8}  {len(mine):6}  {accuracy[mine].min():.3f} .. {accuracy[mine].max():.3f}"
            f"  {apart[at].mean():13.3f}  {pairs.gain[at].mean():.4f}  "
            f"{np.nanmean(pairs.conversion_rate[at]):10.3f}"
        )


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
    for split in build(
        recipe, images=images, labels=labels, splits=options.splits, cache=options.cache
    ):
        report(split)


if __name__ == "__main__":
    main()
