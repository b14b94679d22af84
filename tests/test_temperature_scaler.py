"""Temperatures from a grid, and the scaler among scikit-learn's estimators."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from ovcore import _inputs
from ovcore.calibration import _likelihood
from ovcore.calibration._bins import expected_calibration_error
from ovcore.calibration._likelihood import negative_log_likelihood
from ovcore.calibration._scaler import TemperatureScaler
from ovcore.calibration._search import fit_on_grid
from ovcore.calibration._temperature import fit_temperature

Fit = tuple[np.ndarray, np.ndarray, tuple[str, ...]]


def problem(
    rng: np.random.Generator, scale: float = 1.0, n_samples: int = 300, n_classes: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of one model whose best temperature is near the scale."""
    target = rng.integers(0, n_classes, n_samples)
    signal = rng.uniform(0.5, 3) * np.eye(n_classes)[target]
    return scale * (rng.normal(size=(n_samples, n_classes)) + signal), target


def fit(logits: Any, target: np.ndarray, grid: Any, method: str) -> Fit:
    return fit_on_grid(_inputs.read_logits(logits, target), grid, method)


def test_grid_equals_trying_all(rng: np.random.Generator) -> None:
    for n_grid in (1, 2, 3, 7, 100):
        grid = rng.permutation(np.geomspace(0.05, 20, n_grid))
        models, target = [], rng.integers(0, 4, 200)
        for scale in (0.01, 0.3, 1, 1, 3, 100):
            noise = rng.normal(size=(200, 4))
            models.append(scale * (noise + rng.uniform(0.5, 3) * np.eye(4)[target]))
        temperature, nll, status = fit(models, target, grid, "grid")
        for m, z in enumerate(models):
            each = [
                -log_softmax(z / t, axis=1)[np.arange(200), target].mean() for t in np.sort(grid)
            ]
            best = int(np.argmin(each))
            assert temperature[m] == np.sort(grid)[best]
            assert nll[m] == pytest.approx(each[best], rel=1e-10)
            assert status[m] == ("at_bound" if best in (0, n_grid - 1) else "converged")


def test_default_grid_is_in_tenths(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0)
    temperature, _, status = fit([logits], target, None, "grid")
    assert status == ("converged",)
    assert temperature[0] in [t / 10 for t in range(1, 101)]
    assert temperature[0] == pytest.approx(
        fit_temperature([logits], target).temperature[0], abs=0.1
    )


def test_grid_of_many_takes_few_passes(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def counted(*arguments: Any, **options: Any) -> np.ndarray:
        passes.append(1)
        return mean_nll(*arguments, **options)

    mean_nll = _likelihood.mean_nll
    monkeypatch.setattr(_likelihood, "mean_nll", counted)
    logits, target = problem(rng)
    fit([logits, 5 * logits], target, np.geomspace(0.01, 100, 1000), "grid")
    assert len(passes) <= 15  # log2(1000), both ends, both neighbours and the one returned


@pytest.mark.parametrize("method", ["grid", "ece_sweep"])
def test_where_a_grid_has_no_best_the_status_says_so(method: str) -> None:
    target = np.array([0, 1, 1, 0])
    separable, hopeless = np.eye(2)[target], np.eye(2)[1 - target]
    constant = np.ones((4, 2))
    grid = [0.5, 1.0, 2.0]
    temperature, nll, status = fit([separable, hopeless, constant], target, grid, method)
    np.testing.assert_array_equal(temperature, [0.5, 2.0, 2.0])
    assert status == ("at_bound", "at_bound", "no_signal")
    assert nll[2] == pytest.approx(np.log(2))


@pytest.mark.parametrize("method", ["grid", "ece_sweep"])
def test_ties_go_to_the_lower_temperature(method: str) -> None:
    """All probabilities are 0 or 1 in floating point, so that any temperature is as good."""
    target = np.array([0, 1, 1])
    certain = 1e6 * np.eye(2)[target]
    temperature, nll, status = fit([certain], target, [4, 2, 1, 2], method)
    assert (temperature[0], nll[0], status) == (1, 0, ("at_bound",))


def test_equal_neighbours_of_the_optimum_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    def symmetric(_: Any, temperature: np.ndarray, **options: Any) -> np.ndarray:  # noqa: ARG001
        log_t = np.log(temperature)
        return np.stack([abs(log_t), -np.sign(log_t), np.ones_like(log_t)], axis=1)

    monkeypatch.setattr(_likelihood, "mean_nll", symmetric)
    temperature, _, status = fit([np.eye(2)], np.arange(2), [0.25, 0.5, 2, 4], "grid")
    assert (temperature[0], status) == (0.5, ("converged",))


def test_a_grid_around_the_optimum_takes_the_better_neighbour(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    best = fit_temperature([logits], target).temperature[0]
    for grid, expected in (([0.5, 0.98, 1.5, 2], 0.98), ([0.25, 0.5, 1.02, 2], 1.02)):
        temperature, _, status = fit([logits], target, best * np.array(grid), "grid")
        assert temperature[0] == best * expected
        assert status == ("converged",)


def test_sweep_search_equals_trying_all(rng: np.random.Generator) -> None:
    target = rng.integers(0, 4, 150)
    models = [s * (rng.normal(size=(150, 4)) + np.eye(4)[target]) for s in (0.5, 2, 30)]
    grid = np.geomspace(0.1, 40, 25)
    temperature, nll, status = fit(models, target, grid, "ece_sweep")
    each = [
        expected_calibration_error(models, target, temperature=t, binning="sweep") for t in grid
    ]
    best = np.argmin(each, axis=0)
    np.testing.assert_array_equal(temperature, grid[best])
    assert status == tuple("at_bound" if b in (0, 24) else "converged" for b in best)
    np.testing.assert_array_equal(
        nll, negative_log_likelihood(models, target, temperature=temperature)
    )


def test_default_sweep_grid_covers_cosines_and_is_refined(rng: np.random.Generator) -> None:
    target = rng.integers(0, 4, 400)
    models = [s * (rng.normal(size=(400, 4)) + 2 * np.eye(4)[target]) for s in (0.01, 1.0, 100.0)]
    temperature, _, status = fit(models, target, None, "ece_sweep")
    assert status == ("converged",) * 3
    of_nll = fit_temperature(models, target).temperature
    assert (abs(np.log(temperature / of_nll)) < np.log(2)).all()

    def errors(exponents: range) -> np.ndarray:
        return np.array([
            expected_calibration_error(models, target, temperature=10 ** (e / 100), binning="sweep")
            for e in exponents
        ])  # fmt: skip

    coarse = errors(range(-300, 301, 10)).argmin(axis=0) * 10 - 300
    for m, centre in enumerate(coarse):
        around = range(centre - 9, centre + 10)
        best = around[int(errors(around)[:, m].argmin())]
        assert temperature[m] == pytest.approx(10 ** (best / 100), rel=1e-12)
    assert (np.log10(temperature) * 100 - coarse).round().any()


@pytest.mark.parametrize("method", ["grid", "ece_sweep"])
def test_bad_grids_and_samples_are_named(method: str) -> None:
    logits, target = np.zeros((2, 4, 3)), np.zeros(4, int)
    for bad in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="grid must hold positive and finite"):
            fit(logits, target, [1.0, bad], method)
    for shape in ((0,), (2, 2), ()):
        with pytest.raises(ValueError, match=r"grid must be \(G,\) temperatures"):
            fit(logits, target, np.ones(shape), method)
    with pytest.raises(TypeError, match="grid must be a sequence"):
        fit(logits, target, ["a"], method)
    for value, place in ((np.nan, 1), (np.inf, 1), (-np.inf, 0)):
        logits = np.zeros((2, 4, 3))
        logits[1, 2, place] = value
        with pytest.raises(ValueError, match="model 1 has 1 sample without a finite likelihood"):
            fit(logits, target, [1.0, 2.0], method)


def test_scaler_divides_by_the_fitted_temperature(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 3.0)
    labels = np.array(["d", "a", "c", "b"])[target]
    scaler = TemperatureScaler(classes=["d", "a", "c", "b"]).fit(logits, labels)
    expected = fit_temperature([logits], target)
    assert scaler.temperature_ == expected.temperature[0]
    assert scaler.nll_ == expected.nll[0]
    assert scaler.status_ == "converged"
    assert scaler.n_features_in_ == 4
    shares = scaler.predict_proba(logits)
    np.testing.assert_allclose(shares, softmax(logits / scaler.temperature_, axis=1), rtol=1e-12)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-14)
    right = np.array(["d", "a", "c", "b"])[logits.argmax(axis=1)]
    np.testing.assert_array_equal(scaler.predict(logits), right)


def test_columns_are_sorted_labels_unless_classes_are_given(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    labels = np.array(["a", "b", "c", "d"])[target]
    by_default = TemperatureScaler().fit(logits, list(labels))
    np.testing.assert_array_equal(by_default.classes_, ["a", "b", "c", "d"])
    assert by_default.temperature_ == fit_temperature([logits], target).temperature[0]
    absent = target < 3
    with pytest.raises(ValueError, match="y has 3 different labels, but logits has 4 columns"):
        TemperatureScaler().fit(logits[absent], target[absent])
    scaler = TemperatureScaler(classes=range(4)).fit(logits[absent], target[absent])
    assert scaler.predict_proba(logits).shape == (300, 4)
    with pytest.raises(ValueError, match=rf"y\[0\] is {target[0] + 7}, which is not among"):
        TemperatureScaler(classes=range(4)).fit(logits, target + 7)
    for classes in (["a", "b", "c"], ["a", "b", "c", "c"]):
        with pytest.raises(ValueError, match="classes must be 4 different labels"):
            TemperatureScaler(classes=classes).fit(logits, labels)


def test_scaler_takes_what_is_like_an_array(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0)
    plain = TemperatureScaler().fit(logits, target)
    for same in (np.asfortranarray(logits), logits.tolist(), logits[::-1][::-1]):
        assert TemperatureScaler().fit(same, target).temperature_ == plain.temperature_
    whole = logits.round().astype(int)
    as_floats = TemperatureScaler().fit(whole.astype(float), target)
    assert TemperatureScaler().fit(whole, target).temperature_ == as_floats.temperature_
    tensor = torch.from_numpy(logits).bfloat16()
    scaler = TemperatureScaler().fit(tensor, torch.from_numpy(target))
    shares, predicted = scaler.predict_proba(tensor), scaler.predict(tensor)
    assert isinstance(shares, torch.Tensor)
    assert shares.dtype == torch.float64
    np.testing.assert_array_equal(predicted.numpy(), tensor.float().argmax(1).numpy())


@pytest.mark.parametrize("method", ["nll", "grid", "ece_sweep"])
def test_every_method_is_at_hand(method: str, rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0)
    scaler = TemperatureScaler(method=method).fit(logits, target)
    assert scaler.temperature_ == fit_temperature([logits], target, method=method).temperature[0]


def test_scikit_learn_clones_and_tells_what_it_is(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    scaler = TemperatureScaler(method="grid", classes=[0, 1, 2, 3])
    with pytest.raises(NotFittedError):
        check_is_fitted(scaler)
    fitted = scaler.fit(logits, target)
    assert fitted is scaler
    check_is_fitted(scaler)
    copy = clone(scaler)
    assert copy.get_params() == {"method": "grid", "classes": [0, 1, 2, 3]}
    assert not hasattr(copy, "temperature_")
    assert is_classifier(copy)
    assert copy.set_params(method="nll") is copy
    assert repr(copy) == "TemperatureScaler(classes=[0, 1, 2, 3])"
    with pytest.raises(ValueError, match="params must be among method, classes: got 'other'"):
        copy.set_params(other=1)


def test_scaler_ends_pipelines(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 2.0)
    labels = np.array(["a", "b", "c", "d"])[target]
    to_logits = FunctionTransformer(np.log)
    pipeline = make_pipeline(to_logits, TemperatureScaler())
    probability = softmax(logits, axis=1)
    shares = pipeline.fit(probability, labels).predict_proba(probability)
    temperature = pipeline[-1].temperature_
    assert temperature == pytest.approx(fit_temperature([logits], target).temperature[0], rel=1e-6)
    np.testing.assert_allclose(shares, softmax(logits / temperature, axis=1), rtol=1e-6)
    folds = cross_val_predict(pipeline, probability, labels, method="predict_proba", cv=3)
    assert folds.shape == (300, 4)
    scores = cross_val_score(pipeline, probability, labels, scoring="neg_log_loss", cv=3)
    assert (scores > -1.4).all()


def test_scaler_calibrates_another_estimator(rng: np.random.Generator) -> None:
    features = rng.normal(size=(600, 20))
    labels = np.array(["x", "y", "z"])[(features[:, :3] + rng.normal(size=(600, 3))).argmax(axis=1)]
    model = LogisticRegression(C=1e4).fit(features[:60], labels[:60])
    scaler = TemperatureScaler(classes=model.classes_)
    scaler.fit(model.decision_function(features[60:]), labels[60:])
    assert scaler.temperature_ > 1.5  # few samples, hardly regularised: far too sure
    np.testing.assert_array_equal(
        scaler.predict(model.decision_function(features)), model.predict(features)
    )


def test_bad_input_of_the_scaler_is_named(rng: np.random.Generator) -> None:
    logits, target = problem(rng)
    for call in (TemperatureScaler().predict, TemperatureScaler().predict_proba):
        with pytest.raises(NotFittedError, match="not fitted yet: call fit"):
            call(logits)
    scaler = TemperatureScaler().fit(logits, target)
    for call in (scaler.predict, scaler.predict_proba):
        with pytest.raises(ValueError, match="logits has 3 columns, .* fitted on 4"):
            call(logits[:, :3])
        nan = logits.copy()
        nan[5, 1] = np.nan
        with pytest.raises(ValueError, match=r"1 sample without a prediction .* sample 5"):
            call(nan)
    with pytest.raises(ValueError, match=r"logits must be \(N, K\)"):
        scaler.fit(logits[None], target)
    with pytest.raises(ValueError, match=r"logits must be \(N, K\) with at least two classes"):
        scaler.fit(logits[:, :1], target)
    with pytest.raises(TypeError, match="logits must be numbers, got"):
        scaler.fit(logits.astype(str), target)
    with pytest.raises(ValueError, match="300 samples but target has 299"):
        scaler.fit(logits, target[1:])
    with pytest.raises(ValueError, match="y must be one axis of labels"):
        scaler.fit(logits, target[:, None])


def test_without_scikit_learn_the_error_is_of_the_same_kinds() -> None:
    code = """
import sys
sys.modules["sklearn"] = None
import numpy as np
from ovcore.calibration._scaler import TemperatureScaler
for kind in (ValueError, AttributeError):
    try:
        TemperatureScaler().predict(np.zeros((2, 2)))
    except kind as error:
        print(error)
scaler = TemperatureScaler().fit(np.eye(2), [0, 1])
print(scaler.predict(np.eye(2)))
"""
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    said = "this TemperatureScaler is not fitted yet: call fit first\n"
    assert outcome.stdout == 2 * said + "[0 1]\n", outcome.stderr
