"""Temperatures that make confidences mean what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs
from ovcore._arrays import Array, Typed

__all__ = ["TemperatureFit", "fit_temperature"]

_LOWEST, _HIGHEST = 1e-3, 1e3
_BLOCK_BYTES = 1 << 26  # float64 copies are made of one block of samples at a time
_STEPS = 100  # bisection alone needs 60 to pin log beta to float64
_PRECISION = 1e-12  # of log beta


@dataclass(frozen=True, eq=False)
class TemperatureFit:
    """Fitted temperatures of M models.

    Attributes:
        temperature: (M,) float64.
        nll: (M,) float64, mean negative log likelihood in nats at that temperature.
        status: M of "converged", "at_bound" (the likelihood has no optimum inside the range and
            does not fall towards that end of it) or "no_signal" (the likelihood does not depend
            on the temperature; 1000 is returned).
    """

    temperature: Array
    nll: Array
    status: tuple[str, ...]


def fit_temperature(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
) -> TemperatureFit:
    """Temperature T of each model that minimises the mean of logsumexp(z / T) - z_target / T.

    In beta = 1 / T that is convex with slope mean(E_p[z] - z_target), whose root Newton steps in
    log beta find inside a bracket that halves whenever they leave it, in float64. T lies in
    [0.001, 1000]. Fit on other samples than those that are reported on (Guo et al., 2017).

    Args:
        logits: as in :func:`ovcore.pack_errors`. -inf is allowed outside the target class.
        target: (N,) integer classes.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; one class; +inf, or -inf at a target.

    >>> import numpy as np
    >>> sure = np.log([[[.99, .01], [.99, .01], [.99, .01], [.99, .01]]])
    >>> fit = fit_temperature(sure, np.array([0, 0, 0, 1]))  # 3 of 4 right: confidence 0.75
    >>> fit.temperature.round(4), fit.status
    (array([4.1827]), ('converged',))
    """
    inputs = _inputs.read_logits(logits, target)
    if inputs.n_classes == 1:
        raise ValueError("temperatures need at least two classes, logits have one")
    fits = [_fit(model, inputs.target, m) for m, model in enumerate(inputs.models)]
    temperatures, nlls, statuses = zip(*fits, strict=True)
    return TemperatureFit(
        _arrays.in_library(np.array(temperatures), inputs.library),
        _arrays.in_library(np.array(nlls), inputs.library),
        tuple(statuses),
    )


def _fit(model: Typed, target: NDArray[np.int64], m: int) -> tuple[float, float, str]:
    has_signal = _check(model, target, m)
    n_samples = len(target)

    def nll(log_beta: float) -> NDArray[np.float64]:
        """Mean NLL and its first two derivatives in beta."""
        sums = np.zeros(3)
        for rows in _blocks(model):
            values = _arrays.widen(model, rows).astype(np.float64)
            beta = np.array([np.exp(log_beta)])
            block = [_arrays.Typed(values, "float64")]
            nll = _dispatch.choose(None).temperature_nll
            sums += nll(block, target[rows], beta, 1, None)[0]
        return sums / n_samples

    low, high = -np.log(_HIGHEST), -np.log(_LOWEST)
    at_low = nll(low)
    if not has_signal:
        return _HIGHEST, float(at_low[0]), "no_signal"
    saturated = at_low[1] == 0 and at_low[2] == 0  # right with certainty even at T = 1000
    if at_low[1] >= 0 and not saturated:
        return _HIGHEST, float(at_low[0]), "at_bound"
    at_high = nll(high)
    if at_high[1] <= 0:
        return _LOWEST, float(at_high[0]), "at_bound"

    x = min(max(0.0, low), high)
    for _ in range(_STEPS):
        _, slope, curvature = nll(x)
        if slope <= 0:
            low = x
        if slope >= 0:
            high = x
        step = -slope / (np.exp(x) * curvature) if curvature > 0 else np.inf
        if not low < x + step < high or abs(step) > 1:
            step = (low + high) / 2 - x
        x += step
        if abs(step) < _PRECISION:
            break
    return float(np.exp(-x)), float(nll(x)[0]), "converged"


def _check(model: Typed, target: NDArray[np.int64], m: int) -> bool:
    """Whether some sample's finite logits differ; refuses NaN, +inf, and -inf at the target."""
    bad_samples: list[int] = []
    has_signal = False
    for rows in _blocks(model):
        values = _arrays.widen(model, rows)
        of_target = np.take_along_axis(values, target[rows, None], axis=1)
        bad = np.isnan(values).any(axis=1) | np.isposinf(values).any(axis=1)
        bad |= np.isneginf(of_target[:, 0])
        bad_samples.extend(rows.start + np.flatnonzero(bad))
        lower = np.isfinite(values) & (values < values.max(axis=1, keepdims=True))
        has_signal = has_signal or bool(lower.any())
    if bad_samples:
        raise ValueError(
            f"model {m} has {len(bad_samples)} sample{'s' if len(bad_samples) > 1 else ''} without "
            "a finite likelihood (NaN or +inf among the logits, or -inf at the target), "
            f"first at sample {bad_samples[0]}"
        )
    return has_signal


def _blocks(model: Typed) -> Iterator[slice]:
    """Rows in blocks whose float64 copy stays small."""
    n_samples, n_classes = model.values.shape
    block = max(1, _BLOCK_BYTES // (8 * n_classes))
    for first in range(0, n_samples, block):
        yield slice(first, min(first + block, n_samples))
