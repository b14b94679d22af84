"""An ensemble that grows, on some samples: what it would be worth if each model joined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch
from ovcore._candidates import Candidates
from ovcore.ensembles._scored import Ensembled

_LEAST = float(np.finfo(np.float32).tiny)  # probabilities below count as this


class Joining:
    """Running sums of the members' scores.

    Args:
        models: the M models to choose from.
        candidates: of all N samples.
        keep: (N,) the samples that count; default: all.
    """

    def __init__(
        self, models: Ensembled, candidates: Candidates, keep: NDArray[np.bool_] | None = None
    ) -> None:
        self._models = models
        self._candidates = c = candidates if keep is None else _only(candidates, keep)
        self.members: list[int] = []
        self._sums_on_gpu = _arrays.is_on_gpu(c.scores)  # there the kernel sums members itself
        self._running = np.zeros(0 if self._sums_on_gpu else len(c.classes))
        self._outside = np.zeros(0 if self._sums_on_gpu else len(c.samples))
        at = _arrays.on_host(c.offsets)[:-1] + _arrays.on_host(c.target)
        of_target = _arrays.on_host(_arrays.take(c.scores, at))
        self._of_target = of_target[:, : models.n_models]  # (S, M)
        self._target_sum = np.zeros(len(at))
        self._sums_probabilities = models.scored is None or models.scored.combine == "prob"

    @property
    def n_samples(self) -> int:
        """Samples that count."""
        return len(self._candidates.samples)

    def join(self, model: int) -> None:
        """Adds a member."""
        self.members.append(model)
        if not self._sums_on_gpu:
            self._running += self._candidates.scores[:, model]
            self._outside += self._candidates.outside[:, model]
        self._target_sum += self._of_target[:, model]

    def hits(self) -> NDArray[np.int64]:
        """(M,) samples that the ensemble gets right if each model joins."""
        return self.hits_by(np.zeros(self.n_samples, bool))[:, 0]

    def hits_by(self, right: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(M, 2) those of them where ``right`` is false, and where it is true."""
        return _dispatch.choose(None, self._models.library).candidate_hits(
            self._models.scored,
            self._models.n_models,
            self._candidates,
            np.array(self.members, np.int64),
            self._running,
            self._outside,
            right,
            _dispatch.count_workers(None),
        )

    def nll(self, models: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean NLL in nats of the mean probability if each of some models joins; NaN of logits."""
        if not self._sums_probabilities:
            return np.full(len(models), np.nan)
        size = len(self.members) + 1
        return np.array([
            -np.log(np.maximum((self._target_sum + self._of_target[:, m]) / size, _LEAST)).mean()
            for m in models
        ])  # fmt: skip


def _only(candidates: Candidates, keep: NDArray[np.bool_]) -> Candidates:
    """The candidates of some samples."""
    c = candidates
    kept = keep[_arrays.on_host(c.samples)]
    sizes = np.diff(_arrays.on_host(c.offsets))
    listed, rows = np.flatnonzero(kept), np.flatnonzero(np.repeat(kept, sizes))
    offsets = np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64)
    return Candidates(
        samples=_arrays.take(c.samples, listed),
        offsets=_arrays.beside(offsets, _arrays.library_of(c.offsets)),
        classes=_arrays.take(c.classes, rows),
        target=_arrays.take(c.target, listed),
        tops=_arrays.take(c.tops, listed),
        scores=_arrays.take(c.scores, rows),
        outside=_arrays.take(c.outside, listed),
        mass=_arrays.take(c.mass, listed),
        n_classes=c.n_classes,
    )
