"""Calibration errors: samples in bins of confidence, and how far accuracy is from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs
from ovcore._arrays import Array, Typed
from ovcore._confidences import confidences
from ovcore._inputs import Logits
from ovcore.calibration import _likelihood

__all__ = ["ReliabilityCurve", "expected_calibration_error", "reliability_curve"]

_BINNINGS = ("equal_width", "equal_mass", "sweep")
_NORMS = ("l1", "l2", "max")
_KINDS = ("top_label", "classwise")
_BLOCK_BYTES = 1 << 26  # of one block of classes in float64


class Bins(NamedTuple):
    """Sums over the samples in each of B bins, in order of confidence."""

    samples: NDArray[np.int64]  # (B,) how many
    hits: NDArray[np.int64]  # (B,) of those, the ones that came true
    confidence: NDArray[np.float64]  # (B,) sum of confidences


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Accuracy against confidence of M models, in B bins of confidence from low to high.

    Attributes:
        confidence: (M, B) float64, mean confidence of the bin's samples; NaN where it has none.
        accuracy: (M, B) float64, share of them that are right; NaN where it has none.
        count: (M, B) int64, how many they are.

    A model with fewer bins than others ("sweep" chooses them for each) has empty ones at its end.
    """

    confidence: Array
    accuracy: Array
    count: Array


def expected_calibration_error(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    n_bins: int = 15,
    binning: str = "equal_width",
    norm: str = "l1",
    kind: str = "top_label",
    debias: bool = False,
) -> Array:
    """Distance of confidence from accuracy over bins of confidence: (M,) float64 within 0..1.

    With acc_b the share of right predictions and conf_b the mean confidence of the n_b samples in
    bin b, confidence the largest of softmax(z / T):

    * l1: sum_b n_b / N abs(acc_b - conf_b), the ECE of Naeini, Cooper and Hauskrecht (2015)
    * l2: sqrt(sum_b n_b / N (acc_b - conf_b)^2)
    * max: the largest abs(acc_b - conf_b) of a bin that has samples

    Args:
        logits: as in :func:`ovcore.pack_errors`. Of a sample with +inf, that class has all.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each.
        n_bins: at least 1; "sweep" does not use it.
        binning: "equal_width": bin b of B holds confidences in [b / B, (b + 1) / B), the last one
            1 too. "equal_mass": samples in order of confidence, equal ones in order of samples;
            bin b holds those from floor(b N / B) to before floor((b + 1) N / B). "sweep": equal
            mass, in as many bins as can be had by adding one at a time while accuracies never
            decrease from bin to bin (Roelofs et al., 2020).
        norm: "l1", "l2" or "max".
        kind: "top_label": as above. "classwise": the mean over classes k of the error of softmax's
            p_k as the confidence that the target is k, all N samples binned anew for each class
            (Kull et al., 2019).
        debias: take off an estimate of what chance adds, and floor at 0. l2: acc_b (1 - acc_b) /
            (n_b - 1) off each square (Kumar, Liang and Ma, 2019). l1: off the sum, the mean by
            which it would grow were each acc_b drawn anew from the normal distribution around it
            of variance acc_b (1 - acc_b) / n_b; that is Kumar et al.'s resampling in closed form,
            so nothing is drawn. Bins whose samples are all right or all wrong, so those of one
            sample, are not corrected.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; one class; a temperature that is not positive
            and finite; an unknown option; ``debias`` of "max"; no bins.

    Top-label confidences are those that ensembles sum, in float32; bins are formed and summed in
    float64. Classwise ones are float64.

    >>> import numpy as np
    >>> logits = np.log([[[.7, .3], [.7, .3], [.9, .1], [.9, .1]]])
    >>> expected_calibration_error(logits, np.array([0, 1, 0, 0])).round(4)  # |.5-.7|/2 + |1-.9|/2
    array([0.15])
    """
    n_bins = _read_options(n_bins, binning)
    _inputs.refuse_unknown("norm", norm, _NORMS)
    _inputs.refuse_unknown("kind", kind, _KINDS)
    if debias and norm == "max":
        raise ValueError("debias needs norm='l1' or 'l2': the maximum has no debiased estimate")
    inputs, temperatures = _likelihood.read(logits, target, temperature)
    errors = np.empty(len(inputs.models))
    if kind == "top_label":
        for m, bins in enumerate(top_label(inputs, temperatures, n_bins, binning)):
            errors[m] = _error(bins, norm, debias)
    else:
        for m, t in enumerate(temperatures):
            of_classes = _classwise(inputs, m, t, n_bins, binning)
            errors[m] = np.mean([_error(bins, norm, debias) for bins in of_classes])
    return _arrays.in_library(errors, inputs.library)


def reliability_curve(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    n_bins: int = 15,
    binning: str = "equal_width",
) -> ReliabilityCurve:
    """Accuracy and mean confidence in bins of confidence: what a reliability diagram draws.

    Args:
        logits: as in :func:`expected_calibration_error`, and so are all others.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each.
        n_bins: at least 1; "sweep" does not use it.
        binning: "equal_width", "equal_mass" or "sweep".

    Raises:
        ValueError: as :func:`expected_calibration_error`.

    >>> import numpy as np
    >>> logits = np.log([[[.7, .3], [.7, .3], [.9, .1], [.9, .1]]])
    >>> curve = reliability_curve(logits, np.array([0, 1, 0, 0]), n_bins=5)
    >>> curve.confidence.round(4), curve.count
    (array([[nan, nan, nan, 0.7, 0.9]]), array([[0, 0, 0, 2, 2]]))
    >>> curve.accuracy
    array([[nan, nan, nan, 0.5, 1. ]])
    """
    n_bins = _read_options(n_bins, binning)
    inputs, temperatures = _likelihood.read(logits, target, temperature)
    of_models = list(top_label(inputs, temperatures, n_bins, binning))
    most = max(len(bins.samples) for bins in of_models)
    count = np.zeros((len(of_models), most), np.int64)
    hits, confidence = np.zeros((2, *count.shape))
    for m, bins in enumerate(of_models):
        own = slice(len(bins.samples))
        count[m, own], hits[m, own], confidence[m, own] = bins
    with np.errstate(invalid="ignore"):  # 0 / 0 of empty bins is NaN
        columns = (confidence / count, hits / count, count)
    return ReliabilityCurve(*(_arrays.in_library(c, inputs.library) for c in columns))


def sweep_error(inputs: Logits, temperature: NDArray[np.float64]) -> NDArray[np.float64]:  # (M,)
    """The l1 top-label error over sweep bins, of checked inputs."""
    return np.array(
        [_error(bins, "l1", False) for bins in top_label(inputs, temperature, 1, "sweep")]
    )


def top_label(
    inputs: Logits, temperature: NDArray[np.float64], n_bins: int, binning: str
) -> Iterator[Bins]:
    """Bins of each model's samples by its confidence in what it predicts."""
    preds, found = confidences(inputs, temperature)
    confidence = _arrays.on_host(found)
    for m, predicted in enumerate(preds):
        yield _bin(confidence[m].astype(np.float64), predicted == inputs.target, n_bins, binning)


def _classwise(
    inputs: Logits, m: int, temperature: float, n_bins: int, binning: str
) -> Iterator[Bins]:
    """Bins of all samples by the probability of each class in turn; of one model."""
    model = inputs.models[m]
    top, mass = np.empty((2, inputs.n_samples))
    for rows in _likelihood.blocks(model):
        z = _arrays.widen(model, rows).astype(np.float64)
        top[rows] = _likelihood.tops(model, m, z)
        mass[rows] = _likelihood.weights(z, top[rows], temperature).sum(axis=1)
    at_once = max(1, _BLOCK_BYTES // (8 * inputs.n_samples))
    for first in range(0, inputs.n_classes, at_once):
        some = Typed(model.values[:, first : first + at_once], model.dtype)
        z = _arrays.widen(some).astype(np.float64)
        columns = (_likelihood.weights(z, top, temperature) / mass[:, None]).T
        for k, confidence in enumerate(columns, first):
            yield _bin(np.ascontiguousarray(confidence), inputs.target == k, n_bins, binning)


def _bin(
    confidence: NDArray[np.float64],  # (N,)
    hit: NDArray[np.bool_],  # (N,)
    n_bins: int,
    binning: str,
) -> Bins:
    if binning == "equal_width":
        # Not floor(n_bins * confidence): that product rounds up to the next bin's edge.
        index = np.searchsorted(np.arange(1, n_bins) / n_bins, confidence, side="right")
        count, hits = (np.bincount(i, minlength=n_bins) for i in (index, index[hit]))
        total = np.bincount(index, weights=confidence, minlength=n_bins).astype(np.float64)
        return Bins(count, hits, total)
    order = np.argsort(confidence, kind="stable")
    hits_before = np.concatenate([[0], np.cumsum(hit[order], dtype=np.int64)])
    before = np.concatenate([[0.0], np.cumsum(confidence[order])])
    n_samples = len(hit)
    if binning == "sweep":
        n_bins = _most_ascending_bins(hits_before)
    edges = np.arange(n_bins + 1) * n_samples // n_bins
    return Bins(np.diff(edges), np.diff(hits_before[edges]), np.diff(before[edges]))


def _most_ascending_bins(
    hits_before: NDArray[np.int64],  # (N + 1,) hits of the n samples of least confidence
) -> int:
    """Bins to which the sweep comes: one more would have accuracies that decrease.

    Only bins from the first hit to the last miss are looked at, as accuracy is 0 before and 1
    behind: a model with few errors takes many bins, of which most are behind.
    """
    n_samples = len(hits_before) - 1
    hit = np.diff(hits_before) > 0
    first_hit = int(hit.argmax()) if hit.any() else n_samples
    last_miss = n_samples - 1 - int((~hit)[::-1].argmax()) if not hit.all() else -1
    if last_miss < first_hit:
        return n_samples
    for n_bins in range(2, n_samples + 1):
        first = first_hit * n_bins // n_samples
        last = min(last_miss * n_bins // n_samples + 2, n_bins)
        edges = np.arange(first, last + 1) * n_samples // n_bins
        count, hits = np.diff(edges), np.diff(hits_before[edges])
        if (hits[1:] * count[:-1] < hits[:-1] * count[1:]).any():  # accuracies, in integers
            return n_bins - 1
    return n_samples


def _error(bins: Bins, norm: str, debias: bool) -> float:
    filled = bins.samples > 0
    count, hits, confidence = (column[filled] for column in bins)
    share = count / count.sum()
    gap = (hits - confidence) / count
    if norm == "max":
        return float(abs(gap).max())
    accuracy = hits / count
    variance = accuracy * (1 - accuracy)
    if norm == "l2":
        square = gap**2
        if debias:
            square -= variance / np.maximum(count - 1, 1)
        return math.sqrt(max(share @ square, 0.0))
    error = float(share @ abs(gap))
    if debias:
        error -= float(share @ _mean_distance(gap, np.sqrt(variance / count))) - error
    return max(error, 0.0)


def _mean_distance(
    mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    """E abs(X) of normal X: the mean of a folded normal distribution."""
    distance = abs(mean)
    spread = deviation > 0
    ratio = mean[spread] / deviation[spread]
    erf = np.array([math.erf(r / math.sqrt(2)) for r in ratio])
    density = math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2)
    distance[spread] = deviation[spread] * density + mean[spread] * erf
    return distance


def _read_options(n_bins: int, binning: str) -> int:
    _inputs.refuse_unknown("binning", binning, _BINNINGS)
    count = _inputs.integer(n_bins, "n_bins")
    if count < 1:
        raise ValueError(f"n_bins must be at least 1, got {count}")
    return count
