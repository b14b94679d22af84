"""Fig. 3: which of two models is the more confident, and where it is right."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

import ovcore as ov
from ovcore.study.categories import apart
from ovcore.study.charts import COLORS, Axis, Chart, Layer, Line, Panel, Points, Rule, numbers
from ovcore.study.experiments.panels import diagonal, spoken
from ovcore.study.of_store import Models, as_subject
from ovcore.study.pairs import category_rows, category_samples
from ovcore.study.results import Experiment, Lacking, Result
from ovcore.study.subject import Split, Subject

BINS = 60  # of 1.5 degrees
SHOWN_BINS = 30
MANY_PAIRS = 50_000
FEW_BASES = 8
PAIRS_EACH = 8
POINTS = 400
SHARES = (0.1, 0.5, 0.9)
CLAIMS = (
    "Models trained on other data specialise more than models of another seed: each is the more "
    "confident where it alone is right.",
)
_ONLY_BASE, _ONLY_OTHER = 1, 2  # of the outcomes both, only 1, only 2, none


def run(models: Models) -> Result:
    """Angles of all pairs by outcome, one pair a category sample by sample, and who prevails."""
    subject = as_subject(models)
    subject.need_confidences()
    if not any(subject.partners(subject.first, subject.base)):
        raise Lacking(f"no model but {subject.base} is in the accuracy range")
    angles, histograms = _angles(subject)
    samples = category_samples(angles, ("theta_gap", "specialized"))
    shares, prevailing = _who_prevails(subject)
    return Result(
        tables={
            "theta": histograms,
            "theta gaps": category_rows(subject, ("theta_gap", "specialized"), samples=samples),
            "samples": _points(subject),
            "shares": shares,
            "prevailing angles": prevailing,
        },
        findings=(apart(samples, "theta_gap", CLAIMS[0], unit="°"),),
        choices={
            "theta": f"atan2(confidence of base, confidence of other) − 45°, in {BINS} bins",
            "pairs in the histograms": "all of a base and a model in the accuracy range",
            "pair shown sample by sample": f"{subject.base} and the model in the range nearest to "
            f"its accuracy; at most {POINTS} samples an outcome, drawn with seed {subject.seed}",
            "prevailing": f"of {subject.base} and up to {PAIRS_EACH} models of a category, the "
            "nearest in accuracy; samples on which the two predict different classes; a monotone "
            "fit (isotonic regression) to the share of the base by angle",
        },
        notes=_left_out_bases(subject),
    )


def _left_out_bases(subject: Subject) -> tuple[str, ...]:
    if len(_bases(subject)) == len(subject.bases):
        return ()
    return (f"Of {len(subject.bases)} bases the first {FEW_BASES} are taken here.",)


def _bases(subject: Subject) -> tuple[str, ...]:
    """All, but of very many models few: each is a pass over the outputs."""
    m = len(subject.first.names)
    return subject.bases if m * (m - 1) // 2 <= MANY_PAIRS else subject.bases[:FEW_BASES]


def _histograms(
    split: Split, bases: tuple[str, ...]
) -> Iterator[tuple[int, int, NDArray[np.int64], float]]:
    """(base, other, counts, specialized) with the base as model 1, of every base and other model.

    Counts are (2, BINS), of the samples that only the base and only the other gets right.
    """
    wanted = {split.index(name) for name in bases}
    m = len(split.names)
    few = len(bases) == 1 or m * (m - 1) // 2 > MANY_PAIRS
    for base in sorted(wanted) if few else [None]:
        found = ov.ensembles.specialization(
            split.outputs, split.target, base=base, temperature=split.temperature, bins=BINS
        )
        only = np.asarray(found.histogram)[:, [_ONLY_BASE, _ONLY_OTHER]]
        shares = np.asarray(found.specialized).tolist()
        for (a, b), counts, share in zip(np.asarray(found.pairs), only, shares, strict=True):
            if a in wanted:
                yield int(a), int(b), counts, share
            if b in wanted and not few:  # seen from the other side: theta changes its sign
                yield int(b), int(a), counts[::-1, ::-1], share


def _angles(subject: Subject) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of pairs, and histograms by category and outcome of the pairs in the range."""
    centres = (np.arange(BINS) + 0.5) * 90 / BINS - 45
    rows = []
    totals = {category: np.zeros((2, BINS), np.int64) for category in subject.categories}
    for number, split in enumerate(subject.splits):
        within = subject.in_range(split)
        for base, other, only, specialized in _histograms(split, _bases(subject)):
            category = subject.category(split.names[base], split.names[other])
            if within[other]:
                totals[category] += only
            with np.errstate(invalid="ignore"):
                means = (only @ centres) / only.sum(axis=1)
            rows.append({
                "split": number, "base": split.names[base], "model": split.names[other],
                "category": category, "in_band": within[other],
                "theta_gap": means[0] - means[1],
                "specialized": specialized,
            })  # fmt: skip
    histograms = [
        {"category": category, "theta": theta, "only_base": c[0], "only_other": c[1]}
        for category, counts in totals.items()
        for theta, c in zip(centres, counts.T.tolist(), strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(histograms)


def _points(subject: Subject) -> pd.DataFrame:
    """Confidences of the base and, of each category, its nearest partner."""
    split, generator = subject.first, np.random.default_rng(subject.seed)
    base = split.confidence(subject.base)
    right = split.right(subject.base)
    frames = []
    for category, found in groupby(subject.partners(split, subject.base), key=lambda p: p[0]):
        name = next(found)[1]
        other, theirs = split.confidence(name), split.right(name)
        for outcome, chosen in (("only_base", right & ~theirs), ("only_other", ~right & theirs)):
            rows = np.flatnonzero(chosen)
            if len(rows) > POINTS:
                rows = np.sort(generator.choice(rows, POINTS, replace=False))
            frames.append(
                pd.DataFrame({
                    "category": category, "model": name, "outcome": outcome, "sample": rows,
                    "base_confidence": base[rows], "other_confidence": other[rows],
                })
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def _who_prevails(subject: Subject) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By category: share of samples where the ensemble follows the base, by angle; its crossings.

    Of samples on which the two models predict different classes.
    """
    split = subject.first
    edges = np.linspace(-45, 45, 181)
    centres = (edges[:-1] + edges[1:]) / 2
    base = split.index(subject.base)
    sure = split.confidence(subject.base)
    ours = _alone(split, base)
    shares, crossings = [], []
    for category, found in groupby(subject.partners(split, subject.base), key=lambda p: p[0]):
        followed, all_of = np.zeros(180), np.zeros(180)
        for _, name in list(found)[:PAIRS_EACH]:
            other = split.index(name)
            differ = ours != _alone(split, other)
            together = np.asarray(
                ov.ensembles.predict(
                    split.outputs, members=[base, other], temperature=split.temperature
                )
            )
            theta = np.degrees(np.arctan2(sure, split.confidence(name))) - 45
            all_of += np.histogram(theta[differ], edges)[0]
            followed += np.histogram(theta[differ & (together == ours)], edges)[0]
        if not all_of.any():
            continue
        seen = all_of > 0
        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fit.fit(centres[seen], followed[seen] / all_of[seen], sample_weight=all_of[seen])
        first, last = np.flatnonzero(seen)[[0, -1]]
        span = slice(first, last + 1)
        share = fit.predict(centres[span])
        shares += [
            {"category": category, "theta": theta, "share": value, "samples": int(count)}
            for theta, value, count in zip(centres[span], share, all_of[span], strict=True)
        ]
        crossings.append(
            {"category": category, "samples": int(all_of.sum())}
            | {f"theta_{100 * s:.0f}": _crossing(share, edges[span], s) for s in SHARES}
        )
    return (
        pd.DataFrame(shares, columns=["category", "theta", "share", "samples"]),
        pd.DataFrame(
            crossings, columns=["category", "samples", *(f"theta_{100 * s:.0f}" for s in SHARES)]
        ),
    )


def _alone(split: Split, model: int) -> NDArray[np.int64]:
    return np.asarray(
        ov.ensembles.predict(split.outputs, members=[model], temperature=split.temperature)
    )


def _crossing(share: NDArray[np.float64], edges: NDArray[np.float64], wanted: float) -> float:
    """The angle from which on the share is ``wanted`` at least; NaN where it always or never is."""
    reached = share >= wanted
    return float(edges[reached.argmax()]) if 0 < reached.sum() < len(reached) else float("nan")


def draw(result: Result) -> list[Chart]:
    """Histograms by category; samples of one pair each; the share that follows the base."""
    gaps = result.tables["theta gaps"]
    told = spoken(gaps, "theta_gap", ".1f", "°")
    theta, points = result.tables["theta"], result.tables["samples"]
    charts = [
        Chart(
            "fig3-theta",
            "Angles where exactly one of two models is right",
            f"Mean angle where only the base is right minus where only the other is: {told}.",
            tuple(_histogram(theta, category) for category in dict.fromkeys(theta["category"])),
            "theta",
            columns=5,
            height=250,
        )
    ]
    if len(points):  # none where a model never differs from the base in who is right
        charts.append(
            Chart(
                "fig3-samples",
                "Confidences, sample by sample",
                "Confidence of the base against that of one model of each category, for samples "
                "that exactly one of the two gets right.",
                tuple(_scatter(points, category) for category in dict.fromkeys(points["category"])),
                "samples",
                columns=3,
                height=330,
            )
        )
    if len(result.tables["shares"]):
        charts.append(_prevailing(result))
    return charts


def _histogram(theta: pd.DataFrame, category: str) -> Panel:
    mine = theta[theta["category"] == category]
    each = BINS // SHOWN_BINS
    centres = mine["theta"].to_numpy().reshape(-1, each).mean(axis=1)
    layers: list[Layer] = [Rule(0, "x")]
    for who, color, name, dash in (
        ("only_other", COLORS[category], "only the other is right", "solid"),
        ("only_base", "#000000", "only the base is right", "dot"),
    ):
        counts = mine[who].to_numpy().reshape(-1, each).sum(axis=1)
        share = counts / max(counts.sum(), 1)
        layers.append(
            Line(numbers(centres), numbers(share), color, name, dash, steps=True,
                 filled=who == "only_other")
        )  # fmt: skip
    ticks = ((-45, "−45°"), (0, "0°"), (45, "45°"))
    return Panel(
        tuple(layers),
        x=Axis("θ", ticks=ticks, limits=(-45, 45)),
        y=Axis("", ".0%", from_zero=True),
        title=category,
    )


def _scatter(points: pd.DataFrame, category: str) -> Panel:
    mine = points[points["category"] == category]
    layers: list[Layer] = [diagonal((0, 1))]
    for outcome, color, symbol, name in (
        ("only_base", "#000000", "circle", "only the base is right"),
        ("only_other", COLORS[category], "cross", "only the other is right"),
    ):
        rows = mine[mine["outcome"] == outcome]
        layers.append(
            Points(numbers(rows["base_confidence"]), numbers(rows["other_confidence"]), color,
                   symbol, name=name, size=4, hollow=outcome == "only_base")
        )  # fmt: skip
    model = mine["model"].iloc[0]
    return Panel(
        tuple(layers),
        x=Axis("base", ".0%", limits=(0, 1.02)),
        y=Axis("other", ".0%", limits=(0, 1.02)),
        title=f"{category}: {model}",
    )


def _prevailing(result: Result) -> Chart:
    shares, crossings = result.tables["shares"], result.tables["prevailing angles"]
    layers: list[Layer] = [Rule(0.5), Rule(0.9), Rule(0, "x")]
    for category in dict.fromkeys(shares["category"]):
        rows = shares[shares["category"] == category]
        layers.append(
            Line(numbers(rows["theta"]), numbers(rows["share"]), COLORS[category], category)
        )
    told = (
        f"half at {spoken(crossings, 'theta_50', '.1f', '°')}; nine tenths at "
        f"{spoken(crossings, 'theta_90', '.1f', '°')}"
    )
    return Chart(
        "fig3-prevailing",
        "Whose class the ensemble predicts",
        f"Share of samples where the ensemble follows the base, by angle: {told}.",
        (
            Panel(
                tuple(layers),
                x=Axis("θ in degrees: right of 0 the base is the surer", limits=(-45, 45)),
                y=Axis("share that follows the base", ".0%", limits=(0, 1)),
            ),
        ),
        "shares",
        columns=1,
        height=330,
    )


EXPERIMENT = Experiment(
    "fig3",
    "Where each model is confident",
    "The specialization angle θ = atan2(confidence of the base, confidence of the other) − 45° is "
    "above 0 where the base is the more confident. The further apart the angles are where only the "
    "one and where only the other is right, the better confidence tells who is right, and the more "
    "an average of probabilities can convert. The θ gap is the difference of the two means. Where "
    "the two predict different classes, the ensemble follows the one that is the surer by enough: "
    "the table has the angles from which that is the base in a tenth, half and nine tenths of the "
    "samples.",
    CLAIMS,
    run,
    draw,
    shown=("theta gaps", "prevailing angles"),
)
