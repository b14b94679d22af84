"""How kernels run: each instruction set, numba's smaller tiles, counts that Ctrl-C ends."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = [
    HERE / f"test_{name}.py"
    for name in ("kernels", "ensemble_kernels", "angle_histogram", "center_rows", "pair_screens")
]


def run_kernel_tests(only: str, environment: dict[str, str]) -> None:
    """Runs the kernels' tests of one backend again, in a process with that environment."""
    outcome = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-k",
            only,
            "-p",
            "no:cacheprovider",
            *map(str, KERNELS),
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("instruction_set", ["baseline", "avx2", "avx512"])
def test_every_instruction_set(instruction_set: str) -> None:
    native = pytest.importorskip("ovcore._native")
    environment = {**os.environ, "OVCORE_ISA": instruction_set}
    probe = [sys.executable, "-c", "from ovcore import _native; print(_native.instruction_set())"]
    outcome = subprocess.run(probe, env=environment, capture_output=True, text=True, check=False)
    if "cannot run here" in outcome.stderr:
        pytest.skip(outcome.stderr.splitlines()[-1])
    assert outcome.stdout.strip() == instruction_set
    if instruction_set == native.instruction_set():
        pytest.skip("what all tests of this run are run with")
    run_kernel_tests("native", {"OVCORE_ISA": instruction_set})


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 chip")
def test_numba_for_a_chip_without_vector_popcount(tmp_path: Path) -> None:
    chip = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+popcnt,+bmi2"}
    run_kernel_tests("numba", {**chip, "NUMBA_CACHE_DIR": str(tmp_path)})


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
