"""Stored top-k outputs of classifiers, for where nobody kept all logits."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array

__all__ = ["TopK"]


class TopK:
    """The k most probable classes of each sample and their probabilities, in any order.

    Accepted wherever logits are, but where temperatures are fitted, which takes all confidences.
    The prediction is the class of the highest probability; on a tie the lowest class wins, as
    everywhere.

    Args:
        classes: (N, k) of one model or (M, N, k) of M, integer, each in [0, n_classes).
        probs: as classes, floating; only compared, so logits will do.
        n_classes: number of classes K the models chose from, K >= k.

    Raises:
        TypeError: an element type that is not integer or floating, respectively.
        ValueError: shapes that differ or have other axes, no class kept, a class out of range.

    >>> import numpy as np, ovcore as ov
    >>> top = ov.TopK(np.array([[3, 1], [0, 2]]), np.array([[.5, .5], [.9, .1]]), n_classes=10)
    >>> ov.pack_errors([top], np.array([1, 2])).accuracy()
    array([0.5])
    """

    def __init__(self, classes: Array, probs: Array, n_classes: int) -> None:
        try:
            self.n_classes = operator.index(n_classes)
        except TypeError:
            raise TypeError(f"n_classes must be an integer, got {n_classes!r}") from None
        for array, name in ((classes, "classes"), (probs, "probs")):
            _arrays.refuse_gpu(array, name, "stored outputs are read")
        self.library = _arrays.library_of(classes)
        self._classes: NDArray[Any] = _arrays.integers(_arrays.adopt(classes, "classes"), "classes")
        self._probs = _arrays.view(_arrays.adopt(probs, "probs"), "probs")
        shape = self._classes.shape
        if self._probs.dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise TypeError(f"probs must be floating, got {self._probs.dtype}")
        if len(shape) not in (2, 3) or shape != self._probs.values.shape:
            raise ValueError(
                "classes and probs must both be (N, k) or (M, N, k): "
                f"got {shape} and {self._probs.values.shape}"
            )
        if not 1 <= shape[-1] <= self.n_classes:
            raise ValueError(f"k must be in 1..n_classes = {self.n_classes}, got {shape[-1]}")
        if self._classes.size:
            low, high = int(self._classes.min()), int(self._classes.max())
            if low < 0 or high >= self.n_classes:
                raise ValueError(
                    f"classes must be in 0..{self.n_classes - 1}, got {low if low < 0 else high}"
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, K) or (M, N, K): that of the logits these stand for."""
        return (*self._classes.shape[:-1], self.n_classes)

    @property
    def classes(self) -> NDArray[np.integer[Any]]:
        """The classes as they were given, in host memory."""
        return self._classes

    @property
    def probs(self) -> NDArray[np.floating[Any]]:
        """Their probabilities as they were given; bfloat16 in float32."""
        return self._probs.values if self._probs.dtype != "bfloat16" else _arrays.widen(self._probs)

    def __getitem__(self, part: int | slice) -> TopK:
        """One model of several, or some samples of one."""
        if isinstance(part, slice) != (self._classes.ndim == 2):
            raise TypeError("index several models by one's position, or samples by a slice")
        some = object.__new__(TopK)
        some.n_classes, some.library = self.n_classes, self.library
        some._classes = self._classes[part]
        some._probs = self._probs._replace(values=self._probs.values[part])
        return some

    def probabilities(self) -> tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]]:
        """(N, k) classes and their probabilities in float32 or float64.

        Raises:
            ValueError: what was stored are no probabilities, or a sample has a class twice.
        """
        found = np.sort(self._classes, axis=-1)
        twice = found[..., 1:] == found[..., :-1]
        if twice.any():
            raise ValueError(
                f"stored top-k outputs have class {found[..., 1:][twice][0]} twice for one sample"
            )
        probs = _arrays.widen(self._probs)
        if not ((probs >= 0) & (probs <= 1)).all():
            raise ValueError(
                "stored top-k outputs combine by their probabilities, in 0..1: got values from "
                f"{probs.min()} to {probs.max()}"
            )
        return self._classes, probs

    def predictions(self) -> NDArray[np.int64]:
        """(N,) or (M, N) predicted classes; -1 where there is none (NaN, or -inf throughout)."""
        probs = _arrays.widen(self._probs)
        best = probs.max(axis=-1, keepdims=True)
        candidates = np.where(probs == best, self._classes.astype(np.int64), self.n_classes)
        return np.where(best[..., 0] > -np.inf, candidates.min(axis=-1), -1)

    def __repr__(self) -> str:
        return f"TopK({' x '.join(map(str, self._classes.shape))} of {self.n_classes} classes)"
