"""Time the kernels beside numpy and numba on the same data, in one run.

Every contestant proves its answer first. ``rate`` states work per second in the kernel's own unit,
so that rows can be set against the machine; compare rows of one run only, by their medians.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import ovcore as ov
from ovcore import _dispatch

N_SAMPLES, N_CLASSES = 50_000, 1_000
THREADS = [1, 2]


def joint_errors_numpy(wrong: np.ndarray) -> np.ndarray:
    """What a careful numpy user writes: float32 counts are exact below 2^24 samples."""
    return wrong @ wrong.T


@pytest.fixture(scope="module")
def wrong() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.random((1_000, N_SAMPLES), np.float32) < 0.25).astype(np.float32)


@pytest.fixture(scope="module")
def words(wrong: np.ndarray) -> np.ndarray:
    return ov.pack_errors(wrong.astype(np.int8), np.zeros(N_SAMPLES, np.int64)).words


@pytest.fixture(scope="module")
def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.integers(0, N_CLASSES, N_SAMPLES)
    return rng.standard_normal((N_SAMPLES, N_CLASSES), np.float32), target


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("backend", ["native", "numba"])
@pytest.mark.benchmark(group="joint errors, 1,000 models x 50,000 samples")
def bench_joint_errors(
    benchmark: BenchmarkFixture, words: np.ndarray, wrong: np.ndarray, backend: str, threads: int
) -> None:
    count = _dispatch.choose(backend).joint_errors
    joint = benchmark.pedantic(count, (words, threads), rounds=9, warmup_rounds=1)
    np.testing.assert_array_equal(joint, joint_errors_numpy(wrong))
    pair_bits = len(words) * (len(words) + 1) / 2 * N_SAMPLES
    report_rate(benchmark, pair_bits / 1e12, "Tbit pairs/s")


@pytest.mark.benchmark(group="joint errors, 1,000 models x 50,000 samples")
def bench_joint_errors_numpy(benchmark: BenchmarkFixture, wrong: np.ndarray) -> None:
    benchmark.pedantic(joint_errors_numpy, (wrong,), rounds=3, warmup_rounds=1)
    report_rate(benchmark, len(wrong) * (len(wrong) + 1) / 2 * N_SAMPLES / 1e12, "Tbit pairs/s")


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("backend", ["native", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.benchmark(group="pack errors, 50,000 samples x 1,000 classes")
def bench_pack_errors(
    benchmark: BenchmarkFixture,
    logits: tuple[np.ndarray, np.ndarray],
    backend: str,
    dtype: str,
    threads: int,
) -> None:
    values, target = logits[0].astype(dtype), logits[1]

    def pack() -> ov.ErrorBits:
        return ov.pack_errors([values], target, backend=backend, workers=threads)

    errors = benchmark.pedantic(pack, rounds=9, warmup_rounds=1)
    assert errors.n_wrong() == (values.argmax(axis=1) != target).sum()
    report_rate(benchmark, values.nbytes / 1e9, "GB/s")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.benchmark(group="pack errors, 50,000 samples x 1,000 classes")
def bench_pack_errors_numpy(
    benchmark: BenchmarkFixture, logits: tuple[np.ndarray, np.ndarray], dtype: str
) -> None:
    values, target = logits[0].astype(dtype), logits[1]
    run: Callable[[], Any] = lambda: np.packbits(values.argmax(axis=1) != target)  # noqa: E731
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    report_rate(benchmark, values.nbytes / 1e9, "GB/s")


@pytest.mark.benchmark(group="pack errors, 50,000 samples x 1,000 classes")
def bench_reading_memory(
    benchmark: BenchmarkFixture, logits: tuple[np.ndarray, np.ndarray]
) -> None:
    """The limit of pack_errors: one thread that reads the logits and does next to nothing."""
    benchmark.pedantic(logits[0].view(np.uint64).max, rounds=9, warmup_rounds=1)
    report_rate(benchmark, logits[0].nbytes / 1e9, "GB/s")


def report_rate(benchmark: BenchmarkFixture, amount: float, unit: str) -> None:
    benchmark.extra_info["rate"] = f"{amount / benchmark.stats.stats.median:.2f} {unit}"
