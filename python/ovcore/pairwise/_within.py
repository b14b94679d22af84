"""All pairs whose metric is within a threshold, of models too many for the matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs, _progress
from ovcore._arrays import Array
from ovcore._screens import Screen
from ovcore._tables import Formula, Values
from ovcore.errors import ErrorBits, JointErrors
from ovcore.pairwise import _blocks
from ovcore.pairwise._blocks import Counted, OfBits
from ovcore.pairwise._metrics import error_inconsistency
from ovcore.pairwise._screening import SCREENINGS, Screening, slack

_SIDE = 2048  # models to a side of a block where the metric is computed for all pairs


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of models a < b, ordered by a, then b.

    Attributes:
        indices: (P, 2) int64.
        values: (P,) float64 of the metric.
    """

    indices: Array
    values: Array

    def __len__(self) -> int:
        return len(self.values)


def pairs_within(
    errors: ErrorBits | JointErrors,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    metric: Callable[..., Array] = error_inconsistency,
    max_pairs: int = 10_000_000,
    backend: str | None = None,
    workers: int | None = None,
) -> Pairs:
    """All pairs of models whose metric is at most, or at least, a threshold.

    Values are those of the metric's matrix, to the bit, but no (M, M) matrix is made. The metric is
    computed for pairs alone that pass a bound on their joint errors, as in :func:`nearest`, and for
    all where there is none.

    Args:
        errors: of M models.
        at_most: the highest value; this or ``at_least``.
        at_least: the lowest value.
        metric: as in :func:`nearest`.
        max_pairs: memory to spend: about 24 bytes a pair.
        backend: as in :meth:`ovcore.JointErrors.from_errors`.
        workers: threads; default: all cores.

    Raises:
        TypeError: neither error bits nor joint errors; a threshold that is no number.
        ValueError: no threshold, both, or NaN; another metric; no samples; more pairs than
            ``max_pairs``.

    >>> import numpy as np, ovcore as ov
    >>> preds = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]])
    >>> errors = ov.pack_errors(preds, np.zeros(4, int))
    >>> pairs_within(errors, at_most=0.25).indices.tolist()
    [[0, 1], [2, 3]]
    """
    formula = _blocks.formula_of(metric)
    if (at_most is None) == (at_least is None):
        raise ValueError(f"give at_most or at_least: got {at_most} and {at_least}")
    largest = at_least is not None
    name = "at_least" if largest else "at_most"
    limit = _inputs.read_numbers(at_least if largest else at_most, name, "a number")
    if limit.ndim != 0 or np.isnan(limit):
        raise ValueError(f"{name} must be one number, not NaN: got {limit}")
    most = _inputs.at_least_one(max_pairs, "max_pairs")
    counts = _blocks.counted(errors, backend, workers)
    sign = -1 if largest else 1
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Values]] = []
    n_found = 0
    with _progress.bar("pairs") as progress:
        for done, of, first, second, values in _walk(counts, metric, formula, float(limit), sign):
            passes = np.flatnonzero(sign * values <= sign * limit)
            n_found += len(passes)
            if n_found > most:
                raise ValueError(
                    f"more than max_pairs={most:,} pairs of {counts.n_models:,} models have "
                    f"{metric.__name__} {name.replace('_', ' ')} {limit}: choose another threshold"
                )
            found.append((first[passes], second[passes], values[passes]))
            if progress is not None:
                progress(done, of)
    none = np.empty(0, np.int64)
    parts = zip(*found, strict=True) if found else iter(((none,), (none,), (np.empty(0),)))
    first, second, values = (np.concatenate(part) for part in parts)
    order = np.lexsort((second, first))
    indices = np.stack([first[order], second[order]], axis=1)
    return Pairs(
        _arrays.in_library(indices, counts.library),
        _arrays.in_library(values[order], counts.library),
    )


def _walk(
    counts: Counted, metric: Callable[..., Array], formula: Formula, limit: float, sign: int
) -> Iterator[tuple[int, int, NDArray[np.int64], NDArray[np.int64], Values]]:
    """Blocks done and in all, and of some pairs a < b in each, models and values."""
    screening = SCREENINGS.get(metric)
    if screening is None or not isinstance(counts, OfBits) or counts.lacks_samples:
        blocks = list(_blocks.upper(_blocks.ranges(counts.n_models, _SIDE)))
        for done, (rows, cols) in enumerate(blocks):
            values = _blocks.values_of(counts, formula, rows, cols)
            within = sign * values <= sign * limit
            within &= np.arange(rows.start, rows.stop)[:, None] < np.arange(cols.start, cols.stop)
            row, col = np.nonzero(within)
            yield done + 1, len(blocks), row + rows.start, col + cols.start, values[row, col]
        return
    screen = _screen(counts, screening, limit, sign)
    blocks = list(_blocks.upper(_blocks.ranges(counts.n_models)))
    for done, (rows, cols) in enumerate(blocks):
        first, second, joint = counts.backend.screen_pairs(
            counts.words, rows, cols, screen, counts.workers, None
        )
        values = counts.values(formula, first, second, joint)
        yield done + 1, len(blocks), first, second, values


def _screen(counts: OfBits, screening: Screening, limit: float, sign: int) -> Screen:
    """Lets all pairs pass whose value may be within the limit."""
    m, wrong, n = counts.n_models, counts.wrong, float(counts.n_samples)
    joint_sign = 1.0 if screening.grows == (sign < 0) else -1.0
    limits = np.full(m, np.clip(limit, -4, 4))  # past what any of these metrics can be
    alpha, beta, gamma = (joint_sign * b for b in screening.bounds(limits, wrong, n))
    x = screening.x(wrong, n)
    return Screen(
        sign=joint_sign,
        alpha=np.where(np.isnan(x), np.inf, alpha),
        beta=beta,
        gamma=gamma,
        x=x,
        y=screening.y(wrong, n),
        slack=slack(counts.n_samples),
        number=np.zeros(m, np.int64),
        last=np.zeros(m, np.int64),  # a tie is within
        last_x=np.full(m, np.nan),
    )
