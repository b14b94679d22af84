"""The command line: parsing only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``ovcore`` with the given arguments, or the process's own; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="ovcore", description="Compare many trained classifiers at once."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    commands.add_parser("info", help="what was found on this machine, and why something is missing")

    study = commands.add_parser("study", help="train the built-in zoo and write the study's page")
    study.add_argument(
        "--out", type=Path, default=Path("ovcore-study"), metavar="DIR",
        help="folder for the page, tables and figures (default: %(default)s)",
    )  # fmt: skip
    study.add_argument(
        "--splits", type=_positive, default=1, metavar="S",
        help="repetitions with other seeds, for standard errors over them (default: %(default)s)",
    )  # fmt: skip
    study.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="folder that keeps the trained zoo (default: ovcore/zoo in the user's cache)",
    )  # fmt: skip
    study.add_argument("--quiet", action="store_true", help="no progress bar and no table")

    options = parser.parse_args(arguments)
    if options.command == "info":
        from ovcore import _dispatch

        for key, value in _dispatch.info().items():
            print(f"{key:<18} {value}")
        return 0

    try:
        from ovcore.study import run
    except ImportError as error:
        print(f"ovcore study needs {error.name}: pip install 'ovcore[study]'", file=sys.stderr)
        return 1
    run(options.out, splits=options.splits, cache=options.cache, quiet=options.quiet)
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
