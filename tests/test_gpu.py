"""Public functions on arrays that lie on a GPU, against the same arrays in host memory."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import on_gpu
import ovcore as ov
from on_gpu import Producer
from ovcore import _arrays

pytestmark = pytest.mark.usefixtures("gpus")  # simulated ones

N_MODELS, N_SAMPLES, N_CLASSES = 6, 150, 9
KINDS = ["float32", "float64", "float16", "bfloat16"]


def problem(rng: np.random.Generator, n_samples: int = N_SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Models that differ, in steps so coarse that many scores tie."""
    target = rng.integers(0, N_CLASSES, n_samples)
    logits = rng.normal(size=(N_MODELS, n_samples, N_CLASSES)) + 1.5 * np.eye(N_CLASSES)[target]
    return (logits * 8).round() / 8, target


def flat(result: Any) -> Iterator[Any]:
    """Every array and number in a result, in order."""
    if isinstance(result, ov.ErrorBits | ov.JointErrors):
        words = result.words if isinstance(result, ov.ErrorBits) else result.joint
        yield from (words, result.n_samples, np.asarray(result.n_wrong()))
    elif dataclasses.is_dataclass(result):
        for field in dataclasses.fields(result):
            if field.name != "_library":
                yield from flat(getattr(result, field.name))
    elif isinstance(result, tuple | list):
        for part in result:
            yield from flat(part)
    elif type(result).__name__ == "DeviceArray":
        yield result.numpy()
    elif hasattr(result, "cpu"):  # torch's
        yield result.cpu().numpy()
    elif hasattr(result, "get") and hasattr(result, "device"):  # cupy's
        yield result.get()
    else:
        yield result


def check(call: Callable[[Any, Any], Any], logits: Any, target: Any, there: Any, of: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is fitted where it is reported
        expected, found = list(flat(call(logits, target))), list(flat(call(there, of)))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        if isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
            assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(ours, theirs)


TEMPERATURES = np.linspace(0.5, 2, N_MODELS)
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "pack_errors": ov.pack_errors,
    "ignore_index": lambda z, t: ov.pack_errors(z, t, ignore_index=3),
    "accuracy": lambda z, t: ov.pack_errors(z, t).accuracy(),
    "joint_errors": lambda z, t: ov.pairwise.joint_errors(ov.pack_errors(z, t)),
    "error_consistency": lambda z, t: ov.pairwise.error_consistency(ov.pack_errors(z, t)),
    "joint_agreement": lambda z, _: ov.pairwise.joint_agreement(z),
    "same_wrong_answer": lambda z, t: ov.pairwise.same_wrong_answer(z, t, ignore_index=2),
    "fit_temperature": ov.calibration.fit_temperature,
    "fit_temperature on a grid": lambda z, t: ov.calibration.fit_temperature(z, t, method="grid"),
    "negative_log_likelihood": lambda z, t: ov.calibration.negative_log_likelihood(
        z, t, temperature=TEMPERATURES
    ),
    "expected_calibration_error": ov.calibration.expected_calibration_error,
    "reliability_curve": ov.calibration.reliability_curve,
    "pairs": lambda z, t: ov.ensembles.pairs(z, t, temperature=TEMPERATURES, return_stats=True)[0],
    "pairs of logits": lambda z, t: ov.ensembles.pairs(z, t, combine="logit"),
    "predict": lambda z, _: [
        ov.ensembles.predict(z, combine=combine, weights=[1, 2, 3], members=[0, 3, 3])
        for combine in ("prob", "logit", "vote", "max")
    ],
    "accuracy of an ensemble": ov.ensembles.accuracy,
    "greedy": lambda z, t: ov.ensembles.greedy(z, t, max_size=4, replacement=True),
    "greedy on a half": lambda z, t: ov.ensembles.greedy(z, t, holdout=0.5, combine="logit"),
    "greedy by likelihood": lambda z, t: ov.ensembles.greedy(z, t, metric="nll", holdout=[0, 5]),
    "what_to_add": lambda z, t: ov.ensembles.what_to_add(z, t, base=[1, 2]),
    "specialization": ov.ensembles.specialization,
    "specialization by class": lambda z, t: ov.ensembles.specialization(z, t, base=0).by_class(1),
    "compare": lambda z, t: ov.compare(z, t),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_function_gives_what_the_cpu_gives(name: str, rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    check(CALLS[name], logits, target, Producer(logits), Producer(target))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["compare", "specialization", "greedy", "joint_agreement"])
def test_every_element_type(name: str, kind: str, rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    values = logits.astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    bits = values.view(np.uint16) if kind == "bfloat16" else values
    there = [Producer(model, kind) for model in bits]
    check(CALLS[name], values, target, there, Producer(target))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint32", "int64"])
def test_predictions(kind: str, rng: np.random.Generator) -> None:
    target = rng.integers(0, 7, 130)
    preds = rng.integers(0, 7, (4, 130)).astype(kind)
    for name in ("pack_errors", "ignore_index", "joint_agreement", "same_wrong_answer"):
        check(CALLS[name], preds, target, Producer(preds), Producer(target))


def test_samples_without_a_prediction(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    logits[1, 7, 3] = np.nan
    logits[2, 9:11] = -np.inf
    there, of = Producer(logits), Producer(target)
    with pytest.raises(ValueError, match="model 1 has 1 sample without a prediction .* sample 7"):
        ov.pack_errors(there, of)
    for call in (
        lambda z, t: ov.pack_errors(z, t, nan_policy="omit"),
        lambda z, t: ov.JointErrors.from_errors(ov.pack_errors(z, t, nan_policy="omit")),
        lambda z, t: ov.pairwise.error_correlation(ov.pack_errors(z, t, nan_policy="omit")),
    ):
        check(call, logits, target, there, of)
    for function in (ov.calibration.fit_temperature, ov.ensembles.pairs, ov.pairwise.capa):
        with pytest.raises(ValueError, match="model 1|is on cuda:0"):
            function(there, of)


def test_errors_of_a_gpu_are_errors_like_any(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    errors = ov.pack_errors(Producer(logits), Producer(target))
    expected = ov.pack_errors(logits, target)
    assert errors == expected
    assert errors.library == "cuda:0"
    assert repr(errors) == repr(expected)
    np.testing.assert_array_equal(errors.wrong(), expected.wrong())
    with pytest.raises(ValueError, match="read-only"):
        errors.words[0, 0] = 1
    some = errors.select([2, 0])
    assert some == expected.select([2, 0])
    joint = ov.pairwise.joint_errors(some)
    assert type(joint).__name__ == "DeviceArray"
    twice = ov.ErrorBits.concatenate([errors, errors])
    assert twice == ov.ErrorBits.concatenate([expected, expected])
    np.testing.assert_array_equal(
        ov.JointErrors.from_errors(twice).joint, 2 * ov.JointErrors.from_errors(expected).joint
    )


def test_errors_of_a_gpu_can_be_copied(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    errors = ov.pack_errors(Producer(logits), Producer(target))
    for twin in (copy.deepcopy(errors), pickle.loads(pickle.dumps(errors))):
        assert twin == errors
        assert twin.library == "cuda:0"
    with pytest.raises(TypeError, match="words must be an .* uint64 array, got DeviceArray"):
        ov.ErrorBits(errors._words_in_place(), N_SAMPLES)
    indices = Producer(np.array([3, 1]))
    assert errors.select(_arrays.adopt(indices, "models")) == errors.select([3, 1])


def test_pairs_block_by_block(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = problem(rng)
    monkeypatch.setattr("ovcore.ensembles._pairs._GPU_BLOCK_BYTES", 1)  # 64 samples a block
    check(CALLS["pairs"], logits, target, Producer(logits), Producer(target))


def test_classes_past_63_bits_are_refused_as_on_the_cpu() -> None:
    far = np.array([2**64 - 1, 3], np.uint64)
    for preds in ([far, np.array([-1, 3])], [far, far + np.uint64(0)]):
        for models in (preds, [Producer(classes) for classes in preds]):
            with pytest.raises(ValueError, match=r"classes must span .* below 2\^63"):
                ov.pairwise.joint_agreement(models)


def test_temperatures_come_back_beside_the_logits(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    there = Producer(logits, device=1), Producer(target, device=1)
    for split in ((logits, target), (Producer(logits), Producer(target))):
        result = ov.compare(*there, calibration_split=split)
        assert result.temperature.__dlpack_device__() == (2, 1)


def test_labels_of_a_comparison_on_a_gpu(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    names = [f"net {m}" for m in range(N_MODELS)]
    here = ov.compare(logits, target, models=names, temperature=1.0)
    there = ov.compare(Producer(logits), Producer(target), models=names, temperature=1.0)
    assert there.to_pandas().equals(here.to_pandas())
    np.testing.assert_array_equal(there.clustered_order(), here.clustered_order())
    assert there.table("net 2") == here.table("net 2")
    assert there.n_samples == N_SAMPLES


def test_what_has_no_kernel_is_refused_with_advice(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    there, of = Producer(logits), Producer(target)
    for call in (
        lambda: ov.calibration.brier_score(there, of),
        lambda: ov.calibration.expected_calibration_error(there, of, kind="classwise"),
        lambda: ov.pairwise.capa(there, of),
        lambda: ov.pairwise.capa([there], of),
        lambda: ov.calibration.TemperatureScaler().fit(there, target),
        lambda: ov.TopK(Producer(target[:, None]), Producer(logits[0, :, :1]), 9),
    ):
        with pytest.raises(ValueError, match=r"is on cuda:0, but .* in host memory.*\.cpu\(\)"):
            call()


def test_candidates_of_very_many_classes_are_refused() -> None:
    logits = np.zeros((2, 1, 393_217), np.float16)
    logits[[0, 1], 0, [5, 7]] = 1
    there, of = Producer(logits), Producer(np.array([7]))
    assert ov.pack_errors(there, of).accuracy().numpy().tolist() == [0, 1]
    with pytest.raises(ValueError, match="more than 393216 classes are not scored on GPUs"):
        ov.ensembles.pairs(there, of)


@pytest.mark.parametrize("capability", ["75", "80", "90", "100"])
def test_joint_errors_by_each_method(
    capability: str, gpus: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chips differ in what counts bits fastest: all methods count the same."""
    monkeypatch.setenv("OVCORE_SIMT_CAPABILITY", capability)
    words = rng.integers(0, 2**64, (150, 32), dtype=np.uint64)
    expected = ov.pairwise.joint_errors(ov.ErrorBits(words, 32 * 64))
    kernels = on_gpu.OnGpu(gpus)
    np.testing.assert_array_equal(kernels.joint_errors(words, 1, None), expected)
    has = {"75": ["popcount"], "80": ["popcount", "mma"], "100": ["popcount"]}
    for method in ("popcount", "mma", "wgmma"):
        if method in has.get(capability, [method]):
            found = kernels.joint_errors(words, 1, None, method=method)
            np.testing.assert_array_equal(found, expected)
        else:
            with pytest.raises(RuntimeError, match="cudaErrorNotSupported"):
                kernels.joint_errors(words, 1, None, method=method)


@pytest.mark.parametrize("capability", ["80", "90"])
def test_tensor_cores_that_count_wrong_are_not_used(
    capability: str, gpus: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is tried on a small problem first, once on each GPU; so here on one of its own."""
    monkeypatch.setenv("OVCORE_SIMT_DEVICES", "4")
    monkeypatch.setenv("OVCORE_SIMT_CAPABILITY", capability)
    monkeypatch.setenv("OVCORE_SIMT_FAULT", "tensor cores")
    words = rng.integers(0, 2**64, (150, 32), dtype=np.uint64)
    expected = ov.pairwise.joint_errors(ov.ErrorBits(words, 32 * 64))
    with pytest.warns(RuntimeWarning, match="are wrong on this GPU: counting without tensor cores"):
        found = gpus.joint_errors(on_gpu.put(words, device=3), 1, None)
    np.testing.assert_array_equal(found, expected)
    found = gpus.joint_errors(on_gpu.put(words, device=3), 1, None)  # told once
    np.testing.assert_array_equal(found, expected)
    method = "mma" if capability == "80" else "wgmma"
    wrong = gpus.joint_errors(on_gpu.put(words, device=3), 1, None, method=method)  # as named
    assert (wrong != expected).any()


def test_kernels_are_timed_on_request(gpus: Any, rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    there, of = Producer(logits), Producer(target)
    ov.pack_errors(there, of)
    assert gpus.measured() == []
    gpus.measure(True)
    try:
        ov.ensembles.pairs(there, of)
    finally:
        gpus.measure(False)
    names = [name for name, milliseconds in gpus.measured() if milliseconds >= 0]
    assert names == [
        "pack_errors", "joint_errors", "count_candidates", "list_candidates", "candidate_scores",
        "pair_ensemble_hits",
    ]  # fmt: skip
    assert gpus.measured() == []
