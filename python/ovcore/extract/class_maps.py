"""Tables that bring one set of classes to another, by number or by name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

Class: TypeAlias = int | str
Table: TypeAlias = Sequence[Class] | Mapping[Any, Class]


class ClassTable(NamedTuple):
    """A checked table."""

    sources: list[list[int]]  # of each target class, ascending
    n_sources: int | None  # C; None where a mapping by numbers does not tell


def read_table(
    table: Table,
    n_classes: int | None,
    class_names: Sequence[str] | None,
    source_names: Sequence[str] | None,
) -> ClassTable:
    """The source classes of each target class.

    Args:
        table: the target class of each source class, as a sequence or a mapping; -1 for none.
        n_classes: K, where the names do not say it.
        class_names: the target's classes.
        source_names: the source's classes.

    Raises:
        ValueError: K is not known or not that of the names, a class is not there, or a sequence
            is not as long as there are source classes.
    """
    if class_names is not None and n_classes not in (None, len(class_names)):
        raise ValueError(f"class_names has {len(class_names)} names but n_classes is {n_classes}")
    count = n_classes if class_names is None else len(class_names)
    if count is None:
        raise ValueError("n_classes or class_names must be given: the table may lack classes")
    n_sources = None if source_names is None else len(source_names)
    if isinstance(table, Mapping):
        pairs = list(table.items())
    else:
        pairs = list(enumerate(table))
        if n_sources not in (None, len(pairs)):
            raise ValueError(f"table has {len(pairs)} entries but there are {n_sources} classes")
        n_sources = len(pairs)
    find_target = _Finder("target", class_names, count)
    find_source = _Finder("source", source_names, n_sources)
    sources: list[set[int]] = [set() for _ in range(count)]
    for source, target in pairs:
        position = find_source(source)
        if str(target) != "-1":
            sources[find_target(target)].add(position)
    return ClassTable([sorted(found) for found in sources], n_sources)


class _Finder:
    """The position of a class that is given by number or by name."""

    def __init__(self, what: str, names: Sequence[str] | None, count: int | None) -> None:
        self._what, self._count = what, count
        self._positions = {name: k for k, name in enumerate(names or ())}
        if names is not None and len(self._positions) != len(names):
            raise ValueError(f"names of {what} classes repeat")

    def __call__(self, given: Class) -> int:
        if given in self._positions and isinstance(given, str):
            return self._positions[given]
        try:
            position = int(given)  # a name that is a number: files have no other numbers
        except ValueError:
            known = ", ".join(repr(name) for name in list(self._positions)[:5])
            raise ValueError(
                f"there is no {self._what} class {given!r}"
                + (f"; there are {known}, ..." if known else ": its classes have no names")
            ) from None
        if position < 0 or (self._count is not None and position >= self._count):
            raise ValueError(
                f"{self._what} class {position} is out of range"
                + (f": there are {self._count}" if self._count is not None else "")
            )
        return position


def read_class_map(path: str | os.PathLike[str]) -> Table:
    """A table from a file.

    JSON: a list with the target class of each source class, or an object {source: target}. CSV: a
    header with the columns ``source`` and ``target``, then one source class a line.

    Raises:
        ValueError: another ending, or a file that is not as described.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.suffix == ".json":
        table = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(table, list | dict):
            raise ValueError(f"{path} must hold a list or an object")
        return table
    if path.suffix != ".csv":
        raise ValueError(f"{path} must end in .csv or .json")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"source", "target"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path} needs the columns source and target: has {rows.fieldnames}")
        found: dict[str, str] = {}
        for row in rows:
            if row["source"] in found:
                raise ValueError(f"{path}: source class {row['source']!r} is there twice")
            found[row["source"]] = row["target"]
    return found
