"""McNemar's test and adjusted p values against enumeration and other people's libraries."""

from __future__ import annotations

import math
import re
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

import ovcore as ov
from ovcore.significance import adjust_p_values

METHODS = ["exact", "mid-p", "chi2"]


def random_errors(
    rng: np.random.Generator, n_models: int = 7, n_samples: int = 300
) -> tuple[np.ndarray, ov.ErrorBits]:
    """(M, N) which model is wrong, of accuracies near and far, and the same as bits."""
    skill = rng.normal(scale=0.3, size=(n_models, 1))
    wrong = rng.normal(size=n_samples) + rng.normal(size=(n_models, n_samples)) > 0.5 + skill
    return wrong, ov.pack_errors(wrong.astype(int), np.zeros(n_samples, int))


def of_two(n10: int, n01: int, n_samples: int = 40) -> ov.JointErrors:
    return ov.JointErrors(np.array([[n01, 0], [0, n10]]), n_samples)


def enumerated(n10: int, n01: int) -> tuple[Fraction, Fraction]:
    """Exact and mid-p values of a fair binomial by its probabilities, in rational numbers."""
    trials, fewer = n10 + n01, min(n10, n01)
    chance = [Fraction(math.comb(trials, k), 2**trials) for k in range(fewer + 1)]
    return min(Fraction(1), 2 * sum(chance)), 2 * sum(chance) - chance[fewer]


def test_small_tables_are_enumerated() -> None:
    for n10 in range(13):
        for n01 in range(13):
            exact, mid_p = enumerated(n10, n01)
            counts = of_two(n10, n01)
            assert ov.pairwise.mcnemar(counts)[0, 1] == pytest.approx(float(exact), rel=1e-12)
            result = ov.pairwise.mcnemar(counts, method="mid-p")[0, 1]
            assert result == pytest.approx(float(mid_p), rel=1e-12)


def test_statsmodels_and_mlxtend_agree(rng: np.random.Generator) -> None:
    from mlxtend.evaluate import mcnemar as mlxtend_mcnemar
    from mlxtend.evaluate import mcnemar_table

    wrong, errors = random_errors(rng)
    exact = ov.pairwise.mcnemar(errors)
    chi2 = ov.pairwise.mcnemar(errors, method="chi2")
    n_compared = 0
    for a in range(len(wrong)):
        for b in range(a + 1, len(wrong)):
            table = mcnemar_table(np.zeros(wrong.shape[1]), wrong[a], wrong[b])
            expected = statsmodels_mcnemar(table, exact=True).pvalue
            assert exact[a, b] == pytest.approx(expected, rel=1e-10)
            if table[0, 1] == table[1, 0]:  # their correction passes zero there; ours does not
                assert chi2[a, b] == 1
                continue
            n_compared += 1
            expected = statsmodels_mcnemar(table, exact=False, correction=True).pvalue
            assert chi2[a, b] == pytest.approx(expected, rel=1e-10)
            assert chi2[a, b] == pytest.approx(mlxtend_mcnemar(table)[1], rel=1e-10)
    assert n_compared > 10
    assert exact.min() < 0.01 < 0.5 < exact[~np.eye(len(exact), dtype=bool)].max()


@pytest.mark.parametrize("method", METHODS)
def test_p_values_are_symmetric_and_one_where_nothing_tells_models_apart(
    method: str, rng: np.random.Generator
) -> None:
    _, errors = random_errors(rng)
    p = ov.pairwise.mcnemar(errors.select([0, 1, 2, 2]), method=method)
    np.testing.assert_array_equal(p, p.T)
    np.testing.assert_array_equal(p.diagonal(), 1)
    assert p[2, 3] == 1
    assert ((p >= 0) & (p <= 1)).all()
    assert ov.pairwise.mcnemar(of_two(5, 5), method=method)[0, 1] == pytest.approx(1, abs=1e-15)
    assert ov.pairwise.mcnemar(of_two(0, 0), method=method)[0, 1] == 1


def test_counts_of_millions() -> None:
    """The three methods meet where samples are many: 1,000 of a million is one standard error."""
    counts = of_two(500_500, 499_500, 10_000_000)
    for method in METHODS:
        p = ov.pairwise.mcnemar(counts, method=method)[0, 1]
        assert p == pytest.approx(math.erfc(1 / math.sqrt(2)), rel=0.002)
    assert ov.pairwise.mcnemar(of_two(600_000, 400_000, 10_000_000))[0, 1] == 0


def test_pairs_are_tested_on_the_samples_both_have(rng: np.random.Generator) -> None:
    wrong, _ = random_errors(rng, n_models=3)
    n = wrong.shape[1]
    logits = np.eye(2)[wrong.astype(int)]
    logits[0, : n // 2] = np.nan
    logits[1, 200:] = np.nan
    logits[2, n // 2 :] = np.nan
    errors = ov.pack_errors(logits, np.zeros(n, int), nan_policy="omit")
    p = ov.pairwise.mcnemar(errors)
    alone = ov.pack_errors(wrong[:2, n // 2 : 200].astype(int), np.zeros(200 - n // 2, int))
    assert p[0, 1] == p[1, 0] == ov.pairwise.mcnemar(alone)[0, 1] < 1
    assert np.isnan(p[0, 2])  # they share none
    assert np.isnan(p[2, 0])
    adjusted = ov.pairwise.mcnemar(errors, adjust="holm")
    np.testing.assert_array_equal(adjusted, adjusted.T)
    expected = multipletests([p[0, 1], p[1, 2]], method="holm")[1]  # two tests, not three
    np.testing.assert_allclose([adjusted[0, 1], adjusted[1, 2]], expected, rtol=1e-12)
    assert np.isnan(adjusted[0, 2])


@pytest.mark.parametrize(("method", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_adjusting_agrees_with_statsmodels(
    method: str, theirs: str, rng: np.random.Generator
) -> None:
    for p in (rng.random(200) ** 3, np.round(rng.random(30) ** 2, 1), np.array([0.2])):
        expected = multipletests(p, method=theirs)[1]
        np.testing.assert_allclose(adjust_p_values(p, method), expected, rtol=1e-12)
    _, errors = random_errors(rng)
    plain = ov.pairwise.mcnemar(errors)
    adjusted = ov.pairwise.mcnemar(errors, adjust=method)
    pairs = np.triu_indices(len(plain), 1)
    expected = multipletests(plain[pairs], method=theirs)[1]
    np.testing.assert_allclose(adjusted[pairs], expected, rtol=1e-12)
    np.testing.assert_array_equal(adjusted, adjusted.T)
    np.testing.assert_array_equal(adjusted.diagonal(), 1)
    np.testing.assert_array_equal(adjusted, adjust_p_values(plain, method))
    assert (adjusted[pairs] > plain[pairs]).any()


def test_adjusting_leaves_its_argument_alone_and_undefined_tests_out() -> None:
    p = np.array([0.01, np.nan, 0.04])
    adjusted = adjust_p_values(p, "holm")
    np.testing.assert_array_equal(adjusted, [0.02, np.nan, 0.04])
    np.testing.assert_array_equal(p, [0.01, np.nan, 0.04])
    tensor = adjust_p_values(torch.tensor([0.01, 0.04], dtype=torch.float64), "bh")
    assert isinstance(tensor, torch.Tensor)
    assert tensor.tolist() == [0.02, 0.04]
    assert len(adjust_p_values(np.zeros(0), "bh")) == 0


def test_bad_options_are_named(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    _, errors = random_errors(rng)
    for call, message in (
        (lambda: ov.pairwise.mcnemar(errors, method="fisher"), "exact, mid-p, chi2: got 'fisher'"),
        (lambda: ov.pairwise.mcnemar(errors, adjust="x"), "adjust must be 'holm' or 'bh', got 'x'"),
        (lambda: adjust_p_values(np.ones(2), "x"), "method must be 'holm' or 'bh', got 'x'"),
        (lambda: adjust_p_values(np.ones((2, 3)), "bh"), "(m,) or (M, M), got shape (2, 3)"),
        (lambda: adjust_p_values(np.array(0.5), "bh"), "(m,) or (M, M), got shape ()"),
        (lambda: adjust_p_values(np.array([0.5, 1.5]), "bh"), "in 0..1, got 0.5 to 1.5"),
        (lambda: adjust_p_values(np.eye(2) * [[1, 2], [0, 1]] + [[0, 1], [0, 0]], "bh"),
         "must be symmetric"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'ovcore[stats]'")):
        ov.pairwise.mcnemar(errors)
