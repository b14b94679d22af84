"""A progress bar where a person waits: on a terminal or in a notebook, after one second."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Told now and then how many of how many steps are done; by the calling thread alone."""


@contextlib.contextmanager
def bar(what: str) -> Iterator[Progress | None]:
    """Yields what a kernel reports its progress to, or None where nobody would see it."""
    if not _is_watched():
        yield None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    with tqdm(desc=what, delay=1.0, leave=False, bar_format="{l_bar}{bar}| {elapsed}") as shown:

        def report(done: int, of: int) -> None:
            with contextlib.suppress(OSError, ValueError):  # a terminal that went away
                shown.total = of
                shown.update(done - shown.n)

        yield report


def _is_watched() -> bool:
    try:
        return "ipykernel" in sys.modules or bool(sys.stderr.isatty())
    except (AttributeError, ValueError):  # no stderr, a closed one, or something in its place
        return False
