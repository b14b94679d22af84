"""The input of a module's classifier is found where it can be, and refused where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from extract_models import loader, mlp
from ovcore.extract import Extraction, extract_to_store
from ovcore.extract.layers import find_classifier
from ovcore.store import ModelCard


class Scaled(nn.Module):
    """Its logits are no layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(5, 3)
        self.head = nn.Linear(3, 3)
        self.after = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(self.wide(x)) * 2
        self.after(logits)
        return logits


class OneByOne(nn.Module):
    """A classifier that is a convolution of one pixel, as some networks have it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        pixels = nn.functional.pad(x[:, None, None, :3], (0, 0, 1, 1))
        return self.head(self.body(pixels)).flatten(1)


class Words(nn.Module):
    """A classifier of every place, of which the last one's logits are taken."""

    def __init__(self, first: bool = False) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.T[:, :, None])[0] if self.first else self.head(x[:, :, None])[:, -1]


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :3]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (mlp, "3"),
        (lambda: nn.Sequential(mlp(), nn.Identity()), "0.3"),
        (lambda: nn.Sequential(mlp(), nn.LogSoftmax(1)), "0.3"),
        (lambda: nn.Sequential(mlp(), nn.Dropout(0.5)), "0.3"),
        (Scaled, "head"),
        (lambda: nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3)), "1"),
    ],
    ids=["last", "identity", "softmax", "dropout", "scaled", "norm"],
)
def test_the_layer_that_gives_the_logits(make: Callable[[], nn.Module], name: str) -> None:
    module = make().eval()
    assert find_classifier(module, lambda: module(torch.randn(2, 5))) == name
    assert not any(part._forward_hooks for part in module.modules())


def test_features_of_a_convolution_are_flattened(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, 3, 1), nn.Flatten())
    models = [Extraction(ModelCard("a"), module, "1", "input")]
    store = extract_to_store(tmp_path / "store", loader(), models)
    assert store.features("a").shape == (11, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Nothing, "'a': no layer was found that gives the logits: name .* by layer=, or .*None"),
        (OneByOne, "'a': no layer was found"),
        (Words, r"'a': the input of 'head', .* has shape \(2, 5, 1\) for 2 samples, not \(N, D\)"),
        (lambda: Words(first=True), r"has shape \(5, 2, 1\) for 2 samples"),
    ],
    ids=["none", "convolution", "every place", "places first"],
)
def test_layers_that_cannot_be_found(
    make: Callable[[], nn.Module], message: str, tmp_path: Path
) -> None:
    module = make()
    with pytest.raises(ValueError, match=message):
        extract_to_store(tmp_path / "store", loader(), {"a": module})
    assert list(tmp_path.iterdir()) == []
    assert not any(part._forward_hooks for part in module.modules())
