"""Models that the user's own function returns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from ovcore.extract.factories import call_factory
from ovcore.extract.models import Extraction
from ovcore.extract.sources._loaded import LoadedModel
from ovcore.store import ModelCard


def load(name: str, **_: Any) -> LoadedModel:
    """The module or Extraction that the factory returns."""
    spec = f"torch:{name}"
    made = call_factory(name, spec)
    if isinstance(made, nn.Module):
        card = ModelCard(name.rpartition(":")[2], source=spec)
        return LoadedModel(Extraction(card, made))
    if isinstance(made, Extraction):
        card = replace(made.card, source=made.card.source or spec)
        return LoadedModel(replace(made, card=card))
    raise ValueError(f"{spec!r} must return a torch module or an Extraction, got {made!r}")
