"""Parts of the matrix over all pairs, of models too many to hold it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch
from ovcore._arrays import Array
from ovcore._tables import Formula, Table, Values, tables
from ovcore.errors import ErrorBits, JointErrors
from ovcore.pairwise._metrics import FORMULAS, accuracy_difference

SIDE = 8192
"""Models to a side of a block: half a gigabyte of counts, where a block is held at all."""

_PAIRS = 1 << 18  # a formula's at a time: its temporaries stay in cache


class Counted(Protocol):
    """Joint errors of models, a block of pairs at a time.

    Attributes:
        n_models: number of models, M.
        n_samples: N.
        library: where results come back.
    """

    n_models: int
    n_samples: int
    library: str

    def joint(self, rows: range, cols: range) -> NDArray[np.int64]:
        """(R, C) joint errors."""

    def table(self, rows: range, cols: range) -> Table:
        """The pairs' tables, (R, C)."""


def counted(errors: ErrorBits | JointErrors, backend: str | None, workers: int | None) -> Counted:
    """Joint errors of what a caller gave; refuses errors of no sample."""
    if not isinstance(errors, ErrorBits | JointErrors):
        raise TypeError(f"expected ErrorBits or JointErrors, got {type(errors).__name__}")
    if errors.n_samples == 0:
        raise ValueError("pairwise metrics of no samples are undefined")
    if isinstance(errors, JointErrors):
        return _OfCounts(errors)
    return OfBits(errors, backend, workers)


def formula_of(metric: Callable[..., Array], *, symmetric: bool = True) -> Formula:
    """A metric's formula; refuses what has none, or differs between (a, b) and (b, a)."""
    known = {m: f for m, f in FORMULAS.items() if not symmetric or m is not accuracy_difference}
    formula = known.get(metric) if callable(metric) else None
    if formula is None:
        names = ", ".join(each.__name__ for each in known)
        raise ValueError(
            f"metric must be a function of ovcore.pairwise among {names}: got {metric}"
        )
    return formula


def values_of(counts: Counted, formula: Formula, rows: range, cols: range) -> Values:
    """(R, C) of a metric."""
    values = np.empty((len(rows), len(cols)))
    step = max(1, _PAIRS // max(len(cols), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        for first in range(rows.start, rows.stop, step):
            part = range(first, min(first + step, rows.stop))
            at = slice(part.start - rows.start, part.stop - rows.start)
            values[at] = formula(counts.table(part, cols))
    return values


def ranges(n_models: int, side: int = SIDE) -> list[range]:
    """Models in ranges of at most ``side``."""
    return [range(i, min(i + side, n_models)) for i in range(0, n_models, side)]


def upper(parts: list[range]) -> Iterator[tuple[range, range]]:
    """Blocks on and right of the diagonal, row by row."""
    for r, rows in enumerate(parts):
        for cols in parts[r:]:
            yield rows, cols


class OfBits:
    """Counted when they are asked for.

    Attributes:
        words: (M, W) error bits where their kernels read them; where models lack samples, (2 M, W)
            with the bits of those they have.
        wrong: (M,) errors of each model.
    """

    def __init__(self, errors: ErrorBits, backend: str | None, workers: int | None) -> None:
        self.backend = _dispatch.choose(backend, errors.library)
        self.workers = _dispatch.count_workers(workers)
        self.n_models, self.n_samples = errors.n_models, errors.n_samples
        self.library = errors.library
        self.lacks_samples = errors.present is not None
        self.wrong: Values = errors.n_wrong().astype(np.float64)
        self.words = errors._words_in_place()
        if errors.present is not None:
            both = np.concatenate([errors.words, errors.present])
            self.words = _arrays.beside(both, errors.library)

    def ordered(self, order: NDArray[np.int64]) -> OfBits:
        """The same models, none of which lacks samples, in another order; bits are copied."""
        other = copy.copy(self)
        other.words, other.wrong = _arrays.take(self.words, order), self.wrong[order]
        return other

    def joint(self, rows: range, cols: range) -> NDArray[np.int64]:
        """(R, C) joint errors."""
        return self._between(rows, cols)

    def table(self, rows: range, cols: range) -> Table:
        """The pairs' tables: four counts instead of one where models lack samples."""
        n00 = self._between(rows, cols).astype(np.float64)
        if not self.lacks_samples:
            n = np.asarray(self.n_samples, np.float64)
            a, b = (self.wrong[r.start : r.stop] for r in (rows, cols))
            return Table(n, n00, a[:, None], b[None])
        m = self.n_models
        has_rows, has_cols = (range(r.start + m, r.stop + m) for r in (rows, cols))
        return Table(
            self._between(has_rows, has_cols).astype(np.float64),
            n00,
            self._between(rows, has_cols).astype(np.float64),
            self._between(has_rows, cols).astype(np.float64),
        )

    def values(
        self,
        formula: Formula,
        first: NDArray[np.int64],  # (P,)
        second: NDArray[np.int64],  # (P,)
        joint: NDArray[np.int64],  # (P,)
    ) -> Values:  # (P,)
        """A metric of some pairs that were counted; no model lacks samples."""
        n = np.asarray(self.n_samples, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return formula(
                Table(n, joint.astype(np.float64), self.wrong[first], self.wrong[second])
            )

    def _between(self, rows: range, cols: range) -> NDArray[np.int64]:
        return self.backend.joint_errors_between(self.words, rows, cols, self.workers, None)


class _OfCounts:
    def __init__(self, errors: JointErrors) -> None:
        self._errors, self._table_of = errors, tables(errors)
        self.n_models, self.n_samples = errors.n_models, errors.n_samples
        self.library = errors.library

    def joint(self, rows: range, cols: range) -> NDArray[np.int64]:
        return self._errors.joint[rows.start : rows.stop, cols.start : cols.stop]

    def table(self, rows: range, cols: range) -> Table:
        return self._table_of(slice(rows.start, rows.stop), slice(cols.start, cols.stop))
