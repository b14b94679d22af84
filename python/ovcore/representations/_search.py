"""One probe at one penalty, or at the best of many on validation samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovcore._progress import Progress
from ovcore.representations import _fitting
from ovcore.representations._checkpoint import Checkpoint
from ovcore.representations._design import computed_in, design_of, scaling_of
from ovcore.representations._features import Features
from ovcore.representations._fitting import Fitted, Rules
from ovcore.representations._grids import Grid
from ovcore.representations._minimize import Preconditioner, Solution
from ovcore.representations._targets import Target

_SECONDS = 30.0  # between the states of one search that are kept


Coefficients: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(K, D) weights and (K,) intercepts for features as they are given."""


class Found(NamedTuple):
    """The best penalty, and what was tried."""

    ridge: float
    coefficients: Coefficients  # at that penalty
    lambdas: NDArray[np.float64]  # (L,) that were tried, ascending
    accuracy: NDArray[np.float64]  # (L,) on validation samples


def search(
    training: tuple[Features, Target],
    validation: tuple[Features, NDArray[np.int64]],
    grid: Grid,
    rules: Rules,
    checkpoint: Checkpoint | None,
    progress: Progress | None,
) -> Found:
    """Fits along the grid, each from the nearest larger penalty's weights, and scores each fit."""
    fitted = _One(*training, rules, checkpoint)
    held, right = validation
    held_design = design_of(
        held._replace(dtype=fitted.dtype), fitted.scaling, workers=rules.workers
    )
    weights: dict[int, Tensor] = {}
    accuracy: dict[int, float] = {}

    def accuracy_of(i: int) -> float:
        larger = min((j for j in weights if j > i), default=None)
        start = None if larger is None else weights[larger]
        weights[i] = fitted.at(float(grid.lambdas[i]), f"lambda-{i:03d}", start).weights
        best = _fitting.best_positions(held_design[None], weights[i])[0].cpu().numpy()
        accuracy[i] = float((best == right).mean())
        if progress is not None:
            progress(len(weights), grid.most_fits())
        return accuracy[i]

    chosen = grid.search(accuracy_of)
    tried = sorted(accuracy)
    return Found(
        ridge=float(grid.lambdas[chosen]),
        coefficients=_fitting.coefficients(weights[chosen][0], fitted.scaling),
        lambdas=grid.lambdas[tried],
        accuracy=np.array([accuracy[i] for i in tried]),
    )


def fit_one(
    x: Features,
    target: Target,
    ridge: float,
    rules: Rules,
    *,
    start: Coefficients | None,
    checkpoint: Checkpoint | None,
) -> Fitted:
    """One probe of all dimensions at one penalty."""
    fitted = _One(x, target, rules, checkpoint)
    first = None if start is None else fitted.weights_of(start)
    solution = fitted.at(ridge, "final", first)
    return Fitted(
        fitted.scaling,
        [None],
        [solution.weights[0]],
        solution.objective.cpu().numpy(),
        np.array([solution.n_iter]),
        solution.status,
    )


class _One:
    """A probe of all dimensions, to be fitted at one penalty after the other.

    With a checkpoint each fit is taken from there, gone on with, or made and kept.
    """

    def __init__(
        self, x: Features, target: Target, rules: Rules, checkpoint: Checkpoint | None
    ) -> None:
        x = computed_in(x)
        self.dtype, self._rules, self._checkpoint = x.dtype, rules, checkpoint
        self.scaling = scaling_of(x, standardize=rules.standardize, workers=rules.workers)
        design = design_of(x, self.scaling, workers=rules.workers)
        self.problems = _fitting.problems_of(design, target, [None])
        self._preconditioner = Preconditioner(self.problems)

    def weights_of(self, coefficients: Coefficients) -> Tensor:
        """(1, D + 1, K) for standardised features."""
        given, intercepts = coefficients
        weights = (given / self.scaling.scale).T
        constant = intercepts + given @ self.scaling.center
        return self._tensor(np.vstack([weights, constant])[None])

    def at(self, ridge: float, name: str, start: Tensor | None) -> Solution:
        """The fit at a penalty, kept under a name."""
        saved = None if self._checkpoint is None else self._checkpoint.load(name)
        if saved is not None and "status" in saved:
            weights, objective = self._tensor(saved["weights"]), self._tensor(saved["objective"])
            return Solution(weights, objective, int(saved["n_iter"]), [str(saved["status"])])
        if saved is not None:
            start = self._tensor(saved["weights"])
        found = _fitting.fit(
            self.problems,
            self._preconditioner,
            ridge,
            self._rules,
            start=start,
            on_step=self._keeper(name),
        )
        if self._checkpoint is not None:
            self._checkpoint.save(
                name,
                weights=found.weights.cpu().numpy(),
                objective=found.objective.cpu().numpy(),
                n_iter=found.n_iter,
                status=found.status[0],
            )
        return found

    def _keeper(self, name: str) -> Callable[[Tensor], None] | None:
        """Saves the state of a search now and then."""
        checkpoint, last = self._checkpoint, time.monotonic()
        if checkpoint is None:
            return None

        def keep(weights: Tensor) -> None:
            nonlocal last
            if time.monotonic() - last > _SECONDS:
                checkpoint.save(name, weights=weights.cpu().numpy())
                last = time.monotonic()

        return keep

    def _tensor(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(self.problems.features.device)
