"""Nearest partners, pairs within a threshold and written matrices, against whole matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import ovcore as ov
from on_gpu import Producer
from ovcore.pairwise import _blocks, _nearest, _within

pairwise = ov.pairwise
METRICS = [
    pairwise.error_inconsistency,
    pairwise.relative_inconsistency,
    pairwise.error_consistency,
    pairwise.error_covariance,
    pairwise.error_correlation,
    pairwise.double_fault,
    pairwise.q_statistic,
    pairwise.dominance,
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:error consistency is undefined:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:relative inconsistency is undefined:RuntimeWarning"),
]


def wrong_answers(rng: np.random.Generator, n_models: int, n_samples: int) -> np.ndarray:
    """Classes that are right where 0: models of all accuracies, perfect ones, copies of others."""
    wrong = rng.random((n_models, n_samples)) < rng.random((n_models, 1))
    wrong[: n_models // 6] = False
    wrong[n_models // 6 : n_models // 5] = True
    wrong[n_models // 2 : n_models // 2 + 4] = wrong[-1:]
    return wrong.astype(int)


def errors_of(rng: np.random.Generator, n_models: int, n_samples: int) -> ov.ErrorBits:
    return ov.pack_errors(wrong_answers(rng, n_models, n_samples), np.zeros(n_samples, int))


def with_missing(rng: np.random.Generator) -> ov.ErrorBits:
    """Models that lack some samples, one of them nearly all."""
    logits = rng.normal(size=(30, 90, 3))
    logits[rng.random((30, 90)) < 0.2] = np.nan
    logits[3, 1:] = np.nan
    return ov.pack_errors(logits, rng.integers(0, 3, 90), nan_policy="omit")


def expected(
    errors: Any, k: int, metric: Callable[..., Any], largest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """From the sorted rows of the whole matrix."""
    values = np.array(metric(errors))
    keys = np.where(np.isnan(values), np.inf, -values if largest else values)
    np.fill_diagonal(keys, np.inf)
    found = np.argsort(keys, axis=1, kind="stable")[:, :k]
    defined = np.isfinite(np.take_along_axis(keys, found, axis=1))
    best = np.where(defined, np.take_along_axis(values, found, axis=1), np.nan)
    more = ((0, 0), (0, k - found.shape[1]))
    return (
        np.pad(np.where(defined, found, -1), more, constant_values=-1),
        np.pad(best, more, constant_values=np.nan),
    )


def check_nearest(errors: Any, k: int, metric: Callable[..., Any], **options: Any) -> None:
    for largest in (False, True):
        found = pairwise.nearest(errors, k, metric=metric, largest=largest, **options)
        indices, values = expected(errors, k, metric, largest)
        np.testing.assert_array_equal(found.indices, indices)
        np.testing.assert_array_equal(found.values, values)  # to the bit


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few models make many blocks."""
    monkeypatch.setattr(_nearest, "_FIRST", 4)
    monkeypatch.setattr(_blocks, "SIDE", 32)
    monkeypatch.setattr(_blocks, "_PAIRS", 500)
    monkeypatch.setattr(_nearest, "_SLAB", 900)
    monkeypatch.setattr(_within, "_SIDE", 32)
    monkeypatch.setattr(_blocks.ranges, "__defaults__", (32,))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("metric", METRICS)
def test_nearest_are_those_of_the_sorted_matrix(
    fast_backend: str, metric: Callable[..., Any], rng: np.random.Generator
) -> None:
    for n_models, n_samples in ((1, 5), (2, 3), (5, 1), (41, 7), (150, 64), (150, 1000)):
        errors = errors_of(rng, n_models, n_samples)
        for k in (1, 3, 10):
            check_nearest(errors, k, metric, backend=fast_backend)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("metric", METRICS)
def test_nearest_of_counts_and_of_models_that_lack_samples(
    metric: Callable[..., Any], rng: np.random.Generator
) -> None:
    whole = errors_of(rng, 60, 130)
    check_nearest(ov.JointErrors.from_errors(whole), 4, metric)
    check_nearest(with_missing(rng), 4, metric)
    check_nearest(ov.JointErrors.from_errors(with_missing(rng)), 4, metric)


@pytest.mark.usefixtures("small_blocks")
def test_nearest_of_models_in_any_order(rng: np.random.Generator) -> None:
    """Along a training run each next model is nearer; equal models all tie."""
    run = np.tril(np.ones((200, 200), int))
    check_nearest(ov.pack_errors(run, np.zeros(200, int)), 5, pairwise.error_inconsistency)
    check_nearest(ov.pack_errors(run[::-1], np.zeros(200, int)), 5, pairwise.error_inconsistency)
    same = np.tile(rng.integers(0, 2, 64), (200, 1))
    check_nearest(ov.pack_errors(same, np.zeros(64, int)), 7, pairwise.error_inconsistency)
    check_nearest(ov.pack_errors(same, np.zeros(64, int)), 7, pairwise.error_correlation)


def test_few_pairs_need_their_metric(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of models: what passes grows with their number, not with pairs."""
    n_passed = 0
    values = _blocks.OfBits.values

    def counted(self: Any, formula: Any, first: Any, *rest: Any) -> Any:
        nonlocal n_passed
        n_passed += len(first)
        return values(self, formula, first, *rest)

    monkeypatch.setattr(_blocks.OfBits, "values", counted)
    m = 3000
    for name, wrong in (
        ("random", rng.random((m, 300)) < rng.random((m, 1))),
        ("a training run", np.arange(300) * 10 < np.arange(m)[:, None]),
        ("equal", np.tile(rng.random(300) < 0.3, (m, 1))),
    ):
        n_passed = 0
        errors = ov.pack_errors(wrong.astype(int), np.zeros(300, int))
        pairwise.nearest(errors, 5)
        assert n_passed < m * m / 20, name  # of m * m / 2


def test_a_real_matrix(real_data: Any) -> None:
    data, _ = real_data("imagenet_val_v2_top1_dev.npz")
    preds = next(data[key] for key in data.files if data[key].ndim == 2 and len(data[key]) > 10)
    errors = ov.pack_errors(preds, preds[0].astype(np.int64))
    for metric in METRICS:
        check_nearest(errors, 8, metric)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("metric", METRICS)
def test_pairs_within_are_those_of_the_matrix(
    fast_backend: str, metric: Callable[..., Any], rng: np.random.Generator
) -> None:
    cases: list[Any] = [errors_of(rng, m, n) for m, n in ((1, 4), (2, 3), (90, 64), (90, 700))]
    cases += [ov.JointErrors.from_errors(cases[-1]), with_missing(rng)]
    for errors in cases:
        matrix = np.asarray(metric(errors))
        a, b = np.triu_indices(len(matrix), 1)
        values = matrix[a, b]
        some = np.unique(values[~np.isnan(values)])
        for limit in [*some[:: max(1, len(some) // 6)], -7.0, 0.3, 5.0, np.inf]:
            for name, kept in (("at_most", values <= limit), ("at_least", values >= limit)):
                found = pairwise.pairs_within(
                    errors, metric=metric, backend=fast_backend, **{name: limit}
                )
                np.testing.assert_array_equal(found.indices, np.stack([a[kept], b[kept]], axis=1))
                np.testing.assert_array_equal(found.values, values[kept])
                assert len(found) == kept.sum()


def test_too_many_pairs_are_refused(rng: np.random.Generator) -> None:
    errors = errors_of(rng, 30, 50)
    assert len(pairwise.pairs_within(errors, at_most=1.0, max_pairs=435)) == 435
    with pytest.raises(ValueError, match="more than max_pairs=434 pairs of 30 models have error_i"):
        pairwise.pairs_within(errors, at_most=1.0, max_pairs=434)


WRITTEN = [*METRICS, pairwise.joint_errors, pairwise.accuracy_difference]


@pytest.fixture(params=["memory map", "zarr", "numpy"])
def new_array(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int, str], Any]:
    def make(m: int, dtype: str) -> Any:
        if request.param == "numpy":
            return np.zeros((m, m), dtype)
        if request.param == "memory map":
            return np.lib.format.open_memmap(tmp_path / f"{m}.npy", "w+", dtype, (m, m))
        path = tmp_path / f"{m}.zarr"
        return zarr.create_array(path, shape=(m, m), chunks=(16, 16), dtype=dtype)

    return make


@pytest.mark.parametrize("metric", WRITTEN)
def test_written_matrices_are_the_metric(
    new_array: Callable[[int, str], Any], metric: Callable[..., Any], rng: np.random.Generator
) -> None:
    dtype = "int64" if metric is pairwise.joint_errors else "float64"
    for n, errors in enumerate((errors_of(rng, 70, 90), errors_of(rng, 2, 3), with_missing(rng))):
        out = new_array(errors.n_models, dtype)
        pairwise.write_matrix(errors, out, metric=metric, block_size=(16, 7, None)[n])
        np.testing.assert_array_equal(out[:], metric(errors))
        assert not np.signbit(out[:])[np.asarray(out[:]) == 0].any()


def test_every_chunk_is_written_once(rng: np.random.Generator) -> None:
    class Recorder:
        shape, dtype, chunks = (5000, 5000), np.dtype("float32"), (300, 300)
        written = np.zeros((5000, 5000), np.uint8)

        def __setitem__(self, where: tuple[slice, slice], block: np.ndarray) -> None:
            assert all(part.start % 300 == 0 for part in where)
            assert self.written[where].shape == block.shape
            self.written[where] += 1

    errors = ov.ErrorBits(rng.integers(0, 1 << 64, (5000, 1), np.uint64), 64)
    pairwise.write_matrix(errors, Recorder())
    assert (Recorder.written == 1).all()


def test_what_cannot_be_asked_is_refused(rng: np.random.Generator) -> None:
    errors = errors_of(rng, 4, 9)
    with pytest.raises(ValueError, match="metric must be a function of ovcore.pairwise among"):
        pairwise.nearest(errors, 1, metric=pairwise.accuracy_difference)
    with pytest.raises(ValueError, match="metric must be a function of ovcore.pairwise among"):
        pairwise.nearest(errors, 1, metric="error_inconsistency")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        pairwise.nearest(errors, 0)
    with pytest.raises(TypeError, match="expected ErrorBits or JointErrors, got ndarray"):
        pairwise.nearest(errors.words, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no samples are undefined"):
        pairwise.nearest(ov.JointErrors.empty(3), 1)
    for limits in ({}, {"at_most": 0.1, "at_least": 0.2}):
        with pytest.raises(ValueError, match="give at_most or at_least: got"):
            pairwise.pairs_within(errors, **limits)
    with pytest.raises(ValueError, match="at_most must be one number, not NaN: got nan"):
        pairwise.pairs_within(errors, at_most=np.nan)
    with pytest.raises(ValueError, match=r"out must have shape \(4, 4\), one row a model: got"):
        pairwise.write_matrix(errors, np.empty((4, 5)))
    with pytest.raises(TypeError, match="out must be floating to hold error_inconsistency: got i"):
        pairwise.write_matrix(errors, np.empty((4, 4), int))


@pytest.mark.usefixtures("small_blocks", "gpus")
def test_models_on_a_gpu(rng: np.random.Generator) -> None:
    preds = wrong_answers(rng, 40, 150)
    there = ov.pack_errors(Producer(preds), Producer(np.zeros(150, np.int64)))
    assert there.library == "cuda:0"
    here = ov.pack_errors(preds, np.zeros(150, int))
    for metric in (pairwise.error_inconsistency, pairwise.error_correlation, pairwise.dominance):
        found, same = (pairwise.nearest(e, 3, metric=metric) for e in (there, here))
        np.testing.assert_array_equal(found.indices.numpy(), same.indices)
        np.testing.assert_array_equal(found.values.numpy(), same.values)
    near, same_near = (pairwise.pairs_within(e, at_most=0.1) for e in (there, here))
    np.testing.assert_array_equal(near.indices.numpy(), same_near.indices)
    out = np.empty((40, 40))
    pairwise.write_matrix(there, out)
    np.testing.assert_array_equal(out, pairwise.error_inconsistency(here))


def test_tensors_give_tensors(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    preds = torch.from_numpy(wrong_answers(rng, 12, 40))
    errors = ov.pack_errors(preds, torch.zeros(40, dtype=torch.int64))
    found = pairwise.nearest(errors, 2)
    assert isinstance(found.indices, torch.Tensor)
    assert isinstance(found.values, torch.Tensor)
    assert isinstance(pairwise.pairs_within(errors, at_most=0.2).values, torch.Tensor)
