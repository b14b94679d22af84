"""The 2 x 2 tables of pairs of models, and the (M, M) matrices that formulas make of them.

Counts are turned into float64, which holds them exactly up to 2^53, a slab of pairs at a time: a
metric of 10,000 models takes the memory of the counts and of its result.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore.errors import ErrorBits, JointErrors

Values: TypeAlias = NDArray[np.float64]

_SLAB = 1 << 16  # pairs; half a megabyte for each table entry, so that temporaries stay in cache


class Table:
    """The tables of some pairs (a, b), as arrays that broadcast against each other.

    Entries are computed when a formula first reads them: double fault reads one of four.

    Attributes:
        n: samples that the pair is judged on.
        n00: of those, samples that both get wrong.
        wrong_a: of those, samples that model a gets wrong.
        wrong_b: of those, samples that model b gets wrong.
    """

    def __init__(self, n: Values, n00: Values, wrong_a: Values, wrong_b: Values) -> None:
        self.n, self.n00, self.wrong_a, self.wrong_b = n, n00, wrong_a, wrong_b

    @cached_property
    def n01(self) -> Values:
        """Only b right."""
        return self.wrong_a - self.n00

    @cached_property
    def n10(self) -> Values:
        """Only a right."""
        return self.wrong_b - self.n00

    @cached_property
    def n11(self) -> Values:
        """Both right."""
        return self.right_a - self.n10

    @cached_property
    def right_a(self) -> Values:
        """Samples that model a gets right."""
        return self.n - self.wrong_a

    @cached_property
    def right_b(self) -> Values:
        """Samples that model b gets right."""
        return self.n - self.wrong_b

    @cached_property
    def p_a(self) -> Values:
        """Accuracy of model a."""
        return self.right_a / self.n

    @cached_property
    def p_b(self) -> Values:
        """Accuracy of model b."""
        return self.right_b / self.n


Formula: TypeAlias = Callable[[Table], Values]
"""A metric of one pair, written elementwise; 0/0 gives NaN."""


def as_counts(errors: ErrorBits | JointErrors) -> JointErrors:
    """The joint errors of error bits; joint errors as they are."""
    if isinstance(errors, JointErrors):
        return errors
    if isinstance(errors, ErrorBits):
        return JointErrors.from_errors(errors)
    raise TypeError(f"expected ErrorBits or JointErrors, got {type(errors).__name__}")


def per_pair(errors: ErrorBits | JointErrors, formula: Formula) -> Array:
    """(M, M) of a formula, in the caller's library; NaN where a pair shares no sample."""
    counts = as_counts(errors)
    return _arrays.in_library(fill(counts, formula), counts.library)


def fill(counts: JointErrors, formula: Formula) -> Values:
    """:func:`per_pair` as numpy."""
    m = counts.n_models
    values = np.empty((m, m))
    table_of = tables(counts)
    step = max(1, _SLAB // max(m, 1))
    with np.errstate(invalid="ignore"):
        for first in range(0, m, step):
            rows = slice(first, first + step)
            values[rows] = formula(table_of(rows, slice(None)))
    return values


def pair_slabs(counts: JointErrors, size: int = _SLAB) -> Iterator[tuple[slice, slice, Table]]:
    """Every pair a <= b once: rows (one model a), columns (at most ``size`` models b), tables.

    For formulas that cost more than reading the counts.
    """
    m = counts.n_models
    table_of = tables(counts)
    for a in range(m):
        for first in range(a, m, size):
            rows, cols = slice(a, a + 1), slice(first, min(first + size, m))
            yield rows, cols, table_of(rows, cols)


def replace_undefined(
    values: Values, by: float, what: str, *, shared: NDArray[np.int64] | None = None
) -> None:
    """Writes ``by`` where a pair that shares samples has NaN; where that is NaN, warns of them."""
    if not isinstance(by, float | int | np.floating | np.integer):
        raise TypeError(f"replace_undefined_by must be a number, got {by!r}")
    n_pairs = 0
    for i, row in enumerate(values):
        undefined = np.isnan(row)
        if shared is not None:
            undefined &= shared[i] > 0
        row[undefined] = by
        n_pairs += int(undefined[i:].sum())
    if n_pairs and np.isnan(by):
        warnings.warn(
            f"{what} is undefined for {n_pairs} pair{'s' if n_pairs > 1 else ''} "
            "(both models perfect, or both always wrong): NaN",
            RuntimeWarning,
            stacklevel=3,  # the caller of the metric
        )


def tables(counts: JointErrors) -> Callable[[slice, slice], Table]:
    """Gives the tables of the pairs of some rows and columns; refuses counts of no sample."""
    if counts.n_samples == 0:
        raise ValueError("pairwise metrics of no samples are undefined")
    joint, shared, wrong_shared = counts.joint, counts.shared, counts.wrong_shared
    n, wrong = np.asarray(counts.n_samples, np.float64), counts.n_wrong().astype(np.float64)

    def table_of(rows: slice, cols: slice) -> Table:
        n00 = joint[rows, cols].astype(np.float64)
        if shared is None or wrong_shared is None:
            return Table(n, n00, wrong[rows, None], wrong[None, cols])
        return Table(
            shared[rows, cols].astype(np.float64),
            n00,
            wrong_shared[rows, cols].astype(np.float64),
            wrong_shared[cols, rows].T.astype(np.float64),
        )

    return table_of
