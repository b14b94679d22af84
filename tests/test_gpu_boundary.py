"""How arrays on GPUs come in and go out: what is asked of their libraries, and when."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import on_gpu
import ovcore as ov
from on_gpu import Producer, put
from ovcore import BackendUnavailableError, _arrays

pytestmark = pytest.mark.usefixtures("gpus")  # simulated ones, two

TARGET = np.array([0, 1, 2, 0])
LOGITS = np.array([[3, 1, 0, 0, 2, 1, 1, 0, 5, 9, 1, 1], [0, 1, 0, 4, 2, 1, 1, 0, 5, 1, 0, 5]])
LOGITS = LOGITS.reshape(2, 4, 3).astype(np.float32)
EXPECTED = ov.pack_errors(LOGITS, TARGET)


def test_producers_are_told_the_stream_and_the_version_once() -> None:
    logits, target = Producer(LOGITS), Producer(TARGET)
    assert ov.pack_errors(logits, target) == EXPECTED
    # Nobody knows this library's stream: CUDA's default one, which is 1, as 0 is not legal.
    assert logits.asked == target.asked == [{"stream": 1, "max_version": (1, 0)}]


def test_producers_from_before_version_1() -> None:
    class Old(Producer):
        def __dlpack__(self, *, stream: int | None = None) -> Any:
            return super().__dlpack__(stream=stream)

    logits, target = Old(LOGITS), Old(TARGET)
    assert ov.pack_errors(logits, target) == EXPECTED
    assert logits.asked == [{"stream": 1}]


def test_memory_is_kept_as_long_as_it_is_looked_at(gpus: Any) -> None:
    logits = Producer(LOGITS)
    view = _arrays.view(logits, "logits").values
    address = view.address
    del logits
    gc.collect()
    np.testing.assert_array_equal(view.numpy(), LOGITS)
    part = view[1, 2:]
    del view
    gc.collect()
    np.testing.assert_array_equal(part.numpy(), LOGITS[1, 2:])
    del part
    gc.collect()
    freed = gpus.DeviceArray(on_gpu.place(), "uint8", [LOGITS.nbytes], None, address, None)
    assert (freed.numpy() == 0x5A).all()  # what simulated GPUs do to memory that is given back


def test_a_capsule_is_used_once(gpus: Any) -> None:
    capsule = put(LOGITS).__dlpack__()
    place = on_gpu.place()
    view = gpus.DeviceArray.from_dlpack(place, capsule)
    np.testing.assert_array_equal(view.numpy(), LOGITS)
    with pytest.raises(BufferError, match="an unused .* got one called 'used_dltensor'"):
        gpus.DeviceArray.from_dlpack(place, capsule)


def test_what_a_library_refuses_is_passed_on_with_advice() -> None:
    class Refuses(Producer):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("cannot export tensors that require gradient")

    with pytest.raises(BufferError, match=r"require gradient \(.*preds_or_logits.detach\(\)"):
        ov.pack_errors(Refuses(LOGITS), Producer(TARGET))


def test_arrays_that_changed_their_mind_about_the_device() -> None:
    class Elsewhere(Producer):
        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 1)

    with pytest.raises(BufferError, match="on another device than it said"):
        ov.pack_errors(Elsewhere(LOGITS), Elsewhere(TARGET))


def test_devices_are_not_mixed() -> None:
    first, second = Producer(LOGITS[0]), Producer(LOGITS[1], device=1)
    with pytest.raises(ValueError, match=r"\[0\] is on cuda:0 but .*\[1\] is on cuda:1"):
        ov.pack_errors([first, second], Producer(TARGET))
    with pytest.raises(ValueError, match=r"\[0\] is on cuda:0 but target is on cpu"):
        ov.pack_errors([first], TARGET)
    with pytest.raises(ValueError, match="logits is on cpu but target is on cuda:1"):
        ov.ensembles.pairs(LOGITS, Producer(TARGET, device=1))
    assert first.asked == second.asked == []  # nothing was exported


def test_each_gpu_is_used_where_its_arrays_are(gpus: Any) -> None:
    errors = ov.pack_errors(Producer(LOGITS, device=1), Producer(TARGET, device=1))
    accuracy = errors.accuracy()
    assert errors.library == "cuda:1"
    assert accuracy.__dlpack_device__() == (2, 1)
    assert gpus.device_of(accuracy.address) == 1
    np.testing.assert_array_equal(accuracy.numpy(), EXPECTED.accuracy())
    result = ov.ensembles.pairs(Producer(LOGITS, device=1), Producer(TARGET, device=1))
    assert result.hits.__dlpack_device__() == (2, 1)


class Interface:
    """An array of a library without DLPack."""

    def __init__(self, values: np.ndarray, **changes: Any) -> None:
        self._array = put(values)
        self.__cuda_array_interface__ = self._array.__cuda_array_interface__ | changes


def test_the_other_protocol(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = []
    monkeypatch.setattr(gpus, "order", lambda *streams: ordered.append(streams))
    logits, target = Interface(LOGITS, stream=7), Interface(TARGET, stream=None, strides=None)
    assert ov.pack_errors(logits, target) == EXPECTED
    assert ordered == [(0, 7, 1)]  # what was queued on stream 7 comes first
    backwards = Interface(LOGITS[:, ::-1])
    assert ov.pack_errors(backwards, Interface(TARGET[::-1])) == ov.pack_errors(
        LOGITS[:, ::-1], TARGET[::-1]
    )
    with pytest.raises(TypeError, match="preds_or_logits cannot be read: it is a masked array"):
        ov.pack_errors(Interface(LOGITS, mask=logits), target)
    with pytest.raises(TypeError, match="foreign byte order"):
        ov.pack_errors(Interface(LOGITS, typestr=">f4"), target)
    with pytest.raises(TypeError, match="arrays of complex64 are not supported on GPUs"):
        ov.pack_errors(Interface(LOGITS, typestr="<c8"), target)


def test_layouts_that_kernels_do_not_read() -> None:
    whole = Interface(LOGITS)
    address, _ = whole.__cuda_array_interface__["data"]
    odd = Interface(LOGITS, data=(address + 2, True))
    with pytest.raises(ValueError, match="preds_or_logits cannot be read: .* not aligned"):
        ov.pack_errors(odd, Producer(TARGET))
    nowhere = Interface(LOGITS, data=(LOGITS.ctypes.data, True))
    with pytest.raises(ValueError, match="tells of memory that is on no GPU"):
        ov.pack_errors(nowhere, Producer(TARGET))
    fortran = Interface(np.asfortranarray(LOGITS[0]))
    with pytest.raises(ValueError, match=r"\[0\] is not contiguous along classes"):
        ov.pack_errors([fortran], Producer(TARGET))
    with pytest.raises(TypeError, match=r"\[0\] has two axes, so \(N, K\) logits in .* got int64"):
        ov.pack_errors([Producer(LOGITS[0].astype(np.int64))], Producer(TARGET))


def test_results_go_to_other_libraries() -> None:
    accuracy = ov.pack_errors(Producer(LOGITS), Producer(TARGET)).accuracy()
    assert accuracy.__dlpack_device__() == (2, 0)
    for options in ({}, {"stream": 1}, {"stream": -1}, {"max_version": (1, 1), "copy": False}):
        capsule = accuracy.__dlpack__(**options)
        assert ("dltensor_versioned" in repr(capsule)) == ("max_version" in options)
    with pytest.raises(ValueError, match="stream 0 is not legal"):
        accuracy.__dlpack__(stream=0)
    with pytest.raises(BufferError, match="to another device"):
        accuracy.__dlpack__(dl_device=(1, 0))
    with pytest.raises(BufferError, match="a copy"):
        accuracy.__dlpack__(copy=True)
    told = accuracy.__cuda_array_interface__
    assert (told["typestr"], told["shape"], told["data"][0]) == ("<f8", (2,), accuracy.address)
    with pytest.raises(TypeError, match=r"on a GPU: call \.numpy\(\)"):
        np.asarray(accuracy)
    with pytest.raises(AttributeError, match="no bfloat16"):
        _ = put(np.zeros(2, np.uint16), "bfloat16").__cuda_array_interface__


def test_slices_of_arrays_are_numpys(rng: np.random.Generator) -> None:
    values = rng.integers(0, 99, (5, 6, 7))
    array = put(values)
    for key in (2, -1, slice(1, None, 2), (slice(None), 3), (slice(4, 0, -2), slice(9), -7), ()):
        np.testing.assert_array_equal(array[key].numpy(), values[key])
    np.testing.assert_array_equal(array.take(np.array([4, 0, 4])).numpy(), values[[4, 0, 4]])
    np.testing.assert_array_equal(np.stack([row.numpy() for row in array]), values)
    for key in (5, -6, (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            array[key]
    with pytest.raises(IndexError):
        array.take(np.array([5]))


def test_backends_are_those_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    there, of = Producer(LOGITS), Producer(TARGET)
    assert ov.pack_errors(there, of, backend="cuda") == EXPECTED
    with pytest.raises(
        BackendUnavailableError,
        match="'native' .* but these are on cuda:0",
    ):
        ov.pack_errors(there, of, backend="native")
    with pytest.raises(BackendUnavailableError, match="'cuda' .* but these are in host"):
        ov.pack_errors(LOGITS, TARGET, backend="cuda")
    monkeypatch.setenv("OVCORE_BACKEND", "numba")
    with pytest.raises(BackendUnavailableError, match="'numba' reads arrays in host memory"):
        ov.ensembles.pairs(there, of)


def test_gpus_are_looked_for_once(gpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, devices = [], gpus.devices
    monkeypatch.setattr(gpus, "devices", lambda: asked.append(1) or devices())
    for _ in range(3):
        ov.pack_errors([Producer(z) for z in LOGITS], Producer(TARGET))
    assert len(asked) == 2  # for arrays and for their backend


def test_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there, of = Producer(LOGITS), Producer(TARGET)
    monkeypatch.setenv("OVCORE_SIMT_DEVICES", "0")
    with pytest.raises(ValueError, match=r"is on cuda:0, but no CUDA device: .* in host memory"):
        ov.pack_errors(there, of)
