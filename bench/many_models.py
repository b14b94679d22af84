"""Nearest partners among very many models: how long finding them takes beside counting alone.

``python bench/many_models.py`` makes 100,000 models on 10,000 samples, counts the joint errors of
all pairs and keeps none, then finds the 10 nearest partners of each model, each in a process of its
own and by turns, and says how the times compare and what memory a process took.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import ovcore as ov
from ovcore import _bits, _native
from ovcore._screens import Screen
from ovcore.pairwise import _blocks


def make(n_models: int, n_samples: int) -> ov.ErrorBits:
    """Models of 30 to 95 % accuracy that find the same samples hard."""
    rng = np.random.default_rng(0)
    hard, wrong = 2 * rng.random(n_samples), rng.uniform(0.05, 0.7, n_models)
    words = _bits.empty(n_models, n_samples)
    for first in range(0, n_models, 500):
        some = wrong[first : first + 500, None]
        drawn = rng.random((len(some), n_samples), np.float32)
        words[first : first + 500] = _bits.pack(drawn < some * hard)
    return ov.ErrorBits(words, n_samples)


def count(errors: ov.ErrorBits, _: int) -> None:
    """All pairs, as they are counted for their metric; none passes."""
    zeros, m = np.zeros(errors.n_models), errors.n_models
    numbers = np.zeros(m, np.int64)
    none = Screen(1.0, np.full(m, np.inf), zeros, zeros, zeros, zeros, 0.0, numbers, numbers, zeros)
    for rows, cols in _blocks.upper(_blocks.ranges(m)):
        _native.screen_pairs(errors.words, rows, cols, none, len(os.sched_getaffinity(0)), None)


def find(errors: ov.ErrorBits, k: int) -> None:
    """The nearest partners."""
    found = ov.pairwise.nearest(errors, k)
    model = errors.n_models // 2  # one row of the matrix, by plain counting
    joint = np.bitwise_count(errors.words & errors.words[model]).sum(axis=1, dtype=np.int64)
    wrong = errors.n_wrong()
    apart = (wrong + wrong[model] - 2 * joint) / errors.n_samples
    apart[model] = np.inf
    expected = np.argsort(apart, kind="stable")[:k]
    np.testing.assert_array_equal(found.indices[model], expected)
    np.testing.assert_array_equal(found.values[model], apart[expected])


def run(what: str, options: argparse.Namespace) -> dict[str, float]:
    """In this process."""
    errors = make(options.models, options.samples)
    begin = time.perf_counter()
    {"count": count, "find": find}[what](errors, options.k)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "peak_bytes": peak}


def in_a_process(what: str, options: argparse.Namespace) -> dict[str, float]:
    """In another one."""
    sizes = ["--models", options.models, "--samples", options.samples, "--k", options.k]
    command = [sys.executable, __file__, "--only", what, *map(str, sizes)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--only", choices=("count", "find"), help="one of the two, in this process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options)))
        return
    runs: list[dict[str, dict[str, float]]] = [
        {what: in_a_process(what, options) for what in ("count", "find")}
        for _ in range(options.passes)
    ]
    ratios = [each["find"]["seconds"] / each["count"]["seconds"] for each in runs]
    pairs = options.models * (options.models + 1) / 2
    seconds = {what: statistics.median(r[what]["seconds"] for r in runs) for what in runs[0]}
    record: dict[str, Any] = {
        "models": options.models,
        "samples": options.samples,
        "k": options.k,
        "threads": len(os.sched_getaffinity(0)),
        "instruction_set": _native.instruction_set(),
        "count_s": seconds["count"],
        "find_s": seconds["find"],
        "find_over_count": statistics.median(ratios),
        "pairs_per_s": pairs / seconds["find"],
        "peak_bytes": max(r["find"]["peak_bytes"] for r in runs),
    }
    print(
        f"{options.models:,} models x {options.samples:,} samples: "
        f"counted in {seconds['count']:.1f} s, "
        f"{options.k} nearest found in {seconds['find']:.1f} s "
        f"({record['find_over_count']:.2f} times), at most {record['peak_bytes'] / 1e9:.2f} GB"
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
