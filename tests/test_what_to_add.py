"""Which model to add next, against a plain computation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

import ovcore as ov
from plain_ensembles import DTYPES, KINDS, draw, of_type, scores, together


def ranked(
    own: np.ndarray,
    terms: np.ndarray,
    target: np.ndarray,
    base: list[int],
    pool: list[int],
    cost: np.ndarray | None,
) -> list[tuple[int, int, int]]:
    """(model, gained, lost) of each model of the pool, best first."""
    before = together(own, terms, base) == target
    rows = []
    for m in pool:
        after = together(own, terms, [*base, m]) == target
        rows.append((m, int((after & ~before).sum()), int((before & ~after).sum())))
    price = np.zeros(len(own)) if cost is None else cost
    return sorted(rows, key=lambda row: (row[2] - row[1], price[row[0]], row[0]))


@pytest.mark.parametrize("combine", ["prob", "logit", "logprob"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_additions_equal_a_plain_computation(
    dtype: str,
    combine: str,
    backend: str,
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OVCORE_BACKEND", backend)
    for trial, kind in enumerate((*KINDS, *KINDS)):
        n = int(rng.integers(20, 150))
        values, target = draw(rng, kind, 6, n, int(rng.integers(2, 9)))
        logits, z = of_type(values, dtype)
        temperature = rng.choice([0.5, 1.0, 2.0], 6)
        own, terms = z.argmax(axis=2), scores(z, temperature, combine)
        base = list(map(int, rng.integers(0, 6, trial % 4 + 1)))  # may have a model twice
        pool = None if trial % 2 else list(map(int, rng.permutation(6)[:4]))
        cost = None if trial % 3 else rng.integers(0, 2, 6).astype(float)
        level = float(rng.choice([0.5, 0.95]))
        result = ov.ensembles.what_to_add(
            logits, target, base[0] if len(base) == 1 else base, pool=pool, cost=cost,
            temperature=temperature, combine=combine, level=level,
        )  # fmt: skip
        rest = [m for m in range(6) if m not in base]
        expected = ranked(own, terms, target, base, rest if pool is None else pool, cost)
        models, gained, lost = (np.array(column) for column in zip(*expected, strict=True))
        np.testing.assert_array_equal(result.models, models)
        np.testing.assert_array_equal(result.gained, gained)
        np.testing.assert_array_equal(result.lost, lost)
        np.testing.assert_array_equal(result.gain, (gained - lost) / n)
        variance = ((gained + lost) - (gained - lost) ** 2 / n) / n**2
        margin = norm.ppf((1 + level) / 2) * np.sqrt(variance)
        np.testing.assert_allclose(result.low, (gained - lost) / n - margin, atol=1e-12)
        np.testing.assert_allclose(result.high, (gained - lost) / n + margin, atol=1e-12)
        assert result.base_accuracy == (together(own, terms, base) == target).mean()
        np.testing.assert_allclose(result.accuracy, result.base_accuracy + result.gain, atol=1e-14)
        if cost is None:
            assert result.cost is None
        else:
            np.testing.assert_array_equal(result.cost, cost[models])


def test_accuracies_are_those_of_the_larger_ensemble(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 6, 300, 5)
    for combine in ("prob", "logit"):
        result = ov.ensembles.what_to_add(logits, target, [1, 4], combine=combine)
        assert sorted(result.models) == [0, 2, 3, 5]
        for model, share in zip(result.models, result.accuracy, strict=True):
            members = [1, 4, model]
            assert share == ov.ensembles.accuracy(logits, target, members=members, combine=combine)
        alone = ov.ensembles.what_to_add(logits, target, 2, combine=combine)
        pairs = ov.ensembles.pairs(logits, target, combine=combine)
        np.testing.assert_array_equal(alone.accuracy, pairs.accuracy[2, alone.models])


def test_what_comes_first_is_what_greedy_adds(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 6, 400, 5)
    first = int(ov.ensembles.what_to_add(logits[:, :200], target[:200], [3, 0]).models[0])
    selected = ov.ensembles.greedy(
        logits, target, start=[3, 0], max_size=3, holdout=np.arange(200, 400)
    )
    assert selected.members == (3, 0, first)


def test_of_the_same_gain_the_cheaper_comes_first(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 2, 100, 4)
    four = [logits[0], logits[1], logits[1], logits[1]]
    assert ov.ensembles.what_to_add(four, target, 0).models.tolist() == [1, 2, 3]
    result = ov.ensembles.what_to_add(four, target, 0, cost=[9, 3, 1, 3])
    assert result.models.tolist() == [2, 1, 3]
    assert result.cost.tolist() == [1.0, 3.0, 3.0]


def test_a_model_of_the_base_adds_nothing_to_itself(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 100, 4)
    result = ov.ensembles.what_to_add(logits, target, 1, pool=[1])
    for name in ("gain", "low", "high", "gained", "lost"):
        assert getattr(result, name).tolist() == [0]
    assert result.accuracy.tolist() == [result.base_accuracy]


def test_where_no_class_is_left_the_base_is_wrong() -> None:
    logits = np.array([[[0.0, -np.inf]], [[-np.inf, 0.0]], [[1.0, 0.0]]])
    for target in (0, 1):
        result = ov.ensembles.what_to_add(logits, np.array([target]), [0, 1], combine="logit")
        assert (result.base_accuracy, result.gained.tolist()) == (0.0, [0])


def test_rows_and_table_name_models(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 4, 100, 3)
    names = ["base", "b", "c", "d"]
    result = ov.ensembles.what_to_add(logits, target, 0, cost=[1.0, 2.5, 3.0, 4.0])
    rows = result.rows(names)
    assert [row["model"] for row in rows] == [names[m] for m in result.models]
    assert [row["model"] for row in result.rows()] == result.models.tolist()
    for i, row in enumerate(rows):
        assert set(row) == {"model", "gain", "low", "high", "accuracy", "cost"}
        for key in ("gain", "low", "high", "accuracy", "cost"):
            assert row[key] == getattr(result, key)[i]
            assert type(row[key]) is float
    lines = result.table(names).splitlines()
    assert lines[0].split() == ["model", "gain", "low", "high", "accuracy", "cost"]
    assert [line.split()[0] for line in lines[2:]] == [row["model"] for row in rows]
    assert "cost" not in ov.ensembles.what_to_add(logits, target, 0).rows()[0]


def test_torch_in_torch_out(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 4, 100, 3)
    costs = [1.0, 2.0, 3.0, 4.0]
    expected = ov.ensembles.what_to_add(logits, target, [0], cost=costs)
    result = ov.ensembles.what_to_add(
        torch.from_numpy(logits), torch.from_numpy(target), torch.tensor([0]),
        cost=torch.tensor(costs),
    )  # fmt: skip
    for name in ("models", "gain", "low", "high", "accuracy", "gained", "lost", "cost"):
        value = getattr(result, name)
        assert isinstance(value, torch.Tensor), name
        np.testing.assert_array_equal(value.numpy(), getattr(expected, name), strict=True)
    assert result.base_accuracy == expected.base_accuracy
    assert result.rows() == expected.rows()
    assert result.table() == expected.table()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_costs_of_any_type_are_their_values(dtype: torch.dtype, rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 60, 4)
    result = ov.ensembles.what_to_add(
        logits, target, 0, cost=torch.tensor([1.0, 2.0, 3.0], dtype=dtype)
    )
    np.testing.assert_array_equal(result.cost, result.models + 1.0)


def test_names_that_are_too_few_are_named(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 60, 4)
    with pytest.raises(ValueError, match="names"):
        ov.ensembles.what_to_add(logits, target, 0).rows(["a", "b"])


def test_bad_arguments_are_named(rng: np.random.Generator) -> None:
    logits, target = draw(rng, "plain", 3, 50, 4)

    def refused(kind: type[Exception], message: str, base: Any = 0, **options: Any) -> None:
        with pytest.raises(kind, match=message):
            ov.ensembles.what_to_add(logits, target, base, **options)

    for name, place in (("base", [5]), ("base", 5), ("pool", [5])):
        options: dict[str, Any] = {name: place}
        refused(ValueError, rf"{name} must be in 0\.\.2, got 5", **options)
        refused(ValueError, f"{name} must be indices of models, at least one", **{name: []})
        refused(TypeError, f"{name} must be integer, got float64", **{name: [0.5]})
    refused(ValueError, "base has all models: there is none to add", [0, 1, 2])
    for bad in ([1.0, 2.0], [1.0, np.nan, 2.0], [1.0, np.inf, 2.0], 3.0):
        refused(ValueError, "cost must be 3 finite numbers, one a model", cost=bad)
    refused(TypeError, "cost must be 3 numbers, one a model", cost=["a", "b", "c"])
    for level in (0, 1, -0.5, 1.5, np.nan, "high"):
        refused(ValueError, "level must be a number between 0 and 1", level=level)
    refused(ValueError, "combine must be one of prob, logit, logprob: got 'max'", combine="max")
    refused(ValueError, "temperature must be positive and finite", temperature=[1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="logits has 50 samples but target has 49"):
        ov.ensembles.what_to_add(logits, target[:-1], 0)
    logits[2, 3] = np.nan
    refused(ValueError, "model 2 has 1 sample without a prediction")
