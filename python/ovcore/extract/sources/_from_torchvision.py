"""Image classifiers of torchvision."""

from __future__ import annotations

from typing import Any

from ovcore.extract.models import Extraction
from ovcore.extract.sources._loaded import LoadedModel, library, stacked
from ovcore.store import ModelCard


def load(name: str, *, pretrained: bool, seed: int) -> LoadedModel:
    """The model with the preprocessing of its weights, the default ones unless they are named."""
    spec = f"torchvision:{name}"
    models = library("torchvision.models", "torchvision", spec)
    architecture, _, wanted = name.partition("/")
    try:
        of_model = models.get_model_weights(architecture)
        weights = of_model[wanted] if wanted else of_model.DEFAULT
    except ValueError as error:
        raise ValueError(f"{spec!r}: {error}") from error
    except KeyError:
        known = ", ".join(of_model.__members__)
        raise ValueError(f"{spec!r}: there are no weights {wanted!r}, but {known}") from None
    module = models.get_model(architecture, weights=weights if pretrained else None)
    training: dict[str, Any] = {"architecture": architecture}
    training |= {"weights": weights.name} if pretrained else {"seed": seed}
    card = ModelCard(name, head="Trained", training=training, source=spec)
    prepare = stacked(weights.transforms())
    names = weights.meta.get("categories") if pretrained else None
    return LoadedModel(Extraction(card, module, prepare=prepare), names and list(names))
