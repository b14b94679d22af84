"""What functions of ensembles are given: logits and temperatures, or stored top-k probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._arrays import Array
from ovcore._candidates import Candidates, Scored, padded
from ovcore._confidences import refuse_temperatures
from ovcore._devices import DeviceArray
from ovcore._inputs import Logits, Preds
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
    preds: NDArray[np.int32] | DeviceArray
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
        score = _dispatch.choose(None, self.library).candidate_scores
        labels = _arrays.beside(target, self.library)
        with _progress.bar("candidate scores") as progress:
            workers = _dispatch.count_workers(None)
            return score(part, preds, labels, all_samples, workers, progress)


def read(
    logits: Array | TopK | Sequence[Array | TopK],
    target: Array | None,
    temperature: float | Sequence[float] | Array,
    combine: str,
    known: Sequence[str] = COMBINE,
    members: NDArray[np.int64] | Sequence[int] | Array | None = None,
) -> tuple[Ensembled, NDArray[np.int64]]:
    """Checks what is to be combined, and predicts with each model.

    Args:
        logits: of M models, or stored outputs.
        target: (N,); None reads as zeros.
        temperature: of all M models.
        combine: how.
        known: ways that the caller knows.
        members: models that the caller asks for; others are not looked at.

    Returns:
        Those models, each once, and where members are among them.
    """
    _inputs.refuse_unknown("combine", combine, known)
    inputs, stored = _inputs.read_scores(logits, target)
    temperatures = _inputs.read_temperature(temperature, len(inputs.models))
    numbers, places = np.arange(len(inputs.models)), np.arange(len(inputs.models))
    if members is not None:
        wanted = read_members(members, len(inputs.models), "members")
        numbers, places = np.unique(wanted, return_inverse=True)
        stored = [stored[m] for m in numbers] if stored else stored
        temperatures = temperatures[numbers]
        inputs = _only(inputs, numbers)
    if isinstance(inputs, Logits):
        preds = _arrays.empty((len(inputs.models), inputs.n_samples), "int32", inputs.library)
        errors = pack(inputs, preds=preds, nan_policy=None, numbers=numbers)
        scored = Scored(inputs.models, temperatures, "logit" if combine == "logprob" else combine)
        n_classes = inputs.n_classes
        models = Ensembled(errors, preds, inputs.target, n_classes, inputs.library, scored, ())
        return models, places
    if combine in ("logit", "logprob"):
        raise ValueError(
            "stored top-k outputs are probabilities of some classes, which do not combine as "
            f"{combine!r}"
        )
    refuse_temperatures(temperatures)
    errors = pack(inputs, nan_policy=None, numbers=numbers)
    preds = np.stack(inputs.models).astype(np.int32)
    n_classes = stored[0].n_classes
    models = Ensembled(errors, preds, inputs.target, n_classes, inputs.library, None, stored)
    return models, places


def _only(inputs: Logits | Preds, which: NDArray[np.int64]) -> Logits | Preds:
    """Some of the models."""
    if isinstance(inputs, Logits):
        return inputs._replace(models=[inputs.models[m] for m in which])
    absent = {i: inputs.absent[m] for i, m in enumerate(which) if m in inputs.absent}
    return inputs._replace(models=[inputs.models[m] for m in which], absent=absent)


def read_members(
    members: int | Sequence[int] | Array, n_models: int, name: str, *, one: bool = False
) -> NDArray[np.int64]:
    """Indices of models, which may repeat; or of one model, where that is allowed."""
    found = _arrays.integers(_arrays.adopt(members, name), name)
    if one and found.ndim == 0:
        found = found[None]
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
    for top in stored:
        classes, probs = (values[samples] for values in top.probabilities())
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
