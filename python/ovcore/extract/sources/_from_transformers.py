"""Classifiers of images and of texts, and models of both, of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ovcore.extract.encoders import features_of
from ovcore.extract.models import Extraction
from ovcore.extract.sources._loaded import LoadedModel, library
from ovcore.store import ModelCard


def load(name: str, *, pretrained: bool, seed: int) -> LoadedModel:
    """The model of a name on the hub or a folder, with its own processor or tokenizer."""
    spec = f"transformers:{name}"
    transformers = library("transformers", "transformers", spec)
    config = transformers.AutoConfig.from_pretrained(name)
    kind = _kind(config, spec)
    auto = getattr(transformers, f"AutoModelFor{kind}")
    module: Any = _weights(auto, name, spec) if pretrained else auto.from_config(config)
    module.float().eval()
    training: dict[str, Any] = {"architecture": config.architectures[0]}
    if not pretrained:
        training["seed"] = seed
    head = "Zero-shot" if kind == "ZeroShotImageClassification" else "Trained"
    card = ModelCard(name, head=head, training=training, source=spec)
    length = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    padding = "max_length" if "siglip" in config.model_type else True
    if kind == "SequenceClassification":
        tokenize = _tokenizer(transformers, name, padding, length)
        return LoadedModel(Extraction(card, module, prepare=_of_texts(tokenize)), _classes(config))
    prepare = _of_images(_found(transformers.AutoImageProcessor, name))
    extraction = Extraction(card, module, prepare=prepare)
    if kind == "ImageClassification":
        return LoadedModel(extraction, _classes(config))
    tokenize = _tokenizer(transformers, name, padding, length)
    if tokenize is None:
        return LoadedModel(extraction)
    return LoadedModel(
        extraction,
        encode_texts=_text_encoder(module, tokenize),
        scale=module.logit_scale.detach().exp(),
    )


def _kind(config: Any, spec: str) -> str:
    """What the model is for, as the names of transformers' classes say it."""
    architecture = (config.architectures or ["unknown"])[0]
    for kind in ("ImageClassification", "SequenceClassification"):
        if f"For{kind}" in architecture:
            return kind
    if hasattr(config, "text_config") and hasattr(config, "vision_config"):
        return "ZeroShotImageClassification"
    raise ValueError(
        f"{spec!r} is {architecture}, not a classifier or a model of images and texts: "
        "a torch: factory can return any module, and a probe can read its features"
    )


def _weights(auto: Any, name: str, spec: str) -> nn.Module:
    module, report = auto.from_pretrained(name, output_loading_info=True)
    missing = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if missing:
        raise ValueError(
            f"{spec!r} has no weights for {', '.join(missing[:5])}: its outputs would be random"
        )
    return module


def _found(auto: Any, name: str) -> Any:
    """A processor or tokenizer; None where the model has none, or a library for it is missing."""
    try:
        return auto.from_pretrained(name)
    except (OSError, ImportError, ValueError, KeyError):
        return None


def _tokenizer(
    transformers: Any, name: str, padding: bool | str, length: int | None
) -> Callable[[list[str]], dict[str, Tensor]] | None:
    tokenizer = _found(transformers.AutoTokenizer, name)
    if tokenizer is None:
        return None

    def tokenize(texts: list[str]) -> dict[str, Tensor]:
        return dict(
            tokenizer(
                texts, padding=padding, truncation=True, max_length=length, return_tensors="pt"
            )
        )

    return tokenize


def _text_encoder(
    module: Any, tokenize: Callable[[list[str]], dict[str, Tensor]]
) -> Callable[[list[str]], Tensor]:
    def encode(texts: list[str]) -> Tensor:
        home = next(module.parameters()).device
        inputs = {key: tensor.to(home) for key, tensor in tokenize(texts).items()}
        with torch.no_grad():
            return features_of(module.get_text_features(**inputs))

    return encode


def _of_texts(
    tokenize: Callable[[list[str]], dict[str, Tensor]] | None,
) -> Callable[[Any], Any] | None:
    if tokenize is None:
        return None

    def prepare(inputs: Any) -> Any:
        is_text = isinstance(inputs, list | tuple) and isinstance(inputs[0], str)
        return tokenize(list(inputs)) if is_text else inputs

    return prepare


def _of_images(processor: Any) -> Callable[[Any], Any] | None:
    """Lists of images are processed; tensors pass as they are."""
    if processor is None:
        return None

    def prepare(inputs: Any) -> Any:
        if not isinstance(inputs, list) or isinstance(inputs[0], Tensor):
            return inputs
        return dict(processor(images=inputs, return_tensors="pt"))

    return prepare


def _classes(config: Any) -> list[str] | None:
    """Names of the model's classes, unless they are placeholders."""
    names = [str(config.id2label[k]) for k in range(config.num_labels)]
    return None if names == [f"LABEL_{k}" for k in range(len(names))] else names
