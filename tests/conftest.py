"""Shared fixtures: the backends, and real data where a checkout has it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovcore import BackendUnavailableError, _dispatch

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(params=["native", "numba", "reference"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend by name; the compiled one may be missing unless the environment requires it."""
    return _available(request.param)


@pytest.fixture(params=["native", "numba"])
def fast_backend(request: pytest.FixtureRequest) -> str:
    """Each backend but the oracle, for what that is too slow for or is compared with."""
    return _available(request.param)


def _available(name: str) -> str:
    try:
        _dispatch.choose(name)
    except BackendUnavailableError as error:
        if os.environ.get("OVCORE_REQUIRE_NATIVE"):
            raise
        pytest.skip(str(error))
    return name


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220425)


@pytest.fixture(scope="session")
def real_data() -> Any:
    """Opens a file of real predictions and its reference values by file name."""
    if not DATA.is_dir():
        pytest.skip(f"no real predictions at {DATA}")
    reference = json.loads((DATA / "reference_dev.json").read_text())["results"]

    def load(name: str) -> tuple[Any, Any]:
        return np.load(DATA / name, allow_pickle=False), reference[name]

    return load
