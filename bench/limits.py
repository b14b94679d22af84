"""The machine: what it is, and what it can do at most (machine_limits.cpp)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("machine_limits.cpp")
MEGABYTES = (100, 200, 600)  # read: 16-bit and float32 logits of the jobs; beyond any cache
PACKAGES = (
    "ovcore", "numpy", "numba", "torch", "numkong", "simsimd", "faiss-cpu", "scipy",
    "scikit-learn", "torchmetrics", "probmetrics", "netcal",
)  # fmt: skip


def compile_program(folder: Path) -> Path | None:
    """The program of the limits, or None where there is no C++ compiler."""
    compiler = os.environ.get("CXX") or next(
        filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None
    )
    if compiler is None:
        return None
    program = folder / "machine_limits"
    for chip in ("-march=native", "-mcpu=native", "-O3"):  # as the compiler names this chip
        command = [
            compiler,
            "-std=c++17",
            "-O3",
            chip,
            "-pthread",
            str(PROGRAM),
            "-o",
            str(program),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return program
    print(f"the limits cannot be measured: {compiler} fails:\n{done.stderr}")
    return None


def measure(program: Path | None, threads: Iterable[int]) -> list[Any]:
    """One record per number of threads; none without the program."""
    if program is None:
        return []
    found = []
    for count in threads:
        command = [program, str(count), *map(str, MEGABYTES)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found.append(json.loads(done.stdout))
    return found


def best(measured: list[Any]) -> dict[int, Any]:
    """By threads, the highest of each rate: nobody else may have been at work at that moment."""
    limits: dict[int, Any] = {}
    for found in measured:
        known = limits.setdefault(found["threads"], found)
        name = "and_popcount_add_tbit_per_s"
        known[name] = max(known[name], found[name])
        for amount, rate in found["read_gb_per_s"].items():
            known["read_gb_per_s"][amount] = max(known["read_gb_per_s"][amount], rate)
    return limits


def describe() -> dict[str, Any]:
    """What the measurements were taken on, without names of hosts and people."""
    from ovcore import _dispatch

    processor = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")
    if about.exists():
        names = [line for line in about.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "processor": processor,
        "cores": _dispatch.count_workers(None),
        "instruction_set": _dispatch.info().get("instruction set", "none"),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def native_build() -> str:
    """Tells builds of the compiled core apart; empty without one."""
    found = importlib.util.find_spec("ovcore._native")
    if found is None or found.origin is None:
        return ""
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()[:12]


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
