"""Fields of JSON records, with the place of what is wrong in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["field", "objects", "only", "read_json", "read_lines", "truth"]

T = TypeVar("T")


def read_json(path: Path, expected: type[T]) -> T:
    """The object or list in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is truncated, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, expected):
        raise ValueError(f"{path} holds a {type(value).__name__}, expected a {expected.__name__}")
    return value


def read_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON lines file, each with its file and line; empty lines are passed over.

    Raises:
        ValueError: a line is truncated or no object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{where}: not JSON: {error}") from error
            if not isinstance(record, dict):
                raise ValueError(f"{where}: a {type(record).__name__}, expected an object")
            yield where, record


def field(record: dict[str, Any], key: str, expected: type[T] | tuple[type, ...], where: str) -> T:
    """``record[key]``, of the expected type.

    Raises:
        ValueError: it is missing or of another type.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{where}: a {type(record).__name__}, expected an object with {key!r}")
    if key not in record:
        raise ValueError(f"{where}: no {key!r}")
    value: T = record[key]
    if not isinstance(value, expected):
        types = expected if isinstance(expected, tuple) else (expected,)
        names = " or ".join(one.__name__ for one in types)
        raise ValueError(f"{where}: {key!r} is a {type(value).__name__}, expected {names}")
    return value


def objects(record: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """``record[key]``, a list of objects.

    Raises:
        ValueError: it is missing or something else.
    """
    values: list[Any] = field(record, key, list, where)
    if not all(isinstance(value, dict) for value in values):
        raise ValueError(f"{where}: {key!r} must be objects")
    return values


def truth(value: object, where: str) -> bool:
    """Right (1) or wrong (0), of a truth value or a number.

    Raises:
        ValueError: something else.

    >>> truth(1.0, "a.json"), truth(False, "a.json")
    (True, False)
    """
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{where} is {value!r}, expected 0 or 1")


def only(found: Iterable[str], given: str | None, what: str, where: str) -> str:
    """The one that is there, or the one given.

    Raises:
        ValueError: there are several or none, or not the one given; all are named.
    """
    names = list(dict.fromkeys(found))
    listed = ", ".join(map(repr, names)) or "none"
    if given is not None:
        if given not in names:
            raise ValueError(f"{where} has no {what} {given!r}; it has {listed}")
        return given
    if len(names) != 1:
        raise ValueError(f"{where} has several of {what}, choose one: {listed}")
    return names[0]
