"""The oracle of the kernels that combine models: full scans in plain numpy. Never optimised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _reference_scores
from ovcore._arrays import Typed, widen
from ovcore._candidates import Candidates, Scored, padded
from ovcore._progress import Progress


def temperature_nll(
    models: Sequence[Typed],  # M logits (N, K) finite, but for -inf outside the target
    target: NDArray[np.int64],  # (N,)
    beta: NDArray[np.float64],  # (M,) 1 / T
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.float64]:  # (M, 3)
    """Sums over samples of the NLL of softmax(beta z) and of its two derivatives in beta.

    Not finite where a sample has no finite likelihood: NaN or +inf, or -inf at its target.
    """
    sums = []
    for model, b in zip(models, beta, strict=True):
        z = widen(model).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # a distance past float64 is infinite
            shifted = z - z.max(axis=1, keepdims=True)
            weight = np.exp(b * shifted)
            shifted = np.where(weight == 0, 0.0, shifted)  # adds nothing, even at -inf
            total = weight.sum(axis=1)
            mean = (weight * shifted).sum(axis=1) / total
            variance = (weight * (shifted - mean[:, None]) ** 2).sum(axis=1) / total
            of_target = np.take_along_axis(z, target[:, None], axis=1)[:, 0] - z.max(axis=1)
            nll = np.log(total) - b * of_target
            sums.append([nll.sum(), (mean - of_target).sum(), variance.sum()])
    return np.array(sums)


def confidences(
    models: Sequence[Typed],  # M logits (N, K)
    temperature: NDArray[np.float64],  # (M,)
    preds: NDArray[np.int32],  # (M, N) written: -1 where there is no prediction
    confidence: NDArray[np.float32],  # (M, N) written: NaN where there is no prediction
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> None:
    """Predicted class and its score softmax(z / T) of every model and sample."""
    for m, model in enumerate(models):
        z = widen(model)
        preds[m] = z.argmax(axis=1)
        preds[m, np.isnan(z).any(axis=1) | (z == -np.inf).all(axis=1)] = -1
        there = preds[m] >= 0
        confidence[m] = np.nan
        confidence[m, there] = _reference_scores.scores(z[there], temperature[m], "prob").max(
            axis=1
        )


def candidate_scores(
    scored: Scored,
    preds: NDArray[np.int32],  # (M, N) what the models predict; all there
    target: NDArray[np.int64],  # (N,)
    all_samples: bool,
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> Candidates:
    """The classes that can win the samples on which models differ, or all; see Candidates."""
    n_models, n_classes = len(preds), scored.models[0].values.shape[1]
    samples = np.flatnonzero((preds != preds[0]).any(axis=0) | all_samples)
    lists = [np.unique([*preds[:, n], target[n]]) for n in samples]
    offsets = np.cumsum([0, *map(len, lists)])
    tops = np.full((len(samples), padded(n_models)), -1, np.int32)
    values = np.zeros((offsets[-1], padded(n_models)), np.float32)
    outside = np.zeros((len(samples), padded(n_models)), np.float32)
    mass = np.ones((len(samples), padded(n_models)))
    dense = _dense(scored, samples)
    for m, model in enumerate(scored.models):
        if scored.combine != "logit":
            mass[:, m] = _reference_scores.weights(widen(model)[samples], scored.temperature[m])[1]
        for s, listed in enumerate(lists):
            tops[s, m] = np.searchsorted(listed, preds[m, samples[s]])
            values[offsets[s] : offsets[s + 1], m] = dense[m, s, listed]
            outside[s, m] = np.delete(dense[m, s], listed).max(initial=-np.inf)
    positions = [
        np.searchsorted(listed, target[n]) for n, listed in zip(samples, lists, strict=True)
    ]
    return Candidates(
        samples=samples.astype(np.int64),
        offsets=offsets.astype(np.int64),
        classes=np.concatenate([*lists, []]).astype(np.int32),
        target=np.array(positions, np.int32),
        tops=tops,
        scores=values,
        outside=outside,
        mass=mass,
        n_classes=n_classes,
    )


def pair_ensemble_hits(
    scored: Scored | None,  # None where candidates were given: any class not listed scores 0
    n_models: int,
    candidates: Candidates,
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # (2, M, M), (2,)
    """Of the listed samples, those that each pair's ensemble gets right: conversions, rescues.

    Conversions are right for one model of the two, rescues for neither. Where both predict the
    same class, so does the ensemble. Elsewhere it predicts the class of the largest sum of scores,
    formed in float64; the lowest class wins a tie; where every sum is -inf there is no prediction.

    Also returns how many pairs and samples sums of listed classes did not settle, and how many of
    those needed other classes' scores: 0 here, as all are always scanned.
    """
    dense = _dense_of(scored, n_models, candidates)
    target = candidates.classes[candidates.offsets[:-1] + candidates.target]
    tops = candidates.tops
    counts = np.zeros((2, n_models, n_models), np.int64)
    for a in range(n_models):
        for b in range(a + 1, n_models):
            total = dense[a].astype(np.float64) + dense[b]
            hit = (total.argmax(axis=1) == target) & (total.max(axis=1) > -np.inf)
            hit &= tops[:, a] != tops[:, b]
            one_is_right = (tops[:, a] == candidates.target) | (tops[:, b] == candidates.target)
            counts[0, a, b] = counts[0, b, a] = (hit & one_is_right).sum()
            counts[1, a, b] = counts[1, b, a] = (hit & ~one_is_right).sum()
    return counts, np.zeros(2, np.int64)


def candidate_hits(
    scored: Scored | None,  # as for pair_ensemble_hits
    n_models: int,
    candidates: Candidates,
    members: NDArray[np.int64],  # of the ensemble so far, in the order they joined
    running: NDArray[np.float64],  # (U,) sum of members' scores in that order  # noqa: ARG001
    outside: NDArray[np.float64],  # (S,) sum of members' outside scores  # noqa: ARG001
    right: NDArray[np.bool_],  # (S,) tells samples into two kinds
    workers: int,  # noqa: ARG001
) -> NDArray[np.int64]:  # (M, 2)
    """Listed samples that the ensemble gets right if model m joins: where not right, and where.

    Members' scores are summed in float64 in the order they joined; the rules are those of
    pair_ensemble_hits.
    """
    dense = _dense_of(scored, n_models, candidates)
    target = candidates.classes[candidates.offsets[:-1] + candidates.target]
    total = np.zeros(dense.shape[1:])
    for member in members:
        total += dense[member]
    hits = np.zeros((n_models, 2), np.int64)
    for m in range(n_models):
        joined = total + dense[m]
        hit = (joined.argmax(axis=1) == target) & (joined.max(axis=1) > -np.inf)
        same = (candidates.tops[:, members] == candidates.tops[:, [m]]).all(axis=1)
        hit = np.where(same, candidates.tops[:, m] == candidates.target, hit)
        hits[m] = (hit & ~right).sum(), (hit & right).sum()
    return hits


def ensemble_predictions(
    scored: Scored,
    weights: NDArray[np.float64],  # (M,) positive
    preds: NDArray[np.int32],  # (M, N) what the models predict; all there
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.int32]:  # (N,)
    """Class of the largest weighted sum of scores (largest weighted score for "max").

    Terms are formed and summed in float64 in the order of models; the lowest class wins a tie.
    Where all models predict the same class, so does the ensemble; -1 where every sum is -inf.
    """
    dense = _dense(scored, np.arange(preds.shape[1])).astype(np.float64)
    total = np.zeros(dense.shape[1:]) if scored.combine != "max" else np.full(dense.shape[1:], -1.0)
    for weight, terms in zip(weights, dense, strict=True):
        total = (
            np.maximum(total, weight * terms) if scored.combine == "max" else total + weight * terms
        )
    predicted = np.where(total.max(axis=1) > -np.inf, total.argmax(axis=1), -1)
    return np.where((preds == preds[0]).all(axis=0), preds[0], predicted).astype(np.int32)


def _dense(scored: Scored, samples: NDArray[np.int64]) -> NDArray[np.float32]:
    """(M, S, K) scores of all classes on some samples."""
    return np.array([
        _reference_scores.scores(widen(model)[samples], t, scored.combine)
        for model, t in zip(scored.models, scored.temperature, strict=True)
    ])  # fmt: skip


def _dense_of(
    scored: Scored | None, n_models: int, candidates: Candidates
) -> NDArray[np.floating[Any]]:
    """(M, S, K) scores of all classes on the listed samples."""
    if scored is not None:
        return _dense(scored, candidates.samples)
    n_samples = len(candidates.samples)
    sample = np.repeat(np.arange(n_samples), np.diff(candidates.offsets))
    dense = np.zeros((n_models, n_samples, candidates.n_classes), candidates.scores.dtype)
    dense[:, sample, candidates.classes] = candidates.scores[:, :n_models].T
    return dense
