"""Time the kernels, each backend on one thread and two: for our own regressions.

Every run proves its answer. ``rate`` states work per second in the kernel's own unit; compare rows
of one run only, by their medians. Peers and the machine's limit are in side_by_side.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import ovcore as ov
from ovcore import _dispatch

N_SAMPLES, N_CLASSES = 50_000, 1_000
DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}

on_backends = pytest.mark.parametrize("backend", ["native", "numba"])
on_threads = pytest.mark.parametrize("threads", [1, 2])


@pytest.fixture(scope="module")
def target() -> np.ndarray:
    return np.random.default_rng(0).integers(0, N_CLASSES, N_SAMPLES, np.int16)


@pytest.fixture(scope="module")
def preds(target: np.ndarray) -> np.ndarray:
    """(M, N) classes of models that are right on three quarters of the samples."""
    rng = np.random.default_rng(1)
    preds = np.empty((1_008, N_SAMPLES), np.int16)
    for row in preds:
        right = rng.random(N_SAMPLES, np.float32) < 0.75
        row[:] = np.where(right, target, rng.integers(0, N_CLASSES, N_SAMPLES, np.int16))
    return preds


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((N_SAMPLES, N_CLASSES), np.float32)


@on_threads
@on_backends
@pytest.mark.benchmark(group="joint errors, 1,000 models x 50,000 samples")
def bench_joint_errors(
    benchmark: BenchmarkFixture, preds: np.ndarray, target: np.ndarray, backend: str, threads: int
) -> None:
    words = ov.pack_errors(preds[:1_000], target).words
    count = _dispatch.choose(backend).joint_errors
    joint = take_time(benchmark, lambda: count(words, threads, None))
    wrong = (preds[:1_000] != target).astype(np.float32)  # counts are exact below 2^24 samples
    np.testing.assert_array_equal(joint, wrong @ wrong.T)
    report_rate(benchmark, 1_000 * 1_001 / 2 * N_SAMPLES / 1e12, "Tbit pairs/s")


@on_threads
@on_backends
@pytest.mark.parametrize("dtype", list(DTYPES))
def bench_pack_errors(
    benchmark: BenchmarkFixture,
    logits: np.ndarray,
    target: np.ndarray,
    backend: str,
    dtype: str,
    threads: int,
) -> None:
    benchmark.group = f"pack errors, 50,000 samples x 1,000 classes, {dtype}"
    values = logits.astype(DTYPES[dtype])
    errors = take_time(
        benchmark, lambda: ov.pack_errors([values], target, backend=backend, workers=threads)
    )
    wrong = values.astype(np.float32).argmax(axis=1) != target
    np.testing.assert_array_equal(errors.wrong()[0], wrong)
    report_rate(benchmark, values.nbytes / 1e9, "GB/s")


@on_threads
@on_backends
@pytest.mark.benchmark(group="pack predictions, 1,008 models x 50,000 samples, int16")
def bench_pack_predictions(
    benchmark: BenchmarkFixture, preds: np.ndarray, target: np.ndarray, backend: str, threads: int
) -> None:
    errors = take_time(
        benchmark, lambda: ov.pack_errors(preds, target, backend=backend, workers=threads)
    )
    np.testing.assert_array_equal(errors.n_wrong(), (preds != target).sum(axis=1))
    report_rate(benchmark, preds.nbytes / 1e9, "GB/s")


@on_threads
@on_backends
@pytest.mark.parametrize("models", [84, 1_008])
def bench_joint_agreement(
    benchmark: BenchmarkFixture, preds: np.ndarray, backend: str, models: int, threads: int
) -> None:
    benchmark.group = f"joint agreement, {models:,} models x 50,000 samples, 1,000 classes"
    rows = list(preds[:models])
    count = _dispatch.choose(backend).joint_agreement
    agreement = take_time(benchmark, lambda: count(rows, 0, N_CLASSES - 1, threads, None))
    for i in range(0, models, models // 10):  # a tenth of the rows: all would take numpy 20 s
        np.testing.assert_array_equal(agreement[i], (preds[:models] == rows[i]).sum(axis=1))
    report_rate(benchmark, models * (models + 1) / 2 * N_SAMPLES / 1e9, "10^9 pairs/s")


def take_time(benchmark: BenchmarkFixture, call: Callable[[], Any]) -> Any:
    return benchmark.pedantic(call, rounds=9, warmup_rounds=1)


def report_rate(benchmark: BenchmarkFixture, amount: float, unit: str) -> None:
    benchmark.extra_info["rate"] = f"{amount / benchmark.stats.stats.median:.2f} {unit}"
