"""The sizes of jobs, and what it is to be wrong."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True, order=True)
class Case:
    """One size of a job."""

    models: int
    samples: int
    classes: int = 0
    dtype: str = ""
    steps: int = 0
    dims: int = 0  # of a model's features

    def __str__(self) -> str:
        models = f"{self.models:,} models" if self.models > 1 else ""
        samples = f"{self.samples:,} samples"
        dims = f"{self.dims:,} dimensions" if self.dims else ""
        classes = f"{self.classes:,} classes" if self.classes and self.dtype else ""
        sizes = " x ".join(filter(None, [models, samples, dims, classes]))
        return ", ".join(filter(None, [sizes, self.dtype]))

    def pairs(self) -> int:
        """Pairs of models, each model with itself among them."""
        return self.models * (self.models + 1) // 2

    def logits_bytes(self) -> int:
        width = 4 if self.dtype == "float32" else 2
        return width * self.models * self.samples * self.classes


def write_cases(cases: list[Case]) -> str:
    return json.dumps([asdict(case) for case in cases])


def read_cases(text: str) -> list[Case]:
    return [Case(**case) for case in json.loads(text)]


class WrongAnswerError(Exception):
    """A contestant's answer is not numpy's."""


def refuse_if(differs: np.ndarray, what: str) -> None:
    if differs.any():
        raise WrongAnswerError(f"wrong on {np.count_nonzero(differs):,} of {differs.size:,} {what}")
