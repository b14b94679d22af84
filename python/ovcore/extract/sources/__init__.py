"""Models by name: ``torch:``, ``timm:``, ``transformers:``, ``open_clip:`` and ``torchvision:``."""

from __future__ import annotations

from ovcore.extract.sources._by_name import load_model
from ovcore.extract.sources._loaded import LoadedModel

__all__ = ["LoadedModel", "load_model"]
