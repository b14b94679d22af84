"""What a contestant is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np

Call = Callable[[], Any]


@dataclass(frozen=True)
class Contestant:
    """One row of a table."""

    name: str
    prepare: Callable[[Any, int], Call]  # (data, threads) -> what is timed
    form: Callable[..., np.ndarray] | None = None  # its answer -> the job's, see forms.py
    upper: bool = False  # fills the upper triangle only
    one_thread: bool = False  # has no threads to offer
    several_threads: bool = False  # takes part where there are several: on one it is another's twin
    once: bool = False  # one pass is enough: far from the fastest, and its calls take seconds
    only: Mapping[str, int] = field(default_factory=dict)  # does so many models or samples only
    work: Callable[[Any], float] | None = None  # of a case, if its time grows not as the amount
    beside: Callable[[Any, int], Mapping[str, float]] | None = None  # (data, threads) -> told too
    tolerance: float = 0  # relative error of an answer that is not a count
    env: Mapping[str, str] = field(default_factory=dict)
    grows: float | None = None  # takes part in the curves; bytes it keeps per bit of the data

    def part_of(self, case: Any) -> Any:
        """What it does of a case; its time is then scaled."""
        sizes = {axis: min(most, getattr(case, axis)) for axis, most in self.only.items()}
        return replace(case, **sizes)


def use_cores(threads: int) -> None:
    """For what has no argument for threads: ovcore's API works on the cores a process may use."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


@contextmanager
def watched(kernel: str) -> Iterator[list[tuple[float, Any]]]:
    """Collects seconds and first argument of each call of a kernel of the backend in force."""
    from ovcore import _dispatch

    backend = _dispatch.choose()
    own, calls = getattr(backend, kernel), []

    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        found = own(*arguments)
        calls.append((time.perf_counter() - start, arguments[0]))
        return found

    with mock.patch.object(backend, kernel, call):
        yield calls
