"""Verdicts on claims about training categories: apart, or in order."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd

from ovcore.study.pairs import difference, of_category
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Finding
from ovcore.study.subject import CATEGORIES

NO_ERROR = "too few, or all alike, for a standard error"


def apart(
    samples: pd.DataFrame, metric: str, claim: str, *, unit: str = "", low: str = "REINIT",
    high: str = "DATASET",
) -> Finding:  # fmt: skip
    """``high`` above ``low`` by more than two standard errors of the difference."""
    lacking = [name for name in (low, high) if of_category(samples, name)[metric].dropna().empty]
    if lacking:
        return Finding(claim, UNCLEAR, f"no {lacking[0]} model is in the accuracy range")
    step, error = difference(samples, metric, low, high)
    verdict = verdict_of(step, error)
    digits = 1 if unit else 3
    means = (of_category(samples, name)[metric].mean() for name in (low, high))
    told = ", ".join(
        f"{name} {mean:.{digits}f}{unit}" for name, mean in zip((low, high), means, strict=True)
    )
    told += f", apart by {step:+.{digits}f}{unit}{plus_minus(error, digits)}"
    return Finding(claim, verdict, told)


def ordered(samples: pd.DataFrame, metric: str, claim: str) -> Finding:
    """Each category above the one before it by more than two standard errors of the step."""
    there = [name for name in CATEGORIES if not of_category(samples, name)[metric].dropna().empty]
    absent = [name for name in CATEGORIES if name not in there]
    reversed_steps, unclear_steps, unknown_steps = [], [], []
    for before, after in pairwise(there):
        step, error = difference(samples, metric, before, after)
        if not error > 0:
            unknown_steps.append(f"{before} and {after}")
        elif step < -2 * error:
            reversed_steps.append(f"{after} is below {before}")
        elif not step > 2 * error:
            unclear_steps.append(f"{before} and {after}")
    verdict = FAILS if reversed_steps else HOLDS
    if verdict == HOLDS and (unclear_steps or unknown_steps or absent):
        verdict = UNCLEAR
    evidence = ", ".join(
        f"{name} {of_category(samples, name)[metric].mean():.3f}" for name in there
    )
    if reversed_steps:
        evidence += f"; {', '.join(reversed_steps)} by more than two standard errors"
    if unclear_steps:
        evidence += f"; within two standard errors of each other: {', '.join(unclear_steps)}"
    if unknown_steps:
        evidence += f"; {NO_ERROR}: {', '.join(unknown_steps)}"
    if absent:
        evidence += f"{'; ' if evidence else ''}no model in the range: {', '.join(absent)}"
    return Finding(claim, verdict, evidence)


def plus_minus(error: float, digits: int) -> str:
    """The standard error in words, or that there is none."""
    if not error > 0:
        return f" ({NO_ERROR})"
    return f" ± {error:.{digits}f} (standard error)"


def verdict_of(value: float, error: float) -> str:
    """Of a difference that a claim says is above 0.

    One without an error cannot be told, nor one whose error is 0: values that are all alike do not
    show how much others would differ.
    """
    if not error > 0:
        return UNCLEAR
    return HOLDS if value > 2 * error else FAILS if value < -2 * error else UNCLEAR
