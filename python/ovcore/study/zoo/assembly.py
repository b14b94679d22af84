"""`build`: the zoo's splits, trained where they are not in the cache."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from ovcore.store import Store
from ovcore.study.zoo import cache as cached_splits
from ovcore.study.zoo.digits import Index, checked, load_digits_images
from ovcore.study.zoo.recipe import Recipe
from ovcore.study.zoo.split import set_up, train_split, trainings, write_stores
from ovcore.study.zoo.transfer import write_transfer


@dataclass(frozen=True)
class ZooSplit:
    """One repetition of the zoo: outputs to fit temperatures on, outputs to report on, features.

    Attributes:
        calibration: each half's calibration images, by the instances of that half.
        test: every image, by the instances that saw nothing of its half.
        transfer: features alone, of canvases with several digits, by the instances that saw
            nothing of those digits; :func:`ovcore.study.transfer_task.read_task` has the labels.
        seconds: how long the training took, when it took place.
        cached: whether it was loaded rather than trained.
    """

    calibration: Store
    test: Store
    transfer: Store
    seconds: float
    cached: bool


def build(
    recipe: Recipe | None = None,
    *,
    images: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    splits: int = 1,
    cache: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> list[ZooSplit]:
    """Train the zoo, or load it where the same one was trained before.

    Args:
        recipe: what to train; `Recipe()` where not given.
        images: (N, 8, 8) counts 0..16; scikit-learn's handwritten digits where not given.
        labels: (N,) digits 0..9, with `images` only.
        splits: repetitions, each with seeds and halves of its own.
        cache: folder of finished splits; the user's cache folder where not given.
        progress: a bar on stderr while training.

    Raises:
        ValueError: the images or labels have a wrong shape or range, or are too few.
    """
    recipe = Recipe() if recipe is None else recipe
    if (images is None) != (labels is None):
        raise ValueError("images and labels go together: give both or neither")
    if splits < 1:
        raise ValueError(f"splits must be at least 1, not {splits}")
    data = load_digits_images() if images is None or labels is None else checked(images, labels)
    folder = cached_splits.default_folder() if cache is None else Path(cache)
    return [
        _load_or_train(recipe, *data, split=split, folder=folder, progress=progress)
        for split in range(splits)
    ]


def _load_or_train(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: Index,
    *,
    split: int,
    folder: Path,
    progress: bool,
) -> ZooSplit:
    place = folder / cached_splits.split_key(recipe, images, labels, split)
    found = cached_splits.is_finished(place)
    if not found:
        with cached_splits.appearing_whole(place) as partial:
            _train(recipe, images, labels, split, partial, progress)
    return ZooSplit(
        calibration=Store(place / "calibration"),
        test=Store(place / "test"),
        transfer=Store(place / "transfer"),
        seconds=cached_splits.read_seconds(place),
        cached=found,
    )


def _train(
    recipe: Recipe,
    images: NDArray[np.uint8],
    labels: Index,
    split: int,
    folder: Path,
    progress: bool,
) -> None:
    bench = set_up(recipe, images, labels, split)
    total = trainings(recipe)
    start = time.perf_counter()
    with tqdm(
        total=total,
        desc=f"training the zoo, split {split}",
        disable=not progress,
        mininterval=0.5,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total} models [{elapsed}]",
    ) as bar:

        def tick(models: float) -> None:
            bar.update(models)

        members = train_split(bench, tick)
        bar.update(total - bar.n)  # what rounding left of the shares
        seconds = time.perf_counter() - start
        bar.set_description(f"outputs of the zoo, split {split}")
        write_stores(bench, members, folder)
        write_transfer(bench, members, images, folder / "transfer")
    cached_splits.write_seconds(folder, seconds)
