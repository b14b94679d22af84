"""Shared fixtures: the backends, and real data where a checkout has it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import on_gpu
from ovcore import BackendUnavailableError, _dispatch

DATA = Path(__file__).parents[2] / "shared" / "data"


KERNEL_TESTS = (
    "test_angle_histogram",
    "test_ensemble_kernels",
    "test_kernels",
    "test_pair_screens",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of kernels run on GPUs, too: a real one where it is, and simulated ones."""
    names = ["native", "numba"]
    if metafunc.module.__name__ in KERNEL_TESTS:
        marked = {mark.name for mark in metafunc.definition.iter_markers()}
        if not marked & {"on_host", "too_much_to_simulate"}:
            names.append(on_gpu.SIMULATED)
        if "on_host" not in marked:
            names.append(pytest.param("cuda", marks=pytest.mark.gpu))
    chosen: set[str] = set()  # by the test itself
    for mark in metafunc.definition.iter_markers("parametrize"):
        chosen.update([mark.args[0]] if isinstance(mark.args[0], str) else mark.args[0])
    for fixture, more in (("backend", ["reference"]), ("fast_backend", [])):
        if fixture in metafunc.fixturenames and fixture not in chosen:
            metafunc.parametrize(fixture, [*names, *more], indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend by name; the compiled one may be missing unless the environment requires it."""
    with _available(request.param) as name:
        yield name


@pytest.fixture
def fast_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend but the oracle, for what that is too slow for or is compared with."""
    with _available(request.param) as name:
        yield name


@contextlib.contextmanager
def _available(name: str) -> Iterator[str]:
    if name == on_gpu.SIMULATED:
        with simulated_gpus():
            yield name
        return
    try:
        _dispatch.choose(name, "cuda:0" if name == "cuda" else "numpy")
    except BackendUnavailableError as error:
        needed = "OVCORE_REQUIRE_GPU" if name == "cuda" else "OVCORE_REQUIRE_NATIVE"
        if os.environ.get(needed):
            raise
        pytest.skip(str(error))
    yield name


@contextlib.contextmanager
def simulated_gpus() -> Iterator[Any]:
    if on_gpu.simulated_module() is None:
        pytest.skip("no C++ compiler: the simulated GPUs are not built")
    with on_gpu.simulated() as module:
        yield module


@pytest.fixture
def gpus() -> Iterator[Any]:
    """Simulated GPUs, two of them."""
    with simulated_gpus() as module:
        yield module


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220425)


@pytest.fixture(scope="session")
def zoo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for trained zoos."""
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="session")
def zoo_split(zoo_cache: Path) -> Any:
    """A tiny zoo, trained."""
    from ovcore.study.zoo import Recipe, build  # not installed on every machine with a GPU

    return build(Recipe.tiny(), cache=zoo_cache, progress=False)[0]


@pytest.fixture(scope="session")
def real_data() -> Any:
    """Opens a file of real predictions and its reference values by file name."""
    if not DATA.is_dir():
        pytest.skip(f"no real predictions at {DATA}")
    reference = json.loads((DATA / "reference_dev.json").read_text())["results"]

    def load(name: str) -> tuple[Any, Any]:
        return np.load(DATA / name, allow_pickle=False), reference[name]

    return load
