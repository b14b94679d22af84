"""Temperatures: the search is that of one process, and so are the sums it asks for."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovcore.adapters.dask import _graph
from ovcore.adapters.dask._graph import Options
from ovcore.adapters.dask._outputs import Given, Outputs, Place, read
from ovcore.calibration import TemperatureFit, add_nll_sums, fit_from_nll_sums, nll_sums

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client

__all__ = ["fit_temperature"]


def fit_temperature(
    logits: Given,  # a store, or (M, N, K) floating, or M arrays (N, K)
    target: da.Array | NDArray[np.integer[Any]] | None = None,  # (N,) integer
    *,
    client: Client | None = None,
    block_size: int | None = None,
    workers: int = 1,
) -> TemperatureFit:
    """Temperature of each model: :func:`ovcore.calibration.fit_temperature` of all samples.

    To the bit, see the module. About five passes over one sample in 32, then two or three over all.

    Args:
        logits: logits of at least two classes.
        target: classes, a Dask array or one in memory; a store has its own.
        client: as are those below, see the module.
        block_size: see there; brought to 16,384 samples, or 8, 64, ... times as many. Where that is
            too much for a task, models are divided.
        workers: see there.

    Raises:
        TypeError: outputs that are neither a store of logits nor Dask arrays of them.
        ValueError: as :func:`ovcore.calibration.fit_temperature`, with the block that is at fault;
            chunks of unknown sizes.
    """
    options = Options.read(client, block_size, workers=workers)
    return fitted(Outputs(logits, target, "logits"), options)


def fitted(outputs: Outputs, options: Options) -> TemperatureFit:
    """Temperatures of checked outputs."""
    if outputs.kind != "logits":
        raise TypeError(
            f"{outputs.name} must be (M, N, K) or M arrays (N, K): got predicted classes or stored "
            "top-k outputs, which do not carry all confidences"
        )
    n, n_models = outputs.n_samples, outputs.n_models
    edges = _graph.canonical_edges(n, outputs.sample_bytes, options)
    block_bytes = outputs.sample_bytes * (edges[1] - edges[0])
    groups = list(pairwise(_graph.model_edges(n_models, len(edges) - 1, block_bytes, options)))

    def sums(
        models: NDArray[np.int64], temperature: NDArray[np.float64], every: int
    ) -> NDArray[np.float64]:
        places, asked = [], []
        for low, high in groups:
            of_group = np.flatnonzero((models >= low) & (models < high))
            if len(of_group) == 0:
                continue
            some = (models[of_group] - low, temperature[of_group], every)
            given = [(*piece, *some) for piece in outputs.pieces(edges, low, high)]
            parts = _graph.tasks("nll-sums", _nll_sums, given, options.workers)
            places.append(of_group)
            asked.append(_graph.tree("nll-sums", _add, parts, _graph.AT_ONCE))
        found = np.empty((len(models), 3))
        for of_group, values in zip(places, _graph.compute(asked, options), strict=True):
            found[of_group] = values
        return found

    return fit_from_nll_sums(sums, n_models, n)


def _nll_sums(
    place: Place,
    outputs: Any,
    target: Any,
    models: NDArray[np.int64],  # (A,)
    temperature: NDArray[np.float64],  # (A,)
    every: int,
) -> NDArray[np.float64]:  # (A, 3)
    arrays, labels = read(outputs, target, place, models)
    return add_nll_sums(nll_sums(arrays, labels, temperature=temperature, every=every))


def _add(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return add_nll_sums(np.stack(parts))
