"""What a contestant is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Call = Callable[[], Any]


@dataclass(frozen=True)
class Contestant:
    """One row of a table."""

    name: str
    prepare: Callable[[Any, int], Call]  # (data, threads) -> what is timed
    form: Callable[..., np.ndarray] | None = None  # its answer -> the job's, see forms.py
    upper: bool = False  # fills the upper triangle only
    one_thread: bool = False  # has no threads to offer
    first: int | None = None  # does so many models only
    env: Mapping[str, str] = field(default_factory=dict)
    grows: float | None = None  # takes part in the curves; bytes it keeps per bit of the data
