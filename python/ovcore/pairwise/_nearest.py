"""The partners of each model that err most like it, or most unlike, among very many."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _progress
from ovcore._arrays import Array
from ovcore._inputs import at_least_one
from ovcore._progress import Progress
from ovcore._screens import Screen
from ovcore._tables import Formula, Values
from ovcore.errors import ErrorBits, JointErrors
from ovcore.pairwise import _blocks
from ovcore.pairwise._best import Best
from ovcore.pairwise._blocks import Counted, OfBits
from ovcore.pairwise._metrics import error_inconsistency
from ovcore.pairwise._screening import SCREENINGS, Screening, slack

_FIRST = 32  # models in the first range; each later one is as large as all before it, up to a block
_SLAB = 1 << 21  # pairs at a time, where the metric is computed for all


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k best partners of each of M models, best first.

    Attributes:
        indices: (M, k) int64; -1 where a model has fewer partners with a defined value.
        values: (M, k) float64 of the metric; NaN there.
    """

    indices: Array
    values: Array


def nearest(
    errors: ErrorBits | JointErrors,
    k: int,
    *,
    metric: Callable[..., Array] = error_inconsistency,
    largest: bool = False,
    backend: str | None = None,
    workers: int | None = None,
) -> Neighbors:
    """Each model's k partners with the least, or the largest, value of a metric.

    By default the least inconsistent ones; ``largest=True`` gives the most inconsistent. Values are
    those of the metric's matrix, to the bit; the lower index wins a tie. No (M, M) matrix is made:
    100,000 models on 10,000 samples take less than 1 GB, and little longer than counting.

    Joint errors of error bits are counted in blocks. A bound on these counts, from each model's k
    best partners so far, settles most pairs; the metric itself is computed for the rest.
    ``q_statistic`` and ``dominance`` have no such bound, nor has any metric where models lack
    samples: then it is computed for every pair, which takes several times as long.

    Args:
        errors: of M models.
        k: at least 1; what exceeds M - 1 stays empty.
        metric: a function of :mod:`ovcore.pairwise` that gives one number a pair, whichever of its
            models comes first.
        largest: whether large values come first.
        backend: as in :meth:`ovcore.JointErrors.from_errors`.
        workers: threads; default: all cores.

    Raises:
        TypeError: neither error bits nor joint errors.
        ValueError: another metric; k below 1; no samples.

    >>> import numpy as np, ovcore as ov
    >>> preds = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]])
    >>> found = nearest(ov.pack_errors(preds, np.zeros(4, int)), 2)
    >>> found.indices.tolist(), found.values[3].tolist()
    ([[1, 2], [0, 2], [3, 1], [2, 1]], [0.25, 0.75])
    """
    formula = _blocks.formula_of(metric)
    k = at_least_one(k, "k")
    counts = _blocks.counted(errors, backend, workers)
    n_models = counts.n_models
    indices = np.full((n_models, k), -1, np.int64)
    values = np.full((n_models, k), np.nan)
    width = min(k, n_models - 1)
    if width > 0:
        sign = -1 if largest else 1
        screening = SCREENINGS.get(metric)
        with _progress.bar("nearest") as progress:
            if screening is None or not isinstance(counts, OfBits) or counts.lacks_samples:
                found, keys = _of_all_pairs(counts, width, sign, formula, progress)
            else:
                found, keys = _screened(counts, width, sign, formula, screening, progress)
        defined = keys < np.inf
        indices[:, :width][defined] = found[defined]
        values[:, :width][defined] = sign * keys[defined]
    return Neighbors(
        _arrays.in_library(indices, counts.library), _arrays.in_library(values, counts.library)
    )


def _of_all_pairs(
    counts: Counted, k: int, sign: int, formula: Formula, progress: Progress | None
) -> tuple[NDArray[np.int64], Values]:  # (M, k) models, (M, k) keys
    """The metric of every pair, twice: a few whole rows of the matrix at a time."""
    m = counts.n_models
    found, best = np.empty((m, k), np.int64), np.empty((m, k))
    for rows in _blocks.ranges(m, max(1, _SLAB // m)):
        keys = sign * _blocks.values_of(counts, formula, rows, range(m))
        keys[np.isnan(keys)] = np.inf
        keys[np.arange(len(rows)), rows] = np.inf  # no partner of itself
        part = slice(rows.start, rows.stop)
        found[part] = _least(keys, k)
        best[part] = np.take_along_axis(keys, found[part], axis=1)
        if progress is not None:
            progress(rows.stop, m)
    return found, best


def _least(keys: Values, k: int) -> NDArray[np.int64]:  # (R, M) -> (R, k)
    """Where the k least of each row are, in order; of equal ones, the first."""
    last = np.partition(keys, k - 1, axis=1)[:, k - 1 : k]
    less, ties = keys < last, keys == last
    less |= ties & (ties.cumsum(axis=1) <= k - less.sum(axis=1, keepdims=True))
    columns = np.nonzero(less)[1].reshape(len(keys), k)
    order = np.argsort(np.take_along_axis(keys, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1)


def _screened(
    counts: OfBits,
    k: int,
    sign: int,
    formula: Formula,
    screening: Screening,
    progress: Progress | None,
) -> tuple[NDArray[np.int64], Values]:  # (M, k) models, (M, k) keys
    """The metric of the pairs alone that pass a bound, each pair counted once.

    Models are taken in a random order, so that a range is like any other and bounds from the models
    before it leave few partners open, whatever order the caller's models have.
    """
    order = np.random.default_rng(0).permutation(counts.n_models)
    counts = counts.ordered(order)
    best = Best(order, k)
    asked = _Asked(counts, best, sign, screening)

    def offer(
        first: NDArray[np.int64], second: NDArray[np.int64], joint: NDArray[np.int64]
    ) -> None:
        keys = sign * counts.values(formula, first, second, joint)
        best.offer(first, second, keys, joint)
        best.offer(second, first, keys, joint)

    def settle(offered: tuple[range, range, Future[None]]) -> None:
        rows, cols, done = offered
        done.result()
        for models in {rows, cols}:
            asked.refresh(slice(models.start, models.stop))

    # One core sorts what passed while all count the next block, by bounds that are a block old.
    blocks = list(_blocks.upper(_growing(counts.n_models)))
    waiting: list[tuple[range, range, Future[None]]] = []
    with ThreadPoolExecutor(1) as one_more:
        for done, (rows, cols) in enumerate(blocks):
            passed = counts.backend.screen_pairs(
                counts.words, rows, cols, asked.screen, counts.workers, None
            )
            if waiting:
                settle(waiting.pop())
            waiting.append((rows, cols, one_more.submit(offer, *passed)))
            if counts.workers == 1 or done + 1 == len(blocks):
                settle(waiting.pop())
            if progress is not None:
                progress(done + 1, len(blocks))
    found, keys = np.empty_like(best.partners), np.empty_like(best.keys)
    found[order], keys[order] = best.number[best.partners], best.keys
    return found, keys


def _growing(n_models: int) -> list[range]:
    """Ranges that cover the models: a bound from those before leaves about k of a range open."""
    edges = [0, min(_FIRST, n_models)]
    while edges[-1] < n_models:
        edges.append(edges[-1] + min(edges[-1], _blocks.SIDE, n_models - edges[-1]))
    return [range(a, b) for a, b in itertools.pairwise(edges)]


class _Asked:
    """What partners of each model must reach to be among its k best."""

    def __init__(self, counts: OfBits, best: Best, sign: int, screening: Screening) -> None:
        self._wrong, self._n = counts.wrong, float(counts.n_samples)
        self._best, self._sign, self._screening = best, sign, screening
        m = counts.n_models
        x, y = screening.x(self._wrong, self._n), screening.y(self._wrong, self._n)
        self.screen = Screen(
            sign=1.0 if screening.grows == (sign < 0) else -1.0,
            alpha=np.where(np.isnan(x), np.inf, -np.inf),
            beta=np.zeros(m),
            gamma=np.zeros(m),
            x=x,
            y=y,
            slack=0.0 if screening.is_exact else slack(counts.n_samples),
            number=best.number[:m].copy(),
            last=np.full(m, m),
            last_x=np.full(m, np.nan),
        )

    def refresh(self, models: slice) -> None:
        """Takes in what these models' best partners have become."""
        last = self._best.partners[models, -1]
        full = np.flatnonzero(last < len(self._wrong))
        at, last = models.start + full, last[full]
        value = self._sign * self._best.keys[at, -1]
        _, beta, gamma = self._screening.bounds(value, self._wrong[at], self._n)
        s = self.screen
        s.beta[at], s.gamma[at] = s.sign * beta, s.sign * gamma
        s.last[at], s.last_x[at] = self._best.number[last], s.x[last]
        # The last partner's own score, as kernels compute it: equal to that of its ties.
        s.alpha[at] = s.sign * self._best.joint[at, -1] - s.beta[at] * s.x[last]
        s.alpha[at] -= s.gamma[at] * s.y[last]
