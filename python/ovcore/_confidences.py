"""What models predict and how sure they are of it, for all that measures confidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._devices import DeviceArray
from ovcore._inputs import Logits


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
