"""What is asked of torch and cupy where arrays of theirs are on a GPU."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from typing import Any

import numpy as np
import pytest

import ovcore as ov
from on_gpu import Producer, put

pytestmark = pytest.mark.usefixtures("gpus")  # simulated ones

TARGET = np.array([0, 1, 2, 0])
LOGITS = np.array([[3, 1, 0, 0, 2, 1, 1, 0, 5, 9, 1, 1], [0, 1, 0, 4, 2, 1, 1, 0, 5, 1, 0, 5]])
LOGITS = LOGITS.reshape(2, 4, 3).astype(np.float32)
EXPECTED = ov.pack_errors(LOGITS, TARGET)


class FirstDevice:
    id = 0

    def __str__(self) -> str:
        return "cuda:0"


class FakeTensor(Producer):
    """A tensor as torch's and arrays as cupy's are, on a simulated GPU."""

    requires_grad = is_negated = False
    is_current = False  # its device: torch exports from that alone

    def __init__(self, values: np.ndarray) -> None:
        super().__init__(values)
        self.device = FirstDevice()
        self.dtype, self.shape = f"fake.{values.dtype.name}", values.shape

    def is_neg(self) -> bool:
        return self.is_negated

    def __dlpack__(self, **options: Any) -> Any:
        assert FakeTensor.is_current
        return super().__dlpack__(**options)

    def __getitem__(self, part: Any) -> Any:
        raise AssertionError("the whole is imported at once")


class FakeLibrary(types.ModuleType):
    """What ovcore asks of torch and of cupy, by their names for it."""

    uint8, bfloat16 = "uint8", "bfloat16"

    def __init__(self, name: str, stream: int) -> None:
        super().__init__(name)
        self.Tensor = self.ndarray = FakeTensor
        self.allocated: list[int] = []
        self.kept: list[Any] = []

        class Device:
            def __init__(self, number: int) -> None:
                assert number == 0

            def __enter__(self) -> None:
                FakeTensor.is_current = True

            def __exit__(self, *_: object) -> None:
                FakeTensor.is_current = False

        self.cuda = types.SimpleNamespace(
            Device=Device,
            device=Device,
            current_stream=lambda device: types.SimpleNamespace(cuda_stream=stream + device),
            get_current_stream=lambda: types.SimpleNamespace(ptr=stream),
        )

    def empty(self, n_bytes: int, dtype: Any, device: str = "cuda:0") -> Any:
        assert (dtype, device) in (("uint8", "cuda:0"), (np.uint8, "cuda:0"))
        self.allocated.append(n_bytes)
        memory = put(np.full(n_bytes, 0xA5, np.uint8))
        self.kept.append(weakref.ref(memory))
        pointer = types.SimpleNamespace(ptr=memory.address)
        return types.SimpleNamespace(data_ptr=lambda: memory.address, data=pointer, memory=memory)

    def from_numpy(self, values: np.ndarray) -> Any:
        return types.SimpleNamespace(to=lambda device: (device, values))

    def asarray(self, values: np.ndarray) -> Any:
        return ("cuda:0", values)


@pytest.mark.parametrize("name", ["torch", "cupy"])
@pytest.mark.parametrize("stream", [0, 1])
def test_libraries_that_are_known(name: str, stream: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their current stream is worked on, their memory is taken, their arrays are given back."""
    library = FakeLibrary(name, stream)
    monkeypatch.setitem(sys.modules, name, library)
    monkeypatch.delitem(sys.modules, "cupy" if name == "torch" else "torch", raising=False)
    logits, target = FakeTensor(LOGITS), FakeTensor(TARGET)
    errors = ov.pack_errors(logits, target)
    assert errors.library == f"{name}:cuda:0"
    assert logits.asked == [{"stream": 1, "max_version": (1, 0)}]
    device, accuracy = errors.accuracy()
    assert device == "cuda:0"
    np.testing.assert_array_equal(accuracy, EXPECTED.accuracy())
    assert library.allocated
    pairs = ov.ensembles.pairs(logits, target)
    np.testing.assert_array_equal(pairs.hits[1], ov.ensembles.pairs(LOGITS, TARGET).hits)
    if name == "torch":
        logits.requires_grad = True
        with pytest.raises(ValueError, match=r"preds_or_logits requires grad: pass .*\.detach\(\)"):
            ov.pack_errors(logits, target)
        logits.requires_grad, logits.is_negated = False, True
        with pytest.raises(ValueError, match="negated view: pass preds_or_logits.resolve_neg"):
            ov.pack_errors(logits, target)
    del errors, pairs
    gc.collect()
    assert not any(memory() for memory in library.kept)  # nothing of theirs is kept
