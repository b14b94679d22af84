"""``ovcore compare``."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

import ovcore as ov
from ovcore.commands import clusters
from ovcore.commands.study import positive
from ovcore.store import Store

_OF_ERRORS: dict[str, Callable[[ov.JointErrors], Any]] = {
    "error_inconsistency": ov.pairwise.error_inconsistency,
    "error_consistency": ov.pairwise.error_consistency,
    "error_correlation": ov.pairwise.error_correlation,
    "error_covariance": ov.pairwise.error_covariance,
    "q_statistic": ov.pairwise.q_statistic,
    "double_fault": ov.pairwise.double_fault,
    "dominance": ov.pairwise.dominance,
}
_OF_ENSEMBLES = {
    "ensemble_accuracy": "accuracy",
    "gain": "gain",
    "gain_over_best": "gain_over_best",
    "conversion_rate": "conversion_rate",
    "rescue_rate": "rescue_rate",
}
METRICS = (*_OF_ERRORS, *_OF_ENSEMBLES)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "compare",
        help="compare the models of a store",
        description="Compares the models of a store: accuracies, error inconsistency and what pair "
        "ensembles gain, as a table of all models against one, or of the best pairs.",
        epilog="Exit status: 0 done, 1 not (the reason is on stderr), 2 wrong usage. Of a store of "
        "predicted classes alone, errors are compared and ensembles are not.",
    )
    parser.add_argument("store", type=Path, metavar="STORE")
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="these alone (default: all of the store)"
    )
    parser.add_argument(
        "--base", metavar="NAME",
        help="the model that the table compares with (default: the store's base, or the first)",
    )  # fmt: skip
    parser.add_argument(
        "--metric", nargs="+", choices=METRICS, metavar="METRIC",
        help=f"columns of the table, sorted by the first: {', '.join(METRICS)}",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", type=positive, nargs="?", const=20, metavar="COUNT",
        help="list pairs, highest in the first metric, instead of the table (default: 20 of them)",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", metavar="T",
        help="fit, stored or a number (default: stored where the store has all, else fit; 1 of "
        "stored top-k outputs)",
    )  # fmt: skip
    parser.add_argument(
        "--calibration", type=Path, metavar="STORE",
        help="the same models on other samples, to fit temperatures on",
    )  # fmt: skip
    parser.add_argument(
        "--json", metavar="FILE", help="write everything, with exact counts; - for stdout"
    )
    parser.add_argument(
        "--csv", metavar="FILE", help="write every metric of every pair; - for stdout"
    )
    parser.add_argument(
        "--dask", nargs="?", const=clusters.LOCAL, metavar="ADDRESS",
        help="count on the Dask cluster whose scheduler is there, as in tcp://host:8786; its "
        "workers must find STORE at the same path. Without an address: on processes of this "
        "machine, one for each core. The results are the same",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compares, prints the table, and writes what was asked for."""
    if options.json is not None and options.json == options.csv:
        raise ValueError("--json and --csv cannot go to the same file")
    store = Store(options.store)
    if options.models is not None:
        store = store.select(options.models)
    base = options.base or next((c.name for c in store.models if c.category == "BASE"), None)
    temperature = _temperature(options, store)
    if temperature == "fit" and options.calibration is None and _has_logits(store):
        print(
            "ovcore compare: temperatures are fitted on the samples they are reported on; "
            "--calibration STORE fits them on others, --temperature 1 not at all",
            file=sys.stderr,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one is said above; NaN is shown as such
        split = None if options.calibration is None else Store(options.calibration)
        how: dict[str, Any] = {
            "base": base, "temperature": temperature, "calibration_split": split
        }  # fmt: skip
        result = ov.compare(store, **how) if options.dask is None else _far(options, store, how)
        matrices = _matrices(result)
    lacking = [name for name in options.metric or () if name not in matrices]
    if lacking:
        raise ValueError(
            f"{lacking[0]} needs confidences of all models, and {store.path} has predicted classes "
            "of some alone"
        )
    if options.json is not None:
        with _opened(options.json) as file:
            json.dump(_as_json(result, matrices, store), file, allow_nan=False)
            file.write("\n")
    if options.csv is not None:
        with _opened(options.csv) as file:
            _write_pairs(result, matrices, file)
    if "-" not in (options.json, options.csv):
        print(_text(options, result, matrices))
    return 0


def _far(options: argparse.Namespace, store: Store, how: dict[str, Any]) -> ov.Comparison:
    """:func:`ovcore.compare` on a cluster."""
    options.extra = "dask"  # what to install where it is missing
    with clusters.connected(options.dask) as client:
        from ovcore.adapters import dask

        return dask.compare(store, client=client, **how)


def _temperature(options: argparse.Namespace, store: Store) -> str | float:
    """What was asked for, or what the store has."""
    if options.temperature in ("fit", "stored"):
        return str(options.temperature)
    if options.temperature is not None:
        try:
            return float(options.temperature)
        except ValueError:
            raise ValueError(
                f"--temperature must be fit, stored or a number, got {options.temperature!r}"
            ) from None
    if options.calibration is not None:
        return "fit"
    if not _has_logits(store):
        return 1.0
    return "fit" if any(card.temperature is None for card in store.models) else "stored"


def _has_logits(store: Store) -> bool:
    return all("logits" in store.kinds(name) for name in store.names)


def _matrices(result: ov.Comparison) -> dict[str, NDArray[np.float64]]:
    found = {name: np.asarray(of(result.errors)) for name, of in _OF_ERRORS.items()}
    if result.ensembles is not None:
        for name, attribute in _OF_ENSEMBLES.items():
            found[name] = np.asarray(getattr(result.ensembles, attribute))
    return found


def _text(
    options: argparse.Namespace, result: ov.Comparison, matrices: dict[str, NDArray[np.float64]]
) -> str:
    from tabulate import tabulate

    if options.pairs is None and options.metric is None:
        return result.table()
    names = options.metric or ["error_inconsistency"]
    accuracy = np.asarray(result.accuracy)
    if options.pairs is None:
        b = result.models.index(result.base)
        rows = [
            [model, accuracy[m], *(matrices[name][b, m] for name in names)]
            for m, model in enumerate(result.models)
        ]
        headers = ["model", "accuracy", *names]
        rows = [rows[b], *_sorted(rows[:b] + rows[b + 1 :], 2)]
    else:
        first, second = np.triu_indices(len(result.models), 1)
        values = matrices[names[0]][first, second]
        highest = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[: options.pairs]
        rows = [
            [result.models[a], result.models[b], *(matrices[name][a, b] for name in names)]
            for a, b in zip(first[highest], second[highest], strict=True)
        ]
        headers = ["model a", "model b", *names]
    headers = [header.replace("_", " ") for header in headers]
    texts = [0] if options.pairs is None else [0, 1]  # names that look like numbers stay texts
    return str(tabulate(rows, headers=headers, floatfmt=".4f", disable_numparse=texts))


def _sorted(rows: list[list[Any]], column: int) -> list[list[Any]]:
    """Highest first, undefined last."""
    return sorted(rows, key=lambda row: (math.isnan(row[column]), -row[column]))


def _as_json(
    result: ov.Comparison, matrices: dict[str, NDArray[np.float64]], store: Store
) -> dict[str, Any]:
    """Everything that was measured, and the integers it was divided from."""
    counts: dict[str, Any] = {"joint_errors": np.asarray(result.errors.joint).tolist()}
    if result.ensembles is not None:
        counts["ensemble_hits"] = np.asarray(result.ensembles.hits).tolist()
        counts["conversions"] = np.asarray(result.ensembles.conversions).tolist()
        counts["rescues"] = np.asarray(result.ensembles.rescues).tolist()
    return {
        "ovcore": ov.__version__,
        "store": str(store.path),
        "n_samples": result.n_samples,
        "models": list(result.models),
        "base": result.base,
        "accuracy": np.asarray(result.accuracy).tolist(),
        "temperature": None
        if result.temperature is None
        else np.asarray(result.temperature).tolist(),
        "categories": [[store.categorize(a, b) for b in result.models] for a in result.models],
        "counts": counts,
        "metrics": {
            name: [[None if math.isnan(v) else v for v in row] for row in values.tolist()]
            for name, values in matrices.items()
        },
    }


def _write_pairs(
    result: ov.Comparison, matrices: dict[str, NDArray[np.float64]], file: TextIO
) -> None:
    accuracy = np.asarray(result.accuracy)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["model_a", "model_b", "accuracy_a", "accuracy_b", *matrices])
    for a, b in zip(*np.triu_indices(len(result.models), 1), strict=True):
        values = [accuracy[a], accuracy[b], *(matrix[a, b] for matrix in matrices.values())]
        texts = ["" if math.isnan(v) else repr(float(v)) for v in values]
        writer.writerow([result.models[a], result.models[b], *texts])


@contextlib.contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    """A file that appears whole, or stdout."""
    if path == "-":
        yield sys.stdout
        return
    target = Path(path).resolve()  # of a link, what it leads to
    if target.exists() and not target.is_file():  # a device or a pipe is written to as it is
        with target.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8", newline="") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
