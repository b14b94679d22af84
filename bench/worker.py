"""One contestant in a process of its own: proves its answers, then takes its times.

    worker.py JOB CONTESTANT THREADS FOLDER CASES BUDGET [SECONDS BYTES]

Prints one line of JSON a case, measured for about BUDGET seconds. A case whose call would take more
than SECONDS, judged by the one before, or whose data more than BYTES, is left out.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import clock
from cases import Case, WrongAnswerError, read_cases
from jobs import JOBS, Job
from peers import CONTESTANTS, Contestant


def peak_bytes() -> int:
    """Most memory that this process has held; getrusage's on Linux starts at the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def measure(
    job: Job, contestant: Contestant, case: Case, threads: int, folder: Path, budget: float
) -> dict[str, Any]:
    """The median time of a case, and what it took of memory."""
    part = contestant.part_of(case)
    before = peak_bytes()
    data = job.load(folder, part)
    call = contestant.prepare(data, threads)
    start = time.perf_counter()
    answer = call()  # compiles, starts threads, touches memory
    first = time.perf_counter() - start
    peak = peak_bytes() - before
    said = job.check(answer, contestant, folder, part)
    del answer
    # a peer's start does not matter in so long a call; numba compiles, which would
    long = first > clock.VERY_LONG and not contestant.name.startswith("ovcore")
    times = [first] if long else clock.times_of(call, budget)
    work = contestant.work or job.amount
    scale = work(case) / work(part)
    return {
        "seconds": statistics.median(times) * scale,
        "fastest_seconds": min(times) * scale,
        "rounds": len(times),
        "peak_bytes": peak,
        "measured": {axis: getattr(part, axis) for axis in contestant.only if part != case},
        "answer": said,
        "beside": dict(contestant.beside(data, threads)) if contestant.beside else {},
    }


def too_big(
    contestant: Contestant, case: Case, last: tuple[Case, float] | None, seconds: float, most: float
) -> str:
    """Why a case is left out, or nothing."""
    needed = (contestant.grows or 0) * case.models * case.samples
    if needed > most:
        return f"left out: needs {needed / 1e9:.1f} GB"
    if last:
        expected = last[1] * case.pairs() * case.samples / (last[0].pairs() * last[0].samples)
        if expected > seconds:
            return f"left out: about {expected:.0f} s"
    return ""


def main() -> None:
    name, title, threads, folder, cases, budget, *limits = sys.argv[1:]
    seconds, most = (float(limit) for limit in limits) if limits else (float("inf"),) * 2
    contestant = next(c for c in CONTESTANTS[name] if c.name == title)
    last = None
    for case in read_cases(cases):
        row: dict[str, Any] = {"problem": too_big(contestant, case, last, seconds, most)}
        if not row["problem"]:
            try:
                row |= measure(
                    JOBS[name], contestant, case, int(threads), Path(folder), float(budget)
                )
                last = case, row["seconds"]
            except WrongAnswerError as error:
                row["problem"] = str(error)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its result
                row["problem"] = f"cannot run: {type(error).__name__}: {error}"
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
