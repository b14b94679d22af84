"""Linear probes against scikit-learn's logistic regression, and their face towards it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from ovcore.representations import LinearProbe, ProbeWarning, _design
from plain_probes import objective, problem, scikit_learn

DTYPES = ["float64", "float32", "float16", "bfloat16"]


def agrees(
    probe: LinearProbe, features: Any, target: np.ndarray, loss: float = 1e-8, weights: float = 1e-4
) -> None:
    """Loss and coefficients are scikit-learn's, within relative tolerances."""
    x = np.asarray(features, np.float64)
    mean, deviation = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if probe.standardize:
        mean, deviation = x.mean(0), np.where(np.ptp(x, axis=0) > 0, x.std(0), 1)
    z = (x - mean) / deviation
    own = probe.coef_ * deviation, probe.intercept_ + probe.coef_ @ mean
    expected = scikit_learn(z, target, probe.C)
    lowest = objective(z, target, *expected, probe.C)
    assert objective(z, target, *own, probe.C) == pytest.approx(lowest, rel=loss)
    assert probe.loss_ * len(z) == pytest.approx(lowest, rel=10 * loss)
    largest = max(abs(values).max() for values in expected)
    for ours, theirs in zip(own, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=weights * largest)


@pytest.mark.parametrize("standardize", [True, False], ids=["standardized", "as given"])
@pytest.mark.parametrize("C", [1e-3, 1.0, 98.0])  # 98 is not 1 / (1 / 98)
@pytest.mark.parametrize("n_classes", [2, 3, 10])
def test_loss_and_coefficients_are_those_of_scikit_learn(
    n_classes: int, C: float, standardize: bool, rng: np.random.Generator
) -> None:
    features, target = problem(rng, 600, 12, n_classes)
    probe = LinearProbe(C=C, standardize=standardize).fit(features, target)
    agrees(probe, features, target)
    assert probe.n_iter_ < 60
    rows = len(probe.classes_) if n_classes > 2 else 1
    assert (probe.coef_.shape, probe.intercept_.shape) == ((rows, 12), (rows,))
    assert (probe.status_, probe.C_, probe.n_features_in_) == ("converged", C, 12)


@pytest.mark.parametrize("few", [True, False], ids=["in float64", "in float32"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_element_types(
    dtype: str, few: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng, 2000, 8, 3)
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    given = features.astype(kind)
    monkeypatch.setattr(_design, "_SMALL", given.size - (not few))
    probe = LinearProbe().fit(given, target)
    exact = few or dtype == "float64"
    assert probe._probe.weights[0].dtype == torch.float64
    assert probe.predict_logits(given).dtype == (np.float64 if exact else np.float32)
    agrees(probe, given.astype(np.float64), target, *((1e-8, 1e-4) if exact else (3e-8, 5e-4)))
    tensor = torch.from_numpy(given.astype(np.float64)).to(getattr(torch, dtype))
    of_torch = LinearProbe().fit(tensor, torch.from_numpy(target))
    assert of_torch.loss_ == pytest.approx(probe.loss_, rel=1e-12 if exact else 1e-7)
    assert isinstance(of_torch.predict(tensor), torch.Tensor)


def test_many_numbers_far_from_zero_in_float32(rng: np.random.Generator) -> None:
    features, target = problem(rng, 140_000, 30, 3, mean=100)
    features = features.astype(np.float32)
    assert features.size > _design._SMALL
    agrees(LinearProbe().fit(features, target), features, target)


def test_models_side_by_side_and_memory_maps(rng: np.random.Generator, tmp_path: Path) -> None:
    features, target = problem(rng)
    whole = LinearProbe().fit(features, target)
    parts = [features[:, :3].astype(np.float32), np.asfortranarray(features[:, 3:])]
    exact = np.hstack([parts[0].astype(np.float64), parts[1]])
    beside = LinearProbe().fit(parts, target)
    np.testing.assert_array_equal(beside.coef_, LinearProbe().fit(exact, target).coef_)
    np.testing.assert_array_equal(beside.predict(exact), beside.predict(parts))
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    np.testing.assert_array_equal(LinearProbe().fit(mapped, target).coef_, whole.coef_)


def test_constant_dimensions_get_no_weight(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    features[:, [2, 5]] = 0.1, 50
    for standardize in (True, False):
        probe = LinearProbe(standardize=standardize).fit(features, target)
        assert (probe.coef_[:, [2, 5]] == 0).all()
        agrees(probe, features, target)
    alone = LinearProbe().fit(features[:, [2]], target)
    shares = np.bincount(target) / len(target)
    np.testing.assert_allclose(softmax(alone.intercept_), shares, atol=1e-5)


@pytest.mark.parametrize("C", [1e-6, 1.0])
def test_more_dimensions_than_samples(C: float, rng: np.random.Generator) -> None:
    features, target = problem(rng, 40, 200)
    agrees(LinearProbe(C=C, tol=1e-8).fit(features, target), features, target)


def test_equal_dimensions_share_the_weight(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    twice = LinearProbe(C=1e6).fit(np.hstack([features, features]), target)
    assert twice.status_ == "converged"
    np.testing.assert_allclose(twice.coef_[:, :8], twice.coef_[:, 8:], rtol=1e-6)
    once = LinearProbe(C=2e6).fit(features, target)
    assert twice.loss_ == pytest.approx(once.loss_, rel=1e-8)


@pytest.mark.parametrize("C", [1e-6, 1.0, 1e6])
def test_awkward_sizes(C: float, rng: np.random.Generator) -> None:
    two = LinearProbe(C=C).fit([[1.0], [3.0]], ["a", "b"])
    assert two.predict([[0.0], [5.0]]).tolist() == ["a", "b"]
    assert two.predict_proba([[2.0]])[0] == pytest.approx([0.5, 0.5], abs=1e-6)
    features, target = problem(rng, 60, 3)
    target[7] = 9  # a class of one sample
    agrees(LinearProbe(C=min(C, 10)).fit(features, target), features, np.minimum(target, 3))
    many = LinearProbe(C=C).fit(rng.normal(size=(500, 20)), np.arange(500) % 400)
    assert many.coef_.shape == (400, 20)
    assert np.isfinite(many.coef_).all()


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.array(["owl", "cat", "a longer one"]), id="strings"),
        pytest.param(np.array([-5, 7, 3], np.int16), id="integers"),
        pytest.param(np.array([0.5, -2.0, 9.0]), id="floats"),
        pytest.param(np.array([True, False]), id="bools"),
        pytest.param(np.array(["b", "a"], object), id="objects"),
        pytest.param(np.array(["2020-01", "1999-12"], "datetime64[M]"), id="dates"),
    ],
)
def test_labels_of_any_kind(labels: np.ndarray, rng: np.random.Generator) -> None:
    features, target = problem(rng, n_classes=len(labels))
    probe = LinearProbe().fit(features, labels[target])
    np.testing.assert_array_equal(probe.classes_, np.sort(labels))
    position = np.argsort(np.argsort(labels))[target]
    plain = LinearProbe().fit(features, position)
    np.testing.assert_array_equal(probe.coef_, plain.coef_)
    predicted = probe.predict(features)
    assert predicted.dtype == labels.dtype
    np.testing.assert_array_equal(predicted, np.sort(labels)[plain.predict(features)])
    assert probe.score(features, labels[target].tolist()) == (predicted == labels[target]).mean()


@pytest.mark.parametrize("n_classes", [2, 4])
def test_predictions_in_the_callers_library(n_classes: int, rng: np.random.Generator) -> None:
    features, target = problem(rng, n_classes=n_classes)
    probe = LinearProbe().fit(features, target)
    own = features @ probe.coef_.T + probe.intercept_
    if n_classes == 2:
        own = own * [-0.5, 0.5]
    logits = probe.predict_logits(features)
    np.testing.assert_allclose(logits, own, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(probe.predict_proba(features), softmax(own, axis=1), rtol=1e-10)
    np.testing.assert_array_equal(probe.predict(features), own.argmax(1))
    tensor = torch.from_numpy(features)
    for method in (probe.predict_logits, probe.predict_proba, probe.predict):
        assert isinstance(method(tensor), torch.Tensor)
        # products of another library may be rounded differently
        np.testing.assert_allclose(method(tensor).numpy(), method(features), rtol=1e-12, atol=1e-13)
    assert probe.score(tensor, torch.from_numpy(target)) == probe.score(features, target)
    named = LinearProbe().fit(tensor, np.array(list("abcd"))[target])
    assert isinstance(named.predict(tensor), np.ndarray)


def test_a_label_that_was_not_fitted_is_missed(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    probe = LinearProbe().fit(features, target)
    right = probe.predict(features).copy()
    right[:30] = [-1, 3, 99] * 10
    assert probe.score(features, right) == 0.9
    assert probe.score(features, right.astype(str)) == 0


def test_scikit_learn_knows_it(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    probe = LinearProbe(C=np.float32(0.5), max_iter=np.int64(200))  # as its searches pass them
    assert is_classifier(probe)
    assert repr(LinearProbe(protocol="clip", C=2.0)) == "LinearProbe(C=2.0, protocol='clip')"
    with pytest.raises(NotFittedError):
        check_is_fitted(probe)
    for method in (probe.predict, probe.predict_proba, probe.predict_logits):
        with pytest.raises(NotFittedError, match="this LinearProbe is not fitted yet"):
            method(features)
    copied = clone(probe)
    assert copied.get_params() == probe.get_params()
    assert copied.set_params(C=3).C == 3
    with pytest.raises(ValueError, match="params must be among C, protocol, .*: got 'c'"):
        copied.set_params(c=3)
    check_is_fitted(probe.fit(features, target))
    steps = make_pipeline(FunctionTransformer(lambda x: x[:, ::-1]), LinearProbe())
    assert cross_val_score(steps, features, target, cv=3).min() > 0.4
    found = GridSearchCV(LinearProbe(), {"C": np.array([1, 10])}, cv=2).fit(features, target)
    assert found.best_params_["C"] in (1, 10)
    for again in (pickle.loads(pickle.dumps(probe)), copy.deepcopy(probe)):
        np.testing.assert_array_equal(
            again.predict_logits(features), probe.predict_logits(features)
        )


def test_warm_start_goes_on_from_the_last_weights(rng: np.random.Generator) -> None:
    features, target = problem(rng, 500, 20, 5)
    probe = LinearProbe(C=0.1, warm_start=True).fit(features, target)
    assert probe.fit(features, target).n_iter_ == 1
    cold = LinearProbe(C=0.12).fit(features, target)
    warm = probe.set_params(C=0.12).fit(features, target)
    assert warm.n_iter_ < cold.n_iter_
    assert warm.loss_ == pytest.approx(cold.loss_, rel=1e-9)
    np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-4)
    with pytest.raises(ValueError, match=r"warm_start needs .* of the last fit: 20 and \[0, 1, 2"):
        probe.fit(features[:, 1:], target)


def test_a_search_that_is_cut_short_says_so(rng: np.random.Generator) -> None:
    features, target = problem(rng, 500, 20, 5)
    with pytest.warns(ProbeWarning, match="a probe had not converged after max_iter = 3") as warned:
        short = LinearProbe(max_iter=3).fit(features, target)
    assert warned[0].filename == __file__
    assert (short.status_, short.n_iter_) == ("max_iter", 3)
    coarse, fine = (LinearProbe(tol=tol).fit(features, target) for tol in (1e-3, 1e-10))
    assert fine.loss_ <= coarse.loss_ < short.loss_
    assert coarse.n_iter_ < fine.n_iter_
    assert coarse.status_ == "converged"
    best = LinearProbe(tol=1e-300).fit(features, target)
    assert best.status_ == "at_precision"
    assert best.loss_ == pytest.approx(fine.loss_, rel=1e-12)


def errors_of(fit: Any) -> str:
    with pytest.raises((ValueError, TypeError)) as raised:
        fit()
    return str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"C": 0}, "C must be a positive finite number, got 0"),
        ({"C": np.inf}, "C must be a positive finite number, got inf"),
        ({"C": np.nan}, "C must be a positive finite number, got nan"),
        ({"C": True}, "C must be a positive finite number, got True"),
        ({"C": "1"}, "C must be a positive finite number, got '1'"),
        ({"tol": 0}, "tol must be between 0 and 1, got 0"),
        ({"max_iter": 0}, "max_iter must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(
    settings: dict[str, Any], message: str, rng: np.random.Generator
) -> None:
    probe = LinearProbe(**settings)  # as scikit-learn asks, the constructor keeps what it is given
    assert message in errors_of(lambda: probe.fit(*problem(rng)))
    assert not hasattr(probe, "coef_")


def test_data_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    probe = LinearProbe()
    for given, labels, message in [
        (features, target[1:], "X has 300 samples but y has 299"),
        (features, target[:, None], "y must be one axis of labels, got shape (300, 1)"),
        (features, np.zeros(300), "y must have at least two classes, got [0.0]"),
        (features, np.where(target == 1, np.nan, 1.0), "y has NaN in "),
        (features[0], target, "X must be (N, D) with at least one sample and one dimension"),
        (features[:, :0], target, "X must be (N, D) with at least one sample and one dimension"),
        (target[:, None], target, "X must be float16, bfloat16, float32, float64, got int64"),
        ([features, features[1:]], target, "X[1] has 299 samples but X[0] has 300"),
        ([features, torch.zeros(300, 2)], target, "X[1] is of torch but X[0] of numpy"),
    ]:
        assert message in errors_of(lambda g=given, y=labels: probe.fit(g, y))
    probe.fit(features, target)
    message = "X has 7 dimensions, but this LinearProbe was fitted on 8"
    assert errors_of(lambda: probe.predict(features[:, 1:])) == message
    assert "y has 3" in errors_of(lambda: probe.score(features, target[:3]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad: float, rng: np.random.Generator) -> None:
    features, target = problem(rng)
    probe = LinearProbe().fit(features, target)
    features[17, 3] = bad
    message = "NaN or infinite values in 1 of 8 dimensions, first in dimension 3"
    for call in (probe.predict, probe.predict_logits, probe.predict_proba):
        assert message in errors_of(lambda call=call: call(features))
    assert message in errors_of(lambda: probe.score(features, target))
    assert message in errors_of(lambda: LinearProbe().fit(features, target))
