"""Sums that temperatures are fitted by: the same bits however samples are divided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

import ovcore as ov
from ovcore import _dispatch
from ovcore.calibration import add_nll_sums, fit_from_nll_sums, nll_sums
from ovcore.store import ModelCard, Store, StoreWriter

BLOCK = 16_384


def problem(
    rng: np.random.Generator, n_samples: int, dtypes: tuple[str, ...] = ("float32", "float32")
) -> tuple[list[np.ndarray], np.ndarray]:
    target = rng.integers(0, 6, n_samples)
    z = [rng.normal(size=(n_samples, 6)) + 2 * np.eye(6)[target] for _ in dtypes]
    return [some.astype(dtype) for some, dtype in zip(z, dtypes, strict=True)], target


def test_sums_are_those_of_the_formula(
    backend: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    logits, target = problem(rng, BLOCK + 100)
    for every in (1, 32):
        sums = nll_sums(logits, target, temperature=[0.5, 2.0], every=every)
        assert sums.shape == (2, 2, 3)
        for b, first in enumerate((0, BLOCK)):
            rows = slice(first, first + BLOCK, every)
            for m, t in enumerate((0.5, 2.0)):
                z = logits[m][rows].astype(np.float64) / t
                of_target = z[np.arange(len(z)), target[rows]]
                expected = (logsumexp(z, axis=1) - of_target).sum()
                assert sums[b, m, 0] == pytest.approx(expected, rel=1e-10)


def test_parts_at_multiples_of_a_block_have_the_blocks_of_the_whole(
    backend: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    logits, target = problem(rng, 3 * BLOCK + 5, ("float32", "float16", "float64"))
    for every in (1, 32):
        whole = nll_sums(logits, target, temperature=0.7, every=every)
        for first, stop in ((0, BLOCK), (BLOCK, 3 * BLOCK), (2 * BLOCK, 3 * BLOCK + 5)):
            part = [z[first:stop] for z in logits]
            found = nll_sums(part, target[first:stop], temperature=0.7, every=every)
            blocks = slice(first // BLOCK, -(-stop // BLOCK))
            np.testing.assert_array_equal(found, whole[blocks])
        for m in range(3):  # nor does it matter which models are beside
            alone = nll_sums(logits[m : m + 1], target, temperature=0.7, every=every)
            np.testing.assert_array_equal(alone[:, 0], whole[:, m])


@pytest.mark.parametrize("n_samples", [BLOCK - 1, 5 * BLOCK + 3, 400_000])
def test_threads_change_nothing(
    n_samples: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, target = problem(rng, n_samples)
    found = []
    for workers in (1, 2, 3):
        monkeypatch.setattr(_dispatch, "count_workers", lambda asked, w=workers: asked or w)
        sums = nll_sums(logits, target, temperature=1.3)
        found.append((sums, ov.calibration.negative_log_likelihood(logits, target)))
    for sums, likelihood in found:
        np.testing.assert_array_equal(sums, found[0][0])
        np.testing.assert_array_equal(likelihood, found[0][1])


def test_groups_of_eight_can_be_added_first(rng: np.random.Generator) -> None:
    for n_blocks in (1, 2, 8, 9, 64, 65, 700):
        sums = rng.normal(size=(n_blocks, 2, 3)) * 10.0 ** rng.integers(-9, 9, (n_blocks, 2, 3))
        whole = add_nll_sums(sums)
        np.testing.assert_allclose(whole, sums.sum(axis=0), atol=1e-3)
        for size in (8, 64, 512):
            parts = [add_nll_sums(sums[i : i + size]) for i in range(0, n_blocks, size)]
            np.testing.assert_array_equal(add_nll_sums(np.stack(parts)), whole)
    for bad in (np.zeros((2, 3)), np.zeros((0, 2, 3)), np.zeros((1, 2, 4))):
        with pytest.raises(ValueError, match=r"sums must be \(B, M, 3\)"):
            add_nll_sums(bad)


def from_parts(
    logits: list[np.ndarray], target: np.ndarray, size: int
) -> Callable[..., np.ndarray]:
    def sums(models: np.ndarray, temperature: np.ndarray, every: int) -> np.ndarray:
        blocks = [
            nll_sums(
                [logits[m][i : i + size] for m in models], target[i : i + size],
                temperature=temperature, every=every,
            )
            for i in range(0, len(target), size)
        ]  # fmt: skip
        return add_nll_sums(np.concatenate(blocks))

    return sums


@pytest.mark.parametrize("n_samples", [100, 5000, 4 * BLOCK + 77])
def test_fits_from_sums_are_fits(n_samples: int, rng: np.random.Generator) -> None:
    logits, target = problem(rng, n_samples, ("float32", "float16"))
    constant = [np.ones((n_samples, 6), np.float32)]
    expected = ov.calibration.fit_temperature(logits + constant, target)
    for size in (BLOCK, 3 * BLOCK):
        sums = from_parts(logits + constant, target, size)
        found = fit_from_nll_sums(sums, 3, n_samples)
        np.testing.assert_array_equal(found.temperature, expected.temperature)
        np.testing.assert_array_equal(found.nll, expected.nll)
        assert found.status == expected.status


def test_bad_sums_are_named(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 100)
    with pytest.raises(ValueError, match="n_models must be at least 1, got 0"):
        fit_from_nll_sums(from_parts(logits, target, BLOCK), 0, 100)
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        fit_from_nll_sums(from_parts(logits, target, BLOCK), 2, 0)
    with pytest.raises(ValueError, match=r"sums of 2 models must be \(A, 3\), got \(1, 3\)"):
        fit_from_nll_sums(lambda *_: np.ones((1, 3)), 2, 100)
    with pytest.raises(ValueError, match="the sums of model 1 are not finite"):
        fit_from_nll_sums(lambda *_: np.array([[1.0, 1, 1], [np.nan, 1, 1]]), 2, 100)
    with pytest.raises(ValueError, match="every must be at least 1"):
        nll_sums(logits, target, every=0)
    logits[1][7, target[7]] = -np.inf
    with pytest.raises(ValueError, match="model 1 has 1 sample.* first at sample 7"):
        nll_sums(logits, target)


def test_sums_of_torch_logits(rng: np.random.Generator) -> None:
    logits, target = problem(rng, 300)
    found = nll_sums([torch.from_numpy(z) for z in logits], torch.from_numpy(target))
    np.testing.assert_array_equal(found, nll_sums(logits, target))


def test_a_limit_of_workers_holds_where_none_are_asked_for() -> None:
    cores = _dispatch.count_workers(None)
    with ov.limit_workers(1):
        assert _dispatch.count_workers(None) == 1
        assert _dispatch.count_workers(5) == 5
        with ov.limit_workers(10**9):
            assert _dispatch.count_workers(None) == cores
        assert _dispatch.count_workers(None) == 1
    assert _dispatch.count_workers(None) == cores
    for bad, kind in ((0, ValueError), ("two", TypeError)):
        with pytest.raises(kind, match="workers must be"), ov.limit_workers(bad):
            pass
    assert _dispatch.count_workers(None) == cores


def test_slices_of_a_store_are_views(tmp_path: Any, rng: np.random.Generator) -> None:
    logits, target = problem(rng, 50, ("float32",))
    ids = [f"s{n}" for n in range(50)]
    columns = {"fold": np.arange(50)}
    with StoreWriter(tmp_path / "s", target=target, sample_ids=ids, columns=columns) as writer:
        writer.add(ModelCard("a"), logits=logits[0])
    store = Store(tmp_path / "s")
    picked = rng.permutation(50)[:20]
    for view, rows in (
        (store, np.arange(50)),
        (store.select(samples=slice(5, -5)), np.arange(5, 45)),
        (store.select(samples=picked), picked),
    ):
        for some in (slice(3, 9), slice(None, 4), slice(-2, None)):
            found, expected = view.select(samples=some), rows[some]
            np.testing.assert_array_equal(found.logits("a"), logits[0][expected])
            np.testing.assert_array_equal(found.target, target[expected])
            np.testing.assert_array_equal(found.columns["fold"], expected)
            assert found.sample_ids == [ids[n] for n in expected]
            assert found.n_samples == len(expected)
            assert found.sha256 == view.select(samples=np.arange(len(rows))[some]).sha256
    assert not store.select(samples=slice(3, 9)).logits("a").flags.owndata
    for bad in (slice(0, 9, 2), slice(9, 3), slice(50, None)):
        with pytest.raises(ValueError, match="samples must be a slice of step 1"):
            store.select(samples=bad)
