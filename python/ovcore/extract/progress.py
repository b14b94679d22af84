"""A progress bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(what: str, done: int, total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Told how many samples are done; shows their number, rate and the time left."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda _: None
        return
    # None: not where standard error is no terminal.
    with tqdm(
        desc=what, initial=done, total=total, unit=" samples", disable=None if shown else True
    ) as line:

        def advance(count: int) -> None:
            line.update(count)

        yield advance
