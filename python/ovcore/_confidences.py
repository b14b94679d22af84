"""What models predict and how sure they are of it, for all that measures confidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._devices import DeviceArray
from ovcore._inputs import Logits, Preds
from ovcore.topk import TopK


def confidences(
    inputs: Logits, temperature: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float32] | DeviceArray]:  # (M, N) each
    """Predictions, and the largest softmax(z / T) of each sample; refuses what has none.

    Confidences are where the logits are.
    """
    shape = (len(inputs.models), inputs.n_samples)
    preds = _arrays.empty(shape, "int32", inputs.library)
    confidence = _arrays.empty(shape, "float32", inputs.library)
    workers = _dispatch.count_workers(None)
    with _progress.bar("confidences") as progress:
        kernel = _dispatch.choose(None, inputs.library).confidences
        kernel(inputs.models, temperature, preds, confidence, workers, progress)
    predicted = _arrays.on_host(preds)
    for m, without in enumerate(predicted < 0):
        _inputs.refuse_samples(m, without)
    return predicted, confidence


def stored_confidences(
    inputs: Preds, stored: Sequence[TopK], temperature: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:  # (M, N) each
    """The same of stored top-k outputs, whose best probability is the confidence."""
    refuse_temperatures(temperature)
    preds = np.stack(inputs.models).astype(np.int32)
    for m, without in enumerate(preds < 0):
        _inputs.refuse_samples(m, without)
    best = [top.probabilities()[1].max(axis=1) for top in stored]
    return preds, np.stack(best).astype(np.float32)


def refuse_temperatures(temperature: NDArray[np.float64]) -> None:
    """Of stored outputs, which lack the classes that another temperature would raise."""
    if (temperature != 1).any():
        raise ValueError(
            "stored top-k outputs are probabilities of some classes, which have no other "
            f"temperature than 1: got {float(temperature[temperature != 1][0])}"
        )
