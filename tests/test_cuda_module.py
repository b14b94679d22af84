"""The CUDA module as it is built: what it contains, and what it says where there is no GPU."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovcore import BackendUnavailableError, _dispatch

ARCHITECTURES = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100"]


@functools.cache
def module_path() -> str:
    spec = importlib.util.find_spec("ovcore._cuda")
    if spec is None or spec.origin is None:
        if os.environ.get("OVCORE_CUDA") == "ON":
            raise FileNotFoundError("OVCORE_CUDA is ON, but ovcore._cuda is not installed")
        pytest.skip("the CUDA module is not built: it is where nvcc and a driver are")
    return spec.origin


def cuobjdump(*options: str) -> str:
    """What the toolkit's disassembler, or the one from PyPI, says of the module."""
    folder = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin"
    path = f"{os.environ['PATH']}:/usr/local/cuda/bin:{folder}"  # it calls nvdisasm
    tool = shutil.which("cuobjdump", path=path)
    assert tool is not None, "no cuobjdump: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
    return subprocess.run(
        [tool, *options, module_path()],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@functools.cache
def kernels(architecture: str) -> dict[str, str]:
    """Assembly of each kernel."""
    text = cuobjdump("--dump-sass", "--gpu-architecture", architecture)
    parts = re.split(r"Function : (\S+)", text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_architecture_is_there() -> None:
    listed = set(re.findall(r"\.(sm_\w+)\.cubin", cuobjdump("--list-elf")))
    assert listed == {*ARCHITECTURES, "sm_90a"}
    assert "sm_100" in cuobjdump("--list-ptx")  # for chips that come later


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "sm_90a"])
def test_no_kernel_spills(architecture: str) -> None:
    """Registers that do not suffice, and arrays indexed at run time, go to local memory."""
    found = kernels(architecture)
    assert len(found) >= (1 if architecture == "sm_90a" else 20)
    for name, assembly in found.items():
        assert not re.search(r"\b(LDL|STL)\b", assembly), name
    usage = cuobjdump("--dump-resource-usage", "--gpu-architecture", architecture)
    stacks = re.findall(r"STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", usage)
    assert set(stacks) == {("0", "0")}


def of(name: str, architecture: str) -> Iterator[str]:
    found = [text for kernel, text in kernels(architecture).items() if name in kernel]
    assert found, f"no kernel of {name} for {architecture}"
    return iter(found)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_89", "sm_90"])
def test_joint_errors_take_single_bit_tensor_cores(architecture: str) -> None:
    assert any("BMMA.168256.AND.POPC" in text for text in of("joint_errors_mma", architecture))


def test_joint_errors_of_hopper_take_its_own() -> None:
    assert any("BGMMA.64x256x256.AND.POPC" in text for text in of("joint_errors_wgmma", "sm_90a"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_loads_are_as_wide_as_they_can_be(architecture: str) -> None:
    """Logits are read 16 bytes at a time; fragments of tensor cores come by their own load."""
    assert all("LDG.E.128" in text for text in of("pack_logits", architecture))
    if architecture != "sm_100":  # there bits are counted without tensor cores
        assert any("LDSM" in text for text in of("joint_errors_mma", architecture))


def test_a_machine_without_a_gpu_is_told() -> None:
    module_path()
    from ovcore import _cuda

    try:
        assert all(", compute capability " in name for name in _cuda.devices())
    except RuntimeError as error:
        assert str(error).startswith("no CUDA device: ")  # noqa: PT017
        with pytest.raises(BackendUnavailableError, match="'cuda' cannot run: no CUDA device"):
            _dispatch.choose("cuda", "cuda:0")
        assert "no CUDA device" in _dispatch.info()["backend cuda"]
