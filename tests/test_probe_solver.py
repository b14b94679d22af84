"""What linear probes are solved by: losses, gradients, blocks, precision, threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ovcore.representations import LinearProbe, LinearProbes, _design, _fitting, _objective
from ovcore.representations._objective import Problems
from plain_probes import objective, problem, scikit_learn


def test_scales_far_apart_take_few_iterations(rng: np.random.Generator) -> None:
    features, target = problem(rng, mean=0)
    features *= 10.0 ** np.linspace(-4, 4, 8)
    probe = LinearProbe(standardize=False).fit(features, target)
    assert probe.n_iter_ < 100
    expected = scikit_learn(features, target)
    lowest = objective(features, target, *expected, 1)
    assert probe.loss_ * len(features) == pytest.approx(lowest, rel=1e-8)


def test_nearly_equal_dimensions_in_float32(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding leaves their second moments without a Cholesky factor."""
    base = rng.normal(size=(400, 1))
    features = (base + 1e-3 * rng.normal(size=(400, 200))).astype(np.float32)
    target = (base[:, 0] + rng.normal(size=400) > 0).astype(int)
    exact = LinearProbe(C=1e6).fit(features, target)
    monkeypatch.setattr(_design, "_SMALL", 0)
    probe = LinearProbe(C=1e6).fit(features, target)
    assert probe.loss_ == pytest.approx(exact.loss_, rel=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_classes_at_a_small_penalty(n_classes: int, rng: np.random.Generator) -> None:
    """Losses below 1e-8 a sample count as well."""
    x = rng.normal(size=(300, 8))
    target = (x @ rng.normal(size=(8, n_classes))).argmax(1)
    probe = LinearProbe(C=1e6, tol=1e-9, max_iter=5000, standardize=False).fit(x, target)
    of_own = objective(x, target, probe.coef_, probe.intercept_, 1e6)
    assert probe.loss_ * 300 == pytest.approx(of_own, rel=1e-10)
    assert of_own == pytest.approx(objective(x, target, *scikit_learn(x, target, 1e6), 1e6), 1e-6)
    assert probe.score(x, target) == 1


@pytest.mark.parametrize("n_classes", [2, 5])
def test_blocks_of_samples_make_no_difference(
    n_classes: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng, 1000, 6, n_classes)
    whole = LinearProbe(tol=1e-10).fit(features, target)
    logits, sizes = Problems.logits, []

    def watched(self: Problems, weights: torch.Tensor, rows: slice) -> torch.Tensor:
        sizes.append(logits(self, weights, rows).numel())
        return logits(self, weights, rows)

    monkeypatch.setattr(Problems, "logits", watched)
    monkeypatch.setattr(_objective, "_BLOCK_NUMBERS", 40 * n_classes)
    for most in (16, 50, 1 << 14):
        monkeypatch.setattr(_objective, "_MOST_ROWS", most)
        blocks = LinearProbe(tol=1e-10).fit(features, target)
        np.testing.assert_allclose(blocks.coef_, whole.coef_, atol=1e-8)
        assert blocks.loss_ == pytest.approx(whole.loss_, rel=1e-12)
        np.testing.assert_array_equal(blocks.predict(features), whole.predict(features))
        assert blocks.score(features, target) == whole.score(features, target)
    assert 0 < max(sizes) <= 40 * n_classes


@pytest.mark.parametrize("link", ["classes", "labels"])
def test_gradients_are_those_of_the_loss(link: str, rng: np.random.Generator) -> None:
    """Against torch's own, of the loss as its functions write it; two probes on other features."""
    x, weights = (torch.from_numpy(rng.normal(size=s)) for s in ((2, 70, 4), (2, 5, 3)))
    weights *= 30  # so that some logits are far
    weights.requires_grad_()
    z = x @ weights[:, :-1] + weights[:, -1:]
    if link == "classes":
        target = torch.from_numpy(rng.integers(0, 3, 70))
        loss = torch.stack([functional.cross_entropy(a, target, reduction="sum") for a in z])
    else:
        target = torch.from_numpy(rng.integers(0, 2, (70, 3)).astype(float))
        target[rng.random((70, 3)) < 0.3] = torch.nan
        there, signs = ~target.isnan(), 2 * target.nan_to_num() - 1
        loss = torch.stack([-functional.logsigmoid(a * signs)[there].sum() for a in z])
    loss.sum().backward()
    own, gradient = Problems(x, target, 3).loss_and_gradient(weights.detach())
    torch.testing.assert_close(own, loss.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, weights.grad, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_small_losses_of_labels_keep_their_digits(label: float) -> None:
    margins = np.linspace(-60, 60, 121)
    z = torch.from_numpy(margins * (2 * label - 1))[:, None, None]
    found = _objective._sigmoids(z.clone(), torch.tensor([[label]], dtype=torch.float64))
    expected = [math.log1p(math.exp(-m)) if m > 0 else math.log1p(math.exp(m)) - m for m in margins]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)


@pytest.fixture
def torch_settings() -> Any:
    """Torch's threads and precision, put back in the end."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


def seen_while_fitting(monkeypatch: pytest.MonkeyPatch, look: Any) -> list[Any]:
    """What ``look`` finds whenever a loss is computed."""
    found, loss = [], Problems.loss_and_gradient

    def watched(self: Problems, weights: torch.Tensor) -> Any:
        found.append(look())
        return loss(self, weights)

    monkeypatch.setattr(Problems, "loss_and_gradient", watched)
    return found


@pytest.mark.usefixtures("torch_settings")
def test_threads_are_those_asked_for_and_put_back(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng)
    torch.set_num_threads(2)
    seen = seen_while_fitting(monkeypatch, torch.get_num_threads)
    LinearProbe(workers=3).fit(features, target)
    assert set(seen) == {1}  # the problem is too small to be shared
    assert torch.get_num_threads() == 2
    monkeypatch.setattr(_fitting, "_ONE_THREAD", 0)
    seen.clear()
    probe = LinearProbe(workers=3).fit(features, target)
    assert set(seen) == {3}
    probe.predict(features)
    assert torch.get_num_threads() == 2
    features[0, 0] = np.nan
    for call in (probe.fit, probe.score):
        with pytest.raises(ValueError, match="NaN"):
            call(features, target)
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("torch_settings")
@pytest.mark.parametrize("asked", ["high", "medium"])
def test_float32_is_multiplied_with_all_its_digits(
    asked: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_design, "_SMALL", 0)
    features, target = problem(rng)
    exact = LinearProbe().fit(features.astype(np.float32), target)
    torch.set_float32_matmul_precision(asked)
    probe = LinearProbe().fit(features.astype(np.float32), target)
    np.testing.assert_array_equal(probe.coef_, exact.coef_)
    assert torch.get_float32_matmul_precision() == asked
    monkeypatch.setattr(Problems, "loss_and_gradient", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        probe.fit(features, target)
    assert torch.get_float32_matmul_precision() == asked


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="torch before 2.9")
@pytest.mark.usefixtures("torch_settings")
def test_precision_that_was_set_for_one_backend(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.get_float32_matmul_precision raises then."""
    matmul = torch.backends.cuda.matmul
    seen = seen_while_fitting(monkeypatch, lambda: matmul.fp32_precision)
    matmul.fp32_precision = "tf32"
    LinearProbe().fit(*problem(rng))
    assert (set(seen), matmul.fp32_precision) == ({"ieee"}, "tf32")


def test_what_torch_makes_by_default_is_of_no_account(rng: np.random.Generator) -> None:
    features, target = problem(rng)
    expected = LinearProbe().fit(features, target)
    with torch.device("meta"):
        probe = LinearProbe().fit(features, target)
        labels = LinearProbes([[0, 1], [2, 3], [4]]).fit(features, target).predict(features)
    np.testing.assert_array_equal(probe.coef_, expected.coef_)
    assert isinstance(labels, np.ndarray)
    for setting in (torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        with setting:
            probe = LinearProbe().fit(torch.from_numpy(features), target)
            logits = probe.predict_logits(torch.from_numpy(features))
        np.testing.assert_allclose(probe.coef_, expected.coef_, rtol=1e-9)
        np.testing.assert_allclose(logits, expected.predict_logits(features), rtol=1e-7)


def test_squares_out_of_range_are_refused(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, target = problem(rng)
    features[:, 5] *= 1e200
    message = "squares pass the range of float64, first dimension 5: scale them"
    with pytest.raises(ValueError, match=message):
        LinearProbe().fit(features, target)
    monkeypatch.setattr(_design, "_SMALL", 0)
    features[:, 5] *= 1e-175
    with pytest.raises(ValueError, match="squares pass the range of float32"):
        LinearProbe().fit(features.astype(np.float32), target)
