"""Probes of many subsets of the same features, fitted in groups of one width."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovcore._progress import Progress
from ovcore.representations._design import (
    Scaling,
    computed_in,
    design_of,
    on_one_thread,
    scaling_of,
)
from ovcore.representations._features import Features, in_pieces
from ovcore.representations._minimize import Preconditioner, Solution, minimize
from ovcore.representations._objective import Problems
from ovcore.representations._targets import Target

_GROUP_NUMBERS = 1 << 24  # gathered features in memory at once, unless one subset has more
_ONE_THREAD = 1 << 25  # operations of a gradient that threads would only delay
_MOST_TOGETHER = 32  # probes in one search: it ends when the last of them has converged

Subset = NDArray[np.int64] | None
"""Dimensions of the features; None: all of them, in order."""


class Rules(NamedTuple):
    """How features are prepared and when a search ends."""

    standardize: bool
    tol: float
    max_iter: int
    workers: int | None


@dataclass
class Fitted:
    """Probes as they were found, one a subset; weights are of standardised features."""

    scaling: Scaling
    subsets: list[Subset]
    weights: list[Tensor]  # (D_s + 1, K), the intercept last
    loss: NDArray[np.float64]  # (S,)
    n_iter: NDArray[np.int64]
    status: list[str]

    def coefficients(self, s: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(K, D_s) and (K,): weights and intercepts for features as they are given."""
        return coefficients(self.weights[s], self.scaling, self.subsets[s])

    def logits(self, x: Features, workers: int | None) -> Tensor:
        """(N, K) of the only probe."""
        (weights,) = self.weights
        pieces = [
            logits_of(design_of(piece, self.scaling, workers=workers), weights)
            for _, piece in in_pieces(computed_in(x))
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def best_positions(self, x: Features, workers: int | None) -> NDArray[np.int64]:
        """(S, N) positions of the classes that each probe's logits are largest for."""
        found = np.empty((len(self.subsets), x.n_samples), np.int64)
        for rows, piece in in_pieces(computed_in(x)):
            design = design_of(piece, self.scaling, workers=workers)
            for group in groups(self.subsets, design):
                chosen = [self.subsets[s] for s in group]
                weights = torch.stack([self.weights[s] for s in group]).to(design.device)
                with _threads_for(weights.shape[:2].numel() * len(design), weights.shape[2]):
                    best = best_positions(gather(design, chosen), weights)
                found[group, rows] = best.cpu().numpy()
        return found


def coefficients(
    weights: Tensor,  # (d + 1, K)
    scaling: Scaling,
    subset: Subset = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(K, d) and (K,): weights and intercepts for features as they are given."""
    chosen = slice(None) if subset is None else subset
    of_standardised = weights.cpu().numpy()
    own = of_standardised[:-1] * scaling.scale[chosen, None]
    return own.T.copy(), of_standardised[-1] - scaling.center[chosen] @ own


def fit_subsets(
    x: Features,
    target: Target,
    subsets: Sequence[Subset],
    ridge: float,
    rules: Rules,
    progress: Progress | None = None,
) -> Fitted:
    """One probe a subset, at one penalty lambda."""
    x = computed_in(x)
    scaling = scaling_of(x, standardize=rules.standardize, workers=rules.workers)
    design = design_of(x, scaling, workers=rules.workers)
    found: dict[int, tuple[Solution, int]] = {}
    for group, solution in fit_groups(design, target, subsets, ridge, rules):
        found |= {s: (solution, i) for i, s in enumerate(group)}
        if progress is not None:
            progress(len(found), len(subsets))
    ordered = [found[s] for s in range(len(subsets))]
    return Fitted(
        scaling,
        list(subsets),
        [solution.weights[i] for solution, i in ordered],
        np.array([float(solution.objective[i]) for solution, i in ordered]),
        np.array([solution.n_iter for solution, _ in ordered]),
        [solution.status[i] for solution, i in ordered],
    )


def fit_groups(
    design: Tensor, target: Target, subsets: Sequence[Subset], ridge: float, rules: Rules
) -> Iterator[tuple[list[int], Solution]]:
    """Positions of subsets, and their probes, group by group."""
    for group in groups(subsets, design):
        chosen = [subsets[s] for s in group]
        width = design.shape[1] if chosen[0] is None else len(chosen[0])
        with _threads_for(len(group) * len(design) * width, target.n_outputs):
            problems = problems_of(design, target, chosen)
            solution = fit(problems, Preconditioner(problems), ridge, rules)
        yield group, solution


def _threads_for(numbers: int, n_outputs: int) -> contextlib.AbstractContextManager[None]:
    """One thread where a gradient takes less than waiting for another thread sometimes does."""
    return on_one_thread(4 * numbers * n_outputs < _ONE_THREAD)


def logits_of(features: Tensor, weights: Tensor) -> Tensor:
    """(N, K) from (N, d) features and (d + 1, K) weights."""
    own = weights.to(features)
    return torch.addmm(own[-1:], features, own[:-1])


def problems_of(design: Tensor, target: Target, subsets: Sequence[Subset]) -> Problems:
    """The probes of subsets of one width."""
    values = torch.from_numpy(target.values).to(design.device)
    if values.ndim == 2:
        values = values.to(design.dtype)
    return Problems(gather(design, subsets), values, target.n_outputs)


def fit(
    problems: Problems,
    preconditioner: Preconditioner,
    ridge: float,
    rules: Rules,
    *,
    start: Tensor | None = None,  # (B, D + 1, K)
    on_step: Callable[[Tensor], None] | None = None,
) -> Solution:
    """The probes at one penalty for all."""
    x = problems.features
    with _threads_for(x.numel(), problems.n_outputs):
        return minimize(
            problems,
            torch.full((len(x),), ridge, dtype=torch.float64, device=x.device),
            preconditioner,
            start=start,
            tol=rules.tol,
            max_iter=rules.max_iter,
            on_step=on_step,
        )


def best_positions(features: Tensor, weights: Tensor) -> Tensor:
    """(B, N) positions of the classes that logits are largest for, the first of equal ones.

    Of (B, N, d) features and (B, d + 1, K) weights; logits of a block of samples are in memory.
    """
    problems = Problems(features, features.new_empty(0), weights.shape[2])
    found = torch.empty(features.shape[:2], dtype=torch.int64, device=features.device)
    for rows in problems.blocks():
        z = problems.logits(weights, rows)
        found[:, rows] = z[..., 0] > 0 if problems.n_outputs == 1 else z.argmax(2)
    return found


def groups(subsets: Sequence[Subset], design: Tensor) -> Iterator[list[int]]:
    """Positions of subsets of one width, as many together as make good use of memory."""
    by_width: dict[int, list[int]] = {}
    for position, subset in enumerate(subsets):
        width = design.shape[1] if subset is None else len(subset)
        by_width.setdefault(width, []).append(position)
    for width, positions in by_width.items():
        fitting = _GROUP_NUMBERS // (max(len(design), width) * width)  # moments are width x width
        step = min(max(1, fitting), _MOST_TOGETHER)
        for first in range(0, len(positions), step):
            yield positions[first : first + step]


def gather(design: Tensor, subsets: Sequence[Subset]) -> Tensor:
    """(B, N, d) features of subsets of one width."""
    if len(subsets) == 1 and subsets[0] is None:
        return design[None]
    pieces = [
        design if subset is None else design[:, torch.from_numpy(subset).to(design.device)]
        for subset in subsets
    ]
    return torch.stack(pieces)
