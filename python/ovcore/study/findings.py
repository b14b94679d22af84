"""What the paper found, and whether it holds on these data: each verdict with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from ovcore.study.measure import CATEGORIES, category_samples, difference, model_rows, of_category

HOLDS, FAILS, UNCLEAR = "holds", "does not hold", "cannot be told here"
PAPER = {  # category means of the paper's models: inconsistency, gain over the members' mean
    "REINIT": (0.085, 0.010),
    "HPARAM": (0.095, 0.012),
    "ARCH": (0.115, 0.021),
    "FWORK": (0.126, 0.024),
    "DATASET": (0.184, 0.053),
}


@dataclass(frozen=True)
class Finding:
    """A claim of the paper, its verdict on these data, and the numbers behind the verdict."""

    claim: str
    verdict: str
    evidence: str


def findings(pairs: pd.DataFrame) -> list[Finding]:
    """All findings that the rows of :func:`ovcore.study.measure.pair_rows` can speak to."""
    samples = category_samples(pairs)
    return [
        _apart(
            samples, "error_inconsistency",
            "Models trained on other data err more differently than models of another seed.",
        ),
        _ordered(
            samples, "error_inconsistency",
            "The more the training differs, the more inconsistent the errors: "
            "REINIT < HPARAM < ARCH < FWORK < DATASET.",
        ),
        _apart(
            samples, "gain",
            "Ensembles gain more from partners trained on other data than from another seed.",
        ),
        _ordered(
            samples, "gain",
            "The more the training differs, the more an ensemble gains.",
        ),
        _apart(
            samples, "conversion_rate",
            "Ensembles turn a larger share of inconsistent samples into hits where the partner was "
            "trained on other data.",
        ),
        _correlated(model_rows(pairs)),
        _weak_but_different(pairs),
        _apart(
            samples, "theta_gap",
            "Models trained on other data specialise: each is the more confident where it alone is "
            "right.",
            unit="°",
        ),
    ]  # fmt: skip


def feature_findings(mixing: pd.DataFrame, fewest: pd.DataFrame) -> list[Finding]:
    """What samples of :mod:`ovcore.study.features` say of the models' features."""
    return [_adds_up(mixing), _fewer_dimensions(fewest)]


def _adds_up(mixing: pd.DataFrame) -> Finding:
    """The mixture above either alone, by more than two standard errors each."""
    told, verdicts = [], {}
    for category in CATEGORIES:
        values = of_category(mixing, category)
        means, errors = (getattr(values[["over_base", "over_other"]], f)() for f in ("mean", "sem"))
        above, below = (means > 2 * errors).all(), (means < -2 * errors).any()
        verdicts[category] = HOLDS if above else FAILS if below else UNCLEAR
        steps = (f"{100 * means[c]:+.1f} ± {100 * errors[c]:.1f}" for c in means.index)
        told.append(f"{category} {' and '.join(steps)}")
    return Finding(
        "Half of one model's features beside half of another's, trained on other data, are worth "
        "more than as many of either alone.",
        verdicts["DATASET"],
        "points of probe accuracy over the base's features and over the other's: "
        + "; ".join(told),
    )


def _fewer_dimensions(fewest: pd.DataFrame) -> Finding:
    """Diverse dimensions of DATASET pairs below those of REINIT pairs, and below random ones."""
    apart, error = difference(fewest, "diverse", "REINIT", "DATASET")
    own = of_category(fewest, "DATASET")
    gain = own["random"] - own["diverse"]
    fewer = apart < -2 * error and gain.mean() > 2 * gain.sem()
    more = apart > 2 * error or gain.mean() < -2 * gain.sem()
    told = []
    for category in CATEGORIES:
        values = of_category(fewest, category)
        told.append(f"{category} {values['diverse'].mean():.0f} ({values['random'].mean():.0f})")
    return Finding(
        "Ranked by covariance, fewer of two models' dimensions reach the base's accuracy the more "
        "differently the models were trained.",
        HOLDS if fewer else FAILS if more else UNCLEAR,
        "dimensions needed, most diverse first (in random order): "
        + ", ".join(told)
        + f"; DATASET and REINIT apart by {apart:+.0f} ± {error:.0f}",
    )


def _apart(samples: pd.DataFrame, metric: str, claim: str, *, unit: str = "") -> Finding:
    """DATASET above REINIT by more than two standard errors of the difference."""
    apart, error = difference(samples, metric, "REINIT", "DATASET")
    verdict = HOLDS if apart > 2 * error else FAILS if apart < -2 * error else UNCLEAR
    digits = 1 if unit else 3
    low, high = (of_category(samples, name)[metric].mean() for name in ("REINIT", "DATASET"))
    evidence = (
        f"REINIT {low:.{digits}f}{unit}, DATASET {high:.{digits}f}{unit}, "
        f"apart by {apart:.{digits}f}{unit} ± {error:.{digits}f} (standard error)"
    )
    return Finding(claim, verdict, evidence)


def _ordered(samples: pd.DataFrame, metric: str, claim: str) -> Finding:
    """Each category above the one before it by more than two standard errors of the step."""
    reversed_steps, unclear_steps = [], []
    for before, after in pairwise(CATEGORIES):
        apart, error = difference(samples, metric, before, after)
        if apart < -2 * error:
            reversed_steps.append(f"{after} is below {before}")
        elif not apart > 2 * error:  # also where either is NaN
            unclear_steps.append(f"{before} and {after}")
    verdict = FAILS if reversed_steps else UNCLEAR if unclear_steps else HOLDS
    evidence = ", ".join(
        f"{name} {of_category(samples, name)[metric].mean():.3f}" for name in CATEGORIES
    )
    if reversed_steps:
        evidence += f"; {', '.join(reversed_steps)} by more than two standard errors"
    if unclear_steps:
        evidence += f"; within two standard errors of each other: {', '.join(unclear_steps)}"
    return Finding(claim, verdict, evidence)


def _correlated(models: pd.DataFrame) -> Finding:
    inside = models[models["in_band"]]
    r = np.corrcoef(inside["error_inconsistency"], inside["gain"])[0, 1]
    spread = 1 / np.sqrt(len(inside) - 3)  # standard error of Fisher's z
    low, high = np.tanh(np.arctanh(r) - 1.96 * spread), np.tanh(np.arctanh(r) + 1.96 * spread)
    verdict = HOLDS if low > 0.8 else FAILS if high < 0.8 else UNCLEAR
    return Finding(
        "Gain grows with inconsistency almost linearly (the paper: r = 0.98).",
        verdict,
        f"r = {r:.2f} over {len(inside)} models (95 % interval {low:.2f} to {high:.2f}). Partly by "
        "arithmetic: gain = inconsistency × (conversion rate - 1/2) + rescued share, so a steady "
        "conversion rate alone makes it so",
    )


def _weak_but_different(pairs: pd.DataFrame) -> Finding:
    """Partners weaker than the accuracy band and trained on other data, against re-seeded ones."""
    claim = (
        "Even a weaker model helps a strong one more than its own twin does, "
        "if it was trained on other data."
    )
    twins = pairs[pairs["category"] == "REINIT"].groupby("model")["gain_over_base"].mean()
    weaker = pairs[~pairs["in_band"] & (pairs["accuracy"] < pairs["base_accuracy"])]
    weaker = weaker[weaker["category"] == "DATASET"]
    if weaker.empty:
        return Finding(claim, UNCLEAR, "no DATASET model is weaker than the accuracy band")
    by_model = weaker.groupby("model")[["accuracy", "gain_over_base"]].mean()
    by_model = by_model.sort_values("gain_over_base", ascending=False)
    difference = by_model["gain_over_base"].mean() - twins.mean()
    error = np.hypot(twins.sem(), by_model["gain_over_base"].sem() if len(by_model) > 1 else 0)
    verdict = HOLDS if difference > 2 * error else FAILS if difference < -2 * error else UNCLEAR
    listed = "; ".join(
        f"{name} ({row['accuracy']:.1%} accurate) {100 * row['gain_over_base']:+.1f}"
        for name, row in by_model.iterrows()
    )
    return Finding(
        claim,
        verdict,
        f"points added to the base's accuracy: another seed {100 * twins.mean():+.1f}; {listed}",
    )
