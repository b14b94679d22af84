"""What importing costs, the documentation's examples, and the command line."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

MODULES = [
    "",
    "_dispatch",
    "adapters.dask",
    "adapters.torch_distributed",
    "adapters.torchmetrics",
    "agreement",
    "calibration._bins",
    "calibration._likelihood",
    "calibration._scaler",
    "calibration._temperature",
    "comparison",
    "counts",
    "ensembles._add",
    "ensembles._greedy",
    "ensembles._pairs",
    "ensembles._predict",
    "ensembles._specialize",
    "errors",
    "groups",
    "intervals",
    "packing",
    "pairwise._matrix",
    "pairwise._metrics",
    "pairwise._nearest",
    "pairwise._within",
    "representations._cka",
    "representations._curves",
    "representations._mixing",
    "representations._moments",
    "representations._multilabel",
    "representations._precision",
    "representations._probe",
    "representations._probes",
    "representations._ranking",
    "representations._stacking",
    "significance",
    "store",
    "topk",
]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_importing_ovcore_brings_in_numpy_alone() -> None:
    code = """
import sys
import numpy
before = set(sys.modules)
import ovcore
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"numpy", "ovcore"}))
"""
    outcome = run("-W", "error", "-c", code)
    assert outcome.stdout == "[]\n", outcome.stdout + outcome.stderr


@pytest.mark.parametrize("module", MODULES)
def test_documentation_examples_hold(module: str) -> None:
    name = ".".join(filter(None, ("ovcore", module)))
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.failed == 0


def test_info_says_what_was_found() -> None:
    outcome = run("-m", "ovcore", "info")
    assert outcome.returncode == 0, outcome.stderr
    for expected in (
        "backend native",
        "backend in use",
        "threads",
        "backend cuda ",
        "backend numba-cuda ",
    ):
        assert expected in outcome.stdout


def test_a_missing_backend_is_said_and_not_replaced() -> None:
    code = """
import sys
sys.modules["ovcore._native"] = None
import ovcore, numpy as np
try:
    ovcore.pack_errors(np.zeros((1, 2, 2)), np.zeros(2, int), backend="native")
except ovcore.BackendUnavailableError as error:
    print(error)
from ovcore import _dispatch
print(_dispatch.info()["backend in use"])
sys.modules["numba"] = sys.modules["ovcore._numba"] = None
_dispatch._load.cache_clear()
print(_dispatch.info()["backend in use"])
"""
    outcome = run("-c", code)
    refused, ladder, none = outcome.stdout.splitlines()
    assert refused.startswith("backend 'native' cannot run: the compiled core is not installed")
    assert ladder == "numba"
    assert none.startswith("none: backend 'native' cannot run")
    assert "pip install 'ovcore[numba]'" in none


def test_bad_commands_are_refused() -> None:
    assert run("-m", "ovcore", "study", "--splits", "0").returncode == 2
    assert run("-m", "ovcore").returncode == 2
