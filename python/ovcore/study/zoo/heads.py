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
    head = nn.Linear(x.shape[1], len(weight))
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight))
        head.bias.copy_(torch.from_numpy(fit.intercept_ - weight @ mean))
    return Net(copy.deepcopy(net.body), head, net.width)


def class_mapped(net: Net, chosen: Sequence[int]) -> Net:
    """The same network, whose logits are those of the chosen classes, in that order."""
    head = nn.Linear(net.width, len(chosen))
    with torch.no_grad():
        head.weight.copy_(net.head.weight[list(chosen)])
        head.bias.copy_(net.head.bias[list(chosen)])
    return Net(copy.deepcopy(net.body), head, net.width)
