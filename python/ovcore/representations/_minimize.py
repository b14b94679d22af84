"""L-BFGS on linear probes, many at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ovcore.representations._objective import Problems

_WIDEST = 4096  # dimensions whose covariance is factored: beyond, that costs more than it saves
_LEAST_RIDGE = 1e-6  # of each variance: keeps the factor's condition in reach of float64
_PATIENCE = 10  # evaluations without progress before rounding is taken to hide any more of it
_HISTORY = 10
_FIRST_LOOK = 6  # iterations after which the curvature is taken anew


class Solution(NamedTuple):
    """Where B probes ended."""

    weights: Tensor  # (B, D + 1, K) float64, the intercept last
    objective: Tensor  # (B,) (sum of losses + lambda / 2 |weights|^2) / N
    n_iter: int
    status: list[str]  # B of "converged", "at_precision" or "max_iter"


class _Done(Exception):
    """Ends a search from within the function it calls."""


class Preconditioner:
    """Weights in terms of others, in which the objective bends about alike in all directions.

    The Hessian is near c S + lambda, with S the features' second moments and c the mean of
    p (1 - p); weights = L^-T u with L L^T = (c S + lambda) / N.
    """

    def __init__(self, problems: Problems) -> None:
        x = problems.features
        self._n_samples = problems.n_samples
        self._moments = torch.bmm(x.mT, x).to(torch.float64) if x.shape[2] <= _WIDEST else None
        self._factor: Tensor | None = None
        self._intercept = torch.ones(len(x), 1, 1, dtype=torch.float64, device=x.device)

    def set(self, curvature: Tensor, ridge: Tensor) -> None:
        """For (B,) mean curvatures c and penalties lambda."""
        self._intercept = curvature[:, None, None].clamp_min(1e-12).sqrt()
        if self._moments is None:
            return
        bent = curvature[:, None, None] * self._moments
        diagonal = bent.diagonal(dim1=1, dim2=2)
        diagonal += torch.maximum(ridge[:, None], _LEAST_RIDGE * diagonal)
        bent /= self._n_samples
        self._factor, share = None, _LEAST_RIDGE
        while self._factor is None and share < 1:
            factor, failed = torch.linalg.cholesky_ex(bent)
            self._factor = None if failed.any() else factor
            share *= 10
            diagonal *= 1 + share  # for where moments in float32 are not definite by rounding

    def weights(self, u: Tensor) -> Tensor:
        """L^-T u."""
        return self._solve(u, transposed=True)

    def gradient(self, gradient: Tensor) -> Tensor:
        """L^-1 g: the gradient in u."""
        return self._solve(gradient, transposed=False)

    def coordinates(self, weights: Tensor) -> Tensor:
        """L^T w: the inverse of :meth:`weights`."""
        rest = weights[:, :-1] if self._factor is None else self._factor.mT @ weights[:, :-1]
        return torch.cat([rest, weights[:, -1:] * self._intercept], 1)

    def _solve(self, values: Tensor, *, transposed: bool) -> Tensor:
        rest = values[:, :-1]
        if self._factor is not None:
            factor = self._factor.mT if transposed else self._factor
            rest = torch.linalg.solve_triangular(factor, rest, upper=transposed)
        return torch.cat([rest, values[:, -1:] / self._intercept], 1)


def minimize(
    problems: Problems,
    ridge: Tensor,  # (B,) lambda
    preconditioner: Preconditioner,
    *,
    start: Tensor | None = None,  # (B, D + 1, K)
    tol: float,
    max_iter: int,
    on_step: Callable[[Tensor], None] | None = None,  # told weights now and then
) -> Solution:
    """Minimises (sum of losses + lambda / 2 |weights|^2) / N of each probe, intercepts free.

    One search for all: of the sum of their objectives, each preconditioned by itself. It ends where
    no entry of any gradient exceeds ``tol``, or where rounding hides further progress.
    """
    x = problems.features
    if start is None:
        shape = (len(x), x.shape[2] + 1, problems.n_outputs)
        start = torch.zeros(shape, dtype=torch.float64, device=x.device)
    search = _Search(problems, ridge, preconditioner, start, tol, on_step)
    n_iter = 0
    while search.status == "max_iter" and n_iter < max_iter:
        left = max_iter - n_iter
        n_iter += search.run(left if n_iter else min(left, _FIRST_LOOK))
    return Solution(search.weights, search.each, n_iter, search.status_of_each())


class _Search:
    """The best weights so far, and the function that L-BFGS calls."""

    def __init__(
        self,
        problems: Problems,
        ridge: Tensor,
        preconditioner: Preconditioner,
        start: Tensor,
        tol: float,
        on_step: Callable[[Tensor], None] | None,
    ) -> None:
        self.problems, self.ridge, self.preconditioner = problems, ridge, preconditioner
        self.tol, self.on_step = tol, on_step
        self.weights, self.each = start, torch.full_like(ridge, torch.inf)
        self.value, self.idle, self.status = float("inf"), 0, "max_iter"
        self.met = torch.zeros_like(ridge, dtype=torch.bool)
        self.least_progress = 0.01 * torch.finfo(problems.features.dtype).eps

    def run(self, max_iter: int) -> int:
        """Goes on from the best weights; returns the number of iterations."""
        self.preconditioner.set(self.problems.curvature(self.weights), self.ridge)
        u = self.preconditioner.coordinates(self.weights).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [u],
            max_iter=max_iter,
            max_eval=10 * max_iter,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=_HISTORY,
            line_search_fn="strong_wolfe",
        )
        with contextlib.suppress(_Done):
            optimizer.step(lambda: self._evaluate(u))  # type: ignore[no-untyped-call]
        return max(1, int(optimizer.state[u].get("n_iter", 0)))

    def status_of_each(self) -> list[str]:
        """Some can have converged where others had not."""
        return ["converged" if met else self.status for met in self.met.tolist()]

    @torch.no_grad()
    def _evaluate(self, u: Tensor) -> float:
        weights = self.preconditioner.weights(u.detach())
        loss, gradient = self.problems.loss_and_gradient(weights)
        penalized, ridge = weights[:, :-1], self.ridge[:, None, None]
        gradient[:, :-1] += ridge * penalized
        gradient /= self.problems.n_samples
        each = loss + 0.5 * self.ridge * penalized.square().sum((1, 2))
        each /= self.problems.n_samples
        value = float(each.sum())
        met = gradient.abs().amax((1, 2)) <= self.tol
        converged = bool(met.all())
        progress = value < self.value * (1 - self.least_progress)
        self.idle = 0 if progress else self.idle + 1
        if value < self.value or converged:
            self.value, self.weights, self.each, self.met = value, weights, each, met
        if converged or self.idle >= _PATIENCE:
            self.status = "converged" if converged else "at_precision"
            raise _Done
        if self.on_step is not None:
            self.on_step(self.weights)
        u.grad = self.preconditioner.gradient(gradient)
        return value
