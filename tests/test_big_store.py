"""The measurement of a store larger than memory, on a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from ovcore.store import Store, verify

SCRIPT = Path(__file__).parents[1] / "bench" / "big_store.py"


def test_a_small_store_is_made_once_and_compared(tmp_path: Path) -> None:
    command = [
        sys.executable, str(SCRIPT), str(tmp_path), "--models", "3", "--samples", "1300",
        "--classes", "20", "--passes", "1", "--json", str(tmp_path / "record.json"),
    ]  # fmt: skip
    for _ in range(2):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["cold", "warm"]
    store = Store(tmp_path / "store-3-1300-20")
    assert (len(store), store.n_samples, store.n_classes) == (3, 1300, 20)
    assert verify(store.path) == []
    assert (np.abs(store.accuracy - 0.97) < 0.03).all()
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["bytes"] > 3 * 1300 * 20 * 2
    for state in ("cold", "warm"):
        assert record[state]["ratio"] == record[state]["compare_s"] / record[state]["read_s"]
        assert 0 < record[state]["peak_bytes"] < 1e9
