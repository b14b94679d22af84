"""The example of several processes, run as its readers run it."""

from __future__ import annotations

from pathlib import Path

from test_torch_distributed import torchrun

EXAMPLE = Path(__file__).parents[1] / "examples" / "torch_two_ranks.py"


def test_two_processes_print_what_one_does() -> None:
    printed = []
    for n_ranks in (1, 2):
        outcome = torchrun(n_ranks, EXAMPLE)
        assert outcome.returncode == 0, outcome.stderr
        first, *table = outcome.stdout.splitlines()
        assert first == f"1197 samples on {n_ranks} processes"
        printed.append(table)
    assert printed[0] == printed[1]
    accuracy = {row[:9].strip(): float(row.split()[2]) for row in printed[0][2:]}
    assert list(accuracy) == ["4 hidden", "8 hidden", "16 hidden", "64 hidden"]
    assert accuracy["4 hidden"] < accuracy["64 hidden"]
    assert accuracy["64 hidden"] > 0.8


def test_the_example_is_short() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    assert "ovcore._" not in text
