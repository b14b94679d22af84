"""Counts: integers, so that any division of the samples gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import ovcore as ov
from ovcore.adapters.dask import _graph
from ovcore.adapters.dask._graph import Options
from ovcore.adapters.dask._outputs import Given, Outputs, Place, read, read_temperature
from ovcore.counts import PairCounts
from ovcore.ensembles import PairEnsembles

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client

__all__ = ["joint_agreement", "joint_errors", "pair_counts", "pairs"]


def joint_errors(
    outputs: Given,  # a store, or (M, N, K) floating | (M, N) integer, or M arrays of one model
    target: da.Array | NDArray[np.integer[Any]] | None = None,  # (N,) integer
    *,
    nan_policy: str = "raise",
    client: Client | None = None,
    block_size: int | None = None,
    split_every: int = 8,
    workers: int = 1,
) -> ov.JointErrors:
    """For all pairs of models, how many samples both get wrong.

    ``JointErrors.from_errors(pack_errors(outputs, target))`` of all samples.

    Args:
        outputs: logits or predicted classes, see the module.
        target: classes, a Dask array or one in memory; a store has its own.
        nan_policy: as in :func:`ovcore.pack_errors`.
        client: as are those below, see the module.
        block_size: see there.
        split_every: see there.
        workers: see there.

    Raises:
        TypeError: outputs that are neither a store nor Dask arrays.
        ValueError: as :func:`ovcore.pack_errors`, with the block that is at fault; chunks of
            unknown sizes.
    """
    options = Options.read(client, block_size, split_every, workers)
    found = Outputs(outputs, target, "outputs")
    return counted("joint-errors", found, options, agreement=False, nan_policy=nan_policy).errors


def joint_agreement(
    outputs: Given,  # a store, or (M, N, K) floating | (M, N) integer, or M arrays of one model
    *,
    client: Client | None = None,
    block_size: int | None = None,
    split_every: int = 8,
    workers: int = 1,
) -> NDArray[np.int64]:
    """Samples for which both models of a pair predict the same class: (M, M).

    :func:`ovcore.pairwise.joint_agreement` of all samples.

    Args:
        outputs: logits or predicted classes, see the module.
        client: as are those below, see the module.
        block_size: see there.
        split_every: see there.
        workers: see there.

    Raises:
        TypeError: outputs that are neither a store nor Dask arrays.
        ValueError: as :func:`ovcore.pairwise.joint_agreement`, with the block that is at fault;
            chunks of unknown sizes.
    """
    options = Options.read(client, block_size, split_every, workers)
    found = Outputs(outputs, None, "outputs", needs_target=False)
    counts: NDArray[np.int64] = _merged("joint-agreement", _joint_agreement, found, options)
    return counts


def pairs(
    logits: Given,  # a store, or (M, N, K) floating, or M arrays (N, K)
    target: da.Array | NDArray[np.integer[Any]] | None = None,  # (N,) integer
    *,
    temperature: float | Sequence[float] | NDArray[np.floating[Any]] = 1.0,  # scalar or (M,)
    combine: str = "prob",
    client: Client | None = None,
    block_size: int | None = None,
    split_every: int = 8,
    workers: int = 1,
) -> PairEnsembles:
    """Ensembles every pair of models: :func:`ovcore.ensembles.pairs` of all samples.

    Args:
        logits: logits, or a store of stored top-k outputs.
        target: classes, a Dask array or one in memory; a store has its own.
        temperature: positive, one for all models or one each.
        combine: "prob", "logit" or "logprob".
        client: as are those below, see the module.
        block_size: see there.
        split_every: see there.
        workers: see there.

    Raises:
        TypeError: predicted classes; outputs that are neither a store nor Dask arrays.
        ValueError: as :func:`ovcore.ensembles.pairs`, with the block that is at fault; chunks of
            unknown sizes.
    """
    options = Options.read(client, block_size, split_every, workers)
    found = Outputs(logits, target, "logits")
    temperatures = read_temperature(temperature, found.n_models)
    return counted(
        "pairs", found, options, agreement=False, temperature=temperatures, combine=combine
    ).ensembles


def pair_counts(
    outputs: Given,  # a store, or (M, N, K) floating | (M, N) integer, or M arrays of one model
    target: da.Array | NDArray[np.integer[Any]] | None = None,  # (N,) integer
    *,
    agreement: bool = True,
    temperature: float | Sequence[float] | NDArray[np.floating[Any]] | None = None,  # or (M,)
    combine: str = "prob",
    nan_policy: str = "raise",
    client: Client | None = None,
    block_size: int | None = None,
    split_every: int = 8,
    workers: int = 1,
) -> PairCounts:
    """All that is counted of pairs: :meth:`ovcore.counts.PairCounts.from_outputs` of all samples.

    Args:
        outputs: logits or predicted classes, see the module.
        target: classes, a Dask array or one in memory; a store has its own.
        agreement: as are those below, see :class:`ovcore.counts.PairCounts`.
        temperature: see there.
        combine: see there.
        nan_policy: see there.
        client: as are those below, see the module.
        block_size: see there.
        split_every: see there.
        workers: see there.

    Raises:
        TypeError: outputs that are neither a store nor Dask arrays.
        ValueError: as :meth:`ovcore.counts.PairCounts.from_outputs`, with the block that is at
            fault; chunks of unknown sizes.
    """
    options = Options.read(client, block_size, split_every, workers)
    found = Outputs(outputs, target, "outputs")
    values = None if temperature is None else read_temperature(temperature, found.n_models)
    return counted(
        "pair-counts", found, options,
        agreement=agreement, temperature=values, combine=combine, nan_policy=nan_policy,
    )  # fmt: skip


def counted(name: str, outputs: Outputs, options: Options, **what: Any) -> PairCounts:
    """Counts of checked outputs; ``what`` is as in PairCounts.from_outputs."""
    if what.get("temperature") is not None and outputs.kind == "preds":
        raise TypeError(
            f"{outputs.name} must be logits, or a store of logits or stored top-k outputs: got "
            "predicted classes, which have no confidence"
        )
    counts: PairCounts = _merged(name, _pair_counts, outputs, options, what)
    return counts


def _merged(name: str, function: Any, outputs: Outputs, options: Options, *arguments: Any) -> Any:
    """``function`` of each block of samples, added up."""
    edges = _graph.count_edges(outputs.n_samples, outputs.sample_bytes, options)
    given = [(*piece, *arguments) for piece in outputs.pieces(edges)]
    parts = _graph.tasks(name, function, given, options.workers)
    return _graph.compute(_graph.tree(name, _graph.added, parts, options.split_every), options)


def _pair_counts(place: Place, outputs: Any, target: Any, what: dict[str, Any]) -> PairCounts:
    arrays, labels = read(outputs, target, place)
    return PairCounts.from_outputs(arrays, labels, **what)


def _joint_agreement(place: Place, outputs: Any, target: Any) -> NDArray[np.int64]:
    arrays, _ = read(outputs, target, place)
    counts: NDArray[np.int64] = ov.pairwise.joint_agreement(arrays)
    return counts
