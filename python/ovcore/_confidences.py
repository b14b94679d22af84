"""What models predict and how sure they are of it, for all that measures confidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore import _dispatch, _inputs, _progress
from ovcore._inputs import Logits


def confidences(
    inputs: Logits, temperature: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:  # (M, N) each
    """Predictions, and the largest softmax(z / T) of each sample; refuses what has none."""
    shape = (len(inputs.models), inputs.n_samples)
    preds, confidence = np.empty(shape, np.int32), np.empty(shape, np.float32)
    workers = _dispatch.count_workers(None)
    with _progress.bar("confidences") as progress:
        kernel = _dispatch.choose(None).confidences
        kernel(inputs.models, temperature, preds, confidence, workers, progress)
    for m, without in enumerate(preds < 0):
        _inputs.refuse_samples(m, without)
    return preds, confidence
