"""The measurement of very many models, on few."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "bench" / "many_models.py"


def test_few_models_are_counted_and_found(tmp_path: Path) -> None:
    pytest.importorskip("ovcore._native")
    sizes = ["--models", "700", "--samples", "300", "--k", "3", "--passes", "1"]
    command = [sys.executable, str(SCRIPT), *sizes, "--json", str(tmp_path / "record.json")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("700 models x 300 samples: counted in ")
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["find_over_count"] == record["find_s"] / record["count_s"]
    assert 0 < record["peak_bytes"] < 1e9
