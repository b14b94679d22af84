"""A store larger than a process may hold: how long comparing it takes beside reading its files.

``python bench/big_store.py DIR`` makes a store of 82 models x 50,000 x 1,000 float16 (8.2 GB) in
DIR unless it is there, reads its files once from end to end, compares it in a process of its own
that must not hold more than 2 GB beyond the page cache, and says how the two times compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ovcore.store import ModelCard, StoreWriter

BLOCK = 1000  # samples made at a time

COMPARE = """
import json, sys, threading, time, warnings
from pathlib import Path

def resident():  # bytes that are this process's own, not those of files in the page cache
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024

peak, done = 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, resident())

import ovcore as ov
from ovcore.store import Store
threading.Thread(target=watch, daemon=True).start()
begin = time.perf_counter()
warnings.simplefilter("ignore")  # fitted temperatures: how long they take is all that is asked
temperature = sys.argv[2] if sys.argv[2] in ("fit", "stored") else float(sys.argv[2])
result = ov.compare(Store(sys.argv[1]), temperature=temperature)
seconds = time.perf_counter() - begin
done.set()
peak = max(peak, resident())
hits = int(result.ensembles.hits.sum())
print(json.dumps({"seconds": seconds, "peak_bytes": peak, "hits": hits}))
"""


def make(path: Path, n_models: int, n_samples: int, n_classes: int) -> None:
    """Models of about 70 to 80 % accuracy, half of whose scores they share."""
    target = np.random.default_rng(0).integers(0, n_classes, n_samples)
    with StoreWriter(path, target=target, n_classes=n_classes) as writer:
        for m in range(n_models):

            def blocks(m: int = m) -> Iterator[dict[str, np.ndarray]]:
                for first in range(0, n_samples, BLOCK):
                    labels = target[first : first + BLOCK]
                    shape = (len(labels), n_classes)
                    shared, own = (np.random.default_rng([s, first]) for s in (1, 2 + m))
                    logits = shared.standard_normal(shape, np.float32)
                    logits += own.standard_normal(shape, np.float32)
                    logits[np.arange(len(labels)), labels] += 5.2 + 0.01 * m
                    yield {"logits": logits.astype(np.float16)}

            card = ModelCard(f"model {m}", temperature=1.0 + 0.01 * m)
            writer.add_blocks(card, blocks())
            print(f"\r{m + 1} of {n_models} models", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def read_once(path: Path) -> float:
    """Seconds that reading all files of the store takes, one after the other."""
    buffer = bytearray(1 << 23)
    begin = time.perf_counter()
    for file in sorted(path.glob("*.safetensors")):
        with file.open("rb", buffering=0) as source:
            while source.readinto(buffer):
                pass
    return time.perf_counter() - begin


def forget(path: Path) -> None:
    """Asks the system to drop the files' pages from its cache."""
    for file in path.glob("*.safetensors"):
        with file.open("rb") as source:
            os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare_once(path: Path, temperature: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", COMPARE, str(path), temperature],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=82)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--temperature", default="stored", help="stored, fit or a number")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    path = options.folder / f"store-{options.models}-{options.samples}-{options.classes}"
    if not path.exists():
        make(path, options.models, options.samples, options.classes)
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    record: dict[str, object] = {
        "models": options.models,
        "samples": options.samples,
        "classes": options.classes,
        "bytes": size,
    }
    for state in ("cold", "warm"):
        reads, compared = [], []
        for _ in range(options.passes):
            if state == "cold":
                forget(path)
            reads.append(read_once(path))
            if state == "cold":
                forget(path)
            compared.append(compare_once(path, options.temperature))
        read = statistics.median(reads)
        took = statistics.median(c["seconds"] for c in compared)
        peak = max(c["peak_bytes"] for c in compared)
        print(
            f"{state} cache: read {read:.2f} s ({size / read / 1e9:.1f} GB/s), compared in "
            f"{took:.2f} s: {took / read:.2f} reads; at most {peak / 1e9:.2f} GB of its own"
        )
        record[state] = {
            "read_s": read,
            "compare_s": took,
            "ratio": took / read,
            "peak_bytes": peak,
        }
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
