"""What ensembles predict, against a plain scan of all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

import ovcore as ov
from plain_ensembles import DTYPES, KINDS, draw, of_type, scores, together

COMBINE = ("prob", "logit", "logprob", "vote", "max")


@pytest.mark.parametrize("combine", COMBINE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_members_and_weights_equal_a_scan(
    dtype: str,
    combine: str,
    backend: str,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    for kind in KINDS:
        for n_classes, n_samples in ((2, 33), (5, 127), (300, 9)):
            values, target = draw(rng, kind, 6, n_samples, n_classes)
            logits, z = of_type(values, dtype)
            temperature = rng.choice([0.25, 1.0, 3.0], 6)
            terms = scores(z, temperature, "prob" if combine in ("vote", "max") else combine)
            members = rng.integers(0, 6, rng.integers(1, 9))
            weights = rng.choice([0.0, 1.0, 1.0, 0.3, 2.5], len(members))
            weights[rng.integers(len(members))] = 1.0
            options: dict[str, Any] = {"temperature": temperature, "combine": combine}
            for which, given in ((members, weights), (members, None), (None, None)):
                plain = range(6) if which is None else which
                expected = together(z.argmax(axis=2), terms, plain, given, combine)
                result = ov.ensembles.predict(logits, members=which, weights=given, **options)
                np.testing.assert_array_equal(np.asarray(result), expected)
                share = ov.ensembles.accuracy(
                    logits, target, members=which, weights=given, **options
                )
                assert share == (expected == target).mean()
                assert type(share) is float


def test_ways_to_combine_are_what_they_say(rng: np.random.Generator) -> None:
    """In float64, by scipy: plain logits have no near ties."""
    logits, _ = draw(rng, "plain", 5, 500, 6)
    weights, temperature = rng.uniform(0.5, 2, 5), rng.uniform(0.5, 2, 5)
    z = logits / temperature[:, None, None]
    w = weights[:, None, None]
    sums = {
        "prob": (w * softmax(z, axis=2)).sum(axis=0),
        "logit": (w * z).sum(axis=0),
        "logprob": (w * log_softmax(z, axis=2)).sum(axis=0),
        "max": (w * softmax(z, axis=2)).max(axis=0),
        "vote": (w * np.eye(6)[z.argmax(axis=2)]).sum(axis=0),
    }
    results = {}
    for combine, total in sums.items():
        results[combine] = ov.ensembles.predict(
            logits, weights=weights, temperature=temperature, combine=combine
        )
        assert results[combine].dtype == np.int64
        np.testing.assert_array_equal(results[combine], total.argmax(axis=1))
    np.testing.assert_array_equal(results["logit"], results["logprob"])
    different = [tuple(results[name]) for name in COMBINE if name != "logprob"]
    assert len(set(different)) == 4


def test_ties_go_to_the_lowest_class(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    sure = np.full((3, 1, 3), -np.inf)
    sure[[0, 1, 2], 0, [2, 1, 0]] = 0.0  # each sure of another class
    for combine in ("prob", "vote", "max"):
        most = 1 if combine == "max" else 2  # where class 2 has two members and class 1 has one
        for members, expected in (([0], 2), ([0, 1], 1), ([0, 1, 2], 0), ([0, 1, 0], most)):
            result = ov.ensembles.predict(sure, members=members, combine=combine)
            assert result.tolist() == [expected]


@pytest.mark.parametrize("combine", ["logit", "logprob"])
def test_where_no_class_is_left_is_minus_one(
    combine: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    inf = np.inf
    logits = np.array([[[0, -inf, -inf], [inf, 0, 0]], [[-inf, 0, 1], [0, inf, 0]]])
    assert ov.ensembles.predict(logits, combine=combine).tolist() == [-1, -1]
    assert ov.ensembles.accuracy(logits, np.zeros(2, int), combine=combine) == 0.0
    alone = ov.ensembles.predict(logits, combine=combine, weights=[0, 3])
    assert alone.tolist() == [2, 1]  # a member without weight rules nothing out


def test_members_that_agree_are_followed_where_scores_tie(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At T = 1000 these probabilities are the same float32; both members still predict class 1."""
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    logits = np.array([[[0.0, 1e-6]], [[0.0, 2e-6]], [[3.0, 0.0]]])
    for combine in COMBINE:
        options: dict[str, Any] = {"temperature": [1e3, 1e3, 1.0], "combine": combine}
        assert ov.ensembles.predict(logits, members=[0, 1, 0], **options).tolist() == [1]
        assert ov.ensembles.predict(logits, weights=[1, 1, 0], **options).tolist() == [1]


def test_repeats_are_weights(rng: np.random.Generator) -> None:
    """Of scores in sixteenths, whose sums are exact in any order."""
    votes = rng.multinomial(16, [0.25] * 4, (4, 300))
    with np.errstate(divide="ignore"):
        logits = np.log(votes / 16)
    for combine in ("prob", "vote"):
        repeated = ov.ensembles.predict(logits, members=[2, 0, 2, 2, 3], combine=combine)
        weighted = ov.ensembles.predict(logits, weights=[1, 0, 3, 1], combine=combine)
        doubled = ov.ensembles.predict(logits, weights=[2, 0, 6, 2], combine=combine)
        np.testing.assert_array_equal(repeated, weighted)
        np.testing.assert_array_equal(doubled, weighted)


def test_pairs_are_ensembles_of_two(rng: np.random.Generator) -> None:
    for kind in KINDS:
        logits, target = draw(rng, kind, 4, 200, 5)
        for combine in ("prob", "logit"):
            hits = ov.ensembles.pairs(logits, target, combine=combine).hits
            for a in range(4):
                for b in range(4):
                    share = ov.ensembles.accuracy(logits, target, members=[a, b], combine=combine)
                    assert share == hits[a, b] / 200


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, _ = draw(rng, "integers", 5, 100, 4)
    whole = ov.ensembles.predict(logits, combine="vote")
    monkeypatch.setattr(ov.ensembles._predict, "_BLOCK_BYTES", 8 * 4 * 7)
    np.testing.assert_array_equal(ov.ensembles.predict(logits, combine="vote"), whole)


def test_one_class_one_model_and_a_list(rng: np.random.Generator) -> None:
    assert ov.ensembles.predict(np.zeros((3, 4, 1))).tolist() == [0, 0, 0, 0]
    logits, _ = draw(rng, "plain", 2, 50, 3)
    for combine in COMBINE:
        one = ov.ensembles.predict(logits[:1], combine=combine)
        np.testing.assert_array_equal(one, logits[0].argmax(axis=1))
    mixed = [logits[0], torch.from_numpy(logits[1]).bfloat16(), logits[0].astype(np.float16)]
    z = [logits[0], mixed[1].float().numpy(), mixed[2].astype(np.float32)]
    terms = np.concatenate([scores(one[None]) for one in z])
    own = np.array([one.argmax(axis=1) for one in z])
    np.testing.assert_array_equal(ov.ensembles.predict(mixed), together(own, terms, range(3)))


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 50, 4)
    given = torch.from_numpy(logits)
    for combine in COMBINE:
        result = ov.ensembles.predict(
            given, members=torch.tensor([0, 2]), weights=torch.tensor([1.0, 2.0]), combine=combine
        )
        assert isinstance(result, torch.Tensor)
        assert result.dtype == torch.int64
        expected = ov.ensembles.predict(logits, members=[0, 2], weights=[1, 2], combine=combine)
        np.testing.assert_array_equal(result.numpy(), expected)
    share = ov.ensembles.accuracy(given, torch.from_numpy(target))
    assert share == ov.ensembles.accuracy(logits, target)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_any_type_are_their_values(dtype: torch.dtype, rng: np.random.Generator) -> None:
    logits, _ = draw(rng, "plain", 3, 200, 4)
    expected = ov.ensembles.predict(logits, weights=[0.5, 1.0, 3.0])
    weights = torch.tensor([0.5, 1.0, 3.0], dtype=dtype)
    np.testing.assert_array_equal(ov.ensembles.predict(logits, weights=weights), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_temperatures_of_any_type_are_their_values(
    dtype: torch.dtype, rng: np.random.Generator
) -> None:
    logits, target = draw(rng, "plain", 3, 200, 4)
    plain, short = [0.5, 1.0, 3.0], torch.tensor([0.5, 1.0, 3.0], dtype=dtype)
    np.testing.assert_array_equal(
        ov.ensembles.predict(logits, temperature=short),
        ov.ensembles.predict(logits, temperature=plain),
    )
    np.testing.assert_array_equal(
        ov.ensembles.pairs(logits, target, temperature=short).hits,
        ov.ensembles.pairs(logits, target, temperature=plain).hits,
    )


def test_weights_that_are_no_list_are_named() -> None:
    with pytest.raises(TypeError, match="weights must be 2 numbers"):
        ov.ensembles.predict(np.zeros((2, 3, 4)), weights="ab")  # type: ignore[arg-type]


@pytest.mark.parametrize("combine", COMBINE)
def test_only_the_ratio_of_weights_counts(combine: str, rng: np.random.Generator) -> None:
    """Powers of two change no sum's rounding."""
    logits, _ = draw(rng, "plain", 5, 200, 4)
    expected = ov.ensembles.predict(logits, combine=combine)
    for weight in (2.0**-300, 0.5, 2.0**300):
        result = ov.ensembles.predict(logits, weights=[weight] * 5, combine=combine)
        np.testing.assert_array_equal(result, expected)


def test_bad_arguments_are_named(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 20, 4)
    names = "prob, logit, logprob, vote, max"
    with pytest.raises(ValueError, match=f"combine must be one of {names}: got 'mean'"):
        ov.ensembles.predict(logits, combine="mean")
    for bad in ([3], [0, -1]):
        with pytest.raises(ValueError, match=rf"members must be in 0\.\.2, got {bad[-1]}"):
            ov.ensembles.predict(logits, members=bad)
    for empty in ([], 1, [[0, 1]]):
        with pytest.raises(ValueError, match="members must be indices of models, at least one"):
            ov.ensembles.predict(logits, members=empty)  # type: ignore[arg-type]
    for kind in ([0.0, 1.0], [True, False, True]):
        with pytest.raises(TypeError, match="members must be integer"):
            ov.ensembles.predict(logits, members=kind)
    with pytest.raises(ValueError, match=r"weights must be \(2,\), one a member: got shape \(3,\)"):
        ov.ensembles.predict(logits, members=[0, 1], weights=[1, 1, 1])
    for bad_weights in ([1, -1, 1], [0, 0, 0], [1, np.nan, 1], [1, np.inf, 1]):
        with pytest.raises(ValueError, match="weights must be finite, not negative and not all 0"):
            ov.ensembles.predict(logits, weights=bad_weights)
    with pytest.raises(TypeError, match="weights must be 3 numbers"):
        ov.ensembles.predict(logits, weights=["a", "b", "c"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        ov.ensembles.predict(logits, temperature=0.0)
    with pytest.raises(ValueError, match="logits has 20 samples but target has 19"):
        ov.ensembles.accuracy(logits, target[:-1])
    with pytest.raises(ValueError, match=r"target\[2\] is 4, expected a class in 0..3"):
        ov.ensembles.accuracy(logits, np.where(np.arange(20) == 2, 4, 0))
    with pytest.raises(TypeError, match="got predicted classes, which have no confidence"):
        ov.ensembles.predict(logits.argmax(axis=2))
    with pytest.raises(ValueError, match="logits has no samples"):
        ov.ensembles.predict(logits[:, :0])
    logits[1, 7] = -np.inf
    logits[1, 9, 0] = np.nan
    for combine in COMBINE:
        with pytest.raises(ValueError, match="model 1 has 2 samples .* first at sample 7"):
            ov.ensembles.predict(logits, combine=combine)


def test_models_that_are_no_members_are_not_looked_at(rng: np.random.Generator) -> None:
    logits, _ = draw(rng, "plain", 4, 50, 4)
    logits[1, 7] = np.nan
    ov.ensembles.predict(logits, members=[0, 2, 2])
    with pytest.raises(ValueError, match="model 1 has 1 sample without a prediction") as refusal:
        ov.ensembles.predict(logits, members=[2, 1])
    assert "nan_policy" not in str(refusal.value)  # which ensembles do not take


def test_large_weights_stay_in_range(rng: np.random.Generator) -> None:
    logits, _ = draw(rng, "plain", 5, 200, 4)
    for combine in COMBINE:
        expected = ov.ensembles.predict(logits, combine=combine)
        result = ov.ensembles.predict(logits, weights=[1e308] * 5, combine=combine)
        assert (result == expected).mean() > 0.99  # 1e308 is no power of two: ties may round


def test_weights_and_temperatures_are_numbers(rng: np.random.Generator) -> None:
    logits, _ = draw(rng, "plain", 3, 20, 4)
    for bad in (["1", "2", "3"], [1j, 1, 1], [True, False, True]):
        with pytest.raises(TypeError, match="weights must be 3 numbers"):
            ov.ensembles.predict(logits, weights=bad)
    with pytest.raises(TypeError, match="temperature must be a number or 3 numbers"):
        ov.ensembles.predict(logits, temperature="2.0")  # type: ignore[arg-type]
