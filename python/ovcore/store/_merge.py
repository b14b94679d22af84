"""One store from several: shards of the samples, or models on the same samples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ovcore import _inputs
from ovcore.store._cards import ModelCard
from ovcore.store._reader import Store
from ovcore.store._writer import StoreWriter

__all__ = ["merge"]

_BLOCK_BYTES = 1 << 26


def merge(
    stores: Sequence[Store | str | os.PathLike[str]],
    path: str | os.PathLike[str],
    *,
    by: str = "samples",
) -> Store:
    """Writes one new store of several.

    Args:
        stores: two or more, or their folders.
        path: the store to make.
        by: "samples" joins shards: the same models on samples that follow each other. "models"
            joins models: those of all stores, on the samples of the first; the others are aligned
            by sample id, or, where no store has ids, taken in their order. Columns of all are kept;
            no more than one may have a base model, which categories are relative to.

    Raises:
        FileExistsError: ``path`` is there already.
        ValueError: models, classes, labels or kinds of outputs that do not fit; samples or model
            names that repeat; samples that a store lacks.
        StoreError: a store is damaged.
    """
    _inputs.refuse_unknown("by", by, ("samples", "models"))
    opened = [store if isinstance(store, Store) else Store(store) for store in stores]
    if len(opened) < 2:
        raise ValueError(f"merge takes two or more stores, got {len(opened)}")
    _refuse_other_classes(opened)
    if by == "samples":
        _merge_samples(opened, path)
    else:
        _merge_models(opened, path)
    return Store(path)


def _refuse_other_classes(stores: Sequence[Store]) -> None:
    first = stores[0]
    for store in stores[1:]:
        if store.n_classes != first.n_classes or store.class_names != first.class_names:
            raise ValueError(
                f"{store.path} has {store.n_classes} classes and {first.path} {first.n_classes}, "
                "or their names differ"
            )


def _merge_samples(stores: Sequence[Store], path: str | os.PathLike[str]) -> None:
    first = stores[0]
    for store in stores[1:]:
        _refuse_other_models(first, store)
        if (store.sample_ids is None) != (first.sample_ids is None):
            raise ValueError(f"of {first.path} and {store.path} only one has sample ids")
        if store.columns.keys() != first.columns.keys():
            raise ValueError(f"{first.path} and {store.path} have different columns")
    with StoreWriter(
        path,
        target=np.concatenate([store.target for store in stores]),
        sample_ids=None
        if first.sample_ids is None
        else [name for store in stores for name in store.sample_ids or ()],
        class_names=first.class_names,
        n_classes=first.n_classes,
        columns={
            name: np.concatenate([store.columns[name] for store in stores])
            for name in first.columns
        },
    ) as writer:
        for card in first.models:
            kinds = first.kinds(card.name)
            writer.add_blocks(
                card, (block for store in stores for block in _blocks(store, card.name, kinds))
            )


def _refuse_other_models(first: Store, store: Store) -> None:
    if set(store.names) != set(first.names):
        odd = sorted(set(store.names) ^ set(first.names))[0]
        raise ValueError(f"only one of {first.path} and {store.path} has the model {odd!r}")
    cards: dict[str, ModelCard] = {card.name: card for card in store.models}
    for card in first.models:
        if cards[card.name] != card:
            raise ValueError(f"{first.path} and {store.path} describe {card.name!r} differently")
        if store.kinds(card.name) != first.kinds(card.name):
            raise ValueError(
                f"{first.path} keeps {', '.join(first.kinds(card.name))} of {card.name!r}, "
                f"{store.path} {', '.join(store.kinds(card.name))}"
            )


def _merge_models(stores: Sequence[Store], path: str | os.PathLike[str]) -> None:
    first = stores[0]
    aligned = [first, *(_aligned(store, first) for store in stores[1:])]
    bases = [card.name for store in stores for card in store.models if card.category == "BASE"]
    if len(bases) > 1:
        raise ValueError(
            f"categories are relative to one base, but the stores have {len(bases)}: "
            f"{', '.join(map(repr, bases[:5]))}"
        )
    columns = dict(first.columns)
    for store in aligned[1:]:
        for name, values in store.columns.items():
            if not np.array_equal(columns.setdefault(name, values), values):
                raise ValueError(f"{first.path} and {store.path} disagree on the column {name!r}")
    with StoreWriter(
        path,
        target=first.target,
        sample_ids=first.sample_ids,
        class_names=first.class_names,
        n_classes=first.n_classes,
        columns=columns,
    ) as writer:
        for store in aligned:
            for card in store.models:
                writer.add_blocks(card, _blocks(store, card.name, store.kinds(card.name)))


def _aligned(store: Store, first: Store) -> Store:
    if (store.sample_ids is None) != (first.sample_ids is None):
        raise ValueError(f"of {first.path} and {store.path} only one has sample ids")
    if first.sample_ids is not None:
        store = store.align(first.sample_ids)
    elif store.n_samples != first.n_samples:
        raise ValueError(
            f"{store.path} has {store.n_samples} samples but {first.path} {first.n_samples}"
        )
    differ = store.target != first.target
    if differ.any():
        place = int(differ.argmax())
        name = f"{place}" if first.sample_ids is None else repr(first.sample_ids[place])
        raise ValueError(
            f"{store.path} and {first.path} disagree on the labels of {int(differ.sum())} samples, "
            f"first {name}: {store.target[place]} and {first.target[place]}"
        )
    return store


def _blocks(store: Store, name: str, kinds: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """A model's outputs, some tens of megabytes at a time."""
    read = {"logits": store.logits, "features": store.features, "topk": store.topk}
    given: dict[str, Any] = {kind: read[kind](name) for kind in kinds if kind in read}
    given["preds"] = store.preds(name)
    n_bytes = sum(
        values.nbytes if isinstance(values, np.ndarray) else values.probs.nbytes * 3
        for values in given.values()
        if values is not None
    )
    for rows in _inputs.blocks(
        store.n_samples, max(1, n_bytes // max(store.n_samples, 1)), _BLOCK_BYTES
    ):
        yield {kind: None if values is None else values[rows] for kind, values in given.items()}
