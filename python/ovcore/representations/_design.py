"""Standardised features in memory, as the probes' solver reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovcore import _arrays, _dispatch
from ovcore._arrays import Array
from ovcore.representations import _products
from ovcore.representations._centering import Centering
from ovcore.representations._features import Features

_SMALL = 1 << 22  # numbers that are computed in float64 whatever they come in: 32 MB


class Scaling(NamedTuple):
    """Features are standardised as (features - center) * scale."""

    center: NDArray[np.float64]  # (D,), each as exact as the type that is computed in
    scale: NDArray[np.float64]  # (D,)


def computed_in(x: Features) -> Features:
    """The features, to be computed in float64 where they are few."""
    few = x.n_samples * x.n_dimensions <= _SMALL
    return x._replace(dtype="float64") if few else x


def scaling_of(x: Features, *, standardize: bool, workers: int | None) -> Scaling:
    """Mean and 1 / standard deviation of each dimension; 1 where it is constant or kept as it is.

    Raises:
        ValueError: features are not finite, or their squares are not.
    """
    centering = Centering([x], workers=workers)
    squares = _arrays.zeros((x.n_dimensions,), "float64", x.library)
    with np.errstate(over="ignore", invalid="ignore"):  # refused in the end
        for (block,) in centering:
            if standardize:
                squares += _arrays.convert((block * block).sum(0), "float64")
        (left,), (mean,) = centering.left(), centering.means()
        n = x.n_samples
        variance = _arrays.as_numpy(squares / n - (left / n) * (left / n))
    if standardize and not np.isfinite(variance).all():
        raise ValueError(
            f"features has dimensions whose squares pass the range of {x.dtype}, first dimension "
            f"{int(np.isfinite(variance).argmin())}: scale them"
        )
    center = _arrays.as_numpy(mean).astype(x.dtype).astype(np.float64)
    varies = variance > 0
    scale = np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 1.0)
    return Scaling(center, scale if standardize else np.ones_like(scale))


def design_of(x: Features, scaling: Scaling, *, workers: int | None) -> Tensor:
    """(N, D) standardised copy, where the features are; their own library is left at its door.

    Raises:
        ValueError: features are not finite.
    """
    scale = _tensor(_arrays.in_library(scaling.scale.astype(x.dtype), x.library))
    found = scale.new_empty(x.n_samples, x.n_dimensions)
    first = 0
    centering = Centering([x], workers=workers, pilots=[scaling.center.astype(x.dtype)])
    for (block,) in centering:
        last = first + len(block)
        torch.mul(_tensor(block), scale, out=found[first:last])
        first = last
    centering.left()
    return found


def _tensor(array: Array) -> Tensor:
    """A tensor where the array is, whatever torch's default device."""
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else torch.as_tensor(array)


@contextlib.contextmanager
def threads(workers: int | None) -> Iterator[None]:
    """While it lasts, torch computes with so many threads, and with no fewer digits than asked."""
    count, before = _dispatch.count_workers(workers), torch.get_num_threads()
    with _products.full_precision("torch"):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextlib.contextmanager
def on_one_thread(wanted: bool) -> Iterator[None]:
    """While it lasts, torch computes on one thread, where that is wanted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if wanted else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
