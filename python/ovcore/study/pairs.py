"""Statistics of pairs: means over bases, over models, and over categories with their errors."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ovcore.study.subject import Subject

LEAST = 3
"""Models, or splits, of a category from which on a verdict or an interval is told."""


def model_rows(pairs: pd.DataFrame) -> pd.DataFrame:
    """One row a model and category: means over bases and splits, the points of the figures."""
    keys = ["category", "model"]
    values = pairs.drop(columns=["split", "base"]).astype({"in_band": float})
    rows = values.groupby(keys, sort=False, as_index=False).mean()
    rows["in_band"] = rows["in_band"] > 0.5
    return rows


def category_samples(pairs: pd.DataFrame, metrics: Sequence[Hashable]) -> pd.DataFrame:
    """What category means and their standard errors are taken over: (category, unit) -> metrics.

    A unit is a split where there are several, otherwise a model. Each model in the accuracy range
    counts once, averaged over base models. Where models of a category serve as bases, too, each is
    part of the others' averages: there the values are the jackknife's, so that their spread is that
    of leaving out a model with all its pairs.
    """
    inside = pairs[pairs["in_band"]]
    if pairs["split"].nunique() > 1:
        by_model = inside.groupby(["category", "split", "model"])[list(metrics)].mean()
        samples, unit = by_model.groupby(["category", "split"]).mean(), "split"
    else:
        frames = {
            category: pd.DataFrame({metric: _by_model(rows, metric) for metric in metrics})
            for category, rows in inside.groupby("category", sort=False)
        }
        empty = pd.DataFrame(columns=list(metrics), dtype=float).rename_axis("model")
        samples, unit = pd.concat(frames or {"": empty}), "model"
    samples = samples.rename_axis(["category", "unit"])
    samples.attrs["unit"] = unit
    samples.attrs["models"] = inside.groupby("category")["model"].nunique().to_dict()
    return samples


def _by_model(rows: pd.DataFrame, metric: Hashable) -> pd.Series:
    """One value a model of one category and split; their mean is the mean over models."""
    wide = rows.pivot(index="base", columns="model", values=metric)
    total, count = wide.sum(), wide.notna().sum()
    alone: pd.Series = total / count.where(count > 0)
    taken = wide.reindex(index=wide.columns)  # in row i, the pairs in which model i is the base
    if taken.notna().to_numpy().sum() == 0:
        return alone
    left = count.to_numpy() - taken.notna().to_numpy()
    without = (total.to_numpy() - taken.fillna(0).to_numpy()) / np.where(left > 0, left, np.nan)
    np.fill_diagonal(without, np.nan)
    known = ~np.isnan(without)
    if not known.any(axis=1).all():  # of one pair, nothing is left without either model
        return pd.Series([alone.mean()], index=alone.index[:1])
    n, whole = len(alone), alone.mean()
    means = np.where(known, without, 0).sum(axis=1) / known.sum(axis=1)
    values = n * whole - (n - 1) * means
    return pd.Series(values + whole - values.mean(), index=alone.index)


def of_category(samples: pd.DataFrame, category: str) -> pd.DataFrame:
    """The category's samples by unit; none, and so means of NaN, where no model is in the range."""
    return samples[samples.index.get_level_values("category") == category].droplevel("category")


def category_rows(
    subject: Subject, metrics: Sequence[Hashable], *, samples: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One row a category: models in the range, mean and standard error of each metric."""
    samples = category_samples(subject.pairs, metrics) if samples is None else samples
    rows = []
    for category in subject.categories:
        values = of_category(samples, category)
        models = samples.attrs["models"].get(category, 0)
        row: dict[str, object] = {"category": category, "models": models}
        for metric in metrics:
            row[str(metric)] = values[metric].mean()
            row[f"{metric}_se"] = values[metric].sem()
        rows.append(row)
    return pd.DataFrame(rows)


def difference(
    samples: pd.DataFrame, metric: str, low: str, high: str
) -> tuple[np.float64, np.float64]:
    """Mean of category ``high`` minus that of ``low``, and its :func:`standard_error`.

    Splits are paired: what moves all categories of a split alike does not count as noise. Models
    of different categories are independent.
    """
    a, b = of_category(samples, low)[metric], of_category(samples, high)[metric]
    if samples.attrs["unit"] == "split":
        return (b - a).mean(), standard_error(b - a)
    return b.mean() - a.mean(), np.hypot(standard_error(a), standard_error(b))


def standard_error(values: pd.Series) -> np.float64:
    """Of the mean; NaN of fewer than :data:`LEAST` values: two are near each other by chance.

    Of values that are the same but for rounding 0.
    """
    if values.count() < LEAST:
        return np.float64(np.nan)
    error = np.float64(values.sem())
    return error if error > 1e-12 * abs(values.mean()) else np.float64(0)


def interval(values: pd.Series) -> tuple[float, float]:
    """95% interval of the mean, by Student's t; NaN where there is no standard error."""
    half = stats.t.ppf(0.975, values.count() - 1) * standard_error(values)
    return float(values.mean() - half), float(values.mean() + half)


def errors_over(subject: Subject) -> str:
    """What standard errors are taken over, in words."""
    return "over splits" if len(subject.splits) > 1 else "over models"
