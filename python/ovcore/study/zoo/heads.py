"""Heads put on finished networks: an L-BFGS probe, and a map from more classes to fewer."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ovcore.extract.hooks import extract_outputs
from ovcore.study.zoo.nets import Net


def with_probe(net: Net, images: Tensor, labels: Tensor, strength: float) -> Net:
    """The same body under a logistic regression fitted by L-BFGS to its features.

    The features are standardised for the fit (`strength` is C); the scales are folded into
    the head's weights, so the result is an ordinary network.
    """
    from sklearn.linear_model import LogisticRegression

    _, features = extract_outputs(net, [images], layer="body")
    x = features.astype(np.float64)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0)  # a dead unit says nothing
    fit = LogisticRegression(C=strength, max_iter=1000).fit((x - mean) / scale, labels.numpy())
    weight = fit.coef_ / scale
    bias = fit.intercept_ - weight @ mean
    return _with_head(net, torch.from_numpy(weight), torch.from_numpy(bias))


def class_mapped(net: Net, chosen: Sequence[int]) -> Net:
    """The same network, whose logits are those of the chosen classes, in that order."""
    rows = list(chosen)
    return _with_head(net, net.head.weight[rows], net.head.bias[rows])


def _with_head(net: Net, weight: Tensor, bias: Tensor) -> Net:
    classes, width = weight.shape
    # made without values: ordinary initialisation would draw from torch's global stream
    head = nn.Linear(width, classes, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return Net(copy.deepcopy(net.body), head, net.width)
