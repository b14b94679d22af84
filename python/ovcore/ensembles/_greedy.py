"""Ensembles built one member at a time, as Caruana et al. (2004) do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs, _progress
from ovcore._arrays import Array
from ovcore.ensembles import _scored
from ovcore.ensembles._joining import Joining
from ovcore.topk import TopK

__all__ = ["GreedySelection", "greedy"]

_METRICS = ("accuracy", "nll")


@dataclass(frozen=True, eq=False)
class GreedySelection:
    """Members in the order they joined, and what the ensemble was worth after each.

    Attributes:
        members: indices of models, those to start from first.
        accuracy: (len(members),) float64, of the ensemble of the first 1, 2, ... members, on the
            samples held out, or on those selected on where none were.
        selection_accuracy: the same on the samples selected on.
        selection_nll: (len(members),) float64, mean negative log likelihood in nats of the mean
            probability on the samples selected on; NaN where logits are combined. Probabilities are
            scores: one below 2^-126 counts as that, so that no sample adds more than 87.
        held_out: int64, indices of the samples held out; none where selection and report share all.
    """

    members: tuple[int, ...]
    accuracy: Array
    selection_accuracy: Array
    selection_nll: Array
    held_out: Array


def greedy(
    logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating, or M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    start: int | Sequence[int] | Array | None = None,
    max_size: int | None = None,
    replacement: bool = False,
    use_best: bool = False,
    metric: str = "accuracy",
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    combine: str = "prob",
    holdout: float | Sequence[int] | Array | None = None,
    seed: int = 0,
) -> GreedySelection:
    """Adds, one at a time, the model that makes the ensemble best.

    Members have equal weights; with replacement a model may join again and so weigh more (Caruana
    et al., 2004). Accuracies are counts of samples, so that ties are exact: they go to a model that
    is in the ensemble already, then to the lower NLL of the mean probability (not where logits are
    combined), then to the lower index; where NLL decides, to one in the ensemble, then to the lower
    index. The ensemble predicts as :func:`ovcore.ensembles.predict` does.

    Args:
        logits: as in :func:`ovcore.ensembles.pairs`.
        target: (N,) integer classes.
        start: one or more models to start from; default: the best one.
        max_size: members in the end, even where the last ones do not help; default: as many as make
            the ensemble better, each one. With replacement, NLL can fall for ever: there it is
            required.
        replacement: whether a model may join again.
        use_best: keep the members up to where the ensemble was first best, but those to start from.
        metric: "accuracy", or "nll": the least negative log likelihood of the mean probability.
        temperature: positive, one for all models or one each.
        combine: "prob", or "logit" or "logprob" for accuracies.
        holdout: samples to report on and not to select on: a share of all, drawn at random, or
            their indices, or an (N,) boolean array.
        seed: of that draw.

    Raises:
        ValueError: as :func:`ovcore.ensembles.pairs`; a start that is no model, or twice the same
            without replacement; a size below that of the start, or above M without replacement;
            an unknown metric; a holdout that leaves no sample on one side.
        TypeError: an argument of the wrong kind.

    Warns:
        UserWarning: nothing is held out, so that the best accuracy of many is reported.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> target = rng.integers(0, 10, 1000)
    >>> logits = rng.normal(size=(8, 1000, 10)) + 1.5 * np.eye(10)[target]
    >>> selected = greedy(logits, target, start=0, max_size=4, holdout=0.5)
    >>> len(selected.members), bool(selected.accuracy[-1] > selected.accuracy[0] + 0.1)
    (4, True)
    """
    models, _ = _scored.read(logits, target, temperature, combine)
    n_models = models.n_models
    _inputs.refuse_unknown("metric", metric, _METRICS)
    if metric == "nll" and combine != "prob":
        raise ValueError(f"metric='nll' is of mean probabilities, combine='prob': got {combine!r}")
    if metric == "nll" and replacement and max_size is None:
        raise ValueError("metric='nll' with replacement may never stop improving: pass max_size")
    first = _read_start(start, n_models, replacement)
    size = _read_size(max_size, len(first), n_models, replacement)
    held_out = _read_holdout(holdout, models.n_samples, seed)
    if held_out is None:
        warnings.warn(
            "greedy selection reports on the samples it selects on, the best of many tries; pass "
            "holdout=, a share or indices of samples to report on",
            UserWarning,
            stacklevel=2,
        )
    candidates = models.candidates(all_samples=True)
    selecting = Joining(models, candidates, None if held_out is None else ~held_out)
    reporting = selecting if held_out is None else Joining(models, candidates, held_out)
    steps: list[tuple[int, int, int, float]] = []  # model, hits on both sides, NLL

    def join(model: int, hits: NDArray[np.int64]) -> None:
        reported = hits if reporting is selecting else reporting.hits()
        nll = float(selecting.nll([model])[0])
        steps.append((model, int(hits[model]), int(reported[model]), nll))
        for side in {id(s): s for s in (selecting, reporting)}.values():
            side.join(model)

    for model in first:
        join(int(model), selecting.hits())
    with _progress.bar("greedy selection") as progress:
        while len(steps) < (size or len(steps) + 1):
            hits = selecting.hits()
            allowed = np.ones(n_models, bool)
            if not replacement:
                allowed[[step[0] for step in steps]] = False
            if not allowed.any():
                break
            model = _choose(selecting, hits, allowed, [step[0] for step in steps], metric)
            if size is None and steps and not _is_better(selecting, hits, model, steps[-1], metric):
                break
            join(model, hits)
            if progress is not None and size is not None:
                progress(len(steps), size)
    if use_best:
        worth = [-step[3] if metric == "nll" else step[1] for step in steps]
        shortest = max(len(first), 1)
        steps = steps[: shortest + int(np.argmax(worth[shortest - 1 :]))]
    members, hits_, reported, nlls = zip(*steps, strict=True)

    def give(values: NDArray[np.float64]) -> Array:
        return _arrays.in_library(values, models.library)

    return GreedySelection(
        members,
        give(np.array(reported) / reporting.n_samples),
        give(np.array(hits_) / selecting.n_samples),
        give(np.array(nlls)),
        _arrays.in_library(np.flatnonzero(False if held_out is None else held_out), models.library),
    )


def _choose(
    ensemble: Joining, hits: NDArray[np.int64], allowed: NDArray[np.bool_], used: list[int], by: str
) -> int:
    """The allowed model that is best; ties go to one in use, then by NLL, then to the lowest."""
    best = np.flatnonzero(allowed)
    if by == "accuracy":
        best = best[hits[best] == hits[best].max()]
        again = best[np.isin(best, used)]
        best = again if len(again) else best
    if len(best) == 1:
        return int(best[0])
    nll = ensemble.nll(best)
    if np.isnan(nll).any():  # logits are combined
        return int(best[0])
    best = best[nll == nll.min()]
    again = best[np.isin(best, used)]
    return int((again if len(again) else best)[0])


def _is_better(
    ensemble: Joining,
    hits: NDArray[np.int64],
    model: int,
    last: tuple[int, int, int, float],
    metric: str,
) -> bool:
    if metric == "nll":
        return bool(ensemble.nll([model])[0] < last[3])
    return bool(hits[model] > last[1])


def _read_start(
    start: int | Sequence[int] | Array | None, n_models: int, replacement: bool
) -> NDArray[np.int64]:
    if start is None:
        return np.empty(0, np.int64)
    found = _scored.read_members(start, n_models, "start", one=True)
    if not replacement and len(np.unique(found)) < len(found):
        raise ValueError(f"start has a model twice, which takes replacement=True: got {start}")
    return found


def _read_size(size: int | None, n_start: int, n_models: int, replacement: bool) -> int | None:
    if size is None:
        return None
    count = _inputs.integer(size, "max_size", "an integer or None")
    lowest = max(n_start, 1)
    if count < lowest or (count > n_models and not replacement):
        expected = f"at least {lowest}" if replacement else f"in {lowest}..{n_models}"
        raise ValueError(f"max_size must be {expected}, got {count}")
    return count


def _read_holdout(
    holdout: float | Sequence[int] | Array | None, n_samples: int, seed: int
) -> NDArray[np.bool_] | None:
    """(N,) samples held out."""
    if holdout is None:
        return None
    held_out = np.zeros(n_samples, bool)
    if np.ndim(holdout) == 0:
        if not isinstance(holdout, float | np.floating) or not 0 < holdout < 1:
            raise ValueError(f"holdout must be a share between 0 and 1, or samples: got {holdout}")
        count = round(holdout * n_samples)
        rng = np.random.default_rng(_inputs.integer(seed, "seed"))
        held_out[rng.permutation(n_samples)[:count]] = True
    else:
        which = _arrays.view_on_host(_arrays.adopt(holdout, "holdout"), "holdout").values
        if which.dtype == bool:
            if which.shape != (n_samples,):
                raise ValueError(
                    f"holdout of truth values must be ({n_samples},): got shape {which.shape}"
                )
            held_out = which.copy()
        else:
            which = _arrays.integers(which, "holdout").astype(np.int64)
            outside = which[(which < 0) | (which >= n_samples)]
            if which.ndim != 1 or len(outside):
                raise ValueError(
                    f"holdout must be indices of samples in 0..{n_samples - 1}, in one axis: got "
                    f"{outside[0] if which.ndim == 1 else which.shape}"
                )
            held_out[which] = True
    if held_out.all() or not held_out.any():
        raise ValueError(
            f"holdout must leave samples on both sides: it takes {held_out.sum()} of {n_samples}"
        )
    return held_out
