"""Trials of people and models as the model-vs-human toolbox keeps them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ovcore.importers._outputs import Outputs
from ovcore.importers._tables import Table
from ovcore.store import ModelCard

__all__ = ["read_model_vs_human"]

_COLUMNS = ("subj", "object_response", "category", "condition", "imagename")
_NO_RESPONSE = "na"


def read_model_vs_human(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    condition: str | None = None,
    class_names: Sequence[str] | None = None,
) -> list[Outputs]:
    """Responses in CSV files of trials, one model for each subject, human or not.

    Columns are subj, session, trial, rt, object_response, category, condition and imagename, in
    upper or lower case. A subject's sessions are put together. Samples are named
    ``condition/image``, where the image is the part of the file's name that is the same for all
    subjects: after the last underscore, and the part before it where that is an ImageNet class
    (``n02951358_5952.JPEG``). The response "na" is -1, no prediction, and so wrong.

    Args:
        paths: CSV files, or folders of them.
        condition: the only one to read; all without it.
        class_names: the classes in their order; by itself all that occur, sorted.

    Raises:
        FileNotFoundError: there is no such file, or a folder has no CSV files.
        ValueError: a column is missing; a category or response is no class; a subject saw an image
            of one condition twice.
        ImportError: pandas is not installed.

    Source: Geirhos et al. (2021), https://github.com/bethgelab/model-vs-human.
    """
    rows = [row for file in _files(paths) for row in _rows(file)]
    rows = [row for row in rows if condition is None or row["condition"] == condition]
    if not rows:
        raise ValueError(
            f"{paths} has no trials" + (f" of condition {condition!r}" * bool(condition))
        )
    if class_names is None:
        seen = {row["category"] for row in rows} | {row["object_response"] for row in rows}
        class_names = sorted(seen - {_NO_RESPONSE})
    names = list(class_names)
    index = {name: i for i, name in enumerate(names)}
    subjects: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        for column in ("category", "object_response"):
            none = column == "object_response" and row[column] == _NO_RESPONSE
            if row[column] not in index and not none:
                raise ValueError(
                    f"{row['file']}, column {column!r}: {row[column]!r} is none of "
                    f"{', '.join(names[:20])}"
                )
        subjects.setdefault(row["subj"], []).append(row)
    return [
        Outputs(
            ModelCard(subject, source=f"model-vs-human:{Path(trials[0]['file']).name}"),
            f"{trials[0]['file']}, subject {subject!r}",
            [f"{row['condition']}/{_image(row['imagename'])}" for row in trials],
            np.array([index[row["category"]] for row in trials], np.int64),
            preds=np.array([index.get(row["object_response"], -1) for row in trials], np.int64),
            class_names=names,
        )
        for subject, trials in subjects.items()
    ]


def _files(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files = []
    for path in map(Path, given):
        some = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not some:
            raise FileNotFoundError(f"{path} has no CSV files")
        files += some
    return files


def _rows(file: Path) -> list[dict[str, str]]:
    table = Table(file)
    known = {name.lower(): name for name in table.columns}
    lacking = [column for column in _COLUMNS if column not in known]
    if lacking:
        raise ValueError(f"{file} has no column {', '.join(map(repr, lacking))}")
    columns = [table.texts(known[column]) for column in _COLUMNS]
    return [
        {**dict(zip(_COLUMNS, row, strict=True)), "file": str(file)}
        for row in zip(*columns, strict=True)
    ]


def _image(name: str) -> str:
    """The part of an image's name that all subjects share.

    >>> _image("0000_cl_s01_bw_boat_40_n02951358_5952.JPEG"), _image("airplane1-bicycle2.png")
    ('n02951358_5952.JPEG', 'airplane1-bicycle2.png')
    """
    parts = name.split("_")
    shared = 2 if len(parts) > 1 and parts[-2].startswith("n0") else 1
    return "_".join(parts[-shared:])
