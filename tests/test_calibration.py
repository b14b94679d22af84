"""Temperatures against a bisection that shares no code with them."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize("at_once", [True, False])
def test_where_there_is_no_optimum_the_bound_is_returned_and_said(
    at_once: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    target = np.array([0, 1, 1])
    separable = np.eye(2)[target]
    hopeless = np.eye(2)[1 - target]
    constant = np.ones((3, 2))
    models = [separable, hopeless, constant]
    found = [models] if at_once else [[model] for model in models]
    fits = [ov.calibration.fit_temperature(some, target) for some in found]
    statuses = [status for fit in fits for status in fit.status]
    assert statuses == ["at_bound", "at_bound", "no_signal"]
    temperatures = np.concatenate([fit.temperature for fit in fits])
    np.testing.assert_array_equal(temperatures, [1e-3, 1e3, 1e3])
    assert all(np.isfinite(fit.nll).all() for fit in fits)


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


def test_a_thousand_problems() -> None:
    """Cosines, confident, hopeless and separable models, few samples and more."""
    rng = np.random.default_rng(7)
    for trial in range(1000):
        n_classes, n_samples = int(rng.integers(2, 12)), int(rng.integers(2, 80))
        target = rng.integers(0, n_classes, n_samples)
        signal = rng.choice([-0.5, 0.0, 0.5, 3.0, 30.0]) * np.eye(n_classes)[target]
        scale = 10.0 ** rng.uniform(-2.5, 2)
        logits = ((rng.normal(size=(n_samples, n_classes)) + signal) * scale).astype(np.float32)
        fit = ov.calibration.fit_temperature([logits], target)
        expected, status = bounded(logits, target)
        assert fit.status == (status,), trial
        assert fit.temperature[0] == pytest.approx(expected, rel=1e-8), trial
        at_one = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(n_samples), target]
        assert fit.nll[0] <= at_one.mean() * (1 + 1e-12)  # never worse than not fitting


def bounded(logits: np.ndarray, target: np.ndarray) -> tuple[float, str]:
    """Bisection in the range, or the end of it that the slope points to."""
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    z_target = z[np.arange(len(z)), target]
    for temperature, sign in ((1e3, 1), (1e-3, -1)):
        slope = ((softmax(z / temperature, axis=1) * z).sum(axis=1) - z_target).mean()
        if slope * sign >= 0 and (sign < 0 or slope > 0):
            return temperature, "at_bound"
    return bisected(z, target), "converged"


def test_many_samples_take_three_passes_at_most(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start on one sample in 32 changes the cost, not the result."""
    from ovcore.calibration import _likelihood

    sizes: list[int] = []
    plain = _likelihood.mean_nll

    def counted(inputs: Any, temperature: Any, **options: Any) -> Any:
        sizes.append(len(range(0, inputs.n_samples, options.get("every", 1))))
        return plain(inputs, temperature, **options)

    monkeypatch.setattr(_likelihood, "mean_nll", counted)
    target = rng.integers(0, 10, 20_000)
    for scale in (0.01, 1.0, 30.0):
        noise = rng.normal(size=(3, 20_000, 10))
        logits = (noise + rng.uniform(0.5, 4, (3, 1, 1)) * np.eye(10)[target]) * scale
        sizes.clear()
        fit = ov.calibration.fit_temperature(logits, target)
        assert sizes.count(20_000) <= 3
        for m in range(3):
            assert fit.temperature[m] == pytest.approx(bisected(logits[m], target), rel=1e-9)


def test_a_sample_that_misleads_is_no_harm(rng: np.random.Generator) -> None:
    """One sample in 32, taken alone, is separable, hopeless or without signal; all are not."""
    for first in (3.0 * np.eye(4), -3.0 * np.eye(4), np.zeros((4, 4))):
        target = rng.integers(0, 4, 8000)
        logits = rng.normal(size=(8000, 4)) + np.eye(4)[target]
        logits[::32] = first[target[::32]]
        fit = ov.calibration.fit_temperature([logits], target)
        assert fit.status == ("converged",)
        assert fit.temperature[0] == pytest.approx(bisected(logits, target), rel=1e-9)


def test_bad_samples_are_counted_among_all() -> None:
    logits, target = np.zeros((2, 6000, 3)), np.zeros(6000, int)
    logits[1, [32, 33, 5000], 0] = np.nan
    with pytest.raises(ValueError, match=r"model 1 has 3 samples.* first at sample 32"):
        ov.calibration.fit_temperature(logits, target)


def test_methods_are_told_apart(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0)
    best = ov.calibration.fit_temperature([logits], target)
    tenths = ov.calibration.fit_temperature([logits], target, method="grid")
    assert abs(float(tenths.temperature[0] - best.temperature[0])) <= 0.1
    assert float(tenths.temperature[0] * 10).is_integer()
    assert tenths.nll[0] >= best.nll[0]
    sweep = ov.calibration.fit_temperature([logits], target, method="ece_sweep")
    errors = [
        ov.calibration.expected_calibration_error([logits], target, temperature=t, binning="sweep")
        for t in (sweep.temperature, best.temperature)
    ]
    assert errors[0] <= errors[1]
    with pytest.raises(ValueError, match="method must be one of nll, grid, ece_sweep: got 'ece'"):
        ov.calibration.fit_temperature([logits], target, method="ece")
    with pytest.raises(ValueError, match="grid is for method='grid'"):
        ov.calibration.fit_temperature([logits], target, grid=[1.0])


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


def test_a_grid_of_any_type_is_its_values(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0)
    grid = torch.tensor([0.5, 1.0, 2.0, 4.0])
    expected = ov.calibration.fit_temperature([logits], target, method="grid", grid=grid)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        fit = ov.calibration.fit_temperature([logits], target, method="grid", grid=grid.to(dtype))
        assert fit.temperature == expected.temperature
