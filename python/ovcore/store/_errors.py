"""What is wrong with a store, by name of the file, and what to do about it."""

from __future__ import annotations

__all__ = ["StoreError"]


class StoreError(ValueError):
    """A store is damaged, foreign, of another version, or in use by another writer."""
