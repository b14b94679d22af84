"""``ovcore study``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    text = "train the built-in zoo and write the study's page"
    parser = commands.add_parser("study", help=text, description=text)
    parser.add_argument(
        "--out", type=Path, default=Path("ovcore-study"), metavar="DIR",
        help="folder for the page, tables and figures (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--splits", type=positive, default=1, metavar="S",
        help="repetitions with other seeds, for standard errors over them (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="folder that keeps the trained zoo (default: ovcore/zoo in the user's cache)",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no table")
    parser.set_defaults(run=run, extra="study")


def run(options: argparse.Namespace) -> int:
    """Trains what is not in the cache, measures and writes."""
    from ovcore.study import run as run_study

    run_study(options.out, splits=options.splits, cache=options.cache, quiet=options.quiet)
    return 0


def positive(text: str) -> int:
    """An option's number of something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
