"""The plan of an extraction: what has to be the same for another process to go on with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from ovcore.extract import fingerprint
from ovcore.extract.batches import Batch
from ovcore.extract.models import Extraction, stored_card
from ovcore.extract.running import Runner, Settings

Plan: TypeAlias = dict[str, Any]

_FORMAT = "ovcore-extraction-1"
_MEANINGS = {
    "format": "the format of its folder",
    "models": "the models' names",
    "n_samples": "the number of samples",
    "batch_size": "the batch size",
    "first_batch": "the first batch's inputs, labels or ids",
    "class_names": "the class names",
    "card": "the card",
    "head": "the head",
    "weights": "the weights",
    "layer": "the layer of the features",
    "prepared": "what prepare= makes of the first batch",
}


def make_plan(
    models: Sequence[Extraction],
    runners: Sequence[Runner],
    settings: Settings,
    first: Batch,
    **more: Any,
) -> Plan:
    """The plan of ``models``, whose runners have begun; plain JSON."""
    return {
        "format": _FORMAT,
        "models": [model.card.name for model in models],
        "dtype": settings.dtype,
        "autocast": settings.autocast,
        "device": settings.device.type,
        "batch_size": len(first.labels),
        "first_batch": fingerprint.of_batch(first),
        **more,
        "each": [_of_model(*pair, first) for pair in zip(models, runners, strict=True)],
    }


def _of_model(model: Extraction, runner: Runner, first: Batch) -> Plan:
    head = model.head
    prepared = None
    if model.prepare is not None:
        prepared = fingerprint.of_inputs(runner.prepare(first.inputs))
    return {
        "card": asdict(stored_card(model)),
        "module": type(model.module).__qualname__,
        "weights": fingerprint.of_state(model.module),
        "head": None if head is None else [head.to_json(), fingerprint.of_state(head)],
        "layer": [runner.layer, runner.side] if runner.stores_features else None,
        "prepared": prepared,
    }


def differences(saved: Plan, new: Plan) -> list[str]:
    """What differs between two plans, in words; nothing where one can go on with the other."""
    found = _differing(saved, new, "")
    if saved.get("models") == new["models"]:
        for name, old, now in zip(new["models"], saved["each"], new["each"], strict=True):
            found += _differing(old, now, f" of {name!r}")
    return found


def _differing(saved: Plan, new: Plan, of: str) -> list[str]:
    told = []
    for key in new:
        if key == "each" or saved.get(key) == new[key]:
            continue
        what = _MEANINGS.get(key, key) + of
        values = (saved.get(key), new[key])
        if all(value is None or isinstance(value, str | int) for value in values) and key not in (
            "weights", "first_batch", "prepared",
        ):  # fmt: skip
            what += f" (was {values[0]!r}, now {values[1]!r})"
        told.append(what)
    return told
