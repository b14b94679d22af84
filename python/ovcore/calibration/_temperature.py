"""Temperatures that make confidences mean what they say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs
from ovcore._arrays import Array
from ovcore.calibration import _likelihood
from ovcore.calibration._search import fit_on_grid

__all__ = ["TemperatureFit", "fit_from_nll_sums", "fit_temperature"]

Means: TypeAlias = Callable[[NDArray[np.int64], NDArray[np.float64], int], NDArray[np.float64]]
"""Of A models (their numbers, temperatures), over every so manyth sample: (A, 3) means."""

_LOWEST, _HIGHEST = 1e-3, 1e3
_METHODS = ("nll", "grid", "ece_sweep")
_EVERY = 32  # a sample of every so manyth row tells where to start
_FEWEST = 4096  # samples worth that
_HOTTEST, _COLDEST = -float(np.log(_HIGHEST)), -float(np.log(_LOWEST))  # in x = log beta
_PASSES = 100  # bisection alone needs 60 to pin x to float64
_ERROR = 1e-11  # of x, as a step estimates it
_ROUGH = 1e-6  # enough to start from
_ROUNDING = 1e-14  # of x
_FAR = 100.0  # steps of x


@dataclass(frozen=True, eq=False)
class TemperatureFit:
    """Fitted temperatures of M models.

    Attributes:
        temperature: (M,) float64.
        nll: (M,) float64, mean negative log likelihood in nats at that temperature.
        status: M of "converged", "at_bound" (there is no optimum inside the range, and this end of
            it is the best) or "no_signal" (the likelihood does not depend on the temperature; the
            highest is returned).
    """

    temperature: Array
    nll: Array
    status: tuple[str, ...]


def fit_temperature(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    method: str = "nll",
    grid: Sequence[float] | Array | None = None,  # (G,) temperatures
) -> TemperatureFit:
    """Temperature T of each model that minimises the mean of logsumexp(z / T) - z_target / T.

    In beta = 1 / T that is convex with slope mean(E_p[z] - z_target), whose root Newton steps in
    log beta find inside a bracket that halves whenever they leave it; T lies in [0.001, 1000] and
    is good to 1e-9 (relative). All models take each step together: where there are many samples,
    two or three passes over the logits, after a start on one sample in 32. Fit on other
    samples than those that are reported on (Guo et al., 2017).

    Args:
        logits: as in :func:`ovcore.pack_errors`. -inf is allowed outside the target class.
        target: (N,) integer classes.
        method: "nll" as above; "grid": the temperature of ``grid`` with the lowest NLL, the way
            tables are often made; "ece_sweep": the one with the least top-label calibration error
            over the largest number of equal-mass bins whose accuracies never decrease (Roelofs et
            al., 2020), which takes a pass over the logits for each temperature.
        grid: temperatures of the other two methods; default 0.1, 0.2, ..., 10 for "grid", and for
            "ece_sweep" 80 that cover 0.001 to 1000 and then close in on the best.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; one class; NaN or +inf, or -inf at a target; an
            unknown method; a grid with ``method="nll"``, or that is not positive and finite.

    >>> import numpy as np
    >>> sure = np.log([[[.99, .01], [.99, .01], [.99, .01], [.99, .01]]])
    >>> fit = fit_temperature(sure, np.array([0, 0, 0, 1]))  # 3 of 4 right: confidence 0.75
    >>> fit.temperature.round(4), fit.status
    (array([4.1827]), ('converged',))
    """
    _inputs.refuse_unknown("method", method, _METHODS)
    if method == "nll" and grid is not None:
        raise ValueError("grid is for method='grid' or 'ece_sweep': got both it and 'nll'")
    inputs, _ = _likelihood.read(logits, target)
    if method != "nll":
        temperature, nll, status = fit_on_grid(inputs, grid, method)
        return _in_library(TemperatureFit(temperature, nll, status), inputs.library)

    def means(
        which: NDArray[np.int64], temperature: NDArray[np.float64], every: int
    ) -> NDArray[np.float64]:
        some = inputs._replace(models=[inputs.models[m] for m in which])
        lack = _likelihood.FINITE_LIKELIHOOD
        return _likelihood.mean_nll(some, temperature, lack=lack, every=every)

    return _in_library(_fit(means, len(inputs.models), inputs.n_samples), inputs.library)


def fit_from_nll_sums(
    sums: Callable[[NDArray[np.int64], NDArray[np.float64], int], NDArray[np.float64]],
    n_models: int,
    n_samples: int,
) -> TemperatureFit:
    """:func:`fit_temperature` of logits that are somewhere else, such as on other machines.

    To the bit what it finds in host memory, where the sums are those of all samples' blocks, see
    :func:`add_nll_sums`.

    Args:
        sums: called as ``sums(models, temperature, every)`` with (A,) int64 numbers of models,
            which may repeat, (A,) float64 temperatures, and how many samples one is taken of;
            returns (A, 3) float64 :func:`nll_sums` at these, of all blocks, added.
        n_models: M.
        n_samples: N, of all parts together.

    Raises:
        ValueError: no models or samples; sums of another shape, or that are not finite; and what
            ``sums`` raises.

    >>> import numpy as np
    >>> from ovcore.calibration import add_nll_sums, nll_sums
    >>> logits, target = np.log([[[.99, .01]] * 4]), np.array([0, 0, 0, 1])
    >>> def sums(models, temperature, every):
    ...     return add_nll_sums(
    ...         nll_sums(logits[models], target, temperature=temperature, every=every)
    ...     )
    >>> fit_from_nll_sums(sums, 1, 4).temperature.round(4)
    array([4.1827])
    """
    n_models = _inputs.at_least_one(n_models, "n_models")
    n_samples = _inputs.at_least_one(n_samples, "n_samples")

    def means(
        which: NDArray[np.int64], temperature: NDArray[np.float64], every: int
    ) -> NDArray[np.float64]:
        found = np.asarray(sums(which, temperature, every), np.float64)
        if found.shape != (len(which), 3):
            raise ValueError(f"sums of {len(which)} models must be (A, 3), got {found.shape}")
        if not np.isfinite(found).all():
            m = which[(~np.isfinite(found)).any(axis=1).argmax()]
            raise ValueError(f"the sums of model {m} are not finite")
        return found / len(range(0, n_samples, every))

    return _fit(means, n_models, n_samples)


def _in_library(fit: TemperatureFit, library: str) -> TemperatureFit:
    temperature, nll = (_arrays.in_library(v, library) for v in (fit.temperature, fit.nll))
    return TemperatureFit(temperature, nll, fit.status)


def _fit(means: Means, n_models: int, n_samples: int) -> TemperatureFit:
    few = n_samples < _FEWEST
    start = np.zeros(n_models)
    if not few:
        with contextlib.suppress(ValueError):  # said again, of all samples, below
            start = _Search(means, start, every=_EVERY, error=_ROUGH).run()
    search = _Search(means, start)
    x = search.run(look_at_ends=few)
    temperature = np.select([x == _HOTTEST, x == _COLDEST], [_HIGHEST, _LOWEST], np.exp(-x))
    return TemperatureFit(temperature, search.nll, tuple(search.status))


class _Search:
    """Roots of the slopes of all models in x = log beta: Newton's method in a bracket."""

    def __init__(
        self, means: Means, start: NDArray[np.float64], *, every: int = 1, error: float = _ERROR
    ) -> None:
        n_models = len(start)
        self._means = means
        self._every = every
        self._error = error
        self._x = start.copy()
        self._low = np.full(n_models, -np.inf)  # where the likelihood is known to fall with x
        self._high = np.full(n_models, np.inf)  # where it is known to grow
        self._past: list[tuple[float, float, float] | None] = [None] * n_models
        self.status = [""] * n_models
        self.nll = np.full(n_models, np.nan)

    def run(self, *, look_at_ends: bool = False) -> NDArray[np.float64]:
        """(M,) log beta of every model. Looking at the ends of the range first takes two passes."""
        start = self._x.copy()
        if look_at_ends:
            for end in (_HOTTEST, _COLDEST):
                self._x[self._open()] = end
                self._step()
            self._x[self._open()] = start[self._open()]
            self._past = [None] * len(start)
        for _ in range(_PASSES):
            if not self._step():
                break
        self.status = [status or "converged" for status in self.status]
        return self._x

    def _open(self) -> NDArray[np.int64]:
        return np.array([m for m, status in enumerate(self.status) if not status], np.int64)

    def _sums(self, which: NDArray[np.int64], x: NDArray[np.float64]) -> NDArray[np.float64]:
        """(A, 3): mean NLL of some models and its first two derivatives in x, less the first."""
        beta = np.exp(x)[:, None]
        return self._means(which, np.exp(-x), self._every) * beta ** [0, 1, 2]

    def _step(self) -> bool:
        """One pass over the logits of the models that are not settled; whether there are any."""
        which = self._open()
        if len(which) == 0:
            return False
        for m, sums in zip(which, self._sums(which, self._x[which]), strict=True):
            self._move(int(m), *map(float, sums))
        return True

    def _move(self, m: int, nll: float, slope: float, curvature: float) -> None:
        x = float(self._x[m])
        self.nll[m] = nll
        is_flat = slope == 0 and curvature == 0
        if is_flat and nll > 0 and self._has_no_signal(m):
            self._x[m], self.status[m] = _HOTTEST, "no_signal"
            return
        falls = slope < 0 or is_flat  # flat where all is right and certain
        if (x == _HOTTEST and not falls) or (x == _COLDEST and (falls or slope == 0)):
            self.status[m] = "at_bound"
            return
        if falls:
            self._low[m] = x
        elif slope > 0:
            self._high[m] = x
        step, error = self._next(m, x, slope, curvature)
        self._x[m] = min(max(x + step, _HOTTEST), _COLDEST)
        if error < self._error:
            self.nll[m] = nll + slope * step + (slope + curvature) * step**2 / 2
            self.status[m] = "converged"

    def _has_no_signal(self, m: int) -> bool:
        """Whether the likelihood is the same at both ends of the range."""
        nll, slope, curvature = self._sums(np.array([m, m]), np.array([_HOTTEST, _COLDEST])).T
        return bool(nll[0] == nll[1] and not slope.any() and not curvature.any())

    def _next(self, m: int, x: float, slope: float, curvature: float) -> tuple[float, float]:
        """The step from x, and about how far from the root it ends."""
        past, self._past[m] = self._past[m], (x, slope, slope + curvature)
        if abs(slope) >= _FAR * curvature:  # in the flat parts of the likelihood
            step = _FAR if slope <= 0 else -_FAR
        else:
            step = -slope / curvature
        error = step**2
        if past is not None and abs(step) < 1e-2 and abs(past[0] - x) < 0.1:
            better = _inverse_cubic(*past, x, slope, slope + curvature) - x
            if abs(better - step) < 0.1 * abs(step):
                step, error = better, (step * (past[0] - x)) ** 2
        low, high = self._low[m], self._high[m]
        if (low < x + step < high and abs(step) <= 1) or step == 0:
            return step, error
        if np.isfinite(low) and np.isfinite(high):
            step = float(low + high) / 2 - x
            return step, 0.0 if abs(step) < _ROUNDING else 1.0
        return min(max(step, -1.0), 1.0), 1.0


def _inverse_cubic(
    x1: float, slope1: float, rise1: float, x2: float, slope2: float, rise2: float
) -> float:
    """Where the slope is 0, by the cubic x(slope) through two points; ``rise`` is its derivative.

    The next point of Newton's method, too, uses slopes and rises alone, but of one point: this one
    squares its error once more, and so saves a pass.
    """
    if slope1 == slope2:
        return x2
    h = slope2 - slope1
    t = -slope1 / h
    return (
        (1 + 2 * t) * (1 - t) ** 2 * x1
        + t * (1 - t) ** 2 * h / rise1
        + t**2 * (3 - 2 * t) * x2
        + t**2 * (t - 1) * h / rise2
    )
