"""Time the kernels that combine models, each backend on one thread and two.

Proven against the other backend, which shares no code; rates count logits read or pairs compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench_kernels import on_backends, on_threads, report_rate, take_time
from ovcore import _dispatch
from ovcore._arrays import Typed
from ovcore._candidates import Scored

N_MODELS, N_SAMPLES, N_CLASSES = 20, 4_000, 1_000


class Zoo(NamedTuple):
    scored: Scored
    preds: np.ndarray
    target: np.ndarray


@pytest.fixture(scope="module")
def zoo() -> Zoo:
    """Models that share what a sample looks like, and differ on some two thirds of the samples."""
    rng = np.random.default_rng(3)
    target = rng.integers(0, N_CLASSES, N_SAMPLES)
    common = 2 * rng.standard_normal((N_SAMPLES, N_CLASSES), np.float32)
    common[np.arange(N_SAMPLES), target] += 3 + 3 * rng.gamma(2.2, 1.3, N_SAMPLES)
    logits = [
        common + rng.standard_normal(common.shape, np.float32) * np.float32(m % 4 / 4 + 0.7)
        for m in range(N_MODELS)
    ]
    preds = np.array([z.argmax(axis=1) for z in logits], np.int32)
    models = [Typed(z, "float32") for z in logits]
    return Zoo(Scored(models, np.full(N_MODELS, 1.3), "prob"), preds, target)


Kernel = Callable[[Any, Zoo, int], Any]  # of a backend, on some threads


def temperature_nll(kernels: Any, zoo: Zoo, threads: int) -> Any:
    beta = 1 / zoo.scored.temperature
    return kernels.temperature_nll(zoo.scored.models, zoo.target, beta, threads, None).round(3)


def confidences(kernels: Any, zoo: Zoo, threads: int) -> Any:
    preds, confidence = np.empty_like(zoo.preds), np.empty(zoo.preds.shape, np.float32)
    scored = zoo.scored
    kernels.confidences(scored.models, scored.temperature, preds, confidence, threads, None)
    return confidence


def candidate_scores(kernels: Any, zoo: Zoo, threads: int) -> Any:
    found = kernels.candidate_scores(zoo.scored, zoo.preds, zoo.target, False, threads, None)
    return found.scores


def ensemble_predictions(kernels: Any, zoo: Zoo, threads: int) -> Any:
    weights = np.ones(N_MODELS)
    return kernels.ensemble_predictions(zoo.scored, weights, zoo.preds, threads, None)


@on_threads
@on_backends
@pytest.mark.parametrize(
    "kernel", [temperature_nll, confidences, candidate_scores, ensemble_predictions]
)
def bench_logits(
    benchmark: BenchmarkFixture, zoo: Zoo, kernel: Kernel, backend: str, threads: int
) -> None:
    benchmark.group = f"{kernel.__name__}, 20 models x 4,000 samples x 1,000 classes, float32"
    result = take_time(benchmark, lambda: kernel(_dispatch.choose(backend), zoo, threads))
    np.testing.assert_array_equal(result, kernel(other(backend), zoo, 2))
    report_rate(benchmark, N_MODELS * N_SAMPLES * N_CLASSES / 1e9, "10^9 logits/s")


@on_threads
@on_backends
@pytest.mark.parametrize("name", ["pair_ensemble_hits", "candidate_hits", "angle_histogram"])
def bench_counts(
    benchmark: BenchmarkFixture, zoo: Zoo, name: str, backend: str, threads: int
) -> None:
    benchmark.group = f"{name}, 20 models x 4,000 samples"
    found = other(backend).candidate_scores(zoo.scored, zoo.preds, zoo.target, False, 2, None)
    confidence = confidences(other(backend), zoo, 2)
    pairs = np.stack(np.triu_indices(N_MODELS, 1), axis=1).astype(np.int64)
    nothing = np.zeros(len(found.samples))
    arguments = {
        "pair_ensemble_hits": (zoo.scored, N_MODELS, found, threads, None),
        "candidate_hits": (
            zoo.scored, N_MODELS, found, np.array([3]), found.scores[:, 3].astype(float),
            found.outside[:, 3].astype(float), nothing.astype(bool), threads,
        ),
        "angle_histogram": (
            confidence, zoo.preds == zoo.target, pairs, np.tan(np.linspace(0.1, 1.4, 19)),
            np.ones(N_SAMPLES, bool), threads, None,
        ),
    }[name]  # fmt: skip
    result = take_time(benchmark, lambda: getattr(_dispatch.choose(backend), name)(*arguments))
    expected = getattr(other(backend), name)(*arguments)
    first = (lambda r: r[0]) if isinstance(expected, tuple) else (lambda r: r)
    np.testing.assert_array_equal(first(result), first(expected))
    amount = N_MODELS if name == "candidate_hits" else len(pairs)
    report_rate(benchmark, amount * N_SAMPLES / 1e9, "10^9 candidates or pairs/s")


def other(backend: str) -> Any:
    return _dispatch.choose("numba" if backend == "native" else "native")
