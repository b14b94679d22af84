"""Every backend's kernels against the oracle, at awkward sizes, by equality."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ovcore import _dispatch, _reference

SIZES = [0, 1, 63, 64, 65, 127, 1000]
DTYPES = ["float32", "float64", "float16", "bfloat16"]


def as_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    """What the kernels take: the values in that type; bfloat16 as its bits."""
    if dtype == "bfloat16":
        return values.astype(ml_dtypes.bfloat16).view(np.uint16)
    return values.astype(dtype)


def pack(backend: str, logits: np.ndarray, dtype: str, target: np.ndarray, workers: int = 2) -> Any:
    """Words, predictions and rows without prediction, into poisoned outputs of a padded width."""
    n_words = -(-len(target) // 1024) * 16
    words = np.zeros(n_words, np.uint64)
    words[: -(-len(target) // 64)] = 0xDEADBEEF
    preds = np.full(len(target), 77, np.int32)
    without = _dispatch.choose(backend).pack_errors(logits, dtype, target, words, preds, workers)
    return words, preds, without


def check_pack(backend: str, logits: np.ndarray, dtype: str, target: np.ndarray) -> None:
    words, preds, without = pack(backend, logits, dtype, target)
    expected_words, expected_preds, expected_without = pack("reference", logits, dtype, target)
    np.testing.assert_array_equal(preds, expected_preds)
    np.testing.assert_array_equal(words, expected_words)
    assert without == expected_without


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [1, 2, 10, 63, 64, 65, 1000])
@pytest.mark.parametrize("n_samples", SIZES)
def test_pack_errors_equals_the_oracle(
    backend: str, n_samples: int, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    logits = as_bits(rng.normal(size=(n_samples, n_classes)), dtype)
    target = rng.integers(0, n_classes, n_samples)
    check_pack(backend, logits, dtype, target)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pack_errors_on_ties_zeros_infinities_and_nan(
    backend: str, dtype: str, rng: np.random.Generator
) -> None:
    values = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan, -np.nan])
    chance = np.array([0.3, 0.2, 0.2, 0.2, 0.05, 0.03, 0.01, 0.01])
    for n_classes in (1, 2, 3, 70, 200):
        logits = as_bits(rng.choice(values, size=(500, n_classes), p=chance), dtype)
        check_pack(backend, logits, dtype, rng.integers(0, n_classes, 500))


def test_pack_errors_settles_ties_for_the_lowest_class(backend: str) -> None:
    logits = np.array([[1, 3, 3], [-0.0, 0.0, -1], [-np.inf, -5, -5], [np.inf, 9, np.inf]])
    _, preds, without = pack(backend, logits, "float64", np.zeros(4, np.int64))
    assert preds.tolist() == [1, 0, 1, 0]
    assert without == 0


def test_pack_errors_counts_rows_without_prediction(backend: str) -> None:
    logits = np.array([[0, np.nan, 1], [-np.inf] * 3, [0, 1, 2], [np.nan] * 3], np.float32)
    words, preds, without = pack(backend, logits, "float32", np.array([2, 0, 2, 1]))
    assert preds.tolist() == [-1, -1, 2, -1]
    assert without == 3
    assert int(words[0]) == 0b1011


def test_pack_errors_reads_strided_and_read_only_rows(
    backend: str, rng: np.random.Generator
) -> None:
    whole = rng.normal(size=(300, 24)).astype(np.float32)
    target = rng.integers(0, 7, 300)
    expected = pack("reference", whole[:, 5:12].copy(), "float32", target)[0]
    view = whole[:, 5:12]
    view.flags.writeable = False
    np.testing.assert_array_equal(pack(backend, view, "float32", target)[0], expected)
    backwards = pack(backend, view[::-1], "float32", np.ascontiguousarray(target[::-1]))[1]
    np.testing.assert_array_equal(
        backwards[::-1], pack("reference", view.copy(), "float32", target)[1]
    )


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the backend's name
)
@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 80), st.integers(1, 80)),
        elements=st.one_of(st.floats(width=32), st.sampled_from([0.0, -0.0, 1.0, 2.0])),
    )
)
def test_pack_errors_on_any_float32(backend: str, logits: np.ndarray) -> None:
    check_pack(backend, logits, "float32", np.zeros(len(logits), np.int64))


@pytest.mark.parametrize("n_models", [1, 2, 3, 5, 25, 82, 129])
@pytest.mark.parametrize("n_words", [0, 1, 7, 16, 1023, 1024, 1040])
def test_joint_errors_equals_the_oracle(
    backend: str, n_models: int, n_words: int, rng: np.random.Generator
) -> None:
    words = rng.integers(0, 2**64, (n_models, n_words), dtype=np.uint64)
    joint = _dispatch.choose(backend).joint_errors(words, 2)
    assert joint.dtype == np.int64
    np.testing.assert_array_equal(joint, _reference.joint_errors(words, 1))


def test_joint_errors_over_many_blocks(backend: str, rng: np.random.Generator) -> None:
    words = rng.integers(0, 2**64, (500, 16), dtype=np.uint64)
    bits = np.unpackbits(words.view(np.uint8), axis=1).astype(np.float64)
    expected = (bits @ bits.T).astype(np.int64)
    for workers in (1, 2, 5):
        joint = _dispatch.choose(backend).joint_errors(words, workers)
        np.testing.assert_array_equal(joint, expected)


def test_joint_errors_counts_past_32_bits(backend: str) -> None:
    row = np.full(2**25, 2**64 - 1, np.uint64)  # 2^31 samples, all wrong
    words = np.broadcast_to(row, (2, len(row)))
    assert (_dispatch.choose(backend).joint_errors(words, 2) == 2**31).all()


def test_two_threads_at_once(backend: str, rng: np.random.Generator) -> None:
    from concurrent.futures import ThreadPoolExecutor

    inputs = [rng.integers(0, 2**64, (150, 64), dtype=np.uint64) for _ in range(8)]
    count = _dispatch.choose(backend).joint_errors
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda words: count(words, 2), inputs))
    for words, joint in zip(inputs, results, strict=True):
        np.testing.assert_array_equal(joint, _reference.joint_errors(words, 1))


@pytest.mark.skipif("OVCORE_ISA" in os.environ, reason="this is the inner run")
@pytest.mark.parametrize("instruction_set", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(instruction_set: str) -> None:
    """Runs this file again under each set that the chip has."""
    pytest.importorskip("ovcore._native")
    environment = {**os.environ, "OVCORE_ISA": instruction_set}
    probe = [sys.executable, "-c", "from ovcore import _native; print(_native.instruction_set())"]
    outcome = subprocess.run(probe, env=environment, capture_output=True, text=True, check=False)
    if "cannot run here" in outcome.stderr:
        pytest.skip(outcome.stderr.splitlines()[-1])
    assert outcome.stdout.strip() == instruction_set
    again = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-k",
        "native",
        "-p",
        "no:cacheprovider",
        __file__,
    ]
    outcome = subprocess.run(again, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout


def test_an_unknown_instruction_set_is_refused() -> None:
    pytest.importorskip("ovcore._native")
    code = "from ovcore import _dispatch; _dispatch.choose()"
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OVCORE_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode != 0
    assert "OVCORE_ISA=sse9 cannot run here; expected one of" in outcome.stderr


def test_ctrl_c_ends_a_long_count() -> None:
    """A count of about ten seconds ends within one of the signal."""
    code = """
import os, signal, threading, time
import numpy as np
from ovcore import _dispatch
backend = _dispatch.choose("native")
words = np.zeros((6000, 4096), np.uint64)
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    backend.joint_errors(words, 1)
except KeyboardInterrupt:
    print("interrupted after", time.perf_counter() - start)
"""
    pytest.importorskip("ovcore._native")
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OVCORE_ISA": "baseline"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout.startswith("interrupted after"), outcome.stdout + outcome.stderr
    assert float(outcome.stdout.split()[-1]) < 2.5
