"""Temperatures by search over a grid, as papers report them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _inputs
from ovcore._arrays import Array
from ovcore._inputs import Logits
from ovcore.calibration import _bins, _likelihood

_TENTHS = np.arange(1, 101) / 10  # 0.1, 0.2, ..., 10
_FINE = 10.0 ** (np.arange(-300, 301) / 100)  # 0.001 to 1000, 2.3 % apart: cosines need about 0.01
_COARSE = 10  # every tenth of the fine ones is tried first


def fit_on_grid(
    inputs: Logits,  # of at least two classes
    grid: Sequence[float] | Array | None,  # (G,) temperatures in any order
    method: str,  # "grid" or "ece_sweep"
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[str, ...]]:  # (M,), (M,), M
    """Temperature of the grid that fits each model best, its mean NLL in nats, and a status.

    "grid": the lowest NLL. It falls and then rises with T, so that the sign of its slope finds the
    best of G temperatures in log2(G) passes over the logits, all models in each. Default grid: 0.1,
    0.2, ..., 10. "ece_sweep": the least top-label l1 error over sweep bins (Roelofs et al., 2020).
    It has many minima, so each temperature is tried, one pass each. Default grid: ten temperatures
    a decade from 0.001 to 1000, then around the best of these a hundred a decade: 80 passes.

    Of temperatures that are equally good the lowest is taken. The status is "converged";
    "at_bound" where that is the lowest or the highest of the grid; or "no_signal" where the NLL is
    the same all over the grid and not 0, so that the highest is returned.

    Raises:
        ValueError: a grid that is empty or has what is not positive and finite; samples without a
            finite likelihood.
    """
    temperatures = _read_grid(grid, method)
    lowest, highest = (
        _mean_nll(inputs, np.full(len(inputs.models), t)) for t in temperatures[[0, -1]]
    )
    flat = (lowest[:, 1] == 0) & (highest[:, 1] == 0) & (lowest[:, 0] > 0)
    if method == "grid":
        best = _least_nll(inputs, temperatures)
    else:
        best = _least_sweep_error(inputs, temperatures, refine=grid is None)
    best[flat] = temperatures[-1]
    at_bound = (best == temperatures[0]) | (best == temperatures[-1])
    statuses = tuple(
        "no_signal" if is_flat else "at_bound" if is_bound else "converged"
        for is_flat, is_bound in zip(flat, at_bound, strict=True)
    )
    return best, _mean_nll(inputs, best)[:, 0].copy(), statuses


def _least_nll(
    inputs: Logits,
    grid: NDArray[np.float64],  # (G,) ascending
) -> NDArray[np.float64]:  # (M,)
    """Between the highest T that is too low and the next, by bisection, then the better of both."""
    n_models = len(inputs.models)
    low, high = np.full(n_models, -1), np.full(n_models, len(grid))
    while (high - low > 1).any():
        middle = np.clip((low + high) // 2, 0, len(grid) - 1)
        too_low = _mean_nll(inputs, grid[middle])[:, 1] > 0  # NLL grows with 1 / T
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    two = grid[np.clip([low, high], 0, len(grid) - 1)]
    below, above = (_mean_nll(inputs, t)[:, 0] for t in two)
    return np.where(above < below, two[1], two[0])


def _least_sweep_error(
    inputs: Logits,
    grid: NDArray[np.float64],  # (G,) ascending
    *,
    refine: bool,
) -> NDArray[np.float64]:  # (M,)
    tried = np.arange(0, len(grid), _COARSE if refine else 1)
    best = _least_of(inputs, grid, np.tile(tried, (len(inputs.models), 1)).T)
    if refine:
        around = best + np.arange(1 - _COARSE, _COARSE)[:, None]
        best = _least_of(inputs, grid, np.clip(around, 0, len(grid) - 1))
    return grid[best]


def _least_of(
    inputs: Logits,
    grid: NDArray[np.float64],
    tried: NDArray[np.int64],  # (C, M) positions in the grid, ascending for each model
) -> NDArray[np.int64]:  # (M,)
    errors = np.array([_bins.sweep_error(inputs, grid[positions]) for positions in tried])
    return np.take_along_axis(tried, errors.argmin(axis=0)[None], axis=0)[0]


def _mean_nll(inputs: Logits, temperature: NDArray[np.float64]) -> NDArray[np.float64]:
    return _likelihood.mean_nll(inputs, temperature, lack=_likelihood.FINITE_LIKELIHOOD)


def _read_grid(grid: Sequence[float] | Array | None, method: str) -> NDArray[np.float64]:
    """Temperatures in ascending order, each once."""
    if grid is None:
        return _TENTHS if method == "grid" else _FINE
    values = _inputs.read_numbers(grid, "grid", "a sequence of temperatures")
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"grid must be (G,) temperatures, at least one: got shape {values.shape}")
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"grid must hold positive and finite temperatures, got {grid}")
    return np.unique(values)
