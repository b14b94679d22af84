"""Greedy selection: which model adds the most hits to the ensemble so far, step by step."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from clock import seconds_to_read
from logit_jobs import select
from peers.contestant import Call, Contestant, use_cores
from peers.pair_ensembles import numpy_softmax

Logits = tuple[np.ndarray, np.ndarray]  # (M, N, K) logits, (N,) target
Choices = tuple[list[int], list[int]]  # models, and hits once each has joined


def ovcore_greedy(data: Logits, threads: int) -> Call:
    import ovcore as ov

    use_cores(threads)
    warnings.simplefilter("ignore", UserWarning)  # that nothing is held out
    logits, target = data

    def call() -> Choices:
        found = ov.ensembles.greedy(logits, target, max_size=len(logits))
        return list(found.members), list(np.rint(np.asarray(found.accuracy) * len(target)))

    return call


def beside_greedy(data: Logits, threads: int) -> dict[str, float]:
    return {"reading": seconds_to_read(data[0], threads)}


def numpy_running_sum(data: Logits, _: int) -> Call:
    logits, target = data
    return lambda: select(softmax_of_all(logits), target, len(logits))


def softmax_of_all(logits: np.ndarray) -> np.ndarray:
    scores = np.empty(logits.shape, np.float32)
    for z, p in zip(logits, scores, strict=True):
        for first in range(0, len(z), 64):  # stays in the cache
            p[first : first + 64] = numpy_softmax(z[first : first + 64])
    return scores


def numpy_naive(steps: int) -> Any:
    """The mean over members formed anew for every candidate; softmax is not timed."""

    def prepare(data: Logits, _: int) -> Call:
        scores, target = softmax_of_all(data[0]), data[1]

        def call() -> Choices:
            choices: list[int] = []
            hits_of_steps = []
            for _ in range(steps):
                hits = {
                    m: np.count_nonzero(scores[[*choices, m]].mean(axis=0).argmax(axis=1) == target)
                    for m in range(len(scores))
                    if m not in choices
                }
                choices.append(max(hits, key=hits.__getitem__))
                hits_of_steps.append(hits[choices[-1]])
            return choices, hits_of_steps

        return call

    return prepare


def arrays_used(case: Any) -> float:
    """(N, K) arrays that the naive way goes through: a candidate's members, itself, their mean."""
    return sum((case.models - step) * (step + 2) for step in range(case.steps))


NAIVE_STEPS = 2
GREEDY = [
    Contestant(
        "ovcore native", ovcore_greedy, beside=beside_greedy, env={"OVCORE_BACKEND": "native"}
    ),
    Contestant(
        "ovcore numba", ovcore_greedy, beside=beside_greedy, env={"OVCORE_BACKEND": "numba"}
    ),
    Contestant("numpy running sum", numpy_running_sum, one_thread=True),
    Contestant(
        "numpy mean of members anew",
        numpy_naive(NAIVE_STEPS),
        one_thread=True,
        only={"steps": NAIVE_STEPS},
        work=arrays_used,
    ),
]
