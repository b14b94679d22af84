"""``ovcore study``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovcore.study.subject import Subject

_OF_STORES = ("base", "all_bases", "accuracy_range", "metadata", "calibration", "transfer", "seed")
_OF_THE_ZOO = ("splits", "cache")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    text = "make the paper's figures and tables of the built-in zoo, or of a store, on a page"
    parser = commands.add_parser(
        "study",
        help=text,
        description=text[0].upper() + text[1:] + ". What was finished before is taken as it is.",
        epilog="Exit status: 0 done, 1 not (the reason is on stderr), 2 wrong usage.",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("ovcore-study"), metavar="DIR",
        help="folder for the page, tables and figures (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--only", metavar="NAMES", help="some experiments, as in fig3,fig5 (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="list the experiments and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no table")

    store = parser.add_argument_group("of a store")
    store.add_argument(
        "--store", type=Path, metavar="DIR", help="models' outputs (default: the built-in zoo)"
    )
    which = store.add_mutually_exclusive_group()
    which.add_argument(
        "--base", metavar="NAME",
        help="the model that others are compared with (default: the store's base, or the one of "
        "median accuracy)",
    )  # fmt: skip
    which.add_argument(
        "--all-bases", action="store_true",
        help="every model in the accuracy range serves as the base in turn",
    )  # fmt: skip
    store.add_argument(
        "--accuracy-range", nargs=2, type=float, metavar=("LO", "HI"),
        help="accuracies, 0 to 1, of models in category means (default: 0.05 around the base's)",
    )  # fmt: skip
    store.add_argument(
        "--metadata", type=Path, metavar="CSV",
        help="how the models were trained: name, category, or data, objective, architecture, "
        "hyperparameters, seed",
    )  # fmt: skip
    store.add_argument(
        "--calibration", type=Path, metavar="DIR",
        help="a store of the same models on other samples, to fit temperatures on",
    )  # fmt: skip
    store.add_argument(
        "--transfer", type=Path, metavar="DIR",
        help="a store of the same models' features on another task",
    )  # fmt: skip
    store.add_argument(
        "--seed", type=int, metavar="S",
        help="of all random choices (default: 0)",
    )  # fmt: skip

    zoo = parser.add_argument_group("of the built-in zoo")
    zoo.add_argument(
        "--splits", type=positive, metavar="S",
        help="repetitions with other seeds, for standard errors over them (default: 1)",
    )  # fmt: skip
    zoo.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="folder that keeps the trained zoo (default: ovcore/zoo in the user's cache)",
    )  # fmt: skip
    parser.set_defaults(run=run, extra="study")


def run(options: argparse.Namespace) -> int:
    """Measures what is not finished, and writes."""
    from ovcore.study import EXPERIMENTS
    from ovcore.study import run as run_study
    from ovcore.study.telling import tell

    if options.list:
        width = max(map(len, EXPERIMENTS))
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:<{width}}  {experiment.title}")
        return 0
    only = None if options.only is None else _names(options.only)
    _refuse_mixture(options)
    subject = None if options.store is None else _subject(options)
    page = run_study(
        options.out,
        subject=subject,
        splits=options.splits or 1,
        cache=options.cache,
        only=only,
        quiet=options.quiet,
    )
    if not options.quiet:
        print(tell(page.parent))
        print(f"\nThe page: {page.resolve()}")
    return 0


def _refuse_mixture(options: argparse.Namespace) -> None:
    """Options of a store without one, or of the zoo beside one."""
    names = _OF_STORES if options.store is None else _OF_THE_ZOO
    for name in names:
        value = getattr(options, name)
        if value is not None and value is not False:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{option} is of a store: give --store DIR"
                if options.store is None
                else f"{option} is of the built-in zoo and does not go with --store"
            )


def _subject(options: argparse.Namespace) -> Subject:
    from ovcore.study import from_store

    return from_store(
        options.store,
        base=options.base,
        all_bases=options.all_bases,
        accuracy_range=None if options.accuracy_range is None else tuple(options.accuracy_range),
        metadata=options.metadata,
        calibration=options.calibration,
        transfer=options.transfer,
        seed=options.seed or 0,
        progress=not options.quiet,
    )


def _names(text: str) -> list[str]:
    """Those between commas."""
    return [name for part in text.split(",") if (name := part.strip())]


def positive(text: str) -> int:
    """An option's number of something."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value
