"""Temperatures against a bisection that shares no code with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

import ovcore as ov


def bisected(logits: np.ndarray, target: np.ndarray) -> float:
    """Root of the slope of the mean NLL in beta, in float64."""
    z = logits.astype(np.float64)
    z_target = z[np.arange(len(z)), target]

    def slope(log_beta: float) -> float:
        p = softmax(np.exp(log_beta) * z, axis=1)
        return float(((p * z).sum(axis=1) - z_target).mean())

    root: float = brentq(slope, -np.log(1e3), np.log(1e3), xtol=1e-14, rtol=1e-14)
    return float(np.exp(-root))


def problem(
    rng: np.random.Generator, scale: float, dtype: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    n_classes = int(rng.integers(2, 30))
    target = rng.integers(0, n_classes, 400)
    signal = rng.uniform(0.5, 3) * np.eye(n_classes)[target]
    return ((rng.normal(size=(400, n_classes)) + signal) * scale).astype(dtype), target


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.0, 10.0])
def test_temperature_equals_bisection(scale: float, rng: np.random.Generator) -> None:
    """Scales of 0.01 are those of zero-shot cosines, whose temperature is near 0.01."""
    for _ in range(25):
        logits, target = problem(rng, scale)
        fit = ov.calibration.fit_temperature(logits[None], target)
        assert fit.status == ("converged",)
        assert fit.temperature[0] == pytest.approx(bisected(logits, target), rel=1e-9)
        nll = -log_softmax(logits.astype(np.float64) / fit.temperature[0], axis=1)
        assert fit.nll[0] == pytest.approx(nll[np.arange(len(nll)), target].mean(), rel=1e-10)


def test_the_fit_is_a_minimum(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 5.0)
    fit = ov.calibration.fit_temperature([logits], target)
    for factor in (0.99, 1.01):
        z = logits.astype(np.float64) / (fit.temperature[0] * factor)
        assert -log_softmax(z, axis=1)[np.arange(len(z)), target].mean() > fit.nll[0]


def test_scaling_logits_scales_temperature(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 1.0, "float64")
    fit = ov.calibration.fit_temperature([logits, 8 * logits, logits + 100], target)
    np.testing.assert_allclose(fit.temperature[1:] / fit.temperature[0], [8, 1], rtol=1e-9)


def test_where_there_is_no_optimum_the_bound_is_returned_and_said() -> None:
    target = np.array([0, 1, 1])
    separable = np.eye(2)[target]
    hopeless = np.eye(2)[1 - target]
    constant = np.ones((3, 2))
    fit = ov.calibration.fit_temperature([separable, hopeless, constant], target)
    assert fit.status == ("at_bound", "at_bound", "no_signal")
    np.testing.assert_array_equal(fit.temperature, [1e-3, 1e3, 1e3])
    assert np.isfinite(fit.nll).all()


def test_separable_logits_of_any_scale_are_at_the_bound() -> None:
    target = np.array([0, 1, 1])
    for scale in (1e-2, 1.0, 1e6, 1e300):
        fit = ov.calibration.fit_temperature([scale * np.eye(2)[target]], target)
        assert (fit.status, fit.temperature[0]) == (("at_bound",), 1e-3)
        assert fit.nll[0] == pytest.approx(0, abs=1e-4)


def test_minus_infinity_outside_the_target_is_a_class_of_probability_zero(
    rng: np.random.Generator,
) -> None:
    logits, target = problem(rng, 2.0)
    padded = np.concatenate([logits, np.full((len(logits), 2), -np.inf, np.float32)], axis=1)
    plain, with_inf = (ov.calibration.fit_temperature([z], target) for z in (logits, padded))
    assert with_inf.temperature[0] == pytest.approx(plain.temperature[0], rel=1e-12)


def test_sixteen_bit_and_torch_logits(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0, "float16")
    fit = ov.calibration.fit_temperature(torch.from_numpy(logits)[None], torch.from_numpy(target))
    assert isinstance(fit.temperature, torch.Tensor)
    expected = bisected(logits, target)
    assert float(fit.temperature[0]) == pytest.approx(expected, rel=1e-9)
    rounded = torch.from_numpy(logits)[None].bfloat16()
    fit = ov.calibration.fit_temperature(rounded, target)
    assert float(fit.temperature[0]) == pytest.approx(
        bisected(rounded[0].float().numpy(), target), rel=1e-9
    )


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = problem(rng, 1.0)
    whole = ov.calibration.fit_temperature([logits], target)
    monkeypatch.setattr(ov.calibration, "_BLOCK_BYTES", 8 * logits.shape[1] * 7)
    blocked = ov.calibration.fit_temperature([logits], target)
    assert blocked.temperature[0] == pytest.approx(whole.temperature[0], rel=1e-11)


def test_bad_input_is_named() -> None:
    target = np.zeros(4, int)
    good = np.zeros((4, 3))
    with pytest.raises(ValueError, match="at least two classes"):
        ov.calibration.fit_temperature(np.zeros((1, 4, 1)), target)
    with pytest.raises(TypeError, match="logits must be .*got predicted classes"):
        ov.calibration.fit_temperature(np.zeros((2, 4), int), target)
    for bad, place in ((np.nan, 1), (np.inf, 1), (-np.inf, 0)):
        logits = good.copy()
        logits[2, place] = bad
        with pytest.raises(ValueError, match=r"model 1 has 1 sample.* first at sample 2"):
            ov.calibration.fit_temperature([good, logits], target)
