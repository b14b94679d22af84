"""Taking times, and what reading the same memory takes at the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

FEWEST, MOST = 3, 300  # rounds
LONG = 3.0  # seconds; a longer call is timed once
VERY_LONG = 6.0  # seconds; a peer that takes longer is called only once, not also to warm up


def seconds_of(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def times_of(call: Callable[[], Any], budget: float) -> list[float]:
    """Seconds of each call, for about ``budget`` seconds."""
    times = [seconds_of(call)]
    if times[0] < LONG:
        rounds = int(min(max(budget / times[0], FEWEST), MOST))
        times = [seconds_of(call) for _ in range(rounds)]
    return times


def seconds_to_read(values: np.ndarray, threads: int) -> float:
    """To read contiguous values once, in sequence: xor of all words, as fast as machine_limits."""
    words = values.reshape(-1).view(np.uint64)
    parts = np.array_split(words, 16 * threads)  # whoever is free takes the next
    with ThreadPoolExecutor(threads) as pool:
        return min(times_of(lambda: list(pool.map(np.bitwise_xor.reduce, parts)), 0.5))
