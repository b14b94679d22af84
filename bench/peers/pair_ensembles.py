"""Hits of the ensembles of all pairs of models, from logits: the mean of softmax decides.

Peers do all pairs on the first samples only, and their time is scaled: it grows with samples alone.
They sum float32 scores, and may be off where two classes are too near for that.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from clock import seconds_to_read, times_of
from peers.contestant import Call, Contestant, use_cores, watched

Logits = tuple[np.ndarray, np.ndarray]  # (M, N, K) logits, (N,) target


def ovcore_pairs(data: Logits, threads: int) -> Call:
    import ovcore as ov

    use_cores(threads)
    return lambda: ov.ensembles.pairs(*data).hits


def beside_pairs(data: Logits, threads: int) -> dict[str, float]:
    """Seconds to read the logits once, to pack their errors, and of the pairs' kernel alone."""
    import ovcore as ov

    packing = times_of(lambda: ov.pack_errors(*data, workers=threads), 0.5)
    with watched("pair_ensemble_hits") as calls:
        times_of(ovcore_pairs(data, threads), 0.5)
    return {
        "reading": seconds_to_read(data[0], threads),
        "packing": statistics.median(packing),
        "pair phase": statistics.median(seconds for seconds, _ in calls),
    }


def numpy_softmax(z: np.ndarray) -> np.ndarray:
    """float32, over the last axis."""
    p = z - z.max(axis=-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    return p


def numpy_argmax(data: Logits, _: int) -> Call:
    """Blocks of samples, so that sums stay in the cache; softmax of each model once."""
    logits, target = data
    m, block = len(logits), 32

    def call() -> np.ndarray:
        hits = np.zeros((m, m), np.int64)
        total = np.empty((block, logits.shape[2]), np.float32)
        for first in range(0, len(target), block):
            p = [numpy_softmax(z[first : first + block]) for z in logits]
            here = target[first : first + block]
            for a in range(m):
                for b in range(a + 1, m):
                    best = np.add(p[a], p[b], out=total[: len(here)]).argmax(axis=1)
                    hits[a, b] += np.count_nonzero(best == here)
        return hits

    return call


def torch_pairs(pair: Callable[..., Any], *, softmax_once: bool) -> Callable[[Logits, int], Call]:
    """All pairs by ``pair(p, q, target)``, of scores where softmax is done once, else of logits."""

    def prepare(data: Logits, threads: int) -> Call:
        import torch

        torch.set_num_threads(threads)
        logits, target = (torch.from_numpy(values) for values in data)

        def call() -> np.ndarray:
            each = logits.softmax(dim=2) if softmax_once else logits
            hits = np.zeros((len(each), len(each)), np.int64)
            for a in range(len(each)):
                for b in range(a + 1, len(each)):
                    hits[a, b] = int(pair(each[a], each[b], target).sum())
            return hits

        return call

    return prepare


def torch_argmax(p: Any, q: Any, target: Any) -> Any:
    return (p + q).argmax(dim=1) == target


def torch_amax(p: Any, q: Any, target: Any) -> Any:
    """Right where the target's sum is the maximum: no prediction, and ties count as right."""
    total = p + q
    return total.amax(dim=1) == total.gather(1, target[:, None])[:, 0]


def torch_softmax_argmax(y: Any, z: Any, target: Any) -> Any:
    return torch_argmax(y.softmax(dim=1), z.softmax(dim=1), target)


PAIR_ENSEMBLES = [
    Contestant(
        "ovcore native", ovcore_pairs, beside=beside_pairs, env={"OVCORE_BACKEND": "native"}
    ),
    Contestant("ovcore numba", ovcore_pairs, beside=beside_pairs, env={"OVCORE_BACKEND": "numba"}),
    Contestant("numpy add + argmax", numpy_argmax, one_thread=True, only={"samples": 128}),
    Contestant(
        "torch add + argmax", torch_pairs(torch_argmax, softmax_once=True), only={"samples": 128}
    ),
    Contestant(
        "torch add + amax against the target's",
        torch_pairs(torch_amax, softmax_once=True),
        only={"samples": 128},
    ),
    Contestant(
        "torch softmax inside each pair",
        torch_pairs(torch_softmax_argmax, softmax_once=False),
        only={"samples": 64},
    ),
]
