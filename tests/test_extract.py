"""The hook extractor returns the module's own outputs and leaves no trace on the module."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ovcore.extract import extract_outputs


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(7, 3)

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.head(self.body(x) * scale)


@pytest.fixture
def module() -> Small:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return Small()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(11, 5, generator=torch.Generator().manual_seed(1))


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def test_outputs_are_the_modules_own(module: Small, images: torch.Tensor) -> None:
    batches = list(images.split(4))
    logits, features = extract_outputs(module, batches, layer="body")
    module.eval()
    with torch.no_grad():
        want_features = torch.cat([module.body(x) for x in batches]).numpy()
        want = torch.cat([module(x) for x in batches]).numpy()
    assert logits.dtype == features.dtype == np.float32
    np.testing.assert_array_equal(logits, want)
    np.testing.assert_array_equal(features, want_features)


def test_input_of_the_classifier_is_what_the_body_gave(module: Small, images: torch.Tensor) -> None:
    _, given = extract_outputs(module, [images], layer="body")
    _, taken = extract_outputs(module, [images], layer="head", side="input")
    np.testing.assert_array_equal(given, taken)


def test_without_a_layer_there_are_no_features(module: Small, images: torch.Tensor) -> None:
    logits, features = extract_outputs(module, [images])
    assert features is None
    assert logits.shape == (11, 3)


def test_modes_are_left_as_found(module: Small, images: torch.Tensor) -> None:
    module.train()
    module.body[2].eval()
    before = [part.training for part in module.modules()]
    extract_outputs(module, [images], layer="body")
    assert [part.training for part in module.modules()] == before


def test_failing_batch_leaves_no_hook_and_the_mode(module: Small, images: torch.Tensor) -> None:
    module.train()
    with pytest.raises(RuntimeError):
        extract_outputs(module, [images, images[:, :2]], layer="body")
    assert hooks(module) == 0
    assert module.training
    assert module.body.training


def test_failing_batches_leave_no_hook(module: Small, images: torch.Tensor) -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield images
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        extract_outputs(module, broken(), layer="body")
    assert hooks(module) == 0


def test_no_gradient_is_kept(module: Small, images: torch.Tensor) -> None:
    extract_outputs(module, [images.requires_grad_()], layer="body")
    assert images.grad is None
    assert all(p.grad is None for p in module.parameters())
    assert torch.is_grad_enabled()


def test_batches_may_be_tuples_and_mappings(module: Small, images: torch.Tensor) -> None:
    plain, _ = extract_outputs(module, [images])
    by_place, _ = extract_outputs(module, [(images, 1.0)])
    by_name, _ = extract_outputs(module, [{"x": images, "scale": 1.0}])
    np.testing.assert_array_equal(by_place, plain)
    np.testing.assert_array_equal(by_name, plain)


def test_structured_outputs_and_other_dtypes(images: torch.Tensor) -> None:
    class Structured(nn.Module):
        def forward(self, x: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(logits=x.to(torch.bfloat16))

    logits, _ = extract_outputs(Structured(), [images])
    np.testing.assert_array_equal(logits, images.to(torch.bfloat16).float().numpy())


def test_later_layers_that_work_in_place_do_not_change_the_features(
    images: torch.Tensor,
) -> None:
    module = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    _, features = extract_outputs(module, [images.clone()], layer="0")
    np.testing.assert_array_equal(features, images.numpy())


def test_refusals_name_what_is_wrong(module: Small, images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"'neck' is not in the module; it has 'body'"):
        extract_outputs(module, [images], layer="neck")
    with pytest.raises(ValueError, match="batches is empty"):
        extract_outputs(module, [], layer="body")
    with pytest.raises(ValueError, match="side must be"):
        extract_outputs(module, [images], layer="body", side="both")
    with pytest.raises(TypeError, match=r"shape \(N, K\), not \(11,\)"):
        extract_outputs(nn.Flatten(0), [images[:, 0]])


def test_a_layer_that_runs_twice_is_refused(images: torch.Tensor) -> None:
    shared = nn.Linear(5, 5)
    module = nn.Sequential(shared, shared)
    with pytest.raises(RuntimeError, match="ran 2 times"):
        extract_outputs(module, [images], layer="0")
    assert hooks(module) == 0
