"""Rows of logits of any element type and their scores, for numba's kernels; those of one model.

Scores are those of _reference_scores to the bit, so nothing that makes them may be compiled with
fastmath: each float32 step is rounded by itself, and sums run in the order given there. Rows are
read into float64, which holds every type; a difference of two float32 that is rounded to float64
and then to float32 is the difference rounded once, as float64 has more than twice its digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from ovcore._arrays import Typed
from ovcore._candidates import Scored
from ovcore._numba_tasks import BYTES_PER_TASK, compiled, for_each_range, for_each_task
from ovcore._progress import Progress

_KINDS = ("float16", "bfloat16", "float32", "float64")
_FLOAT16, _BFLOAT16, _FLOAT32, _FLOAT64 = range(len(_KINDS))
_LANES = 16
_ZERO, _ONE = np.float32(0), np.float32(1)
_LOWEST = np.float32(-124)
_ROUND = np.float32(12582912)
_Q0, _Q1, _Q2, _Q3, _Q4, _Q5 = (
    np.float32(0.00015353320432157173),
    np.float32(0.0013398926044037507),
    np.float32(0.009618437854461696),
    np.float32(0.05550332347906885),
    np.float32(0.240226479069414),
    np.float32(0.6931472029069689),
)
_LOWEST_64, _LOG2_E_64, _ROUND_64 = -708.0, 1 / math.log(2), 1.5 * 2.0**52
_LN2_HIGH_64, _LN2_LOW_64 = (
    float.fromhex("0x1.62e42fee00000p-1"),
    float.fromhex("0x1.a39ef35793c76p-33"),
)
_T3, _T4, _T5, _T6, _T7, _T8, _T9, _T10, _T11 = (1 / math.factorial(k) for k in range(3, 12))
_TWO_TO_112 = np.float32(2.0**112)  # between the exponents of float16 and float32


class Source(NamedTuple):
    """Models as kernels read them: Scored without its objects. The arrays must outlive it."""

    rows: NDArray[np.int64]  # (M, 3): address of the first row, bytes to the next, element type
    scale: NDArray[np.float32]  # (M,) 1 / (temperature ln 2)
    temperature: NDArray[np.float64]  # (M,)
    n_classes: int
    by_logit: bool


def rows_of(models: Sequence[Typed]) -> NDArray[np.int64]:
    """(M, 3) where each model's rows lie."""
    places = [
        (model.values.ctypes.data, model.values.strides[0], _KINDS.index(model.dtype))
        for model in models
    ]
    return np.array(places, np.int64).reshape(len(models), 3)


def source_of(scored: Scored) -> Source:
    """The models with their temperatures; scale is rounded as in _reference_scores."""
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    with np.errstate(over="ignore", divide="ignore"):
        scale = np.clip(1 / np.log(2) / scored.temperature, tiny, huge).astype(np.float32)
    n_classes = scored.models[0].values.shape[1]
    by_logit = scored.combine == "logit"
    return Source(rows_of(scored.models), scale, scored.temperature, n_classes, by_logit)


@intrinsic
def pointer(_context, address):  # noqa: ARG001
    def codegen(_context, builder, _signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def _sum_lanes(_context, address, n_vectors):  # noqa: ARG001
    """Sum of float32 in float64: element k into lane k % 16, then lanes by halves.

    As vectors, since numba's own loops over lanes become one addition at a time.
    """

    def codegen(_context, builder, _signature, arguments):
        singles, doubles = (ir.VectorType(t(), _LANES) for t in (ir.FloatType, ir.DoubleType))
        place = cgutils.alloca_once_value(builder, ir.Constant(doubles, [0.0] * _LANES))
        values = builder.inttoptr(arguments[0], singles.as_pointer())
        with cgutils.for_range(builder, arguments[1]) as step:
            some = builder.load(builder.gep(values, [step.index]), align=4)
            wide = builder.fpext(some, doubles)
            builder.store(builder.fadd(builder.load(place), wide), place)
        sums, width = builder.load(place), _LANES
        while width > 1:
            width //= 2
            low, high = (
                ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(i, i + width)))
                for i in (0, width)
            )
            halves = [builder.shuffle_vector(sums, sums, half) for half in (low, high)]
            sums = builder.fadd(*halves)
        return builder.extract_element(sums, ir.Constant(ir.IntType(32), 0))

    return types.float64(types.int64, types.int64), codegen


@njit(nogil=True)
def _from_float16(bits):
    rest = np.uint32(np.uint32(bits & 0x7FFF) << 13)
    if (bits & 0x7C00) == 0x7C00:  # infinity and NaN
        magnitude = np.uint32(rest | 0x7F800000).view(np.float32)
    else:
        magnitude = rest.view(np.float32) * _TWO_TO_112  # exact, of subnormal numbers also
    return -magnitude if bits & 0x8000 else magnitude


@njit(nogil=True)
def read_row(rows, m, n, z):
    """Writes logits of model m and sample n to z, float64 (K,); returns the largest.

    That is NaN for a NaN whose sign is plus; one whose sign is minus is smaller than all else.
    """
    address = pointer(rows[m, 0] + n * rows[m, 1])
    kind = rows[m, 2]
    if kind == _FLOAT32:
        singles = carray(address, len(z), np.float32)
        for k in range(len(z)):
            z[k] = singles[k]
    elif kind == _FLOAT64:
        doubles = carray(address, len(z), np.float64)
        for k in range(len(z)):
            z[k] = doubles[k]
    elif kind == _FLOAT16:
        halves = carray(address, len(z), np.uint16)
        for k in range(len(z)):
            z[k] = _from_float16(halves[k])
    else:
        bits = carray(address, len(z), np.uint16)
        for k in range(len(z)):
            z[k] = np.uint32(np.uint32(bits[k]) << 16).view(np.float32)
    return np.int64(largest(z.view(np.int64))).view(np.float64)


@njit(nogil=True)
def largest(bits):
    """Bits of the largest of floats, which are compared as integers that order the same way."""
    integer = bits.dtype.type  # keeps every step in the narrow type, where loops vectorise
    sign = 8 * bits.itemsize - 1
    low_bits = integer(~(np.int64(-1) << sign))
    most = integer(np.int64(-1) << sign)
    for k in range(len(bits)):
        most = max(most, integer(bits[k] ^ ((bits[k] >> sign) & low_bits)))
    return integer(most ^ ((most >> sign) & low_bits))


@compiled
def find_first(row, value, mask):
    """Index of the first element whose bits under the mask are those of value; there is one."""
    integer = row.dtype.type
    k = 0
    while k + 64 <= len(row):  # a vectorised yes or no for 64, then the exact place
        found = integer(0)
        for i in range(k, k + 64):
            found |= integer(integer((row[i] ^ value) & mask) == 0)
        if found:
            break
        k += 64
    while (row[k] ^ value) & mask:
        k += 1
    return k


@njit(nogil=True)
def _power_of_two(y):
    inside = y if y > _LOWEST else _LOWEST
    shifted = inside + _ROUND
    f = inside - (shifted - _ROUND)
    p = (((((_Q0 * f + _Q1) * f + _Q2) * f + _Q3) * f + _Q4) * f + _Q5) * f + _ONE
    scale = np.int32(np.float32(shifted).view(np.int32) << 23)
    return np.int32(np.float32(p).view(np.int32) + scale).view(np.float32) if y > _LOWEST else _ZERO


@njit(nogil=True)
def scratch(n_classes):
    """What read_row and terms write to."""
    lanes = (n_classes + _LANES - 1) // _LANES * _LANES
    return np.empty(n_classes, np.float64), np.zeros(lanes, np.float32)


@njit(nogil=True, error_model="numpy")
def terms(source, m, n, z, values):
    """Writes to values what scores are before they are divided; returns what they are divided by.

    exp((z - max) / T) and its sum, or the scores by logit and 1.
    """
    top = read_row(source.rows, m, n, z)
    if source.by_logit:
        temperature, exact = source.temperature[m], source.rows[m, 2] == _FLOAT64
        for k in range(len(z)):
            distance = 0.0 if z[k] == top else z[k] - top
            rounded = np.float64(np.float32(distance))
            values[k] = np.float32((distance if exact else rounded) / temperature)
        return 1.0
    scale = source.scale[m]
    for k in range(len(z)):
        distance = _ZERO if z[k] == top else np.float32(z[k] - top)
        values[k] = _power_of_two(distance * scale)
    return _sum_lanes(np.int64(values.ctypes.data), len(values) // _LANES)


@njit(nogil=True, error_model="numpy")
def score_row(source, m, n, z, values, scores):
    """Writes the scores of model m and sample n to float32 (K,)."""
    mass = terms(source, m, n, z, values)
    for k in range(len(scores)):
        scores[k] = np.float32(np.float64(values[k]) / mass)


def samples_per_task(models: Sequence[Typed]) -> int:
    """Of which all models' logits are read at once."""
    row_bytes = sum(model.values.shape[1] * model.values.itemsize for model in models)
    return BYTES_PER_TASK // row_bytes + 1


def confidences(
    models: Sequence[Typed],
    temperature: NDArray[np.float64],
    preds: NDArray[np.int32],
    confidence: NDArray[np.float32],
    workers: int,
    progress: Progress | None,
) -> None:
    """See :func:`ovcore._reference_ensembles.confidences`."""
    source = source_of(Scored(models, temperature, "prob"))

    def task(first: int, last: int) -> None:
        _confidences(source, first, last, preds, confidence)

    for_each_range(preds.shape[1], samples_per_task(models), workers, progress, task)


@compiled
def _confidences(source, first, last, preds, confidence):
    z, weights = scratch(source.n_classes)
    bits = z.view(np.int64)
    for m in range(len(source.rows)):
        for n in range(first, last):
            mass = terms(source, m, n, z, weights)
            without = 0
            for k in range(len(z)):
                without += z[k] != z[k]
            top = np.int64(largest(bits))
            if without or top.view(np.float64) == -np.inf:
                preds[m, n], confidence[m, n] = -1, np.nan
                continue
            mask = np.int64(0x7FFFFFFFFFFFFFFF if top == 0 else -1)  # +0 and -0 are equal
            preds[m, n] = find_first(bits, top, mask)
            confidence[m, n] = np.float32(1 / mass)


def temperature_nll(
    models: Sequence[Typed],
    target: NDArray[np.int64],
    beta: NDArray[np.float64],
    workers: int,
    progress: Progress | None,
) -> NDArray[np.float64]:
    """See :func:`ovcore._reference_ensembles.temperature_nll`; to about 1e-13 of each sum.

    Sums of blocks of samples are added in their order, so that workers change nothing.
    """
    rows, n_classes = rows_of(models), models[0].values.shape[1]
    blocks = -(-len(target) * n_classes * 8 // BYTES_PER_TASK)  # the same whatever the types are
    edges = np.linspace(0, len(target), blocks + 1).astype(int)

    def task(i: int) -> tuple[float, float, float]:
        m, block = divmod(i, blocks)
        return _nll(rows, m, target, beta[m], edges[block], edges[block + 1], n_classes)

    sums = for_each_task(len(models) * blocks, workers, progress, task)
    return np.array(sums).reshape(len(models), blocks, 3).sum(axis=1)


@compiled
def _nll(rows, m, target, beta, first, last, n_classes):
    z, weights = np.empty(n_classes), np.empty(n_classes)
    nll = slope = curvature = 0.0
    for n in range(first, last):
        top = read_row(rows, m, n, z)
        of_target = z[target[n]] - top
        for k in range(n_classes):
            distance = z[k] - top
            x = beta * distance
            weight = _exponential_64(x)
            weights[k] = 0.0 if x <= _LOWEST_64 else weight  # NaN stays
            z[k] = 0.0 if x <= _LOWEST_64 else distance  # adds nothing, even at -inf
        total, first_moment = _sums(weights, z)
        mean = first_moment / total
        nll += np.log(total) - beta * of_target
        slope += mean - of_target
        curvature += _spread(weights, z, mean) / total
    return nll, slope, curvature


@njit(nogil=True, fastmath={"reassoc", "contract"})
def _sums(weights, distances):
    total = first_moment = 0.0
    for k in range(len(weights)):
        total += weights[k]
        first_moment += weights[k] * distances[k]
    return total, first_moment


@njit(nogil=True, fastmath={"reassoc", "contract"})
def _spread(weights, distances, mean):
    spread = 0.0
    for k in range(len(weights)):
        off = distances[k] - mean
        spread += weights[k] * (off * off)
    return spread


@njit(nogil=True, fastmath={"contract"})
def _exponential_64(x):
    """exp(x) for -708 < x <= 0 to 1e-14: the Taylor series at |r| <= ln(2) / 2; NaN for NaN."""
    inside = _LOWEST_64 if x <= _LOWEST_64 else x
    shifted = inside * _LOG2_E_64 + _ROUND_64
    n = shifted - _ROUND_64
    r = (inside - n * _LN2_HIGH_64) - n * _LN2_LOW_64
    p = (((_T11 * r + _T10) * r + _T9) * r + _T8) * r + _T7
    p = ((((p * r + _T6) * r + _T5) * r + _T4) * r + _T3) * r + 0.5
    p = (p * r + 1.0) * r + 1.0
    scale = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)  # 2^n
    return p * scale
