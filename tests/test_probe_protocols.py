"""Linear probes whose penalty is chosen on validation samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from ovcore.representations import LinearProbe, _fitting, _search
from ovcore.representations._grids import PROTOCOLS
from plain_probes import problem

CLIP, KORNBLITH = PROTOCOLS["clip"], PROTOCOLS["kornblith"]


def coarse_to_fine(accuracy: Callable[[float], float]) -> tuple[list[float], float]:
    """Exponents of ten that the CLIP paper's search tries, in eighths, and the best of them."""
    tried = {8 * e: accuracy(e) for e in (6, 4, 2, 0, -2, -4, -6)}  # by eighths of a decade
    for step in (8, 4, 2, 1):
        top = max(tried.values())
        center = max(e for e in tried if tried[e] == top)
        for e in (center + step, center - step):
            if abs(e) <= 48:
                tried.setdefault(e, accuracy(e / 8))
    top = max(tried.values())
    return [e / 8 for e in tried], max(e for e in tried if tried[e] == top) / 8


@pytest.mark.parametrize(
    "accuracy",
    [
        pytest.param(lambda e: -((e - 1.3) ** 2), id="peak inside"),
        pytest.param(lambda e: -((e + 3.3) ** 2), id="another"),
        pytest.param(lambda e: e, id="largest"),
        pytest.param(lambda e: -e, id="smallest"),
        pytest.param(lambda _: 0.5, id="all equal"),
        pytest.param(lambda e: float(abs(e) < 2.2), id="plateau"),
        pytest.param(lambda e: round(np.cos(7 * e), 1), id="many peaks"),
    ],
)
def test_clip_searches_from_coarse_to_fine(accuracy: Callable[[float], float]) -> None:
    np.testing.assert_allclose(np.log10(CLIP.lambdas), np.arange(-48, 49) / 8, atol=1e-12)
    tried: list[float] = []

    def tell(i: int) -> float:
        tried.append((i - 48) / 8)
        return accuracy(tried[-1])

    best = CLIP.search(tell)
    expected, best_exponent = coarse_to_fine(accuracy)
    assert sorted(tried) == sorted(expected)
    assert tried[:7] == [6, 4, 2, 0, -2, -4, -6]
    assert (best - 48) / 8 == best_exponent
    assert len(tried) <= CLIP.most_fits() == 15


def test_kornblith_tries_all_from_large_to_small() -> None:
    np.testing.assert_allclose(np.log10(KORNBLITH.lambdas), np.linspace(-6, 5, 45), atol=1e-12)
    tried: list[int] = []
    accuracy = np.zeros(45)
    accuracy[[7, 30, 31]] = 0.9, 0.9, 0.8

    def tell(i: int) -> float:
        tried.append(i)
        return accuracy[i]

    assert KORNBLITH.search(tell) == 30
    assert tried == list(range(44, -1, -1))
    assert KORNBLITH.most_fits() == 45


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("protocol", ["clip", "kornblith"])
def test_each_accuracy_is_that_of_a_plain_fit(
    protocol: str, n_classes: int, rng: np.random.Generator
) -> None:
    features, target = problem(rng, 240, 6, n_classes)
    held, of_held = features[160:], target[160:]
    probe = LinearProbe(protocol=protocol, C=7)  # of no account
    probe.fit(features[:160], target[:160], validation=(held, of_held))
    assert (np.diff(probe.lambdas_) > 0).all()
    assert set(probe.lambdas_) <= set(PROTOCOLS[protocol].lambdas)
    for penalty, accuracy in zip(probe.lambdas_, probe.validation_accuracy_, strict=True):
        plain = LinearProbe(C=1 / penalty).fit(features[:160], target[:160])
        assert abs(plain.score(held, of_held) - accuracy) * 80 <= 1  # a tie by rounding at most
    best = probe.lambdas_[probe.validation_accuracy_ == probe.validation_accuracy_.max()]
    assert best.max() == pytest.approx(1 / probe.C_)
    final = LinearProbe(C=probe.C_).fit(features, target)
    assert probe.loss_ == pytest.approx(final.loss_, rel=1e-8)
    np.testing.assert_allclose(probe.coef_, final.coef_, atol=1e-4 * abs(final.coef_).max())


def test_each_fit_starts_from_the_nearest_larger_penalty(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[float, torch.Tensor] = {}
    fit = _fitting.fit

    def watched(
        problems: Any, preconditioner: Any, ridge: float, *rest: Any, **options: Any
    ) -> Any:
        larger = [other for other in found if other > ridge]
        if problems.n_samples == 300:  # the last: all samples, weights of other features
            assert options["start"] is not None
        elif larger:
            assert options["start"] is found[min(larger)]
        else:
            assert options["start"] is None
        solution = fit(problems, preconditioner, ridge, *rest, **options)
        found[ridge] = solution.weights
        return solution

    monkeypatch.setattr(_fitting, "fit", watched)
    LinearProbe(protocol="clip").fit(*problem(rng))
    assert len(found) > 12


def test_ties_go_to_the_larger_penalty() -> None:
    features = np.repeat([[-1.0], [1.0]], 20, axis=0)
    target = np.repeat(["low", "high"], 20)
    probe = LinearProbe(protocol="kornblith").fit(features, target)
    assert (probe.validation_accuracy_ == 1).all()
    assert 0.99e-5 < probe.C_ < 1.01e-5
    again = probe.set_params(protocol=None).fit(features, target)
    assert again.C_ == 1
    assert not hasattr(again, "lambdas_")


def test_a_share_of_each_class_is_held_out(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = np.repeat(["a", "b", "c", "d"], [50, 23, 9, 1])
    features = rng.normal(size=(83, 3))
    order = rng.permutation(83)
    features, target = features[order], target[order]
    seen, search = [], _search.search

    def watched(training: Any, validation: Any, *rest: Any) -> Any:
        seen.append((training[0].parts[0].values, validation[0].parts[0].values, validation[1]))
        return search(training, validation, *rest)

    monkeypatch.setattr(_search, "search", watched)
    for seed in (0, 0, 1):
        settings = {"protocol": "clip", "validation_fraction": 0.3, "seed": seed}
        LinearProbe(**settings).fit(features, target)
        training, held, of_held = seen[-1]
        assert np.bincount(of_held, minlength=4).tolist() == [15, 6, 2, 0]
        both = np.concatenate([training, held])
        np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(features, axis=0))
        rows = [int(np.flatnonzero((features == row).all(1))[0]) for row in held]
        assert (np.array(list("abcd"))[of_held] == target[rows]).all()
    np.testing.assert_array_equal(seen[0][1], seen[1][1])
    assert not np.array_equal(seen[0][1], seen[2][1])


def test_validation_samples_of_several_models_and_other_libraries(
    rng: np.random.Generator,
) -> None:
    features, target = problem(rng)
    parts = [torch.from_numpy(p).to(torch.bfloat16) for p in np.hsplit(features, [3])]
    probe = LinearProbe(protocol="clip").fit(
        [p[:200] for p in parts], target[:200], validation=([p[200:] for p in parts], target[200:])
    )
    plain = LinearProbe(C=probe.C_).fit(parts, target)
    np.testing.assert_allclose(probe.coef_, plain.coef_, atol=1e-4)


def test_what_protocols_refuse(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    held = features[:50].copy()
    bad = held.copy()
    bad[3, 3] = np.nan
    clip = {"protocol": "clip"}
    for settings, validation, message in [
        ({"protocol": "vtab"}, None, "protocol must be one of clip, kornblith or None, got 'vtab'"),
        ({}, (held, target[:50]), "validation is for a protocol: pass protocol="),
        (clip, (held, target[:49]), "validation[0] has 50 samples but validation[1] has 49"),
        (clip, (held, target[:50] + 1), " is a label that y does not have"),
        (clip, (held[:, 1:], target[:50]), "validation[0] must be float64 (N, 8) of numpy, got "),
        (clip, (held.astype(np.float32), target[:50]), "got float32 (N, 8) of numpy"),
        (clip, (torch.from_numpy(held), target[:50]), "got float64 (N, 8) of torch"),
        (clip, (bad, target[:50]), "NaN or infinite values in 1 of 8 dimensions"),
        (clip | {"validation_fraction": 0}, None, "must be between 0 and 1, got 0"),
        (clip | {"validation_fraction": 1.0}, None, "must be between 0 and 1, got 1.0"),
        (clip | {"validation_fraction": 1e-3}, None, "of no class is a whole sample"),
    ]:
        with pytest.raises(ValueError) as raised:
            LinearProbe(**settings).fit(features, target, validation=validation)
        assert message in str(raised.value)


def test_validation_samples_are_checked_before_the_search(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng)
    monkeypatch.setattr(_fitting, "fit", lambda *_, **__: pytest.fail("a fit began"))
    with pytest.raises(ValueError, match="NaN"):
        LinearProbe(protocol="clip").fit(
            features, target, validation=(np.full((9, 8), np.nan), target[:9])
        )
