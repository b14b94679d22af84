"""Error bits of many models, and the counts of joint errors that every pairwise metric divides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs
from ovcore._arrays import Array

__all__ = ["ErrorBits", "JointErrors", "pack_errors"]

_ROW_WORDS = 16  # rows are padded with zeros to whole 128 bytes


class ErrorBits:
    """One bit per model and sample, 1 = wrong.

    Made by :func:`pack_errors`. 64 samples share a word: 1,000 models on 50,000 samples take 6 MB.

    Attributes:
        words: (M, W) uint64; bit n % 64 of ``words[m, n // 64]`` is 1 where model m is wrong on
            sample n; zero past the last sample.
        n_samples: N.
        library: the library that results come back in ("numpy" or "torch").
    """

    def __init__(
        self, words: NDArray[np.uint64], n_samples: int, *, library: str = "numpy"
    ) -> None:
        _check_count(n_samples)
        if words.ndim != 2 or words.dtype != np.uint64 or words.shape[1] * 64 < n_samples:
            raise ValueError(
                f"words must be (M, W) uint64 with W >= {-(-n_samples // 64)} "
                f"for {n_samples} samples, got {words.dtype} {words.shape}"
            )
        whole, last = divmod(n_samples, 64)
        past = words[:, whole:].copy()
        if past.size:
            past[:, 0] >>= np.uint64(last)
        if past.any():
            raise ValueError(f"words has bits past the last of {n_samples} samples; they must be 0")
        self.words = np.ascontiguousarray(words)
        self.n_samples = n_samples
        self.library = library

    @property
    def n_models(self) -> int:
        """Number of models, M."""
        return len(self.words)

    def n_wrong(self) -> NDArray[np.int64]:
        """(M,) samples that each model gets wrong."""
        return np.bitwise_count(self.words).sum(axis=1, dtype=np.int64)

    def accuracy(self) -> Array:
        """(M,) float64 share of samples that each model gets right."""
        return _accuracy(self)

    def __repr__(self) -> str:
        accuracies = ""
        if self.n_models and self.n_samples:
            values = np.asarray(self.accuracy())
            accuracies = f", accuracy {values.min():.4f} to {values.max():.4f}"
        return f"ErrorBits({self.n_models} models x {self.n_samples} samples{accuracies})"


class JointErrors:
    """For all pairs of models, how many samples both get wrong.

    With N and the diagonal (each model's own errors) this matrix determines the 2 x 2 table of
    every pair, and so every pairwise metric of correctness. Counts of different samples add up:
    ``counts += other`` merges shards, and :meth:`empty` is the identity.

    Attributes:
        joint: (M, M) int64, symmetric.
        n_samples: N.
        library: the library that results come back in ("numpy" or "torch").
    """

    def __init__(self, joint: NDArray[np.int64], n_samples: int, *, library: str = "numpy") -> None:
        _check_count(n_samples)
        if joint.ndim != 2 or joint.shape[0] != joint.shape[1] or joint.dtype != np.int64:
            raise ValueError(f"joint must be (M, M) int64, got {joint.dtype} {joint.shape}")
        wrong = joint.diagonal()
        if len(joint) and not (wrong.min() >= 0 and wrong.max() <= n_samples):
            raise ValueError(
                f"joint must count from 0 to {n_samples} errors a model, "
                f"got {wrong.min()} to {wrong.max()}"
            )
        self.joint = joint
        self.n_samples = n_samples
        self.library = library

    @classmethod
    def from_errors(
        cls, errors: ErrorBits, *, backend: str | None = None, workers: int | None = None
    ) -> JointErrors:
        """Counts the joint errors of all pairs, in O(M^2 N / 512) vector steps.

        Args:
            errors: error bits of M models.
            backend: "native", "numba" or "reference"; default: the best that can run.
            workers: threads; default: all cores.
        """
        count = _dispatch.choose(backend).joint_errors
        joint = count(errors.words, _dispatch.count_workers(workers))
        return cls(joint, errors.n_samples, library=errors.library)

    @classmethod
    def empty(cls, n_models: int) -> JointErrors:
        """Counts of no sample: merging them changes nothing."""
        return cls(np.zeros((n_models, n_models), np.int64), 0)

    @property
    def n_models(self) -> int:
        """Number of models, M."""
        return len(self.joint)

    def n_wrong(self) -> NDArray[np.int64]:
        """(M,) samples that each model gets wrong."""
        return self.joint.diagonal().copy()

    def accuracy(self) -> Array:
        """(M,) float64 share of samples that each model gets right."""
        return _accuracy(self)

    def __iadd__(self, other: JointErrors) -> JointErrors:
        self._check_same_models(other)
        self.library = self._library_with(other)
        self.joint = self.joint + other.joint
        self.n_samples += other.n_samples
        return self

    def __add__(self, other: JointErrors) -> JointErrors:
        self._check_same_models(other)
        n_samples = self.n_samples + other.n_samples
        return JointErrors(self.joint + other.joint, n_samples, library=self._library_with(other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JointErrors):
            return NotImplemented
        return self.n_samples == other.n_samples and np.array_equal(self.joint, other.joint)

    __hash__ = None  # type: ignore[assignment]  # counts change by +=

    def __repr__(self) -> str:
        return f"JointErrors({self.n_models} models, {self.n_samples} samples)"

    def _library_with(self, other: JointErrors) -> str:
        """The first part's library; an empty accumulator takes that of what is merged in."""
        return self.library if self.n_samples else other.library

    def _check_same_models(self, other: object) -> None:
        if not isinstance(other, JointErrors):
            raise TypeError(f"expected JointErrors to merge, got {type(other).__name__}")
        if self.n_models != other.n_models:
            raise ValueError(f"cannot merge counts of {self.n_models} and {other.n_models} models")


def _accuracy(errors: ErrorBits | JointErrors) -> Array:
    if errors.n_samples == 0:
        raise ValueError("accuracy of no samples is undefined")
    return _arrays.in_library(1 - errors.n_wrong() / errors.n_samples, errors.library)


def _check_count(n_samples: int) -> None:
    if not isinstance(n_samples, int | np.integer) or n_samples < 0:
        raise ValueError(f"n_samples must be an integer >= 0, got {n_samples!r}")


def pack_errors(
    preds_or_logits: Array | Sequence[Array],  # (M, N, K) floating | (M, N) integer | sequence of M
    target: Array,  # (N,) integer
    *,
    backend: str | None = None,
    workers: int | None = None,
) -> ErrorBits:
    """Packs which model is wrong on which sample into bits.

    A model is wrong where its prediction, the arg max of its logits, differs from the target. On a
    tie the lowest class wins. +inf wins over everything, -inf never wins.

    Args:
        preds_or_logits: logits, (M, N, K) or a sequence of M arrays (N, K), in float16, bfloat16,
            float32 or float64; or predicted classes, (M, N) or a sequence of M arrays (N,), in any
            integer type. numpy arrays, torch CPU tensors, arrays of other libraries with
            ``__dlpack__``; bfloat16 from torch and ml_dtypes. Read where they lie, without a
            converted copy. A negative prediction is always wrong.
        target: (N,) integer classes.
        backend: "native", "numba" or "reference"; default: the best that can run.
        workers: threads; default: all cores.

    Returns:
        ErrorBits of M models on N samples.

    Raises:
        ValueError: shapes that do not match, no model or sample, a target out of range, arrays on
            different devices, a NaN among the logits or a row of only -inf (names the model).
        TypeError: an element type that is neither floating nor integer.

    >>> import numpy as np
    >>> pack_errors(np.array([[0, 1, 2], [0, 0, 0]]), np.array([0, 1, 1])).accuracy().round(3)
    array([0.667, 0.333])
    """
    return pack(_inputs.read(preds_or_logits, target), backend=backend, workers=workers)


def pack(
    inputs: _inputs.Logits | _inputs.Preds,
    *,
    preds: NDArray[np.int32] | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> ErrorBits:
    """:func:`pack_errors` of checked inputs; ``preds`` (M, N) also takes what logits predict."""
    kernel = _dispatch.choose(backend).pack_errors
    threads = _dispatch.count_workers(workers)
    n_words = -(-inputs.n_samples // (64 * _ROW_WORDS)) * _ROW_WORDS
    words = np.zeros((len(inputs.models), n_words), np.uint64)
    if isinstance(inputs, _inputs.Preds):
        for row, classes in zip(words, inputs.models, strict=True):
            packed = np.packbits(classes != inputs.target, bitorder="little")
            row.view(np.uint8)[: len(packed)] = packed
    else:
        without_prediction = [
            kernel(
                model.values, model.dtype, inputs.target, words[m],
                None if preds is None else preds[m], threads,
            )
            for m, model in enumerate(inputs.models)
        ]  # fmt: skip
        _inputs.refuse_rows_without_prediction(without_prediction)
    return ErrorBits(words, inputs.n_samples, library=inputs.library)
