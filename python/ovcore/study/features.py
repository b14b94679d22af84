"""What two models' features add to each other: mixed at random, and ranked by covariance."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from ovcore import representations
from ovcore.store import Store
from ovcore.study.measure import CATEGORIES, Measurement, category_samples, of_category
from ovcore.study.zoo import ZooSplit

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the base model's dimensions in a mixture."""

SEEDS = 5
"""Random choices of dimensions for each mixture, and random orders of all."""

STEP = 16
"""Dimensions between the points of a curve."""

CURVES_EACH = 4
"""Models of each category that curves are made of: those nearest to the base in accuracy."""

PROBE = representations.LinearProbe(C=1.0)
"""Settings of all probes here."""

MIXING = ("base", "other", "mixed", "over_base", "over_other", "over_mean", "over_better")
"""Columns of :func:`mixing_samples`: accuracies, and what the mixture has more."""

FEWEST = ("diverse", "random", "reverse")
"""Orders of dimensions."""


class FeatureRows(NamedTuple):
    """Probe accuracies with the base model's features and one other's.

    ``mixing``: one row for each split, half, model, rate and seed.
    ``curves``: one for each split, half, model, order, draw and number of dimensions.
    """

    mixing: pd.DataFrame
    curves: pd.DataFrame


def feature_rows(
    splits: list[ZooSplit], measurements: list[Measurement], pairs: pd.DataFrame, *, progress: bool
) -> FeatureRows:
    """Fits all probes: in each half, on one part of its images, and scores them on the other part.

    The store's base model is paired with every network in the accuracy band whose features are
    stored and at least as many as its own, so that all mixtures are equally wide.
    """
    jobs = [
        (number, split.test, fold, partner, curved)
        for number, (split, measured) in enumerate(zip(splits, measurements, strict=True))
        for partner, curved in _partners(split.test, measured, pairs[pairs["split"] == number])
        for fold in np.unique(split.test.columns["fold"])
    ]
    mixing: list[dict[str, object]] = []
    curves: list[dict[str, object]] = []
    for number, store, fold, (base, other, category), curved in tqdm(
        jobs, desc="probes", disable=not progress, leave=False
    ):
        halves = _halves(store, int(fold))
        features = [_features(store, name) for name in (base, other)]
        about = {"split": number, "half": fold, "model": other, "category": category}
        mixing += [about | row for row in _mixed(features, store.target, *halves)]
        if curved:
            curves += [about | row for row in _ranked(features, store.target, *halves)]
    return FeatureRows(
        pd.DataFrame(mixing, columns=[*_ABOUT, "rate", "seed", "accuracy"]),
        pd.DataFrame(curves, columns=[*_ABOUT, "order", "draw", "dims", "accuracy", "target"]),
    )


_ABOUT = ("split", "half", "model", "category")


def _partners(
    store: Store, m: Measurement, pairs: pd.DataFrame
) -> Iterator[tuple[tuple[str, str, str], bool]]:
    """(base, other, category), and whether curves are drawn of the pair."""
    base = m.comparison.base
    width = _features(store, base).shape[1]
    near = pairs[(pairs["base"] == base) & pairs["in_band"]]
    near = near.assign(apart=(near["accuracy"] - near["base_accuracy"]).abs())
    for category in CATEGORIES:
        of_category = near[near["category"] == category].sort_values("apart", kind="stable")
        kept: list[NDArray[np.floating]] = []
        for name in of_category["model"]:
            features = store.features(name)
            if features is None or features.shape[1] < width:
                continue
            if any(np.array_equal(features, other) for other in kept):
                continue  # another head of the same network
            kept.append(features)
            yield (base, name, category), len(kept) <= CURVES_EACH


def _features(store: Store, name: str) -> NDArray[np.floating]:
    found = store.features(name)
    if found is None:
        raise ValueError(f"{name} has no features in {store}")
    return found


def _halves(store: Store, fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images of one half of the zoo, cut in two by class: to fit probes on and to score on."""
    generator = np.random.default_rng(fold)
    of_fold = np.flatnonzero(store.columns["fold"] == fold)
    chosen = [
        generator.permutation(members)[: len(members) // 2]
        for members in (of_fold[store.target[of_fold] == k] for k in np.unique(store.target))
    ]
    fitting = np.sort(np.concatenate(chosen))
    return fitting, np.setdiff1d(of_fold, fitting)


def _mixed(
    features: list[NDArray[np.floating]],
    target: NDArray[np.int64],
    fitting: NDArray[np.int64],
    scoring: NDArray[np.int64],
) -> Iterator[dict[str, object]]:
    sizes = [f.shape[1] for f in features]
    cases = [(rate, seed) for rate in RATES for seed in range(1 if rate == 1 else SEEDS)]
    subsets = [representations.mixed_dimensions(*sizes, rate=r, seed=s) for r, s in cases]
    probes = representations.LinearProbes(subsets, C=PROBE.C, tol=PROBE.tol)
    probes.fit([f[fitting] for f in features], target[fitting])
    accuracy = probes.score([f[scoring] for f in features], target[scoring])
    for (rate, seed), value in zip(cases, accuracy, strict=True):
        yield {"rate": rate, "seed": seed, "accuracy": value}


def _ranked(
    features: list[NDArray[np.floating]],
    target: NDArray[np.int64],
    fitting: NDArray[np.int64],
    scoring: NDArray[np.int64],
) -> Iterator[dict[str, object]]:
    base = representations.LinearProbe(**PROBE.get_params())
    base.fit(features[0][fitting], target[fitting])
    wanted = base.score(features[0][scoring], target[scoring])
    curves = representations.dims_to_target(
        [f[fitting] for f in features],
        target[fitting],
        [f[scoring] for f in features],
        target[scoring],
        step=STEP,
        n_random=SEEDS,
        probe=PROBE,
    )
    named = [("diverse", 0, curves.diverse), ("reverse", 0, curves.reverse)]
    named += [("random", draw, curve) for draw, curve in enumerate(curves.random)]
    for order, draw, curve in named:
        for dims, value in zip(curves.dims.tolist(), curve, strict=True):
            row = {"order": order, "draw": draw, "dims": dims, "accuracy": value}
            yield row | {"target": wanted}


def mixing_samples(mixing: pd.DataFrame) -> pd.DataFrame:
    """(category, unit) -> accuracies of the base's features, the other's, and half of each.

    Averages over seeds and halves come first. ``over_better`` is what the mixture has more than the
    better of the two alone; which that is is seen on the same images, which favours it.
    """
    rates = _by_rate(mixing)
    base, other, mixed = rates[1.0], rates[0.0], rates[0.5]
    alone = rates[[0.0, 1.0]]
    over = [base, other, alone.mean(axis=1), alone.max(axis=1)]
    values = [base, other, mixed, *(mixed - accuracy for accuracy in over)]
    return _samples(pd.concat(values, axis=1, keys=MIXING), MIXING)


def rate_samples(mixing: pd.DataFrame) -> pd.DataFrame:
    """(category, unit) -> accuracy at each rate minus that of the base's features alone."""
    rates = _by_rate(mixing)
    return _samples(rates.sub(rates[1.0], axis=0), RATES)


def _by_rate(mixing: pd.DataFrame) -> pd.DataFrame:
    """(category, split, model) -> mean accuracy at each rate."""
    keys = ["category", "split", "model", "rate"]
    return mixing.groupby(keys)["accuracy"].mean().unstack("rate").reindex(columns=list(RATES))


def _samples(rows: pd.DataFrame, metrics: Sequence[Hashable]) -> pd.DataFrame:
    return category_samples(rows.reset_index().assign(in_band=True), metrics)


def fewest_samples(curves: pd.DataFrame) -> pd.DataFrame:
    """(category, unit) -> fewest dimensions that reach what the base's features reach alone.

    Where none do, one step more than there are.
    """
    keys = ["category", "split", "model", "half", "order", "draw"]
    reached = curves[curves["accuracy"] >= curves["target"]]
    all_curves = curves.groupby(keys)["dims"].max() + STEP
    fewest = reached.groupby(keys)["dims"].min().reindex(all_curves.index).fillna(all_curves)
    rows = fewest.groupby(["category", "split", "model", "order"]).mean().unstack("order")
    return _samples(rows.reindex(columns=list(FEWEST)), FEWEST)


def feature_tables(
    mixed: pd.DataFrame, rates: pd.DataFrame, fewest: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """What the page shows of the samples, one row a category: "mixing", "rates" and "fewest"."""
    return {
        "mixing": category_table(mixed, MIXING),
        "rates": category_table(rates, RATES),
        "fewest": category_table(fewest, FEWEST),
    }


def category_table(samples: pd.DataFrame, metrics: Sequence[Hashable]) -> pd.DataFrame:
    """One row a category: number of units, mean and standard error of each metric."""
    rows = []
    for category in CATEGORIES:
        values = of_category(samples, category)
        row: dict[Hashable, object] = {"category": category, "units": len(values)}
        for metric in metrics:
            row[metric] = values[metric].mean()
            row[f"{metric}_se"] = values[metric].sem()
        rows.append(row)
    return pd.DataFrame(rows)
