"""Greedy selection against plain loops, and against Caruana et al. (2004)."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.special import softmax

import ovcore as ov
from plain_ensembles import KINDS, draw, of_type, scores, together

TINY = float(np.finfo(np.float32).tiny)
NOTHING_HELD_OUT = "greedy selection reports on the samples it selects on"


class Step(NamedTuple):
    model: int
    hits: int
    nll: float


def worth(
    own: np.ndarray, terms: np.ndarray, target: np.ndarray, members: list[int], combine: str
) -> Step:
    """Hits and mean NLL of an ensemble, from nothing."""
    hits = int((together(own, terms, members) == target).sum())
    if combine != "prob":
        return Step(members[-1], hits, 0.0)
    total = np.zeros(len(target))
    for m in members:
        total += terms[m, np.arange(len(target)), target]
    nll = -np.log(np.maximum(total / len(members), TINY)).mean()
    return Step(members[-1], hits, float(nll))


def grown(
    own: np.ndarray,
    terms: np.ndarray,
    target: np.ndarray,
    *,
    start: list[int],
    max_size: int | None,
    replacement: bool,
    use_best: bool,
    metric: str,
    combine: str,
    decided_by: Counter[str] | None = None,
) -> list[Step]:
    members: list[int] = []
    steps: list[Step] = []
    for m in start:
        members.append(m)
        steps.append(worth(own, terms, target, members, combine))
    by = (lambda step: step.nll) if metric == "nll" else (lambda step: -step.hits)
    while max_size is None or len(steps) < max_size:
        tries = [
            worth(own, terms, target, [*members, m], combine)
            for m in range(len(own))
            if replacement or m not in members
        ]
        if not tries:
            break

        def rank(step: Step) -> tuple[float, bool, float, int]:
            return by(step), step.model not in members, step.nll, step.model

        best = min(tries, key=rank)
        if decided_by is not None:
            decided_by[which_rule(sorted(map(rank, tries)))] += 1
        if max_size is None and steps and not by(best) < by(steps[-1]):
            break
        members.append(best.model)
        steps.append(best)
    if use_best:
        shortest = max(len(start), 1)
        best = min(range(shortest - 1, len(steps)), key=lambda i: by(steps[i]))
        steps = steps[: best + 1]
    return steps


def which_rule(ranks: list[tuple[float, bool, float, int]]) -> str:
    if len(ranks) == 1:
        return "worth"
    first, second = ranks[:2]
    rules = ("worth", "in use", "nll", "index")
    return next(rule for rule, a, b in zip(rules, first, second, strict=True) if a != b)


@pytest.mark.filterwarnings(f"ignore:{NOTHING_HELD_OUT}")
def test_two_hundred_problems_choose_as_a_plain_loop(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    rng = np.random.default_rng(2004)
    decided_by: Counter[str] = Counter()
    for trial in range(200):
        n_models, n_samples = int(rng.integers(1, 7)), int(rng.integers(2, 31))
        values, target = draw(rng, KINDS[trial % 5], n_models, n_samples, int(rng.integers(2, 6)))
        if n_models > 2 and rng.random() < 0.3:
            values[-1] = values[0]  # a twin: ties to the last rule
        logits, z = of_type(values, rng.choice(["float32", "float64", "bfloat16"]))
        temperature = rng.choice([0.5, 1.0, 2.0], n_models if trial % 2 else ())
        if temperature.ndim and (values[-1] == values[0]).all():
            temperature[-1] = temperature[0]
        metric = str(rng.choice(["accuracy", "accuracy", "nll"]))
        combine = "prob" if metric == "nll" else str(rng.choice(["prob", "logit", "logprob"]))
        replacement = bool(rng.random() < 0.5)
        most = 9 if replacement else n_models
        some = int(rng.integers(1, n_models + 1))
        start = [
            None,
            int(rng.integers(n_models)),
            list(map(int, rng.permutation(n_models)[:some])),
        ][int(rng.integers(3))]
        if replacement and isinstance(start, list):
            start = [*start, start[0]]
        first = [] if start is None else [start] if isinstance(start, int) else start
        size = None if rng.random() < 0.4 else int(rng.integers(max(1, len(first)), most + 1))
        if metric == "nll" and replacement and size is None:
            size = most  # the mean may come ever closer to one model's probabilities
        keep = np.ones(n_samples, bool)
        if rng.random() < 0.6:
            keep = rng.permutation(n_samples) < rng.integers(1, n_samples)
        options: dict[str, Any] = {
            "replacement": replacement, "max_size": size, "metric": metric, "combine": combine,
            "use_best": bool(rng.random() < 0.4),
        }  # fmt: skip
        result = ov.ensembles.greedy(
            logits,
            target,
            start=start,
            temperature=temperature,
            holdout=None if keep.all() else ~keep,
            **options,
        )
        own, terms = z.argmax(axis=2), scores(z, temperature, combine)
        steps = grown(
            own[:, keep], terms[:, keep], target[keep], start=first, decided_by=decided_by,
            **options,
        )  # fmt: skip
        assert result.members == tuple(step.model for step in steps), trial
        hits = np.array([step.hits for step in steps])
        np.testing.assert_array_equal(result.selection_accuracy, hits / keep.sum())
        nll = [step.nll if combine == "prob" else np.nan for step in steps]
        np.testing.assert_allclose(result.selection_nll, nll, rtol=1e-14)
        other = np.ones(n_samples, bool) if keep.all() else ~keep
        for size, share in enumerate(np.asarray(result.accuracy), start=1):
            reported = together(own[:, other], terms[:, other], list(result.members[:size]))
            assert share == (reported == target[other]).mean()
        assert len(result.held_out) == (~keep).sum()
    assert min(decided_by[rule] for rule in ("worth", "in use", "nll", "index")) >= 20, decided_by


def caruana(probs: np.ndarray, target: np.ndarray, size: int) -> list[int]:
    """Ensemble selection with replacement as its paper tells it, for cross-entropy.

    Start with the empty ensemble; add the model of the library that maximises the ensemble's
    performance on the hillclimb set, by averaging predictions; models stay in the library.
    """
    bag = np.zeros(len(probs))
    order = []
    for _ in range(size):
        performance = []
        for m in range(len(probs)):
            counts = bag + (np.arange(len(probs)) == m)
            mean = np.einsum("m,mnk->nk", counts / counts.sum(), probs)
            performance.append(np.log(mean[np.arange(len(target)), target]).mean())
        order.append(int(np.argmax(performance)))
        bag[order[-1]] += 1
    return order


def test_selection_with_replacement_is_that_of_caruana(rng: np.random.Generator) -> None:
    for _ in range(5):
        target = rng.integers(0, 5, 400)
        logits = rng.normal(size=(8, 400, 5)) + np.eye(5)[target]
        hillclimb = np.arange(400) % 2 == 0
        result = ov.ensembles.greedy(
            logits, target, replacement=True, max_size=15, metric="nll", holdout=~hillclimb
        )
        expected = caruana(softmax(logits[:, hillclimb], axis=2), target[hillclimb], 15)
        assert list(result.members) == expected
        assert 4 < len(set(expected)) < 15  # models come again


def test_each_choice_has_the_best_accuracy_there_is(rng: np.random.Generator) -> None:
    """Caruana's hillclimbing by accuracy, whichever of tied models joins."""
    logits, target = draw(rng, "plain", 7, 600, 6)
    held_out = np.arange(600) >= 300
    for replacement in (True, False):
        result = ov.ensembles.greedy(
            logits, target, replacement=replacement, max_size=7, holdout=held_out
        )
        for size in range(7):
            so_far = list(result.members[:size])
            allowed = [m for m in range(7) if replacement or m not in so_far]
            tries = [
                ov.ensembles.accuracy(logits[:, :300], target[:300], members=[*so_far, m])
                for m in allowed
            ]
            assert result.selection_accuracy[size] == max(tries)
            assert tries[allowed.index(result.members[size])] == max(tries)


@pytest.mark.parametrize("combine", ["prob", "logit"])
def test_reported_are_accuracies_on_samples_held_out(
    combine: str, rng: np.random.Generator
) -> None:
    logits, target = draw(rng, "plain", 6, 301, 4)
    temperature = rng.uniform(0.5, 2, 6)
    indices = rng.permutation(301)[:100]
    mask = np.isin(np.arange(301), indices)
    given: tuple[Any, ...] = (
        indices,
        indices.tolist(),
        mask,
        torch.from_numpy(mask),
        mask.tolist(),
    )
    for holdout in given:
        result = ov.ensembles.greedy(
            logits, target, start=2, max_size=5, temperature=temperature, combine=combine,
            holdout=holdout,
        )  # fmt: skip
        assert len(result.held_out) == 100
        assert result.members[0] == 2
        for size in range(1, 6):
            for rows, reported in ((mask, result.accuracy), (~mask, result.selection_accuracy)):
                share = ov.ensembles.accuracy(
                    logits[:, rows], target[rows], members=result.members[:size],
                    temperature=temperature, combine=combine,
                )  # fmt: skip
                assert reported[size - 1] == share


def test_a_share_is_drawn_by_seed(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 6, 301, 4)

    def select(seed: int) -> ov.ensembles.GreedySelection:
        return ov.ensembles.greedy(logits, target, max_size=6, holdout=0.3, seed=seed)

    one, again = select(3), select(3)
    assert len(one.held_out) == 90
    assert one.members == again.members
    np.testing.assert_array_equal(one.accuracy, again.accuracy)
    np.testing.assert_array_equal(one.selection_accuracy, again.selection_accuracy)
    assert len({tuple(select(seed).accuracy) for seed in range(5)}) > 1
    for size in range(1, 7):  # both sides make up all samples
        hits = one.accuracy[size - 1] * 90 + one.selection_accuracy[size - 1] * 211
        share = ov.ensembles.accuracy(logits, target, members=one.members[:size])
        assert round(hits) == round(share * 301)


def test_where_nothing_is_held_out_it_says_so(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 4, 100, 3)
    with pytest.warns(UserWarning, match=NOTHING_HELD_OUT) as record:
        result = ov.ensembles.greedy(logits, target)
    assert record[0].filename == __file__
    assert len(result.held_out) == 0
    np.testing.assert_array_equal(result.accuracy, result.selection_accuracy)


def test_growth_ends_where_nothing_is_gained(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 8, 200, 4)
    held_out = np.arange(200) < 50
    for metric in ("accuracy", "nll"):
        options: dict[str, Any] = {"metric": metric, "holdout": held_out}
        grown_, longest = (
            ov.ensembles.greedy(logits, target, max_size=size, **options) for size in (None, 8)
        )
        size = len(grown_.members)
        assert grown_.members == longest.members[:size]
        values = -longest.selection_nll if metric == "nll" else longest.selection_accuracy
        assert (np.diff(values[:size]) > 0).all()
        assert size == 8 or values[size] <= values[size - 1]
        assert len(set(longest.members)) == 8


def test_use_best_keeps_the_best_prefix_but_never_less_than_the_start() -> None:
    rng = np.random.default_rng(1)
    values, target = draw(rng, "plain", 6, 200, 4)
    values[3:] = rng.normal(size=(3, 200, 4))  # of no use
    options: dict[str, Any] = {"max_size": 6, "holdout": np.arange(200) < 50}
    whole = ov.ensembles.greedy(values, target, **options)
    best = ov.ensembles.greedy(values, target, use_best=True, **options)
    size = int(np.argmax(whole.selection_accuracy)) + 1
    assert best.members == whole.members[:size]
    assert size < 6
    harmful = ov.ensembles.greedy(values, target, start=[0, 3, 4], use_best=True, **options)
    assert harmful.members[:3] == (0, 3, 4)


def test_a_pair_is_worth_what_pairs_and_predict_say(rng: np.random.Generator) -> None:
    for kind in KINDS:
        logits, target = draw(rng, kind, 5, 120, 4)
        for combine in ("prob", "logit"):
            with pytest.warns(UserWarning, match=NOTHING_HELD_OUT):
                result = ov.ensembles.greedy(
                    logits, target, start=1, max_size=2, replacement=True, combine=combine
                )
            pairs = ov.ensembles.pairs(logits, target, combine=combine)
            assert result.accuracy[1] == pairs.accuracy[1].max()
            assert result.accuracy[1] == pairs.accuracy[result.members]
            share = ov.ensembles.accuracy(logits, target, members=result.members, combine=combine)
            assert result.accuracy[1] == share


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 4, 100, 3)
    options: dict[str, Any] = {"max_size": 3, "holdout": 0.5}
    expected = ov.ensembles.greedy(logits, target, **options)
    result = ov.ensembles.greedy(torch.from_numpy(logits), torch.from_numpy(target), **options)
    assert result.members == expected.members
    assert all(type(m) is int for m in result.members)
    for name in ("accuracy", "selection_accuracy", "selection_nll"):
        value = getattr(result, name)
        assert isinstance(value, torch.Tensor)
        assert value.dtype == torch.float64
        np.testing.assert_array_equal(value.numpy(), getattr(expected, name))


def test_bad_arguments_are_named(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 50, 4)

    def refused(kind: type[Exception], message: str, **options: Any) -> None:
        with pytest.raises(kind, match=message):
            ov.ensembles.greedy(logits, target, **{"holdout": 0.5, **options})

    refused(ValueError, "metric must be one of accuracy, nll: got 'f1'", metric="f1")
    refused(ValueError, "metric='nll' .* got 'logit'", metric="nll", combine="logit")
    refused(ValueError, "combine must be one of prob, logit, logprob: got 'vote'", combine="vote")
    refused(ValueError, r"start must be in 0\.\.2, got 3", start=3)
    refused(ValueError, r"start must be in 0\.\.2, got -1", start=[0, -1])
    refused(ValueError, "start must be indices of models, at least one", start=[])
    refused(ValueError, r"start has a model twice.* got \[1, 1\]", start=[1, 1])
    refused(TypeError, "start must be integer, got float64", start=1.0)
    refused(ValueError, r"max_size must be in 1\.\.3, got 0", max_size=0)
    refused(ValueError, r"max_size must be in 1\.\.3, got 4", max_size=4)
    refused(ValueError, r"max_size must be in 2\.\.3, got 1", max_size=1, start=[0, 1])
    refused(ValueError, "max_size must be at least 1, got 0", max_size=0, replacement=True)
    refused(TypeError, "max_size must be an integer or None, got 2.0", max_size=2.0)
    for bad in (0, 1, 0.0, 1.0, -0.5, 1.5, float("nan"), "half", True):
        refused(ValueError, "holdout must be a share between 0 and 1, or samples", holdout=bad)
    for out in ([50], [-1], [[0], [1]]):
        refused(ValueError, r"holdout must be indices of samples in 0\.\.49", holdout=out)
    refused(TypeError, "holdout must be integer", holdout=[0.5, 0.2])
    for all_or_none in (np.ones(50, bool), np.zeros(50, bool), range(50), 1e-9, 0.999):
        refused(ValueError, "holdout must leave samples on both sides", holdout=all_or_none)
    refused(ValueError, "temperature must be positive and finite", temperature=-1.0)
    logits[2, 3] = np.nan
    refused(ValueError, "model 2 has 1 sample without a prediction")


@pytest.mark.parametrize("holdout", [[], np.ones(49, bool)])
def test_samples_that_are_none_or_too_few_are_named(holdout: Any, rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 50, 4)
    with pytest.raises(ValueError, match="holdout"):
        ov.ensembles.greedy(logits, target, holdout=holdout)


def test_a_selection_that_may_never_end_needs_a_size(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 50, 4)
    options: dict[str, Any] = {"metric": "nll", "replacement": True, "holdout": 0.5}
    with pytest.raises(ValueError, match="may never stop improving: pass max_size"):
        ov.ensembles.greedy(logits, target, **options)
    assert len(ov.ensembles.greedy(logits, target, max_size=9, **options).members) == 9


def test_what_is_held_out_is_told(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 4, 80, 5)
    result = ov.ensembles.greedy(logits, target, max_size=2, holdout=0.25, seed=3)
    held_out = result.held_out
    again = ov.ensembles.greedy(logits, target, max_size=2, holdout=held_out)
    assert again.members == result.members
    expected = ov.ensembles.accuracy(
        logits[:, held_out], target[held_out], members=list(result.members)
    )
    assert result.accuracy[-1] == expected
