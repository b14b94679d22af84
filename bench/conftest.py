"""Prints each contestant's median, rate, and how many times it takes the fastest's time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    groups: dict[str, list[Any]] = defaultdict(list)
    for result in config._benchmarksession.benchmarks:  # type: ignore[attr-defined]
        groups[result.group].append(result)
    for group, results in groups.items():
        terminalreporter.section(group)
        best = min(result.stats.median for result in results)
        for result in sorted(results, key=lambda r: r.stats.median):
            median = result.stats.median
            terminalreporter.write_line(
                f"{result.name:<48} {1e3 * median:9.2f} ms   x {median / best:7.2f}   "
                f"{result.extra_info['rate']}"
            )
