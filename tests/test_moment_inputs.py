"""How features come to covariance: storages, tensors and their settings."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import ovcore as ov
from ovcore.representations import Moments, _features, _products, covariance
from test_moments import DTYPES, errors


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 is multiplied in float32, however little there is of it."""
    monkeypatch.setattr(_features, "_FEW_PRODUCTS", 0)


def storages(x: np.ndarray, folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The same numbers, kept in other ways."""
    n, size = x.shape
    yield "Fortran order", np.asfortranarray(x)
    yield "upside down", x[::-1].copy()[::-1]
    yield "back to front", x[:, ::-1].copy()[:, ::-1]
    wide = np.zeros((2 * n, 3 * size), x.dtype)
    wide[::2, 5 : 5 + size] = x
    yield "columns of a wider matrix", wide[::2, 5 : 5 + size]
    wide[::2, ::3] = x
    yield "every third column", wide[::2, ::3]
    yield "foreign bytes", x.astype(x.dtype.newbyteorder(">"))
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    yield "unaligned", np.frombuffer(raw, x.dtype, offset=1).reshape(x.shape)
    path = folder / "features.bin"
    x.tofile(path)
    yield "read-only file", np.memmap(path, x.dtype, "r", shape=x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_storage(dtype: str, backend: str, rng: np.random.Generator, tmp_path: Path) -> None:
    x = rng.normal(3, 1, (300, 21)).astype(DTYPES[dtype])
    expected = covariance(x, backend=backend, block_size=40)
    assert errors(expected, x).max() < 1e-12
    for name, array in storages(x, tmp_path):
        found = covariance(array, backend=backend, block_size=40)
        np.testing.assert_array_equal(found, expected, err_msg=name)
    rows = np.broadcast_to(x[:, :1], (300, 4))
    assert errors(covariance(rows, backend=backend), rows).max() < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors(dtype: str, rng: np.random.Generator) -> None:
    whole = torch.from_numpy(rng.normal(3, 1, (300, 42))).to(getattr(torch, dtype))
    for x in (whole, whole[::2, 3:9], whole.T, whole[:, ::2]):
        moments = Moments.from_features(x)
        values = x.to(torch.float64).numpy()
        for found in (covariance(x), moments.covariance()):
            assert (found.dtype, found.device.type) == (torch.float64, "cpu")
            assert errors(found, values).max() < 1e-12
        assert moments.mean.dtype == torch.float64
        np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-12)


def test_what_can_be_read_as_an_array() -> None:
    rows = [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]

    class Exporter:
        """Has no shape, as arrays of libraries that nobody knows."""

        def __dlpack__(self, **options: Any) -> Any:
            return np.array(rows).__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    for given in (rows, np.array(rows), Exporter(), [Exporter()], (np.array(rows),)):
        np.testing.assert_array_equal(covariance(given), [[1, 2], [2, 4]])
    found = covariance([Exporter(), np.array(rows, ml_dtypes.bfloat16)])
    np.testing.assert_array_equal(found, np.tile([[1, 2], [2, 4]], (2, 2)))


MATMUL = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)


def allowed() -> list[str]:
    return [form.fp32_precision for form in MATMUL]


@pytest.fixture(params=["legacy", "mkldnn", "cuda", "autocast"])
def fast_products(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each way in which torch is allowed to multiply float32 in fewer digits."""
    before = allowed()
    with contextlib.ExitStack() as stack:
        if request.param == "legacy":
            torch.set_float32_matmul_precision("medium")
        elif request.param == "mkldnn":
            torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        elif request.param == "cuda":
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        else:
            stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
        yield
    torch.set_float32_matmul_precision("highest")
    for form, precision in zip(MATMUL, before, strict=True):
        form.fp32_precision = precision


@pytest.mark.usefixtures("in_float32", "fast_products")
def test_torch_multiplies_in_full_and_keeps_its_settings(rng: np.random.Generator) -> None:
    x = rng.normal(100, 1, (500, 130)).astype(np.float32)
    before = allowed(), torch.is_autocast_enabled("cpu")
    assert errors(covariance(torch.from_numpy(x)), x).max() < 1e-6
    few = torch.from_numpy(x[:40].copy())
    expected = ov.representations.cka(x[:40].astype(np.float64), x[:40, :99].astype(np.float64))
    assert ov.representations.cka(few, few[:, :99]) == pytest.approx(expected, rel=1e-5)
    few[3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        covariance(few)
    assert (allowed(), torch.is_autocast_enabled("cpu")) == before


def test_older_torch_has_one_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        """As far as it is asked, torch before 2.9."""

        backends = type("", (), {"cuda": type("", (), {"matmul": object()})})
        autocast = staticmethod(torch.autocast)
        precision = "medium"

        def get_float32_matmul_precision(self) -> str:
            return self.precision

        def set_float32_matmul_precision(self, precision: str) -> None:
            self.precision = precision

    older = Older()
    monkeypatch.setattr(_products._arrays, "namespace", lambda _: older)
    with pytest.raises(RuntimeError, match="stop"), _products.full_precision("torch"):
        assert older.precision == "highest"
        raise RuntimeError("stop")
    assert older.precision == "medium"


def test_threads_share_torch_s_precision_and_give_it_back() -> None:
    library, started, done = "torch", threading.Event(), threading.Event()
    asked = torch.backends.mkldnn.matmul.fp32_precision

    def other() -> None:
        with _products.full_precision(library):
            started.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    with _products.full_precision(library):
        thread.start()
        started.wait(10)
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # the other still computes
    done.set()
    thread.join()
    assert torch.backends.mkldnn.matmul.fp32_precision == asked
