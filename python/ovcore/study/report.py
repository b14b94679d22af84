"""The whole study: the zoo, its measurements, and the files that tell of them."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

import ovcore as ov
from ovcore.study.features import (
    feature_rows,
    feature_tables,
    fewest_samples,
    mixing_samples,
    rate_samples,
)
from ovcore.study.findings import feature_findings, findings
from ovcore.study.measure import category_rows, measure, model_rows, pair_rows, table_one
from ovcore.study.page import render
from ovcore.study.zoo import Recipe, build


def run(
    out: str | os.PathLike[str],
    *,
    recipe: Recipe | None = None,
    splits: int = 1,
    cache: str | os.PathLike[str] | None = None,
    quiet: bool = False,
) -> Path:
    """Trains or loads the built-in zoo, measures it and writes what was found.

    Writes into ``out``: ``index.html``, one page that opens offline; ``table1.csv``, every model
    against the base; ``pairs.csv``, every base and partner; ``categories.csv``, their means;
    ``mixing.csv`` and ``dimensions.csv``, every probe of the models' features; and ``study.json``,
    the tables with the recipe and the findings.

    Args:
        out: folder for the files; made where it is missing, its files of those names replaced.
        recipe: the zoo to train; default: the built-in one.
        splits: repetitions with other seeds, for standard errors over them.
        cache: folder that keeps trained zoos; default: the user's cache.
        quiet: no progress bar and nothing printed.

    Returns:
        The path of the page.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe if recipe is not None else Recipe()
    zoo = build(recipe, splits=splits, cache=cache, progress=not quiet)
    measurements = [measure(split) for split in zoo]
    pairs = pair_rows(measurements)
    models = model_rows(pairs)
    categories = category_rows(pairs)
    table = table_one(measurements)
    features = feature_rows(zoo, measurements, pairs, progress=not quiet)
    mixed, fewest = mixing_samples(features.mixing), fewest_samples(features.curves)
    tables = feature_tables(mixed, rate_samples(features.mixing), fewest)
    found = findings(pairs) + feature_findings(mixed, fewest)

    about: dict[str, Any] = {
        "ovcore": ov.__version__,
        "recipe": asdict(recipe),
        "recipe_digest": recipe.digest(),
        "splits": splits,
        "errors": "over splits" if splits > 1 else "over models",
    }
    page = render(
        measurements,
        pairs=pairs,
        models=models,
        categories=categories,
        table=table,
        features=tables,
        curves=features.curves,
        findings=found,
        about=about,
    )
    study = about | {
        "table1": _records(table),
        "categories": _records(categories),
        **{f"features_{name}": _records(rows) for name, rows in tables.items()},
        "findings": [asdict(finding) for finding in found],
    }
    _write(folder / "table1.csv", table.to_csv(index=False))
    _write(folder / "pairs.csv", pairs.to_csv(index=False))
    _write(folder / "categories.csv", categories.to_csv(index=False))
    _write(folder / "mixing.csv", features.mixing.to_csv(index=False))
    _write(folder / "dimensions.csv", features.curves.to_csv(index=False))
    _write(folder / "study.json", json.dumps(study, indent=1, allow_nan=False))
    _write(folder / "index.html", page)
    if not quiet:
        _tell(table, categories, measurements[0].comparison.n_samples)
        print(f"\nThe page: {(folder / 'index.html').resolve()}")
    return folder / "index.html"


def _tell(table: pd.DataFrame, categories: pd.DataFrame, n_samples: int) -> None:
    columns = {
        "model": "model", "category": "category", "method": "method", "head": "head",
        "temperature": "T", "accuracy": "accuracy", "error_inconsistency": "inconsistency",
        "ensemble_accuracy": "ensemble",
    }  # fmt: skip
    formats = ("", "", "", "", ".2f", ".4f", ".4f", ".4f")
    print(f"\nEvery model against {table['model'][0]} on {n_samples:,} images:\n")
    print(tabulate(table[list(columns)].rename(columns=columns), headers="keys", floatfmt=formats,
                   showindex=False))  # fmt: skip
    print("\nMeans over models in the accuracy band, each of the base's seeds as base in turn:\n")
    shown = {
        "category": "category", "models": "models", "error_inconsistency": "inconsistency",
        "error_inconsistency_se": "±", "relative_to_chance": "/ chance", "gain": "gain",
        "gain_se": "± ", "conversion_rate": "conversion", "conversion_rate_se": " ±",
    }  # fmt: skip
    print(tabulate(categories[list(shown)].rename(columns=shown), headers="keys",
                   floatfmt=("", "", ".4f", ".4f", ".3f", ".4f", ".4f", ".3f", ".3f"),
                   showindex=False))  # fmt: skip


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON, which has no NaN: those are null."""
    return [
        {str(key): None if value != value else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _write(path: Path, text: str) -> None:
    """Replaces a file whole, so that an interrupted study leaves the last one readable."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
