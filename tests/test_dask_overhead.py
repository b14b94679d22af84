"""The measurement of what Dask costs, on little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed")

SCRIPT = Path(__file__).parents[1] / "bench" / "dask_overhead.py"


def test_what_dask_costs_is_measured(tmp_path: Path) -> None:
    command = [
        sys.executable, str(SCRIPT), str(tmp_path), "--blocks", "6", "--models", "2",
        "--samples", "3000", "--classes", "5", "--block-bytes", "20000", "--many", "3",
        "--rate-samples", "16", "--passes", "1", "--json", str(tmp_path / "record.json"),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "6 blocks: one process" in done.stdout
    assert "all of it, if nothing overlaps" in done.stdout
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["overhead"]["blocks"] == 6
    assert record["memory"]["store_bytes"] > 2 * 3000 * 5 * 2
    assert len(record["memory"]["peak_over_baseline_bytes"]) == 2
    assert record["extrapolation"]["samples"] == [1e9, ""]
