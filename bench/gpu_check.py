"""Checks and times ovcore on an NVIDIA GPU: make gpu-check.

Exits with 1 where a check failed and with 77 where there is no GPU. Goals that are missed fail
nothing: they are told.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

import limits
from gpu_cases import NotHereError, Setting, difference
from gpu_checks import KERNELS, Check
from gpu_tensors import TENSORS
from ovcore import _devices

NO_GPU = 77
SHOWN = 5  # problems of a check
TOOLS = {"memcheck": "--small", "racecheck": "--tiny"}
TOOL_SECONDS = 90  # of each; a checker slows kernels down by up to a hundred times
TOOL_FAILED = 9
PACKAGES = ("ovcore", "torch", "cupy-cuda13x", "numba", "numba-cuda", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    options = read_options(arguments)
    try:
        devices = _devices.module().devices()
    except (ImportError, RuntimeError) as error:
        print(f"no GPU to check: {error}")
        return NO_GPU
    record = {**describe(devices), "seed": options.seed, "size": options.size}
    print(f"{record['device']}, driver {record['driver']}; seed {options.seed}, {options.size}")
    print(", ".join(f"{name} {version}" for name, version in record["versions"].items()))
    failed = False
    if options.only != "timings":
        checks = {**KERNELS, **(TENSORS if options.only != "kernels" else {})}
        record["checks"] = run_checks(checks, options.size, options.seed)
        print("\n" + table_of_checks(record["checks"]) + "\n")
        failed |= any(check["problems"] for check in record["checks"])
    if options.only in (None, "checks"):
        record["memory"] = [check_memory(tool, options.seed) for tool in TOOLS]
        failed |= any(found["failed"] for found in record["memory"])
    if options.only in (None, "timings"):
        failed |= time_jobs(devices[0], options, record)
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1, allow_nan=False))
        print(f"\nwrote {options.json}")
    print("FAILED" if failed else "all is well")
    return int(failed)


def time_jobs(device: str, options: argparse.Namespace, record: dict[str, Any]) -> bool:
    """Whether one failed. What is imported here needs more than the checks do."""
    import gpu_timings

    try:
        timings = gpu_timings.run(device, options.seed, small=options.size != "full")
    except NotHereError as error:
        record["timings"] = {"notes": [f"not timed: {error}"]}
        print(f"not timed: {error}")
        return False
    except Exception as error:  # noqa: BLE001  # what was checked is to be told
        record["timings"] = {"notes": [f"{type(error).__name__}: {error}"]}
        print(f"FAILED timings: {type(error).__name__}: {error}")
        return True
    record["timings"] = timings.as_json()
    print("\n" + "\n".join([gpu_timings.show(timings.rows), *timings.notes]))
    return any(row.problem for row in timings.rows)


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all results there")
    parser.add_argument("--seed", type=int, help="repeat the random inputs of an earlier run")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", dest="size", action="store_const", const="small", default="full")
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny")
    parser.add_argument(
        "--only",
        choices=("checks", "kernels", "timings"),
        help="kernels: the checks that need neither torch nor cupy",
    )
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = int.from_bytes(os.urandom(4), "little")
    return options


def describe(devices: Sequence[str]) -> dict[str, Any]:
    """The first GPU, its driver, and versions."""
    name, _, capability = devices[0].partition(", compute capability ")
    driver = "unknown"
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        driver = asked.stdout.split("\n")[0].strip() or driver
    return {
        "device": name,
        "capability": capability,
        "driver": driver,
        "versions": {package: limits.version(package) for package in PACKAGES},
    }


def run_checks(checks: dict[str, Check], size: str, seed: int) -> list[dict[str, Any]]:
    """Every check, whatever becomes of those before it; each has random numbers of its own."""
    found = []
    for name, check in checks.items():
        start = time.perf_counter()
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        outcome = {"check": name, **run_check(check, Setting(size, rng))}
        outcome["seconds"] = round(time.perf_counter() - start, 2)
        found.append(outcome)
        for problem in outcome["problems"][:SHOWN]:
            print(f"FAILED {name}: {problem}", flush=True)
    return found


def run_check(check: Check, setting: Setting) -> dict[str, Any]:
    cases, problems, note = 0, [], ""
    try:
        for case in check(setting):
            cases += 1
            problem = difference(case)
            if problem:
                problems.append(f"{case.what}: {problem}")
    except NotHereError as error:
        note = str(error)
    except Exception as error:  # noqa: BLE001  # the other checks are to run
        problems.append(f"after {cases} cases {type(error).__name__}: {error}")
    if not (cases or note or problems):
        problems.append("no case was checked")
    return {"cases": cases, "problems": problems, "note": note}


def table_of_checks(checks: Sequence[dict[str, Any]]) -> str:
    lines = []
    for check in checks:
        failed = len(check["problems"])
        said = f"FAILED ({failed})" if failed else check["note"] or "ok"
        lines.append([check["check"], f"{check['cases']:,}", f"{check['seconds']:.1f}", said])
    headers = ["check", "cases", "seconds", ""]
    align = ("left", "right", "right", "left")
    return tabulate(lines, headers, colalign=align, disable_numparse=True)


def check_memory(tool: str, seed: int) -> dict[str, Any]:
    """The kernels' checks once more, under a tool of NVIDIA's compute-sanitizer.

    Without torch and cupy: their allocators hand out parts of large blocks, past whose ends the
    tool sees nothing.
    """
    found: dict[str, Any] = {"tool": tool, "failed": False}
    checker = shutil.which("compute-sanitizer")
    if checker is None:
        return tell(found, "compute-sanitizer is not installed")
    command = [checker, "--tool", tool, "--error-exitcode", str(TOOL_FAILED), sys.executable]
    command += [__file__, TOOLS[tool], "--only", "kernels", "--seed", str(seed)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return tell(found, f"did not end in {TOOL_SECONDS} s")
    lines = (done.stdout + done.stderr).splitlines()
    summary = next((line for line in reversed(lines) if "SUMMARY" in line), None)
    if done.returncode:
        print("\n".join(lines[-20:]))
    if summary is None or done.returncode not in (0, 1, TOOL_FAILED):
        return tell(found, f"did not run here (exit {done.returncode})")
    found["failed"] = done.returncode != 0
    return tell(found, summary.strip("= "))


def tell(found: dict[str, Any], said: str) -> dict[str, Any]:
    print(f"{found['tool']}: {said}", flush=True)
    return {**found, "said": said}


if __name__ == "__main__":
    sys.exit(main())
