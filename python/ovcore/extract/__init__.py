"""From torch models to stored outputs.

:func:`extract_to_store` runs models over one pass of a loader and writes a store; an
:class:`Extraction` is a module with its card, the layer of its features and its prediction head.
:func:`load_model` and :func:`load_data` load both by name.
"""

from __future__ import annotations

from ovcore.extract.class_maps import read_class_map
from ovcore.extract.data import ImageFolder, LoadedData, load_data
from ovcore.extract.extraction import extract_to_store
from ovcore.extract.heads import ClassMapped, Head, Probe, ZeroShot, class_features
from ovcore.extract.hooks import extract_outputs
from ovcore.extract.models import Extraction
from ovcore.extract.probes import fit_probe
from ovcore.extract.sources import LoadedModel, load_model

__all__ = [
    "ClassMapped",
    "Extraction",
    "Head",
    "ImageFolder",
    "LoadedData",
    "LoadedModel",
    "Probe",
    "ZeroShot",
    "class_features",
    "extract_outputs",
    "extract_to_store",
    "fit_probe",
    "load_data",
    "load_model",
    "read_class_map",
]
