"""Several models' outputs, joined and written to one store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ovcore.importers._classes import agree_on_classes, check_range
from ovcore.importers._joining import ImportReport, join
from ovcore.importers._outputs import Labels, Outputs, first_repeated
from ovcore.store import Store, StoreWriter
from ovcore.topk import TopK

__all__ = ["import_outputs"]

_BLOCK = 1 << 25
"""Bytes of one model's scores that are in memory at a time."""

_SUM = 2e-3
"""How far from 1 the sum of a row of probabilities may be: 1,000 of them rounded to float16."""


def import_outputs(
    models: Sequence[Outputs],
    store: str | os.PathLike[str],
    *,
    append: bool = False,
    labels: Labels | None = None,
    class_names: Sequence[str] | None = None,
    n_classes: int | None = None,
    disagreeing: Literal["drop", "refuse"] = "drop",
) -> list[ImportReport]:
    """Writes models' outputs on the samples that all of them have to a store, or nothing at all.

    Samples are matched by id, or by position where there are no ids. A new store gets those that
    all models and ``labels`` have. A store that models are added to keeps its samples: each model
    must have them all and label them alike. Probabilities become logits, their logarithms. The
    number of classes is what is given or what scores and class names tell; where there is none of
    these and top-k outputs need it, the largest class seen and one.

    Args:
        models: from readers such as :func:`read_arrays`.
        store: folder of the store.
        append: add to the store that is there.
        labels: labels in a file of their own, for models without or to compare theirs with.
        class_names: K names.
        n_classes: K.
        disagreeing: what becomes of samples that two files label differently: "drop" leaves them
            out for all models, "refuse" raises.

    Returns:
        What became of each model's samples.

    Raises:
        ValueError: names that repeat, samples or classes that do not fit, values that are not
            numbers or probabilities, labels that differ where that is refused.
        FileExistsError, FileNotFoundError: there is a store, or none to add to.
    """
    if disagreeing not in ("drop", "refuse"):
        raise ValueError(f"disagreeing must be 'drop' or 'refuse', got {disagreeing!r}")
    if not append and Path(store).exists():
        raise FileExistsError(f"{store} is there already; append adds models to a store")
    models = list(models)
    if (name := first_repeated([model.card.name for model in models])) is not None:
        files = [model.file for model in models if model.card.name == name]
        raise ValueError(
            f"two models are named {name!r} ({', '.join(files[:2])}): name each of them"
        )
    writer = StoreWriter.append(store) if append else None
    if writer is not None:
        if labels is not None:
            raise ValueError("labels cannot be given with append: the store has its own")
        labels = Labels(writer.target, writer.sample_ids, f"the store {writer.path}")
    of_store = (None, None) if writer is None else (writer.class_names, writer.n_classes)
    names, count = agree_on_classes(
        models, class_names=class_names, n_classes=n_classes, of_store=of_store
    )
    check_range(models, labels, count)
    joined = join(models, labels=labels, fixed=append, disagreeing=disagreeing)
    if writer is None:
        writer = StoreWriter(
            store,
            target=joined.target,
            sample_ids=joined.sample_ids,
            class_names=names,
            n_classes=count,
        )
    with writer:
        for model, rows in zip(models, joined.rows, strict=True):
            writer.add_blocks(model.card, _blocks(model, rows, count))
    written = Store(store)
    accuracies = dict(zip(written.names, written.accuracy.tolist(), strict=True))
    return [replace(report, accuracy=accuracies[report.name]) for report in joined.reports]


def _blocks(
    model: Outputs, rows: NDArray[np.int64], n_classes: int | None
) -> Iterator[Mapping[str, NDArray[Any] | TopK]]:
    """Rows of one model's outputs as a store takes them, checked; one block is read at a time."""
    scores = model.logits if model.logits is not None else model.probs
    size = 64 if scores is None else scores.shape[1] * scores.itemsize
    step = max(1, _BLOCK // size)
    in_order = bool((rows == np.arange(model.n_samples)[: len(rows)]).all())
    for begin in range(0, len(rows), step):
        at: slice | NDArray[np.int64] = rows[begin : begin + step]
        if in_order:
            at = slice(begin, begin + len(rows[begin : begin + step]))
        yield _block(model, at, n_classes)


def _block(
    model: Outputs, at: slice | NDArray[np.int64], n_classes: int | None
) -> dict[str, NDArray[Any] | TopK]:
    block: dict[str, NDArray[Any] | TopK] = {}
    if model.logits is not None:
        logits = model.logits[at]
        _refuse(np.isnan(logits), model, at, "logits", "no number (NaN)")
        lacking = (n_classes or 0) - logits.shape[1]
        if lacking > 0:
            logits = np.pad(logits, ((0, 0), (0, lacking)), constant_values=-np.inf)
        block["logits"] = logits
    if model.probs is not None:
        block["logits"] = _log(model, at)
    if model.topk is not None:
        classes, probs = (values[at] for values in model.topk)
        _refuse(np.isnan(probs), model, at, "top-k probabilities", "no number (NaN)")
        assert n_classes is not None
        block["topk"] = TopK(classes, probs, n_classes)
    if model.preds is not None:
        block["preds"] = model.preds[at]
    return block


def _log(model: Outputs, at: slice | NDArray[np.int64]) -> NDArray[np.floating[Any]]:
    """Logarithms of a block of probabilities, in float32 at least; -inf for 0."""
    assert model.probs is not None
    probs = model.probs[at]
    probs = probs.astype(np.result_type(probs.dtype, np.float32), copy=False)
    _refuse(~((probs >= 0) & (probs <= 1 + _SUM)), model, at, "probabilities", "not in 0..1")
    _refuse(
        abs(probs.sum(axis=1, keepdims=True, dtype=np.float64) - 1) > _SUM,
        model, at, "probabilities", "in a row that does not sum to 1",
    )  # fmt: skip
    with np.errstate(divide="ignore"):
        return np.log(probs)


def _refuse(
    bad: NDArray[np.bool_], model: Outputs, at: slice | NDArray[np.int64], kind: str, why: str
) -> None:
    if bad.any():
        row, column = np.unravel_index(int(bad.argmax()), bad.shape)
        first = np.arange(model.n_samples)[at][row]
        column_of = f", column {column}" if bad.shape[1] > 1 else ""
        raise ValueError(f"{model.file}: {kind} of sample {first}{column_of}: {why}")
