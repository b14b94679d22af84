"""Fig. 2: what an ensemble of two buys against how differently its members err."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from ovcore.study import paper
from ovcore.study.categories import apart, ordered
from ovcore.study.charts import COLORS, GREY, SYMBOLS, Axis, Chart, Line, Points, Ribbon, numbers
from ovcore.study.experiments.panels import BEYOND, against, spoken
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import category_rows, category_samples, errors_over, model_rows
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Experiment, Finding, Result

METRICS = ("error_inconsistency", "gain", "ensemble_accuracy", "conversion_rate", "accuracy")
TITLES = {
    "gain": ("Gain over the members’ mean", Axis("gain", ".1%")),
    "ensemble_accuracy": ("Accuracy of the ensemble", Axis("accuracy", ".1%")),
    "conversion_rate": ("Conversion rate", Axis("conversion rate", ".0%")),
}
CLAIMS = (
    "Ensembles gain more from partners trained on other data than from another seed.",
    "The more the training differs, the more an ensemble gains.",
    "Ensembles turn a larger share of inconsistent samples into hits where the partner was trained "
    "on other data.",
    "Gain grows with inconsistency almost linearly (the paper: r = 0.98).",
)


def run(models: Models) -> Result:
    """Gain, accuracy and conversion of pair ensembles, and their lines over inconsistency."""
    subject = as_subject(models)
    subject.need_confidences()
    samples = category_samples(subject.pairs, METRICS)
    rows = model_rows(subject.pairs)
    means = category_rows(subject, METRICS)
    inside = rows[rows["in_band"]]
    fits = pd.DataFrame([{"metric": m} | line(inside, m) for m in TITLES])
    return Result(
        tables={
            "categories": means,
            "models": rows[["category", "model", "in_band", *METRICS]],
            "lines": fits,
            "beside the paper": beside(means),
            "lines beside the paper": lines_beside(fits),
        },
        findings=(
            apart(samples, "gain", CLAIMS[0]),
            ordered(samples, "gain", CLAIMS[1]),
            apart(samples, "conversion_rate", CLAIMS[2]),
            _correlated(fits),
        ),
        choices={
            "combine": "mean of two calibrated probability vectors; ties go to the lowest class",
            "line": "least squares over models in the accuracy range, with a 95% interval of the "
            "mean",
            "standard errors": errors_over(subject),
        },
        notes=(
            "Gain = inconsistency × (conversion rate − ½) + rescued share, so part of the gain’s "
            "straight line is arithmetic.",
            "Stars are category means. A button below the figure shows the paper’s models "
            "(ImageNet, base of 76.5% accuracy); of conversion the paper’s tables tell an upper "
            "bound.",
            BEYOND,
        ),
    )


def line(models: pd.DataFrame, metric: str) -> dict[str, float]:
    """Least squares of a metric over inconsistency; r with its 95% interval (Fisher's z).

    ``n`` points; a model that is of several categories, with different bases, is as many points and
    counts once in the interval.
    """
    known = models[models[metric].notna()]
    x, y = known["error_inconsistency"].to_numpy(), known[metric].to_numpy()
    n, n_models = len(x), known["model"].nunique()
    unknown = dict.fromkeys(
        ("slope", "slope_se", "intercept", "r", "r_low", "r_high", "residual", "x_mean", "x_ss",
         "x_low", "x_high"), float("nan"),
    )  # fmt: skip
    if n_models < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"n": n, "models": n_models} | unknown
    fit = stats.linregress(x, y)
    low, high = fit_interval(fit.rvalue, n_models)
    residual = np.sqrt(((y - fit.intercept - fit.slope * x) ** 2).sum() / (n - 2))
    return {
        "n": n, "models": n_models, "slope": fit.slope, "slope_se": fit.stderr,
        "intercept": fit.intercept,
        "r": fit.rvalue, "r_low": low, "r_high": high, "residual": residual, "x_mean": x.mean(),
        "x_ss": ((x - x.mean()) ** 2).sum(), "x_low": x.min(), "x_high": x.max(),
    }  # fmt: skip


def fit_interval(r: float, n: int) -> tuple[float, float]:
    """95% interval of a correlation by Fisher's z."""
    z, half = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15)), 1.96 / np.sqrt(n - 3)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def _correlated(fits: pd.DataFrame) -> Finding:
    fit = fits.set_index("metric").loc["gain"]
    if not np.isfinite(fit["r"]):
        return Finding(
            CLAIMS[3], UNCLEAR, f"{fit['models']:.0f} models are too few for a line, or all alike"
        )
    verdict = HOLDS if fit["r_low"] > 0.8 else FAILS if fit["r_high"] < 0.8 else UNCLEAR
    return Finding(
        CLAIMS[3],
        verdict,
        f"r = {fit['r']:.2f} over {fit['models']:.0f} models (95% interval {fit['r_low']:.2f} to "
        f"{fit['r_high']:.2f}), slope {fit['slope']:.2f} ± {fit['slope_se']:.2f}; “almost "
        "linearly” is taken as r above 0.8",
    )


def beside(means: pd.DataFrame) -> pd.DataFrame:
    """Category means here and in the paper."""
    theirs = paper.category_means().set_index("category")
    rows = []
    for _, row in means.iterrows():
        known = row["category"] in theirs.index
        told = theirs.loc[row["category"]] if known else None
        out: dict[str, object] = {"category": row["category"]}
        for metric in ("error_inconsistency", "gain", "conversion_rate"):
            out[metric] = row[metric]
            out[f"{metric}_se"] = row[f"{metric}_se"]
            out[f"paper_{metric}"] = float("nan") if told is None else told[metric]
        rows.append(out)
    return pd.DataFrame(rows)


def lines_beside(fits: pd.DataFrame) -> pd.DataFrame:
    """Slope and correlation of gain with inconsistency here and in the paper."""
    ours = fits.set_index("metric").loc["gain"]
    printed = paper.models()  # where two rows have the same name
    theirs = line(printed.assign(model=range(len(printed))), "gain")
    return pd.DataFrame([
        {"where": name, "models": fit["models"], "slope": fit["slope"], "slope_se": fit["slope_se"],
         "r": fit["r"], "r_low": fit["r_low"], "r_high": fit["r_high"]}
        for name, fit in (("here", ours), ("the paper", theirs))
    ])  # fmt: skip


def draw(result: Result) -> list[Chart]:
    """Three panels over inconsistency."""
    tables = result.tables
    means, models = tables["categories"], tables["models"]
    fits = tables["lines"].set_index("metric")
    panels = []
    for metric, (title, axis) in TITLES.items():
        panel = against(
            models, means, "error_inconsistency", metric,
            (Axis("error inconsistency with the base", ".0%"), axis),
        )  # fmt: skip
        layers = (*_fitted(fits.loc[metric]), *panel.layers, *_of_paper(metric))
        panels.append(replace(panel, layers=layers, title=title))
    told = "; ".join(f"{TITLES[m][0]}: {spoken(means, m)}" for m in TITLES)
    r = fits.loc["gain", "r"]
    return [
        Chart(
            "fig2",
            "Ensembles of two against inconsistency",
            f"Each model's ensemble with the base over their error inconsistency. Means by "
            f"category: inconsistency {spoken(means, 'error_inconsistency')}; {told}. Gain and "
            f"inconsistency correlate at r = {'unknown' if r != r else f'{r:.2f}'}.",
            tuple(panels),
            "models",
            columns=3,
            height=430,
        )
    ]


def _fitted(fit: pd.Series) -> tuple[Ribbon | Line, ...]:
    if not np.isfinite(fit["slope"]):
        return ()
    x = np.linspace(fit["x_low"], fit["x_high"], 41)
    y = fit["intercept"] + fit["slope"] * x
    spread = np.sqrt(1 / fit["n"] + (x - fit["x_mean"]) ** 2 / fit["x_ss"])
    half = stats.t.ppf(0.975, fit["n"] - 2) * fit["residual"] * spread
    return (
        Ribbon(numbers(x), numbers(y - half), numbers(y + half), GREY),
        Line(numbers(x), numbers(y), GREY, dash="dot"),
    )


def _of_paper(metric: str) -> list[Points]:
    theirs = paper.models()
    found = []
    for category in dict.fromkeys(theirs["category"]):
        rows = theirs[theirs["category"] == category]
        found.append(
            Points(
                numbers(rows["error_inconsistency"]),
                numbers(rows[metric]),
                COLORS[category],
                SYMBOLS[category],
                name="the paper’s models",
                text=tuple(f"{name} (paper)" for name in rows["model"]),
                size=5,
                hollow=True,
                hidden=True,
            )
        )
    return found


EXPERIMENT = Experiment(
    "fig2",
    "What an ensemble of two buys",
    "The ensemble averages the calibrated probabilities of the base and one other model. Gain is "
    "its accuracy minus the mean of its members’; the conversion rate is the share of the samples "
    "with exactly one right member that it gets right.",
    CLAIMS,
    run,
    draw,
    shown=("beside the paper", "lines beside the paper"),
)
