"""A table of what is known of models, for outputs that came without it."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pandas as pd

from ovcore.store import CATEGORIES, ModelCard, Store

_TEXTS = ("method", "head", "category", "source")
_TRAINING = ("data", "objective", "architecture", "hyperparameters", "seed")


def with_metadata(store: Store, path: str | os.PathLike[str]) -> Store:
    """A view of a store whose cards say what the CSV at ``path`` says.

    One row a model, found by its ``name``. Other columns, all of them optional: ``method``,
    ``head``, ``source``; ``category``, relative to the base, which has BASE; or what tells any two
    models' category: ``data``, ``objective``, ``architecture``, ``hyperparameters`` and ``seed``.
    An empty field leaves the card as it is. Rows of other models are passed over.

    Raises:
        ValueError: no ``name`` column, a column of another name, a name twice, an unknown category,
            or no row of any model of the store.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    allowed = ("name", *_TEXTS, *_TRAINING)
    if "name" not in table.columns:
        raise ValueError(f"{path} has no column called name; it has {', '.join(table.columns)}")
    unknown = [column for column in table.columns if column not in allowed]
    if unknown:
        raise ValueError(f"{path} has a column {unknown[0]!r}; columns are {', '.join(allowed)}")
    twice = table["name"][table["name"].duplicated()]
    if len(twice):
        raise ValueError(f"{path} has two rows of {twice.iloc[0]!r}")
    rows = {row["name"]: row for row in table.to_dict("records")}
    if not set(rows) & set(store.names):
        raise ValueError(
            f"{path} has no row of any model of {store.path}, whose first is {store.names[0]!r}"
        )
    return store.with_cards(
        [_described(card, rows[card.name], path) for card in store.models if card.name in rows]
    )


def _value(text: str) -> object:
    """A number or another piece of JSON as such, to compare with what other cards say; or text."""
    try:
        value: object = json.loads(text)
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
