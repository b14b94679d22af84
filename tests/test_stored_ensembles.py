"""Ensembles of stored top-k probabilities, against a scan of all classes and published counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ovcore as ov
from plain_ensembles import scores, stored, together

NOTHING_HELD_OUT = "ignore:greedy selection reports on the samples it selects on"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pairs_equal_a_scan_of_all_classes(
    dtype: str, backend: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes that are not listed score 0; float64 is summed as it is."""
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    for n_classes, k in ((2, 1), (2, 2), (5, 3), (12, 12), (1000, 5)):
        top, own, dense = stored(rng, 5, 80, n_classes, k, dtype)
        target = np.where(rng.random(80) < 0.5, own[0], rng.integers(0, n_classes, 80))
        result, stats = ov.ensembles.pairs(top, target, return_stats=True)
        right = own == target
        for a in range(5):
            for b in range(5):
                hit = together(own, dense, [a, b]) == target
                assert result.hits[a, b] == hit.sum()
                assert result.conversions[a, b] == (hit & (right[a] ^ right[b])).sum()
                assert result.rescues[a, b] == (hit & ~right[a] & ~right[b]).sum()
        assert sum(stats) == 10 * 80
        assert stats.agreed == sum((own[a] == own[b]).sum() for a in range(5) for b in range(a))


def test_float64_probabilities_are_not_rounded(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    probs = np.array([[[0.5, 0.2]], [[0.5 + 1e-12, 0.2]]])
    top = ov.TopK(np.array([[[1, 0]], [[2, 0]]]), probs, 4)
    assert ov.ensembles.pairs(top, np.array([2])).hits[0, 1] == 1
    assert ov.ensembles.predict(top).tolist() == [2]
    additions = ov.ensembles.what_to_add(top, np.array([2]), 0)
    assert additions.gained.tolist() == [1]


@pytest.mark.parametrize("combine", ["prob", "vote", "max"])
def test_predictions_equal_a_scan_of_all_classes(combine: str, rng: np.random.Generator) -> None:
    for dtype in ("float16", "float32", "float64"):
        for n_classes, k in ((2, 1), (4, 4), (9, 3), (1000, 5)):
            top, own, dense = stored(rng, 6, 100, n_classes, k, dtype)
            members = rng.integers(0, 6, 5)
            weights = [1.0, 0.0, 1.0, 0.5, 1.0]
            target = rng.integers(0, n_classes, 100)
            for which, given in ((members, weights), (members, None), (None, None)):
                expected = together(
                    own, dense, range(6) if which is None else which, given, combine
                )
                options: dict[str, Any] = {
                    "members": which, "weights": given, "combine": combine,
                }  # fmt: skip
                result = ov.ensembles.predict(top, **options)
                np.testing.assert_array_equal(result, expected)
                share = ov.ensembles.accuracy(top, target, **options)
                assert share == (expected == target).mean()


def test_lists_of_different_length_and_order(rng: np.random.Generator) -> None:
    top, own, dense = stored(rng, 3, 200, 6, 6, "float64")
    classes, probs = top.probabilities()
    shuffled = rng.random(classes.shape).argsort(axis=2)
    models = [
        ov.TopK(np.take_along_axis(c, o, 1)[:, :6], np.take_along_axis(p, o, 1)[:, :6], 6)
        for c, p, o in zip(classes, probs, shuffled, strict=True)
    ]
    target = rng.integers(0, 6, 200)
    np.testing.assert_array_equal(
        ov.ensembles.pairs(models, target).hits, ov.ensembles.pairs(top, target).hits
    )
    top_1 = ov.TopK(own[1][:, None], dense[1].max(axis=1)[:, None], 6)
    dense[1] = np.eye(6)[own[1]] * dense[1].max(axis=1)[:, None]
    predicted = ov.ensembles.predict([models[0], top_1, models[2]])
    np.testing.assert_array_equal(predicted, together(own, dense, range(3)))


@pytest.mark.filterwarnings(NOTHING_HELD_OUT)
def test_greedy_and_additions_are_ensembles_of_stored_outputs(
    backend: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    for dtype in ("float16", "float64"):
        for metric in ("accuracy", "nll"):
            top, own, dense = stored(rng, 5, 60, 7, 3, dtype)
            target = np.where(rng.random(60) < 0.5, own[1], rng.integers(0, 7, 60))
            held_out = rng.random(60) < 0.5
            for replacement in (True, False):
                result = ov.ensembles.greedy(
                    top, target, max_size=5, metric=metric, replacement=replacement,
                    holdout=held_out,
                )  # fmt: skip
                members: list[int] = []
                for step, joined in enumerate(result.members):
                    members.append(joined)
                    for rows, shares in (
                        (held_out, result.accuracy),
                        (~held_out, result.selection_accuracy),
                    ):
                        hit = together(own[:, rows], dense[:, rows], members) == target[rows]
                        assert shares[step] == hit.mean()
                    nll = [
                        of_mean(dense[:, ~held_out], target[~held_out], [*members[:-1], m])
                        for m in range(5)
                        if replacement or m not in members[:-1]
                    ]
                    own_nll = of_mean(dense[:, ~held_out], target[~held_out], members)
                    np.testing.assert_allclose(result.selection_nll[step], own_nll, rtol=1e-14)
                    if metric == "nll":
                        assert own_nll == min(nll)
            additions = ov.ensembles.what_to_add(top, target, [2, 0])
            for i, m in enumerate(additions.models):
                before = together(own, dense, [2, 0]) == target
                after = together(own, dense, [2, 0, m]) == target
                assert additions.gained[i] == (after & ~before).sum()
                assert additions.lost[i] == (before & ~after).sum()
                assert additions.accuracy[i] == after.mean()
            assert (np.diff(additions.gain) <= 0).all()


def of_mean(dense: np.ndarray, target: np.ndarray, members: list[int]) -> float:
    """Mean NLL of the mean probability; one of 0 counts as float32's least normal number."""
    total = np.zeros(len(target))
    for m in members:
        total += dense[m, np.arange(len(target)), target]
    least = float(np.finfo(np.float32).tiny)
    return float(-np.log(np.maximum(total / len(members), least)).mean())


def test_imagenet_pairs_equal_their_reference(
    fast_backend: str, real_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real ties among float16 probabilities, without any tolerance."""
    monkeypatch.setenv("OVCORE_BACKEND", fast_backend)
    data, reference = real_data("imagenet_top5_dev.npz")
    names, rows = reference["names"], reference["ensemble_pairs"]["rows"]
    top = ov.TopK(data["preds"], data["probs"], 1000)
    result, stats = ov.ensembles.pairs(top, data["labels"], return_stats=True)
    assert len(rows) == 22
    for first, second, correct, _ in rows:
        assert result.hits[names.index(first), names.index(second)] == correct
    assert sum(stats) == 253 * 50_000
    assert sum(ties for *_, ties in rows) <= stats.summed + stats.scanned


@pytest.mark.parametrize("name", ["breast_cancer", "iris"])
def test_whole_lists_equal_their_reference(
    name: str, backend: str, real_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All K classes in float64: no rounding differs, so no tolerance."""
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    data, references = real_data("tabular_fullprobs_dev.npz")
    probs, target, reference = data[f"{name}_probs"], data[f"{name}_labels"], references[name]
    classes = np.broadcast_to(np.arange(probs.shape[2]), probs.shape)
    top = ov.TopK(classes, probs, probs.shape[2])
    result = ov.ensembles.pairs(top, target)
    for first, second, correct, _ in reference["ensemble_pairs"]["rows"]:
        a, b = reference["names"].index(first), reference["names"].index(second)
        assert result.hits[a, b] == result.hits[b, a] == correct
        share = ov.ensembles.accuracy(top, target, members=[a, b])
        assert share == correct / reference["n_examples"]
    assert result.hits.diagonal().tolist() == reference["top1_correct"]
    own = probs.argmax(axis=2)
    everyone = ov.ensembles.predict(top)
    np.testing.assert_array_equal(everyone, together(own, probs, range(len(probs))))
    with np.errstate(divide="ignore"):
        logits = np.log(probs)
    expected = together(own, scores(logits), range(len(probs)))
    np.testing.assert_array_equal(ov.ensembles.predict(logits), expected)


@pytest.mark.filterwarnings(NOTHING_HELD_OUT)
def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    top, own, dense = stored(rng, 3, 50, 5, 2, "float32")  # eighths: exact in bfloat16
    classes, probs = map(torch.from_numpy, map(np.ascontiguousarray, top.probabilities()))
    given = ov.TopK(classes, probs.bfloat16(), 5)
    target = rng.integers(0, 5, 50)
    predicted = ov.ensembles.predict(given)
    assert isinstance(predicted, torch.Tensor)
    np.testing.assert_array_equal(predicted.numpy(), together(own, dense, range(3)))
    result = ov.ensembles.pairs(given, target)
    np.testing.assert_array_equal(result.hits.numpy(), ov.ensembles.pairs(top, target).hits)
    assert isinstance(ov.ensembles.greedy(given, target).accuracy, torch.Tensor)
    assert isinstance(ov.ensembles.what_to_add(given, target, 0).gain, torch.Tensor)


def test_what_stored_outputs_cannot_do_is_named(rng: np.random.Generator) -> None:
    top, _, dense = stored(rng, 2, 30, 5, 3, "float32")
    target = rng.integers(0, 5, 30)
    for combine in ("logit", "logprob"):
        with pytest.raises(ValueError, match=f"which do not combine as '{combine}'"):
            ov.ensembles.pairs(top, target, combine=combine)
        with pytest.raises(ValueError, match=f"which do not combine as '{combine}'"):
            ov.ensembles.predict(top, combine=combine)
    for call in (ov.ensembles.pairs, ov.ensembles.accuracy, ov.ensembles.greedy):
        with pytest.raises(ValueError, match=r"no other temperature than 1: got 2\.0"):
            call(top, target, temperature=2.0)
    classes, probs = top.probabilities()
    for bad in (probs - 1, probs * 3):
        with pytest.raises(ValueError, match=r"by their probabilities, in 0\.\.1: got values from"):
            ov.ensembles.pairs(ov.TopK(classes, bad, 5), target)
        with pytest.raises(ValueError, match=r"by their probabilities, in 0\.\.1: got values from"):
            ov.ensembles.predict(ov.TopK(classes, bad, 5))
    with pytest.raises(ValueError, match="model 0 has 30 samples without a prediction"):
        ov.ensembles.predict(ov.TopK(classes, np.full_like(probs, np.nan), 5))
    with pytest.raises(TypeError, match="another model holds stored top-k outputs"):
        ov.ensembles.predict([top[0], dense[1]])
    with pytest.raises(ValueError, match=r"logits\[1\] has shape \(30, 6\), but .* \(30, 5\)"):
        ov.ensembles.predict([top[0], ov.TopK(classes[1], probs[1], 6)])


def test_a_class_that_is_listed_twice_is_refused() -> None:
    classes = np.array([[[0, 3, 3]] * 2, [[1, 2, 4]] * 2])
    top = ov.TopK(classes, np.full((2, 2, 3), [0.4, 0.3, 0.3]), 5)
    target = np.array([3, 3])
    message = "stored top-k outputs have class 3 twice for one sample"
    with pytest.raises(ValueError, match=message):
        ov.ensembles.pairs(top, target)
    with pytest.raises(ValueError, match=message):
        ov.ensembles.greedy(top, target, holdout=0.5)
    with pytest.raises(ValueError, match=message):
        ov.ensembles.what_to_add(top, target, 0)
    with pytest.raises(ValueError, match=message):
        ov.ensembles.predict(top)
