"""Per-instance results of HELM (crfm-helm): the folder of one run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ovcore.importers._json import field, objects, only, read_json, truth
from ovcore.importers._outputs import Outputs, from_right
from ovcore.store import ModelCard

__all__ = ["read_helm"]

_STATS = "per_instance_stats.json"
_STATE = "scenario_state.json"
_INSTANCES = "instances.json"
_PREDICTIONS = "display_predictions.json"

_NOT_PARAMETERS = {"name", "robustness", "fairness", "computed_on"}


def read_helm(
    path: str | os.PathLike[str], *, metric: str | None = None, trial: int | None = None
) -> Outputs:
    """One model's predictions in the folder of a HELM run, or right and wrong by a metric.

    Of a multiple-choice run, labels and predictions are positions among an instance's references:
    of joint prompts, of the reference that the completion's letter is mapped to, -1 where it is
    mapped to none; of one prompt a reference, HELM's ``predicted_index``. An ``exact_match`` of 0
    or 1 in the run must agree. Of any other run, or with ``metric``, only right or wrong is taken.
    What is read: ``scenario_state.json``, or else ``instances.json`` and
    ``display_predictions.json``; and ``per_instance_stats.json``.

    Samples are named by the instance's id, and its perturbation in brackets where it has one.

    Args:
        path: the folder.
        metric: one that is 0 or 1 for each instance, such as exact_match or quasi_exact_match.
        trial: ``train_trial_index``, where the run has several.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is truncated or lacks a field; several trials; an instance that is there
            twice, or has no or several correct references; a metric that is not 0 or 1.

    The format: ``helm.benchmark`` of crfm-helm 0.5.
    """
    folder = Path(path)
    card = ModelCard(_model_name(folder), source=f"helm:{folder.name}")
    if metric is not None:
        right = _metric(folder, metric, trial)
        if not right:
            raise ValueError(f"{folder / _STATS} has no metric {metric!r}")
        for name, value in right.items():
            truth(value, f"{folder / _STATS}, {name!r}: {metric}")
        return from_right(card, str(folder), list(right), [value == 1 for value in right.values()])
    targets, preds = _choices(folder, trial)
    if (folder / _STATS).is_file():
        for name, value in _metric(folder, "exact_match", trial).items():
            if name in preds and value in (0, 1) and value != (preds[name] == targets[name]):
                raise ValueError(
                    f"{folder}, {name!r}: exact_match is {value:g}, but prediction {preds[name]} "
                    f"and label {targets[name]} differ from it: choose metric 'exact_match'"
                )
    return Outputs(
        card,
        str(folder),
        list(preds),
        np.array([targets[name] for name in preds], np.int64),
        preds=np.array(list(preds.values()), np.int64),
    )


def _choices(folder: Path, trial: int | None) -> tuple[dict[str, int], dict[str, int]]:
    """Labels and predictions by instance."""
    targets: dict[str, int] = {}
    preds: dict[str, int] = {}
    state = folder / _STATE
    separate: Mapping[str, float] | None = None
    for name, instance, reference, pred in (
        _from_state(state, trial) if state.is_file() else _from_display(folder, trial)
    ):
        if reference is not None:  # one prompt a reference
            if separate is None:
                separate = _metric(folder, "predicted_index", trial)
            if name not in separate:
                raise ValueError(f"{folder / _STATS}, {name!r}: no 'predicted_index'")
            pred = int(separate[name])
        elif name in preds:
            raise ValueError(f"{folder}: instance {name!r} is there twice")
        targets[name] = _label(instance, f"{folder}, {name!r}")
        preds[name] = pred
    if not preds:
        raise ValueError(f"{folder} has no instances with a result")
    return targets, preds


_Choice = tuple[str, dict[str, Any], int | None, int]
"""Name, instance, which reference was asked for or None for all, position predicted."""


def _from_state(file: Path, trial: int | None) -> Iterator[_Choice]:
    state = read_json(file, dict)
    where = str(file)
    pattern = field(state, "adapter_spec", dict, where).get("output_mapping_pattern")
    for request in _of_trial(field(state, "request_states", list, where), trial, where):
        instance = field(request, "instance", dict, where)
        name = _name(instance.get("id"), instance.get("perturbation"), where)
        if request.get("result") is None:
            continue
        mapping = request.get("output_mapping")
        reference = request.get("reference_index")
        pred = -1
        if reference is None:
            if not isinstance(mapping, dict):
                raise ValueError(f"{where}, {name!r} is not multiple choice: choose a metric")
            result = field(request, "result", dict, f"{where}, {name!r}")
            completions = objects(result, "completions", f"{where}, {name!r}")
            texts = [str(one.get("text", "")) for one in completions]
            likely = [one.get("logprob", 0.0) for one in completions]
            best = texts[likely.index(max(likely))].strip() if texts else ""
            letter = _letter(best, pattern)
            pred = list(mapping).index(letter) if letter in mapping else -1
        yield name, instance, reference, pred


def _from_display(folder: Path, trial: int | None) -> Iterator[_Choice]:
    file = folder / _PREDICTIONS
    where = str(folder / _INSTANCES)
    instances = {}
    for one in read_json(folder / _INSTANCES, list):
        instances[_name(field(one, "id", object, where), one.get("perturbation"), where)] = one
    for shown in _of_trial(read_json(file, list), trial, str(file)):
        name = _name(shown.get("instance_id"), shown.get("perturbation"), str(file))
        if name not in instances:
            raise ValueError(f"{file}: instance {name!r} is not in {_INSTANCES}")
        reference, mapped = shown.get("reference_index"), shown.get("mapped_output")
        texts = [_text(one) for one in _references(instances[name], f"{folder}, {name!r}")]
        yield name, instances[name], reference, texts.index(mapped) if mapped in texts else -1


def _metric(folder: Path, metric: str, trial: int | None) -> dict[str, float]:
    """The mean of a metric for each instance that has it."""
    file = folder / _STATS
    found: dict[str, float] = {}
    for entry in _of_trial(read_json(file, list), trial, str(file)):
        name = _name(entry.get("instance_id"), entry.get("perturbation"), str(file))
        for stat in objects(entry, "stats", f"{file}, {name!r}"):
            if field(stat, "name", dict, f"{file}, {name!r}").get("name") != metric:
                continue
            if stat.get("mean") is None:
                continue
            if name in found:
                raise ValueError(f"{file}: instance {name!r} has {metric!r} twice")
            found[name] = float(stat["mean"])
    return found


def _of_trial(entries: list[Any], trial: int | None, where: str) -> list[dict[str, Any]]:
    if not entries:
        raise ValueError(f"{where} is empty")
    trials = [str(field(entry, "train_trial_index", int, where)) for entry in entries]
    chosen = only(trials, None if trial is None else str(trial), "trial", where)
    return [entry for entry, one in zip(entries, trials, strict=True) if one == chosen]


def _name(instance: object, perturbation: object, where: str) -> str:
    if not isinstance(instance, str):
        raise ValueError(f"{where}: an instance's id is {instance!r}, expected text")
    if not isinstance(perturbation, dict):
        return instance
    given = {key: value for key, value in sorted(perturbation.items()) if value is not None}
    parameters = [f", {key}={given[key]}" for key in given if key not in _NOT_PARAMETERS]
    return f"{instance} [{given.get('name')}{''.join(parameters)}]"


def _letter(text: str, pattern: str | None) -> str:
    """What of a completion is looked up, as HELM does: the first match, or its group."""
    if not pattern:
        return text
    match = re.search(pattern, text)
    if match is None:
        return ""
    return str(match.group(1) if match.groups() else match.group(0))


def _references(instance: dict[str, Any], where: str) -> list[dict[str, Any]]:
    return objects(instance, "references", where)


def _text(reference: dict[str, Any]) -> str:
    return str(field(reference, "output", dict, "a reference").get("text", ""))


def _label(instance: dict[str, Any], where: str) -> int:
    references = _references(instance, where)
    right = [i for i, one in enumerate(references) if "correct" in one.get("tags", [])]
    if len(right) != 1:
        raise ValueError(
            f"{where}: {len(right)} of {len(references)} references are correct, expected one: "
            "choose a metric such as 'exact_match'"
        )
    return right[0]


def _model_name(folder: Path) -> str:
    for name in ("run_spec.json", _STATE):
        if (folder / name).is_file():
            adapter = read_json(folder / name, dict).get("adapter_spec")
            model = adapter.get("model") if isinstance(adapter, dict) else None
            if isinstance(model, str) and model:
                return model
    return folder.resolve().name
