"""Temperatures that make confidences mean what they say, and measures of how far they do."""

from ovcore.calibration._bins import (
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from ovcore.calibration._likelihood import (
    add_nll_sums,
    brier_score,
    negative_log_likelihood,
    nll_sums,
)
from ovcore.calibration._scaler import TemperatureScaler
from ovcore.calibration._temperature import (
    TemperatureFit,
    fit_from_nll_sums,
    fit_temperature,
)

__all__ = [
    "ReliabilityCurve",
    "TemperatureFit",
    "TemperatureScaler",
    "add_nll_sums",
    "brier_score",
    "expected_calibration_error",
    "fit_from_nll_sums",
    "fit_temperature",
    "negative_log_likelihood",
    "nll_sums",
    "reliability_curve",
]
