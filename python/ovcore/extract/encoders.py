"""The image encoder of a model of images and texts, as a module of its own."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

_METHODS = ("get_image_features", "encode_image")  # transformers, open_clip


class ImageEncoder(nn.Module):
    """Calls the method of a model that gives image features (n, D)."""

    def __init__(self, model: nn.Module, method: str) -> None:
        super().__init__()
        self.model = model
        self.method = method
        self.training = model.training

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Image features (n, D)."""
        return features_of(getattr(self.model, self.method)(*args, **kwargs))


def features_of(output: Any) -> Tensor:
    """The tensor itself, or the projected features of a structured output."""
    features = getattr(output, "pooler_output", output)
    if not isinstance(features, Tensor):
        raise TypeError(f"an encoder must give a tensor of features, got {type(output).__name__}")
    return features


def image_encoder(model: nn.Module) -> nn.Module:
    """The model's image encoder; the model itself where it has none: it gives the features."""
    for method in _METHODS:
        if callable(getattr(model, method, None)):
            return ImageEncoder(model, method)
    return model
