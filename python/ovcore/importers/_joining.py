"""Which samples several models share, by id or by position, and where their labels differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ovcore.importers._outputs import Labels, Outputs

__all__ = ["ImportReport", "Joined", "join"]


@dataclass(frozen=True)
class ImportReport:
    """What became of one model's samples; ``matched + dropped`` is how many its file has.

    Attributes:
        name: the model's.
        file: where its outputs came from.
        matched: samples that are in the store.
        dropped: samples that are not: others, the labels or the store lack them, or labels differ.
        missing: samples that another model or the labels have and this file lacks.
        disagreed: samples that this file labels otherwise than the labels, the store or else the
            first file with labels.
        first_disagreed: the id of the first of them, or its position.
        accuracy: share of the matched samples that the model gets right.
    """

    name: str
    file: str
    matched: int
    dropped: int = 0
    missing: int = 0
    disagreed: int = 0
    first_disagreed: str | None = None
    accuracy: float = float("nan")

    def __str__(self) -> str:
        first = "" if self.first_disagreed is None else f" (first {self.first_disagreed!r})"
        return (
            f"{self.name}: {self.matched} matched, {self.dropped} dropped, {self.missing} missing, "
            f"{self.disagreed} disagreed on the label{first}, accuracy {self.accuracy:.4f}"
        )


@dataclass(frozen=True)
class Joined:
    """The samples that all models have, in one order.

    Attributes:
        target: (N,) labels.
        sample_ids: N ids, or None.
        rows: of each model, (N,) where its file has these samples.
        reports: one a model, without accuracies.
    """

    target: NDArray[np.int64]
    sample_ids: list[str] | None
    rows: list[NDArray[np.int64]]
    reports: list[ImportReport]


def join(
    models: Sequence[Outputs],
    *,
    labels: Labels | None = None,
    fixed: bool = False,
    disagreeing: Literal["drop", "refuse"] = "drop",
) -> Joined:
    """The samples that all models and ``labels`` have: by id, or by position where there are none.

    They come in the order of ``labels``, or else of the first model. A sample's label is that of
    ``labels``, or else of the first model that has labels.

    Args:
        models: one or more.
        labels: labels of the samples; those of a store that models are added to.
        fixed: no sample of ``labels`` may be left out, as a store's cannot.
        disagreeing: samples that two files label differently: dropped for all models, or refused.

    Raises:
        ValueError: some files have ids and others do not; without ids, lengths that differ; no
            labels; no common sample; labels that differ or samples that are missing where refused.
    """
    if not models:
        raise ValueError("models is empty")
    parties: list[Outputs | Labels] = [*models] if labels is None else [labels, *models]
    ids, places, missing = _by_position(parties) if _has_no_ids(parties) else _by_id(parties)
    if fixed and missing[1:] != [0] * len(models):
        _refuse_missing(parties)
    truth = next(
        (p.target[at] for p, at in zip(parties, places, strict=True) if p.target is not None), None
    )
    if truth is None:
        files = ", ".join(sorted({model.file for model in models}))
        raise ValueError(f"none of the files has labels, give them separately: {files}")

    differs = [
        np.zeros(len(truth), np.bool_) if p.target is None else p.target[at] != truth
        for p, at in zip(parties, places, strict=True)
    ]
    kept = ~np.logical_or.reduce(differs)
    if not kept.all() and (fixed or disagreeing == "refuse"):
        _refuse_labels(parties, places, differs, truth, ids)
    if not len(truth):
        raise ValueError(f"{parties[0].file} has no samples")
    if not kept.any():
        raise ValueError("no sample has the same label in all files")
    reports = []
    for model, lacks, differ in zip(
        models, missing[-len(models) :], differs[-len(models) :], strict=True
    ):
        matched = int(kept.sum())
        first = None if not differ.any() else _name(ids, int(differ.argmax()))
        reports.append(
            ImportReport(
                name=model.card.name,
                file=model.file,
                matched=matched,
                dropped=model.n_samples - matched,
                missing=lacks,
                disagreed=int(differ.sum()),
                first_disagreed=first,
            )
        )
    return Joined(
        target=truth[kept].astype(np.int64),
        sample_ids=None if ids is None else [ids[i] for i in np.flatnonzero(kept)],
        rows=[at[kept] for at in places[-len(models) :]],
        reports=reports,
    )


_Places = tuple[list[str] | None, list[NDArray[np.int64]], list[int]]
"""Ids of the common samples, where each party has them, how many each party lacks."""


def _has_no_ids(parties: Sequence[Outputs | Labels]) -> bool:
    """Whether positions join the parties; some with ids and some without are refused.

    Labels with ids and models without any are joined by position.
    """
    models = [party for party in parties if isinstance(party, Outputs)]
    without = [party for party in models if party.sample_ids is None]
    if len(without) == len(models):
        return True
    lacking = next((party for party in parties if party.sample_ids is None), None)
    if lacking is not None:
        named = next(party for party in models if party.sample_ids is not None)
        raise ValueError(
            f"{lacking.file} has no sample ids but {named.file} has: "
            "samples cannot be matched, give ids to all files or to none"
        )
    return False


def _by_position(parties: Sequence[Outputs | Labels]) -> _Places:
    first = parties[0]
    for other in parties:
        if _count(other) != _count(first):
            raise ValueError(
                f"{other.file} has {_count(other)} samples but {first.file} has {_count(first)}: "
                "without sample ids they must be the same"
            )
    ids = None if first.sample_ids is None else list(first.sample_ids)
    return ids, [np.arange(_count(first))] * len(parties), [0] * len(parties)


def _by_id(parties: Sequence[Outputs | Labels]) -> _Places:
    found = [{name: i for i, name in enumerate(party.sample_ids or ())} for party in parties]
    common = [name for name in found[0] if all(name in places for places in found)]
    if not common:
        examples = ", ".join(
            f"{party.file} has {next(iter(places), 'none')!r}"
            for party, places in zip(parties[:3], found, strict=False)
        )
        raise ValueError(f"no sample is in all files: for example {examples}")
    everywhere = len(set().union(*found))
    places = [np.array([at[name] for name in common], np.int64) for at in found]
    return common, places, [everywhere - len(at) for at in found]


def _count(party: Outputs | Labels) -> int:
    return party.n_samples if isinstance(party, Outputs) else len(party.target)


def _name(ids: Sequence[str] | None, position: int) -> str:
    return str(position) if ids is None else ids[position]


def _refuse_missing(parties: Sequence[Outputs | Labels]) -> None:
    store = parties[0]
    for model in parties[1:]:
        have = set(model.sample_ids or ())
        lacking = [name for name in store.sample_ids or () if name not in have]
        if lacking:
            raise ValueError(
                f"{model.file} lacks {len(lacking)} of {_count(store)} samples of {store.file}, "
                f"first {lacking[0]!r}: a store's samples are fixed, import into a new one"
            )


def _refuse_labels(
    parties: Sequence[Outputs | Labels],
    places: Sequence[NDArray[np.int64]],
    differs: Sequence[NDArray[np.bool_]],
    truth: NDArray[np.integer[Any]],
    ids: Sequence[str] | None,
) -> None:
    at = next(i for i, differ in enumerate(differs) if differ.any())
    party, differ = parties[at], differs[at]
    first = int(differ.argmax())
    assert party.target is not None
    raise ValueError(
        f"{party.file} labels {int(differ.sum())} of {len(truth)} samples otherwise than "
        f"{next(p.file for p in parties if p.target is not None)}, first {_name(ids, first)!r}: "
        f"{party.target[places[at][first]]}, not {truth[first]}"
    )
