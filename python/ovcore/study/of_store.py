"""Anybody's models as a subject: a store of outputs, and what may go with it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import ovcore as ov
from ovcore.store import Store
from ovcore.study.metadata import with_metadata
from ovcore.study.subject import Split, Subject, around, compared, within
from ovcore.study.transfer_task import read_task

CALIBRATION_SHARE, CALIBRATION_MOST = 0.2, 10_000
"""Of the samples, drawn at random within each class, that temperatures are fitted on where neither
stored temperatures nor other samples are given."""

PathLike: TypeAlias = str | os.PathLike[str]
Models: TypeAlias = Subject | Store | PathLike
"""What an experiment takes: a subject, or a store that it makes one of with all defaults."""


def as_subject(models: Models) -> Subject:
    """A subject as it is; a store as :func:`from_store` takes it."""
    return models if isinstance(models, Subject) else from_store(models)


def from_store(
    store: Store | PathLike,
    *,
    base: str | None = None,
    all_bases: bool = False,
    accuracy_range: tuple[float, float] | None = None,
    metadata: PathLike | None = None,
    calibration: Store | PathLike | None = None,
    transfer: Store | PathLike | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Subject:
    """The models of a store, calibrated and compared.

    Logits are calibrated on ``calibration`` where it is given; otherwise with the temperatures of
    the cards where all have one; otherwise on :data:`CALIBRATION_SHARE` of the samples, which are
    then left out of everything else; the rest are copied into memory. Stored top-k outputs are
    probabilities already.

    Args:
        store: a store or its folder. Models of which features alone are kept are left out.
        base: the model that others are compared with; default: the card of category BASE, or the
            model of median accuracy.
        all_bases: every model in the accuracy range serves as the base in turn, not the base (and
            its twins of category REINIT) alone.
        accuracy_range: lowest and highest accuracy of models in category means; default:
            0.05 around the bases'.
        metadata: a CSV as :func:`ovcore.study.metadata.with_metadata` reads it.
        calibration: a store of the same models on other samples, to fit temperatures on.
        transfer: a store of the same models' features on another task, see
            :mod:`ovcore.study.transfer_task`.
        seed: of the samples that are drawn.
        progress: whether experiments show bars.

    Warns:
        UserWarning: samples of the calibration store are also reported on.

    Raises:
        ValueError: fewer than two models with outputs, an unknown base, a range that is not one or
            has no model, metadata that do not fit, two cards that say BASE, a calibration store
            that lacks a model, has other classes, or goes with outputs that are not logits.
    """
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    given = store if isinstance(store, Store) else Store(store)
    task = None if transfer is None else _opened(transfer)
    if task is not None:
        read_task(task)  # refuses what is none before anything is measured
    usable = [name for name in given.names if "preds" in given.kinds(name)]
    if len(usable) < 2:
        raise ValueError(
            f"a study compares at least two models; {given.path} has outputs of {len(usable)}"
        )
    left_out = len(given) - len(usable)
    chosen = given.select(usable)
    described = None
    if metadata is not None:
        chosen, described = with_metadata(chosen, metadata)
    _check_range(accuracy_range)
    name = _base_of(chosen, base)
    split, choices = _measured(chosen, name, calibration, seed)
    if described is not None:
        choices["metadata"] = described
    if left_out:
        models = "model" if left_out == 1 else "models"
        choices["left out"] = f"{left_out} {models} of which features alone are kept"
    if all_bases and accuracy_range is None:
        accuracy_range = around(split.accuracy[split.index(name)])
    place = given.path.resolve().name
    subject = Subject(
        name=f"models of the store {place}",
        splits=(split,),
        base=name,
        bases=_bases(split, name, accuracy_range if all_bases else None),
        accuracy_range=accuracy_range,
        seed=seed,
        transfer=() if task is None else (task,),
        choices=choices,
        about={"store": place, "store_sha256": given.sha256},
        progress=progress,
    )
    if not subject.in_range(split).any():
        low, high = subject.range_of(split)
        raise ValueError(
            f"no model has an accuracy from {low:g} to {high:g}; they have "
            f"{split.accuracy.min():.4f} to {split.accuracy.max():.4f}: give another "
            "accuracy range, or another base"
        )
    return subject


def _opened(store: Store | PathLike) -> Store:
    return store if isinstance(store, Store) else Store(Path(store))


def _check_range(accuracy_range: tuple[float, float] | None) -> None:
    if accuracy_range is not None and not 0 <= accuracy_range[0] <= accuracy_range[1] <= 1:
        low, high = accuracy_range
        raise ValueError(f"an accuracy range is LO <= HI within 0..1, got {low:g} to {high:g}")


def _base_of(store: Store, wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in store.names:
            raise ValueError(f"{store.path} has no model {wanted!r} to be the base")
        return wanted
    marked = [card.name for card in store.models if card.category == "BASE"]
    if len(marked) > 1:
        raise ValueError(
            f"the cards of {marked[0]!r} and {marked[1]!r} both say BASE: name one of them the base"
        )
    if marked:
        return marked[0]
    by_accuracy = np.argsort(store.accuracy, kind="stable")
    return store.names[by_accuracy[(len(by_accuracy) - 1) // 2]]


def _bases(split: Split, base: str, all_within: tuple[float, float] | None) -> tuple[str, ...]:
    """All models in a range, and the base; or the base, and twins that its card calls re-seeded."""
    if all_within is not None:
        inside = within(split.accuracy, all_within)
        named = zip(split.names, inside, strict=True)
        return tuple(name for name, is_inside in named if is_inside or name == base)
    cards = {card.name: card for card in split.store.models}
    if cards[base].category != "BASE":
        return (base,)
    return tuple(n for n in split.names if n == base or cards[n].category == "REINIT")


def _measured(
    store: Store, base: str, calibration: Store | PathLike | None, seed: int
) -> tuple[Split, dict[str, str]]:
    outputs = store.outputs()
    has_logits = all("logits" in store.kinds(name) for name in store.names)
    if calibration is not None and not has_logits:
        raise ValueError(
            f"calibration is of logits, which {store.path} does not keep of all models"
        )
    if isinstance(outputs[0], ov.TopK):
        split = compared(store, outputs, base=base, temperature=np.ones(len(store)), fitted=None)
        return split, {
            "score": "all samples",
            "calibration": "none: stored top-k outputs are taken as probabilities as they are",
        }
    if not has_logits:
        split = compared(store, outputs, base=base, temperature=None, fitted=None)
        return split, {"score": "all samples", "outputs": "predicted classes alone"}
    stored = [card.temperature for card in store.models if card.temperature is not None]
    if calibration is None and len(stored) == len(store):
        split = _scored(store, base, np.array(stored))
        return split, {"score": "all samples", "calibration": "the store's own temperatures"}
    if calibration is not None:
        held = _opened(calibration)
        lacking = [name for name in store.names if name not in held.names]
        if lacking:
            raise ValueError(f"{held.path} has no model {lacking[0]!r} to fit a temperature of")
        if held.n_classes != store.n_classes:
            raise ValueError(
                f"{held.path} has {held.n_classes} classes and {store.path} has {store.n_classes}"
            )
        _warn_of_same_samples(store, held)
        fitted = _fit([held.logits(name) for name in store.names], held.target)
        return _scored(store, base, fitted), {
            "score": "all samples",
            "calibration": f"one temperature a model, of least negative log likelihood on "
            f"the {held.n_samples:,} samples of {held.path.resolve().name}",
        }
    fit_on = _drawn(store.target, seed)
    fitted = _fit(store.select(samples=fit_on).outputs(), store.target[fit_on])
    rest = store.select(samples=np.setdiff1d(np.arange(store.n_samples), fit_on))
    return _scored(rest, base, fitted), {
        "score": f"{rest.n_samples:,} of {store.n_samples:,} samples",
        "calibration": f"one temperature a model, of least negative log likelihood on the other "
        f"{len(fit_on):,} samples, drawn within each class with seed {seed}",
    }


def _warn_of_same_samples(store: Store, held: Store) -> None:
    same = set(store.sample_ids or ()) & set(held.sample_ids or ())
    if same:
        warnings.warn(
            f"{len(same)} samples that temperatures are fitted on are also reported on",
            UserWarning,
            stacklevel=4,
        )


def _scored(store: Store, base: str, temperature: NDArray[np.float64]) -> Split:
    return compared(store, store.outputs(), base=base, temperature=temperature, fitted=temperature)


def _fit(logits: list[Any], target: NDArray[np.int64]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a temperature at its bound is in the table
        return np.asarray(ov.calibration.fit_temperature(logits, target).temperature)


def _drawn(target: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Indices, ascending: of each class its share, rounded down to one at least."""
    generator = np.random.default_rng(seed)
    chosen = []
    share = min(CALIBRATION_SHARE, CALIBRATION_MOST / len(target))
    for k in np.unique(target):
        members = np.flatnonzero(target == k)
        few = max(1, int(share * len(members)))
        if len(members) > few:
            chosen.append(generator.permutation(members)[:few])
    if not chosen:
        raise ValueError(
            "every class has one sample: too few to set some aside for temperatures; give "
            "a calibration store, or temperatures in the cards"
        )
    drawn = np.concatenate(chosen)
    if len(drawn) > CALIBRATION_MOST:  # of very many classes one each is too many
        drawn = generator.choice(drawn, CALIBRATION_MOST, replace=False)
    return np.sort(drawn)
