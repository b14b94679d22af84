"""Logits like those of a zoo of image classifiers, made at the speed of memory.

Each sample has classes that are easily taken for its own, and looks harder or easier to all models;
what a model adds of its own is a row of one table of noise, at an offset that only it has for that
sample. Of 82 such models, some differ in three of five samples, over about seven classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

BLOCK = 64  # samples made at once: their common part stays in the cache while models are written
TABLE = 1 << 20  # numbers of noise: 4 MB
RIVALS = 6
COMMON, OWN, SCALE = np.float32(1.3), 0.9, np.float32(0.9)


def target_of(samples: int, classes: int, seed: int = 0) -> np.ndarray:
    """(N,) classes; those of fewer samples are the first ones of more."""
    return np.random.default_rng([seed, 1]).integers(0, classes, samples)


def logits_of(
    models: Sequence[int], samples: int, classes: int, dtype: str = "float32", seed: int = 0
) -> np.ndarray:
    """(len(models), N, K) logits of the models of these indices."""
    table = np.random.default_rng([seed, 2]).standard_normal(TABLE + classes, np.float32)
    noise = np.lib.stride_tricks.sliding_window_view(table, classes)
    target = target_of(samples, classes, seed)
    count = max(models) + 1
    own, skill = np.random.default_rng([seed, 3]).random((count, 2), np.float32).T
    own, skill = OWN * (0.8 + 0.6 * own), 2 + 1.3 * (skill - 0.4)
    out = np.empty((len(models), samples, classes), getattr(ml_dtypes, dtype, dtype))
    rows = np.arange(BLOCK)
    for first in range(0, samples, BLOCK):
        # whole blocks are drawn, and models last, so that a part of the data is the same data
        rng = np.random.default_rng([seed, 4, first])
        common = noise[rng.integers(0, TABLE, BLOCK)] * COMMON
        for _ in range(RIVALS):
            rival = rng.integers(0, classes, BLOCK)
            common[rows, rival] += 2 + rng.gamma(2.0, 1.1, BLOCK).astype(np.float32)
        easy = rng.exponential(8.0, BLOCK).astype(np.float32)
        at = rng.integers(0, TABLE, (count, BLOCK))
        here = rows[: min(BLOCK, samples - first)]
        of_sample = target[first : first + BLOCK]
        for block, m in zip(out[:, first : first + BLOCK], models, strict=True):
            z = noise[at[m, here]] * own[m]
            z += common[here]
            z[here, of_sample] += easy[here] + skill[m]
            np.multiply(z, SCALE, out=block, casting="unsafe")
    return out


def case_logits(case: Any, models: Sequence[int] | None = None) -> np.ndarray:
    """(M, N, K) logits of a case, or of some of its models."""
    which = range(case.models) if models is None else models
    return logits_of(which, case.samples, case.classes, case.dtype)
