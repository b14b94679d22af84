"""From torch models to stored outputs."""

from __future__ import annotations

from ovcore.extract.hooks import extract_outputs

__all__ = ["extract_outputs"]
