"""Models of images and texts of open_clip."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ovcore.extract.models import Extraction
from ovcore.extract.sources._loaded import LoadedModel, library, stacked
from ovcore.store import ModelCard


def load(name: str, *, pretrained: bool, seed: int) -> LoadedModel:
    """The model with its preprocessing and its text encoder; it needs a zero-shot head."""
    spec = f"open_clip:{name}"
    open_clip = library("open_clip", "open_clip_torch", spec)
    architecture, _, weights = name.partition("/")
    if pretrained and not weights:
        raise ValueError(f"{spec!r} must name weights: open_clip:ARCH/PRETRAINED")
    try:
        module, _, transform = open_clip.create_model_and_transforms(
            architecture, pretrained=weights if pretrained else None
        )
    except RuntimeError as error:  # a name or weights that it does not know
        raise ValueError(f"{spec!r}: {error}") from error
    tokenizer = open_clip.get_tokenizer(architecture)

    def encode(texts: list[str]) -> Tensor:
        home = next(module.parameters()).device
        with torch.no_grad():
            features: Tensor = module.encode_text(tokenizer(texts).to(home))
        return features

    module.eval()
    training: dict[str, Any] = {"architecture": architecture}
    training |= {"weights": weights} if pretrained else {"seed": seed}
    card = ModelCard(name, head="Zero-shot", training=training, source=spec)
    return LoadedModel(
        Extraction(card, module, prepare=stacked(transform)),
        encode_texts=encode,
        scale=module.logit_scale.detach().exp(),
    )
