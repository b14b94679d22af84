"""One writer at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovcore.store._errors import StoreError

if TYPE_CHECKING:
    from filelock import BaseFileLock

FILE = ".lock"


def take(folder: Path, store: Path) -> BaseFileLock:
    """Locks a folder for this writer; the system lets go of it if the process is killed.

    Raises:
        StoreError: another writer has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise StoreError(
            f"another process is writing to the store at {store}: try again when it is done"
        ) from None
    return lock
