"""Linear probes: multinomial logistic regressions on features of one model.

What is minimised is the mean over N samples of -log softmax(W x + b)[target], plus |W|^2 / (2 C N).
Answers are compared with a bound that no loss is below: the gradient at any weights proves one, and
near the best weights it is tight. Losses and gradients come from plain numpy in float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cases import Case, WrongAnswerError
from logit_jobs import softmax

TOO_HIGH = 1e-5  # of the bound: an answer so much above it is refused
TIGHT = 1e-8  # of the bound: some loss is known that is no further above it
SPREAD = 0.13  # of the classes' means, where samples spread by 1 about them: classes overlap


class Task(NamedTuple):
    """One probe."""

    penalty: float  # C
    dims: np.ndarray  # those of the features that it sees


class Probes(NamedTuple):
    """What a contestant is given."""

    features: np.ndarray  # (N, D) float32, standardised
    target: np.ndarray  # (N,)
    tasks: list[Task]


class Fit(NamedTuple):
    """What a contestant finds for a task."""

    weights: Any  # (K, D)
    intercepts: Any  # (K,)
    iterations: int


class LinearProbes:
    """As many probes as a case has steps, at rising C; of a random share of the dimensions."""

    def __init__(self, lowest: float, highest: float, share: float = 1) -> None:
        self.lowest, self.highest, self.share = lowest, highest, share

    def make(self, folder: Path, cases: list[Case]) -> None:
        for case in cases:
            data = Probes(*draw(case), self.tasks(case))
            least = tight_bounds(data)
            path = self.path(folder, case)
            np.savez(path, features=data.features, target=data.target, least=least)

    def load(self, folder: Path, case: Case) -> Probes:
        with np.load(self.path(folder, case)) as known:
            return Probes(known["features"], known["target"], self.tasks(case))

    def least(self, folder: Path, case: Case) -> np.ndarray:
        """Of each task the value that no loss is below."""
        with np.load(self.path(folder, case)) as known:
            return known["least"]

    def path(self, folder: Path, case: Case) -> Path:
        sizes = case.samples, case.dims, case.classes, case.steps
        parts = map(str, (*sizes, self.lowest, self.highest, self.share))
        return folder / f"probes_{'_'.join(parts)}.npz"

    def tasks(self, case: Case) -> list[Task]:
        rng = np.random.default_rng(case.dims)
        kept = round(self.share * case.dims)
        return [
            Task(float(penalty), np.sort(rng.permutation(case.dims)[:kept]))
            for penalty in np.geomspace(self.lowest, self.highest, case.steps)
        ]

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> str:  # noqa: ARG002
        """How far the losses are above what none is below, as a share of it."""
        data = self.load(folder, case)
        if len(answer) != len(data.tasks):
            raise WrongAnswerError(f"wrong: {len(answer)} probes, expected {len(data.tasks)}")
        losses = np.array([loss_of(data, *pair) for pair in zip(data.tasks, answer, strict=True)])
        least = self.least(folder, case)
        above = losses / least - 1
        for task, loss, bound, share in zip(data.tasks, losses, least, above, strict=True):
            if not abs(share) <= TOO_HIGH:
                raise WrongAnswerError(
                    f"wrong: loss {loss:.8g} at C = {task.penalty:.2g}, the least is {bound:.8g}"
                )
        said = f"loss {losses[0]:.8g}" if len(losses) == 1 else f"{len(losses)} losses"
        iterations = sum(fit.iterations for fit in answer)
        return f"{said}, {max(above.max(), 0):.0e} above the least, {iterations} iterations"

    def amount(self, case: Case) -> float:
        """Probes."""
        return case.steps


def draw(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features (N, D) and target (N,).

    Classes of overlapping normal distributions in dimensions whose spread falls, and which are then
    rotated: they correlate as those of a network do.
    """
    rng = np.random.default_rng([case.samples, case.dims, case.classes])
    target = rng.permutation(np.arange(case.samples) % case.classes)
    means = SPREAD * rng.standard_normal((case.classes, case.dims))
    values = means[target] + rng.standard_normal((case.samples, case.dims))
    values /= np.sqrt(1 + np.arange(case.dims))
    values = values @ np.linalg.qr(rng.standard_normal((case.dims, case.dims)))[0]
    values -= values.mean(axis=0)
    values /= values.std(axis=0)
    return values.astype(np.float32), target


def tight_bounds(data: Probes) -> list[float]:
    """Of each task a value that no loss is below, and some loss is next to."""
    import ovcore as ov

    # ovcore finds weights, each from those before; what they prove is for numpy to say
    probe = ov.representations.LinearProbe(standardize=False, tol=1e-7, warm_start=True)
    found = []
    for task in data.tasks:
        features = data.features[:, task.dims].astype(np.float64)
        probe.set_params(C=task.penalty).fit(features, data.target)
        fit = Fit(probe.coef_, probe.intercept_, probe.n_iter_)
        loss, bound = loss_of(data, task, fit), bound_by(data, task, fit)
        if not bound <= loss <= bound * (1 + TIGHT):
            raise ValueError(f"a loss of {loss:.10g} proves only that none is below {bound:.10g}")
        found.append(bound)
    return found


def loss_of(data: Probes, task: Task, fit: Fit) -> float:
    """What a fit has brought down to, in nats."""
    x, weights, intercepts = in_float64(data, task, fit)
    penalty = (weights**2).sum() / (2 * task.penalty * len(x))
    return mean_loss(x @ weights.T + intercepts, data.target) + penalty


def bound_by(data: Probes, task: Task, fit: Fit) -> float:
    """A value that no loss is below, by the gradient at a fit's weights.

    With the intercepts at their best, the loss is strongly convex in the weights, with the
    parameter m = 1 / (C N): from where its gradient is g it falls by |g|^2 / (2 m) at most. NaN
    where the best intercepts are not found.
    """
    x, weights, intercepts = in_float64(data, task, fit)
    m = 1 / (task.penalty * len(x))
    intercepts, excess = best_intercepts(x @ weights.T, data.target, intercepts)
    gradient = excess.T @ x + m * weights
    found = np.abs(excess.sum(axis=0)).max() < 1e-10
    best = loss_of(data, task, Fit(weights, intercepts, 0))
    return best - (gradient**2).sum() / (2 * m) if found else np.nan


def in_float64(data: Probes, task: Task, fit: Fit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that a task sees (N, D), weights (K, D) and intercepts (K,) of a fit."""
    weights, intercepts = (np.asarray(part, np.float64) for part in fit[:2])
    classes = int(data.target.max()) + 1
    if weights.shape != (classes, len(task.dims)) or intercepts.shape != (classes,):
        raise WrongAnswerError(f"wrong: weights {weights.shape}, intercepts {intercepts.shape}")
    return data.features[:, task.dims].astype(np.float64), weights, intercepts


def best_intercepts(
    z: np.ndarray, target: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(K,) by Newton's method; and there (N, K) the loss's derivative by each logit."""
    intercepts = start
    for _ in range(20):
        p = softmax(z + intercepts)
        excess = p.copy()
        excess[np.arange(len(z)), target] -= 1
        excess /= len(z)
        slope = excess.sum(axis=0)
        if np.abs(slope).max() < 1e-12:
            break
        curvature = np.diag(p.mean(axis=0)) - p.T @ p / len(z)  # flat along a common shift
        intercepts = intercepts - np.linalg.pinv(curvature, rcond=1e-10, hermitian=True) @ slope
    return intercepts, excess


def mean_loss(z: np.ndarray, target: np.ndarray) -> float:
    """Mean negative log likelihood of logits (N, K)."""
    above = z - z.max(axis=1, keepdims=True)
    own = above[np.arange(len(z)), target]
    return float((np.log(np.exp(above).sum(axis=1)) - own).mean())
