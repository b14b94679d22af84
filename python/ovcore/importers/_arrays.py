"""Predictions, scores and top-k outputs in npz, npy and safetensors files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from ovcore.importers._frames import looks_like_probabilities, read_frame
from ovcore.importers._labels import IDS, LABELS, as_texts, kind_of_file, to_classes
from ovcore.importers._members import Members, choose
from ovcore.importers._outputs import Outputs
from ovcore.importers._tables import Table
from ovcore.store import ModelCard

__all__ = ["read_arrays"]

_USUAL = {
    "preds": ("pred", "preds", "prediction", "predictions"),
    "probs": ("probs", "proba", "probabilities"),
    "logits": ("logits",),
}

Kind = Literal["preds", "logits", "probs"]


def read_arrays(
    path: str | os.PathLike[str],
    *,
    preds: str | Sequence[str] | None = None,
    logits: str | Sequence[str] | None = None,
    probs: str | Sequence[str] | None = None,
    target: str | None = None,
    ids: str | None = None,
    names: str | None = None,
    kind: Kind | None = None,
    class_names: Sequence[str] | None = None,
) -> list[Outputs]:
    """Outputs of one or more models in an npz, npy, safetensors, CSV or parquet file.

    In files of arrays, the options name members. ``logits`` or ``probs`` are (N, K); ``preds`` are
    (N,), or with ``probs`` the k best classes of each sample, both (N, k). Several models have a
    first axis M of their own and ``names`` (M,); or, given several members, each is a model. Where
    the k probabilities of every sample fall, or stay the same, from first to last, the first class
    is the prediction, also where rounding made it equal to the second; else it is the class of the
    highest, the lowest one on a tie.

    In tables, the options name columns: ``preds`` one for each model. Without ``preds``, all
    columns but ids, labels and names are one class each, or those that ``class_names`` lists.
    ``names`` is a column that says which model a row is of.

    Args:
        path: the file; an npy file is mapped into memory, of others only what is needed is read.
        preds: members or columns of predictions.
        logits: members of logits.
        probs: members of probabilities.
        target: that of labels; by itself one called label, labels, target, targets, y or y_true.
        ids: that of sample ids; by itself one called id, ids, sample_id or sample_ids.
        names: that of models' names; by itself, in a file of arrays, one called names.
        kind: what an npy file or the columns of a table hold, where integers do not tell.
        class_names: K names, where labels or predictions are written as names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, TypeError: it cannot be read, lacks a member, or holds values or shapes that do
            not fit, by name of the file and of the member.
        ImportError: a library that reads such files is not installed.
    """
    file = Path(path)
    source = kind_of_file(file)
    given = {"preds": _several(preds), "logits": _several(logits), "probs": _several(probs)}
    if isinstance(source, Table):
        for option in ("logits", "probs"):
            if given[option]:
                raise ValueError(
                    f"{file}: {option} names members of files of arrays; in a table, every column "
                    f"is a class, give kind {option!r}"
                )
        return read_frame(
            source, given["preds"], target=target, ids=ids, names=names, kind=kind,
            class_names=class_names,
        )  # fmt: skip
    there = list(source)
    if there == [""]:
        given = {**{key: [] for key in _USUAL}, kind or _kind_of(source[""], file): [""]}
    elif any(given.values()):
        for option, keys in given.items():
            for key in keys:
                choose(key, (), there, file, option)
    else:
        found = {kind: choose(None, usual, there, file, kind) for kind, usual in _USUAL.items()}
        given = {kind: [] if key is None else [key] for kind, key in found.items()}
        if not any(given.values()):
            raise ValueError(f"{file} has {', '.join(there)}: choose with preds, logits or probs")
    target_key = choose(target, LABELS, there, file, "target")
    ids_key = choose(ids, IDS, there, file, "ids")
    names_key = choose(names, ("names",), there, file, "names")
    labels = None
    if target_key is not None:
        labels = to_classes(source[target_key], class_names, f"{file}, {target_key!r}")
    sample_ids = None
    if ids_key is not None:
        sample_ids = as_texts(source[ids_key], f"{file}, {ids_key!r}")
    called = None
    if names_key is not None:
        called = as_texts(source[names_key], f"{file}, {names_key!r}")
    return [
        Outputs(
            ModelCard(name, source=f"arrays:{file.name}"), where, sample_ids, labels,
            class_names=class_names, **outputs,
        )
        for name, where, outputs in _models(source, given, called, class_names)
    ]  # fmt: skip


def _models(
    source: Members,
    given: dict[str, list[str]],
    names: list[str] | None,
    class_names: Sequence[str] | None,
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, place and outputs of each model."""
    file = source.path
    kinds = {kind: keys for kind, keys in given.items() if keys}
    if set(kinds) == {"preds", "probs"} and all(len(keys) == 1 for keys in kinds.values()):
        yield from _ranked_models(source, kinds["preds"][0], kinds["probs"][0], names)
        return
    if len(kinds) != 1:
        raise ValueError(f"{file}: give one of preds, logits and probs, or one preds and one probs")
    ((kind, keys),) = kinds.items()
    if names is not None and len(keys) > 1:
        raise ValueError(f"{file}: several {kind} are one model each, and so have no names")
    axes = {"preds": "(N,)"}.get(kind, "(N, K)")
    for key in keys:
        where = f"{file}, {key!r}" if key else str(file)
        array = source[key]
        if kind == "preds":
            array = to_classes(array, class_names, where)
        if names is None:
            _check_axes(array, axes, where)
            yield (key if len(keys) > 1 else file.stem), where, {kind: array}
        else:
            _check_axes(array, axes.replace("(", "(M, ").replace(",)", ")"), where, len(names))
            for name, one in zip(names, array, strict=True):
                yield name, where, {kind: one}


def _ranked_models(
    source: Members, classes_key: str, probs_key: str, names: list[str] | None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    classes, probs = source[classes_key], source[probs_key]
    file, where = source.path, f"{source.path}, {classes_key!r} and {probs_key!r},"
    axes = "(N, k)" if names is None else "(M, N, k)"
    if probs.ndim == classes.ndim + 1 == axes.count(",") + 1:
        # Probabilities of all classes tell the predictions.
        yield from _models(source, {"probs": [probs_key]}, names, None)
        return
    count = None if names is None else len(names)
    _check_axes(classes, axes, f"{file}, {classes_key!r}", count)
    _check_axes(probs, axes, f"{file}, {probs_key!r}", count)
    for i, name in enumerate([file.stem] if names is None else names):
        one = (classes, probs) if names is None else (classes[i], probs[i])
        outputs: dict[str, Any] = {"topk": one}
        best = one[1]
        if one[0].shape == best.shape and (best[:, 1:] <= best[:, :-1]).all():
            outputs["preds"] = one[0][:, 0]
        yield name, where, outputs


def _check_axes(array: NDArray[Any], axes: str, where: str, n_models: int | None = None) -> None:
    count = len([axis for axis in axes.strip("()").split(",") if axis.strip()])
    if array.ndim != count or 0 in array.shape[1:]:
        raise ValueError(f"{where} is {array.shape}, expected {axes}")
    if n_models is not None and len(array) != n_models:
        raise ValueError(f"{where} has {len(array)} models but there are {n_models} names")


def _kind_of(array: NDArray[Any], file: Path) -> Kind:
    """What an unnamed array holds."""
    if array.dtype.kind != "f":
        return "preds"
    if looks_like_probabilities(array):
        raise ValueError(f"{file} may hold probabilities: give kind 'probs', or else 'logits'")
    return "logits"


def _several(keys: str | Sequence[str] | None) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys or [])
