"""Every backend's kernels that combine models against the oracle, by equality."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

from on_gpu import kernels
from ovcore import _reference, _reference_scores
from ovcore._arrays import Typed, widen
from ovcore._candidates import Candidates, Scored, padded

DTYPES = ["float32", "float64", "float16", "bfloat16"]
CLASSES = [1, 2, 3, 7, 16, 17, 100, 1000]
SAMPLES = [1, 2, 31, 64, 127]
KINDS = ["plain", "integers", "flat", "forest", "subnormal", "wide", "outsiders"]


class Problem(NamedTuple):
    models: list[Typed]
    target: np.ndarray  # (N,)
    preds: np.ndarray  # (M, N)
    temperature: np.ndarray  # (M,)

    def scored(self, combine: str) -> Scored:
        return Scored(self.models, self.temperature, combine)


def typed(values: np.ndarray, dtype: str) -> Typed:
    """The values in that type; bfloat16 as its bits."""
    with np.errstate(over="ignore", under="ignore"):
        if dtype == "bfloat16":
            return Typed(values.astype(ml_dtypes.bfloat16).view(np.uint16), dtype)
        return Typed(values.astype(dtype), dtype)


def logits(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Logits of a kind; but for "plain" they tie, leave float32's range, or bound nothing."""
    if kind == "integers":
        return rng.integers(-2, 3, shape).astype(float)
    if kind == "flat":  # a row's classes score the same but for its highest
        return (rng.random(shape).argsort(axis=-1) == 0) * rng.choice([2.0**-20, 1.0])
    if kind == "forest":  # votes of three trees: probabilities of exactly 0 and 1
        votes = np.stack([rng.integers(0, shape[-1], shape[:-1]) for _ in range(3)], axis=-1)
        counts = (votes[..., None] == np.arange(shape[-1])).sum(axis=-2)
        with np.errstate(divide="ignore"):
            return np.log(counts / 3)
    if kind == "subnormal":
        return rng.normal(size=shape) * 2.0**-20 + rng.choice([0.0, 1e-42, -1e-42], shape)
    if kind == "wide":  # beyond float32 in float64, infinite in float16
        return rng.normal(size=shape) * 10 ** rng.uniform(-3, 39, shape)
    values = rng.normal(size=shape)
    if kind == "outsiders":  # classes that no model predicts win most ensembles
        values *= 0.01
        values[..., shape[-1] // 2] += 1.0
        top = rng.integers(0, shape[-1], shape[:-1])
        np.put_along_axis(values, top[..., None], 1.05, axis=-1)
    return values * 2


def problem(
    rng: np.random.Generator,
    n_models: int,
    n_samples: int,
    n_classes: int,
    *,
    dtype: str = "mixed",
    kind: str = "plain",
    temperature: float | None = None,
) -> Problem:
    """Rows without a prediction get one: kernels that combine models expect it."""
    values = logits(rng, kind, (n_models, n_samples, n_classes))
    values[(values == -np.inf).all(axis=2), 0] = 0.0
    dtypes = [DTYPES[m % len(DTYPES)] if dtype == "mixed" else dtype for m in range(n_models)]
    if kind == "wide":  # a row of -inf once it is rounded to a short type
        values[..., 0] = np.abs(values[..., 0])
    models = [typed(z, name) for z, name in zip(values, dtypes, strict=True)]
    preds = np.array([widen(model).argmax(axis=1) for model in models], np.int32)
    if temperature is None:
        temperatures = rng.uniform(0.3, 3, n_models)
    else:
        temperatures = np.full(n_models, temperature)
    return Problem(models, rng.integers(0, n_classes, n_samples), preds, temperatures)


def assert_same(result: Any, expected: Any) -> None:
    """The same numbers of the same type; which zero is the largest of 0 and -0 nobody says."""
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected, strict=True)


def check_candidates(backend: str, p: Problem, combine: str, workers: int = 2) -> Candidates:
    """Returns those of the samples on which models differ; those of all are checked, too."""

    def run(name: str, all_samples: bool) -> Candidates:
        kernel = kernels(name).candidate_scores
        return kernel(p.scored(combine), p.preds, p.target, all_samples, workers, None)

    for all_samples in (True, False):
        result, expected = run(backend, all_samples), run("reference", all_samples)
        for name in Candidates._fields[:-1]:
            assert_same(getattr(result, name), getattr(expected, name))
        assert result.n_classes == expected.n_classes
    return expected


def check_pairs(
    backend: str, scored: Scored | None, n_models: int, candidates: Candidates, workers: int = 2
) -> np.ndarray:
    """Returns how many sums were not settled at once, and how many needed a scan."""
    run = kernels(backend).pair_ensemble_hits
    counts, unsettled = run(scored, n_models, candidates, workers, None)
    expected, _ = _reference.pair_ensemble_hits(scored, n_models, candidates, 1, None)
    assert_same(counts, expected)
    assert (unsettled.dtype, unsettled.shape) == (np.int64, (2,))
    assert len(candidates.samples) * n_models * (n_models - 1) // 2 >= unsettled[0] >= unsettled[1]
    return unsettled


def check_joining(
    backend: str,
    scored: Scored | None,
    n_models: int,
    candidates: Candidates,
    rng: np.random.Generator,
    workers: int = 2,
) -> None:
    """Ensembles that grow from nothing, with a model that is there twice."""
    members = [*rng.permutation(n_models)[:3], 0]
    right = rng.random(len(candidates.samples)) < 0.5
    running = np.zeros(len(candidates.classes))
    outside = np.zeros(len(candidates.samples))
    for size in range(len(members) + 1):
        joined = np.array(members[:size], np.int64)
        arguments = (scored, n_models, candidates, joined, running, outside, right, workers)
        expected = _reference.candidate_hits(*arguments)
        assert_same(kernels(backend).candidate_hits(*arguments), expected)
        if size < len(members):
            running = running + candidates.scores[:, members[size]]
            outside = outside + candidates.outside[:, members[size]]


def check_sums(sums: np.ndarray, expected: np.ndarray) -> None:
    """NLL and derivatives of some hundred samples. A slope is a difference of what spreads more."""
    nll, slope, curvature = (np.stack(both) for both in zip(sums.T, expected.T, strict=True))
    np.testing.assert_allclose(*nll, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(*curvature, rtol=1e-9, atol=1e-200)  # E x^2 - (E x)^2
    np.testing.assert_allclose(
        *slope, rtol=1e-11, atol=1e-10 * np.sqrt(curvature[1].max()) + 1e-200
    )
    assert (np.abs(slope[0][np.abs(slope[1]) < 1e-200]) < 1e-200).all()  # saturated stays so


def check_all(backend: str, p: Problem, rng: np.random.Generator, workers: int = 2) -> None:
    n_models = len(p.models)
    weights = rng.choice([1.0, 0.5, rng.uniform(0.1, 3)], n_models)
    for combine in ("prob", "logit", "max"):
        scored = p.scored(combine)
        run = kernels(backend).ensemble_predictions
        expected = _reference.ensemble_predictions(scored, weights, p.preds, 1, None)
        assert_same(run(scored, weights, p.preds, workers, None), expected)
        if combine != "max":
            candidates = check_candidates(backend, p, combine, workers)
            check_pairs(backend, scored, n_models, candidates, workers)
            check_joining(backend, scored, n_models, candidates, rng, workers)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", CLASSES)
def test_every_type_and_number_of_classes(
    fast_backend: str, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    for n_samples in SAMPLES:
        check_all(fast_backend, problem(rng, 4, n_samples, n_classes, dtype=dtype), rng)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3, 10, 40])
def test_every_kind_of_logits(
    fast_backend: str, n_classes: int, kind: str, rng: np.random.Generator
) -> None:
    for temperature in (None, 1.0, 1e-3, 1e3, 1e-45, 1e300):
        p = problem(rng, 5, 33, n_classes, kind=kind, temperature=temperature)
        check_all(fast_backend, p, rng)


@pytest.mark.parametrize("n_models", [1, 2, 16, 17, 40])
def test_every_number_of_models(fast_backend: str, n_models: int, rng: np.random.Generator) -> None:
    for kind in ("plain", "integers"):
        check_all(fast_backend, problem(rng, n_models, 50, 12, kind=kind), rng)


@pytest.mark.parametrize("dtype", DTYPES)
def test_plus_infinity(fast_backend: str, dtype: str, rng: np.random.Generator) -> None:
    values = rng.choice([np.inf, -np.inf, 0.0, 1.0], size=(4, 60, 5), p=[0.2, 0.1, 0.4, 0.3])
    values[..., 4] = 0.5
    models = [typed(z, dtype) for z in values]
    preds = values.argmax(axis=2).astype(np.int32)
    p = Problem(models, rng.integers(0, 5, 60), preds, np.ones(4))
    check_all(fast_backend, p, rng)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_are_not_neighbours(
    fast_backend: str, dtype: str, rng: np.random.Generator
) -> None:
    p = problem(rng, 4, 1600, 11, dtype=dtype)
    for rows in (slice(None, None, 16), slice(None, None, -3)):
        models = [Typed(model.values[rows], dtype) for model in p.models]
        part = Problem(models, p.target[rows].copy(), p.preds[:, rows].copy(), p.temperature)
        check_all(fast_backend, part, rng)
        run = kernels(fast_backend).temperature_nll
        expected = _reference.temperature_nll(models, part.target, 1 / p.temperature, 1, None)
        sums = run(models, part.target, 1 / p.temperature, 2, None)
        check_sums(sums, expected)


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers_change_nothing(fast_backend: str, workers: int, rng: np.random.Generator) -> None:
    p = problem(rng, 6, 3000, 9, kind="integers")
    check_all(fast_backend, p, rng, workers)
    run = kernels(fast_backend).temperature_nll
    assert_same(
        run(p.models, p.target, p.temperature, workers, None),
        run(p.models, p.target, p.temperature, 1, None),
    )


@pytest.mark.on_host
def test_progress_is_told_by_the_calling_thread(
    fast_backend: str, rng: np.random.Generator
) -> None:
    p = problem(rng, 8, 6000, 12, dtype="float64")
    run, told = kernels(fast_backend), []

    def progress(done: int, of: int) -> None:
        told.append((done, of, threading.get_ident()))

    scored, ones, preds = p.scored("prob"), np.ones(8), np.empty_like(p.preds)
    candidates = run.candidate_scores(scored, p.preds, p.target, False, 2, progress)
    run.pair_ensemble_hits(scored, 8, candidates, 2, progress)
    run.ensemble_predictions(scored, ones, p.preds, 2, progress)
    run.temperature_nll(p.models, p.target, ones, 2, progress)
    run.confidences(p.models, ones, preds, preds.astype(np.float32), 2, progress)
    assert {thread for *_, thread in told} == {threading.get_ident()}
    assert all(0 <= done <= of for done, of, _ in told)
    assert sum(done == of for done, of, _ in told) == 5


def given(rng: np.random.Generator, n_models: int, n_classes: int, dtype: str) -> Candidates:
    """Candidates as made of stored scores, of which many are 0 or the same."""
    n_samples = 200
    lists, tops, scores = [], [], []
    for _ in range(n_samples):
        length = int(rng.integers(1, n_classes + 1))
        lists.append(np.sort(rng.choice(n_classes, length, replace=False)))
        values = rng.choice([0.0, 0.1, 0.2, 0.3, 2.0**-30, rng.random()], (length, n_models))
        values *= rng.random() < 0.8
        scores.append(values)
        tops.append(rng.integers(0, length, n_models))
    width, lengths = padded(n_models), [len(listed) for listed in lists]
    columns = [(0, 0), (0, width - n_models)]
    outside = np.where(np.array(lengths) < n_classes, 0.0, -np.inf)
    return Candidates(
        samples=np.arange(n_samples) * 3,
        offsets=np.cumsum([0, *lengths]),
        classes=np.concatenate(lists).astype(np.int32),
        target=np.array([rng.integers(0, length) for length in lengths], np.int32),
        tops=np.pad(np.array(tops, np.int32), columns, constant_values=-1),
        scores=np.pad(np.concatenate(scores), columns).astype(dtype),
        outside=np.tile(outside[:, None], width).astype(dtype),
        mass=np.ones((n_samples, width)),
        n_classes=n_classes,
    )


@pytest.mark.on_host  # stored scores are read there
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n_classes", [1, 2, 5, 30])
def test_given_scores(
    fast_backend: str, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    """Classes that are not listed score 0: among them, and with the listed, the lowest wins."""
    for n_models in (1, 2, 7, 17):
        candidates = given(rng, n_models, n_classes, dtype)
        check_joining(fast_backend, None, n_models, candidates, rng)
        unsettled = check_pairs(fast_backend, None, n_models, candidates)
        if n_models == 17 and n_classes > 1:
            assert unsettled[0] > 0  # rows of 0 tie


@pytest.mark.on_host
def test_float32_sums_that_tie_are_decided_in_float64(fast_backend: str) -> None:
    """1 + 2^-25 and 1 are the same float32; class 1 is the target and wins in float64."""
    scores = np.array([[1.0, 2.0**-26], [1.0, 2.0**-25]], np.float32)
    candidates = Candidates(
        samples=np.array([0]),
        offsets=np.array([0, 2]),
        classes=np.array([0, 1], np.int32),
        target=np.array([1], np.int32),
        tops=np.array([[0, 1, *[-1] * 14]], np.int32),
        scores=np.pad(scores, [(0, 0), (0, 14)]),
        outside=np.full((1, 16), -np.inf, np.float32),
        mass=np.ones((1, 16)),
        n_classes=2,
    )
    counts, unsettled = kernels(fast_backend).pair_ensemble_hits(None, 2, candidates, 1, None)
    assert counts[0].tolist() == [[0, 1], [1, 0]]
    assert unsettled[0] == 1
    check_pairs(fast_backend, None, 2, candidates)


@pytest.mark.parametrize(("kind", "scans"), [("outsiders", True), ("flat", False)])
def test_hard_samples_are_scanned(
    fast_backend: str, kind: str, scans: bool, rng: np.random.Generator
) -> None:
    p = problem(rng, 6, 200, 30, kind=kind, dtype="float32", temperature=1.0)
    candidates = check_candidates(fast_backend, p, "prob")
    unsettled = check_pairs(fast_backend, p.scored("prob"), 6, candidates)
    assert unsettled[0] > 0
    assert unsettled[1] > 0 or not scans


NEXT_TO_TENTH = float(np.nextafter(np.float32(0.1), np.float32(0)))
NEARLY_TIED = {  # logits of two models; class 0 is not listed, class 1 is the target
    "prob": (
        [np.log(1.8e-16), np.log(2.1e-16), -50, -50, -50, 0, 0, 0],
        [NEXT_TO_TENTH, np.float32(0.1), *[-200] * 6],
    ),
    "logit": ([-5e-9, 0, *[-1e9] * 6], [-1e8, -1e8, *[-1e9] * 5, 0]),
}


@pytest.mark.parametrize("combine", NEARLY_TIED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_that_tie_once_they_are_rounded(fast_backend: str, dtype: str, combine: str) -> None:
    """Class 0 has a little less than it takes to tie, but for rounding; as the lowest it wins."""
    models = [typed(np.array([z]), dtype) for z in NEARLY_TIED[combine]]
    preds = np.array([model.values.argmax(axis=1) for model in models], np.int32)
    p = Problem(models, np.array([1]), preds, np.ones(2))
    candidates = check_candidates(fast_backend, p, combine)
    dense = sum(_reference_scores.scores(m.values, 1.0, combine).astype(float) for m in models)
    assert dense[0, 0] == dense[0, 1] == dense.max()
    unsettled = check_pairs(fast_backend, p.scored(combine), 2, candidates)
    assert unsettled.tolist() == [1, 1]


def test_no_sample_on_which_models_differ(fast_backend: str, rng: np.random.Generator) -> None:
    p = problem(rng, 1, 40, 6)
    twice = Problem(p.models * 3, p.target, np.repeat(p.preds, 3, axis=0), np.ones(3))
    check_all(fast_backend, twice, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_classes", CLASSES)
def test_confidences(
    fast_backend: str, n_classes: int, dtype: str, rng: np.random.Generator
) -> None:
    """Also of rows without a prediction: NaN of either sign, -inf alone."""
    values = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan, -np.nan])
    chance = np.array([0.3, 0.2, 0.2, 0.2, 0.05, 0.03, 0.01, 0.01])
    special = rng.choice(values, size=(200, n_classes), p=chance)
    models = [typed(z, dtype) for z in (special, rng.normal(size=(200, n_classes)) * 3)]
    results = []
    for name in (fast_backend, "reference"):
        preds, confidence = np.full((2, 200), 7, np.int32), np.full((2, 200), 7, np.float32)
        temperature = np.array([0.7, 1.3])
        kernels(name).confidences(models, temperature, preds, confidence, 2, None)
        results.append((preds, confidence))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("kind", ["plain", "integers", "flat", "forest"])
def test_temperature_nll(
    fast_backend: str, kind: str, n_classes: int, rng: np.random.Generator
) -> None:
    for beta in (1e-3, 0.1, 1.0, 7.0, 1e3):
        p = problem(rng, 5, 333, n_classes, kind=kind)
        target = p.preds[0].astype(np.int64) if kind == "forest" else p.target
        models, betas = p.models[:1] if kind == "forest" else p.models, np.full(5, beta)
        arguments = (models, target, betas[: len(models)])
        expected = _reference.temperature_nll(*arguments, 1, None)
        sums = kernels(fast_backend).temperature_nll(*arguments, 2, None)
        check_sums(sums, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_temperature_nll_is_not_finite_for_bad_rows(
    fast_backend: str, dtype: str, rng: np.random.Generator
) -> None:
    target = rng.integers(1, 40, 100)
    for bad, place in ((np.nan, 0), (-np.nan, 39), (np.inf, 0), (np.inf, None), (-np.inf, None)):
        values = rng.normal(size=(100, 40))
        values[50, target[50] if place is None else place] = bad
        models = [typed(values, dtype)]
        arguments = (models, target, np.ones(1), 2, None)
        expected = _reference.temperature_nll(*arguments)
        sums = kernels(fast_backend).temperature_nll(*arguments)
        assert not np.isfinite(sums[0, :2]).any()
        np.testing.assert_array_equal(np.isfinite(sums), np.isfinite(expected))
    nothing = [typed(np.full((1, 3), -np.inf), dtype)]
    sums = kernels(fast_backend).temperature_nll(
        nothing, np.zeros(1, np.int64), np.ones(1), 1, None
    )
    assert not np.isfinite(sums[0, 0])
