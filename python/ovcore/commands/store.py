"""``ovcore store ls|verify|merge``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from ovcore.store import Store, merge, verify


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its three."""
    text = "list, verify or merge stored outputs of models"
    actions = commands.add_parser("store", help=text, description=text).add_subparsers(
        required=True, metavar="ACTION"
    )

    text = "the models of a store and what is kept of each"
    ls = actions.add_parser("ls", help=text, description=text)
    ls.add_argument("store", type=Path, metavar="STORE")
    ls.set_defaults(run=_ls)

    text = "read every byte and say what is not as it was written; exit status 1 where something is"
    check = actions.add_parser("verify", help=text, description=text)
    check.add_argument("store", type=Path, metavar="STORE")
    check.set_defaults(run=_verify)

    text = "write one store of several"
    join = actions.add_parser("merge", help=text, description=text)
    join.add_argument("out", type=Path, metavar="OUT", help="the store to make")
    join.add_argument("stores", type=Path, nargs="+", metavar="STORE", help="two or more")
    join.add_argument(
        "--by", choices=("samples", "models"), default="samples",
        help="samples: shards of the same models, in order; models: other models on the same "
        "samples, aligned by their ids (default: %(default)s)",
    )  # fmt: skip
    join.set_defaults(run=_merge)


def _ls(options: argparse.Namespace) -> int:
    from tabulate import tabulate

    store = Store(options.store)
    print(f"{_count(store.n_samples, 'sample')}, {store.n_classes or 'unknown'} classes, "
          f"{'with' if store.sample_ids else 'without'} sample ids")  # fmt: skip
    rows = [
        {
            "model": card.name,
            "method": card.method,
            "head": card.head,
            "category": card.category,
            "accuracy": "" if math.isnan(accuracy) else f"{accuracy:.4f}",
            "temperature": "" if card.temperature is None else f"{card.temperature:.3f}",
            "kept": ", ".join(_kept(store, card.name)),
            "source": card.source,
        }
        for card, accuracy in zip(store.models, store.accuracy.tolist(), strict=True)
    ]
    used = [key for key in (rows[0] if rows else {}) if any(row[key] for row in rows)]
    print(
        tabulate([[row[key] for key in used] for row in rows], headers=used, disable_numparse=True)
    )
    return 0


def _kept(store: Store, name: str) -> list[str]:
    """What is kept of a model, with element types and axes beyond the samples."""
    arrays = {"logits": store.logits, "features": store.features}
    texts = []
    for kind in store.kinds(name):
        if kind in arrays:
            values = arrays[kind](name)
            assert values is not None
            texts.append(f"{kind} {values.dtype} x {values.shape[1]}")
        elif kind == "topk":
            top = store.topk(name)
            assert top is not None
            texts.append(f"top-{top.classes.shape[1]}")
        else:
            texts.append(kind)
    return texts


def _verify(options: argparse.Namespace) -> int:
    problems = verify(options.store)
    for problem in problems:
        print(problem)
    if not problems:
        store = Store(options.store)
        print(f"{store.path}: {_count(len(store), 'model')} as written")
    return 1 if problems else 0


def _merge(options: argparse.Namespace) -> int:
    store = merge(options.stores, options.out, by=options.by)
    print(f"{store.path}: {_count(len(store), 'model')} on {_count(store.n_samples, 'sample')}")
    return 0


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
