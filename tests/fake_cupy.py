"""A stand-in for cupy where there is none: its signatures, and its refusals, on numpy's values."""

from __future__ import annotations

import contextlib
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np


def _values(array: Any) -> np.ndarray:
    if not isinstance(array, ndarray):
        raise TypeError(f"Unsupported type {type(array)}")
    return array.values


def _operand(other: Any) -> Any:
    return other if isinstance(other, (int, float, np.generic)) else _values(other)


def _operator(apply: Callable[..., Any], *, swapped: bool = False) -> Any:
    def method(self: ndarray, other: Any) -> ndarray:
        pair = self.values, _operand(other)
        return ndarray(apply(*reversed(pair)) if swapped else apply(*pair))

    return method


def _in_place(apply: Callable[..., Any]) -> Any:
    def method(self: ndarray, other: Any) -> ndarray:
        self.values = apply(self.values, _operand(other))
        return self

    return method


class ndarray:
    """In the memory of a GPU as far as anybody can tell: numpy cannot read it, get() can."""

    __array_ufunc__ = None
    device = types.SimpleNamespace(id=0)

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    shape = property(lambda self: self.values.shape)
    dtype = property(lambda self: self.values.dtype)
    ndim = property(lambda self: self.values.ndim)
    T = property(lambda self: ndarray(self.values.T))

    def __len__(self) -> int:
        return len(self.values)

    def __float__(self) -> float:
        return float(self.values)

    def __getitem__(self, key: Any) -> ndarray:
        return ndarray(self.values[self._key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[self._key(key)] = _operand(value)

    @staticmethod
    def _key(key: Any) -> Any:
        each = key if isinstance(key, tuple) else (key,)
        assert not any(isinstance(part, np.ndarray) for part in each)
        return tuple(part.values if isinstance(part, ndarray) else part for part in each)

    def get(self, stream: Any = None, order: str = "C") -> np.ndarray:
        assert stream is None
        return np.array(self.values, order=order)  # type: ignore[call-overload]

    def astype(self, dtype: Any, order: str = "K", *, copy: bool = True) -> ndarray:
        if not copy and self.values.dtype == dtype:
            return self
        return ndarray(self.values.astype(dtype, order))  # type: ignore[arg-type]

    def sum(self, axis: Any = None, dtype: Any = None) -> ndarray:
        return ndarray(self.values.sum(axis, dtype))

    __add__, __radd__ = _operator(operator.add), _operator(operator.add, swapped=True)
    __sub__, __rsub__ = _operator(operator.sub), _operator(operator.sub, swapped=True)
    __mul__, __rmul__ = _operator(operator.mul), _operator(operator.mul, swapped=True)
    __truediv__, __matmul__ = _operator(operator.truediv), _operator(operator.matmul)
    __gt__, __le__ = _operator(operator.gt), _operator(operator.le)
    __iadd__, __isub__ = _in_place(operator.iadd), _in_place(operator.isub)
    __imul__, __itruediv__ = _in_place(operator.imul), _in_place(operator.itruediv)

    def __neg__(self) -> ndarray:
        return ndarray(-self.values)

    def __abs__(self) -> ndarray:
        return ndarray(abs(self.values))


class FakeCupy(types.ModuleType):
    """What ovcore calls of cupy; a function that is missing here may be missing there."""

    ndarray = ndarray
    cuda = types.SimpleNamespace(Device=contextlib.nullcontext)

    def asarray(self, a: Any, dtype: Any = None) -> ndarray:
        return a if isinstance(a, ndarray) else ndarray(np.array(a, dtype))

    def zeros(self, shape: Any, dtype: Any = float) -> ndarray:
        return ndarray(np.zeros(shape, dtype))

    def concatenate(self, tup: Any, axis: int = 0) -> ndarray:
        return ndarray(np.concatenate([_values(array) for array in tup], axis))

    def where(self, condition: ndarray, x: Any, y: Any) -> ndarray:
        return ndarray(np.where(_values(condition), _operand(x), _operand(y)))

    def diagonal(self, a: ndarray, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
        return ndarray(np.diagonal(_values(a), offset, axis1, axis2))

    def triu(self, m: ndarray, k: int = 0) -> ndarray:
        return ndarray(np.triu(_values(m), k))

    def amax(self, a: ndarray, axis: Any = None) -> ndarray:
        return ndarray(np.amax(_values(a), axis))

    def sqrt(self, x: ndarray, out: ndarray | None = None) -> ndarray:
        return ndarray(np.sqrt(_values(x), out=None if out is None else _values(out)))

    def divide(self, x: ndarray, y: ndarray, out: ndarray | None = None) -> ndarray:
        return ndarray(np.divide(_values(x), _operand(y), out=None if out is None else out.values))

    def clip(self, a: ndarray, a_min: Any, a_max: Any, out: ndarray | None = None) -> ndarray:
        return ndarray(np.clip(_values(a), a_min, a_max, out=None if out is None else out.values))
