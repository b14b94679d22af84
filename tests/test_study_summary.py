"""The study in words: means with intervals, the chosen partner, verdicts counted."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ovcore.study.of_store import from_store
from ovcore.study.pairs import category_samples, interval
from ovcore.study.results import FAILS, HOLDS, UNCLEAR, Finding, Result
from ovcore.study.subject import Subject
from ovcore.study.summary import summary
from plain_study import RANGE, made_up, stored


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return from_store(stored(tmp_path_factory.mktemp("s") / "s", made_up()), accuracy_range=RANGE)


def found(*verdicts: str) -> Result:
    return Result(findings=tuple(Finding("a claim", verdict, "why") for verdict in verdicts))


def test_means_are_told_with_intervals_where_there_are_enough_models(subject: Subject) -> None:
    text = " ".join(summary(subject, {}))
    samples = category_samples(subject.pairs, ["error_inconsistency", "gain"])
    apart = samples.loc["DATASET", "error_inconsistency"]
    assert len(apart) < 3
    assert f"trained on other data, exactly one is right on {100 * apart.mean():.1f}% of" in text
    assert "nan" not in text
    assert "claims" not in text


def test_an_interval_is_student_s(subject: Subject) -> None:
    values = pd.Series([0.01, 0.02, 0.06])
    low, high = interval(values)
    expected = stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    assert (low, high) == pytest.approx(expected)
    assert np.isnan(interval(values[:2])).all()
    pairs = subject.pairs.assign(category="REINIT", in_band=True)
    many = replace(subject)
    many.__dict__["pairs"] = pairs
    text = " ".join(summary(many, {}))
    shares = re.search(r"right on ([\d.]+)% \[([\d.]+), ([\d.]+)%\] of the samples", text)
    assert shares is not None
    mean, low, high = map(float, shares.groups())
    assert 0 <= low < mean < high
    assert "Brackets are 95% intervals over models, on these samples." in text


def test_the_chosen_partner_is_told(subject: Subject) -> None:
    firsts = pd.DataFrame({
        "start": ["best"], "partner": ["weak"], "partner_accuracy": [0.71],
        "ensemble_accuracy": [0.815], "gain": [0.004], "low": [-0.002], "high": [0.01],
    })  # fmt: skip
    text = " ".join(summary(subject, {"fig5": Result(tables={"first partners": firsts})}))
    assert "Of the models weaker than best, the most accurate one here, weak (71.0%)" in text
    assert "the ensemble is right on 81.5%, +0.4 points [−0.2, +1.0] over the strongest" in text


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        ((HOLDS, FAILS, UNCLEAR), "3 claims of the paper, 1 holds here, 1 does not, and 1 cannot"),
        ((HOLDS, HOLDS), "2 claims of the paper, 2 hold here, 0 do not, and 0 cannot be told."),
    ],
)
def test_verdicts_are_counted(subject: Subject, verdicts: tuple[str, ...], told: str) -> None:
    assert told in summary(subject, {"fig1": found(*verdicts)})[-1]


def test_models_of_which_no_training_is_known(tmp_path: Path) -> None:
    models = made_up()
    store = stored(tmp_path / "s", models)
    plain = [type(c)(c.name, temperature=c.temperature) for c in store.models]
    text = " ".join(summary(from_store(store.with_cards(plain), base="base"), {}))
    assert "a table of metadata would tell" in text
