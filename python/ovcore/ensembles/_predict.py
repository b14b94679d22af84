"""What an ensemble of any members predicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._arrays import Array
from ovcore.ensembles import _scored
from ovcore.ensembles._scored import Ensembled
from ovcore.topk import TopK

__all__ = ["accuracy", "predict"]

_COMBINE = (*_scored.COMBINE, "vote", "max")
_BLOCK_BYTES = 1 << 26  # of float64 sums or votes for all classes of some samples


def predict(
    logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating, or M arrays (N, K)
    *,
    members: Sequence[int] | Array | None = None,  # (L,) indices of models
    weights: Sequence[float] | Array | None = None,  # (L,)
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    combine: str = "prob",
) -> Array:
    """Classes (N,) int64 that an ensemble of some models predicts.

    The arg max over classes k of the sum over members m of w_m times

    - "prob": softmax(z / T)_k, the mean of probabilities;
    - "logit": (z / T)_k, and "logprob": log softmax(z / T)_k, the geometric mean of probabilities,
      which differs from it by what all classes have in common and so predicts the same;
    - "vote": 1 for the member's own prediction, else 0;

    or of the largest w_m softmax(z / T)_k of all members ("max": the most confident member is
    followed). Float32 scores are summed in float64 in the order of members; the lowest class wins a
    tie. Where all members predict the same class, so does the ensemble. -1 where no class is left:
    each at -inf for some member, combined by logits.

    Args:
        logits: as in :func:`ovcore.pack_errors`; stored top-k outputs for "prob", "vote" and "max".
        members: indices of models, which may repeat; default: all models once.
        weights: one a member, not negative and not all 0; default: 1 each.
        temperature: positive, one for all M models or one each.
        combine: one of the above.

    Raises:
        ValueError: as :func:`ovcore.ensembles.pairs`; a member that is no model; weights that are
            not as above.

    >>> import numpy as np
    >>> logits = np.log([[[.9, .1]], [[.4, .6]], [[.4, .6]]])  # one sure of 0, two lean to 1
    >>> predict(logits), predict(logits, combine="vote"), predict(logits, weights=[1, 3, 3])
    (array([0]), array([1]), array([1]))
    """
    models, which = _scored.read(logits, None, temperature, combine, _COMBINE, members)
    shares = _weights(weights, len(which))
    return _arrays.in_library(combined(models, which, shares, combine), models.library)


def accuracy(
    logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating, or M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    members: Sequence[int] | Array | None = None,  # (L,) indices of models
    weights: Sequence[float] | Array | None = None,  # (L,)
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    combine: str = "prob",
) -> float:
    """Share of samples that an ensemble of some models gets right; arguments as :func:`predict`.

    >>> import numpy as np
    >>> logits = np.log([[[.9, .1], [.9, .1]], [[.4, .6], [.4, .6]]])
    >>> accuracy(logits, np.array([0, 1])), accuracy(logits, np.array([0, 1]), members=[1])
    (0.5, 0.5)
    """
    models, which = _scored.read(logits, target, temperature, combine, _COMBINE, members)
    shares = _weights(weights, len(which))
    return float((combined(models, which, shares, combine) == models.target).mean())


def combined(
    models: Ensembled, members: NDArray[np.int64], weights: NDArray[np.float64], combine: str
) -> NDArray[np.int64]:  # (N,)
    """What checked members predict together."""
    members, weights = members[weights > 0], weights[weights > 0]
    preds = _arrays.take(models.preds, members)
    if combine == "vote" or models.scored is None:
        return _by_sums(models, members, weights, combine)
    some = models.scored._replace(
        models=[models.scored.models[m] for m in members],
        temperature=models.scored.temperature[members],
    )
    workers = _dispatch.count_workers(None)
    with _progress.bar("ensemble") as progress:
        predict_together = _dispatch.choose(None, models.library).ensemble_predictions
        return predict_together(some, weights, preds, workers, progress).astype(np.int64)


def _by_sums(
    models: Ensembled, members: NDArray[np.int64], weights: NDArray[np.float64], combine: str
) -> NDArray[np.int64]:
    """From votes or stored probabilities, few of which are not 0."""
    predicted = np.empty(models.n_samples, np.int64)
    preds_of = _arrays.on_host(models.preds)
    for rows in _inputs.blocks(models.n_samples, 8 * models.n_classes, _BLOCK_BYTES):
        sample = np.arange(rows.stop - rows.start)
        total = np.zeros((len(sample), models.n_classes))
        for m, weight in zip(members, weights, strict=True):
            if combine == "vote":
                total[sample, preds_of[m, rows]] += weight
                continue
            classes, probs = models.stored[m][rows].probabilities()
            terms = weight * probs.astype(np.float64)
            at = (sample[:, None], classes)
            total[at] = np.maximum(total[at], terms) if combine == "max" else total[at] + terms
        predicted[rows] = total.argmax(axis=1)
    preds = preds_of[members]
    same = (preds == preds[0]).all(axis=0)
    predicted[same] = preds[0, same]
    return predicted


def _weights(weights: Sequence[float] | Array | None, n_members: int) -> NDArray[np.float64]:
    if weights is None:
        return np.ones(n_members)
    values = _inputs.read_numbers(weights, "weights", f"{n_members} numbers")
    if values.shape != (n_members,):
        raise ValueError(f"weights must be ({n_members},), one a member: got shape {values.shape}")
    if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise ValueError(f"weights must be finite, not negative and not all 0: got {weights}")
    _, exponent = np.frexp(values.max())
    return np.ldexp(values, -exponent)  # by a power of two, so that sums stay in range
