"""How numba's kernels are compiled, and how their work is spread over threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numba import njit

from ovcore._progress import Progress

INFINITY: dict[str, np.signedinteger[Any]] = {
    "float16": np.int16(0x7C00),
    "bfloat16": np.int16(0x7F80),
    "float32": np.int32(0x7F800000),
    "float64": np.int64(0x7FF0000000000000),
}
"""Bits of +inf, by element type, in the signed integers that elements are read as."""

BYTES_PER_TASK = 1 << 21
"""Of logits: enough to be worth a task, and few enough that Ctrl-C is soon seen."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled at its first call; kept on disk for the next process, where that can be."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # no folder that a cache could lie in
        return njit(nogil=True, error_model="numpy")(function)


def for_each_task(
    n_tasks: int, workers: int, progress: Progress | None, task: Callable[[int], Any]
) -> list[Any]:
    """What ``task`` returns for 0, 1, ..., on a pool of threads where that helps."""
    if n_tasks <= 1 or (workers == 1 and progress is None):
        return [task(i) for i in range(n_tasks)]
    with ThreadPoolExecutor(min(workers, n_tasks)) as pool:
        futures = [pool.submit(task, i) for i in range(n_tasks)]
        try:
            pending = set(futures)
            while pending:  # the main thread waits in short naps, so that Ctrl-C is seen
                _, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
                if progress is not None:
                    progress(n_tasks - len(pending), n_tasks)
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def for_each_range(
    n: int, step: int, workers: int, progress: Progress | None, task: Callable[[int, int], Any]
) -> list[Any]:
    """What ``task`` returns for the ranges [first, last) of at most ``step`` that cover [0, n)."""

    def run(i: int) -> Any:
        return task(i * step, min((i + 1) * step, n))

    return for_each_task(-(-n // step), workers, progress, run)
