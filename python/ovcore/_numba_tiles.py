"""Counting bits for a tile of pairs of rows, in vectors: what numba's own loops do not become.

LLVM turns ``ctpop`` of eight words into one instruction where the chip has it. Left to itself it
would take shorter vectors and one pair at a time, at half the speed or less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic


def _has_vector_popcount() -> bool:
    """Whether the chip that numba compiles for counts the bits of 64-bit words in vectors."""
    name, features = (getattr(config, key, None) for key in ("CPU_NAME", "CPU_FEATURES"))
    if features is not None:  # NUMBA_CPU_FEATURES and NUMBA_CPU_NAME, as numba reads them
        return "+avx512vpopcntdq" in features
    if name not in (None, "host"):
        return False
    return bool(llvm.get_host_cpu_features().get("avx512vpopcntdq", False))


_vector_popcount = _has_vector_popcount()

LANES = 8 if _vector_popcount else 4
"""Words in a vector."""

TILE_ROWS, TILE_COLS = (6, 4) if _vector_popcount else (2, 2)

PLANE_WORDS = 8
"""Words of one bit plane that lie together: 512 samples."""

_WORD, _VECTOR = ir.IntType(64), ir.VectorType(ir.IntType(64), LANES)


def _declare(builder: ir.IRBuilder, name: str, result: ir.Type) -> Any:
    """LLVM's own function of one vector of words."""
    kind, full = ir.FunctionType(result, [_VECTOR]), f"{name}.v{LANES}i64"
    module: ir.Module = builder.module
    return module.globals.get(full) or ir.Function(module, kind, full)


def _tile(emit_step: Callable[..., None]) -> Any:
    """A function (a, b, stride, steps, planes, out) for numba that counts a tile.

    a and b are the addresses of TILE_ROWS rows and of TILE_COLS columns, ``stride`` words apart;
    out is that of TILE_ROWS * TILE_COLS sums, which it writes.
    """

    @intrinsic
    def count_tile(_context, a, b, stride, steps, planes, out):  # noqa: ARG001
        def codegen(context, builder, _signature, arguments):
            a, b, stride, steps, planes, out = arguments
            zero = ir.Constant(_VECTOR, [0] * LANES)
            sums = [
                [cgutils.alloca_once_value(builder, zero) for _ in range(TILE_COLS)]
                for _ in range(TILE_ROWS)
            ]
            rows = _pointers(builder, a, stride, TILE_ROWS)
            cols = _pointers(builder, b, stride, TILE_COLS)
            with cgutils.for_range(builder, steps) as step:
                emit_step(builder, step.index, planes, rows, cols, sums)
            total = _declare(builder, "llvm.vector.reduce.add", _WORD)
            to = builder.inttoptr(out, _WORD.as_pointer())
            for at, place in enumerate(place for row in sums for place in row):
                value = builder.call(total, [builder.load(place)])
                builder.store(value, builder.gep(to, [ir.Constant(_WORD, at)]))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return count_tile


def _pointers(builder: ir.IRBuilder, address: Any, stride: Any, count: int) -> list[Any]:
    base = builder.inttoptr(address, _WORD.as_pointer())
    return [builder.gep(base, [builder.mul(stride, ir.Constant(_WORD, k))]) for k in range(count)]


def _load(builder: ir.IRBuilder, row: Any, word: Any) -> Any:
    at = builder.bitcast(builder.gep(row, [word]), _VECTOR.as_pointer())
    return builder.load(at, align=8)


def _add_count(builder: ir.IRBuilder, place: Any, bits: Any) -> None:
    count = builder.call(_declare(builder, "llvm.ctpop", _VECTOR), [bits])
    builder.store(builder.add(builder.load(place), count), place)


def _both(builder, step, _planes, rows, cols, sums):
    word = builder.mul(step, ir.Constant(_WORD, LANES))
    of_cols = [_load(builder, col, word) for col in cols]
    for row, places in zip(rows, sums, strict=True):
        of_row = _load(builder, row, word)
        for of_col, place in zip(of_cols, places, strict=True):
            _add_count(builder, place, builder.and_(of_row, of_col))


def _differing(builder, step, planes, rows, cols, sums):
    zero = ir.Constant(_VECTOR, [0] * LANES)
    differ = [[cgutils.alloca_once(builder, _VECTOR) for _ in cols] for _ in rows]
    for place in (place for row in differ for place in row):
        builder.store(zero, place)
    first = builder.mul(step, planes)
    with cgutils.for_range(builder, planes) as plane:
        word = builder.mul(builder.add(first, plane.index), ir.Constant(_WORD, PLANE_WORDS))
        of_cols = [_load(builder, col, word) for col in cols]
        for row, places in zip(rows, differ, strict=True):
            of_row = _load(builder, row, word)
            for of_col, place in zip(of_cols, places, strict=True):
                differs = builder.xor(of_row, of_col)
                builder.store(builder.or_(builder.load(place), differs), place)
    for places, bits in zip(sums, differ, strict=True):
        for place, of_pair in zip(places, bits, strict=True):
            _add_count(builder, place, builder.load(of_pair))


count_both = _tile(_both)
"""Bits of a AND b; a step is one vector of words, ``planes`` is not used."""

count_differing = _tile(_differing)
"""Samples for which any plane differs; a step is ``planes`` vectors, PLANE_WORDS words apart."""


@intrinsic
def popcount(_context, word):  # noqa: ARG001
    """Bits set in one word."""

    def codegen(_context, builder, _signature, arguments):
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [_WORD]), arguments)

    return types.int64(types.uint64), codegen
