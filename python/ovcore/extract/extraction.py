"""From models and a loader to a store, in one pass that can be interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovcore.extract.batches import Batch, read_batch
from ovcore.extract.loaders import count_samples, numbered, refuse_shuffled
from ovcore.extract.models import Extraction, read_models, stored_card
from ovcore.extract.parts import Parts
from ovcore.extract.plan import differences, make_plan
from ovcore.extract.progress import bar
from ovcore.extract.running import Runner, Settings
from ovcore.extract.samples import SampleList
from ovcore.store import Store, StoreWriter

__all__ = ["extract_to_store"]


def extract_to_store(
    path: str | os.PathLike[str],
    loader: Iterable[Any],
    models: Sequence[Extraction] | Mapping[str, nn.Module],
    *,
    features: bool = True,
    dtype: str = "float32",
    autocast: str | None = None,
    device: str | torch.device = "auto",
    class_names: Sequence[str] | None = None,
    progress: bool = True,
    resume: bool = True,
    append: bool = False,
) -> Store:
    """Runs models over one pass of the data and writes their logits and features to a store.

    Modules run in eval mode without gradients and are left as they were found. Their logits are
    stored as they come: in float32, without autocast, they are the module's own bit for bit.
    Batches are run in the loader's order and in its sizes; one that does not fit in memory is
    halved until it does, for that model and from then on, with a warning.

    What is done is kept in a folder ``.NAME.extracting`` beside the store, which takes as much
    space again and is removed at the end. The same call after a kill goes on there and gives the
    same store: batches that are done are not run again, and not loaded where the loader is a
    DataLoader over a map-style dataset. Data that are augmented at random are not the same twice.

    Args:
        path: the store to make.
        loader: gives batches (inputs, labels), (inputs, labels, ids) or mappings with "labels" and
            perhaps "ids", in the same order every time. Inputs are a tensor, a tuple of positional
            or a mapping of keyword arguments, or anything that the models' ``prepare`` takes.
        models: what to run; or modules by name, whose own logits and found features are stored.
        features: whether features are stored.
        dtype: that outputs are stored in: "float32", "float16" or "bfloat16".
        autocast: lower precision that modules run in, "bfloat16" or "float16"; heads do not.
        device: "auto" is a GPU where there is one.
        class_names: K names, for a new store.
        progress: shows a bar, on a terminal.
        resume: go on with what an interrupted call has done; False begins anew.
        append: add to the store at ``path``, whose samples have to be the loader's: the same
            labels, and ids where both have them, in the same order.

    Returns:
        The store.

    Raises:
        FileExistsError: ``path`` is there, without ``append``.
        FileNotFoundError: it is not, with ``append``.
        StoreError: another process extracts to it, or what it had done is damaged.
        TypeError: batches or outputs of another form.
        ValueError: a loader that shuffles; models, classes or samples that do not fit together or
            the store; a layer that is not found; another extraction than the interrupted one.
        MemoryError: one sample does not fit in memory.
    """
    store, _ = extract_and_time(
        path, loader, models, features=features, dtype=dtype, autocast=autocast, device=device,
        class_names=class_names, progress=progress, resume=resume, append=append,
    )  # fmt: skip
    return store


def extract_and_time(
    path: str | os.PathLike[str],
    loader: Iterable[Any],
    models: Sequence[Extraction] | Mapping[str, nn.Module],
    *,
    features: bool,
    dtype: str,
    autocast: str | None,
    device: str | torch.device,
    class_names: Sequence[str] | None,
    progress: bool,
    resume: bool,
    append: bool,
) -> tuple[Store, dict[str, float]]:
    """:func:`extract_to_store`, and the seconds that each model ran in this call."""
    path = Path(path)
    extractions = read_models(models)
    settings = Settings(dtype, autocast, device)
    refuse_shuffled(loader)
    _refuse_target(path, extractions, class_names, append)
    with ExitStack() as stack:
        parts = stack.enter_context(Parts(path, resume=resume))
        # Looked at again: another process may have finished just before.
        store = _refuse_target(path, extractions, class_names, append)
        runners = [
            stack.enter_context(Runner(model, settings, features=features)) for model in extractions
        ]
        batches = numbered(loader, parts.n_batches)
        first = _first(batches)
        n_classes = _begin(runners, first, class_names, store)
        plan = make_plan(
            extractions, runners, settings, first,
            n_samples=count_samples(loader),
            class_names=None if class_names is None else list(class_names),
        )  # fmt: skip
        _agree(parts, plan)
        samples = SampleList(n_classes, store)
        for done in parts.samples():
            samples.add(done.labels, done.ids)
        left = (read_batch(batch) for _, batch in batches)
        again = [first] if parts.n_batches == 0 else []
        with bar("extracting", samples.count, plan["n_samples"], shown=progress) as advance:
            _run(runners, chain(again, left), samples, parts, advance)
        samples.refuse_fewer()
        _write(path, extractions, parts, samples, class_names, n_classes, append)
        parts.remove()
        return Store(path), {runner.name: runner.seconds for runner in runners}


def _refuse_target(
    path: Path, models: Sequence[Extraction], class_names: Sequence[str] | None, append: bool
) -> Store | None:
    """The store to add to, which has to lack these models; None for a new one."""
    if not append:
        if path.exists():
            raise FileExistsError(
                f"a store or another file is already at {path}; append=True adds models to a store"
            )
        return None
    store = Store(path)
    for model in models:
        if model.card.name in store.names:
            raise ValueError(f"the store at {path} has a model named {model.card.name!r} already")
    if class_names is not None and store.class_names not in (None, list(class_names)):
        raise ValueError(f"class_names differ from those of the store at {path}: leave them out")
    return store


def _first(batches: Iterator[tuple[int, Any]]) -> Batch:
    for _, batch in batches:
        return read_batch(batch)
    raise ValueError("loader is empty")


def _begin(
    runners: Sequence[Runner],
    first: Batch,
    class_names: Sequence[str] | None,
    store: Store | None,
) -> int:
    """Number of classes, on which all have to agree; each model has run a few samples then."""
    n_classes, of = (None, "") if store is None else (store.n_classes, f"the store at {store.path}")
    if class_names is not None and n_classes is None:
        n_classes, of = len(class_names), "class_names"
    for runner in runners:
        outputs = runner.begin(runner.prepare(first.inputs), len(first.labels))
        count = outputs["logits"].shape[1]
        if n_classes is None:
            n_classes, of = count, repr(runner.name)
        if count != n_classes:
            raise ValueError(
                f"{runner.name!r} gives logits of {count} classes, but {of} has {n_classes}"
            )
    assert n_classes is not None
    return n_classes


def _agree(parts: Parts, plan: dict[str, Any]) -> None:
    saved = parts.saved_plan()
    if saved is None:
        parts.save_plan(plan)
        return
    differing = differences(saved, plan)
    if differing:
        raise ValueError(
            f"the unfinished extraction in {parts.folder} was another one: "
            f"{'; '.join(differing)}. Go on with the same, pass resume=False to begin anew, "
            "or delete that folder"
        )


def _run(
    runners: Sequence[Runner],
    batches: Iterator[Batch],
    samples: SampleList,
    parts: Parts,
    advance: Callable[[int], None],
) -> None:
    if parts.limits is not None:
        for runner, limit in zip(runners, parts.limits, strict=True):
            runner.halving.limit = limit
    for batch in batches:
        samples.add(batch.labels, batch.ids)
        outputs = [runner(runner.prepare(batch.inputs), len(batch.labels)) for runner in runners]
        parts.add(batch, outputs, [runner.halving.limit for runner in runners])
        advance(len(batch.labels))
    parts.flush()


def _write(
    path: Path,
    models: Sequence[Extraction],
    parts: Parts,
    samples: SampleList,
    class_names: Sequence[str] | None,
    n_classes: int,
    append: bool,
) -> None:
    """Brings the parts of each model together, one part in memory at a time."""
    if append:
        writer = StoreWriter.append(path)
    else:
        writer = StoreWriter(
            path,
            target=samples.labels,
            sample_ids=samples.ids,
            class_names=class_names,
            n_classes=n_classes,
        )
    with writer:
        for m, model in enumerate(models):
            writer.add_blocks(stored_card(model), parts.blocks(m))
