"""``ovcore info``."""

from __future__ import annotations

import argparse

from ovcore import _dispatch


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    text = "what was found on this machine, and why something is missing"
    commands.add_parser("info", help=text, description=text).set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints one line a fact."""
    del options
    for key, value in _dispatch.info().items():
        print(f"{key:<18} {value}")
    return 0
