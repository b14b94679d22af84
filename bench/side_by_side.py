"""ovcore beside its peers: the same data, the same threads, the machine's limit in the same run.

    python bench/side_by_side.py [--quick] [--full] [--threads 1 2]
        [--jobs "joint errors" ...] [--keep]

Every contestant has a process of its own, since idle thread pools steal cores, and proves its
answer before its time is taken. Writes tables to the terminal, and side_by_side.json and two
figures to build/bench.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import limits
import plots
import tables
from cases import Case, write_cases
from peers import CONTESTANTS, Contestant

HERE = Path(__file__).parent
SAMPLES, CLASSES = 50_000, 1_000
JOINT, PACK, AGREEMENT = "joint errors", "pack errors", "joint agreement"
PAIRS, TEMPERATURE, GREEDY = "pair ensembles", "temperature", "greedy selection"
COVARIANCE, PROBE, PATH, SMALL = "covariance", "linear probe", "probe path", "small probes"
CASES = {
    JOINT: [Case(1_000, SAMPLES)],
    PACK: [Case(1, SAMPLES, CLASSES, dtype) for dtype in ("float32", "float16", "bfloat16")],
    AGREEMENT: [Case(84, SAMPLES, CLASSES), Case(1_008, SAMPLES, CLASSES)],
    PAIRS: [Case(82, SAMPLES // 4, CLASSES, "float32")],
    TEMPERATURE: [Case(1, SAMPLES, CLASSES, "float32")],
    GREEDY: [Case(50, 10_000, CLASSES, "float32", steps=50)],
    COVARIANCE: [Case(1, 20_000, 0, "float32", dims=2_048)],
    PROBE: [Case(1, 10_000, 100, "float32", steps=1, dims=512)],
    PATH: [Case(1, 10_000, 100, "float32", steps=12, dims=512)],
    SMALL: [Case(1, 1_000, 10, "float32", steps=12, dims=128)],
}
QUICK = {
    PAIRS: [Case(82, 512, CLASSES, "float32")],
    TEMPERATURE: [Case(1, 5_000, CLASSES, "float32")],
    GREEDY: [Case(20, 500, CLASSES, "float32", steps=20)],
    COVARIANCE: [Case(1, 5_000, 0, "float32", dims=512)],
    PROBE: [Case(1, 2_000, 20, "float32", steps=1, dims=128)],
    PATH: [Case(1, 2_000, 20, "float32", steps=4, dims=128)],
    SMALL: [Case(1, 500, 10, "float32", steps=4, dims=64)],
}
FULL = {PAIRS: [Case(82, SAMPLES, CLASSES, dtype) for dtype in ("float32", "float16", "bfloat16")]}
GROWTH = {
    "models": [Case(m, SAMPLES) for m in (10, 30, 100, 300, 1_000, 3_000, 10_000)],
    "samples": [Case(100, 10**e) for e in range(3, 8)],
}
MOST_SECONDS, MOST_BYTES = 20.0, 4e9  # of one call, of one contestant's data, in the curves
ENOUGH_SECONDS = 10.0  # of a call that is not repeated in another pass
PATIENCE = 400  # seconds after which a contestant is stopped


@dataclass(frozen=True)
class Entry:
    """A contestant, what it is to do, on how many threads and for how long."""

    job: str
    contestant: Contestant
    threads: int
    cases: list[Case]
    budget: float  # seconds of measuring a case
    bounded: bool = False  # leaves out what would take too long


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    threads: list[int]
    passes: int
    budget: float
    cases: dict[str, list[Case]]
    growth: dict[str, list[Case]]
    curves: tuple[str, ...] = ()  # contestants in the curves; none named: all that can


def plan_of(options: argparse.Namespace) -> Plan:
    cases, growth = dict(CASES), dict(GROWTH)
    if options.quick:
        cases = {job: of_job[:1] for job, of_job in cases.items()} | QUICK
        growth = {"models": growth["models"][:5:2], "samples": growth["samples"][:3]}
    if options.full:
        cases |= FULL
    cases = {job: of_job for job, of_job in cases.items() if job in options.jobs}
    threads, passes, budget = options.threads, options.passes, 0.8
    curves: tuple[str, ...] = ()
    if options.quick:
        threads, passes, budget = threads[:1], 1, 0.2
        curves = "ovcore native", "numpy float32 product", "numkong dots_symmetric uint1"
    return Plan(threads, passes, budget, cases, growth if JOINT in cases else {}, curves)


def make_data(plan: Plan, folder: Path) -> None:
    """In processes of their own, which give back what memory it took."""
    for job, cases in plan.cases.items():
        of_curves = [case for axis in plan.growth.values() for case in axis] if job == JOINT else []
        text = write_cases(cases + of_curves)
        subprocess.run([sys.executable, HERE / "jobs.py", folder, job, text], check=True)


def run(entry: Entry, folder: Path) -> list[dict[str, Any]]:
    """One row a case. Whatever happens to the contestant, there is a row that says so."""
    job, contestant, threads = entry.job, entry.contestant, str(entry.threads)
    print(f"  {job}, {tables.in_words(entry.threads)}, {contestant.name}", file=sys.stderr)
    pools = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OVCORE_")}
    environment |= {f"{pool}_NUM_THREADS": threads for pool in pools} | dict(contestant.env)
    command = [sys.executable, HERE / "worker.py", job, contestant.name, threads, folder]
    command += [write_cases(entry.cases), str(entry.budget)]
    command += [str(MOST_SECONDS), str(MOST_BYTES)] if entry.bounded else []
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        output, problem = done.stdout, said[-1]
    except subprocess.TimeoutExpired as late:
        output, problem = (late.stdout or b"").decode(), f"stopped after {PATIENCE} s"
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    found += [{"problem": f"cannot run: {problem}"}] * (len(entry.cases) - len(found))
    about = {"job": job, "contestant": contestant.name, "threads": entry.threads}
    return [
        about | {"case": asdict(case)} | row | {"problem": without_paths(row["problem"])}
        for case, row in zip(entry.cases, found, strict=True)
    ]


def without_paths(text: str) -> str:
    for path in (sys.prefix, str(HERE.parent), str(Path.home())):
        text = text.replace(path, "...")
    return text


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Of two passes: a wrong answer if there was one, else the faster; neighbours slow both."""
    for row in (one, other):
        if row["problem"].startswith("wrong"):
            return row
    return min(one, other, key=lambda row: row.get("seconds", float("inf")))


def contests(plan: Plan) -> Iterator[Entry]:
    """Who does what; those without threads to offer, once and on one."""
    for job, cases in plan.cases.items():
        for threads in plan.threads:
            for contestant in CONTESTANTS[job]:
                if contestant.several_threads and threads == 1:
                    continue
                if not contestant.one_thread:
                    yield Entry(job, contestant, threads, cases, plan.budget)
                elif threads == plan.threads[0]:
                    yield Entry(job, contestant, 1, cases, plan.budget)


def curves(plan: Plan, axis: str) -> Iterator[Entry]:
    for contestant in CONTESTANTS[JOINT]:
        if contestant.grows and (contestant.name in plan.curves or not plan.curves):
            threads, cases = plan.threads[-1], plan.growth[axis]
            yield Entry(JOINT, contestant, threads, cases, plan.budget / 2, bounded=True)


def in_passes(passes: int, entries: list[Entry], folder: Path) -> list[dict[str, Any]]:
    """The better of each row's passes, which lie minutes apart."""
    found = [run(entry, folder) for entry in entries]
    for _ in range(passes - 1):
        for i, entry in enumerate(entries):
            if not (entry.contestant.once or is_slow(found[i])):
                found[i] = list(map(better, found[i], run(entry, folder)))
    return [row for rows in found for row in rows]


def is_slow(rows: list[dict[str, Any]]) -> bool:
    """Whether all calls took seconds on one thread, or very many: those are not repeated."""
    return all(
        row.get("rounds") == 1 and (row["threads"] == 1 or row["seconds"] > ENOUGH_SECONDS)
        for row in rows
    )


def memory_row(plan: Plan, folder: Path) -> dict[str, Any]:
    """What the largest case takes, the bits it is given included."""
    largest = plan.growth["models"][-1]
    [row] = run(Entry(JOINT, CONTESTANTS[JOINT][0], plan.threads[-1], [largest], 0), folder)
    words = -(-largest.samples // 1024) * 16
    row["bits_and_output_bytes"] = 8 * largest.models * (words + largest.models)
    return row


def measure(plan: Plan, out: Path) -> dict[str, Any]:
    """The whole record: machine, limits, rows, curves."""
    build = limits.native_build()
    program = limits.compile_program(out)
    limits_found = limits.measure(program, plan.threads)
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=out, prefix="data-") as name:
        folder = Path(name)
        make_data(plan, folder)
        record["rows"] = in_passes(plan.passes, list(contests(plan)), folder)
        limits_found += limits.measure(program, plan.threads)
        if plan.growth:
            record["growth"] = {
                axis: in_passes(plan.passes, list(curves(plan, axis)), folder)
                for axis in plan.growth
            }
            record["memory"] = memory_row(plan, folder)
            limits_found += limits.measure(program, plan.threads)
    record["rebuilt_during_run"] = limits.native_build() != build
    record["limits"] = limits.best(limits_found)
    tables.add_rates(record)
    return {"machine": limits.describe(), **record}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller cases, one pass")
    parser.add_argument(
        "--full",
        action="store_true",
        help="pair ensembles of all 50,000 samples, also in 16 bits: takes 18 GB of memory",
    )
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="default: 1 2")
    parser.add_argument("--jobs", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--passes", type=int, default=2, help="the better counts; default: 2")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--keep", action="store_true", help="also put results in bench/results")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options.threads = sorted(options.threads or {1, min(2, cores or 1)})
    if options.threads[0] < 1 or options.threads[-1] > (cores or 1):
        parser.error(f"--threads must be from 1 to the {cores} cores here")
    if options.passes < 1:
        parser.error("--passes must be at least 1")
    options.out.mkdir(parents=True, exist_ok=True)
    record = measure(plan_of(options), options.out)
    written = [options.out / "side_by_side.json"]
    written[0].write_text(json.dumps(record, indent=1) + "\n")
    if "growth" in record:
        written += plots.draw(record, options.out)
    print(tables.show(record))
    if options.keep:
        name = f"cpu-{record['machine']['instruction_set']}"
        kept = HERE / "results"
        kept.mkdir(exist_ok=True)
        shutil.copy(written[0], kept / f"{name}.json")
        for figure in written[1:]:
            shutil.copy(figure, kept / f"{name}-{figure.name}")
    print("\nwritten:", *written)


if __name__ == "__main__":
    main()
