"""The command line: parsing only."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = ("info", "study", "extract", "imports", "store", "compare")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``ovcore`` with the given arguments, or the process's own.

    Returns:
        0 done; 1 not, with the reason on stderr. Wrong usage exits with 2.
    """
    parser = argparse.ArgumentParser(
        prog="ovcore", description="Compare many trained classifiers at once."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"ovcore.commands.{name}").add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except ModuleNotFoundError as error:
        extra = getattr(options, "extra", None)
        advice = f": pip install 'ovcore[{extra}]'" if extra else ""
        print(f"ovcore {options.command} needs {error.name}{advice}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of a table has seen enough
        sys.stderr.close()
        return 1
    except (ImportError, ValueError, TypeError, KeyError, OSError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        print(f"ovcore {options.command}: {message}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
