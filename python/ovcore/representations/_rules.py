"""Settings that all probes share, checked."""

from __future__ import annotations

import math
import numbers
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ovcore import _inputs
from ovcore._arrays import Array
from ovcore.representations._features import Features, read_features

if TYPE_CHECKING:
    from ovcore.representations._fitting import Rules


class ProbeWarning(RuntimeWarning):
    """A probe's search ended before it converged."""


def ridge_of(C: Any) -> float:
    """The penalty lambda = 1 / C on half the squared weights."""
    if isinstance(C, bool) or not isinstance(C, numbers.Real) or not 0 < float(C) < math.inf:
        raise ValueError(f"C must be a positive finite number, got {C!r}")
    return 1 / float(C)


def settings_of(probe: Any | None) -> tuple[float, Rules]:
    """The penalty and the rules of many probes, from one that shows them."""
    from ovcore.representations._probe import LinearProbe

    probe = LinearProbe() if probe is None else probe
    if not isinstance(probe, LinearProbe):
        raise TypeError(f"probe must be a LinearProbe, got {probe!r}")
    if probe.protocol is not None:
        raise ValueError(f"probe must have one C for all, got protocol {probe.protocol!r}")
    return ridge_of(probe.C), rules_of(probe)


def rules_of(probe: Any) -> Rules:
    """Those that the constructor of a probe was given."""
    from ovcore.representations._fitting import Rules

    if not 0 < probe.tol < 1:
        raise ValueError(f"tol must be between 0 and 1, got {probe.tol!r}")
    max_iter = _inputs.at_least_one(probe.max_iter, "max_iter")
    return Rules(bool(probe.standardize), float(probe.tol), max_iter, probe.workers)


def read_for(probe: Any, features: Array | Sequence[Array], name: str) -> Features:
    """Features for a probe that is fitted, of as many dimensions as it was fitted on."""
    probe._refuse_unfitted()
    x = read_features(features, name)
    if x.n_dimensions != probe.n_features_in_:
        raise ValueError(
            f"{name} has {x.n_dimensions} dimensions, but this {type(probe).__name__} was fitted "
            f"on {probe.n_features_in_}"
        )
    return x


def warn_of(status: Sequence[str], max_iter: int) -> None:
    """Tells where probes did not converge."""
    count = sum(s == "max_iter" for s in status)
    if count:
        of = "a probe" if len(status) == 1 else f"{count} of {len(status)} probes"
        warnings.warn(
            f"{of} had not converged after max_iter = {max_iter} iterations: raise it, lower C, or "
            "standardize the features",
            ProbeWarning,
            stacklevel=_outside(),
        )


def _outside() -> int:
    """The level of the first caller that is not of this package, as its caller counts."""
    level, frame = 0, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("ovcore."):
        level, frame = level + 1, frame.f_back
    return level + 1
