"""The folder that a study writes to: one study at a time, and nothing left of another."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
ABOUT = "study.json"


def check(folder: Path) -> None:
    """Raises NotADirectoryError where a file is in the way."""
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(
                f"expected a folder to write the study to, or none yet, but {path} is a file"
            )


@contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps other studies out of it; a killed one lets go.

    Raises:
        ValueError: another study is writing to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another study is writing to {folder}: wait until it is done, or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def with_earlier(folder: Path, key: str, written: dict[str, str]) -> dict[str, str]:
    """Files written now and those of an earlier study of the same key: name -> what each holds.

    By name, so that the same study lists the same whatever was made first.
    Files of an earlier study of something else are removed, and only those that it names.
    """
    try:
        earlier = json.loads((folder / ABOUT).read_text("utf-8"))
        same, files = earlier["key"] == key, dict(earlier["files"])
    except (OSError, ValueError, KeyError, TypeError):
        same, files = False, {}
    kept = {}
    for name, words in files.items():
        if name in written or ".." in Path(name).parts or Path(name).is_absolute():
            continue
        if not same:
            (folder / name).unlink(missing_ok=True)
        elif (folder / name).is_file():
            kept[name] = words
    return dict(sorted((kept | written).items()))


def today() -> str:
    """In UTC; of SOURCE_DATE_EPOCH where a build is to be the same on another day.

    Raises:
        ValueError: it is not a number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        date = dt.datetime.fromtimestamp(int(given or time.time()), dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"SOURCE_DATE_EPOCH must be whole seconds since 1970, got {given!r}"
        ) from None
    return date.date().isoformat()
