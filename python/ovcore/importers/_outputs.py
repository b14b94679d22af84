"""The common form that every reader gives: one model's outputs, and the samples they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore.store import ModelCard

__all__ = ["RIGHT_OR_WRONG", "Labels", "Outputs", "first_repeated", "from_right"]

RIGHT_OR_WRONG = ("wrong", "right")
"""The two classes of a model of which only right or wrong is known; every label is "right"."""


@dataclass(frozen=True)
class Labels:
    """Labels of N samples, from a file of their own.

    Attributes:
        target: (N,) integer classes.
        sample_ids: N names of the samples, or None where their order tells.
        file: where they came from, for messages.

    Raises:
        TypeError: labels that are not integers.
        ValueError: lengths that differ, a label below 0, an id that repeats.
    """

    target: NDArray[np.integer[Any]]
    sample_ids: Sequence[str] | None = None
    file: str = "labels"

    def __post_init__(self) -> None:
        _check_samples(self.file, self.target, self.sample_ids, len(self.target))


@dataclass(frozen=True)
class Outputs:
    """What one model gave for N samples.

    One of ``logits``, ``probs``, ``topk`` and ``preds``; ``preds`` may come with ``topk``, where
    the file's order tells more than its rounded probabilities.

    Attributes:
        card: what is said of the model.
        file: where the outputs came from, for messages.
        sample_ids: N names of the samples, or None where their order tells.
        target: (N,) integer labels, or None where the file has none.
        logits: (N, K).
        probs: (N, K) probabilities; a store gets their logarithms as logits.
        topk: classes and their probabilities, both (N, k).
        preds: (N,) classes, -1 for no prediction.
        class_names: K names, or None.
        pad: the K of ``logits`` is only the largest seen; a store of more classes gets -inf there.

    Raises:
        TypeError: labels, predictions or classes that are not integers; scores that are.
        ValueError: lengths or axes that do not fit, a label below 0, an id that repeats.
    """

    card: ModelCard
    file: str
    sample_ids: Sequence[str] | None = None
    target: NDArray[np.integer[Any]] | None = None
    logits: NDArray[np.floating[Any]] | None = None
    probs: NDArray[np.floating[Any]] | None = None
    topk: tuple[NDArray[np.integer[Any]], NDArray[np.floating[Any]]] | None = None
    preds: NDArray[np.integer[Any]] | None = None
    class_names: Sequence[str] | None = None
    pad: bool = False

    def __post_init__(self) -> None:
        for kind, scores in (("logits", self.logits), ("probabilities", self.probs)):
            if scores is not None:
                _check_floats(f"{self.file}: {kind}", scores, "(N, K)")
        if self.topk is not None:
            classes, probs = self.topk
            _check_integers(f"{self.file}: top-k classes", classes)
            _check_floats(f"{self.file}: top-k probabilities", probs, "(N, k)")
            if classes.shape != probs.shape:
                raise ValueError(
                    f"{self.file}: top-k classes are {classes.shape} "
                    f"but their probabilities {probs.shape}"
                )
        if self.preds is not None:
            _check_integers(f"{self.file}: predictions", self.preds)
            if self.preds.ndim != 1:
                raise ValueError(f"{self.file}: predictions must be (N,), got {self.preds.shape}")
            _refuse_below(f"{self.file}: prediction", self.preds, -1)
        if self.class_names is not None and len(self.class_names) != self.n_classes:
            raise ValueError(
                f"{self.file}: {len(self.class_names)} class names for {self.n_classes} classes"
            )
        _check_samples(self.file, self.target, self.sample_ids, self.n_samples)

    @property
    def n_samples(self) -> int:
        """N."""
        kinds = (self.logits, self.probs, self.topk and self.topk[0], self.preds)
        lengths = [len(values) for values in kinds if values is not None]
        if not lengths:
            raise ValueError(f"{self.file}: {self.card.name!r} has no outputs")
        if len(set(lengths)) > 1:
            raise ValueError(f"{self.file}: outputs of {lengths[0]} and of {lengths[1]} samples")
        return lengths[0]

    @property
    def n_classes(self) -> int | None:
        """K where scores of all classes or their names tell, else None."""
        for scores in (self.logits, self.probs):
            if scores is not None:
                return scores.shape[1]
        return None if self.class_names is None else len(self.class_names)

    def named(self, name: str) -> Outputs:
        """The same with another name of the model."""
        return replace(self, card=replace(self.card, name=name))

    def largest_class(self) -> int:
        """The largest class among labels, predictions and top-k classes; -1 where there is none."""
        given = (self.target, self.preds, self.topk and self.topk[0])
        return max((int(a.max()) for a in given if a is not None and a.size), default=-1)


def from_right(
    card: ModelCard, file: str, sample_ids: Sequence[str], right: Sequence[bool]
) -> Outputs:
    """Outputs of a model of which only right or wrong is known: every label is the class "right".

    >>> from_right(ModelCard("a"), "a.json", ["x", "y"], [True, False]).preds
    array([1, 0])
    """
    return Outputs(
        card,
        file,
        sample_ids,
        target=np.ones(len(right), np.int64),
        preds=np.array(right, np.int64),
        class_names=RIGHT_OR_WRONG,
    )


def first_repeated(texts: Sequence[str]) -> str | None:
    """The first text that was there before, or None."""
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None


def _check_samples(
    file: str, target: NDArray[Any] | None, sample_ids: Sequence[str] | None, n_samples: int
) -> None:
    if target is not None:
        _check_integers(f"{file}: labels", target)
        if target.shape != (n_samples,):
            raise ValueError(f"{file}: labels are {target.shape}, expected ({n_samples},)")
        _refuse_below(f"{file}: label", target, 0)
    if sample_ids is not None:
        if len(sample_ids) != n_samples:
            raise ValueError(f"{file}: {len(sample_ids)} sample ids for {n_samples} samples")
        if (repeated := first_repeated(sample_ids)) is not None:
            raise ValueError(f"{file}: sample id {repeated!r} is there twice")


def _check_integers(what: str, values: NDArray[Any]) -> None:
    if values.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, got {values.dtype}")


def _check_floats(what: str, values: NDArray[Any], axes: str) -> None:
    if values.dtype.kind != "f" and values.dtype.name != "bfloat16":
        raise TypeError(f"{what} must be floating, got {values.dtype}")
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"{what} must be {axes}, got {values.shape}")


def _refuse_below(what: str, values: NDArray[Any], low: int) -> None:
    below = values < low
    if below.any():
        first = int(below.argmax())
        raise ValueError(f"{what} {first} is {values[first]}, expected {low} or more")
