"""The covariance of each dimension of one model's features with each of another's."""

from __future__ import annotations

from typing import Any

import numpy as np

from peers.contestant import Call, Contestant

Features = tuple[np.ndarray, np.ndarray]  # (N, D) of one model, (N, D) of the other


def ovcore_covariance(data: Features, threads: int) -> Call:
    import ovcore as ov

    return lambda: ov.representations.covariance(*data, workers=threads)


def ovcore_of_tensors(data: Features, threads: int) -> Call:
    return ovcore_covariance(as_tensors(data, threads), threads)


def as_tensors(data: Features, threads: int) -> Any:
    """Features as torch has them, in the same memory."""
    import torch

    torch.set_num_threads(threads)
    return tuple(map(torch.from_numpy, data))


def numpy_product(data: Features, _: int) -> Call:
    x, y = data
    return lambda: x.T @ y


def numpy_means_removed(data: Features, _: int) -> Call:
    x, y = data
    return lambda: (x - x.mean(axis=0)).T @ (y - y.mean(axis=0)) / (len(x) - 1)


def torch_cov(data: Features, threads: int) -> Call:
    """All of (2D, 2D), of which the upper right quarter is the answer."""
    import torch

    dims = data[0].shape[1]
    both = torch.cat(as_tensors(data, threads), dim=1).T
    return lambda: torch.cov(both)[:dims, dims:]


def numpy_cov(data: Features, _: int) -> Call:
    """Likewise, in float64 as it does by itself."""
    dims = data[0].shape[1]
    both = np.concatenate(data, axis=1).T
    return lambda: np.cov(both)[:dims, dims:]


def of_products(products: np.ndarray, samples: int) -> np.ndarray:
    """Mean products of deviations from zero, in place of those from the means."""
    return products / (samples - 1)


OURS, THEIRS, ANY = 1e-7, 1e-6, float("inf")  # errors; the product's is told, not judged
PRODUCT = "numpy product, means left in"
COVARIANCE = [
    Contestant(
        "ovcore native", ovcore_covariance, tolerance=OURS, env={"OVCORE_BACKEND": "native"}
    ),
    Contestant("ovcore numba", ovcore_covariance, tolerance=OURS, env={"OVCORE_BACKEND": "numba"}),
    Contestant("ovcore, torch tensors", ovcore_of_tensors, tolerance=OURS),
    Contestant(PRODUCT, numpy_product, of_products, tolerance=ANY),
    Contestant("numpy, means removed first", numpy_means_removed, tolerance=THEIRS),
    Contestant("torch.cov of both side by side", torch_cov, tolerance=THEIRS, once=True),
    Contestant("numpy.cov of both side by side", numpy_cov, tolerance=THEIRS, once=True),
]
