"""Labels and predictions that are written as numbers or as names of classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ovcore.importers._members import ARRAYS, Members, choose
from ovcore.importers._outputs import Labels
from ovcore.importers._tables import TABLES, Table

__all__ = ["IDS", "LABELS", "as_texts", "kind_of_file", "read_labels", "to_classes"]

LABELS = ("label", "labels", "target", "targets", "y", "y_true")
IDS = ("id", "ids", "sample_id", "sample_ids")


def read_labels(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    ids: str | None = None,
    class_names: Sequence[str] | None = None,
) -> Labels:
    """Labels (N,) of an npz, npy, safetensors, CSV or parquet file, and its sample ids if any.

    Args:
        path: the file.
        target: the member or column of labels; by itself one called label, labels, target, targets,
            y or y_true, or the only one.
        ids: that of sample ids; by itself one called id, ids, sample_id or sample_ids.
        class_names: K names, where labels are written as names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, has no such member, or a label is neither a class nor one of
            the names.
    """
    file = Path(path)
    source = kind_of_file(file)
    there = list(source.columns if isinstance(source, Table) else source)
    ids_key = choose(ids, IDS, there, file, "ids")
    rest = [name for name in there if name != ids_key]
    key = choose(target, LABELS, rest, file, "target")
    if key is None:
        if len(rest) != 1:
            raise ValueError(f"{file} has {_list(rest)}: choose one with target")
        key = rest[0]
    read = source.texts if isinstance(source, Table) else source.__getitem__
    sample_ids = None if ids_key is None else as_texts(read(ids_key), f"{file}, {ids_key!r}")
    where = f"{file}, {key!r}" if key else str(file)
    return Labels(to_classes(read(key), class_names, where), sample_ids, str(file))


def kind_of_file(file: Path) -> Members | Table:
    """Opens a file by its ending.

    Raises:
        ValueError: another ending.
    """
    if file.suffix in ARRAYS:
        return Members(file)
    if file.suffix in TABLES:
        return Table(file)
    raise ValueError(f"{file} ends in none of {', '.join(ARRAYS + TABLES)}")


def to_classes(
    values: ArrayLike, class_names: Sequence[str] | None, where: str
) -> NDArray[np.integer[Any]]:
    """(N,) classes of numbers or of names; -1 stays -1.

    A text is one of the names; or a number, unless names are numbers themselves.

    Raises:
        ValueError: a text that is neither, by its position.

    >>> to_classes(["cat", "dog", "cat"], ["ant", "cat", "dog"], "labels.csv")
    array([1, 2, 1])
    """
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array
    if array.dtype.kind == "f":
        texts = array.tolist()
    elif array.dtype.kind in "USOT" and array.ndim == 1:
        texts = as_texts(array, where)
    else:
        raise ValueError(f"{where} is {array.dtype} {array.shape}, expected (N,) classes")
    index = {name: i for i, name in enumerate(class_names or ())}
    # Where classes are called by numbers, another number is no position.
    by_number = any(_integer(name) is not None for name in index)
    classes: dict[Any, int] = {}
    for row, text in enumerate(texts):
        if text in classes:
            continue
        number = index.get(text, _integer(text))
        if number is None or (by_number and text not in index and number != -1):
            expected = (
                "a number: name the classes to read names"
                if class_names is None
                else f"one of {len(index)} class names such as {_list(list(index)[:3])}"
            )
            raise ValueError(f"{where}: row {row} is {text!r}, not {expected}")
        classes[text] = number
    return np.array([classes[text] for text in texts], np.int64)


def as_texts(values: ArrayLike, where: str) -> list[str]:
    """N texts of texts, bytes or integers.

    Raises:
        ValueError: other values, or other axes.
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "USTOiu":
        raise ValueError(f"{where} is {array.dtype} {array.shape}, expected (N,) texts or integers")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8")
    return [str(value) for value in array.tolist()]


def _integer(value: str | float) -> int | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
