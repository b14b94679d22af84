"""Fig. 5: strong models joined by weak ones alone, chosen greedily."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import ovcore as ov
from ovcore.study.categories import NO_ERROR, verdict_of
from ovcore.study.charts import GREY, Axis, Chart, Layer, Line, Panel, numbers
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import standard_error
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Experiment, Finding, Lacking, Result
from ovcore.study.subject import Split, Subject, within

STARTS = 4
JOINING = 10
PARTNERS = 5
HELD_OUT = 0.5
CLAIMS = (
    "A strong model gains from a weaker one that is chosen for it.",
    "Even a weaker model helps a strong one more than its own twin does, if it was trained on "
    "other data.",
)
_STYLES = (("#0072B2", "circle"), ("#D55E00", "square"), ("#009E73", "diamond"),
           ("#CC79A7", "triangle"))  # fmt: skip


def run(models: Models) -> Result:
    """Greedy selection from each of several strong models, of weak ones alone."""
    subject = as_subject(models)
    subject.need_confidences()
    split = subject.first
    strong, weak = strong_and_weak(subject)
    if not weak:
        raise Lacking(f"no model is weaker than the {len(strong)} strongest")
    steps, firsts = [], []
    for start in strong:
        selected, first = _selected(subject, split, start, weak)
        steps += selected
        firsts.append(first)
    return Result(
        tables={
            "steps": pd.DataFrame(steps),
            "first partners": pd.DataFrame(firsts),
            "best partners": pd.DataFrame(
                [row for start in strong for row in _best(subject, split, start, weak)]
            ),
        },
        findings=(_gains(pd.DataFrame(firsts)), _weak_but_different(subject.pairs)),
        choices={
            "combine": "mean of calibrated probabilities, equal weights, each member once",
            "strong": f"the most accurate: {', '.join(split.names[m] for m in strong)}",
            "weak": f"the {len(weak)} models that are less accurate than every strong one and not "
            "above the accuracy range",
            "split": f"members are chosen on one half of the samples and reported on the other, "
            f"drawn with seed {subject.seed}",
        },
        notes=(
            "Best first partners are ranked and reported on all samples: the best of many looks "
            "better than it is. The first member that greedy selection chose is reported on "
            "samples that it was not chosen on.",
        ),
    )


def strong_and_weak(subject: Subject) -> tuple[list[int], list[int]]:
    """The most accurate models; and those less accurate than each of them, and not above the range.

    Of few models a quarter is strong, and one at least.
    """
    split = subject.first
    order = np.argsort(-split.accuracy, kind="stable")
    strong = [int(m) for m in order[: min(STARTS, max(1, len(order) // 4))]]
    eligible = within(split.accuracy, (0, subject.range_of(split)[1]))
    floor = split.accuracy[strong[-1]]
    weak = [int(m) for m in order if split.accuracy[m] < floor and eligible[m]]
    return strong, weak


def _selected(
    subject: Subject, split: Split, start: int, weak: list[int]
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Accuracy after each member that joined; and what the first was worth, with its interval."""
    pool = [start, *weak]
    temperature = split.temperature
    assert temperature is not None
    found = ov.ensembles.greedy(
        [split.outputs[m] for m in pool],
        split.target,
        start=0,
        max_size=1 + min(JOINING, len(weak)),
        temperature=temperature[pool],
        holdout=HELD_OUT,
        seed=subject.seed,
    )
    members = [pool[m] for m in found.members]
    name = split.names[start]
    rows = [
        {"start": name, "size": size, "joined": split.names[m], "accuracy_alone": split.accuracy[m],
         "category": "" if size == 1 else subject.category(name, split.names[m]),
         "accuracy": accuracy, "selection_accuracy": on_selection}
        for size, (m, accuracy, on_selection) in enumerate(
            zip(members, np.asarray(found.accuracy), np.asarray(found.selection_accuracy),
                strict=True), 1)
    ]  # fmt: skip
    held_out = np.asarray(found.held_out)
    partner = members[1]
    step = _step(split, start, partner, held_out)
    first = {
        "start": name, "start_accuracy": rows[0]["accuracy"], "partner": split.names[partner],
        "category": rows[1]["category"], "partner_accuracy": split.accuracy[partner],
        "ensemble_accuracy": rows[1]["accuracy"], **step,
    }  # fmt: skip
    return list(rows), first


def _step(split: Split, start: int, partner: int, samples: NDArray[np.int64]) -> dict[str, float]:
    """What the pair gets right more often than the start alone, with its 95% interval."""
    preds = [
        np.asarray(ov.ensembles.predict(split.outputs, members=m, temperature=split.temperature))
        for m in ([start, partner], [start])
    ]
    errors = ov.pack_errors(np.stack(preds)[:, samples], split.target[samples])
    accuracy = errors.accuracy()
    low, high = ov.intervals.accuracy_difference(errors)
    return {"gain": accuracy[0] - accuracy[1], "low": low[0, 1], "high": high[0, 1]}


def _best(subject: Subject, split: Split, start: int, weak: list[int]) -> list[dict[str, object]]:
    """The weak models whose ensemble with the start is most accurate."""
    assert split.comparison.ensembles is not None
    together = np.asarray(split.comparison.ensembles.accuracy)[start]
    apart = np.asarray(split.comparison.error_inconsistency)[start]
    name = split.names[start]
    return [
        {"start": name, "start_accuracy": split.accuracy[start], "partner": split.names[m],
         "category": subject.category(name, split.names[m]),
         "partner_accuracy": split.accuracy[m], "error_inconsistency": apart[m],
         "ensemble_accuracy": together[m], **_step(split, start, m, np.arange(len(split.target)))}
        for m in sorted(weak, key=lambda m: (-together[m], m))[:PARTNERS]
    ]  # fmt: skip


def _gains(firsts: pd.DataFrame) -> Finding:
    best = firsts.iloc[0]
    verdict = HOLDS if best["low"] > 0 else FAILS if best["high"] < 0 else UNCLEAR
    listed = "; ".join(
        f"{row['start']} ({row['start_accuracy']:.1%}) with {row['partner']} "
        f"({row['partner_accuracy']:.1%}, {row['category']}) {100 * row['gain']:+.1f} "
        f"[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        for _, row in firsts.iterrows()
    )
    return Finding(
        CLAIMS[0],
        verdict,
        f"points on samples that the partner was not chosen on, with 95% intervals: {listed}; the "
        "verdict is that of the first, the strongest",
    )


def _weak_but_different(pairs: pd.DataFrame) -> Finding:
    """Partners weaker than the accuracy range and trained on other data, against re-seeded ones."""
    claim = CLAIMS[1]
    twins = pairs[pairs["category"] == "REINIT"].groupby("model")["gain_over_base"].mean()
    if twins.empty:
        return Finding(claim, UNCLEAR, "no model is the base with another seed")
    weaker = pairs[~pairs["in_band"] & (pairs["accuracy"] < pairs["base_accuracy"])]
    weaker = weaker[weaker["category"] == "DATASET"]
    if weaker.empty:
        return Finding(claim, UNCLEAR, "no DATASET model is weaker than the accuracy range")
    by_model = weaker.groupby("model")[["accuracy", "gain_over_base"]].mean()
    by_model = by_model.sort_values("gain_over_base", ascending=False)
    step = by_model["gain_over_base"].mean() - twins.mean()
    error = float(np.hypot(standard_error(twins), standard_error(by_model["gain_over_base"])))
    verdict = verdict_of(step, error)
    listed = "; ".join(
        f"{name} ({row['accuracy']:.1%} accurate) {100 * row['gain_over_base']:+.1f}"
        for name, row in by_model.iterrows()
    )
    return Finding(
        claim,
        verdict,
        f"points added to the base's accuracy: another seed {100 * twins.mean():+.1f}; {listed}"
        + ("" if error > 0 else f"; {NO_ERROR}"),
    )


def draw(result: Result) -> list[Chart]:
    """Accuracy against the number of members, a line for each start."""
    steps = result.tables["steps"]
    layers: list[Layer] = []
    told = []
    for (color, symbol), start in zip(_STYLES, dict.fromkeys(steps["start"]), strict=False):
        rows = steps[steps["start"] == start]
        layers.append(
            Line(numbers(rows["size"]), numbers(rows["accuracy"]), color, start, marked=symbol)
        )
        layers.append(
            Line(numbers([1, steps["size"].max()]), numbers([rows["accuracy"].iloc[0]] * 2), GREY,
                 dash="dot")
        )  # fmt: skip
        best = rows.loc[rows["accuracy"].idxmax()]
        told.append(
            f"{start} alone {rows['accuracy'].iloc[0]:.4f}, at best {best['accuracy']:.4f} with "
            f"{best['size'] - 1} others"
        )
    return [
        Chart(
            "fig5",
            "Strong models joined by weaker ones",
            "; ".join(told) + ".",
            (
                Panel(
                    tuple(layers),
                    x=Axis("members"),
                    y=Axis("accuracy, held-out samples", ".1%"),
                ),
            ),
            "steps",
            columns=1,
            height=400,
        )
    ]


EXPERIMENT = Experiment(
    "fig5",
    "Strong models joined by weak ones",
    "From each of the strongest models on, the weaker model that makes the ensemble most accurate "
    "joins, up to ten of them, also where the last do not help. Dotted: the strong model alone.",
    CLAIMS,
    run,
    draw,
    shown=("first partners", "best partners"),
)
