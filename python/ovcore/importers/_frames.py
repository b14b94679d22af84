"""Predictions and scores in CSV and parquet files, by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ovcore.importers._labels import IDS, LABELS, to_classes
from ovcore.importers._members import choose
from ovcore.importers._outputs import Outputs
from ovcore.importers._tables import Table
from ovcore.store import ModelCard

__all__ = ["looks_like_probabilities", "read_frame"]

_PREDICTIONS = ("pred", "preds", "prediction", "predictions")


def read_frame(
    table: Table,
    preds: Sequence[str],
    *,
    target: str | None,
    ids: str | None,
    names: str | None,
    kind: Literal["preds", "logits", "probs"] | None,
    class_names: Sequence[str] | None,
) -> list[Outputs]:
    """Outputs of the models of one table; see :func:`read_arrays`."""
    file, there = table.path, table.columns
    target_key = choose(target, LABELS, there, file, "target")
    ids_key = choose(ids, IDS, there, file, "ids")
    names_key = choose(names, (), there, file, "names")
    for key in preds:
        choose(key, (), there, file, "preds")
    if not preds and kind in (None, "preds"):
        found = choose(None, _PREDICTIONS, there, file, "preds")
        preds = [] if found is None else [found]
    labels = None
    if target_key is not None and preds:
        labels = to_classes(table.texts(target_key), class_names, f"{file}, column {target_key!r}")
    sample_ids = None if ids_key is None else table.texts(ids_key)
    groups = _groups(None if names_key is None else table.texts(names_key), file.stem)
    if preds:
        if names_key is not None and len(preds) > 1:
            raise ValueError(f"{file}: several preds are one model each, and so have no names")
        columns = [
            (key, to_classes(table.texts(key), class_names, f"{file}, column {key!r}"))
            for key in preds
        ]
        return [
            _outputs(
                table, name if len(preds) == 1 else key, rows, sample_ids, labels, class_names,
                f"column {key!r}", preds=values,
            )
            for key, values in columns
            for name, rows in groups
        ]  # fmt: skip
    if kind == "preds":
        raise ValueError(f"{file} has no column of predictions: choose with preds")
    classes = [c for c in there if c not in (target_key, ids_key, names_key)]
    if class_names is not None and set(class_names) <= set(classes):
        classes = list(class_names)
    if len(classes) < 2:
        raise ValueError(
            f"{file} has no column of predictions and {len(classes)} of scores: choose with preds"
        )
    scores = table.numbers(classes)
    if kind is None:
        if looks_like_probabilities(scores):
            raise ValueError(f"{file} may hold probabilities: give kind 'probs', or else 'logits'")
        kind = "logits"
    if target_key is not None:
        labels = to_classes(table.texts(target_key), classes, f"{file}, column {target_key!r}")
    return [
        _outputs(table, name, rows, sample_ids, labels, classes, "scores", **{kind: scores})
        for name, rows in groups
    ]


def looks_like_probabilities(scores: NDArray[np.floating[Any]]) -> bool:
    """Whether the first rows of (N, K) scores are in 0..1 and sum to 1."""
    rows = scores[:100].astype(np.float64)
    return bool(
        rows.ndim == 2
        and rows.size
        and ((rows >= 0) & (rows <= 1)).all()
        and (abs(rows.sum(axis=1) - 1) < 1e-2).all()
    )


def _groups(names: list[str] | None, stem: str) -> list[tuple[str, NDArray[np.int64] | slice]]:
    """Each model's rows, models in the order in which they come."""
    if names is None:
        return [(stem, slice(None))]
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return [(name, np.array(places)) for name, places in rows.items()]


def _outputs(
    table: Table,
    name: str,
    rows: NDArray[np.int64] | slice,
    sample_ids: list[str] | None,
    labels: NDArray[np.integer[Any]] | None,
    class_names: Sequence[str] | None,
    what: str,
    **outputs: NDArray[Any],
) -> Outputs:
    ids = None
    if sample_ids is not None:
        ids = sample_ids if isinstance(rows, slice) else [sample_ids[row] for row in rows]
    return Outputs(
        ModelCard(name, source=f"arrays:{table.path.name}"),
        f"{table.path}, {what}" + ("" if isinstance(rows, slice) else f" of {name!r}"),
        ids,
        None if labels is None else labels[rows],
        class_names=class_names,
        **{kind: values[rows] for kind, values in outputs.items()},  # type: ignore[arg-type]
    )
