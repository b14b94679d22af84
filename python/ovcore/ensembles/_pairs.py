"""What an ensemble of two models buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs
from ovcore._arrays import Array
from ovcore._candidates import Scored
from ovcore.errors import JointErrors
from ovcore.packing import pack

__all__ = ["PairEnsembles", "pairs"]

_COMBINE = ("prob", "logit")


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
    temperatures = _inputs.read_temperature(temperature, n_models)
    preds = np.empty((n_models, inputs.n_samples), np.int32)
    errors = JointErrors.from_errors(pack(inputs, preds=preds))
    backend = _dispatch.choose(None)
    workers = _dispatch.count_workers(None)
    scored = Scored(inputs.models, temperatures, combine)
    candidates = backend.candidate_scores(scored, preds, inputs.target, workers, None)
    counts, _ = backend.pair_ensemble_hits(scored, n_models, candidates, workers, None)
    right = inputs.n_samples - errors.n_wrong()
    both = right[:, None] - errors.n_wrong() + errors.joint
    hits, conversions, rescues = (
        _arrays.in_library(t, inputs.library) for t in (both + counts.sum(axis=0), *counts)
    )
    return PairEnsembles(hits, conversions, rescues, errors)
