"""What an ensemble of two models buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs
from ovcore._arrays import Array, Typed
from ovcore._reference import ensemble_scores, pair_ensemble_hits
from ovcore.errors import JointErrors
from ovcore.packing import pack

__all__ = ["PairEnsembles", "pairs"]

_COMBINE = ("prob", "logit")
_BLOCK_BYTES = 1 << 26  # scores of all models on one block of samples


@dataclass(frozen=True, eq=False)
class PairEnsembles:
    """Ensembles of all pairs of M models on N samples; every matrix is (M, M) and symmetric.

    Attributes:
        hits: int64, samples that the pair's ensemble gets right.
        conversions: int64, of those, samples that exactly one model gets right.
        rescues: int64, of those, samples that neither model gets right.
        errors: the models' joint errors on the same samples.
    """

    hits: Array
    conversions: Array
    rescues: Array
    errors: JointErrors

    @property
    def accuracy(self) -> Array:
        """Accuracy of each pair's ensemble, hits / N."""
        return self._give(np.asarray(self.hits) / self._n)

    @property
    def gain(self) -> Array:
        """Ensemble accuracy minus the mean of its two members' accuracies."""
        return self._give((2 * np.asarray(self.hits) - self._members(np.add)) / (2 * self._n))

    @property
    def gain_over_best(self) -> Array:
        """Ensemble accuracy minus the better member's accuracy."""
        return self._give((np.asarray(self.hits) - self._members(np.maximum)) / self._n)

    @property
    def conversion_rate(self) -> Array:
        """Of the samples that exactly one model gets right, the share the ensemble gets right.

        NaN where there are none (Gontijo-Lopes, Dauphin and Cubuk, 2022).
        """
        joint, wrong = self.errors.joint, self.errors.n_wrong()
        return self._rate(self.conversions, np.add.outer(wrong, wrong) - 2 * joint)

    @property
    def rescue_rate(self) -> Array:
        """Of the samples that neither model gets right, the share the ensemble does; or NaN."""
        return self._rate(self.rescues, self.errors.joint)

    @property
    def _n(self) -> int:
        return self.errors.n_samples

    def _members(self, of_two: np.ufunc) -> NDArray[np.int64]:
        """(M, M) of the two members' own hits: integers, so that a gain of nothing is 0."""
        right = self._n - self.errors.n_wrong()
        both: NDArray[np.int64] = of_two.outer(right, right)
        return both

    def _rate(self, part: Array, whole: NDArray[np.int64]) -> Array:
        with np.errstate(invalid="ignore"):
            return self._give(np.asarray(part) / whole)

    def _give(self, values: NDArray[np.float64]) -> Array:
        return _arrays.in_library(values, self.errors.library)


def pairs(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    combine: str = "prob",
) -> PairEnsembles:
    """Ensembles every pair of models and counts what that gets right.

    The ensemble predicts the arg max of the mean over its two members of softmax(z / T)
    (``combine="prob"``) or of z / T (``"logit"``). Where both predict the same class, so does the
    ensemble; elsewhere float32 scores are summed in float64, and the lowest class wins a tie. So
    hits = n11 + conversions + rescues for every pair. A class at -inf for one member cannot win
    by logits; where that rules out all classes, the ensemble has no prediction and no hit.

    Args:
        logits: as in :func:`ovcore.pack_errors`.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each.
        combine: "prob" or "logit".

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; a temperature that is not positive and finite;
            an unknown ``combine``; +inf among logits that are to be averaged.
    """
    inputs = _inputs.read_logits(logits, target)
    if combine not in _COMBINE:
        raise ValueError(f"combine must be one of {', '.join(_COMBINE)}: got {combine!r}")
    n_models = len(inputs.models)
    temperatures = read_temperature(temperature, n_models)
    preds = np.empty((n_models, inputs.n_samples), np.int32)
    errors = JointErrors.from_errors(pack(inputs, preds=preds))

    totals = [np.zeros((n_models, n_models), np.int64) for _ in range(3)]
    block = max(1, _BLOCK_BYTES // (4 * n_models * inputs.n_classes))
    for first in range(0, inputs.n_samples, block):
        rows = slice(first, first + block)
        scores = np.stack([
            _scores(model, rows, t, combine, m)
            for m, (model, t) in enumerate(zip(inputs.models, temperatures, strict=True))
        ])  # fmt: skip
        counts = pair_ensemble_hits(scores, preds[:, rows], inputs.target[rows])
        for total, count in zip(totals, counts, strict=True):
            total += count
    hits, conversions, rescues = (_arrays.in_library(t, inputs.library) for t in totals)
    return PairEnsembles(hits, conversions, rescues, errors)


def read_temperature(
    temperature: float | Sequence[float] | Array, n_models: int
) -> NDArray[np.float64]:
    """(M,) temperatures from one for all or one each; refuses what is not positive and finite."""
    try:
        values = np.asarray(_arrays.view(temperature, "temperature").values, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"temperature must be a number or {n_models} numbers: {error}") from error
    if values.shape not in ((), (n_models,)):
        raise ValueError(
            f"temperature must be a number or ({n_models},), one a model: got shape {values.shape}"
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    return np.broadcast_to(values, n_models)


def _scores(
    model: Typed, rows: slice, temperature: float, combine: str, m: int
) -> NDArray[np.float32]:
    values = _arrays.widen(model, rows)
    if combine == "logit" and np.isposinf(values).any():
        raise ValueError(
            f"model {m} has +inf among its logits, which combine='logit' cannot average"
        )
    return ensemble_scores(values, temperature, combine)
