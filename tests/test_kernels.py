"""Every backend's kernels against the oracle, at awkward sizes, by equality."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from on_gpu import kernels
from ovcore import _reference
from ovcore._arrays import Typed

SIZES = [0, 1, 63, 64, 65, 127, 1000]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES = ["float32", "float64", "float16", "bfloat16"]


def as_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    """What the kernels take: the values in that type; bfloat16 as its bits."""
    if dtype == "bfloat16":
        return values.astype(ml_dtypes.bfloat16).view(np.uint16)
    return values.astype(dtype)


def pack(backend: str, logits: np.ndarray, dtype: str, target: np.ndarray, workers: int = 2) -> Any:
    """Words, predictions and rows without prediction, into poisoned outputs of a padded width."""
    n_words = -(-len(target) // 1024) * 16
    words = np.full((1, n_words), 0xDEADBEEF, np.uint64)
    preds = np.full((1, len(target)), 77, np.int32)
    kernel = kernels(backend).pack_errors
    (without,) = kernel([Typed(logits, dtype)], target, words, preds, workers, None)
    return words[0], preds[0], without


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
@pytest.mark.parametrize("n_classes", [1, 2, 10, 1000])
def test_pack_errors_of_fifty_thousand_samples(
    fast_backend: str, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    """Random bits: every exponent, subnormals, infinities and NaNs of both signs."""
    kind = "u2" if dtype.endswith("16") else f"u{np.dtype(dtype).itemsize}"
    bits = np.frombuffer(rng.bytes(50_000 * n_classes * np.dtype(kind).itemsize), kind)
    logits = bits.reshape(50_000, n_classes)
    values = logits if dtype == "bfloat16" else logits.view(dtype)
    check_pack(fast_backend, values, dtype, rng.integers(0, n_classes, 50_000))


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


def test_pack_errors_takes_models_of_different_types(
    backend: str, rng: np.random.Generator
) -> None:
    target = rng.integers(0, 7, 3000)
    models = [
        Typed(as_bits(rng.normal(size=(3000, n_classes)), dtype), dtype)
        for dtype, n_classes in zip(DTYPES, (7, 9, 40, 1), strict=True)
    ]
    outputs = []
    for name in (backend, "reference"):
        words = np.full((4, 48), 0xDEADBEEF, np.uint64)
        preds = np.full((4, 3000), 77, np.int32)
        without = kernels(name).pack_errors(models, target, words, preds, 2, None)
        outputs.append((words, preds, without))
    np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
    np.testing.assert_array_equal(outputs[0][1], outputs[1][1])
    assert outputs[0][2] == outputs[1][2] == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("n_samples", [*SIZES, 5000])
def test_pack_errors_of_predictions_equals_the_oracle(
    backend: str, n_samples: int, dtype: str, rng: np.random.Generator
) -> None:
    info = np.iinfo(dtype)
    target = rng.integers(0, 3, n_samples)
    preds = rng.choice(np.array([0, 1, 2, 3, info.min, info.max], dtype), (3, n_samples))
    models = [preds[0], np.repeat(preds[1], 2)[::2], preds[2][::-1]]  # strides of all signs
    outputs = []
    for name in (backend, "reference"):
        words = np.full((3, -(-n_samples // 1024) * 16), 0xDEADBEEF, np.uint64)
        kernels(name).pack_errors(models, target, words, None, 2, None)
        outputs.append(words)
    np.testing.assert_array_equal(*outputs)


def agreement_by_comparing(preds: np.ndarray) -> np.ndarray:
    return np.array([[(a == b).sum() for b in preds] for a in preds], np.int64)


@pytest.mark.parametrize("n_models", [1, 2, 3, 7, 25, 82, 129])
@pytest.mark.parametrize("n_samples", [0, 1, 63, 64, 65, 127, 511, 512, 513, 1000, 50_000])
def test_joint_agreement_equals_the_oracle(
    backend: str, n_models: int, n_samples: int, rng: np.random.Generator
) -> None:
    if backend == "reference" and n_models * n_samples > 100_000:
        n_samples = 700  # the oracle compares Python objects
    preds = rng.integers(0, 5, (n_models, n_samples), dtype=np.int16)
    agreement = kernels(backend).joint_agreement(list(preds), 0, 4, 2, None)
    assert agreement.dtype == np.int64
    np.testing.assert_array_equal(agreement, agreement_by_comparing(preds))


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("span", [0, 1, 2, 255, 256, 1000, 65_535])
def test_joint_agreement_of_any_integers(
    backend: str, dtype: str, span: int, rng: np.random.Generator
) -> None:
    info = np.iinfo(dtype)
    lowest = max(-7, info.min)
    highest = min(lowest + span, info.max)
    preds = rng.integers(lowest, highest, (6, 300), dtype=dtype, endpoint=True)
    preds[1] = preds[0]
    preds[2] = preds[0]
    preds[2, ::3] = highest
    preds[3] = highest
    models = [preds[0], np.repeat(preds[1], 2)[::2], preds[2], *preds[3:]]
    agreement = kernels(backend).joint_agreement(models, lowest, highest, 2, None)
    np.testing.assert_array_equal(agreement, agreement_by_comparing(preds))


def test_joint_agreement_over_many_blocks(fast_backend: str, rng: np.random.Generator) -> None:
    preds = rng.integers(0, 40, (500, 1300), dtype=np.uint16)
    expected = sum((preds == k).astype(np.float32) @ (preds == k).T for k in range(40))
    for workers in (1, 2, 5):
        agreement = kernels(fast_backend).joint_agreement(list(preds), 0, 39, workers, None)
        np.testing.assert_array_equal(agreement, expected.astype(np.int64))


@pytest.mark.parametrize("n_words", [5_000, 40_000])
def test_few_models_on_many_samples_are_spread_over_samples(
    backend: str, n_words: int, rng: np.random.Generator
) -> None:
    words = rng.integers(0, 2**64, (3, n_words), dtype=np.uint64)
    expected = _reference.joint_errors(words, 1, None)
    for workers in (1, 2, 7):
        joint = kernels(backend).joint_errors(words, workers, None)
        np.testing.assert_array_equal(joint, expected)
    preds = words.view(np.uint16)
    n_samples = preds.shape[1] - 5
    models = [row[:n_samples] % 50 for row in preds]
    if backend == "reference":
        models = [row[:1000] for row in models]
    agreement = kernels(backend).joint_agreement(models, 0, 49, 7, None)
    np.testing.assert_array_equal(agreement, agreement_by_comparing(np.array(models)))


@pytest.mark.on_host
def test_progress_counts_up_and_its_errors_come_out(fast_backend: str) -> None:
    seen: list[tuple[int, int]] = []
    count = kernels(fast_backend).joint_errors
    words = np.zeros((500, 2000), np.uint64)
    count(words, 2, lambda done, of: seen.append((done, of)))
    assert seen == sorted(seen)
    assert all(0 <= done <= of for done, of in seen)
    assert seen[-1][0] == seen[-1][1] > 1

    def fail(_done: int, _of: int) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        count(words, 2, fail)


@pytest.mark.parametrize("n_models", [1, 2, 3, 5, 25, 82, 129])
@pytest.mark.parametrize("n_words", [0, 1, 2, 7, 16, 784, 1023, 1024, 1040])
def test_joint_errors_equals_the_oracle(
    backend: str, n_models: int, n_words: int, rng: np.random.Generator
) -> None:
    words = rng.integers(0, 2**64, (n_models, n_words), dtype=np.uint64)
    joint = kernels(backend).joint_errors(words, 2, None)
    assert joint.dtype == np.int64
    np.testing.assert_array_equal(joint, _reference.joint_errors(words, 1, None))


def test_joint_errors_over_many_blocks(backend: str, rng: np.random.Generator) -> None:
    words = rng.integers(0, 2**64, (500, 16), dtype=np.uint64)
    bits = np.unpackbits(words.view(np.uint8), axis=1).astype(np.float64)
    expected = (bits @ bits.T).astype(np.int64)
    for workers in (1, 2, 5):
        joint = kernels(backend).joint_errors(words, workers, None)
        np.testing.assert_array_equal(joint, expected)


@pytest.mark.too_much_to_simulate
def test_joint_errors_counts_past_32_bits(backend: str) -> None:
    row = np.full(2**25, 2**64 - 1, np.uint64)  # 2^31 samples, all wrong
    words = np.broadcast_to(row, (2, len(row)))
    assert (kernels(backend).joint_errors(words, 2, None) == 2**31).all()


def test_two_threads_at_once(backend: str, rng: np.random.Generator) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def count(kernels: Any, seed: int) -> list[np.ndarray]:
        local = np.random.default_rng(seed)
        preds = local.integers(0, 9, (70, 4000), dtype=np.int16)
        target = local.integers(0, 9, 4000)
        words = np.zeros((70, 64), np.uint64)
        kernels.pack_errors(list(preds), target, words, None, 2, None)
        some = [row[:300] for row in preds]
        return [
            words,
            kernels.joint_errors(words, 2, None),
            kernels.joint_agreement(some, 0, 8, 2, None),
        ]

    seeds = rng.integers(0, 2**32, 8).tolist()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: count(kernels(backend), seed), seeds))
    for seed, result in zip(seeds, results, strict=True):
        for ours, expected in zip(result, count(_reference, seed), strict=True):
            np.testing.assert_array_equal(ours, expected)


def test_pack_errors_of_more_classes_than_16_bits_hold(
    backend: str, rng: np.random.Generator
) -> None:
    for dtype in DTYPES:
        logits = as_bits(rng.normal(size=(70, 100_003)), dtype)
        target = rng.integers(0, 100_003, 70)
        logits[np.arange(0, 70, 2), target[::2]] = as_bits(np.array([9.0]), dtype)[0]
        check_pack(backend, logits, dtype, target)
