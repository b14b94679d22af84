"""pack_errors: missing and ignored samples, stored top-k outputs, arrays of any library."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import ovcore as ov

DTYPES = ["float32", "float64", "float16", "bfloat16"]


def wrong_by_numpy(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(M, N) bool; float32 holds all 16-bit values."""
    return logits.astype(np.float32).argmax(axis=-1) != target


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", [1, 2, 10, 1000])
def test_fifty_thousand_samples(
    backend: str, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    n_samples = 50_000 if n_classes < 1000 else 5_000
    target = rng.integers(0, n_classes, n_samples)
    logits = rng.normal(size=(2, n_samples, n_classes)).astype(np.float32)
    logits[1, :, 0] = logits[1].max(axis=1)  # ties that the lowest class wins
    typed = logits.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    errors = ov.pack_errors(typed, target, backend=backend)
    np.testing.assert_array_equal(errors.wrong(), wrong_by_numpy(typed, target))


@pytest.mark.parametrize("n_samples", [1, 63, 64, 65, 127, 1000])
def test_omitted_samples_count_for_no_pair_they_are_missing_from(
    backend: str, n_samples: int, rng: np.random.Generator
) -> None:
    target = rng.integers(0, 4, n_samples)
    logits = rng.normal(size=(5, n_samples, 4)).astype(np.float32)
    missing = rng.random((5, n_samples)) < 0.2
    missing[0] = False
    missing[4] = True  # a model without any prediction
    logits[missing] = np.where(rng.random((missing.sum(), 1)) < 0.5, np.nan, -np.inf)
    logits[1, :, 2][~missing[1]] = np.inf
    errors = ov.pack_errors(logits, target, nan_policy="omit", backend=backend)
    wrong = (logits.argmax(axis=2) != target) & ~missing
    np.testing.assert_array_equal(errors.wrong(), wrong)
    np.testing.assert_array_equal(errors.n_present(), (~missing).sum(axis=1))
    assert np.isnan(errors.accuracy()[4])

    counts = ov.JointErrors.from_errors(errors, backend=backend)
    have, bad = (~missing).astype(np.int64), wrong.astype(np.int64)
    np.testing.assert_array_equal(counts.joint, bad @ bad.T)
    np.testing.assert_array_equal(counts.shared, have @ have.T)
    np.testing.assert_array_equal(counts.wrong_shared, bad @ have.T)
    assert np.isnan(ov.pairwise.error_inconsistency(counts)[4]).all()

    whole = np.arange(n_samples)
    parts = [rows for rows in (whole[: n_samples // 2], whole[n_samples // 2 :]) if len(rows)]
    merged = ov.JointErrors.empty(5)
    for rows in parts:
        packed = ov.pack_errors(logits[:, rows], target[rows], nan_policy="omit", backend=backend)
        merged += ov.JointErrors.from_errors(packed, backend=backend)
    assert merged == counts


def test_counts_with_and_without_missing_samples_merge(rng: np.random.Generator) -> None:
    target = rng.integers(0, 4, 300)
    logits = rng.normal(size=(3, 300, 4))
    holed = logits.copy()
    holed[1, 200:250] = np.nan

    def count(values: np.ndarray, rows: slice) -> ov.JointErrors:
        packed = ov.pack_errors(values[:, rows], target[rows], nan_policy="omit")
        return ov.JointErrors.from_errors(packed)

    complete, incomplete = count(holed, slice(0, 200)), count(holed, slice(200, 300))
    assert complete.shared is None
    assert incomplete.shared is not None
    whole = count(holed, slice(0, 300))
    assert complete + incomplete == incomplete + complete == whole
    assert whole != count(logits, slice(0, 300))


def test_the_first_sample_without_a_prediction_is_named() -> None:
    logits = np.zeros((2, 100, 3))
    logits[1, [17, 40]] = np.nan
    with pytest.raises(ValueError, match="model 1 has 2 samples.*first at sample 17; nan_policy="):
        ov.pack_errors(logits, np.zeros(100, int))
    with pytest.raises(ValueError, match="nan_policy must be 'raise' or 'omit', got 'drop'"):
        ov.pack_errors(logits, np.zeros(100, int), nan_policy="drop")


@pytest.mark.parametrize("as_logits", [True, False])
def test_ignored_samples_are_dropped(
    backend: str, as_logits: bool, rng: np.random.Generator
) -> None:
    target = rng.integers(0, 6, 500)
    logits = rng.normal(size=(3, 500, 6))
    ignored = rng.random(500) < 0.3
    logits[2, ignored] = np.nan  # what is ignored need not be valid
    labels = np.where(ignored, -100, target)
    data: Any = logits if as_logits else np.nan_to_num(logits).argmax(axis=2)
    errors = ov.pack_errors(data, labels, ignore_index=-100, backend=backend)
    expected = ov.pack_errors(data[:, ~ignored], target[~ignored], backend=backend)
    assert errors == expected
    assert errors.n_samples == (~ignored).sum()
    with pytest.raises(ValueError, match=r"target\[\d+\] is -100"):
        ov.pack_errors(data, labels, backend=backend)
    with pytest.raises(ValueError, match="all 500 samples have the ignored target 7"):
        ov.pack_errors(data, np.full(500, 7), ignore_index=7, backend=backend)


@pytest.mark.parametrize("wrong", ["2", 2.5, float("nan"), [2], (2, 3), True, np.array([2, 2])])
def test_an_ignore_index_is_an_integer(wrong: Any) -> None:
    with pytest.raises(TypeError, match="ignore_index must be an integer or None, got"):
        ov.pack_errors([[0, 1, 0, 0]], [0, 1, 2, 2], ignore_index=wrong)
    for right in (np.int8(2), torch.tensor(2)):
        errors = ov.pack_errors([[0, 1, 0, 0]], [0, 1, 2, 2], ignore_index=right)
        assert errors.n_samples == 2


def test_ignored_and_omitted_together(rng: np.random.Generator) -> None:
    target = rng.integers(0, 3, 200)
    logits = rng.normal(size=(2, 200, 3))
    logits[0, 50:80] = np.nan
    target[60:100] = -1
    errors = ov.pack_errors(logits, target, nan_policy="omit", ignore_index=-1)
    keep = target >= 0
    assert errors == ov.pack_errors(logits[:, keep], target[keep], nan_policy="omit")
    np.testing.assert_array_equal(errors.n_present(), [150, 160])


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_top_k_outputs_predict_their_best_class(library: str, rng: np.random.Generator) -> None:
    target = rng.integers(0, 50, 400)
    logits = rng.integers(0, 12, (3, 400, 50)).astype(np.float32)  # many ties at the top
    classes = np.argsort(-logits, axis=2, kind="stable")[:, :, :20]
    probs = np.take_along_axis(logits, classes, axis=2)
    shuffled = rng.permuted(np.tile(np.arange(20), (3, 400, 1)), axis=2)
    classes = np.take_along_axis(classes, shuffled, axis=2)
    probs = np.take_along_axis(probs, shuffled, axis=2).astype(np.float16)
    if library == "torch":
        classes, probs = torch.from_numpy(classes), torch.from_numpy(probs)
    top = ov.TopK(classes, probs, n_classes=50)
    expected = ov.pack_errors(logits, target)
    assert ov.pack_errors(top, target) == expected
    errors = ov.pack_errors([top[0], top[1], top[2]], target)
    assert errors == expected
    assert errors.library == library
    np.testing.assert_array_equal(
        np.asarray(ov.pairwise.joint_agreement(top)), ov.pairwise.joint_agreement(logits)
    )


def test_top_k_rows_without_a_prediction() -> None:
    classes = np.tile(np.array([1, 0, 2]), (1, 5, 1))
    probs = np.ones((1, 5, 3))
    probs[0, 3, 1] = np.nan
    top = ov.TopK(classes, probs, 3)
    assert top.predictions().tolist() == [[0, 0, 0, -1, 0]]
    with pytest.raises(ValueError, match="model 0 has 1 sample without a prediction"):
        ov.pack_errors(top, np.zeros(5, int))
    assert ov.pack_errors(top, np.zeros(5, int), nan_policy="omit").n_present() == 4


@pytest.mark.parametrize(
    ("classes", "probs", "n_classes", "error", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), 5, TypeError, "classes must be integer"),
        (np.zeros((2, 3), int), np.zeros((2, 3), int), 5, TypeError, "probs must be floating"),
        (np.zeros((2, 3), int), np.zeros((2, 4)), 5, ValueError, "got (2, 3) and (2, 4)"),
        (np.zeros((2, 3), int), np.zeros((2, 3)), 2, ValueError, "k must be in 1..n_classes = 2"),
        (np.full((2, 3), 5), np.zeros((2, 3)), 5, ValueError, "classes must be in 0..4, got 5"),
        (np.full((2, 3), -1), np.zeros((2, 3)), 5, ValueError, "classes must be in 0..4, got -1"),
    ],
)
def test_bad_top_k_is_named(
    classes: Any, probs: Any, n_classes: int, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        ov.TopK(classes, probs, n_classes)
    assert message in str(raised.value)


def test_top_k_is_refused_where_all_confidences_are_needed() -> None:
    top = ov.TopK(np.zeros((1, 4, 1), int), np.ones((1, 4, 1)), 3)
    with pytest.raises(TypeError, match="stored top-k outputs, which do not carry all confidences"):
        ov.calibration.fit_temperature(top, np.zeros(4, int))
    with pytest.raises(TypeError, match="pass the same kind for all models"):
        ov.pack_errors([top[0], np.zeros((4, 3))], np.zeros(4, int))


def test_real_top_5_predictions(real_data: Any) -> None:
    data, reference = real_data("imagenet_top5_dev.npz")
    top = ov.TopK(data["preds"], data["probs"], n_classes=1000)
    errors = ov.pack_errors(top, data["labels"])
    right = len(data["labels"]) - errors.n_wrong()
    # float16 made a few rows tie at the top; there the lowest class wins, not the published one
    first, second = data["probs"][:, :, 0], data["probs"][:, :, 1]
    tied = (first == second).sum(axis=1)
    assert (abs(right - np.array(reference["top1_correct"])) <= tied).all()


class OnlyDlpack:
    """An array of a library that ovcore has never heard of, and that tells nothing but this."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


def test_objects_that_offer_dlpack_alone(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = rng.integers(0, 5, 100)
    logits = rng.normal(size=(2, 100, 5)).astype(np.float32)
    expected = ov.pack_errors(logits, target)
    assert ov.pack_errors(OnlyDlpack(logits), OnlyDlpack(target)) == expected
    assert ov.pack_errors([OnlyDlpack(z) for z in logits], target) == expected
    tensor = torch.from_numpy(logits).bfloat16()
    foreign = [OnlyDlpack(z) for z in tensor]  # numpy refuses bfloat16 there
    assert ov.pack_errors(foreign, target) == ov.pack_errors(tensor, target)

    class WithArray(OnlyDlpack):
        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            return tensor[0].float().numpy().astype(ml_dtypes.bfloat16)

    monkeypatch.delitem(sys.modules, "torch")
    assert ov.pack_errors([WithArray(tensor[0])], target) == ov.pack_errors(
        [tensor[0].float().numpy()], target
    )
    with pytest.raises(TypeError, match=r"\[0\] offers __dlpack__ but cannot be imported"):
        ov.pack_errors([OnlyDlpack(tensor[0])], target)


def test_an_object_with_dlpack_alone_on_a_gpu_gets_advice() -> None:
    class OnGpu(OnlyDlpack):
        def __dlpack_device__(self) -> Any:
            return (2, 0)

    with pytest.raises(ValueError, match=r"\[0\] is on cuda:0, but .* in host memory"):
        ov.pack_errors([OnGpu(np.zeros((4, 3)))], OnGpu(np.zeros(4, int)))


def test_memory_maps_are_read_in_place(tmp_path: Path) -> None:
    """Packing 256 MB of mapped logits takes a few megabytes of memory of the process's own."""
    path = tmp_path / "logits.npy"
    shape = (4, 8_000, 4_000)
    logits = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    logits[:, :, 7] = 1
    logits[2, 5_000:, 3] = 2
    logits.flush()
    code = """
import sys
from pathlib import Path
import numpy as np, ovcore as ov
def own_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
logits = np.load(sys.argv[1], mmap_mode="r")
target = np.full(logits.shape[1], 7)
ov.pack_errors(logits[:1, :64], target[:64])  # what is loaded at the first call
before = own_memory()
errors = ov.pack_errors(logits, target)
print(own_memory() - before, *errors.n_wrong())
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory of a process is read from /proc")
    outcome = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    grown, *n_wrong = outcome.stdout.split()
    assert n_wrong == ["0", "0", "3000", "0"]
    assert float(grown) < 32


def test_progress_is_shown_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ovcore import _progress

    with _progress.bar("counting") as progress:
        assert progress is None  # stderr is no terminal here
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with _progress.bar("counting") as progress:
        assert progress is not None
        progress(1, 4)
        progress(4, 4)
    assert "counting" not in capsys.readouterr().err  # nor is a short job worth a bar


def test_counting_needs_no_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stderr in (None, closed, object()):
        monkeypatch.setattr(sys, "stderr", stderr)
        assert ov.pack_errors([[0]], [0]).n_models == 1
