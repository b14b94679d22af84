"""From a split of the zoo to measurements: one row for each base model and partner."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

import ovcore as ov
from ovcore.store import ModelCard
from ovcore.study.zoo import ZooSplit

CATEGORIES = ("REINIT", "HPARAM", "ARCH", "FWORK", "DATASET")
"""Training categories of a pair, in the paper's order: from a new seed to other data."""

METRICS = (
    "accuracy",
    "error_inconsistency",
    "relative_to_chance",
    "gain",
    "conversion_rate",
    "theta_gap",
)
"""Columns of :func:`pair_rows` that category means are taken of."""

ACCURACY_BAND = 0.05
"""Models further than this from the base models' mean accuracy stay out of category means."""


@dataclass(frozen=True)
class Measurement:
    """One split: calibrated on one part of each half, measured on the other half.

    Attributes:
        cards: M descriptions.
        temperature: (M,) geometric mean over the two halves' fits.
        confidence: (M, N) calibrated probability of the predicted class.
        right: (M, N) whether the prediction is right.
        comparison: of all pairs, on all N images.
    """

    cards: tuple[ModelCard, ...]
    temperature: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    comparison: ov.Comparison

    @property
    def bases(self) -> list[int]:
        """Models of the base's own recipe, by position: each serves as the base in turn."""
        return [m for m, card in enumerate(self.cards) if card.category in ("BASE", "REINIT")]

    def category(self, base: int, model: int) -> str:
        """Category of a pair: a re-seeded base differs from its siblings by its seed alone."""
        same_recipe = base in self.bases and model in self.bases
        return "REINIT" if same_recipe else self.cards[model].category


def measure(split: ZooSplit) -> Measurement:
    """Fits each half's temperatures on its calibration images and compares on the test images."""
    cards = split.test.models
    test, fitting = split.test, split.calibration
    calibrated = np.stack([test.logits(card.name) for card in cards]).astype(np.float64)
    fits = []
    for fold in np.unique(test.columns["fold"]):
        fit_on = fitting.columns["fold"] == fold
        logits = [fitting.logits(card.name)[fit_on] for card in cards]
        fit = ov.calibration.fit_temperature(logits, fitting.target[fit_on])
        calibrated[:, test.columns["fold"] == fold] /= fit.temperature[:, None, None]
        fits.append(np.log(fit.temperature))
    names = [card.name for card in cards]
    base = next(card.name for card in cards if card.category == "BASE")
    return Measurement(
        cards=cards,
        temperature=np.exp(np.mean(fits, axis=0)),
        confidence=softmax(calibrated, axis=2).max(axis=2),
        right=calibrated.argmax(axis=2) == test.target,
        comparison=ov.compare(calibrated, test.target, models=names, base=base, temperature=1.0),
    )


def pair_rows(measurements: list[Measurement]) -> pd.DataFrame:
    """One row for each split, base model and partner, with what the pair's ensemble gains."""
    rows = []
    for split, m in enumerate(measurements):
        ensembles = m.comparison.ensembles
        assert ensembles is not None
        accuracy = m.comparison.accuracy
        gain, conversion, combined = ensembles.gain, ensembles.conversion_rate, ensembles.accuracy
        centre = float(np.mean(accuracy[m.bases]))
        for base in m.bases:
            for model in range(len(m.cards)):
                if model == base:
                    continue
                rows.append({
                    "split": split,
                    "base": m.cards[base].name,
                    "model": m.cards[model].name,
                    "category": m.category(base, model),
                    "base_accuracy": accuracy[base],
                    "accuracy": accuracy[model],
                    "in_band": abs(accuracy[model] - centre) <= ACCURACY_BAND,
                    "error_inconsistency": m.comparison.error_inconsistency[base, model],
                    "relative_to_chance": 1 - m.comparison.error_consistency[base, model],
                    "ensemble_accuracy": combined[base, model],
                    "gain": gain[base, model],
                    "gain_over_base": combined[base, model] - accuracy[base],
                    "conversion_rate": conversion[base, model],
                    "theta_gap": theta_gap(m, base, model),
                })  # fmt: skip
    return pd.DataFrame(rows)


def theta(m: Measurement, base: int, model: int) -> NDArray[np.float64]:
    """(N,) specialization angle atan2(conf_base, conf_model) - pi / 4, in radians.

    Above 0 the base is the more confident.
    """
    angle: NDArray[np.float64] = np.arctan2(m.confidence[base], m.confidence[model]) - np.pi / 4
    return angle


def theta_gap(m: Measurement, base: int, model: int) -> float:
    """How far confidence follows who is right, in degrees; NaN where either is never right alone.

    Mean theta where only the base is right minus mean theta where only the other model is: above 0
    each model tends to be the more confident where it alone is right.
    """
    angle = np.degrees(theta(m, base, model))
    only_base = m.right[base] & ~m.right[model]
    only_model = m.right[model] & ~m.right[base]
    if not only_base.any() or not only_model.any():
        return float("nan")
    return float(angle[only_base].mean() - angle[only_model].mean())


def model_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row a model and category: means over bases and splits, the points of the figures."""
    keys = ["category", "model"]
    values = pairs.drop(columns=["split", "base"]).astype({"in_band": float})
    rows = values.groupby(keys, sort=False, as_index=False).mean()
    rows["in_band"] = rows["in_band"] > 0.5
    return rows


def category_samples(pairs: pd.DataFrame, metrics: Sequence[Hashable] = METRICS) -> pd.DataFrame:
    """What category means and their standard errors are taken over: (category, unit) -> metrics.

    A unit is a split where there are several, otherwise a model. Each model in the accuracy band
    counts once, averaged over base models.
    """
    inside = pairs[pairs["in_band"]]
    by_model = inside.groupby(["category", "split", "model"])[list(metrics)].mean()
    unit = "split" if pairs["split"].nunique() > 1 else "model"
    samples = by_model.groupby(["category", unit]).mean().rename_axis(["category", "unit"])
    samples.attrs["unit"] = unit
    return samples


def of_category(samples: pd.DataFrame, category: str) -> pd.DataFrame:
    """The category's samples by unit; none, and so means of NaN, where no model is in the band."""
    return samples[samples.index.get_level_values("category") == category].droplevel("category")


def category_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row a category: number of models in the band, mean and standard error of each metric."""
    samples = category_samples(pairs)
    inside = pairs[pairs["in_band"]]
    rows = []
    for category in CATEGORIES:
        values = of_category(samples, category)
        models = inside.loc[inside["category"] == category, "model"].nunique()
        row: dict[str, object] = {"category": category, "models": models}
        for metric in METRICS:
            row[metric] = values[metric].mean()
            row[f"{metric}_se"] = values[metric].sem()
        rows.append(row)
    return pd.DataFrame(rows)


def difference(
    samples: pd.DataFrame, metric: str, low: str, high: str
) -> tuple[np.float64, np.float64]:
    """Mean of category ``high`` minus that of ``low``, and its standard error.

    Splits are paired: what moves all categories of a split alike does not count as noise. Models
    of different categories are independent.
    """
    a, b = of_category(samples, low)[metric], of_category(samples, high)[metric]
    if samples.attrs["unit"] == "split":
        return (b - a).mean(), (b - a).sem()
    return b.mean() - a.mean(), np.hypot(a.sem(), b.sem())


def table_one(measurements: list[Measurement]) -> pd.DataFrame:
    """The paper's Table 1 for this zoo, means over splits: every model against the base model."""
    frames = []
    for m in measurements:
        rows = pd.DataFrame(m.comparison.rows()).set_index("model")
        base = m.comparison.models.index(m.comparison.base)
        described = pd.DataFrame({
            "model": [card.name for card in m.cards],
            "category": [m.category(base, i) if i != base else "BASE" for i in range(len(m.cards))],
            "method": [card.method for card in m.cards],
            "head": [card.head for card in m.cards],
        }).set_index("model")  # fmt: skip
        rows = described.join(rows)
        rows["temperature"] = pd.Series(m.temperature, index=m.comparison.models)
        frames.append(rows)
    text = ["category", "method", "head"]
    numbers = [c for c in frames[0].columns if c not in text]
    table = frames[0][text].join(sum(f[numbers] for f in frames) / len(frames))
    order = {name: i for i, name in enumerate(("BASE", *CATEGORIES))}
    table["order"] = table["category"].map(order)
    table = table.sort_values(["order", "error_inconsistency"], kind="stable")
    return table.drop(columns="order").reset_index()
