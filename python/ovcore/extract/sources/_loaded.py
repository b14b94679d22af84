"""What a source gives, and what sources share."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ovcore.extract.heads import ZeroShot, class_features
from ovcore.extract.models import Extraction


@dataclass(frozen=True)
class LoadedModel:
    """A model as its library loads it.

    Attributes:
        extraction: the model, its card and its own preprocessing; without a head.
        class_names: of its own outputs, where the library tells.
        encode_texts: text features (n, D) of n prompts, for a model of images and texts.
        scale: of its zero-shot logits.
    """

    extraction: Extraction
    class_names: list[str] | None = None
    encode_texts: Callable[[list[str]], Tensor] | None = None
    scale: Tensor | None = None

    def zero_shot(
        self, class_names: Sequence[str], templates: Sequence[str] = ("a photo of a {}.",)
    ) -> ZeroShot:
        """A head of the model's own text features.

        Raises:
            ValueError: the model has no text encoder.
        """
        if self.encode_texts is None or self.scale is None:
            raise ValueError(
                f"{self.extraction.card.source!r} has no text encoder: it cannot be zero-shot"
            )
        features = class_features(self.encode_texts, class_names, templates)
        return ZeroShot(features, self.scale, class_names=class_names, templates=templates)


def library(name: str, package: str, spec: str) -> Any:
    """A library that a source needs.

    Raises:
        ImportError: it is not installed, with the name of its package.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{spec} needs {name}, which does not import ({error}): pip install {package}",
            name=name,
        ) from error


def stacked(transform: Callable[[Any], Tensor]) -> Callable[[Any], Any]:
    """Preprocessing of a list of images from that of one; tensors pass as they are."""

    def prepare(inputs: Any) -> Any:
        if not isinstance(inputs, list) or isinstance(inputs[0], Tensor):
            return inputs
        return torch.stack([transform(image) for image in inputs])

    return prepare
