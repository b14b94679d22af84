"""Samples that lm-evaluation-harness logged (``--log_samples``)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ovcore.importers import _lm_eval_choices as choices
from ovcore.importers._json import field, only, read_json, read_lines, truth
from ovcore.importers._outputs import Outputs, from_right
from ovcore.store import ModelCard

__all__ = ["read_lm_eval"]

Record = tuple[str, dict[str, Any]]
"""Where a logged sample is, and what it says."""


def read_lm_eval(
    path: str | os.PathLike[str],
    *,
    metric: str | None = None,
    normalize: Literal["chars", "bytes"] | None = None,
    filter: str | None = None,  # noqa: A002  # the harness's word
    repeat: int | None = None,
) -> Outputs:
    """One model's ``samples_*.jsonl``: log-likelihoods of choices as logits, or right and wrong.

    Of a multiple-choice task, logits (N, K) are the choices' log-likelihoods, and K is the most
    choices that a document has; others have -inf there. ``normalize`` divides each by its choice's
    length, as the harness does for acc_norm ("chars") and acc_bytes ("bytes"). What the harness
    logged for acc, acc_norm or acc_bytes must follow from the logits and labels that were read.
    Of any other task, or with ``metric``, only right or wrong is taken, from a metric of 0 or 1.

    Samples are named by the harness's ``doc_hash``, and where a document is repeated by its
    ``doc_id`` as well. The model is named as the ``results_*.json`` beside the file says, or else
    by its folder. With a folder, all samples files in it are read as one model's; where they are of
    several tasks, the task comes first in a sample's name.

    Args:
        path: the file, or the folder that the harness made for the model.
        metric: the name of a metric that is 0 or 1 for each sample, such as exact_match.
        normalize: the length to divide by, or none.
        filter: the harness's filter, where the file has several.
        repeat: which response, from 0, where a choice has several.

    Raises:
        FileNotFoundError: there is no such file, or the folder has no samples.
        ValueError: a line is truncated or lacks a field; a document is there twice; several filters
            or repeats; a task that cannot be read as asked for. Each with file and line.

    The format: ``lm_eval.loggers.EvaluationTracker`` and ``lm_eval.evaluator`` of version 0.4.
    """
    if normalize not in (None, "chars", "bytes"):
        raise ValueError(f"normalize must be 'chars' or 'bytes', got {normalize!r}")
    folder = Path(path)
    files = _files(folder)
    ids: list[str] = []
    records: list[Record] = []
    for task, file in files.items():
        some = _records(file, filter)
        ids += [f"{task}/{name}" if len(files) > 1 else name for name in _names(some)]
        records += some
    card = ModelCard(_model_name(next(iter(files.values()))), source=f"lm-eval:{folder.name}")
    if metric is None and all(choices.has_choices(record) for _, record in records):
        logits, target = choices.read(records, normalize=normalize, repeat=repeat)
        return Outputs(card, str(folder), ids, target, logits=logits, pad=True)
    if metric is None:
        where = next(where for where, record in records if not choices.has_choices(record))
        raise ValueError(f"{where} is not of a multiple-choice task: choose a metric")
    right = [truth(field(r, metric, object, where), f"{where}: {metric}") for where, r in records]
    return from_right(card, str(folder), ids, right)


def _files(path: Path) -> dict[str, Path]:
    """Samples files by task."""
    if not path.is_dir():
        return {path.stem: path}
    files: dict[str, Path] = {}
    for file in sorted(path.glob("samples_*.jsonl")):
        # samples_TASK_2025-01-31T12-00-00.000000.jsonl
        task = file.stem.removeprefix("samples_").rpartition("_")[0] or file.stem
        if task in files:
            raise ValueError(f"{path} has two runs of {task}: {files[task].name}, {file.name}")
        files[task] = file
    if not files:
        raise FileNotFoundError(f"{path} has no samples_*.jsonl: run lm_eval with --log_samples")
    return files


def _records(file: Path, filter_name: str | None) -> list[Record]:
    records = list(read_lines(file))
    for _, record in records:
        record.pop("doc", None)  # most of a log's size, and not needed
    if not records:
        raise ValueError(f"{file} has no samples")
    # Logs of versions before 0.4.3 do not name their filter.
    names = [str(record.get("filter", "none")) for _, record in records]
    chosen = only(names, filter_name, "filter", str(file))
    return [one for one, name in zip(records, names, strict=True) if name == chosen]


def _names(records: Sequence[Record]) -> list[str]:
    if not all("doc_hash" in record for _, record in records):
        return _unique([(w, str(field(r, "doc_id", int, w))) for w, r in records])
    hashes = [field(record, "doc_hash", str, where) for where, record in records]
    counts = Counter(hashes)
    names = [
        (
            where,
            digest if counts[digest] == 1 else f"{digest}#{field(record, 'doc_id', int, where)}",
        )
        for (where, record), digest in zip(records, hashes, strict=True)
    ]
    return _unique(names)


def _unique(names: Sequence[tuple[str, str]]) -> list[str]:
    seen: dict[str, str] = {}
    for where, name in names:
        if name in seen:
            raise ValueError(f"{where}: document {name!r} is there twice, first in {seen[name]}")
        seen[name] = where
    return list(seen)


def _model_name(file: Path) -> str:
    date = file.stem.rpartition("_")[2]
    results = file.with_name(f"results_{date}.json")
    if results.is_file():
        name = read_json(results, dict).get("model_name")
        if isinstance(name, str) and name:
            return name
    return file.resolve().parent.name or file.stem
