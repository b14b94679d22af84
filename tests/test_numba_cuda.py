"""The kernels of backend "numba-cuda": simulated, compiled without a GPU, and refused without one.

numba's simulator is chosen when numba is imported, so tests named simulated_* run in a process of
their own. It takes milliseconds a thread: sizes are small and most blocks have fewer threads.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import types
from typing import Any

import ml_dtypes
import numba
import numpy as np
import pytest
from numba import cuda, int64, uint64

import ovcore as ov
from ovcore import _dispatch, _reference
from ovcore._arrays import Typed

_KERNELS = {"pack_errors", "joint_errors"}
_IN_HOST_MEMORY = {"center_rows"}  # on GPUs the arrays' own libraries do it
_DTYPES = ["float32", "float64", "float16", "bfloat16"]


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_kernels_in_the_simulator() -> None:
    only = ("-o", "python_functions=simulated_*")
    pytest_run = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *only, __file__)
    outcome = run_python(*pytest_run, NUMBA_ENABLE_CUDASIM="1")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert " passed" in outcome.stdout
    assert " skipped" not in outcome.stdout


@pytest.fixture
def module() -> Any:
    """With numba's compiler for GPUs, which comes with a CUDA toolkit."""
    from numba.cuda.cudadrv import nvvm

    from ovcore import _numba_cuda

    if not nvvm.is_available():
        pytest.skip("no CUDA toolkit: libNVVM is not found")
    return _numba_cuda


def ptx(kernel: Any, *signature: Any) -> str:
    """What a kernel compiles to for a GPU of compute capability 8.0; needs no GPU."""
    return cuda.compile_ptx(kernel.py_func, signature, cc=(8, 0))[0]


@pytest.mark.parametrize("layout", ["C", "A"])
@pytest.mark.parametrize("element", [numba.int16, numba.int32, numba.int64])
def test_packing_of_logits_compiles(module: Any, element: Any, layout: str) -> None:
    logits = numba.types.Array(element, 2, layout)
    outputs = (uint64[:, ::1], numba.int32[:, ::1], int64[::1])
    code = ptx(module._pack_logits, logits, element, int64[::1], int64, *outputs)
    assert "bar.sync" in code
    assert ".f32" not in code  # floats are compared as integers
    assert ".f64" not in code


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_packing_of_classes_compiles(module: Any, name: str) -> None:
    classes = getattr(numba, name)[:]
    code = ptx(module._pack_classes, classes, int64[::1], int64, uint64[:, ::1])
    assert ".f64" not in code


def test_counting_of_joint_errors_compiles(module: Any) -> None:
    assert "st.global" in ptx(module._clear, int64[:, ::1])
    counting = ptx(module._joint_errors, uint64[:, ::1], int64, int64, int64[:, ::1])
    assert "popc.b64" in counting
    assert ".local" not in counting  # a thread's counts stay in registers


@pytest.mark.gpu
def test_kernels_on_a_gpu(rng: np.random.Generator) -> None:
    """With numba's own arrays, so that cupy need not be there."""
    from ovcore import _numba_cuda

    try:
        _numba_cuda.devices()
    except RuntimeError as error:
        pytest.skip(str(error))
    target = rng.integers(0, 100, 5000)
    logits = [as_bits(rng.normal(size=(5000, 100)), dtype) for dtype in _DTYPES]
    logits[1].values[7] = np.nan
    classes = [rng.integers(0, 100, 5000).astype(kind) for kind in ("int8", "uint64", "int32")]
    for models in (logits, classes):
        words = np.full((len(models), 80), 0xDEADBEEF, np.uint64)
        preds = np.full((len(models), 5000), 77, np.int32)
        there = [cuda.to_device(array) for array in (target, words, preds)]
        on_gpu = [
            model._replace(values=cuda.to_device(model.values))
            if isinstance(model, Typed)
            else cuda.to_device(model)
            for model in models
        ]
        without = _numba_cuda.pack_errors(on_gpu, *there, 1, None)
        assert without == _reference.pack_errors(models, target, words, preds, 1, None)
        np.testing.assert_array_equal(there[1].copy_to_host(), words)
        np.testing.assert_array_equal(there[2].copy_to_host(), preds)
    for shape in ((1, 1), (3, 5000), (130, 784)):
        words = rng.integers(0, 2**64, shape, dtype=np.uint64)
        joint = _numba_cuda.joint_errors(cuda.to_device(words), 1, None)
        np.testing.assert_array_equal(joint, _reference.joint_errors(words, 1, None))


def test_without_a_gpu_it_is_unavailable_and_says_why() -> None:
    """Whatever GPUs there are: the driver is told to show none."""
    code = """
from ovcore import _dispatch, _numba_cuda
for call in (_numba_cuda.devices, lambda: _dispatch.choose("numba-cuda", "cupy:cuda:0")):
    try:
        call()
    except RuntimeError as error:
        print(type(error).__name__, error)
print(_dispatch.info()["backend numba-cuda"])
"""
    outcome = run_python("-W", "error", "-c", code, CUDA_VISIBLE_DEVICES="")
    assert outcome.returncode == 0, outcome.stderr
    plain, chosen, told = outcome.stdout.splitlines()
    assert plain.startswith("RuntimeError no CUDA device: ")
    assert len(plain) > len("RuntimeError no CUDA device: ")
    why = plain.removeprefix("RuntimeError ")
    assert chosen == f"BackendUnavailableError backend 'numba-cuda' cannot run: {why}"
    assert told == f"missing: backend 'numba-cuda' cannot run: {why}"


def test_without_a_cuda_target_it_cannot_be_imported() -> None:
    """As in a numba that leaves it to the package numba-cuda, where that is not installed."""
    code = """
import sys
sys.modules["numba.cuda"] = None
from ovcore import _dispatch
try:
    _dispatch.choose("numba-cuda", "cupy:cuda:0")
except _dispatch.BackendUnavailableError as error:
    print(error)
"""
    outcome = run_python("-c", code)
    assert "backend 'numba-cuda' cannot run: it needs cupy, and numba" in outcome.stdout


def test_arrays_in_host_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", "numba-cuda")
    with pytest.raises(ov.BackendUnavailableError, match="reads arrays on NVIDIA GPUs, but these"):
        ov.pack_errors(np.array([[0, 1, 2]]), np.array([0, 1, 1]))


def test_kernels_that_only_the_compiled_module_has() -> None:
    from ovcore import _numba_cuda

    offered = {name for name in vars(_dispatch.Backend) if not name.startswith("_")}
    assert offered > _KERNELS | _IN_HOST_MEMORY
    for name in offered - _KERNELS - _IN_HOST_MEMORY:
        with pytest.raises(RuntimeError, match=f"has no kernel {name}: .*OVCORE_CUDA=ON"):
            getattr(_numba_cuda, name)
    for name in _KERNELS:
        assert callable(getattr(_numba_cuda, name))
    for name in (*_IN_HOST_MEMORY, "no_such_kernel"):
        assert not hasattr(_numba_cuda, name)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The backend in the simulator, its blocks with as few threads as they can have."""
    assert numba.config.ENABLE_CUDASIM
    from ovcore import _numba_cuda

    monkeypatch.setattr(_numba_cuda, "_THREADS", 64)
    return _numba_cuda


@pytest.fixture
def small_tiles(simulated: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(simulated, "_SIDE", 2)
    monkeypatch.setattr(simulated, "_TILE", 4)
    monkeypatch.setattr(simulated, "_STAGE_ROWS", (8, simulated._STAGE + 1))
    return simulated


def as_bits(values: np.ndarray, dtype: str) -> Typed:
    if dtype == "bfloat16":
        return Typed(values.astype(ml_dtypes.bfloat16).view(np.uint16), dtype)
    return Typed(values.astype(dtype), dtype)


def check_pack(module: Any, models: list[Any], target: np.ndarray, with_preds: bool = True) -> None:
    """Against the oracle, into poisoned outputs with a word more than samples need."""
    results = []
    for kernels in (module, _reference):
        words = np.full((len(models), -(-len(target) // 64) + 1), 0xDEADBEEF, np.uint64)
        preds = np.full((len(models), len(target)), 77, np.int32) if with_preds else None
        without = kernels.pack_errors(models, target, words, preds, 1, None)
        assert all(type(count) is int for count in without)
        results.append((words, preds, without))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    if with_preds:
        np.testing.assert_array_equal(results[0][1], results[1][1])
    assert results[0][2] == results[1][2]


@pytest.mark.parametrize("n_samples", [0, 1, 63, 64, 65, 127, 200])
def simulated_packing_equals_the_oracle(
    simulated: Any, n_samples: int, rng: np.random.Generator
) -> None:
    target = rng.integers(0, 2, n_samples)
    for n_classes, dtype in zip((10, 65, 2, 1), _DTYPES, strict=True):
        logits = as_bits(rng.normal(size=(n_samples, n_classes)), dtype)
        check_pack(simulated, [logits], target)


def simulated_packing_with_blocks_as_shipped(rng: np.random.Generator) -> None:
    from ovcore import _numba_cuda

    logits = as_bits(rng.normal(size=(70, 100)), "float32")
    check_pack(_numba_cuda, [logits], rng.integers(0, 100, 70))


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("n_classes", [1, 3, 40])
def simulated_ties_zeros_infinities_and_nan(
    simulated: Any, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    values = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan, -np.nan])
    chance = np.array([0.3, 0.2, 0.2, 0.2, 0.05, 0.03, 0.01, 0.01])
    logits = rng.choice(values, size=(60, n_classes), p=chance)
    logits[:5] = [[-np.inf], [np.nan], [-np.nan], [np.inf], [-0.0]]
    check_pack(simulated, [as_bits(logits, dtype)], rng.integers(0, n_classes, 60))


@pytest.mark.parametrize("dtype", _DTYPES)
def simulated_any_bits(simulated: Any, dtype: str, rng: np.random.Generator) -> None:
    """Every exponent, subnormals, infinities and NaNs of both signs."""
    size = 2 if dtype.endswith("16") else np.dtype(dtype).itemsize
    values = np.frombuffer(rng.bytes(64 * 5 * size), f"u{size}").reshape(64, 5)
    logits = Typed(values if dtype == "bfloat16" else values.view(dtype), dtype)
    check_pack(simulated, [logits], rng.integers(0, 5, 64))


def simulated_ties_are_settled_for_the_lowest_class(simulated: Any) -> None:
    """Also where threads that read later classes are the first to meet the largest."""
    logits = np.zeros((4, 100))
    logits[0, [40, 70, 99]] = 1
    logits[1, [31, 32, 33]] = 1
    logits[2] = -np.inf
    logits[2, [64, 96]] = -5
    words, preds = np.zeros((1, 1), np.uint64), np.full((1, 4), 77, np.int32)
    target = np.array([40, 32, 64, 1])
    assert simulated.pack_errors([Typed(logits, "float64")], target, words, preds, 1, None) == [0]
    assert preds.tolist() == [[40, 31, 64, 0]]
    assert words.tolist() == [[0b1010]]


def simulated_strided_and_read_only_rows(simulated: Any, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(70, 24)).astype(np.float32)[:, 5:12]
    logits.flags.writeable = False
    target = rng.integers(0, 7, 70)
    check_pack(simulated, [Typed(logits, "float32"), Typed(logits[::-1], "float32")], target)


def simulated_models_of_different_types(simulated: Any, rng: np.random.Generator) -> None:
    models = [
        as_bits(rng.normal(size=(65, n_classes)), dtype)
        for dtype, n_classes in zip(_DTYPES, (7, 9, 40, 1), strict=True)
    ]
    models[1].values[7] = np.nan
    models[3].values[:3] = 0xFF80  # -inf
    target = rng.integers(0, 7, 65)
    check_pack(simulated, models, target)
    check_pack(simulated, models[1:2], target, with_preds=False)


@pytest.mark.parametrize("n_samples", [0, 1, 63, 64, 127])
def simulated_packing_of_classes(simulated: Any, n_samples: int, rng: np.random.Generator) -> None:
    target = rng.integers(0, 3, n_samples)
    check_pack(simulated, [rng.integers(0, 3, n_samples)], target, with_preds=False)


def simulated_packing_of_classes_of_any_type(simulated: Any, rng: np.random.Generator) -> None:
    target = rng.integers(0, 3, 70)
    models = []
    for dtype in ("int8", "uint8", "int16", "uint32", "int64", "uint64"):
        info = np.iinfo(dtype)
        models.append(rng.choice(np.array([0, 1, 2, 3, info.min, info.max], dtype), 70))
    models[0] = np.repeat(models[0], 2)[::2]
    models[5] = models[5][::-1]
    check_pack(simulated, models, target, with_preds=False)


def check_joint(module: Any, words: np.ndarray) -> None:
    joint = module.joint_errors(words, 1, None)
    assert joint.dtype == np.int64
    np.testing.assert_array_equal(joint, _reference.joint_errors(words, 1, None))


@pytest.mark.parametrize("n_models", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("n_words", [0, 1, 15, 16, 17, 40])
def simulated_joint_errors_equal_the_oracle(
    small_tiles: Any, n_models: int, n_words: int, rng: np.random.Generator
) -> None:
    check_joint(small_tiles, rng.integers(0, 2**64, (n_models, n_words), dtype=np.uint64))


def simulated_joint_errors_with_tiles_as_shipped(simulated: Any, rng: np.random.Generator) -> None:
    check_joint(simulated, rng.integers(0, 2**64, (35, 17), dtype=np.uint64))


@pytest.mark.parametrize("n_words", [128, 200, 333])
def simulated_few_models_are_spread_over_words(
    small_tiles: Any, n_words: int, rng: np.random.Generator
) -> None:
    padded = rng.integers(0, 2**64, (3, n_words + 7), dtype=np.uint64)
    check_joint(small_tiles, padded[:, :n_words])


def simulated_blocks_past_the_last_do_nothing(
    small_tiles: Any, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """As on a GPU, where a launch has 128 blocks at least."""
    monkeypatch.setattr(small_tiles, "_FEWEST_BLOCKS", 9)
    check_joint(small_tiles, rng.integers(0, 2**64, (5, 3), dtype=np.uint64))
    target = rng.integers(0, 3, 65)
    check_pack(small_tiles, [as_bits(rng.normal(size=(65, 3)), "float32")], target)
    check_pack(small_tiles, [rng.integers(0, 3, 65)], target, with_preds=False)


class FakeCupy(types.ModuleType):
    """What ovcore looks up in cupy, on arrays of numpy's."""

    class ndarray(np.ndarray):
        device = types.SimpleNamespace(id=0)

        def get(self) -> np.ndarray:
            return np.array(self)

    cuda = types.SimpleNamespace(
        Device=contextlib.nullcontext, get_current_stream=lambda: types.SimpleNamespace(ptr=0)
    )

    def asarray(self, values: Any) -> np.ndarray:
        return np.array(values).view(self.ndarray)

    def empty(self, shape: Any, dtype: Any) -> np.ndarray:
        return self.asarray(np.full(shape, 77, dtype))


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where the compiled module is not built."""
    module = FakeCupy("cupy")
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "ovcore._cuda", None)
    _dispatch._load.cache_clear()
    yield module
    _dispatch._load.cache_clear()


@pytest.mark.usefixtures("small_tiles")
def simulated_calls_with_arrays_of_cupy(cupy: Any, rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(2, 70, 5)), rng.integers(0, 5, 70)
    expected = ov.pack_errors(logits, target)
    for given in (logits, logits.argmax(-1)):
        errors = ov.pack_errors(cupy.asarray(given), cupy.asarray(target))
        np.testing.assert_array_equal(errors.accuracy(), expected.accuracy())
        joint = ov.pairwise.joint_errors(errors)
        assert isinstance(joint, cupy.ndarray)
        np.testing.assert_array_equal(joint, ov.pairwise.joint_errors(expected))
    assert _dispatch.info()["backend numba-cuda"] == "numba's simulator"
