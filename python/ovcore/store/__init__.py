"""Stored outputs of many models on the same samples.

A store is a folder: ``manifest.json`` (labels, sample ids, class names, one card a model) and one
safetensors file a model with its logits (N, K), features (N, D), stored top-k outputs (N, k) or
predictions (N,), whichever are kept. Opening one reads the manifest alone.
"""

from __future__ import annotations

from ovcore.store._cards import CATEGORIES, ModelCard, categorize
from ovcore.store._errors import StoreError
from ovcore.store._merge import merge
from ovcore.store._reader import Store
from ovcore.store._verify import verify
from ovcore.store._writer import StoreWriter

__all__ = [
    "CATEGORIES",
    "ModelCard",
    "Store",
    "StoreError",
    "StoreWriter",
    "categorize",
    "merge",
    "verify",
]
