"""Which model to add to an ensemble next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs, intervals
from ovcore._arrays import Array
from ovcore._tables import Table
from ovcore.ensembles import _predict, _scored
from ovcore.ensembles._joining import Joining
from ovcore.topk import TopK

__all__ = ["Additions", "what_to_add"]


@dataclass(frozen=True, eq=False)
class Additions:
    """Models ranked by what the ensemble would gain from each; every array is (P,), best first.

    Attributes:
        models: int64, indices.
        gain: float64, accuracy with the model less that without.
        low, high: float64, interval of that gain over samples.
        accuracy: float64, with the model.
        gained: int64, samples that only the larger ensemble gets right.
        lost: int64, samples that only the smaller one does.
        cost: float64 as given, or None.
        base_accuracy: accuracy without any of them.
        n_models: all models, M.
    """

    models: Array
    gain: Array
    low: Array
    high: Array
    accuracy: Array
    gained: Array
    lost: Array
    cost: Array | None
    base_accuracy: float
    n_models: int

    def rows(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """One row a model, best first; ``names`` are of all M models."""
        if names is not None and len(names) != self.n_models:
            raise ValueError(f"names must be of all {self.n_models} models, got {len(names)}")
        columns = {"gain": self.gain, "low": self.low, "high": self.high, "accuracy": self.accuracy}
        if self.cost is not None:
            columns["cost"] = self.cost
        which = [int(m) for m in self.models]
        return [
            {"model": names[m] if names is not None else m}
            | {key: float(values[i]) for key, values in columns.items()}
            for i, m in enumerate(which)
        ]

    def table(self, names: Sequence[str] | None = None) -> str:
        """:meth:`rows` as text to print."""
        from tabulate import tabulate

        text: str = tabulate(self.rows(names), headers="keys", floatfmt=".4f")
        return text


def what_to_add(
    logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating, or M arrays (N, K)
    target: Array,  # (N,) integer
    base: int | Sequence[int] | Array,
    *,
    pool: Sequence[int] | Array | None = None,
    cost: Sequence[float] | Array | None = None,  # (M,)
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    combine: str = "prob",
    level: float = 0.95,
) -> Additions:
    """Ranks models by the accuracy that an ensemble gains if they join it, each alone.

    The expected gain is (gained - lost) / N, with an interval from the variance of paired
    differences, [(gained + lost) - (gained - lost)^2 / N] / N^2. It speaks of each model by itself:
    the best of many looks better than it is, so report on samples that were not ranked on. Of
    models with the same gain the cheaper comes first, then the lower index.

    Args:
        logits: as in :func:`ovcore.ensembles.pairs`.
        target: (N,) integer classes.
        base: the ensemble so far, one or more models with equal weights.
        pool: models that may join, each once, also those of the base; default: all others.
        cost: of each of the M models, in any unit.
        temperature: positive, one for all models or one each.
        combine: "prob", "logit" or "logprob".
        level: share of such intervals that hold the true gain.

    Raises:
        ValueError: as :func:`ovcore.ensembles.pairs`; a base or pool that is no model, or empty;
            costs that are not M numbers; a level outside of 0..1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> target = rng.integers(0, 10, 1000)
    >>> logits = rng.normal(size=(3, 1000, 10)) + 1.5 * np.eye(10)[target]
    >>> twin = logits[0] + 0.01 * rng.normal(size=(1000, 10))
    >>> additions = what_to_add([*logits, twin], target, base=0)
    >>> additions.models, additions.low[:2] > 0, bool(abs(additions.gain[2]) < 0.01)
    (array([1, 2, 3]), array([ True,  True]), True)
    """
    models, _ = _scored.read(logits, target, temperature, combine)
    n_models = models.n_models
    members = _scored.read_members(base, n_models, "base", one=True)
    which = _read_pool(pool, members, n_models)
    costs = _read_cost(cost, n_models)
    z = intervals.normal_quantile(level)

    joining = Joining(models, models.candidates(all_samples=True))
    for member in members:
        joining.join(int(member))
    right = _predict.combined(models, members, np.ones(len(members)), combine) == models.target
    gained, kept = joining.hits_by(right)[which].T
    lost = right.sum() - kept
    gain = (gained - lost) / models.n_samples
    n = np.full(len(which), models.n_samples, np.float64)
    both_wrong = np.float64((~right).sum()) - gained
    table = Table(n, both_wrong, both_wrong + lost, both_wrong + gained)
    margin = z * intervals.difference_se(table)
    order = np.lexsort([which, np.zeros(len(which)) if costs is None else costs[which], -gain])

    def give(values: NDArray[Any]) -> Array:
        return _arrays.in_library(np.ascontiguousarray(values[order]), models.library)

    return Additions(
        models=give(which),
        gain=give(gain),
        low=give(gain - margin),
        high=give(gain + margin),
        accuracy=give((gained + kept) / n),
        gained=give(gained),
        lost=give(lost),
        cost=None if costs is None else give(costs[which]),
        base_accuracy=float(right.mean()),
        n_models=n_models,
    )


def _read_pool(
    pool: Sequence[int] | Array | None, members: NDArray[np.int64], n_models: int
) -> NDArray[np.int64]:
    if pool is not None:
        return np.unique(_scored.read_members(pool, n_models, "pool"))
    rest = np.setdiff1d(np.arange(n_models), members)
    if len(rest) == 0:
        raise ValueError("base has all models: there is none to add; pass pool= to add one again")
    return rest


def _read_cost(cost: Sequence[float] | Array | None, n: int) -> NDArray[np.float64] | None:
    if cost is None:
        return None
    values = _inputs.read_numbers(cost, "cost", f"{n} numbers, one a model")
    if values.shape != (n,) or not np.isfinite(values).all():
        raise ValueError(f"cost must be {n} finite numbers, one a model: got {cost!r}")
    return values
