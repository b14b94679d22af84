"""How many ranked dimensions a probe needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs
from ovcore._arrays import Array
from ovcore.representations._features import read_both
from ovcore.representations._probe import LinearProbe
from ovcore.representations._probes import LinearProbes
from ovcore.representations._ranking import rank_features
from ovcore.representations._rules import settings_of
from ovcore.representations._targets import positions_of, read_classes

__all__ = ["DimensionCurves", "dims_to_target"]


@dataclass(frozen=True, eq=False)
class DimensionCurves:
    """Accuracy of probes on the first so many dimensions, in three orders.

    Attributes:
        dims: (L,) numbers of dimensions, ascending; the last is all that vary.
        diverse: (L,) test accuracy of the first of them as :func:`rank_features` orders them.
        reverse: (L,) of the same order from its end.
        random: (R, L) of R random orders.
        target_accuracy: what was asked for, or None.
        score: the reduction that the ranking used.
        n_constant: dimensions that are the same in all samples, and left out.
    """

    dims: NDArray[np.int64]
    diverse: NDArray[np.float64]
    reverse: NDArray[np.float64]
    random: NDArray[np.float64]
    target_accuracy: float | None
    score: str
    n_constant: int

    def fewest(self, accuracy: float | None = None) -> dict[str, Any]:
        """Fewest of ``dims`` at which each order reaches an accuracy; NaN where none does.

        Args:
            accuracy: 0 to 1; default: ``target_accuracy``.

        Returns:
            "diverse" and "reverse": a float; "random": (R,) float64.
        """
        wanted = self.target_accuracy if accuracy is None else accuracy
        if wanted is None:
            raise ValueError("fewest needs an accuracy: pass it here or as target_accuracy")
        curves = np.vstack([self.diverse, self.reverse, self.random])
        reached = curves >= wanted
        first = self.dims[reached.argmax(axis=1)].astype(np.float64)
        found = np.where(reached.any(axis=1), first, np.nan)
        return {"diverse": float(found[0]), "reverse": float(found[1]), "random": found[2:]}


def dims_to_target(
    features: Array | Sequence[Array],  # (N, D) floating, or M arrays (N, D_m) side by side
    target: Sequence[Any] | Array,  # (N,) labels of any kind that sorts
    test_features: Array | Sequence[Array],  # (N', D), or M arrays (N', D_m)
    test_target: Sequence[Any] | Array,  # (N',)
    *,
    target_accuracy: float | None = None,
    step: int = 256,
    n_random: int = 5,
    seed: int = 0,
    score: str = "sum",
    probe: LinearProbe | None = None,
) -> DimensionCurves:
    """Probe accuracy on the first ``step``, 2 ``step``, ... dimensions ranked by covariance.

    If two models' features overlap, few diverse dimensions of both reach what it takes many of one
    to reach (Gontijo-Lopes, Dauphin and Cubuk, 2022, Fig. 6, right). Whether that is the ranking's
    merit is told by the same curve for the reverse and for random orders, which always come along.
    The ranking sees the training features alone. Needs torch.

    Args:
        features: of one or more models, to train on.
        target: their labels.
        test_features: of the same models in the same order, to score on.
        test_target: their labels; one that was not trained on counts as missed.
        target_accuracy: the accuracy that :meth:`DimensionCurves.fewest` looks for.
        step: dimensions between points.
        n_random: random orders, at least one.
        seed: of those.
        score: how the ranking reduces covariances; see :func:`rank_features`.
        probe: settings of all probes; default: ``LinearProbe()``. No protocol.

    Raises:
        TypeError: element types that are not floating.
        ValueError: shapes, numbers of samples or dimensions that do not fit; settings out of range.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> target = rng.integers(0, 3, 300)
    >>> features = np.eye(3)[target] + 0.1 * rng.standard_normal((300, 3))
    >>> twice = np.hstack([features, features[:, :1]])  # one of them two times
    >>> curves = dims_to_target(twice, target, twice, target, step=2, target_accuracy=0.99)
    >>> curves.dims, curves.fewest()["diverse"]
    (array([2, 4]), 2.0)
    """
    step = _inputs.at_least_one(step, "step")
    n_random = _inputs.at_least_one(n_random, "n_random")
    if target_accuracy is not None and not 0 <= target_accuracy <= 1:
        raise ValueError(f"target_accuracy must be between 0 and 1, got {target_accuracy}")
    settings_of(probe)
    x, x_test = read_both(features, test_features)
    classes, _ = read_classes(target, x.n_samples)
    positions_of(test_target, classes, x_test.n_samples, "test_target", "test_features")
    shown = LinearProbe() if probe is None else probe
    ranking = rank_features(
        [*features] if isinstance(features, (list, tuple)) else features,
        score=score,
        workers=shown.workers,
    )
    order = _arrays.as_numpy(ranking.order)
    varying = order[: len(order) - ranking.n_constant]
    if len(varying) == 0:
        raise ValueError("features are constant: no dimension varies")
    generator = np.random.default_rng(seed)
    orders = [varying, varying[::-1], *(generator.permutation(varying) for _ in range(n_random))]
    dims = np.unique(np.append(np.arange(step, len(varying), step), len(varying)))
    subsets = [chosen[:d] for d in dims[:-1] for chosen in orders] + [varying]  # all: any order
    probes = LinearProbes(
        subsets,
        C=shown.C,
        standardize=shown.standardize,
        tol=shown.tol,
        max_iter=shown.max_iter,
        workers=shown.workers,
    ).fit(features, target)
    accuracy = probes.score(test_features, test_target)
    ends = np.full((1, len(orders)), accuracy[-1])
    curves = np.vstack([accuracy[:-1].reshape(-1, len(orders)), ends]).T
    return DimensionCurves(
        dims=dims,
        diverse=curves[0],
        reverse=curves[1],
        random=curves[2:],
        target_accuracy=target_accuracy,
        score=score,
        n_constant=ranking.n_constant,
    )
