"""Stacked generalization: probes on the features of two models together, for all pairs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _progress
from ovcore._arrays import Array
from ovcore.representations._checkpoint import Checkpoint
from ovcore.representations._features import Features, read_both
from ovcore.representations._precision import mean_average_precision
from ovcore.representations._probe import LinearProbe
from ovcore.representations._rules import settings_of, warn_of
from ovcore.representations._targets import (
    Target,
    of_classes,
    positions_of,
    read_classes,
    read_marks,
    read_multilabel,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ovcore.representations._fitting import Rules

__all__ = ["StackedGeneralization", "stacked_generalization"]

_Score: TypeAlias = Callable[["Tensor", "Tensor"], float]
"""Of test features (N', d) and weights (d + 1, K)."""


@dataclass(frozen=True, eq=False)
class StackedGeneralization:
    """What probes on one model's features reach, and on those of two models together.

    Attributes:
        scores: (M, M) float64 on the test samples: of each model alone on the diagonal, of a pair
            elsewhere; NaN for pairs that were not asked for, and where no label has a positive.
        metric: "accuracy", or "mean average precision" of several labels a sample.
    """

    scores: NDArray[np.float64]
    metric: str

    @property
    def gain(self) -> NDArray[np.float64]:
        """(M, M) a pair's score minus the better one of its members'; 0 on the diagonal."""
        alone = np.diagonal(self.scores)
        return self.scores - np.maximum.outer(alone, alone)


def stacked_generalization(
    features: Sequence[Array],  # M arrays (N, D_m) floating
    target: Sequence[Any] | Array,  # (N,) labels of any kind that sorts, or (N, K) truth values
    test_features: Sequence[Array],  # M arrays (N', D_m) floating
    test_target: Sequence[Any] | Array,  # (N',) or (N', K), likewise
    *,
    difficult: Array | None = None,  # (N, K) truth values
    test_difficult: Array | None = None,  # (N', K) truth values
    pairs: Iterable[tuple[int, int]] | None = None,
    area: bool = False,
    probe: LinearProbe | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> StackedGeneralization:
    """Scores a linear probe on each model's features, and on those of each pair side by side.

    Two models whose features differ in what they hold are worth more together than either alone
    (Gontijo-Lopes, Dauphin and Cubuk, 2022, Fig. 7, right, on PASCAL VOC). Where samples have one
    label each the score is accuracy; where they have several (a target with two axes) there is a
    logistic regression for each label and the score is their mean average precision at 11 points.
    Needs torch; a standardised copy of all features is in memory.

    Args:
        features: of M models, to train on.
        target: their labels.
        test_features: of the same models in the same order, to score on.
        test_target: their labels.
        difficult: samples that are left out for a label in training.
        test_difficult: likewise in scoring.
        pairs: which pairs of models; by default all.
        area: average precision as an area, see :func:`average_precision_area`.
        probe: settings of all probes; default: ``LinearProbe()``. No protocol.
        checkpoint: folder that keeps what is done; a call that was interrupted goes on there.

    Raises:
        TypeError: element types that are not floating, or labels that are not what they should be.
        ValueError: shapes, numbers of models, samples or dimensions that do not fit; pairs of
            models that are not there; a checkpoint of other data or settings.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> target = np.arange(400) % 4
    >>> bits = np.stack([target % 2, target // 2], axis=1) + 0.2 * rng.standard_normal((400, 2))
    >>> models = [bits[:, :1], bits[:, 1:]]  # each tells half of it
    >>> stacked_generalization(models, target, models, target).scores.round(1)
    array([[0.5, 1. ],
           [1. , 0.5]])
    """
    x, x_test = read_both(list(features), list(test_features))
    ridge, rules = settings_of(probe)
    if np.ndim(target) == 2:
        metric = "mean average precision"
        wanted = read_multilabel(target, difficult, x.n_samples)
        truth, left_out = _read_test(wanted, x_test, test_target, test_difficult)
        score = _mean_ap(truth, left_out, area)
        of_test: list[Any] = [truth, left_out]
    else:
        metric = "accuracy"
        if difficult is not None or test_difficult is not None:
            raise ValueError("difficult samples are of a target (N, K), which has several labels")
        classes, positions = read_classes(target, x.n_samples)
        wanted = of_classes(positions, len(classes))
        right = positions_of(test_target, classes, x_test.n_samples, "test_target", "test_features")
        score, of_test = _accuracy(right), [right]
    settings = metric, area, ridge, rules._replace(workers=None)
    asked = _asked(len(x.sizes), pairs)
    kept = _Kept(checkpoint, [settings, wanted.values, *of_test, x, x_test])
    scores = np.full((len(x.sizes), len(x.sizes)), np.nan)
    for (i, j), value in _scored(x, wanted, x_test, asked, ridge, rules, score, kept):
        scores[i, j] = scores[j, i] = value
    return StackedGeneralization(scores, metric)


def _asked(n_models: int, pairs: Iterable[tuple[int, int]] | None) -> list[tuple[int, int]]:
    """Each model with itself, and the pairs that are asked for, each once."""
    alone = [(m, m) for m in range(n_models)]
    if pairs is None:
        return alone + list(combinations(range(n_models), 2))
    chosen = dict.fromkeys((min(i, j), max(i, j)) for i, j in pairs)
    for i, j in chosen:
        if not 0 <= i < j < n_models:
            raise ValueError(f"pairs has ({i}, {j}), expected two of models 0 to {n_models - 1}")
    return alone + list(chosen)


def _scored(
    x: Features,
    target: Target,
    x_test: Features,
    asked: list[tuple[int, int]],
    ridge: float,
    rules: Rules,
    score: _Score,
    kept: _Kept,
) -> Iterator[tuple[tuple[int, int], float]]:
    from ovcore.representations import _design, _fitting

    with _design.threads(rules.workers), _progress.bar("stacked generalization") as shown:
        x = _design.computed_in(x)
        scaling = _design.scaling_of(x, standardize=rules.standardize, workers=rules.workers)
        design = _design.design_of(x, scaling, workers=rules.workers)
        test = _design.design_of(x_test._replace(dtype=x.dtype), scaling, workers=rules.workers)
        yield from ((pair, kept.scores[pair]) for pair in asked if pair in kept.scores)
        left = [pair for pair in asked if pair not in kept.scores]
        ranges = [np.arange(start, stop) for _, start, stop in x.placed()]
        subsets = [np.concatenate([ranges[m] for m in sorted({*pair})]) for pair in left]
        done = 0
        for group, solution in _fitting.fit_groups(design, target, subsets, ridge, rules):
            found = {
                left[s]: score(_fitting.gather(test, [subsets[s]])[0], weights)
                for s, weights in zip(group, solution.weights, strict=True)
            }
            kept.add(found, solution.status)
            yield from found.items()
            done += len(group)
            if shown is not None:
                shown(done, len(left))
        warn_of([kept.status[pair] for pair in asked], rules.max_iter)


class _Kept:
    """Scores of pairs, in a checkpoint where there is one."""

    def __init__(self, folder: str | os.PathLike[str] | None, of: list[Any]) -> None:
        self._checkpoint = None if folder is None else Checkpoint(folder, of)
        saved = None if self._checkpoint is None else self._checkpoint.load("pairs")
        self.scores: dict[tuple[int, int], float] = {}
        self.status: dict[tuple[int, int], str] = {}
        if saved is not None:
            pairs = [(i, j) for i, j in saved["pairs"].tolist()]
            self.scores = dict(zip(pairs, saved["scores"].tolist(), strict=True))
            self.status = dict(zip(pairs, saved["status"].tolist(), strict=True))

    def add(self, found: dict[tuple[int, int], float], status: list[str]) -> None:
        self.scores |= found
        self.status |= dict(zip(found, status, strict=True))
        if self._checkpoint is not None:
            self._checkpoint.save(
                "pairs",
                pairs=list(self.scores),
                scores=list(self.scores.values()),
                status=list(self.status.values()),
            )


def _accuracy(right: NDArray[np.int64]) -> _Score:
    """Share of samples whose largest logit is at the right position."""
    from ovcore.representations import _fitting

    def score(features: Tensor, weights: Tensor) -> float:
        best = _fitting.best_positions(features[None], weights[None])[0]
        return float((best.cpu().numpy() == right).mean())

    return score


def _read_test(
    target: Target, x: Features, test_target: Array, difficult: Array | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """(N', K) truth values of test samples, and which of them are left out."""
    shape = {"test_features": (x.n_samples, None), "target": (None, target.n_outputs)}
    truth = read_marks(test_target, "test_target", shape)
    if difficult is None:
        return truth, None
    return truth, read_marks(difficult, "test_difficult", {"test_target": truth.shape})


def _mean_ap(truth: NDArray[np.bool_], difficult: NDArray[np.bool_] | None, area: bool) -> _Score:
    """Mean average precision of labels."""
    from ovcore.representations import _fitting

    def score(features: Tensor, weights: Tensor) -> float:
        logits = _fitting.logits_of(features, weights).cpu().numpy()
        return mean_average_precision(logits, truth, difficult=difficult, area=area).value

    return score
