"""The jobs on logits of many models. Their answers come from plain numpy in float64.

Logits are made anew in every process (zoo_logits.py): sooner done than read from a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cases import Case, WrongAnswerError, refuse_if
from zoo_logits import case_logits, target_of

CHECKED_MODELS = 8  # their pairs are checked
NEAR = 1e-5  # of the sum: float32 scores and sums tell classes apart that differ by more
Logits = tuple[np.ndarray, np.ndarray]  # (M, N, K) or (N, K), (N,) target


def softmax(z: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    p = z.astype(np.float64)
    p -= p.max(axis=-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    return p


def blocks(samples: int, at_once: int) -> Iterator[slice]:
    for first in range(0, samples, at_once):
        yield slice(first, min(first + at_once, samples))


class PairEnsembles:
    """Samples that the ensemble of each two models gets right: the mean of softmax decides."""

    def make(self, folder: Path, cases: list[Case]) -> None:
        for case in sorted(cases):  # of one element type, more samples last: they hold the fewer
            z = case_logits(case, checked_models(case))
            target = target_of(case.samples, case.classes)
            pairs = checked_pairs(case)
            margins = np.empty((len(pairs), case.samples), np.float32)
            for rows in blocks(case.samples, 256):
                p = softmax(z[:, rows])
                for i, (a, b) in enumerate(pairs):
                    margins[i, rows] = margin(p[a] + p[b], target[rows])
            np.save(folder / f"margins_{case.dtype}.npy", margins)

    def load(self, folder: Path, case: Case) -> Logits:  # noqa: ARG002
        return case_logits(case), target_of(case.samples, case.classes)

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> str:  # noqa: ARG002
        """Hits of some pairs; they may be off by the samples with classes too near for float32."""
        margins = np.load(folder / f"margins_{case.dtype}.npy")[:, : case.samples]
        a, b = checked_models(case)[checked_pairs(case)].T
        off = np.abs(np.asarray(answer)[a, b] - (margins > 0).sum(axis=1))
        near = (np.abs(margins) < NEAR).sum(axis=1)
        refuse_if(off > near, "pairs")
        return f"{off.sum()} hits off, {near.sum()} near ties"

    def amount(self, case: Case) -> float:
        """Bytes of logits."""
        return case.logits_bytes()


def checked_models(case: Case) -> np.ndarray:
    """Indices of some models, the first and the last among them."""
    return np.linspace(0, case.models - 1, CHECKED_MODELS).astype(int)


def checked_pairs(case: Case) -> np.ndarray:
    """(P, 2) positions among the checked models."""
    return np.stack(np.triu_indices(len(checked_models(case)), 1), axis=1)


def margin(total: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N,) by what share of the larger the target's sum exceeds the largest other."""
    here = np.arange(len(total)), target
    of_target = total[here]
    total[here] = -np.inf
    other = total.max(axis=1)
    return (of_target - other) / np.maximum(of_target, other)


class Temperature:
    """The temperature of one model, which minimises its mean negative log likelihood."""

    def make(self, folder: Path, cases: list[Case]) -> None:
        for case in cases:
            z, target = self.load(folder, case)
            np.save(folder / f"temperature_{case.samples}_{case.dtype}.npy", bisect(z, target))

    def load(self, folder: Path, case: Case) -> Logits:  # noqa: ARG002
        return case_logits(case)[0], target_of(case.samples, case.classes)

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> str:
        expected = float(np.load(folder / f"temperature_{case.samples}_{case.dtype}.npy"))
        error = abs(float(answer) / expected - 1)
        said = f"T = {float(answer):.10g}, off by {error:.1e}"
        if not error <= contestant.tolerance:
            raise WrongAnswerError(f"wrong: {said}, expected {expected:.10g}")
        return said

    def amount(self, case: Case) -> float:
        """Bytes of logits."""
        return case.logits_bytes()


def bisect(z: np.ndarray, target: np.ndarray) -> float:
    """The root of the likelihood's slope in log 1/T, in float64, to 1e-12."""
    low, high = -1.5, 1.5
    if not slope(z, target, low) < 0 < slope(z, target, high):
        raise ValueError("the temperature lies outside 0.22..4.5")
    while high - low > 1e-12:
        x = (low + high) / 2
        low, high = (x, high) if slope(z, target, x) < 0 else (low, x)
    return float(np.exp(-(low + high) / 2))


def slope(z: np.ndarray, target: np.ndarray, x: float) -> float:
    """Sum over samples of E_p[z] - z_target with p = softmax(exp(x) z)."""
    total = 0.0
    for rows in blocks(len(z), 64):
        own = z[rows].astype(np.float64)
        p = softmax(np.exp(x) * own)
        total += (p * own).sum() - own[np.arange(len(own)), target[rows]].sum()
    return total


class Greedy:
    """Models in the order in which each adds the most hits to the ensemble of those before it."""

    def make(self, folder: Path, cases: list[Case]) -> None:
        for case in cases:
            logits, target = self.load(folder, case)
            for z in logits:
                for rows in blocks(len(z), 64):
                    z[rows] = softmax(z[rows])
            choices, hits = select(logits, target, case.steps, np.float64)
            np.savez(folder / f"choices_{case.samples}.npz", choices=choices, hits=hits)

    def load(self, folder: Path, case: Case) -> Logits:  # noqa: ARG002
        return case_logits(case), target_of(case.samples, case.classes)

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> str:  # noqa: ARG002
        """The same models in the same order, and as many hits at each step."""
        expected = np.load(folder / f"choices_{case.samples}.npz")
        choices, hits = np.asarray(answer)
        refuse_if(choices != expected["choices"][: case.steps], "choices")
        refuse_if(hits != expected["hits"][: case.steps], "steps")
        return f"{len(choices)} choices identical"

    def amount(self, case: Case) -> float:
        """Scores of candidate ensembles: each step tries the models that are left."""
        return sum(case.models - s for s in range(case.steps)) * case.samples * case.classes


def select(
    scores: np.ndarray, target: np.ndarray, steps: int, dtype: Any = np.float32
) -> tuple[list[int], list[int]]:
    """Choices and hits of each step, from (M, N, K) scores: a running sum, and every model tried.

    Of models with as many hits the one with the least negative log likelihood is taken.
    """
    n_models, samples, classes = scores.shape
    running = np.zeros((samples, classes), dtype)
    buffer = np.empty((64, classes), dtype)
    choices: list[int] = []
    hits_of_steps: list[int] = []
    own = scores[:, np.arange(samples), target].astype(np.float64)
    for _ in range(steps):
        left = [m for m in range(n_models) if m not in choices]
        hits = np.zeros(n_models, np.int64)
        for rows in blocks(samples, 64):  # what models share stays in the cache
            total, here = buffer[: rows.stop - rows.start], target[rows]
            for m in left:
                np.add(running[rows], scores[m, rows], out=total)
                hits[m] += np.count_nonzero(total.argmax(axis=1) == here)
        likelihood = np.log(own[choices].sum(axis=0) + own[left]).sum(axis=1)
        best = max(zip(hits[left], likelihood, left, strict=True), key=lambda of: of[:2])[2]
        running += scores[best]
        choices.append(best)
        hits_of_steps.append(int(hits[best]))
    return choices, hits_of_steps
