"""What functions of ensembles are given: logits and temperatures, or stored top-k probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._arrays import Array
from ovcore._candidates import Candidates, Scored, padded
from ovcore._inputs import Logits
from ovcore.errors import ErrorBits
from ovcore.packing import pack
from ovcore.topk import TopK

COMBINE = ("prob", "logit", "logprob")
"""Ways to combine for which sums decide. A logprob is a logit less what all classes of a model and
sample have in common: it predicts the same."""


@dataclass(frozen=True)
class Ensembled:
    """Checked models that are to be combined.

    Attributes:
        errors: error bits of the M models.
        preds: (M, N) int32 what each predicts; all there.
        target: (N,) int64.
        n_classes: K.
        library: the caller's.
        scored: logits and temperatures, or None where ``stored`` has probabilities.
        stored: M stored outputs, or none.
    """

    errors: ErrorBits
    preds: NDArray[np.int32]
    target: NDArray[np.int64]
    n_classes: int
    library: str
    scored: Scored | None
    stored: Sequence[TopK]

    @property
    def n_models(self) -> int:
        """Number of models, M."""
        return len(self.preds)

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return len(self.target)

    def part(self, rows: slice) -> Scored | None:
        """What is scored on some samples."""
        if self.scored is None:
            return None
        models = [m._replace(values=m.values[rows]) for m in self.scored.models]
        return self.scored._replace(models=models)

    def candidates(self, rows: slice = slice(None), *, all_samples: bool = False) -> Candidates:
        """The classes that can win some samples; also of those on which models agree, if asked."""
        preds, target = self.preds[:, rows], self.target[rows]
        part = self.part(rows)
        if part is None:
            probs = [top[rows] for top in self.stored]
            return _stored_candidates(probs, preds, target, self.n_classes, all_samples)
        with _progress.bar("candidate scores") as progress:
            return _dispatch.choose(None).candidate_scores(
                part, preds, target, all_samples, _dispatch.count_workers(None), progress
            )


def read(
    logits: Array | TopK | Sequence[Array | TopK],
    target: Array | None,
    temperature: float | Sequence[float] | Array,
    combine: str,
    known: Sequence[str] = COMBINE,
) -> Ensembled:
    """Checks what is to be combined, and predicts with each model. No target reads as zeros."""
    if combine not in known:
        raise ValueError(f"combine must be one of {', '.join(known)}: got {combine!r}")
    inputs, stored = _inputs.read_scores(logits, target)
    temperatures = _inputs.read_temperature(temperature, len(inputs.models))
    if isinstance(inputs, Logits):
        preds = np.empty((len(inputs.models), inputs.n_samples), np.int32)
        errors = pack(inputs, preds=preds)
        scored = Scored(inputs.models, temperatures, "logit" if combine == "logprob" else combine)
        n_classes = inputs.n_classes
        return Ensembled(errors, preds, inputs.target, n_classes, inputs.library, scored, ())
    if combine in ("logit", "logprob") or (temperatures != 1).any():
        raise ValueError(
            "stored top-k outputs are probabilities of some classes: they combine as 'prob' at "
            f"temperature 1, got combine={combine!r} and temperature {temperature}"
        )
    errors = pack(inputs)
    preds = np.stack(inputs.models).astype(np.int32)
    n_classes = stored[0].n_classes
    return Ensembled(errors, preds, inputs.target, n_classes, inputs.library, None, stored)


def read_members(members: Sequence[int] | Array, n_models: int, name: str) -> NDArray[np.int64]:
    """Indices of models; they may repeat."""
    found = _arrays.integers(_arrays.adopt(members, name), name)
    if found.ndim != 1 or found.size == 0:
        raise ValueError(f"{name} must be indices of models, at least one: got {members!r}")
    wrong = (found < 0) | (found >= n_models)
    if wrong.any():
        raise ValueError(f"{name} must be in 0..{n_models - 1}, got {found[wrong.argmax()]}")
    return found.astype(np.int64)


def _stored_candidates(
    stored: Sequence[TopK],  # M outputs of the same n samples
    preds: NDArray[np.int32],  # (M, n)
    target: NDArray[np.int64],  # (n,)
    n_classes: int,
    all_samples: bool,
) -> Candidates:
    """Every class that some model's list has; any other scores 0."""
    n_models = len(stored)
    listed = np.full(len(target), all_samples) | (preds != preds[0]).any(axis=0)
    samples = np.flatnonzero(listed)
    base = np.arange(len(samples)) * n_classes  # a key is a sample and a class
    entries = []
    for m, top in enumerate(stored):
        classes, probs = (values[samples] for values in top.probabilities())
        found = np.sort(classes, axis=1)
        if (found[:, 1:] == found[:, :-1]).any():
            raise ValueError(f"model {m} lists a class twice for one sample")
        entries.append((base[:, None] + classes, probs))
    keys = np.unique(np.concatenate([k.ravel() for k, _ in entries] + [base + target[samples]]))
    offsets = np.searchsorted(keys, np.append(base, len(samples) * n_classes)).astype(np.int64)
    kind = np.result_type(np.float32, *(probs.dtype for _, probs in entries))
    scores = np.zeros((len(keys), padded(n_models)), kind)
    for m, (k, probs) in enumerate(entries):
        scores[np.searchsorted(keys, k), m] = probs
    tops = np.full((len(samples), padded(n_models)), -1, np.int32)
    tops[:, :n_models] = (np.searchsorted(keys, base + preds[:, samples]) - offsets[:-1]).T
    outside = np.zeros((len(samples), padded(n_models)), kind)
    outside[np.diff(offsets) == n_classes] = -np.inf
    return Candidates(
        samples=samples,
        offsets=offsets,
        classes=(keys % n_classes).astype(np.int32),
        target=(np.searchsorted(keys, base + target[samples]) - offsets[:-1]).astype(np.int32),
        tops=tops,
        scores=scores,
        outside=outside,
        mass=np.ones((len(samples), padded(n_models))),
        n_classes=n_classes,
    )
