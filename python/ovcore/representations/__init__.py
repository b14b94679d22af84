"""What models' features share, and what one adds to another."""

from ovcore.representations._cka import cka
from ovcore.representations._curves import DimensionCurves, dims_to_target
from ovcore.representations._mixing import mix_features, mixed_dimensions
from ovcore.representations._moments import Moments, covariance
from ovcore.representations._multilabel import MultilabelProbe
from ovcore.representations._precision import (
    MeanAveragePrecision,
    average_precision_11pt,
    average_precision_area,
    mean_average_precision,
)
from ovcore.representations._probe import LinearProbe
from ovcore.representations._probes import LinearProbes
from ovcore.representations._ranking import FeatureRanking, rank_features
from ovcore.representations._rules import ProbeWarning
from ovcore.representations._stacking import StackedGeneralization, stacked_generalization

__all__ = [
    "DimensionCurves",
    "FeatureRanking",
    "LinearProbe",
    "LinearProbes",
    "MeanAveragePrecision",
    "Moments",
    "MultilabelProbe",
    "ProbeWarning",
    "StackedGeneralization",
    "average_precision_11pt",
    "average_precision_area",
    "cka",
    "covariance",
    "dims_to_target",
    "mean_average_precision",
    "mix_features",
    "mixed_dimensions",
    "rank_features",
    "stacked_generalization",
]
