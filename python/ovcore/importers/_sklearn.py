"""Dumps of scikit-learn's predict_proba."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore.importers._labels import IDS, LABELS, as_texts, kind_of_file
from ovcore.importers._members import Members, choose
from ovcore.importers._outputs import Outputs
from ovcore.importers._tables import Table
from ovcore.store import ModelCard

__all__ = ["read_sklearn"]

_PROBA = ("proba", "probs", "predict_proba", "y_proba", "y_prob")
_CLASSES = ("classes_", "classes")
_INDEX = ""  # the header of a DataFrame's index in a CSV


def read_sklearn(
    path: str | os.PathLike[str],
    *,
    proba: str | None = None,
    classes: str | None = None,
    target: str | None = None,
    ids: str | None = None,
) -> Outputs:
    r"""Probabilities (N, K) that a scikit-learn classifier gave.

    In an npz file: ``proba`` (N, K), and where they were kept ``classes_`` (K,), labels ``y`` (N,)
    as the classifier was given them, and sample ids. An npy file has the probabilities alone. In a
    CSV or parquet file, as of ``pandas.DataFrame(proba, columns=model.classes_)``, each column is a
    class, but a column of labels ``y`` and one of ids; the frame's index is taken for ids.

    A store gets logits = log(proba), -inf for a probability of 0: softmax of them gives the
    probabilities again, and temperatures can be fitted.

    Args:
        path: the file.
        proba: the member of probabilities; by itself one called proba, probs or predict_proba.
        classes: the member of class names; by itself one called classes\_ or classes.
        target: the member or column of labels; by itself one called y, y_true, label or target.
        ids: that of sample ids; by itself one called id, ids, sample_id or sample_ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, holds Python objects, has a label that is not a class, or
            lacks classes of labels that are not 0..K-1.
    """
    file = Path(path)
    source = kind_of_file(file)
    there = list(source.columns if isinstance(source, Table) else source)
    target_key = choose(target, LABELS, there, file, "target")
    ids_key = choose(ids, IDS, there, file, "ids")
    names: list[str] | None
    if isinstance(source, Table):
        if ids_key is None and _INDEX in there:
            ids_key = _INDEX
        names = [name for name in there if name not in (target_key, ids_key)]
        probs = source.numbers(names)
        given = None if target_key is None else source.texts(target_key)
        sample_ids = None if ids_key is None else source.texts(ids_key)
    else:
        probs = source[_proba_key(source, proba)]
        classes_key = choose(classes, _CLASSES, there, file, "classes")
        names = None
        if classes_key is not None:
            names = _texts(source[classes_key], f"{file}, {classes_key!r}")
        given = None
        if target_key is not None:
            given = _texts(source[target_key], f"{file}, {target_key!r}")
        sample_ids = None
        if ids_key is not None:
            sample_ids = as_texts(source[ids_key], f"{file}, {ids_key!r}")
    labels = None
    if given is not None:
        known = [str(i) for i in range(probs.shape[-1])] if names is None else names
        labels = _places(given, known, f"{file}, {target_key!r}")
    return Outputs(
        ModelCard(file.stem, source=f"sklearn:{file.name}"),
        str(file),
        sample_ids,
        labels,
        probs=probs,
        class_names=names,
    )


def _proba_key(source: Members, given: str | None) -> str:
    if list(source) == [""]:
        return ""
    key = choose(given, _PROBA, list(source), source.path, "proba")
    if key is None:
        raise ValueError(f"{source.path} has {', '.join(source)}: choose with proba")
    return key


def _texts(values: NDArray[Any], where: str) -> list[str]:
    """Classes as texts; those that are whole numbers alike, however they are typed."""
    if values.dtype.kind == "b":
        return [str(value) for value in values.tolist()]
    if values.dtype.kind == "f" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return as_texts(values, where)


def _places(given: Sequence[str], names: Sequence[str], where: str) -> NDArray[np.int64]:
    index = {name: i for i, name in enumerate(names)}
    for row, label in enumerate(given):
        if label not in index:
            few = ", ".join(map(repr, names[:5]))
            raise ValueError(f"{where}: label {row} is {label!r}, but the classes are {few}, ...")
    return np.array([index[label] for label in given], np.int64)
