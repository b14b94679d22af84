"""Which model of a pair is the more confident where they err differently, and on which classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._arrays import Array
from ovcore._confidences import confidences, stored_confidences
from ovcore._inputs import Logits
from ovcore.topk import TopK

__all__ = ["ClassSpecialization", "Specialization", "specialization"]

_ONLY_FIRST, _ONLY_SECOND = 1, 2  # places among the outcomes n11, n10, n01, n00
# The last is above 1 by less than float32 can be: a >= slope * b asks for a >= b, then for a > b.
_SIDES = np.array([1.0, 1.0 + 2.0**-30])
_END_TOLERANCE = 1e-6  # of the outermost edges: what float32 loses of pi/4, and some


@dataclass(frozen=True, eq=False)
class ClassSpecialization:
    """One pair of models, by the class of the K that a counted sample truly is.

    Attributes:
        counts: (K, 4) int64, samples by outcome: n11, n10, n01, n00.
        mean_angle: (K,) float64, mean theta in radians; NaN for a class without samples.
        specialized: (K,) float64, of the class's inconsistent samples, the share for which the
            model that is right is the more confident; NaN where there are none.
    """

    counts: Array
    mean_angle: Array
    specialized: Array


@dataclass(frozen=True, eq=False)
class Specialization:
    """Angles between the confidences of P pairs of models, on the samples that count.

    Holds the M models' confidences on those samples (5 bytes a model and sample), of which
    :meth:`mean_angle` and :meth:`by_class` are computed when asked for.

    Attributes:
        pairs: (P, 2) int64, models 1 and 2 of each pair.
        edges: (B + 1,) float64, of the bins in radians, from -pi/4 to pi/4.
        histogram: (P, 4, B) int64, samples by outcome (n11 both right, n10 only model 1, n01 only
            model 2, n00 both wrong) and bin of theta. Bins are closed on the left.
        specialized: (P,) float64, of the inconsistent samples, the share for which the model that
            is right is the more confident: theta > 0 for n10, < 0 for n01. NaN where there are
            none.
        n_samples: samples that count: those with an inconsistent pair among the pairs compared.
        n_classes: K.
    """

    pairs: Array
    edges: Array
    histogram: Array
    specialized: Array
    n_samples: int
    n_classes: int
    _confidence: NDArray[np.float32] = field(repr=False)  # (M, n_samples)
    _right: NDArray[np.bool_] = field(repr=False)  # (M, n_samples)
    _target: NDArray[np.int64] = field(repr=False)  # (n_samples,)
    _library: str = field(repr=False)

    def mean_angle(self) -> Array:
        """Mean theta in radians of every pair and outcome: (P, 4) float64; NaN where no sample is.

        Takes P times ``n_samples`` arc tangents, so that for all pairs of many models it costs far
        more than the histogram.
        """
        means = np.empty((len(self.pairs), 4))
        for pair in range(len(self.pairs)):
            outcomes = self._outcomes(pair)
            means[pair] = _mean(self._angles(pair), outcomes, 4)
        return _arrays.in_library(means, self._library)

    def by_class(self, pair: int) -> ClassSpecialization:
        """Counts, mean theta and specialization of one pair by target class.

        Args:
            pair: a row of ``pairs``.

        Raises:
            ValueError: there is no such row.
        """
        pair = _read_index(pair, len(self.pairs), "pair", "a row of pairs")
        outcomes, n_classes = self._outcomes(pair), self.n_classes
        counts = np.bincount(4 * self._target + outcomes, minlength=4 * n_classes)
        counts = counts.astype(np.int64, copy=False).reshape(n_classes, 4)
        first, second = (self._confidence[m] for m in _arrays.as_numpy(self.pairs)[pair])
        right_is_surer = (outcomes == _ONLY_FIRST) & (first > second)
        right_is_surer |= (outcomes == _ONLY_SECOND) & (first < second)
        specialized = np.bincount(self._target[right_is_surer], minlength=n_classes)
        inconsistent = counts[:, _ONLY_FIRST] + counts[:, _ONLY_SECOND]
        return ClassSpecialization(
            _arrays.in_library(counts, self._library),
            _arrays.in_library(_mean(self._angles(pair), self._target, n_classes), self._library),
            _arrays.in_library(_share(specialized, inconsistent), self._library),
        )

    def _outcomes(self, pair: int) -> NDArray[np.int64]:
        """(n_samples,) outcome of each sample, 0 to 3."""
        first, second = (~self._right[m] for m in _arrays.as_numpy(self.pairs)[pair])
        outcomes: NDArray[np.int64] = 2 * first.astype(np.int64) + second
        return outcomes

    def _angles(self, pair: int) -> NDArray[np.float64]:
        """(n_samples,) theta in radians."""
        first, second = (self._confidence[m] for m in _arrays.as_numpy(self.pairs)[pair])
        theta: NDArray[np.float64] = np.arctan2(first, second, dtype=np.float64) - np.pi / 4
        return theta


def specialization(
    logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating, or M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    base: int | None = None,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    bins: int | Sequence[float] | Array = 20,  # number, or (B + 1,) edges in radians
) -> Specialization:
    """Compares which model of a pair is the more confident with which is right.

    theta = atan2(conf_1, conf_2) - pi/4 for the confidences conf = max softmax(z / T) of models 1
    and 2: in (-pi/4, pi/4), above 0 where model 1 is the more confident. Models that specialize
    are confident where they alone are right: theta leans above 0 for n10 and below for n01. Counted
    are the samples for which at least one of the compared pairs is inconsistent (exactly one of its
    models is right). Bins and signs of theta are decided on the confidences in float64, not on
    rounded angles (Gontijo-Lopes, Dauphin and Cubuk, 2022, Figs. 3 and 4).

    Args:
        logits: as in :func:`ovcore.pack_errors`; stored top-k outputs, whose best probability is
            the confidence, with temperature 1.
        target: (N,) integer classes.
        base: index of the model that is compared with every other, as model 1. Default: all pairs
            a < b, with a as model 1.
        temperature: positive, one for all models or one each; confidences of models compare only
            where each is calibrated, see :func:`ovcore.calibration.fit_temperature`.
        bins: how many bins of equal width, or their edges in radians, ascending from -pi/4 to pi/4.

    Raises:
        TypeError: as :func:`ovcore.pack_errors`; a base or bins of another type.
        ValueError: as :func:`ovcore.pack_errors`; one class; a temperature that is not positive
            and finite; no such base; bins or edges that are not as above.

    >>> import numpy as np
    >>> logits = np.array([[[4.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]]])
    >>> target = np.array([0, 1])  # the first model alone is right, and surer; then the second
    >>> result = specialization(logits, target, bins=2)
    >>> result.histogram[0]
    array([[0, 0],
           [0, 1],
           [1, 0],
           [0, 0]])
    >>> result.specialized, result.by_class(0).mean_angle.round(3)
    (array([1.]), array([ 0.054, -0.093]))
    """
    inputs, stored = _inputs.read_scores(logits, target)
    if isinstance(inputs, Logits) and inputs.n_classes == 1:
        raise ValueError("specialization needs at least two classes, logits have one")
    n_models = len(inputs.models)
    temperatures = _inputs.read_temperature(temperature, n_models)
    edges = _read_edges(bins)
    pairs = _pairs(base, n_models)
    backend = _dispatch.choose(None, inputs.library)
    workers = _dispatch.count_workers(None)

    if isinstance(inputs, Logits):
        n_classes = inputs.n_classes
        preds, confidence = confidences(inputs, temperatures)
    else:
        n_classes = stored[0].n_classes
        preds, confidence = stored_confidences(inputs, stored, temperatures)
    right = preds == inputs.target
    keep = (right != right[0]).any(axis=0)  # the base, or the first model, differs from another
    slopes = np.tan(edges[1:-1] + np.pi / 4)
    with _progress.bar("angles") as progress:
        histogram = backend.angle_histogram(
            confidence, right, pairs, slopes, keep, workers, progress
        )
    sides = backend.angle_histogram(confidence, right, pairs, _SIDES, keep, workers, None)
    inconsistent = sides[:, [_ONLY_FIRST, _ONLY_SECOND]].sum(axis=(1, 2))
    right_is_surer = sides[:, _ONLY_FIRST, 2] + sides[:, _ONLY_SECOND, 0]
    pairs_, edges_, histogram_, specialized = (
        _arrays.in_library(values, inputs.library)
        for values in (pairs, edges, histogram, _share(right_is_surer, inconsistent))
    )
    return Specialization(
        pairs_,
        edges_,
        histogram_,
        specialized,
        int(keep.sum()),
        n_classes,
        np.compress(keep, _arrays.on_host(confidence), axis=1),
        np.compress(keep, right, axis=1),
        inputs.target[keep],
        inputs.library,
    )


def _pairs(base: int | None, n_models: int) -> NDArray[np.int64]:
    """(P, 2) models 1 and 2."""
    if base is None:
        return np.stack(np.triu_indices(n_models, 1), axis=1).astype(np.int64)
    base = _read_index(base, n_models, "base", "the index of a model")
    others = np.delete(np.arange(n_models), base)
    return np.stack([np.full_like(others, base), others], axis=1).astype(np.int64)


def _read_edges(bins: int | Sequence[float] | Array) -> NDArray[np.float64]:
    """(B + 1,) edges in radians, the first and last at -pi/4 and pi/4 exactly."""
    expected = "a number of bins, or their edges in radians"
    if np.ndim(bins) == 0:
        n_bins = _inputs.integer(bins, "bins", expected)
        if n_bins < 1:
            raise ValueError(f"bins must be at least 1, got {n_bins}")
        return np.arange(-n_bins, n_bins + 1, 2) / n_bins * (np.pi / 4)  # 0 is 0 exactly
    edges = _inputs.read_numbers(bins, "bins", expected)
    if edges.ndim != 1 or len(edges) < 2:
        raise ValueError(f"bins must be (B + 1,) edges, B >= 1: got shape {edges.shape}")
    ends = np.array([-np.pi / 4, np.pi / 4])
    if not (np.abs(edges[[0, -1]] - ends) <= _END_TOLERANCE).all():
        raise ValueError(
            f"bins must reach from -pi/4 to pi/4: got edges from {edges[0]} to {edges[-1]}"
        )
    edges[[0, -1]] = ends
    if not (np.diff(edges) > 0).all():
        raise ValueError(f"bins must be ascending edges: got {edges.tolist()}")
    return edges


def _read_index(index: object, n: int, name: str, what: str) -> int:
    value = _inputs.integer(index, name, what)
    if not 0 <= value < n:
        raise ValueError(f"{name} must be {what}, 0 <= {name} < {n}: got {value}")
    return value


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        share: NDArray[np.float64] = part / whole
    return share


def _mean(values: NDArray[np.float64], groups: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Mean of each of n groups, summed in the order of samples; NaN for one without any."""
    counts = np.bincount(groups, minlength=n)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.bincount(groups, values, n) / counts
    return mean
