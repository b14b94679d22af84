"""Everything about many models, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovcore import Comparison, comparison
from ovcore.adapters.dask._counts import counted
from ovcore.adapters.dask._graph import Options
from ovcore.adapters.dask._outputs import Given, Outputs, read_temperature
from ovcore.adapters.dask._temperature import fitted
from ovcore.store import Store

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client

__all__ = ["compare"]


def compare(
    outputs: Given,  # a store, or (M, N, K) floating | (M, N) integer, or M arrays of one model
    target: da.Array | NDArray[np.integer[Any]] | None = None,  # (N,) integer
    *,
    models: Sequence[str] | None = None,
    base: str | int | None = None,
    temperature: str | float | Sequence[float] | NDArray[np.floating[Any]] = "fit",
    calibration_split: tuple[Given, Any] | Store | None = None,
    client: Client | None = None,
    block_size: int | None = None,
    split_every: int = 8,
    workers: int = 1,
) -> Comparison:
    """Compares M models: :func:`ovcore.compare` of all samples, to the bit.

    Args:
        outputs: logits, or predicted classes, whose errors alone are compared; or a store.
        target: classes, a Dask array or one in memory; a store has its own.
        models: M distinct names; default: those of the store, or "model 0", "model 1", ...
        base: name or index of the model that tables compare with; default: the first.
        temperature: "fit"; or "stored", those of the store's cards; or a positive temperature for
            all models, or one each.
        calibration_split: (logits, target) of other samples of the same models, or a store that has
            models of the same names, to fit the temperatures on.
        client: as are those below, see the module.
        block_size: see there.
        split_every: see there.
        workers: see there.

    Raises:
        TypeError: outputs that are neither a store nor Dask arrays.
        ValueError: as :func:`ovcore.compare`, with the block that is at fault; chunks of unknown
            sizes.
    """
    options = Options.read(client, block_size, split_every, workers)
    if isinstance(outputs, Store):
        models = outputs.names if models is None else models
        if isinstance(temperature, str) and temperature == "stored":
            temperature = comparison.stored_temperatures(outputs)
    found = Outputs(outputs, target, "logits")
    names, base_name = comparison.read_names(models, base, found.n_models)
    if found.kind == "preds":
        errors = counted("joint-errors", found, options, agreement=False).errors
        return Comparison.from_counts(errors, models=names, base=base_name)
    if isinstance(temperature, str):
        if temperature != "fit":
            raise ValueError(
                f"temperature must be 'fit', 'stored' (of a store) or numbers, got {temperature!r}"
            )
        if found.kind == "topk":
            raise ValueError(comparison.NOT_TO_FIT_ON)
        split = _split(calibration_split, outputs, found, names)
        if split is found:
            warnings.warn(comparison.FITTED_ON_THE_SAME, UserWarning, stacklevel=2)
        temperatures = np.asarray(fitted(split, options).temperature)
    elif calibration_split is not None:
        raise ValueError("calibration_split is for temperature='fit': got both")
    else:
        temperatures = read_temperature(temperature, found.n_models)
    counts = counted("pairs", found, options, agreement=False, temperature=temperatures)
    pairs = counts.ensembles
    return Comparison.from_counts(
        pairs.errors, models=names, base=base_name, temperature=temperatures, ensembles=pairs
    )


def _split(
    split: tuple[Given, Any] | Store | None, outputs: Given, found: Outputs, names: tuple[str, ...]
) -> Outputs:
    """What temperatures are fitted on; refuses what is not of the same models and classes."""
    if split is None or (isinstance(split, tuple | list) and split and split[0] is outputs):
        return found
    if isinstance(split, Store):
        held = Outputs(comparison.same_models(split, names), None, "calibration_split")
    elif isinstance(split, tuple | list) and len(split) == 2:
        held = Outputs(split[0], split[1], "calibration_split[0]")
    else:
        raise TypeError("calibration_split must be a pair (logits, target) or a store")
    for what, theirs, ours in (
        ("models", held.n_models, found.n_models),
        ("classes", held.n_classes, found.n_classes),
    ):
        if theirs != ours:
            raise ValueError(f"calibration_split has {theirs} {what} but logits has {ours}")
    return held
