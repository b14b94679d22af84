"""A random stream for every purpose of every model, found by name alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def seed_of(*name: str | int) -> int:
    """63-bit seed that depends on the name and on nothing else."""
    text = "/".join(str(part) for part in name)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def torch_stream(*name: str | int) -> torch.Generator:
    """The named stream for torch."""
    return torch.Generator().manual_seed(seed_of(*name))


def numpy_stream(*name: str | int) -> np.random.Generator:
    """The named stream for numpy."""
    return np.random.default_rng(seed_of(*name))


def initialised(make: Callable[[], M], *name: str | int) -> M:
    """A module whose initial weights come from the named stream; global state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(*name))
        return make()


def batch_order(samples: int, batch: int, steps: int, stream: torch.Generator) -> torch.Tensor:
    """Sample numbers (steps, batch): shuffled passes over the data, one after the other."""
    passes = -(-steps * batch // samples)
    order = torch.cat([torch.randperm(samples, generator=stream) for _ in range(passes)])
    return order[: steps * batch].reshape(steps, batch)
