"""A table of what is known of models, for outputs that came without it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ovcore.store import CATEGORIES, ModelCard, Store

_TEXTS = ("method", "head", "category", "source")
_TRAINING = ("data", "objective", "architecture", "hyperparameters", "seed")


def with_metadata(store: Store, path: str | os.PathLike[str]) -> tuple[Store, str]:
    """A view of a store whose cards say what the CSV at ``path`` says; and how many it tells of.

    One row a model, found by its ``name``. Other columns, all of them optional: ``method``,
    ``head``, ``source``; ``category``, relative to the base, which has BASE; or what tells any two
    models' category: ``data``, ``objective``, ``architecture``, ``hyperparameters`` and ``seed``.
    An empty field leaves the card as it is. Rows of other models are passed over. Space around a
    field does not count.

    Raises:
        ValueError: not a table in UTF-8, no ``name`` column, a column of another name or one twice,
            a name twice or none, an unknown category, or no row of any model of the store.
    """
    rows = _read(path)
    described = [card for card in store.models if card.name in rows]
    if not described:
        raise ValueError(
            f"{path} has no row of any model of {store.path}, whose first is {store.names[0]!r}"
        )
    told = f"{Path(path).name} tells of {len(described)} of {len(store)} models"
    if other := len(rows) - len(described):  # a misspelt name is else not seen
        told += f"; {other} of its rows are of no model here"
    return store.with_cards([_described(c, rows[c.name], path) for c in described]), told


def _read(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """What the CSV says of each model: name -> column -> text."""
    try:
        cells = pd.read_csv(
            path, dtype=str, keep_default_na=False, header=None, encoding="utf-8-sig"
        )
    except ValueError as error:  # of pandas: empty, ragged, or not text
        raise ValueError(f"{path} is not a table of comma-separated values: {error}") from error
    cells = cells.fillna("").map(str.strip)
    columns, body = cells.iloc[0].tolist(), cells.iloc[1:]
    allowed = ("name", *_TEXTS, *_TRAINING)
    if "name" not in columns:
        raise ValueError(f"{path} has no column called name; it has {', '.join(columns)}")
    unknown = [column for column in columns if column not in allowed]
    if unknown:
        raise ValueError(f"{path} has a column {unknown[0]!r}; columns are {', '.join(allowed)}")
    if twice := [column for column in columns if columns.count(column) > 1]:
        raise ValueError(f"{path} has two columns called {twice[0]!r}")
    rows: dict[str, dict[str, str]] = {}
    for number, values in enumerate(body.itertuples(index=False), 2):
        row = dict(zip(columns, values, strict=True))
        if not row["name"]:
            raise ValueError(f"{path} has no name in row {number}")
        if row["name"] in rows:
            raise ValueError(f"{path} has two rows of {row['name']!r}")
        rows[row["name"]] = row
    return rows


def _value(text: str) -> object:
    """A number or another piece of JSON as such, to compare with what other cards say; or text."""
    try:
        value: object = json.loads(text)
        json.dumps(value, allow_nan=False)
    except ValueError:
        return text
    return value


def _described(card: ModelCard, row: dict[str, str], path: str | os.PathLike[str]) -> ModelCard:
    texts = {key: row[key] for key in _TEXTS if row.get(key)}
    category = texts.get("category", "")
    if category and category not in ("BASE", *CATEGORIES):
        raise ValueError(
            f"{path} gives {card.name!r} the category {category!r}; categories are "
            f"{', '.join(('BASE', *CATEGORIES))}"
        )
    training = card.training | {key: _value(row[key]) for key in _TRAINING if row.get(key)}
    return replace(
        card,
        training=training,
        method=texts.get("method", card.method),
        head=texts.get("head", card.head),
        category=texts.get("category", card.category),
        source=texts.get("source", card.source),
    )
