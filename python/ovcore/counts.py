"""All that is counted of all pairs of models, as integers that add up over samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _archive, _arrays, _counts, _inputs, _triangles, agreement, packing
from ovcore._arrays import Array
from ovcore.ensembles import PairEnsembles, _pairs, _scored
from ovcore.errors import JointErrors
from ovcore.topk import TopK

__all__ = ["PairCounts"]

Matrix = NDArray[np.int64]

_KINDS = ("agreement", "conversions", "rescues")
_UNDEFINED = "agreement and pair ensembles are not defined where models lack samples"


class PairCounts:
    """For all pairs of models: joint errors, and where asked for agreement and pair ensembles.

    With these every metric of pairs is a division. Counts of different samples add up, so samples
    can be counted in blocks, on several machines, and merged: ``counts += other``, in any order.
    :meth:`empty` is the identity. Metrics of errors take ``counts.errors``.

    Attributes:
        errors: the models' joint errors.
        agreement: (M, M) int64 samples with the same predicted class; None where not counted.
        conversions: (M, M) int64 samples that exactly one model gets right and the pair's ensemble
            does, too; None where ensembles were not counted.
        rescues: (M, M) int64 samples that neither model gets right but the pair's ensemble does;
            None where ensembles were not counted.

    >>> import numpy as np, ovcore as ov
    >>> preds, target = np.array([[0, 1, 2, 2], [1, 1, 1, 2]]), np.array([0, 1, 0, 2])
    >>> counts = ov.PairCounts.empty(2)
    >>> for block in (slice(0, 3), slice(3, 4)):
    ...     counts += ov.PairCounts.from_outputs(preds[:, block], target[block])
    >>> counts
    PairCounts(2 models x 4 samples: joint errors, agreement)
    >>> ov.pairwise.error_inconsistency(counts.errors)[0, 1], counts.label_disagreement()[0, 1]
    (np.float64(0.25), np.float64(0.5))
    """

    def __init__(
        self,
        errors: JointErrors,
        *,
        agreement: Matrix | None = None,
        conversions: Matrix | None = None,
        rescues: Matrix | None = None,
    ) -> None:
        if not isinstance(errors, JointErrors):
            raise TypeError(f"expected JointErrors, got {type(errors).__name__}")
        more = dict(zip(_KINDS, (agreement, conversions, rescues), strict=True))
        if errors.shared is not None and any(matrix is not None for matrix in more.values()):
            raise ValueError(_UNDEFINED)
        _counts.check_pairs(errors.joint, errors.n_samples, **more)
        self._set(errors, more)

    def _set(self, errors: JointErrors, more: dict[str, Matrix | None]) -> PairCounts:
        """Takes counts without looking at them; of many models that costs as much as counting."""
        self.errors = errors
        self.agreement = more["agreement"]
        self.conversions = more["conversions"]
        self.rescues = more["rescues"]
        return self

    @classmethod
    def from_outputs(
        cls,
        outputs: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating | (M, N) integer
        target: Array,  # (N,) integer
        *,
        agreement: bool = True,
        temperature: float | Sequence[float] | Array | None = None,  # scalar or (M,)
        combine: str = "prob",
        nan_policy: str = "raise",
    ) -> PairCounts:
        """Counts all pairs of M models on N samples, of which there may be none.

        Args:
            outputs: as in :func:`ovcore.pack_errors`.
            target: (N,) integer classes.
            agreement: count samples with the same predicted class, too.
            temperature: count pair ensembles, too, with confidences softmax(z / T): as in
                :func:`ovcore.ensembles.pairs`. Default: no ensembles.
            combine: how ensembles combine, as in :func:`ovcore.ensembles.pairs`.
            nan_policy: "omit" leaves a model's samples without a prediction out of its pairs; of
                errors alone, as agreement and ensembles are not defined there.

        Raises:
            ValueError: as :func:`ovcore.pack_errors` and :func:`ovcore.ensembles.pairs`, but not
                for want of samples; ``nan_policy="omit"`` with agreement or a temperature;
                ``combine`` without a temperature.
            TypeError: as these; predicted classes with a temperature.
        """
        ensembles = temperature is not None
        if nan_policy == "omit" and (agreement or ensembles):
            raise ValueError(
                f"{_UNDEFINED}: nan_policy='omit' needs agreement=False and temperature=None"
            )
        _inputs.refuse_unknown("nan_policy", nan_policy, ("raise", "omit"))
        _inputs.refuse_unknown("combine", combine, _scored.COMBINE)
        if combine != "prob" and not ensembles:
            raise ValueError(f"combine={combine!r} is of pair ensembles: pass a temperature, too")
        n_models, n_samples = _inputs.size(outputs, target, name="outputs")
        if n_samples == 0:
            return cls.empty(n_models, agreement=agreement, ensembles=ensembles)
        if temperature is not None:
            return _count_ensembles(outputs, target, agreement, temperature, combine)
        return _count_errors(outputs, target, agreement, nan_policy)

    @classmethod
    def empty(cls, n_models: int, *, agreement: bool = True, ensembles: bool = False) -> PairCounts:
        """Counts of no sample: merging them changes nothing."""
        errors = JointErrors.empty(n_models)
        kinds = (agreement, ensembles, ensembles)
        zeros = (np.zeros_like(errors.joint) if counted else None for counted in kinds)
        return cls.__new__(cls)._set(errors, dict(zip(_KINDS, zeros, strict=True)))

    @property
    def n_models(self) -> int:
        """Number of models, M."""
        return self.errors.n_models

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return self.errors.n_samples

    def accuracy(self) -> Array:
        """(M,) float64 share of the samples a model has that it gets right; NaN if it has none."""
        return self.errors.accuracy()

    def label_disagreement(self) -> Array:
        """(M, M) as :func:`ovcore.pairwise.label_disagreement`: 1 - agreement / N."""
        values = agreement.share_of_different(self._agreement(), self.n_samples)
        return _arrays.in_library(values, self.errors.library)

    def same_wrong_answer(self) -> Array:
        """(M, M) as :func:`ovcore.pairwise.same_wrong_answer`: (agreement - n11) / n00."""
        values = agreement.share_of_same_wrong(self._agreement(), self.errors)
        return _arrays.in_library(values, self.errors.library)

    def _agreement(self) -> Matrix:
        if self.agreement is None:
            raise ValueError("these counts have no agreement: count with agreement=True")
        if self.n_samples == 0:
            raise ValueError("agreement on no samples is undefined")
        return self.agreement

    @property
    def ensembles(self) -> PairEnsembles:
        """Pair ensembles and their metrics, with hits = n11 + conversions + rescues.

        Raises:
            ValueError: ensembles were not counted, or there is no sample.
        """
        if self.conversions is None or self.rescues is None:
            raise ValueError("these counts have no pair ensembles: count with a temperature")
        if self.n_samples == 0:
            raise ValueError("pair ensembles on no samples are undefined")
        return _pairs.of_counts(self.errors, self.conversions.copy(), self.rescues.copy())

    def to_vector(self, *, missing: bool = False) -> NDArray[np.int64]:
        """One flat row of int64, to be summed with others and read by :meth:`from_vector`.

        N; then of joint errors, agreement, conversions and rescues, where counted, the upper
        triangle row by row, diagonal included: M (M + 1) / 2 each. Its length depends on M, on what
        is counted and on ``missing``, never on the samples.

        Args:
            missing: also send what models lack samples for, M (M + 1) / 2 + M^2 more at the end.

        Raises:
            ValueError: models lack samples, and ``missing`` is False.

        >>> import numpy as np, ovcore as ov
        >>> preds, target = np.array([[0, 1, 2], [1, 1, 1]]), np.array([0, 1, 0])
        >>> vector = ov.PairCounts.from_outputs(preds, target).to_vector()
        >>> vector  # 3 samples; wrong on 1, 1, 2 of them; the same on 3, 1, 3
        array([3, 1, 1, 2, 3, 1, 3])
        >>> ov.PairCounts.from_vector(vector * 5, n_models=2)  # as if summed over five processes
        PairCounts(2 models x 15 samples: joint errors, agreement)
        """
        errors, m = self.errors, self.n_models
        if errors.shared is not None and not missing:
            raise ValueError("these counts are of models that lack samples: pass missing=True")
        matrices = [errors.joint, *(more for more in self._more().values() if more is not None)]
        vector = np.empty(self._length(m, len(matrices), missing), np.int64)
        vector[0] = self.n_samples
        if missing:
            shared, wrong_shared = errors.shared, errors.wrong_shared
            if shared is None or wrong_shared is None:
                shared = np.full((m, m), self.n_samples, np.int64)
                wrong_shared = np.repeat(errors.n_wrong()[:, None], m, axis=1)
            matrices.append(shared)
            vector[len(vector) - m * m :] = wrong_shared.ravel()
        for position, matrix in enumerate(matrices):
            _triangles.write(matrix, vector[1 + position * _triangles.size(m) :])
        return vector

    @classmethod
    def from_vector(
        cls,
        vector: NDArray[np.int64],
        n_models: int,
        *,
        agreement: bool = True,
        ensembles: bool = False,
        missing: bool = False,
    ) -> PairCounts:
        """Reads what :meth:`to_vector` wrote, or a sum of that.

        Args:
            vector: (L,) int64.
            n_models: M.
            agreement: whether agreement was counted.
            ensembles: whether pair ensembles were.
            missing: as it was written.

        Raises:
            ValueError: a vector of another length; numbers that no samples could give.
            TypeError: a vector that is no int64 array.
        """
        if not isinstance(vector, np.ndarray) or vector.dtype != np.int64:
            got = vector.dtype if isinstance(vector, np.ndarray) else type(vector).__name__
            raise TypeError(f"vector must be an int64 array, got {got}")
        m = cls.empty(n_models).n_models
        kinds = [kind for kind in _KINDS if (agreement if kind == "agreement" else ensembles)]
        length = cls._length(m, 1 + len(kinds), missing)
        if vector.shape != (length,):
            raise ValueError(
                f"vector must be ({length},) of {m} models and these counts, got {vector.shape}"
            )
        names = ["joint", *kinds, *(["shared"] if missing else [])]
        found = {
            name: _triangles.read(vector[1 + position * _triangles.size(m) :], m)
            for position, name in enumerate(names)
        }
        joint, shared, n_samples = found.pop("joint"), found.pop("shared", None), int(vector[0])
        wrong_shared = None if shared is None else vector[length - m * m :].reshape(m, m).copy()
        if shared is not None and (shared == n_samples).all():  # no model lacks any, after all
            shared = wrong_shared = None
        errors = JointErrors(joint, n_samples, shared=shared, wrong_shared=wrong_shared)
        return cls(errors, **found)

    @staticmethod
    def _length(n_models: int, n_matrices: int, missing: bool) -> int:
        """Of a vector with so many triangles, those for ``missing`` not among them."""
        n_whole = n_models * n_models if missing else 0
        return 1 + (n_matrices + bool(missing)) * _triangles.size(n_models) + n_whole

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the counts to one .npz file, whole or not at all; the library is not kept.

        :meth:`ovcore.JointErrors.load` reads its errors alone.
        """
        errors = self.errors
        _archive.save(
            path,
            joint=errors.joint,
            n_samples=errors.n_samples,
            shared=errors.shared,
            wrong_shared=errors.wrong_shared,
            **self._more(),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PairCounts:
        """Reads what :meth:`save` wrote. Raises ValueError where the file holds something else."""

        def make(joint: Matrix, n_samples: int, **rest: Any) -> PairCounts:
            more = {kind: rest.pop(kind) for kind in _KINDS}
            return cls(JointErrors(joint, n_samples, **rest), **more)

        more = ("shared", "wrong_shared", *_KINDS)
        return _archive.load(path, make, cls.__name__, "joint", *more)

    def _more(self) -> dict[str, Matrix | None]:
        """What is counted beside errors."""
        return {kind: getattr(self, kind) for kind in _KINDS}

    def _kinds(self) -> str:
        text = "joint errors" if self.agreement is None else "joint errors, agreement"
        return text if self.conversions is None else f"{text}, pair ensembles"

    def __iadd__(self, other: PairCounts) -> PairCounts:
        total = self + other
        self.__dict__.update(total.__dict__)
        return self

    def __add__(self, other: PairCounts) -> PairCounts:
        if not isinstance(other, PairCounts):
            raise TypeError(f"expected PairCounts to merge, got {type(other).__name__}")
        errors = self.errors + other.errors  # refuses other numbers of models
        kinds, others = self._more(), other._more()
        # counts of no sample take the kinds of what is merged in
        if other.n_samples == 0:
            others = {k: v if v is None else np.zeros_like(v) for k, v in kinds.items()}
        elif self.n_samples == 0:
            kinds = {k: v if v is None else np.zeros_like(v) for k, v in others.items()}
        total: dict[str, Matrix | None] = {}
        for kind, mine in kinds.items():
            theirs = others[kind]
            if (mine is None) != (theirs is None):
                raise ValueError(
                    f"cannot merge counts of {self._kinds()} with counts of {other._kinds()}"
                )
            total[kind] = None if mine is None or theirs is None else mine + theirs
        if errors.shared is not None and any(v is not None for v in total.values()):
            raise ValueError(_UNDEFINED)
        return PairCounts.__new__(PairCounts)._set(errors, total)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PairCounts):
            return NotImplemented
        pairs = zip(self._more().values(), other._more().values(), strict=True)
        return self.errors == other.errors and all(
            mine is theirs if mine is None or theirs is None else np.array_equal(mine, theirs)
            for mine, theirs in pairs
        )

    __hash__ = None  # type: ignore[assignment]  # counts change by +=

    def __repr__(self) -> str:
        return f"PairCounts({self.n_models} models x {self.n_samples} samples: {self._kinds()})"


def _count_errors(
    outputs: Array | TopK | Sequence[Array | TopK], target: Array, same: bool, nan_policy: str
) -> PairCounts:
    inputs = _inputs.read(outputs, target, name="outputs")
    if same:
        errors, classes = agreement.pack_with_classes(inputs, None, None)
        together = agreement.count_agreement(classes, inputs.library, None, None)
    else:
        errors, together = packing.pack(inputs, nan_policy=nan_policy), None
    more = {"agreement": together, "conversions": None, "rescues": None}
    return PairCounts.__new__(PairCounts)._set(JointErrors.from_errors(errors), more)


def _count_ensembles(
    outputs: Array | TopK | Sequence[Array | TopK],
    target: Array,
    same: bool,
    temperature: float | Sequence[float] | Array,
    combine: str,
) -> PairCounts:
    models, _ = _scored.read(outputs, target, temperature, combine)
    together = None
    if same:
        together = agreement.count_agreement(list(models.preds), models.library, None, None)
    pairs, _ = _pairs.count_pairs(models)
    conversions, rescues = map(_arrays.as_numpy, (pairs.conversions, pairs.rescues))
    more = {"agreement": together, "conversions": conversions, "rescues": rescues}
    return PairCounts.__new__(PairCounts)._set(pairs.errors, more)
