"""Features less a pilot mean, and their sums: every backend against the oracle, by equality."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from on_gpu import kernels
from ovcore._arrays import Typed

SIZES = [0, 1, 63, 64, 65, 127, 1000]
WIDTHS = [1, 15, 16, 17, 64, 130, 2048]
DTYPES = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
TO = [(dtype, "float32") for dtype in list(DTYPES)[:3]] + [(dtype, "float64") for dtype in DTYPES]


def typed(values: np.ndarray, dtype: str) -> Typed:
    """What the kernels take: the values in that type; bfloat16 as its bits."""
    if dtype == "bfloat16":
        return Typed(values.astype(DTYPES[dtype]).view(np.uint16), dtype)
    return Typed(values.astype(dtype), dtype)


def center(
    backend: str, parts: list[Typed], pilots: list[np.ndarray], workers: int = 2
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Into columns of one poisoned buffer for each element type; what is around them stays."""
    total, rows = sum(len(pilot) for pilot in pilots), len(parts[0].values)
    buffers = {kind: np.full((rows, total + 5), 77, kind) for kind in ("float32", "float64")}
    out, sums, first = [], [], 3
    for pilot in pilots:
        out.append(buffers[pilot.dtype.name][:, first : first + len(pilot)])
        sums.append(np.full(len(pilot), np.nan, pilot.dtype))
        first += len(pilot)
    kernels(backend).center_rows(parts, pilots, out, sums, workers)
    for buffer in buffers.values():
        assert (buffer[:, :3] == 77).all()
        assert (buffer[:, first:] == 77).all()
    return out, sums


def by_definition(part: Typed, pilot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A difference of float32 that is formed in float64 is rounded once when it is narrowed."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide = part.values.view(DTYPES[part.dtype]).astype(np.float64)
        out = (wide - pilot).astype(pilot.dtype)
        from_zero = np.concatenate([np.zeros((1, len(pilot)), pilot.dtype), out])
        return out, np.add.accumulate(from_zero)[-1]


def expect_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    kind = f"u{found.itemsize}"
    np.testing.assert_array_equal(np.array(found).view(kind), expected.view(kind))


@pytest.mark.parametrize(("dtype", "to"), TO)
@pytest.mark.parametrize("n_rows", SIZES)
def test_center_rows_equals_the_definition(
    backend: str, n_rows: int, dtype: str, to: str, rng: np.random.Generator
) -> None:
    parts = [typed(rng.normal(3, 1, (n_rows, width)), dtype) for width in WIDTHS]
    pilots = [rng.normal(3, 0.1, width).astype(to) for width in WIDTHS]
    for part, pilot, out, sums in zip(parts, pilots, *center(backend, parts, pilots), strict=True):
        expected_out, expected_sums = by_definition(part, pilot)
        expect_same_bits(out, expected_out)
        expect_same_bits(sums, expected_sums)


def test_by_hand(backend: str) -> None:
    part = Typed(np.array([[1.5, 2], [3, 4], [5, 7]], np.float32), "float32")
    (out,), (sums,) = center(backend, [part], [np.array([1, 2], np.float32)])
    np.testing.assert_array_equal(out, [[0.5, 0], [2, 2], [4, 5]])
    np.testing.assert_array_equal(sums, [6.5, 7])


def test_differences_are_rounded_once_and_sums_in_the_order_of_rows(backend: str) -> None:
    """1e8 + 1 is 1e8 in float32: any other order of these rows gives other sums."""
    column = np.array([1e8, 1, -1e8, 1, 2**-20, -1], np.float32)
    part = Typed(np.tile(column[:, None], 40), "float32")
    _, (sums,) = center(backend, [part], [np.zeros(40, np.float32)])
    np.testing.assert_array_equal(sums, np.full(40, 2**-20))
    part = Typed(np.full((5, 40), 1 + 2**-23, np.float32), "float32")
    pilot = np.full(40, 2**-24 + 2**-47, np.float32)  # less half a digit and a little more
    (out,), _ = center(backend, [part], [pilot])
    np.testing.assert_array_equal(out, np.ones((5, 40)))
    (out,), _ = center(backend, [part], [pilot.astype(np.float64)])
    np.testing.assert_array_equal(out, 1 + 2.0**-24 - 2.0**-47)


def test_sums_start_from_plus_zero(backend: str) -> None:
    part = Typed(np.full((1, 20), -0.0, np.float32), "float32")
    (out,), (sums,) = center(backend, [part], [np.zeros(20, np.float32)])
    assert np.signbit(out).all()
    assert not np.signbit(sums).any()


@pytest.mark.parametrize(("dtype", "to"), TO)
def test_any_bits(backend: str, dtype: str, to: str, rng: np.random.Generator) -> None:
    """Every exponent, subnormals, infinities and NaNs of both signs go through."""
    kind = np.dtype(DTYPES[dtype])
    bits = np.frombuffer(rng.bytes(200 * 300 * kind.itemsize), f"u{kind.itemsize}")
    values = bits.reshape(200, 300) if dtype == "bfloat16" else bits.view(dtype).reshape(200, 300)
    pilot = rng.choice(np.array([0, 1, -2, 1e-7, 1e30, np.inf, np.nan], to), 300)
    part = Typed(values, dtype)
    (out,), (sums,) = center(backend, [part], [pilot])
    expected_out, expected_sums = by_definition(part, pilot)
    np.testing.assert_array_equal(out, expected_out)
    np.testing.assert_array_equal(sums, expected_sums)


def test_strided_and_read_only_rows(backend: str, rng: np.random.Generator) -> None:
    whole = rng.normal(size=(150, 90)).astype(np.float32)
    pilot = rng.normal(size=40).astype(np.float32)
    view = whole[::2, 7:47]
    view.flags.writeable = False
    for values in (view, view[::-1], np.broadcast_to(view[:1], (75, 40))):
        part = Typed(values, "float32")
        (out,), (sums,) = center(backend, [part], [pilot])
        expected_out, expected_sums = by_definition(
            Typed(np.ascontiguousarray(values), "float32"), pilot
        )
        expect_same_bits(out, expected_out)
        expect_same_bits(sums, expected_sums)


def test_parts_of_different_types(backend: str, rng: np.random.Generator) -> None:
    """As for a float32 model beside a float64 one; each out decides for its own part."""
    parts = [typed(rng.normal(size=(70, 33)), dtype) for dtype, _ in TO]
    pilots = [rng.normal(size=33).astype(to) for _, to in TO]
    for part, pilot, out, sums in zip(parts, pilots, *center(backend, parts, pilots), strict=True):
        expected_out, expected_sums = by_definition(part, pilot)
        expect_same_bits(out, expected_out)
        expect_same_bits(sums, expected_sums)


@pytest.mark.parametrize("widths", [(2048, 1000), (3, 3000), (3000,)])
def test_any_number_of_threads(
    fast_backend: str, widths: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Enough numbers that several threads are worth starting."""
    parts = [typed(rng.normal(size=(3000, width)), "float32") for width in widths]
    pilots = [rng.normal(size=width).astype(np.float32) for width in widths]
    expected = [by_definition(part, pilot) for part, pilot in zip(parts, pilots, strict=True)]
    for workers in (1, 2, 7):
        found = center(fast_backend, parts, pilots, workers)
        for out, sums, (expected_out, expected_sums) in zip(*found, expected, strict=True):
            expect_same_bits(out, expected_out)
            expect_same_bits(sums, expected_sums)


def test_no_parts(backend: str) -> None:
    kernels(backend).center_rows([], [], [], [], 2)


def of_width(width: int, kind: str = "float32") -> np.ndarray:
    return np.zeros(width, kind)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "float64 to float32": ({"parts": [Typed(np.zeros((4, 9)), "float64")]}, "not narrowed"),
    "short pilot": ({"pilots": [of_width(8)]}, "unexpected length"),
    "pilot of another type": ({"pilots": [of_width(9, "float64")]}, "unexpected element type"),
    "strided pilot": ({"pilots": [of_width(18)[::2]]}, "contiguous"),
    "short sums": ({"sums": [of_width(8)]}, "unexpected length"),
    "sums of another type": ({"sums": [of_width(9, "float64")]}, "unexpected element type"),
    "no sums": ({"sums": []}, "for each part"),
    "few rows of out": ({"out": [np.zeros((3, 9), np.float32)]}, "unexpected shape"),
    "few columns of out": ({"out": [np.zeros((4, 8), np.float32)]}, "unexpected shape"),
    "integers as out": ({"out": [np.zeros((4, 9), np.int32)]}, "unexpected element type"),
    "columns of out apart": ({"out": [np.zeros((4, 18), np.float32)[:, ::2]]}, "contiguous"),
    "unaligned out": (
        {"out": [np.zeros(145, np.uint8)[1:].view(np.float32).reshape(4, 9)]},
        "unaligned",
    ),
    "read-only out": ({"out": [np.broadcast_to(of_width(9), (4, 9))]}, "writeable"),
    "read-only sums": ({"sums": [np.frombuffer(bytes(36), np.float32)]}, "writeable"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_compiled_kernel_guards_memory(case: str) -> None:
    native = pytest.importorskip("ovcore._native")
    wrong, message = REFUSED[case]
    arguments: dict[str, Any] = {
        "parts": [Typed(np.ones((4, 9), np.float32), "float32")],
        "pilots": [of_width(9)],
        "out": [np.full((4, 9), 7, np.float32)],
        "sums": [of_width(9)],
        "workers": 1,
    }
    native.center_rows(**arguments)
    arguments["out"][0][:] = 7
    with pytest.raises(ValueError, match=message):
        native.center_rows(**{**arguments, **wrong})
    assert (arguments["out"][0] == 7).all()
