"""Error bits of many models, and the counts of joint errors that every pairwise metric divides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _archive, _arrays, _bits, _counts, _dispatch, _progress
from ovcore._arrays import Array
from ovcore._devices import DeviceArray

__all__ = ["ErrorBits", "JointErrors"]

Models: TypeAlias = int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]
"""Which models: an index, a slice, indices, or one truth value a model."""


class ErrorBits:
    """One bit per model and sample, 1 = wrong.

    Made by :func:`ovcore.pack_errors`. 64 samples share a word: 1,000 models on 50,000 samples
    take 6 MB.

    Attributes:
        words: (M, W) uint64; bit n % 64 of ``words[m, n // 64]`` is 1 where model m is wrong on
            sample n; zero past the last sample. Of models on a GPU a copy that cannot be written.
        present: (M, W) uint64, 1 where model m has sample n, or None where every model has all.
        n_samples: N.
        library: where results come back: "numpy", "torch", "torch:cuda:0", "cupy:cuda:0", ...
    """

    def __init__(
        self,
        words: NDArray[np.uint64],
        n_samples: int,
        *,
        present: NDArray[np.uint64] | None = None,
        library: str = "numpy",
    ) -> None:
        _counts.check_size(n_samples)
        self._on_gpu: DeviceArray | None = None
        self._words: NDArray[np.uint64] | None = _bits.checked(words, n_samples, "words")
        self.present = None
        if present is not None:
            self.present = _bits.checked(present, n_samples, "present")
            if self.present.shape != self.words.shape:
                raise ValueError(f"present has shape {present.shape} but words has {words.shape}")
            if (self._words & ~self.present).any():
                raise ValueError("words has errors on samples that are not present")
        self.n_samples = n_samples
        self.library = library

    @classmethod
    def _of_gpu(cls, words: DeviceArray, n_samples: int, library: str) -> ErrorBits:
        """What a kernel has just packed on a GPU."""
        errors = cls.__new__(cls)
        errors._on_gpu, errors._words, errors.present = words, None, None
        errors.n_samples, errors.library = n_samples, library
        return errors

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles are of bits in host memory."""
        return vars(self) | {"_words": self.words, "_on_gpu": None}

    @property
    def words(self) -> NDArray[np.uint64]:
        """(M, W) error bits; see the class."""
        if self._words is None:
            self._words = _arrays.on_host(_arrays.queued_now(self._on_gpu))
            self._words.flags.writeable = False  # or the two would differ
        return self._words

    def _words_in_place(self) -> NDArray[np.uint64] | DeviceArray:
        """The error bits where their kernels read them."""
        if self._on_gpu is None:
            return _arrays.beside(self.words, self.library)
        return _arrays.queued_now(self._on_gpu)

    @property
    def n_models(self) -> int:
        """Number of models, M."""
        return len(self.words if self._on_gpu is None else self._on_gpu)

    def n_wrong(self) -> NDArray[np.int64]:
        """(M,) samples that each model gets wrong."""
        return np.bitwise_count(self.words).sum(axis=1, dtype=np.int64)

    def n_present(self) -> NDArray[np.int64]:
        """(M,) samples that each model has."""
        if self.present is None:
            return np.full(self.n_models, self.n_samples, np.int64)
        return np.bitwise_count(self.present).sum(axis=1, dtype=np.int64)

    def accuracy(self) -> Array:
        """(M,) float64 share of the samples a model has that it gets right; NaN if it has none."""
        return _accuracy(self)

    def wrong(self) -> NDArray[np.bool_]:
        """(M, N) where each model is wrong, one byte a sample; False where it lacks the sample."""
        return _bits.unpack(self.words, self.n_samples)

    def select(self, models: Models) -> ErrorBits:
        """The errors of some of the models, in the order given."""
        rows = _positions(models, self.n_models)
        present = None if self.present is None else self.present[rows]
        return ErrorBits(self.words[rows], self.n_samples, present=present, library=self.library)

    @classmethod
    def concatenate(cls, parts: Iterable[ErrorBits]) -> ErrorBits:
        """The same models on the samples of all parts, one part after the other."""
        if isinstance(parts, ErrorBits):
            raise TypeError("expected a sequence of ErrorBits, got one")
        parts = list(parts)
        if not parts:
            raise ValueError("nothing to concatenate: expected at least one ErrorBits")
        for part in parts:
            if not isinstance(part, ErrorBits):
                raise TypeError(f"expected ErrorBits, got {type(part).__name__}")
            if part.n_models != parts[0].n_models:
                raise ValueError(
                    f"cannot concatenate errors of {parts[0].n_models} and {part.n_models} models"
                )
        sizes = [part.n_samples for part in parts]
        whole = any(part.present is not None for part in parts)
        present = [_present_words(part) for part in parts] if whole else None
        return cls(
            _bits.concatenate([part.words for part in parts], sizes),
            sum(sizes),
            present=None if present is None else _bits.concatenate(present, sizes),
            # parts without samples take the library of those with
            library=next((part for part in parts if part.n_samples), parts[0]).library,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the bits to one .npz file, whole or not at all; the library is not kept."""
        _archive.save(path, words=self.words, present=self.present, n_samples=self.n_samples)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ErrorBits:
        """Reads what :meth:`save` wrote. Raises ValueError where the file holds something else."""
        return _archive.load(path, cls, cls.__name__, "words", "present")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ErrorBits):
            return NotImplemented
        return (
            self.n_samples == other.n_samples
            and self.n_models == other.n_models
            and _bits.same(self.words, other.words)
            and _bits.same(_present_words(self), _present_words(other))
        )

    __hash__ = None  # type: ignore[assignment]  # the words can be changed

    def __repr__(self) -> str:
        return _describe(self)


class JointErrors:
    """For all pairs of models, how many samples both get wrong.

    With N and the diagonal (each model's own errors) this matrix determines the 2 x 2 table of
    every pair, and so every pairwise metric of correctness. Counts of different samples add up:
    ``counts += other`` merges shards, and :meth:`empty` is the identity.

    Where models lack samples, a pair is judged on those that both have; two more matrices count
    them.

    Attributes:
        joint: (M, M) int64, symmetric.
        n_samples: N.
        shared: (M, M) int64, samples that both models have; None where every model has all.
        wrong_shared: (M, M) int64, ``[i, j]``: samples that model i gets wrong among those that
            model j has; None where every model has all.
        library: where results come back: "numpy", "torch", "torch:cuda:0", "cupy:cuda:0", ...
    """

    def __init__(
        self,
        joint: NDArray[np.int64],
        n_samples: int,
        *,
        shared: NDArray[np.int64] | None = None,
        wrong_shared: NDArray[np.int64] | None = None,
        library: str = "numpy",
    ) -> None:
        _counts.check_size(n_samples)
        _counts.check_type(joint, None, "joint")
        for name, matrix in (("shared", shared), ("wrong_shared", wrong_shared)):
            if matrix is not None:
                _counts.check_type(matrix, len(joint), name)
        _counts.check_counts(joint, n_samples, shared, wrong_shared)
        self._set(joint, n_samples, shared, wrong_shared, library)

    def _set(
        self,
        joint: NDArray[np.int64],
        n_samples: int,
        shared: NDArray[np.int64] | None,
        wrong_shared: NDArray[np.int64] | None,
        library: str,
    ) -> JointErrors:
        """Takes counts without looking at them; of many models that costs as much as counting."""
        self.joint = joint
        self.n_samples = n_samples
        self.shared = shared
        self.wrong_shared = wrong_shared
        self.library = library
        return self

    @classmethod
    def from_errors(
        cls, errors: ErrorBits, *, backend: str | None = None, workers: int | None = None
    ) -> JointErrors:
        """Counts the joint errors of all pairs, in O(M^2 N / 512) vector steps.

        Takes the memory of its result and little more. Where models lack samples: four times the
        work, and more than twice the memory of the three matrices.

        Args:
            errors: error bits of M models.
            backend: "native", "numba" or "reference", on a GPU "cuda" or "numba-cuda"; default: the
                best that can run.
            workers: threads; default: all cores.
        """
        if not isinstance(errors, ErrorBits):
            raise TypeError(f"expected ErrorBits, got {type(errors).__name__}")
        count = _dispatch.choose(backend, errors.library).joint_errors
        threads = _dispatch.count_workers(workers)
        m = errors.n_models
        if errors.present is None:
            rows = errors._words_in_place()
        else:
            both = np.concatenate([errors.words, errors.present])
            rows = _arrays.beside(both, errors.library)
        with _progress.bar("joint errors") as progress:
            joint = count(rows, threads, progress)
        shared = wrong_shared = None
        if errors.present is not None:
            shared, wrong_shared = joint[m:, m:].copy(), joint[:m, m:].copy()
            joint = joint[:m, :m].copy()
        counts = cls.__new__(cls)
        return counts._set(joint, errors.n_samples, shared, wrong_shared, errors.library)

    @classmethod
    def empty(cls, n_models: int) -> JointErrors:
        """Counts of no sample: merging them changes nothing."""
        if not isinstance(n_models, int | np.integer) or n_models < 0:
            raise ValueError(f"n_models must be an integer >= 0, got {n_models!r}")
        return cls(np.zeros((n_models, n_models), np.int64), 0)

    @property
    def n_models(self) -> int:
        """Number of models, M."""
        return len(self.joint)

    def n_wrong(self) -> NDArray[np.int64]:
        """(M,) samples that each model gets wrong."""
        return self.joint.diagonal().copy()

    def n_present(self) -> NDArray[np.int64]:
        """(M,) samples that each model has."""
        if self.shared is None:
            return np.full(self.n_models, self.n_samples, np.int64)
        return self.shared.diagonal().copy()

    def accuracy(self) -> Array:
        """(M,) float64 share of the samples a model has that it gets right; NaN if it has none."""
        return _accuracy(self)

    def select(self, models: Models) -> JointErrors:
        """The counts of some of the models, in the order given."""
        rows = _positions(models, self.n_models)
        pick = np.ix_(rows, rows)
        return JointErrors.__new__(JointErrors)._set(
            self.joint[pick],
            self.n_samples,
            None if self.shared is None else self.shared[pick],
            None if self.wrong_shared is None else self.wrong_shared[pick],
            self.library,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the counts to one .npz file, whole or not at all; the library is not kept."""
        _archive.save(
            path,
            joint=self.joint,
            n_samples=self.n_samples,
            shared=self.shared,
            wrong_shared=self.wrong_shared,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> JointErrors:
        """Reads what :meth:`save` wrote. Raises ValueError where the file holds something else."""
        return _archive.load(path, cls, cls.__name__, "joint", "shared", "wrong_shared")

    def __iadd__(self, other: JointErrors) -> JointErrors:
        total = self + other
        self.__dict__.update(total.__dict__)
        return self

    def __add__(self, other: JointErrors) -> JointErrors:
        if not isinstance(other, JointErrors):
            raise TypeError(f"expected JointErrors to merge, got {type(other).__name__}")
        if self.n_models != other.n_models:
            raise ValueError(f"cannot merge counts of {self.n_models} and {other.n_models} models")
        shared = wrong_shared = None
        if self.shared is not None or other.shared is not None:
            mine, theirs = self._of_shared(), other._of_shared()
            shared, wrong_shared = mine[0] + theirs[0], mine[1] + theirs[1]
        n_samples = self.n_samples + other.n_samples
        _counts.check_size(n_samples)
        # an empty accumulator takes the library of what is merged in
        library = self.library if self.n_samples else other.library
        total = JointErrors.__new__(JointErrors)
        return total._set(self.joint + other.joint, n_samples, shared, wrong_shared, library)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JointErrors):
            return NotImplemented
        return (
            self.n_samples == other.n_samples
            and np.array_equal(self.joint, other.joint)
            and all(map(np.array_equal, self._of_shared(), other._of_shared()))
        )

    __hash__ = None  # type: ignore[assignment]  # counts change by +=

    def __repr__(self) -> str:
        return _describe(self)

    def _of_shared(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``shared`` and ``wrong_shared``, also where every model has all samples."""
        if self.shared is not None and self.wrong_shared is not None:
            return self.shared, self.wrong_shared
        shape = self.joint.shape
        wrong = np.broadcast_to(self.joint.diagonal()[:, None], shape)
        return np.broadcast_to(np.int64(self.n_samples), shape), wrong


def _present_words(errors: ErrorBits) -> NDArray[np.uint64]:
    if errors.present is not None:
        return errors.present
    return _bits.full(errors.n_models, errors.n_samples, errors.words.shape[1])


def _positions(models: Models, n_models: int) -> NDArray[np.int64]:
    asked = np.arange(n_models)[models] if isinstance(models, slice) else _as_indices(models)
    asked = np.atleast_1d(asked)
    if asked.dtype == np.bool_ and asked.shape == (n_models,):
        asked = np.flatnonzero(asked)
    if asked.size == 0:
        raise ValueError("no models are selected")
    if asked.ndim != 1 or asked.dtype.kind not in "iu":
        raise TypeError(
            f"models must be indices or {n_models} truth values, got {asked.dtype} {asked.shape}"
        )
    outside = (asked < -n_models) | (asked >= n_models)
    if outside.any():
        raise IndexError(f"there is no model {asked[outside][0]}; there are {n_models}")
    return asked.astype(np.int64) % n_models


def _as_indices(models: Models) -> NDArray[Any]:
    return _arrays.as_numpy(models) if _arrays.is_on_gpu(models) else np.asarray(models)


def _accuracy(errors: ErrorBits | JointErrors) -> Array:
    if errors.n_samples == 0:
        raise ValueError("accuracy of no samples is undefined")
    with np.errstate(invalid="ignore"):
        accuracy = 1 - errors.n_wrong() / errors.n_present()
    return _arrays.in_library(accuracy, errors.library)


def _describe(errors: ErrorBits | JointErrors) -> str:
    text = f"{errors.n_models} models x {errors.n_samples} samples"
    n_present = errors.n_present()
    seen = n_present > 0
    if seen.any():
        accuracy = 1 - errors.n_wrong()[seen] / n_present[seen]
        text += f", accuracy {accuracy.min():.4f} to {accuracy.max():.4f}"
    if (n_present < errors.n_samples).any():
        text += f", some models on {n_present.min()} samples"
    return f"{type(errors).__name__}({text})"
