"""What every experiment starts from: models measured on the same samples, bases, categories."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

import ovcore as ov
from ovcore.store import ModelCard, Store, categorize
from ovcore.study.results import Lacking

CATEGORIES = ("REINIT", "HPARAM", "ARCH", "FWORK", "DATASET")
"""Training categories of a pair, in the paper's order: from a new seed to other data."""

OTHER = "OTHER"
"""Of a pair whose training descriptions do not tell."""

_ORDER = ("BASE", *CATEGORIES, OTHER)

ACCURACY_BAND = 0.05
"""Unless told otherwise, models further than this from the bases' mean accuracy stay out of
category means."""

WITHOUT_CONFIDENCES = "the store keeps predicted classes alone, of which no ensemble is made"

_CELLS = 1 << 22  # of a block of logits whose softmax is taken at once


@dataclass(frozen=True, eq=False)
class Split:
    """One repetition: what M models say of N samples, and what follows for all pairs.

    Attributes:
        store: the models' cards, features and sample columns.
        outputs: M arrays (N, K), or stored top-k outputs, or predictions.
        temperature: (M,) what the outputs are to be divided by; None of predictions.
        fitted: (M,) temperatures as reported; None where none were fitted.
        comparison: of all pairs.
    """

    store: Store
    outputs: list[Any]
    temperature: NDArray[np.float64] | None
    fitted: NDArray[np.float64] | None
    comparison: ov.Comparison

    @property
    def names(self) -> tuple[str, ...]:
        """Of the M models."""
        return self.comparison.models

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(M,) share of samples each gets right."""
        return np.asarray(self.comparison.accuracy)

    @property
    def target(self) -> NDArray[np.int64]:
        """(N,) classes."""
        return self.store.target

    def index(self, name: str) -> int:
        """Of a model among the M."""
        return self.names.index(name)

    @cached_property
    def errors(self) -> ov.ErrorBits:
        """Which models are wrong on which samples."""
        return ov.pack_errors(self.outputs, self.target)

    def right(self, name: str) -> NDArray[np.bool_]:
        """(N,) whether the model is right."""
        right: NDArray[np.bool_] = ~self.errors.select([self.index(name)]).wrong()[0]
        return right

    def confidence(self, name: str) -> NDArray[np.float64]:
        """(N,) calibrated probability of the class that the model predicts."""
        if self.temperature is None:
            raise Lacking(WITHOUT_CONFIDENCES)
        i = self.index(name)
        output = self.outputs[i]
        if isinstance(output, ov.TopK):
            top: NDArray[np.float64] = np.asarray(output.probs, np.float64).max(axis=1)
            return top
        step = max(1, _CELLS // output.shape[1])
        parts = [
            softmax(np.asarray(output[rows : rows + step], np.float64) / self.temperature[i], 1)
            for rows in range(0, len(output), step)
        ]
        confident: NDArray[np.float64] = np.concatenate([part.max(axis=1) for part in parts])
        return confident

    def theta(self, first: str, second: str) -> NDArray[np.float64]:
        """(N,) specialization angle atan2(conf_1, conf_2) - pi / 4, in radians."""
        one, two = self.confidence(first), self.confidence(second)
        angle: NDArray[np.float64] = np.arctan2(one, two) - np.pi / 4
        return angle


@dataclass(frozen=True, eq=False)
class Subject:
    """The models under study.

    Attributes:
        name: of what is studied, in a few words: "the store outputs".
        splits: repetitions with the same models; at least one.
        base: the model that tables compare with.
        bases: each serves as the base in turn wherever means are taken.
        accuracy_range: lowest and highest accuracy of models in category means; None for
            :data:`ACCURACY_BAND` around the bases' mean of each split.
        seed: of every random choice.
        transfer: of each split, a store of the same models' features on another task.
        choices: what was chosen before any experiment ("score", "calibration", ...), in words.
        about: what study.json says of where the models come from (recipe, hashes).
        progress: whether to show bars.
    """

    name: str
    splits: tuple[Split, ...]
    base: str
    bases: tuple[str, ...]
    accuracy_range: tuple[float, float] | None = None
    seed: int = 0
    transfer: tuple[Store, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    progress: bool = False

    @property
    def first(self) -> Split:
        """The split that figures of single samples show."""
        return self.splits[0]

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """Of the models, in order."""
        return self.first.store.models

    @cached_property
    def _cards(self) -> dict[str, ModelCard]:
        """By name; a category of another name than the paper's tells nothing here."""
        return {
            card.name: card if card.category in _ORDER else replace(card, category="")
            for card in self.cards
        }

    def category(self, a: str, b: str) -> str:
        """Training category of a pair, or :data:`OTHER`.

        The most divergent axis on which two models differ. Where cards state how their models
        differ from the base, two that differ from it on different axes differ from each other on
        the more divergent one; a re-seeded twin of the base stands for the base itself.
        """
        ours, theirs = self._cards[a], self._cards[b]
        told = (ours.category, theirs.category)
        if all(told) and (told[0] != told[1] or told[0] == "REINIT"):
            return max(told, key=place).replace("BASE", "REINIT")
        return categorize(ours, theirs) or OTHER

    def range_of(self, split: Split) -> tuple[float, float]:
        """Lowest and highest accuracy of the models in category means."""
        if self.accuracy_range is not None:
            return self.accuracy_range
        return around(np.mean([split.accuracy[split.index(base)] for base in self.bases]))

    def in_range(self, split: Split) -> NDArray[np.bool_]:
        """(M,) whether each model is in category means."""
        return within(split.accuracy, self.range_of(split))

    def need_confidences(self) -> None:
        """Raises :class:`Lacking` where ensembles cannot be made."""
        if self.first.comparison.ensembles is None:
            raise Lacking(self.without_confidences)
        if self.first.store.n_classes == 1:
            raise Lacking("there is one class alone")

    @cached_property
    def without_confidences(self) -> str:
        """Why no ensemble can be made: which models have neither what others have."""
        store = self.first.store
        kinds = {name: store.kinds(name) for name in store.names}
        for kind, words in (("logits", "logits"), ("topk", "top-k outputs")):
            having = [name for name in store.names if kind in kinds[name]]
            lacking = [name for name in store.names if kind not in kinds[name]]
            if having:
                return (
                    f"{len(having)} of {len(kinds)} models have {words} and {len(lacking)} have "
                    f"not, first {lacking[0]}: all are compared by their predicted classes, of "
                    "which no ensemble is made; a store without the latter would have ensembles"
                )
        return WITHOUT_CONFIDENCES

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row for each split, base and partner; a pair of two bases has two."""
        frames = [self._pairs_of(number, split) for number, split in enumerate(self.splits)]
        return pd.concat(frames, ignore_index=True)

    def _pairs_of(self, number: int, split: Split) -> pd.DataFrame:
        c, accuracy = split.comparison, split.accuracy
        b = np.array([split.index(base) for base in self.bases])
        m = np.arange(len(split.names))
        base, model = (x.ravel() for x in np.meshgrid(b, m, indexing="ij"))
        base, model = base[base != model], model[base != model]
        names = np.array(split.names, object)
        wrong = np.asarray(c.errors.joint)[base, model] / c.n_samples
        columns: dict[str, Any] = {
            "split": np.full(len(base), number),
            "base": names[base],
            "model": names[model],
            "category": [
                self.category(one, two) for one, two in zip(names[base], names[model], strict=True)
            ],
            "base_accuracy": accuracy[base],
            "accuracy": accuracy[model],
            "in_band": self.in_range(split)[model],
            "error_inconsistency": np.asarray(c.error_inconsistency)[base, model],
            "relative_to_chance": 1 - np.asarray(c.error_consistency)[base, model],
            "both_wrong": wrong,
        }
        columns["both_right"] = 1 - columns["error_inconsistency"] - wrong
        if c.ensembles is None:
            return pd.DataFrame(columns)
        combined = np.asarray(c.ensembles.accuracy)[base, model]
        columns |= {
            "ensemble_accuracy": combined,
            "gain": np.asarray(c.ensembles.gain)[base, model],
            "gain_over_base": combined - accuracy[base],
            "conversion_rate": np.asarray(c.ensembles.conversion_rate)[base, model],
        }
        return pd.DataFrame(columns)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Those that the pairs have, from a new seed to other data; :data:`OTHER` last."""
        found = set(self.pairs["category"])
        return tuple(name for name in (*CATEGORIES, OTHER) if name in found)

    def partners(self, split: Split, base: str) -> Iterator[tuple[str, str]]:
        """(category, model) of all models in the range but the base: nearest in accuracy first."""
        apart = np.abs(split.accuracy - split.accuracy[split.index(base)])
        within = self.in_range(split)
        order = sorted(range(len(split.names)), key=lambda m: (apart[m], m))
        for category in self.categories:
            for m in order:
                name = split.names[m]
                if within[m] and name != base and self.category(base, name) == category:
                    yield category, name


def place(category: str) -> int:
    """Where a category stands among others, from the base to what is not known."""
    return _ORDER.index(category)


def around(accuracy: float | np.floating[Any]) -> tuple[float, float]:
    """The range of :data:`ACCURACY_BAND` to both sides, within 0..1."""
    return max(0.0, float(accuracy) - ACCURACY_BAND), min(1.0, float(accuracy) + ACCURACY_BAND)


def within(accuracy: NDArray[np.float64], limits: tuple[float, float]) -> NDArray[np.bool_]:  # (M,)
    """Which accuracies lie in a closed range, whose ends may be rounded as they are."""
    low, high = limits
    inside: NDArray[np.bool_] = (accuracy >= low - 1e-12) & (accuracy <= high + 1e-12)
    return inside


def compared(
    store: Store,
    outputs: Sequence[Any],
    *,
    base: str,
    temperature: NDArray[np.float64] | None,
    fitted: NDArray[np.float64] | None,
) -> Split:
    """A split of outputs whose temperatures are known."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what is undefined is shown as such
            comparison = ov.compare(
                outputs,
                store.target,
                models=store.names,
                base=base,
                temperature=1.0 if temperature is None else temperature,
            )
    except ValueError as error:
        number = re.match(r"model (\d+) ", str(error))
        if number is None:
            raise
        raise ValueError(f"{error} ({store.names[int(number[1])]})") from error
    if comparison.ensembles is None:
        temperature = None
    return Split(store, list(outputs), temperature, fitted, comparison)
