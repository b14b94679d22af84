"""Fig. 6: what two models' features add to each other: mixed at random, ranked by covariance."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import pandas as pd
from tqdm import tqdm

from ovcore import representations
from ovcore.study.categories import NO_ERROR, plus_minus, verdict_of
from ovcore.study.charts import (
    COLORS,
    SYMBOLS,
    Axis,
    Chart,
    Layer,
    Line,
    Panel,
    Points,
    Rule,
    numbers,
)
from ovcore.study.experiments.panels import spoken
from ovcore.study.features import (
    PROBE,
    FeaturePair,
    describe_parts,
    describe_probe,
    feature_pairs,
)
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import (
    category_samples,
    difference,
    errors_over,
    of_category,
    standard_error,
)
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Experiment, Finding, Result
from ovcore.study.subject import CATEGORIES, OTHER, place

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the base model's dimensions in a mixture."""

SEEDS = 5
"""Random choices of dimensions for each mixture, and random orders of all."""

POINTS = 8
"""Numbers of dimensions up to twice the base's own at which curves are taken."""

CURVES_EACH = 4
"""Models of each category that curves are made of: those nearest to the base in accuracy."""

OVER = ("over_base", "over_other", "over_mean", "over_better")
FEWEST = ("diverse", "random", "reverse")
_ABOUT = ("split", "half", "model", "category")
_ORDERS = {
    "diverse": ("most diverse first", "solid", "circle"),
    "reverse": ("least diverse first", "dash", "square"),
    "random": ("random order", "dot", ""),
}
CLAIMS = (
    "Half of one model's features beside half of another's, trained on other data, are worth more "
    "than as many of either alone.",
    "Ranked by covariance, fewer of two models' dimensions reach the base's accuracy the more "
    "differently the models were trained.",
)


def run(models: Models) -> Result:
    """Accuracies of probes on mixtures and on the first dimensions of three orders."""
    subject = as_subject(models)
    pairs = feature_pairs(subject)
    mixing: list[dict[str, object]] = []
    curves: list[dict[str, object]] = []
    for pair in tqdm(pairs, desc="probes", disable=not subject.progress, leave=False):
        about = {key: getattr(pair, key) for key in _ABOUT}
        mixing += [about | row for row in _mixed(pair)]
        if pair.rank < CURVES_EACH:
            curves += [about | row for row in _ranked(pair)]
    mixed = pd.DataFrame(mixing)
    ranked = pd.DataFrame(curves)
    over, rates, fewest = mixing_samples(mixed), rate_samples(mixed), fewest_samples(ranked)
    return Result(
        tables={
            "half of each": category_table(over, OVER),
            "rates": category_table(rates, [f"{rate:g}" for rate in RATES]),
            "fewest dimensions": category_table(fewest, FEWEST),
            "mixing": mixed,
            "curves": ranked,
        },
        findings=(_adds_up(over), _fewer_dimensions(fewest)),
        choices={
            "base": f"{subject.base} alone, with models in the accuracy range whose features are "
            "at least as many",
            "probe": describe_probe(),
            "split": describe_parts(subject),
            "score": "sum of absolute correlations with all other dimensions; the lowest first is "
            "most diverse first",
            "seeds": f"{SEEDS} random choices of dimensions, and random orders",
            "curves": f"of the {CURVES_EACH} models of each category nearest to the base",
            "standard errors": errors_over(subject),
        },
        notes=(
            "Which of two models is the better is seen on the samples that score them, which "
            "favours “the better”.",
            "Dimensions that are the same on all samples are left out: a ReLU keeps some at 0. "
            "Where no number of dimensions reaches the base’s accuracy, one step more than there "
            "are is counted.",
        ),
    )


def _mixed(pair: FeaturePair) -> Iterator[dict[str, object]]:
    sizes = [f.shape[1] for f in pair.features]
    cases = [(rate, seed) for rate in RATES for seed in range(1 if rate == 1 else SEEDS)]
    subsets = [representations.mixed_dimensions(*sizes, rate=r, seed=s) for r, s in cases]
    probes = representations.LinearProbes(subsets, C=PROBE.C, tol=PROBE.tol)
    fitting, scoring = pair.fitting, pair.scoring
    probes.fit([f[fitting] for f in pair.features], pair.target[fitting])
    accuracy = probes.score([f[scoring] for f in pair.features], pair.target[scoring])
    for (rate, seed), value in zip(cases, accuracy, strict=True):
        yield {"rate": rate, "seed": seed, "accuracy": value}


def _ranked(pair: FeaturePair) -> Iterator[dict[str, object]]:
    fitting, scoring = pair.fitting, pair.scoring
    alone = pair.features[0]
    base = representations.LinearProbe(**PROBE.get_params())
    base.fit(alone[fitting], pair.target[fitting])
    wanted = base.score(alone[scoring], pair.target[scoring])
    curves = representations.dims_to_target(
        [f[fitting] for f in pair.features],
        pair.target[fitting],
        [f[scoring] for f in pair.features],
        pair.target[scoring],
        step=max(1, 2 * alone.shape[1] // POINTS),
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
    """(category, unit) -> what half of each model's features has more than either alone.

    Averages over seeds and halves come first. ``over_better`` is what the mixture has more than the
    better of the two; which that is is seen on the same samples, which favours it.
    """
    rates = _by_rate(mixing)
    alone = rates[["0", "1"]]
    over = [rates["1"], rates["0"], alone.mean(axis=1), alone.max(axis=1)]
    values = [rates["0.5"] - accuracy for accuracy in over]
    return _samples(pd.concat(values, axis=1, keys=OVER), OVER)


def rate_samples(mixing: pd.DataFrame) -> pd.DataFrame:
    """(category, unit) -> accuracy at each rate minus that of the base's features alone."""
    rates = _by_rate(mixing)
    return _samples(rates.sub(rates["1"], axis=0), [f"{rate:g}" for rate in RATES])


def _by_rate(mixing: pd.DataFrame) -> pd.DataFrame:
    """(category, split, model) -> mean accuracy at each rate, which is a column's name."""
    keys = ["category", "split", "model", "rate"]
    rates = mixing.groupby(keys)["accuracy"].mean().unstack("rate").reindex(columns=list(RATES))
    return rates.rename(columns=lambda rate: f"{rate:g}")


def _samples(rows: pd.DataFrame, metrics: Sequence[Hashable]) -> pd.DataFrame:
    return category_samples(rows.reset_index().assign(in_band=True, base=""), metrics)


def fewest_samples(curves: pd.DataFrame) -> pd.DataFrame:
    """(category, unit) -> fewest dimensions that reach what the base's features reach alone.

    Where none do, one step more than there are.
    """
    keys = ["category", "split", "model", "half", "order", "draw"]
    reached = curves[curves["accuracy"] >= curves["target"]]
    step = int(curves["dims"].min())
    all_curves = curves.groupby(keys)["dims"].max() + step
    fewest = reached.groupby(keys)["dims"].min().reindex(all_curves.index).fillna(all_curves)
    rows = fewest.groupby(["category", "split", "model", "order"]).mean().unstack("order")
    return _samples(rows.reindex(columns=list(FEWEST)), FEWEST)


def category_table(samples: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """One row a category: number of units, mean and standard error of each metric."""
    rows = []
    for category in (*CATEGORIES, OTHER):
        values = of_category(samples, category)
        if values.empty:
            continue
        row: dict[str, object] = {"category": category, "units": len(values)}
        for metric in metrics:
            row[metric] = values[metric].mean()
            row[f"{metric}_se"] = values[metric].sem()
        rows.append(row)
    return pd.DataFrame(rows)


def _adds_up(mixing: pd.DataFrame) -> Finding:
    """The mixture above either alone, by more than two standard errors each."""
    told, verdicts = [], {}
    for category in dict.fromkeys(mixing.index.get_level_values("category")):
        values = of_category(mixing, category)[["over_base", "over_other"]]
        means, errors = values.mean(), values.apply(standard_error)
        each = {verdict_of(means[c], errors[c]) for c in means.index}
        verdicts[category] = HOLDS if each == {HOLDS} else FAILS if FAILS in each else UNCLEAR
        steps = (f"{100 * means[c]:+.1f}{_error(100 * errors[c])}" for c in means.index)
        told.append((category, f"{category} {' and '.join(steps)}"))
    told.sort(key=lambda item: place(item[0]))
    return Finding(
        CLAIMS[0],
        verdicts.get("DATASET", UNCLEAR),
        "points of probe accuracy over the base's features and over the other's: "
        + "; ".join(text for _, text in told)
        + ("" if "DATASET" in verdicts else "; no DATASET model has features"),
    )


def _error(error: float) -> str:
    return f" ± {error:.1f}" if error > 0 else f" ({NO_ERROR})"


def _fewer_dimensions(fewest: pd.DataFrame) -> Finding:
    """Diverse dimensions of DATASET pairs below those of REINIT pairs, and below random ones."""
    there = dict.fromkeys(fewest.index.get_level_values("category"))
    lacking = [name for name in ("REINIT", "DATASET") if name not in there]
    if lacking:
        return Finding(CLAIMS[1], UNCLEAR, f"no {lacking[0]} model in the range has features")
    apart, error = difference(fewest, "diverse", "REINIT", "DATASET")
    own = of_category(fewest, "DATASET")
    gain = own["random"] - own["diverse"]
    ahead = verdict_of(gain.mean(), standard_error(gain))
    fewer = verdict_of(-apart, error) == HOLDS and ahead == HOLDS
    more = verdict_of(-apart, error) == FAILS or ahead == FAILS
    told = []
    for category in (name for name in (*CATEGORIES, OTHER) if name in there):
        values = of_category(fewest, category)
        told.append(f"{category} {values['diverse'].mean():.0f} ({values['random'].mean():.0f})")
    return Finding(
        CLAIMS[1],
        HOLDS if fewer else FAILS if more else UNCLEAR,
        "dimensions needed, most diverse first (in random order): "
        + ", ".join(told)
        + f"; DATASET and REINIT apart by {apart:+.0f}{plus_minus(error, 0)}",
    )


def draw(result: Result) -> list[Chart]:
    """Mixtures by rate; half of each; and curves over the number of dimensions."""
    rates, halves = result.tables["rates"], result.tables["half of each"]
    curves = result.tables["curves"]
    fewest = result.tables["fewest dimensions"]
    categories = [name for name in (*CATEGORIES, OTHER) if name in set(curves["category"])]
    return [
        Chart(
            "fig6-mixing",
            "Mixtures of two models’ features",
            "Probe accuracy of half and half, minus that of the base's features: "
            f"{spoken(halves, 'over_base')}; minus that of the other's: "
            f"{spoken(halves, 'over_other')}.",
            (_mixtures(rates), _halves(halves)),
            "mixing",
            columns=2,
        ),
        Chart(
            "fig6-dimensions",
            "The first dimensions of two models",
            "Dimensions that reach the base's accuracy, most diverse first: "
            f"{spoken(fewest, 'diverse')}; in random order: {spoken(fewest, 'random')}.",
            tuple(_curves(curves, category) for category in categories),
            "curves",
            columns=5,
            height=280,
        ),
    ]


def _mixtures(table: pd.DataFrame) -> Panel:
    layers: list[Layer] = [Rule(0)]
    for number, (_, row) in enumerate(table.iterrows()):
        shift = 0.008 * (number - 2)  # so that error bars do not hide each other
        category = row["category"]
        layers.append(
            Line(
                numbers(rate + shift for rate in RATES),
                numbers(row[f"{rate:g}"] for rate in RATES),
                COLORS[category],
                category,
                marked=SYMBOLS[category],
                error=numbers(2 * row[f"{rate:g}_se"] for rate in RATES),
            )
        )
    ticks = tuple((rate, f"{rate:.0%}") for rate in RATES)
    return Panel(
        tuple(layers),
        x=Axis("share of the base’s dimensions", ticks=ticks),
        y=Axis("accuracy over the base’s features", ".1%"),
        title="Mixtures",
    )


def _halves(table: pd.DataFrame) -> Panel:
    layers: list[Layer] = [Rule(0)]
    sides = (("over_base", "over the base", "circle"), ("over_other", "over the other", "diamond"),
             ("over_mean", "over their mean", "star"))  # fmt: skip
    for shift, (metric, name, symbol) in zip((-0.2, 0.0, 0.2), sides, strict=True):
        layers += [
            Points(
                (number + shift,), numbers([row[metric]]), COLORS[row["category"]], symbol, name,
                text=(f"{row['category']}, {name}",), error=numbers([2 * row[f"{metric}_se"]]),
                size=10,
            )
            for number, (_, row) in enumerate(table.iterrows())
        ]  # fmt: skip
    ticks = tuple((float(i), str(name)) for i, name in enumerate(table["category"]))
    return Panel(
        tuple(layers),
        x=Axis(ticks=ticks),
        y=Axis("accuracy of half and half", ".1%"),
        title="Half of each",
    )


def _curves(rows: pd.DataFrame, category: str) -> Panel:
    """Means over pairs, as far as all of them go."""
    mine = rows[rows["category"] == category]
    pairs = ["split", "half", "model"]
    shortest = mine.groupby(pairs)["dims"].max().min()
    shown = mine[mine["dims"] <= shortest]
    layers: list[Layer] = [Rule(float(mine.drop_duplicates(pairs)["target"].mean()))]
    for order, (name, dash, symbol) in _ORDERS.items():
        of_order = shown[shown["order"] == order].groupby("dims")["accuracy"]
        mean = of_order.mean()[of_order.count() == of_order.count().max()]
        layers.append(
            Line(
                numbers(mean.index), numbers(mean),
                "#000000" if order == "random" else COLORS[category], name, dash, marked=symbol,
            )
        )  # fmt: skip
    return Panel(tuple(layers), x=Axis("dimensions"), y=Axis("", ".0%"), title=category)


EXPERIMENT = Experiment(
    "fig6",
    "What their features add to each other",
    "A linear probe reads the classes off a model’s features. It is given a random share of the "
    "base’s dimensions and the rest from another model, never more than the base has: if the two "
    "hold different information, the mixture is worth more than either alone. Then the dimensions "
    "of both, ranked by how little they covary with all others, are added from the most diverse "
    "on; beside it the same from the other end, and in random order, which tells what the ranking "
    "is worth. The line across is the base’s own features.",
    CLAIMS,
    run,
    draw,
    shown=("half of each", "fewest dimensions"),
)
