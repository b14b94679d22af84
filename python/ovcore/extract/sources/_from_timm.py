"""Image classifiers of timm."""

from __future__ import annotations

from typing import Any

from ovcore.extract.models import Extraction
from ovcore.extract.sources._loaded import LoadedModel, library, stacked
from ovcore.store import ModelCard


def load(name: str, *, pretrained: bool, seed: int) -> LoadedModel:
    """The model with the preprocessing that its weights were trained with."""
    spec = f"timm:{name}"
    timm = library("timm", "timm", spec)
    try:
        module = timm.create_model(name, pretrained=pretrained)
    except RuntimeError as error:  # a name that it does not know, or weights that it does not have
        raise ValueError(f"{spec!r}: {error}") from error
    known: dict[str, Any] = dict(getattr(module, "pretrained_cfg", None) or {})
    training: dict[str, Any] = {
        "architecture": known.get("architecture") or name.partition(".")[0],
    }
    if not pretrained:
        training["seed"] = seed
    elif known.get("tag"):
        training["weights"] = known["tag"]
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(module), is_training=False
    )
    card = ModelCard(name, head="Trained", training=training, source=spec)
    return LoadedModel(Extraction(card, module, prepare=stacked(transform)))
