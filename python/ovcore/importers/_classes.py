"""How many classes several files tell of, and their names: one answer, or an error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovcore.importers._outputs import Labels, Outputs

__all__ = ["agree_on_classes", "check_range"]


def agree_on_classes(
    models: Sequence[Outputs],
    *,
    class_names: Sequence[str] | None = None,
    n_classes: int | None = None,
    of_store: tuple[Sequence[str] | None, int | None] = (None, None),
) -> tuple[list[str] | None, int | None]:
    """Names and number of classes; None where nothing tells them and predictions need neither.

    Args:
        models: their scores and class names.
        class_names: what the caller says.
        n_classes: what the caller says.
        of_store: names and number of classes of the store that models are added to.

    Raises:
        ValueError: two that differ, by name of their files.
    """
    names: list[str] | None = None
    named_by = ""
    for where, given in [
        ("the store", of_store[0]),
        ("class_names", class_names),
        *((model.file, model.class_names) for model in models),
    ]:
        if given is None:
            continue
        if names is None:
            names, named_by = list(given), where
        elif list(given) != names:
            raise ValueError(f"class names differ: {_difference(named_by, names, where, given)}")
    count, counted_by = (None, "") if names is None else (len(names), named_by)
    for where, number in [
        ("the store", of_store[1]),
        ("n_classes", n_classes),
        *((model.file, model.n_classes) for model in models if not model.pad),
    ]:
        if number is None:
            continue
        if count is None:
            count, counted_by = number, where
        elif number != count:
            raise ValueError(f"{where} has {number} classes but {counted_by} has {count}")
    return names, _largest(models) if count is None else count


def _largest(models: Sequence[Outputs]) -> int | None:
    """The most classes seen where scores are to be as many in all models."""
    padded = [model.n_classes or 0 for model in models if model.pad]
    if not padded and all(model.topk is None for model in models):
        return None
    return max(*padded, 1 + max(model.largest_class() for model in models), 1)


def check_range(models: Sequence[Outputs], labels: Labels | None, n_classes: int | None) -> None:
    """Refuses classes that are not in 0..n_classes - 1, by name of the file.

    Raises:
        ValueError: such a label, prediction or top-k class; or scores of more classes.
    """
    if n_classes is None:
        return
    checked = [] if labels is None else [(labels.file, "label", labels.target)]
    for model in models:
        classes = None if model.topk is None else model.topk[0]
        for what, values in (
            ("label", model.target), ("prediction", model.preds), ("top-k class", classes),
        ):  # fmt: skip
            if values is not None:
                checked.append((model.file, what, values))
        if model.pad and (model.n_classes or 0) > n_classes:
            raise ValueError(f"{model.file} has {model.n_classes} classes, expected {n_classes}")
    for file, what, values in checked:
        low = -1 if what == "prediction" else 0
        outside = (values < low) | (values >= n_classes)
        if outside.any():
            at = np.unravel_index(int(outside.argmax()), values.shape)
            raise ValueError(f"{file}: {what} {at[0]} is {values[at]}, expected 0..{n_classes - 1}")


def _difference(where: str, names: Sequence[str], other: str, others: Sequence[str]) -> str:
    if len(names) != len(others):
        return f"{where} has {len(names)}, {other} has {len(others)}"
    first = next(i for i, pair in enumerate(zip(names, others, strict=True)) if pair[0] != pair[1])
    return f"class {first} is {names[first]!r} in {where} and {others[first]!r} in {other}"
