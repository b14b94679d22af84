"""What an ensemble of two models buys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress, agreement
from ovcore._arrays import Array
from ovcore._candidates import padded
from ovcore.ensembles import _scored
from ovcore.ensembles._scored import Ensembled
from ovcore.errors import JointErrors
from ovcore.topk import TopK

__all__ = ["PairEnsembles", "PairStats", "pairs"]

_BLOCK_BYTES = 1 << 28  # of candidate scores, of which more are held at a time for no gain
_GPU_BLOCK_BYTES = 1 << 30  # there each block waits for the lengths of its lists


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
        return self._give(_arrays.as_numpy(self.hits) / self._n)

    @property
    def gain(self) -> Array:
        """Ensemble accuracy minus the mean of its two members' accuracies."""
        return self._give((2 * _arrays.as_numpy(self.hits) - self._members(np.add)) / (2 * self._n))

    @property
    def gain_over_best(self) -> Array:
        """Ensemble accuracy minus the better member's accuracy."""
        return self._give((_arrays.as_numpy(self.hits) - self._members(np.maximum)) / self._n)

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
            return self._give(_arrays.as_numpy(part) / whole)

    def _give(self, values: NDArray[np.float64]) -> Array:
        return _arrays.in_library(values, self.errors.library)


class PairStats(NamedTuple):
    """How pair ensembles were settled: of M (M - 1) / 2 pairs times N samples, so many each."""

    agreed: int
    """Both models predict the same class."""
    compared: int
    """Float sums of the few classes that can win told at once."""
    summed: int
    """Exact sums of those classes had to."""
    scanned: int
    """Other classes had to be looked at."""


@overload
def pairs(
    logits: Array | TopK | Sequence[Array | TopK],
    target: Array,
    *,
    temperature: float | Sequence[float] | Array = 1.0,
    combine: str = "prob",
    return_stats: Literal[False] = False,
) -> PairEnsembles: ...
@overload
def pairs(
    logits: Array | TopK | Sequence[Array | TopK],
    target: Array,
    *,
    temperature: float | Sequence[float] | Array = 1.0,
    combine: str = "prob",
    return_stats: Literal[True],
) -> tuple[PairEnsembles, PairStats]: ...
def pairs(
    logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating, or M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    combine: str = "prob",
    return_stats: bool = False,
) -> PairEnsembles | tuple[PairEnsembles, PairStats]:
    """Ensembles every pair of models and counts what that gets right.

    The ensemble predicts the arg max of the mean over its two members of softmax(z / T)
    (``combine="prob"``) or of z / T (``"logit"``; ``"logprob"`` predicts the same). Where both
    predict the same class, so does the ensemble; elsewhere float32 scores are summed in float64,
    and the lowest class wins a tie. So hits = n11 + conversions + rescues for every pair. A class
    at -inf for one member cannot win by logits, and one at +inf leaves that member no other; where
    that rules out all classes, the ensemble has no prediction and no hit.

    Counts are those of scanning all classes of every pair, at about the price of reading the
    logits two or three times: few classes can win a sample, and bounds settle nearly all pairs.

    Args:
        logits: as in :func:`ovcore.pack_errors`. Of stored top-k outputs the probabilities are
            summed as they are, in float64; a class outside a list scores 0.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each; 1 for stored outputs.
        combine: "prob", "logit" or "logprob"; "prob" for stored outputs.
        return_stats: also return how pairs were settled, a :class:`PairStats`.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; a temperature that is not positive and finite;
            an unknown ``combine``; stored outputs that are not in 0..1, or with another temperature
            or way to combine.

    >>> import numpy as np
    >>> sure, torn = np.log([[.9, .1], [.9, .1]]), np.log([[.4, .6], [.4, .6]])
    >>> result = pairs([sure, torn], np.array([0, 1]))  # the surer model decides
    >>> result.hits[0, 1], result.conversion_rate[0, 1]
    (np.int64(1), np.float64(0.5))
    """
    models, _ = _scored.read(logits, target, temperature, combine)
    result, unsettled = count_pairs(models)
    return (result, _stats(models, unsettled)) if return_stats else result


def count_pairs(models: Ensembled) -> tuple[PairEnsembles, NDArray[np.int64]]:
    """:func:`pairs` of checked models; and how many pair-samples stages left open, (2,)."""
    errors = JointErrors.from_errors(models.errors)
    n_models = models.n_models
    backend, workers = _dispatch.choose(None, models.library), _dispatch.count_workers(None)
    counts = np.zeros((2, n_models, n_models), np.int64)
    unsettled = np.zeros(2, np.int64)
    for rows in _blocks(models):
        candidates = models.candidates(rows)
        with _progress.bar("pair ensembles") as progress:
            more, open_ = backend.pair_ensemble_hits(
                models.part(rows), n_models, candidates, workers, progress
            )
        counts += more
        unsettled += open_
    return of_counts(errors, *counts), unsettled


def of_counts(
    errors: JointErrors, conversions: NDArray[np.int64], rescues: NDArray[np.int64]
) -> PairEnsembles:
    """Hands counts over in the caller's library: what models get right together is a hit, too."""
    right = errors.n_samples - errors.n_wrong()
    both_right = right[:, None] - errors.n_wrong() + errors.joint
    hits = both_right + conversions + rescues
    library = errors.library
    return PairEnsembles(
        hits=_arrays.in_library(hits, library),
        conversions=_arrays.in_library(conversions, library),
        rescues=_arrays.in_library(rescues, library),
        errors=errors,
    )


def _blocks(models: Ensembled) -> Iterator[slice]:
    """Samples in blocks whose candidate scores stay small."""
    usual = min(models.n_classes, models.n_models + 1, 16)  # classes that can win a sample
    sample_bytes = 4 * padded(models.n_models) * usual
    most = _GPU_BLOCK_BYTES if _arrays.is_on_gpu(models.preds) else _BLOCK_BYTES
    return _inputs.blocks(models.n_samples, sample_bytes, max(most, 64 * sample_bytes))


def _stats(models: Ensembled, unsettled: NDArray[np.int64]) -> PairStats:
    of_all = models.n_models * (models.n_models - 1) // 2 * models.n_samples
    agreed = int(np.triu(_arrays.as_numpy(agreement.joint_agreement(models.preds)), 1).sum())
    later, scanned = map(int, unsettled)
    return PairStats(agreed, of_all - agreed - later, later - scanned, scanned)
