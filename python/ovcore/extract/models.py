"""What is extracted: a module, its card, and where its outputs and features come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ovcore.extract.heads import Head, Probe
from ovcore.extract.hooks import Side, refuse_unknown_side
from ovcore.store import ModelCard

__all__ = ["Extraction"]


@dataclass(frozen=True)
class Extraction:
    """A model whose outputs are to be stored.

    Attributes:
        card: what the store says of it.
        module: called with a batch's inputs; gives logits (n, K), or whatever ``head`` reads.
        layer: of the features; "auto" finds the input of the classifier by running the module, ""
            is the module itself, None stores no features. Axes past the first are flattened.
        side: the features are the named layer's "output" or its first "input".
        head: what turns the module's output or features into logits; None for its own logits
            (heads "Trained", "Fine-tuned" and "Distilled").
        prepare: makes the module's inputs of a batch's, for example a tensor of a list of images.

    Raises:
        TypeError: a module or head that is none.
        ValueError: a side that is unknown, or a layer other than the one that a probe reads.
    """

    card: ModelCard
    module: nn.Module
    layer: str | None = "auto"
    side: Side = "output"
    head: Head | None = None
    prepare: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        name = self.card.name
        if not isinstance(self.module, nn.Module):
            raise TypeError(f"the module of {name!r} must be a torch module, got {self.module!r}")
        if self.head is not None and not isinstance(self.head, Head):
            raise TypeError(f"the head of {name!r} must be a head or None, got {self.head!r}")
        refuse_unknown_side(self.side)
        if isinstance(self.head, Probe) and self.layer not in (None, "auto"):
            read = (self.head.layer, self.head.side)
            if (self.layer, self.side) != read:
                raise ValueError(
                    f"the probe of {name!r} reads the {read[1]} of layer {read[0]!r}, "
                    f"not the {self.side} of {self.layer!r}: leave out layer="
                )


def stored_card(model: Extraction) -> ModelCard:
    """The card as it is stored, with what is known of the prediction head."""
    card, head = model.card, model.head
    if head is None:
        return replace(card, head=card.head or "Trained")
    training = {**card.training, "prediction_head": head.to_json()}
    return replace(card, head=head.label, training=training)


def read_models(given: Sequence[Extraction] | Mapping[str, nn.Module]) -> list[Extraction]:
    """Models with different names, at least one.

    Raises:
        TypeError, ValueError: there is none, one is something else, or a name repeats.
    """
    if isinstance(given, Mapping):
        models = [Extraction(ModelCard(name), module) for name, module in given.items()]
    else:
        models = list(given)
    for model in models:
        if not isinstance(model, Extraction):
            raise TypeError(f"models must be Extractions, got {type(model).__name__}")
    if not models:
        raise ValueError("models is empty")
    name, count = Counter(model.card.name for model in models).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{count} models are named {name!r}: give each a name of its own")
    return models
