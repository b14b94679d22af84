"""Training one split of the zoo and writing what it says of the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ovcore.extract.hooks import extract_outputs
from ovcore.store import StoreWriter
from ovcore.study.zoo import from_labels, from_pool, from_sources
from ovcore.study.zoo.classical import Classical
from ovcore.study.zoo.digits import CLASSES, Index, as_inputs, make_folds
from ovcore.study.zoo.nets import Net
from ovcore.study.zoo.recipe import Recipe
from ovcore.study.zoo.stacked import Tick
from ovcore.study.zoo.workbench import FOLDS, Member, Workbench

_STAGES = (from_labels, from_pool, from_sources)
_BATCH = 2048  # images at a time when outputs are taken

Floats = NDArray[np.float32]


def trainings(recipe: Recipe) -> int:
    """How many networks one split trains: what the ticks add up to."""
    return sum(stage.trainings(recipe) for stage in _STAGES)


def set_up(recipe: Recipe, images: NDArray[np.uint8], labels: Index, split: int) -> Workbench:
    """Cut the images (N, 8, 8) for one split."""
    folds = make_folds(labels, recipe, split)
    return Workbench(recipe, split, as_inputs(images), torch.from_numpy(labels), folds)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch on one thread: its threads wait for each other at every small operation.

    Two threads are 1.5 times faster on an idle machine and 2 times slower on a busy one; with one
    the results do not depend on how many there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train_split(bench: Workbench, tick: Tick) -> list[Member]:
    """All members of one split, base first."""
    return [member for stage in _STAGES for member in stage.members(bench, tick)]


@one_thread()
def write_stores(bench: Workbench, members: Sequence[Member], folder: Path) -> None:
    """Write the stores `folder`/test and `folder`/calibration.

    Each image is tested by the instance that never saw its half; each half's calibration
    images go through the instance of that half.
    """
    tested = [fold.test for fold in bench.folds]
    order = np.argsort(np.concatenate(tested))  # back to the images' own order
    _write(bench, members, folder / "test", tested, order)
    held = [fold.calibration for fold in bench.folds]
    _write(bench, members, folder / "calibration", held, np.arange(sum(map(len, held))))


def _write(
    bench: Workbench, members: Sequence[Member], path: Path, parts: Sequence[Index], order: Index
) -> None:
    """`parts[f]` are the images that fold f's instances speak about."""
    rows = np.concatenate(parts)[order]
    folds = np.concatenate([np.full(len(parts[fold]), fold) for fold in FOLDS])[order]
    with StoreWriter(
        path,
        target=bench.labels.numpy()[rows],
        sample_ids=[f"digits/{row:04d}" for row in rows],
        class_names=[str(digit) for digit in range(CLASSES)],
        columns={"fold": folds},
    ) as writer:
        for member in members:
            outputs = [
                _outputs(instance, bench, part)
                for instance, part in zip(member.instances, parts, strict=True)
            ]
            logits = np.concatenate([o[0] for o in outputs])[order]
            features = [o[1] for o in outputs if o[1] is not None]
            writer.add(
                member.card,
                logits=logits,
                features=np.concatenate(features)[order] if features else None,
            )


def _outputs(
    instance: Net | Classical, bench: Workbench, rows: Index
) -> tuple[Floats, Floats | None]:
    images = bench.inputs[torch.from_numpy(rows)]
    if isinstance(instance, Classical):
        return instance.logits(images.flatten(1).numpy()), None
    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    return extract_outputs(instance, batches, layer="body")
