"""Temperatures that make confidences mean what they say, and measures of how far they do."""

from ovcore.calibration._temperature import TemperatureFit, fit_temperature

__all__ = ["TemperatureFit", "fit_temperature"]
