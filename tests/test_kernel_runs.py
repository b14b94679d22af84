"""How kernels run: each instruction set, numba's smaller tiles, counts that Ctrl-C ends."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
KERNELS = [
    HERE / f"test_{name}.py"
    for name in ("kernels", "ensemble_kernels", "angle_histogram", "center_rows", "pair_screens")
]


def _in_use() -> str:
    """The instruction set of this process; none where nothing is compiled."""
    try:
        from ovcore import _native
    except ImportError:
        return ""
    return _native.instruction_set()


CHIP = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+popcnt,+bmi2"}
OTHERS = [name for name in ("baseline", "avx2", "avx512") if name != _in_use()]
RUNS = {name: ("native", {"OVCORE_ISA": name}) for name in OTHERS} | {"numba": ("numba", CHIP)}


@pytest.fixture(scope="module")
def kernel_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The kernels' tests of one backend again, each in a process of its environment, at once."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, KERNELS)]
    started = {}
    for name, (only, environment) in RUNS.items():
        there = {"NUMBA_CACHE_DIR": str(folder / name)} if only == "numba" else {}
        with (folder / f"{name}.txt").open("w") as said:
            started[name] = subprocess.Popen(
                [*command, "-k", only],
                env={**os.environ, **environment, **there},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
    yield {name: (process, folder / f"{name}.txt") for name, process in started.items()}
    for process in started.values():
        process.kill()
        process.wait()


def expect_passed(run: tuple[Any, Path]) -> None:
    process, said = run
    outcome = process.wait()
    text = said.read_text()
    assert outcome == 0, text
    assert " passed" in text


@pytest.mark.parametrize("instruction_set", OTHERS)
def test_every_other_instruction_set(instruction_set: str, kernel_runs: Any) -> None:
    """The one in use is what all tests of this run are run with."""
    pytest.importorskip("ovcore._native")
    environment = {**os.environ, "OVCORE_ISA": instruction_set}
    probe = [sys.executable, "-c", "from ovcore import _native; print(_native.instruction_set())"]
    outcome = subprocess.run(probe, env=environment, capture_output=True, text=True, check=False)
    if "cannot run here" in outcome.stderr:
        pytest.skip(outcome.stderr.splitlines()[-1])
    assert outcome.stdout.strip() == instruction_set
    expect_passed(kernel_runs[instruction_set])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 chip")
def test_numba_for_a_chip_without_vector_popcount(kernel_runs: Any) -> None:
    expect_passed(kernel_runs["numba"])


def test_an_unknown_instruction_set_is_refused() -> None:
    pytest.importorskip("ovcore._native")
    code = "from ovcore import _dispatch; _dispatch.choose()"
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OVCORE_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode != 0
    assert "OVCORE_ISA=sse9 cannot run here; expected one of" in outcome.stderr


JOBS = [
    "joint_errors(np.zeros((6000, 4096), np.uint64), 1, None)",
    "joint_agreement([np.zeros(50_000, np.int32)] * 4000, 0, 50_000, 2, None)",
    "pack_errors([Typed(np.zeros((4000, 5000)), 'float64')] * 500, zeros, bits, None, 2, None)",
    "temperature_nll([Typed(np.zeros((4000, 5000)), 'float64')] * 500, zeros, ones, 2, None)",
]
# Few models on very many samples: less than a second for numba, which has no slow instructions.
SLICES = "joint_errors(np.zeros((3, 1 << 28), np.uint64), 2, None)"


@pytest.mark.parametrize(
    ("fast_backend", "job"),
    [(backend, job) for backend in ("native", "numba") for job in JOBS] + [("native", SLICES)],
    indirect=["fast_backend"],
)
def test_ctrl_c_ends_a_long_count(fast_backend: str, job: str) -> None:
    """A count of some ten seconds ends soon after the signal; how soon, its user sees."""
    code = f"""
import os, signal, threading
import numpy as np
from ovcore import _dispatch
from ovcore._arrays import Typed
backend = _dispatch.choose({fast_backend!r})
one, zeros = np.zeros(64, np.int64), np.zeros(4000, np.int64)
bits, ones = np.zeros((500, 64), np.uint64), np.ones(500)
backend.joint_errors(np.zeros((9, 8), np.uint64), 2, None)  # compiles, where that is still to do
backend.joint_agreement([one, one], 0, 1, 2, None)
backend.joint_agreement([one.astype(np.int32)] * 9, 0, 1, 2, None)
few = [Typed(np.zeros((64, 2)), "float64")]
backend.pack_errors(few, one, bits[:1, :1], None, 2, None)
backend.temperature_nll(few, one, ones[:1], 2, None)
done = threading.Event()
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
threading.Timer(0.7, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
threading.Timer(30.0, lambda: done.is_set() or os._exit(3)).start()
try:
    backend.{job}
    print("finished")
except KeyboardInterrupt:
    print("interrupted")
done.set()
os._exit(0)
"""
    outcome = subprocess.run(
        [sys.executable, "-uc", code],
        env={**os.environ, "OVCORE_ISA": "baseline"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.stdout == "interrupted\n", outcome.stdout + outcome.stderr
