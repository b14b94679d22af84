"""Temperatures that make confidences mean what they say, and measures of how far they do."""

from ovcore.calibration._bins import (
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from ovcore.calibration._likelihood import brier_score, negative_log_likelihood
from ovcore.calibration._scaler import TemperatureScaler
from ovcore.calibration._temperature import TemperatureFit, fit_temperature

__all__ = [
    "ReliabilityCurve",
    "TemperatureFit",
    "TemperatureScaler",
    "brier_score",
    "expected_calibration_error",
    "fit_temperature",
    "negative_log_likelihood",
    "reliability_curve",
]
