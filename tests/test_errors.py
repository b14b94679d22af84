"""ErrorBits and JointErrors: what users call, in any library, and what bad input gets."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import torch

import ovcore as ov


def random_preds(
    rng: np.random.Generator, n_models: int, n_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    target = rng.integers(0, 10, n_samples)
    preds = np.where(
        rng.random((n_models, n_samples)) < 0.7, target, rng.integers(0, 10, (n_models, n_samples))
    )
    return preds, target


@pytest.mark.parametrize("n_samples", [1, 63, 64, 65, 127, 1000, 1025])
@pytest.mark.parametrize("n_models", [1, 2, 3, 82])
def test_logits_and_preds_pack_alike(
    backend: str, n_models: int, n_samples: int, rng: np.random.Generator
) -> None:
    preds, target = random_preds(rng, n_models, n_samples)
    logits = np.eye(10, dtype=np.float32)[preds]
    from_preds = ov.pack_errors(preds, target, backend=backend)
    from_logits = ov.pack_errors(logits, target, backend=backend)
    np.testing.assert_array_equal(from_preds.words, from_logits.words)
    assert from_preds.words.shape[1] * 8 % 128 == 0
    np.testing.assert_array_equal(from_preds.n_wrong(), (preds != target).sum(axis=1))
    np.testing.assert_allclose(from_preds.accuracy(), (preds == target).mean(axis=1), rtol=1e-15)
    joint = ov.JointErrors.from_errors(from_preds, backend=backend).joint
    wrong = (preds != target).astype(np.int64)
    np.testing.assert_array_equal(joint, wrong @ wrong.T)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "uint64"])
def test_any_integer_type_of_predictions(dtype: str, rng: np.random.Generator) -> None:
    preds, target = random_preds(rng, 3, 200)
    packed = ov.pack_errors(preds.astype(dtype), target)
    np.testing.assert_array_equal(packed.words, ov.pack_errors(preds, target).words)
    packed = ov.pack_errors(preds, target.astype(dtype))
    np.testing.assert_array_equal(packed.words, ov.pack_errors(preds, target).words)


def test_every_form_of_input_packs_alike(rng: np.random.Generator) -> None:
    target = rng.integers(0, 5, 300)
    logits = rng.normal(size=(4, 300, 5)).astype(np.float16)
    expected = ov.pack_errors(logits, target).words
    tensor = torch.from_numpy(logits)
    forms: list[Any] = [
        logits.astype(np.float64),
        list(logits),
        tuple(torch.from_numpy(z) for z in logits),
        tensor,
        [tensor[0], *logits[1:]],
        [logits[0].astype(float).tolist(), *logits[1:].astype(float)],
        np.asfortranarray(logits).astype(np.float32, order="C"),
        np.concatenate([logits, logits], axis=2)[:, :, :5],
        np.concatenate([logits, logits], axis=1)[:, ::2][:, :0].shape and logits[:, :, :],
    ]
    for form in forms:
        np.testing.assert_array_equal(ov.pack_errors(form, target).words, expected)
    np.testing.assert_array_equal(ov.pack_errors(logits, torch.from_numpy(target)).words, expected)

    class Foreign:
        """An array of a library that ovcore has never heard of."""

        def __init__(self, values: np.ndarray) -> None:
            self.values = values
            self.shape, self.dtype = values.shape, values.dtype

        def __dlpack__(self, **options: Any) -> Any:
            return self.values.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return self.values.__dlpack_device__()

    foreign = [Foreign(z) for z in logits]
    np.testing.assert_array_equal(ov.pack_errors(foreign, target).words, expected)


def test_bfloat16_of_torch_and_ml_dtypes(backend: str, rng: np.random.Generator) -> None:
    target = rng.integers(0, 50, 300)
    tensor = torch.from_numpy(rng.normal(size=(2, 300, 50)).astype(np.float32)).bfloat16()
    expected = ov.pack_errors(tensor.float(), target).words
    np.testing.assert_array_equal(ov.pack_errors(tensor, target, backend=backend).words, expected)
    array = tensor.float().numpy().astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(ov.pack_errors(array, target, backend=backend).words, expected)


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    preds, target = random_preds(rng, 3, 100)
    errors = ov.pack_errors(torch.from_numpy(preds), torch.from_numpy(target))
    assert isinstance(errors.accuracy(), torch.Tensor)
    for metric in (ov.pairwise.joint_errors, ov.pairwise.error_inconsistency):
        result = metric(errors)
        assert isinstance(result, torch.Tensor)
        np.testing.assert_array_equal(result.numpy(), metric(ov.pack_errors(preds, target)))


def test_counts_of_shards_add_up(rng: np.random.Generator) -> None:
    preds, target = random_preds(rng, 5, 1000)
    whole = ov.JointErrors.from_errors(ov.pack_errors(preds, target))
    merged = ov.JointErrors.empty(5)
    for shard in np.split(np.arange(1000), [1, 64, 500]):
        merged += ov.JointErrors.from_errors(ov.pack_errors(preds[:, shard], target[shard]))
    assert merged == whole
    assert whole + ov.JointErrors.empty(5) == whole
    assert ov.JointErrors.empty(5) != whole


def test_merging_leaves_the_parts_alone(rng: np.random.Generator) -> None:
    preds, target = random_preds(rng, 2, 50)
    part = ov.JointErrors.from_errors(ov.pack_errors(preds, target))
    before = part.joint.copy()
    total = part + part
    total += part
    np.testing.assert_array_equal(part.joint, before)
    np.testing.assert_array_equal(total.joint, 3 * before)


def test_repr_tells_sizes_and_accuracies() -> None:
    errors = ov.pack_errors(np.array([[0, 0, 1, 1], [0, 0, 0, 1]]), np.zeros(4, int))
    assert repr(errors) == "ErrorBits(2 models x 4 samples, accuracy 0.5000 to 0.7500)"
    counts = ov.JointErrors.from_errors(errors)
    assert repr(counts) == "JointErrors(2 models x 4 samples, accuracy 0.5000 to 0.7500)"
    assert repr(ov.JointErrors.empty(2)) == "JointErrors(2 models x 0 samples)"


LOGITS = np.zeros((2, 4, 3))
TARGET = np.zeros(4, int)


@pytest.mark.parametrize(
    ("data", "target", "error", "message"),
    [
        (LOGITS, np.zeros(5, int), ValueError, "preds_or_logits has 4 samples but target has 5"),
        (np.zeros((2, 4), int), np.zeros(3, int), ValueError, "has 4 samples but target has 3"),
        (LOGITS[0], TARGET, ValueError, "for the logits of one model pass [logits]"),
        (np.zeros(4, int), TARGET, ValueError, "must be (M, N, K) logits or (M, N) integer"),
        (np.zeros((1, 1, 4, 3)), TARGET, ValueError, "got float64 (1, 1, 4, 3)"),
        (np.zeros((0, 4, 3)), TARGET, ValueError, "has no models"),
        ([], TARGET, ValueError, "has no models"),
        (np.zeros((2, 0, 3)), np.zeros(0, int), ValueError, "has no samples"),
        (np.zeros((2, 4, 0)), TARGET, ValueError, "has no classes"),
        ([LOGITS[0], LOGITS[0, :3]], TARGET, ValueError, "[1] has shape (3, 3)"),
        ([LOGITS[0], LOGITS[0, :, :2]], TARGET, ValueError, "[1] has shape (4, 2)"),
        ([LOGITS], TARGET, ValueError, "got shape (2, 4, 3)"),
        (LOGITS.astype(int), TARGET, TypeError, "has two axes, so (N, K) logits in float16"),
        (LOGITS.astype(complex), TARGET, TypeError, "got complex128"),
        (np.zeros((2, 4), bool), TARGET, TypeError, "so integer classes: got bool"),
        (LOGITS, np.zeros((4, 1), int), ValueError, "target must be (N,), got shape (4, 1)"),
        (LOGITS, np.zeros(4), TypeError, "target must be integer, got float64"),
        (LOGITS, np.array([0, 3, 1, -1]), ValueError, "target[1] is 3, expected a class in 0..2"),
        (np.zeros((2, 4), int), np.array([0, 3, 1, -1]), ValueError, "target[3] is -1"),
        (LOGITS, np.full(4, 2**63, np.uint64), ValueError, "target has a class beyond 2^63"),
        (LOGITS.transpose(0, 2, 1).copy().transpose(0, 2, 1), TARGET, ValueError, "not contiguous"),
    ],
)  # fmt: skip
def test_bad_input_is_named(
    data: Any, target: np.ndarray, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        ov.pack_errors(data, target)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_rows_without_prediction_name_the_model_and_the_count(backend: str, bad: float) -> None:
    logits = np.zeros((3, 100, 4), np.float32)
    logits[1, 7:9] = bad
    with pytest.raises(ValueError, match="model 1 has 2 samples without a prediction"):
        ov.pack_errors(logits, np.zeros(100, int), backend=backend)


def test_mixed_and_foreign_devices_are_named() -> None:
    target = np.zeros(4, int)
    meta = torch.zeros(4, 3, device="meta")
    with pytest.raises(ValueError, match=r"\[0\] is on cpu but preds_or_logits\[1\] is on meta"):
        ov.pack_errors([torch.zeros(4, 3), meta], target)
    with pytest.raises(ValueError, match="is on meta but target is on cpu"):
        ov.pack_errors([meta], target)
    with pytest.raises(
        ValueError, match="is on meta, where ovcore has no kernels: pass .* in host memory"
    ):
        ov.pack_errors([meta], torch.zeros(4, dtype=torch.int64, device="meta"))

    class OnGpu:
        shape, dtype = (4, 3), np.dtype(np.float32)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 1)

    with pytest.raises(ValueError, match=r"is on cuda:1 but target is on cpu"):
        ov.pack_errors([OnGpu()], target)


def test_what_is_no_plain_array_is_refused() -> None:
    with pytest.raises(TypeError, match=r"\[0\] is in foreign byte order \(>f4\)"):
        ov.pack_errors(LOGITS.astype(">f4"), TARGET)
    masked = np.ma.masked_array(TARGET, [True, False, False, False])
    with pytest.raises(TypeError, match="target is a masked array"):
        ov.pack_errors(LOGITS, masked)
    with pytest.raises(TypeError, match=r"\[0\] cannot be read as a plain array"):
        ov.pack_errors(torch.zeros(1, 4, 3).to_sparse(), TARGET)
    odd = np.zeros(LOGITS.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(LOGITS.shape)
    with pytest.raises(ValueError, match=r"\[0\] is not aligned"):
        ov.pack_errors(odd, TARGET)
    with pytest.raises(ValueError, match="joint must count from 0 to 5 errors a model, got 9 to 9"):
        ov.JointErrors(np.diag([9, 9]), 5)
    with pytest.raises(ValueError, match="bits past the last of 5 samples"):
        ov.ErrorBits(np.full((1, 1), 1 << 5, np.uint64), 5)
    with pytest.raises(ValueError, match="n_samples must be an integer >= 0 and <= 2.62, got -1"):
        ov.JointErrors(np.zeros((2, 2), np.int64), -1)


def test_data_frames_and_lists_are_predictions_too() -> None:
    expected = ov.pack_errors(np.array([[0, 1, 1, 0], [0, 0, 0, 0]]), TARGET).words
    frame = pd.DataFrame([[0, 1, 1, 0], [0, 0, 0, 0]])
    for form in (frame, frame.to_numpy().tolist()):
        np.testing.assert_array_equal(ov.pack_errors(form, TARGET.tolist()).words, expected)


def test_an_empty_accumulator_takes_the_library_of_what_is_merged(
    rng: np.random.Generator,
) -> None:
    preds, target = random_preds(rng, 2, 50)
    part = ov.JointErrors.from_errors(ov.pack_errors(torch.from_numpy(preds), target))
    total = ov.JointErrors.empty(2)
    total += part
    assert isinstance(total.accuracy(), torch.Tensor)
    assert isinstance((ov.JointErrors.empty(2) + part).accuracy(), torch.Tensor)
    with pytest.raises(TypeError, match="expected JointErrors to merge, got int"):
        total += 1  # type: ignore[arg-type]


def test_a_tensor_that_requires_grad_gets_advice() -> None:
    logits = torch.zeros(1, 4, 3, requires_grad=True)
    with pytest.raises(ValueError, match=r"requires grad: pass .*detach\(\)"):
        ov.pack_errors(logits, np.zeros(4, int))


def test_bad_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match="backend must be one of native, numba, cuda, .*reference: got .gpu."
    ):
        ov.pack_errors(LOGITS, TARGET, backend="gpu")
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        ov.pack_errors(LOGITS, TARGET, workers=0)
    with pytest.raises(ValueError, match="backend must be one of"):
        ov.pack_errors(np.zeros((2, 4), int), TARGET, backend="gpu")
    with pytest.raises(TypeError, match="workers must be an integer, got 2.5"):
        ov.pack_errors(LOGITS, TARGET, workers=2.5)  # type: ignore[arg-type]
    assert ov.pack_errors(LOGITS, TARGET, workers=10**12).n_models == 2
    with pytest.raises(ValueError, match="cannot merge counts of 2 and 3 models"):
        ov.JointErrors.empty(2) + ov.JointErrors.empty(3)
    with pytest.raises(ValueError, match="undefined"):
        ov.JointErrors.empty(2).accuracy()
    with pytest.raises(ValueError, match="words must be"):
        ov.ErrorBits(np.zeros((2, 1), np.uint64), 65)
    with pytest.raises(ValueError, match="joint must be"):
        ov.JointErrors(np.zeros((2, 3), np.int64), 5)
    monkeypatch.setenv("OVCORE_BACKEND", "fast")
    with pytest.raises(ValueError, match="OVCORE_BACKEND must be one of"):
        ov.pack_errors(LOGITS, TARGET)
    monkeypatch.setenv("OVCORE_BACKEND", "reference")
    assert ov.pack_errors(LOGITS, TARGET).n_models == 2


def test_bfloat16_is_no_integer() -> None:
    target = torch.tensor([0.0, 1.0]).bfloat16()
    with pytest.raises(TypeError, match="target must be integer, got bfloat16"):
        ov.pack_errors(np.array([[0, 1]]), target)
    with pytest.raises(TypeError, match="classes must be integer, got bfloat16"):
        ov.TopK(torch.zeros(2, 1).bfloat16(), torch.zeros(2, 1), 3)
    foreign = np.zeros((1, 2, 3), ml_dtypes.bfloat16)
    foreign = foreign.astype(foreign.dtype.newbyteorder(">"))
    with pytest.raises(TypeError, match="is in foreign byte order"):
        ov.pack_errors(foreign, np.zeros(2, int))
