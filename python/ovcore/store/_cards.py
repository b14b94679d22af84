"""What a store says of a model, and how two models' trainings differ."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["CATEGORIES", "ModelCard", "categorize"]

AXES = {
    "data": "DATASET",
    "objective": "FWORK",
    "architecture": "ARCH",
    "hyperparameters": "HPARAM",
    "seed": "REINIT",
}
"""Keys of a training description and the category of models that differ there, most first."""

CATEGORIES = tuple(reversed(AXES.values()))
"""How differently two models were trained, least first."""

_TEXTS = ("name", "method", "head", "category", "source")


@dataclass(frozen=True)
class ModelCard:
    """What a store says of one model.

    Attributes:
        name: unique within the store; any text, never used as a file's name.
        method: how it was trained, in a few words ("Sup. / digits").
        head: its prediction head ("Trained", "Zero-shot", "Class-mapped", "Fine-tuned", ...).
        category: its training category relative to the store's base model, or "BASE".
        training: any JSON; of it ``data``, ``objective``, ``architecture``, ``hyperparameters`` and
            ``seed`` tell :func:`categorize` how two models differ.
        source: where its outputs came from ("transformers:google/vit-base-patch16-224").
        temperature: what its logits are to be divided by, where that was fitted; else None.

    Raises:
        TypeError: a text that is not one, or a training description that is not plain JSON.
        ValueError: an empty name; a temperature that is not positive and finite.
    """

    name: str
    method: str = ""
    head: str = ""
    category: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    temperature: float | None = None

    def __post_init__(self) -> None:
        for key in _TEXTS:
            if not isinstance(getattr(self, key), str):
                raise TypeError(f"a card's {key} must be text, got {getattr(self, key)!r}")
        if not self.name:
            raise ValueError("a card's name must not be empty")
        if not isinstance(self.training, dict):
            raise TypeError(f"the training of {self.name!r} must be a dict, got {self.training!r}")
        try:
            json.dumps(asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"the card of {self.name!r} must be plain JSON: {error}") from None
        t = self.temperature
        if t is not None and not (isinstance(t, float | int) and 0 < t < math.inf):
            raise ValueError(f"the temperature of {self.name!r} must be positive, got {t!r}")


def categorize(a: ModelCard, b: ModelCard) -> str | None:
    """How differently two models were trained: the most divergent axis on which they differ.

    The axes, most divergent first (Gontijo-Lopes, Dauphin and Cubuk, 2022, section 3.1), are the
    data (DATASET), the objective or training framework (FWORK), the architecture (ARCH), the
    hyper-parameters (HPARAM) and the seed (REINIT). Of a pair with the store's base model the
    other's explicit category is taken instead. None where the descriptions do not tell: nothing
    differs, or only one of the two states an axis.

    >>> one = {"data": "IN", "objective": "Sup.", "architecture": "ResNet-50", "seed": 1}
    >>> categorize(ModelCard("a", training=one), ModelCard("b", training={**one, "seed": 2}))
    'REINIT'
    >>> categorize(ModelCard("a", training=one), ModelCard("b", training={**one, "data": "JFT"}))
    'DATASET'
    """
    for base, other in ((a, b), (b, a)):
        if base.category == "BASE" and other.category:
            return other.category if other.category != "BASE" else None
    for key, category in AXES.items():
        ours, theirs = a.training.get(key), b.training.get(key)
        if (ours is None) != (theirs is None):
            return None
        if ours != theirs:
            return category
    return None
