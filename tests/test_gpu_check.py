"""The checks of a GPU, on simulated ones: that they pass, and that they fail; and their timings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench_modules import BENCH, bench, bench_is_importable  # noqa: F401
from ovcore import _devices


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script; of public functions, what needs neither torch nor cupy."""
    script = bench("gpu_check")
    name = "public functions"
    monkeypatch.setattr(script, "TENSORS", {name: script.TENSORS[name]})
    monkeypatch.setenv("PATH", "")
    return script


def outcomes(path: Path) -> dict[str, Any]:
    return {found["check"]: found for found in json.loads(path.read_text())["checks"]}


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("capability", "missing"), [("100", {"mma", "wgmma"}), ("80", {"wgmma"}), ("90", set())]
)
def test_all_kernels_pass(
    check: Any, capability: str, missing: set[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("OVCORE_SIMT_CAPABILITY", capability)
    path = tmp_path / "found.json"
    assert check.main(["--small", "--only", "checks", "--json", str(path), "--seed", "9"]) == 0
    for name, found in outcomes(path).items():
        if name.removeprefix("joint_errors, ") in missing:
            assert "not on this device" in found["note"]
        else:
            assert found["cases"] > 0
    record = json.loads(path.read_text())
    assert (record["seed"], record["size"], record["capability"][0]) == (9, "small", capability[0])
    assert [found["said"] for found in record["memory"]] == [
        "compute-sanitizer is not installed"
    ] * 2
    assert "joint_errors, popcount" in capsys.readouterr().out


def test_every_kernel_of_the_module_is_checked(gpus: Any, check: Any) -> None:
    others = {"device_of", "devices", "measure", "measured", "order"}
    kernels = {name for name in dir(gpus) if name[0].islower()} - others
    called = set()

    def spied(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            called.add(name)
            return getattr(gpus, name)(*arguments, **options)

        return call

    spy = types.SimpleNamespace(**{name: spied(name) for name in kernels})
    spy.DeviceArray, spy.Buffer, spy.devices = gpus.DeviceArray, gpus.Buffer, gpus.devices
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_devices, "module", lambda: spy)
        check.run_checks(bench("gpu_checks").KERNELS, "tiny", 0)
    assert called == kernels


def one_more(found: Any) -> Any:
    found = np.array(found)
    found.flat[0] += 1
    return found


BROKEN: dict[str, tuple[Callable[[Callable[..., Any]], Callable[..., Any]], str]] = {
    "joint_errors": (
        lambda run: lambda *a, **k: one_more(run(*a, **k)),
        "joint_errors, popcount",
    ),
    "joint_errors_between": (lambda run: lambda *a: one_more(run(*a)), "joint_errors_between"),
    "screen_pairs": (lambda run: lambda *a: [c[:-1] for c in run(*a)], "screen_pairs"),
    "joint_agreement": (lambda run: lambda *a: one_more(run(*a)), "joint_agreement"),
    "class_span": (lambda run: lambda *a: tuple(one_more(run(*a)).tolist()), "class_span"),
    "temperature_nll": (lambda run: lambda *a: run(*a) * (1 + 1e-9), "temperature_nll"),
    "candidate_hits": (lambda run: lambda *a: one_more(run(*a)), "candidate_hits"),
    "pair_ensemble_hits": (
        lambda run: lambda *a: (one_more(run(*a)[0]), np.zeros(2, np.int64)),
        "pair_ensemble_hits",
    ),
    "ensemble_predictions": (lambda run: lambda *a: one_more(run(*a)), "ensemble_predictions"),
    "angle_histogram": (lambda run: lambda *a: one_more(run(*a)), "angle_histogram"),
    "candidate_scores": (
        lambda run: lambda *a: (lambda c: c._replace(outside=c.mass))(run(*a)),
        "candidate_scores",
    ),
    # these write where they are told: whatever is not written is poison
    "pack_errors": (lambda _: lambda models, *_: [0] * len(models), "pack_errors of logits"),
    "confidences": (lambda _: lambda *_: None, "confidences"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_kernel_fails_alone(
    gpus: Any, check: Any, name: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    breaks, row = BROKEN[name]
    monkeypatch.setattr(gpus, name, breaks(getattr(gpus, name)))
    path = tmp_path / "found.json"
    assert check.main(["--tiny", "--only", "kernels", "--json", str(path)]) == 1
    found = outcomes(path)
    assert found[row]["problems"]
    assert f"FAILED {row}: " in capsys.readouterr().out
    assert not any(other["problems"] for key, other in found.items() if name not in key)


def test_a_kernel_that_raises_stops_no_other(
    gpus: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("cudaErrorLaunchFailure")

    monkeypatch.setattr(gpus, "class_span", fail)
    kernels = bench("gpu_checks").KERNELS
    found = check.run_checks({n: kernels[n] for n in ("class_span", "take_rows")}, "tiny", 0)
    assert found[0]["problems"] == ["after 0 cases RuntimeError: cudaErrorLaunchFailure"]
    assert (found[1]["problems"], found[1]["cases"]) == ([], 8)
    assert "FAILED (1)" in check.table_of_checks(found)


def test_bits_that_differ_from_run_to_run_are_seen(
    gpus: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, noise = gpus.temperature_nll, iter(range(10**6))

    def unsteady(*arguments: Any) -> Any:
        return kernel(*arguments) * (1 + 1e-15 * next(noise))

    monkeypatch.setattr(gpus, "temperature_nll", unsteady)
    setting = bench("gpu_cases").Setting("tiny", np.random.default_rng(0))
    (outcome,) = check.run_checks({"n": bench("gpu_checks").temperature_nll}, "tiny", 0)
    assert setting.cuda is gpus
    assert all("the same bits again" in problem for problem in outcome["problems"])
    assert outcome["problems"]


@pytest.mark.usefixtures("gpus")
def test_results_on_the_wrong_device_are_seen(check: Any) -> None:
    tensors = bench("gpu_tensors")
    setting = bench("gpu_cases").Setting("tiny", np.random.default_rng(0))
    strict = tensors.own_arrays()._replace(is_there=lambda _: False)
    checked = tensors.same_as_on_the_cpu(setting, lambda: strict, ("float32",))
    problems = check.run_check(lambda _: checked, setting)["problems"]
    assert any("predict, where it lies" in problem for problem in problems)


def test_tensors_of_torch_in_host_memory_pass(check: Any) -> None:
    tensors = bench("gpu_tensors")
    setting = bench("gpu_cases").Setting("tiny", np.random.default_rng(0))
    found = check.run_check(
        lambda s: tensors.same_as_on_the_cpu(
            s, lambda: tensors.torch_arrays(torch, "cpu"), ("float32", "bfloat16")
        ),
        setting,
    )
    assert found["cases"] > 100
    assert found["problems"] == []


@pytest.mark.usefixtures("gpus")
def test_without_a_device_it_exits_with_77(
    check: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OVCORE_SIMT_DEVICES", "0")
    assert check.main(["--small"]) == 77
    assert "no GPU to check: no CUDA device" in capsys.readouterr().out


def test_as_a_program_it_exits_with_77() -> None:
    done = subprocess.run(
        [sys.executable, BENCH / "gpu_check.py"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (77, "")
    assert done.stdout.startswith("no GPU to check: ")


@pytest.mark.parametrize(
    ("status", "prints", "failed", "said"),
    [
        (0, "========= ERROR SUMMARY: 0 errors", False, "ERROR SUMMARY: 0 errors"),
        (9, "========= ERROR SUMMARY: 3 errors", True, "ERROR SUMMARY: 3 errors"),
        (1, "========= ERROR SUMMARY: 0 errors", True, "ERROR SUMMARY: 0 errors"),
        (77, "========= ERROR SUMMARY: 0 errors", False, "did not run here (exit 77)"),
        (1, "Device not supported", False, "did not run here (exit 1)"),
    ],
)
def test_what_the_memory_checker_says(
    check: Any, status: int, prints: str, failed: bool, said: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    tool = tmp_path / "compute-sanitizer"
    asked = tmp_path / "asked"
    tool.write_text(f"#!/bin/sh\necho $* > {asked}\necho '{prints}'\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = check.check_memory("racecheck", 5)
    assert found == {"tool": "racecheck", "failed": failed, "said": said}
    assert "--tool racecheck --error-exitcode 9" in asked.read_text()
    assert "--tiny --only kernels --seed 5" in asked.read_text()


@pytest.mark.parametrize(
    ("found", "expected", "rtol", "same"),
    [
        ([1, 2], [1, 2], 0.0, True),
        ([1, 2], [1, 3], 0.0, False),
        ([np.nan, 1.0], [np.nan, 1.0], 0.0, True),
        ([np.nan, 1.0], [0.0, 1.0], 1e-3, False),
        ([1.0], [1.0 + 1e-12], 1e-11, True),
        ([1.0], [1.0 + 1e-10], 1e-11, False),
        ([1], [1.0], 0.0, False),
        ([1, 1], [1], 0.0, False),
    ],
)
def test_difference(found: Any, expected: Any, rtol: float, same: bool) -> None:
    cases = bench("gpu_cases")
    problem = cases.difference(cases.Case("", np.array(found), np.array(expected), rtol))
    assert (problem is None) == same
