"""Small networks for 8x8 digits: `body` gives the penultimate features, `head` the logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """`keep` (N, D) multiplies the features: dropout whose noise the caller has drawn."""

    def __init__(self, body: nn.Module, head: nn.Linear, width: int) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.width = width  # D

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Images (N, 1, 8, 8) to logits (N, K)."""
        features = self.body(images)
        return self.head(features if keep is None else features * keep)


class Residual(nn.Module):
    """Adds what its layers make of the input to the input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape that the layers keep."""
        return x + self.layers(x)


class Patches(nn.Module):
    """(N, 1, 8, 8) to tokens (N, T, D), with learned positions."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.size = size
        self.project = nn.Linear(size * size, width)
        self.position = nn.Parameter(torch.randn((8 // size) ** 2, width))

    def forward(self, images: Tensor) -> Tensor:
        """Cut into tiles, row by row."""
        n, side, p = images.shape[0], 8 // self.size, self.size
        tiles = images.reshape(n, side, p, side, p).transpose(2, 3).reshape(n, side * side, p * p)
        return self.project(tiles) + self.position


class Attention(nn.Module):
    """Multi-head self-attention, (N, T, D) to (N, T, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Every token looks at all tokens of its image."""
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = F.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // self.heads), dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, t, d))


class AcrossTokens(nn.Module):
    """An MLP along the token axis: the mixing step of a mixer."""

    def __init__(self, tokens: int, hidden: int) -> None:
        super().__init__()
        self.mlp = _mlp(tokens, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) to the same."""
        return self.mlp(x.transpose(1, 2)).transpose(1, 2)


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _cnn() -> tuple[nn.Module, int]:
    body = nn.Sequential(
        _conv(1, 16), nn.ReLU(), _conv(16, 32), nn.ReLU(), nn.MaxPool2d(2),
        _conv(32, 32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 2 * 2, 64), nn.ReLU(),
    )  # fmt: skip
    return _for_relu(body), 64


def _rescnn() -> tuple[nn.Module, int]:
    def block(width: int) -> Residual:
        return Residual(
            nn.GroupNorm(4, width), nn.ReLU(), _conv(width, width),
            nn.GroupNorm(4, width), nn.ReLU(), _conv(width, width),
        )  # fmt: skip

    body = nn.Sequential(
        _conv(1, 24), block(24), nn.MaxPool2d(2), _conv(24, 48), block(48),
        nn.GroupNorm(4, 48), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    return body, 48


def _perceptron(*hidden: int) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in zip((64, *hidden), hidden, strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return _for_relu(nn.Sequential(*layers)), hidden[-1]


def _vit(patch: int, width: int = 48, depth: int = 2) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = [Patches(patch, width)]
    for _ in range(depth):
        layers.append(Residual(nn.LayerNorm(width), Attention(width, heads=4)))
        layers.append(Residual(nn.LayerNorm(width), _mlp(width, 2 * width)))
    return _read_out(layers, (8 // patch) ** 2, width)


def _mixer(width: int = 48, depth: int = 2) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = [Patches(2, width)]
    for _ in range(depth):
        layers.append(Residual(nn.LayerNorm(width), AcrossTokens(16, 32)))
        layers.append(Residual(nn.LayerNorm(width), _mlp(width, 2 * width)))
    return _read_out(layers, 16, width)


def _read_out(layers: list[nn.Module], tokens: int, width: int) -> tuple[nn.Module, int]:
    """All tokens side by side into 64 features; their mean is far worse on 60 images."""
    last = [nn.LayerNorm(width), nn.Flatten(), nn.Linear(tokens * width, 64), nn.GELU()]
    return nn.Sequential(*layers, *last), 64


def _for_relu(body: nn.Module) -> nn.Module:
    """He initialisation: worth three points on 60 images."""
    for layer in body.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return body


def make_net(architecture: str, classes: int) -> Net:
    """A fresh network, initialised from torch's global stream."""
    kind, _, sizes = architecture.partition("-")
    if kind == "cnn":
        body, width = _cnn()
    elif kind == "rescnn":
        body, width = _rescnn()
    elif kind == "mlp":
        body, width = _perceptron(*(int(size) for size in sizes.split("-")))
    elif kind == "vit":
        body, width = _vit(int(sizes.partition("x")[0]))
    elif kind == "mixer":
        body, width = _mixer()
    else:
        raise ValueError(f"architecture {architecture!r} is not one that the zoo knows")
    return Net(body, nn.Linear(width, classes), width)


def parameter_count(module: nn.Module) -> int:
    """Trained numbers in a module."""
    return sum(p.numel() for p in module.parameters())
