"""The real digits and how a split cuts them: halves, and what each half is used for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ovcore.study.zoo.recipe import Recipe
from ovcore.study.zoo.streams import numpy_stream

CLASSES = 10

Index = NDArray[np.int64]


def load_digits_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's handwritten digits: images (1797, 8, 8) of 0..16, labels (1797,)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.uint8), digits.target.astype(np.int64)


def checked(images: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.uint8], Index]:
    """Images as uint8 (N, 8, 8) and labels as int64 (N,), or a ValueError."""
    pictures, classes = np.asarray(images), np.asarray(labels)
    if pictures.ndim != 3 or pictures.shape[1:] != (8, 8):
        raise ValueError(f"images must have shape (N, 8, 8), not {pictures.shape}")
    if classes.shape != pictures.shape[:1]:
        raise ValueError(f"labels has shape {classes.shape} but images has {len(pictures)} images")
    if pictures.size and not (pictures.min() >= 0 and pictures.max() <= 16):
        raise ValueError(f"images must lie in 0..16, not {pictures.min()}..{pictures.max()}")
    if classes.size and not (classes.min() >= 0 and classes.max() < CLASSES):
        raise ValueError(f"labels must lie in 0..9, not {classes.min()}..{classes.max()}")
    return pictures.astype(np.uint8), classes.astype(np.int64)


def as_inputs(images: NDArray[np.uint8]) -> Tensor:
    """Network inputs (N, 1, 8, 8): counts 0..16 brought to about zero mean, unit variance."""
    return (torch.from_numpy(images.astype(np.float32)) / 16 - 0.3).unsqueeze(1) / 0.38


@dataclass(frozen=True)
class Fold:
    """What the instances trained in one half may see, and where they are tested."""

    labelled: Index  # train, class-balanced
    calibration: Index  # temperatures only
    pool: Index  # images without labels
    test: Index  # the whole other half


def make_folds(labels: Index, recipe: Recipe, split: int) -> tuple[Fold, Fold]:
    """Two stratified halves, each the other's test set. All index arrays are sorted."""
    rng = numpy_stream("zoo", recipe.seed, split, "folds")
    half = np.empty(len(labels), dtype=np.int64)
    dealt = 0
    for digit in range(CLASSES):
        mine = rng.permutation(np.flatnonzero(labels == digit))
        half[mine] = (np.arange(len(mine)) + dealt) % 2  # odd classes even out
        dealt += len(mine)
    halves = [np.flatnonzero(half == fold) for fold in (0, 1)]
    parts = [_cut(h, labels, recipe, rng) for h in halves]
    return (
        Fold(*parts[0], test=halves[1]),
        Fold(*parts[1], test=halves[0]),
    )


def _cut(
    half: Index, labels: Index, recipe: Recipe, rng: np.random.Generator
) -> tuple[Index, Index, Index]:
    each, uneven = divmod(recipe.labelled, CLASSES)
    if uneven or each < 1:
        raise ValueError(f"labelled must be a multiple of {CLASSES}, not {recipe.labelled}")
    order = rng.permutation(half)
    chosen = []
    for digit in range(CLASSES):
        mine = order[labels[order] == digit]
        if len(mine) < each:
            raise ValueError(f"a half has {len(mine)} images of class {digit}, needs {each}")
        chosen.append(mine[:each])
    labelled = np.concatenate(chosen)
    rest = order[~np.isin(order, labelled)]
    if len(rest) <= recipe.calibration:
        raise ValueError(
            f"a half has {len(rest)} images beside the labelled ones, needs more than "
            f"{recipe.calibration} for calibration and the pool"
        )
    calibration, pool = rest[: recipe.calibration], rest[recipe.calibration :]
    return np.sort(labelled), np.sort(calibration), np.sort(pool)
