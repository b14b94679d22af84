"""What Dask costs: time per block, memory per worker, and what that means for a billion samples.

``python bench/dask_overhead.py DIR`` makes stores in DIR unless they are there and starts two
worker processes of one thread each.

* Many small blocks are counted in one process and through the workers. The results must be equal;
  the difference of the times, divided by the blocks, is what a block costs beside counting.
* A store much larger than a block is compared. The peak of each worker's memory, less what it took
  before, is told beside the bytes of a block. Mapped pages of the store count.
* Blocks of 1,000 models are counted by one core; with the above, 10^9 samples on 100 workers of 16
  cores are reckoned, and every assumption is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import distributed
import numpy as np

import ovcore as ov
from big_store import make
from ovcore.adapters import dask as ovd
from ovcore.counts import PairCounts
from ovcore.store import Store

NETWORK = 1e9  # bytes a second and worker
DISK = 2e9  # likewise
WORKERS, CORES = 100, 16


def store_of(folder: Path, n_models: int, n_samples: int, n_classes: int) -> Store:
    path = folder / f"store-{n_models}-{n_samples}-{n_classes}"
    if not path.exists():
        make(path, n_models, n_samples, n_classes)
    return Store(path)


def count_here(store: Store, size: int) -> PairCounts:
    """The same blocks one after the other, on one thread."""
    total = PairCounts.empty(len(store), agreement=True)
    with ov.limit_workers(1):
        for first in range(0, store.n_samples, size):
            some = store.select(samples=slice(first, first + size))
            total += PairCounts.from_outputs(some.outputs(), some.target)
    return total


def overhead(client: distributed.Client, store: Store, size: int, passes: int) -> dict[str, float]:
    here, there = [], []
    for _ in range(passes):
        begin = time.perf_counter()
        expected = count_here(store, size)
        here.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        found = ovd.pair_counts(store, client=client, block_size=size)
        there.append(time.perf_counter() - begin)
        assert found == expected
    n_blocks = -(-store.n_samples // size)
    one, two = min(here), min(there)
    return {
        "blocks": n_blocks,
        "block_samples": size,
        "one_process_s": one,
        "two_workers_s": two,
        "overhead_ms_per_block": (two - one) / n_blocks * 1e3,
        "worker_ms_per_block": (2 * two - one) / n_blocks * 1e3,
    }


def status() -> dict[str, int]:
    """Bytes: what this process holds, and the most it held since :func:`forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {key: int(found[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM", "RssAnon")}


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def memory(client: distributed.Client, store: Store, block_bytes: int) -> dict[str, Any]:
    files = sum(file.stat().st_size for file in store.path.glob("*.safetensors"))
    size = max(1, block_bytes // (files // store.n_samples))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fitted on the same samples: only memory is asked for
        ovd.compare(store.select(samples=slice(0, 2 * size)), client=client, block_size=size)
        client.run(forget_peak)
        before = client.run(status)
        begin = time.perf_counter()
        found = ovd.compare(store, client=client, block_size=size)
        seconds = time.perf_counter() - begin
        after = client.run(status)
        assert found.table() == ov.compare(store).table()
    peaks = [after[worker]["VmHWM"] - before[worker]["VmRSS"] for worker in before]
    return {
        "store_bytes": files,
        "block_bytes": size * (files // store.n_samples),
        "block_samples": size,
        "compare_s": seconds,
        "baseline_bytes": [before[worker]["VmRSS"] for worker in before],
        "peak_over_baseline_bytes": peaks,
        "kept_over_baseline_bytes": [after[w]["RssAnon"] - before[w]["RssAnon"] for w in before],
    }


def kernel_rate(n_models: int, n_samples: int, n_classes: int, passes: int) -> dict[str, float]:
    """Seconds of one core for a block of logits, with pair ensembles and agreement."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, n_classes, n_samples)
    shared = rng.standard_normal((n_samples, n_classes), np.float32)
    shared[np.arange(n_samples), target] += 4
    logits = np.empty((n_models, n_samples, n_classes), np.float16)
    for model in logits:
        model[:] = shared + rng.standard_normal((n_samples, n_classes), np.float32)
    taken = []
    with ov.limit_workers(1):
        for _ in range(passes):
            begin = time.perf_counter()
            counts = PairCounts.from_outputs(logits, target, temperature=1.0)
            taken.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    counts + counts
    added = time.perf_counter() - begin
    return {
        "models": n_models,
        "samples": n_samples,
        "classes": n_classes,
        "block_s": statistics.median(taken),
        "add_s": added,
        "result_bytes": 4 * 8 * n_models**2,
    }


def extrapolate(
    rate: dict[str, float], lost: dict[str, float], n_samples: float, block_samples: int
) -> list[tuple[str, float, str]]:
    """(what, number, unit) of a run on WORKERS x CORES; counts only, temperatures are given."""
    cores = WORKERS * CORES
    n_models, n_classes = rate["models"], rate["classes"]
    blocks = math.ceil(n_samples / block_samples)
    merges = math.ceil(blocks / 7)  # a tree of eight
    sample_bytes = 2 * n_models * n_classes
    counting = rate["block_s"] / rate["samples"] * n_samples / cores
    adding = rate["add_s"] * blocks / cores
    reading = sample_bytes * n_samples / (DISK * WORKERS)
    moving = rate["result_bytes"] * blocks / (NETWORK * WORKERS)
    dask = max(lost["overhead_ms_per_block"], 0.0) / 1e3 * (blocks + merges)
    return [
        ("samples", n_samples, ""),
        ("models", n_models, ""),
        ("classes, float16", n_classes, ""),
        ("workers", WORKERS, ""),
        ("cores of each", CORES, ""),
        ("samples of one block", block_samples, ""),
        ("blocks", blocks, "tasks"),
        ("merges, by eight", merges, "tasks"),
        ("depth of the tree", math.ceil(math.log(blocks, 8)), ""),
        ("logits", sample_bytes * n_samples / 1e12, "TB"),
        ("logits mapped by a worker at a time", CORES * block_samples * sample_bytes / 1e9, "GB"),
        ("counts of one block", rate["result_bytes"] / 1e6, "MB"),
        ("counting, at the rate of one core here", counting / 3600, "hours"),
        ("reading, at 2 GB/s a worker", reading / 3600, "hours"),
        ("adding, at the rate of one core here", adding / 3600, "hours"),
        ("moving all counts once, at 1 GB/s a worker", moving / 3600, "hours"),
        ("Dask, one task after the other", dask / 3600, "hours"),
        (
            "all of it, if nothing overlaps",
            (counting + reading + adding + moving + dask) / 3600,
            "hours",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, default=500, help="small ones, of 1,000 samples")
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--block-bytes", type=int, default=64_000_000)
    parser.add_argument("--many", type=int, default=1000, help="models of the extrapolation")
    parser.add_argument("--rate-samples", type=int, default=128)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    small = store_of(options.folder, 4, 1000 * options.blocks, 10)
    large = store_of(options.folder, options.models, options.samples, options.classes)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
            host="127.0.0.1",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):  # fmt: skip
        lost = overhead(client, small, 1000, options.passes)
        held = memory(client, large, options.block_bytes)
    rate = kernel_rate(options.many, options.rate_samples, 1000, options.passes)
    rows = extrapolate(rate, lost, 1e9, 1024)

    print(
        f"{lost['blocks']} blocks: one process {lost['one_process_s']:.2f} s, two workers "
        f"{lost['two_workers_s']:.2f} s: {lost['overhead_ms_per_block']:.2f} ms a block more, "
        f"{lost['worker_ms_per_block']:.2f} ms of a worker's time"
    )
    peaks = ", ".join(f"{peak / 1e6:.0f}" for peak in held["peak_over_baseline_bytes"])
    print(
        f"a store of {held['store_bytes'] / 1e6:.0f} MB in blocks of "
        f"{held['block_bytes'] / 1e6:.0f} MB: workers' peaks {peaks} MB over their "
        f"{min(held['baseline_bytes']) / 1e6:.0f} MB, in {held['compare_s']:.1f} s"
    )
    print(
        f"one core: {rate['models']} models x {rate['samples']} samples x 1000 classes in "
        f"{rate['block_s']:.2f} s, counts added in {rate['add_s'] * 1e3:.0f} ms"
    )
    for what, number, unit in rows:
        print(f"  {what:<46}{number:>16,.6g} {unit}".rstrip())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "cores": os.cpu_count(),
            "overhead": lost,
            "memory": held,
            "rate": rate,
            "extrapolation": {what: [number, unit] for what, number, unit in rows},
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
