"""The loss of linear probes and its gradient, over blocks of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK_NUMBERS = 1 << 20  # logits in memory at once
_GPU_BLOCK_NUMBERS = 1 << 26
_MOST_ROWS = 1 << 14  # that a gradient in host memory sums over before it is added up in float64
_LINEAR = 40.0  # beyond, log(1 + exp(z)) is z in float64, too

Link: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(B, n, K) logits and the rows' targets -> (B,) loss; leaves d loss / d logits in the logits."""


class Problems(NamedTuple):
    """B probes of one width on the same N samples and targets.

    ``target`` is (N,) classes, or (N, K) truth values of labels that are each told apart alone, in
    the features' element type, NaN where a sample is left out for a label.
    """

    features: Tensor  # (B, N, D), standardised
    target: Tensor
    n_outputs: int  # K columns of weights

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return self.features.shape[1]

    def blocks(self) -> Iterator[slice]:
        """Ranges of samples whose logits are in memory at once."""
        on_gpu = self.features.is_cuda
        numbers = _GPU_BLOCK_NUMBERS if on_gpu else _BLOCK_NUMBERS
        step = max(16, numbers // (len(self.features) * self.n_outputs))
        step = step if on_gpu else min(step, _MOST_ROWS)
        for first in range(0, self.n_samples, step):
            yield slice(first, min(first + step, self.n_samples))

    def logits(self, weights: Tensor, rows: slice) -> Tensor:
        """(B, n, K) from (B, D + 1, K) weights, the intercept last."""
        own = weights.to(self.features.dtype)
        return torch.baddbmm(own[:, -1:], self.features[:, rows], own[:, :-1])

    def loss_and_gradient(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) sums of losses over samples, (B, D + 1, K) their gradients; float64."""
        link = _softmax if self.target.ndim == 1 else _sigmoids
        loss = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)
        gradient = torch.zeros_like(weights)
        partial = torch.zeros_like(weights, dtype=self.features.dtype)
        summed = 0
        for rows in self.blocks():
            slopes = self.logits(weights, rows)
            loss += link(slopes, self.target[rows])
            if summed + slopes.shape[1] > _MOST_ROWS:
                gradient += partial
                partial.zero_()
                summed = 0
            partial[:, :-1].baddbmm_(self.features[:, rows].mT, slopes)
            partial[:, -1] += slopes.sum(1)
            summed += slopes.shape[1]
        gradient += partial
        return loss, gradient

    def curvature(self, weights: Tensor) -> Tensor:
        """(B,) mean over samples and outputs of p (1 - p): of the loss along a feature."""
        total = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)
        for rows in self.blocks():
            z = self.logits(weights, rows)
            p = z.softmax(2) if self.target.ndim == 1 else z.sigmoid()
            total += (p - p * p).sum((1, 2), dtype=torch.float64)
        return total / (self.n_samples * self.n_outputs)


def _softmax(z: Tensor, target: Tensor) -> Tensor:
    """Loss: -log softmax(z)[target]; slope: softmax(z) - onehot(target)."""
    own = target[None, :, None].expand(len(z), -1, 1)
    z -= z.amax(2, keepdim=True)
    loss = -z.gather(2, own).sum((1, 2), dtype=torch.float64)
    z.exp_()
    total = z.sum(2, keepdim=True)  # twice as fast as torch's own log_softmax on the same numbers
    loss += total.log().sum((1, 2), dtype=torch.float64)
    z /= total
    z.scatter_add_(2, own, z.new_full(own.shape, -1.0))
    return loss


def _sigmoids(z: Tensor, target: Tensor) -> Tensor:
    """Loss: log(1 + exp(-z)) where y is 1, log(1 + exp(z)) where it is 0; slope: sigmoid(z) - y.

    Neither where y is NaN.
    """
    left_out = target.isnan()
    y = target.nan_to_num()
    against = (1 - 2 * y) * z
    losses = functional.softplus(against, threshold=_LINEAR)
    losses.masked_fill_(left_out, 0)
    z.sigmoid_()
    z -= y
    z.masked_fill_(left_out, 0)
    return losses.sum((1, 2), dtype=torch.float64)
