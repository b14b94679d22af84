"""Moments of features, over the same blocks in the same order whatever the chunks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovcore.adapters.dask import _graph
from ovcore.adapters.dask._graph import Options
from ovcore.adapters.dask._outputs import Place, as_arrays, delayed_rows
from ovcore.representations import Moments

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client

__all__ = ["covariance", "moments"]


def moments(
    features: da.Array | Sequence[da.Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    other: da.Array | Sequence[da.Array] | None = None,  # (N, D') floating, likewise
    *,
    client: Client | None = None,
    block_size: int | None = None,
) -> Moments:
    """Means of features and sums of products of deviations from them, over all samples.

    :meth:`ovcore.representations.Moments.from_features` of blocks of 16,384 samples, added eight at
    a time, then eight of those, and so on. So the result is the same to the bit whatever the
    chunks, the blocks and the number of workers, where these have one instruction set, one BLAS
    and as many of its threads; and equal to that of one process to rounding.

    Args:
        features: rows of the matrix.
        other: its columns; by default the rows again.
        client: see the module.
        block_size: see there; brought to 16,384 samples, or 8, 64, ... times as many.

    Raises:
        TypeError: arrays that are not of Dask, or not floating.
        ValueError: as :meth:`ovcore.representations.Moments.from_features`, with the block that is
            at fault; chunks of unknown sizes.
    """
    options = Options.read(client, block_size)
    sides = [as_arrays(features, "features")]
    if other is not None:
        sides.append(as_arrays(other, "other"))
    n = sides[0][0].shape[0]
    if sides[-1][0].shape[0] != n:
        raise ValueError(f"features has {n} samples but other has {sides[-1][0].shape[0]}")
    sample_bytes = sum(a.dtype.itemsize * max(a.shape[1], 1) for side in sides for a in side)
    edges = _graph.canonical_edges(n, sample_bytes, options)
    places = [Place(a, b, 0, 1) for a, b in pairwise(edges)]
    rows = [delayed_rows(side, edges) for side in sides]
    given = list(zip(places, *rows, strict=True))
    parts = _graph.tasks("moments", _moments, given, workers=1)
    found: Moments = _graph.compute(_graph.tree("moments", _add, parts, _graph.AT_ONCE), options)
    return found


def covariance(
    features: da.Array | Sequence[da.Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    other: da.Array | Sequence[da.Array] | None = None,  # (N, D') floating, likewise
    *,
    ddof: int = 1,
    client: Client | None = None,
    block_size: int | None = None,
) -> NDArray[np.float64]:
    """(D, D') covariance of dimensions: :func:`moments` divided by N - ddof.

    Args:
        features: as are those below, see :func:`moments`.
        other: see there.
        ddof: what is taken off N; 1 as in numpy.cov.
        client: see there.
        block_size: see there.

    Raises:
        TypeError, ValueError: as :func:`moments`; not more than ``ddof`` samples.
    """
    found: NDArray[np.float64] = moments(
        features, other, client=client, block_size=block_size
    ).covariance(ddof=ddof)
    return found


def _moments(place: Place, *sides: list[NDArray[Any]]) -> Moments:
    parts = []
    for first in range(0, place.stop - place.first, _graph.CANONICAL):
        rows = slice(first, first + _graph.CANONICAL)
        parts.append(Moments.from_features(*([part[rows] for part in side] for side in sides)))
    while len(parts) > 1:
        parts = [_add(parts[i : i + _graph.AT_ONCE]) for i in range(0, len(parts), _graph.AT_ONCE)]
    return parts[0]


def _add(parts: list[Moments]) -> Moments:
    total = Moments()
    for part in parts:
        total += part
    return total
