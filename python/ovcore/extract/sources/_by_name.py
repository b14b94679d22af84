"""The source that a name's prefix says."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ovcore.extract.sources import (
    _from_factories,
    _from_open_clip,
    _from_timm,
    _from_torchvision,
    _from_transformers,
)
from ovcore.extract.sources._loaded import LoadedModel

_SOURCES: dict[str, Callable[..., LoadedModel]] = {
    "torch": _from_factories.load,
    "timm": _from_timm.load,
    "transformers": _from_transformers.load,
    "open_clip": _from_open_clip.load,
    "torchvision": _from_torchvision.load,
}


def load_model(spec: str, *, pretrained: bool = True, seed: int = 0) -> LoadedModel:
    """Loads a model by name, with its preprocessing and a card that says where it is from.

    ============================================  ==============================================
    ``torch:FILE.py:FACTORY``                     what a function of a file returns: a module or
    ``torch:PACKAGE.MODULE:FACTORY``              an Extraction; or of a module
    ``timm:NAME``                                 ``timm.create_model``
    ``transformers:NAME``, ``transformers:DIR``   a classifier of images or texts, or CLIP
    ``open_clip:ARCH/PRETRAINED``                 ``open_clip.create_model_and_transforms``
    ``torchvision:NAME``, ``torchvision:NAME/W``  ``torchvision.models.get_model``, weights W
    ============================================  ==============================================

    Args:
        spec: the name.
        pretrained: load its weights, from where its library keeps them; otherwise they are random.
            A factory decides for itself.
        seed: of what is random; torch's own generator is left as it was.

    Raises:
        ImportError: the library is missing; names the package to install.
        ValueError: an unknown prefix, a name that its library does not know, or weights that lack
            a part of the model.
    """
    prefix, colon, name = spec.partition(":")
    if prefix not in _SOURCES or not colon or not name:
        known = ", ".join(f"{known}:" for known in _SOURCES)
        raise ValueError(f"a model's name must begin with one of {known}: got {spec!r}")
    with torch.random.fork_rng(devices=[]):  # libraries make weights on the CPU
        torch.default_generator.manual_seed(seed)
        return _SOURCES[prefix](name, pretrained=pretrained, seed=seed)
