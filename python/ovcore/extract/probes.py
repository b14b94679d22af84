"""Linear probes fitted on a model's features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from ovcore.extract.batches import read_batch
from ovcore.extract.heads import Probe
from ovcore.extract.hooks import Side
from ovcore.extract.loaders import count_samples
from ovcore.extract.models import Extraction
from ovcore.extract.progress import bar
from ovcore.extract.running import Runner, Settings
from ovcore.representations import LinearProbe
from ovcore.store import ModelCard

__all__ = ["fit_probe"]


def fit_probe(
    module: nn.Module,
    train_loader: Iterable[Any],
    *,
    layer: str = "auto",
    side: Side = "output",
    prepare: Callable[[Any], Any] | None = None,
    autocast: str | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
    **settings: Any,
) -> Probe:
    """Fits a multinomial logistic regression by L-BFGS to a module's features.

    All features of the training samples, float32, are in memory for that: N x D x 4 bytes, and as
    much again for the standardised copy.

    Args:
        module: whose features; of a model of images and texts those of its image encoder. It is
            left as it was found.
        train_loader: batches as :func:`~ovcore.extract.extract_to_store` takes them, in any order;
            labels are 0..K-1 and all of them occur.
        layer: of the features, "auto" finds the input of the module's own classifier, "" is the
            module's output.
        side: of that layer.
        prepare: what makes the module's inputs of a batch's.
        autocast: see :func:`~ovcore.extract.extract_to_store`, as are those below.
        device: see there.
        progress: see there.
        settings: of :class:`~ovcore.representations.LinearProbe`, for example ``C`` or
            ``protocol``.

    Raises:
        ValueError: a class without a sample, no sample, or a layer that is not found.
    """
    chosen = LinearProbe(**settings)
    model = Extraction(ModelCard("the probed module"), module, layer, side, prepare=prepare)
    rows: list[torch.Tensor] = []
    labels = []
    with (
        Runner(model, Settings("float32", autocast, device), logits=False) as runner,
        bar("features", 0, count_samples(train_loader), shown=progress) as advance,
    ):
        for given in train_loader:
            batch = read_batch(given)
            inputs, count = runner.prepare(batch.inputs), len(batch.labels)
            if not rows:
                runner.begin(inputs, count)
            rows.append(runner(inputs, count)["features"])
            labels.append(batch.labels)
            advance(count)
    if not rows:
        raise ValueError("train_loader is empty")
    target = np.concatenate(labels)
    _refuse_missing(target)
    features = torch.cat(rows)
    chosen.fit(features.numpy(), target)
    weight, bias = torch.as_tensor(chosen.coef_), torch.as_tensor(chosen.intercept_)
    if len(weight) == 1:  # two classes are told apart by one output: its halves
        halves = weight.new_tensor([[-0.5], [0.5]])
        weight, bias = halves * weight, halves[:, 0] * bias
    assert runner.layer is not None
    return Probe(
        weight,
        bias,
        layer=runner.layer,
        side=runner.side,
        settings={**settings, "fitted_C": chosen.C_, "n_training_samples": len(target)},
    )


def _refuse_missing(target: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    if target.min() < 0:
        raise ValueError(f"labels must be 0..K-1, but one of train_loader is {target.min()}")
    missing = np.flatnonzero(np.bincount(target) == 0)
    if len(missing):
        raise ValueError(f"train_loader has no sample of class {missing[0]}")
