"""The study from end to end on a tiny zoo: the files it writes and what they say."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ovcore.study import features, findings, measure, page, report
from ovcore.study.zoo import Recipe, ZooSplit


@pytest.fixture(scope="module", autouse=True)
def fewer_probes() -> Iterator[None]:
    """The probes of features have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "SEEDS", 1)
        patch.setattr(features, "CURVES_EACH", 1)
        yield


@pytest.fixture(scope="module")
def measured(zoo_split: ZooSplit) -> measure.Measurement:
    return measure.measure(zoo_split)


@pytest.fixture(scope="module")
def folder(zoo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    written = report.run(out / "new", recipe=Recipe.tiny(), cache=zoo_cache, quiet=True)
    assert written == out / "new" / "index.html"
    return written.parent


class Page(HTMLParser):
    """Collects what a page asks for, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag in ("script", "style")
        self.requests += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        self.ids += [v or "" for k, v in attrs if k == "id"]

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if not self._in_script:
            self.text.append(data)


def test_the_page_has_every_category_and_asks_for_nothing(folder: Path) -> None:
    source = (folder / "index.html").read_text()
    seen = Page(source)
    text = " ".join(seen.text)
    assert seen.requests == []
    assert "default-src 'none'" in source
    for category in measure.CATEGORIES:
        assert text.count(category) >= 2
    for heading in ("What of the paper holds here", "All pairs", "Where each model is confident"):
        assert heading in text
    assert "no untouched test set" in text
    assert len(seen.ids) == len(set(seen.ids))
    specifications = re.search(r'id="specifications">(.*?)</script>', source, re.DOTALL)
    assert specifications
    drawn = json.loads(specifications.group(1))
    assert {"inconsistency", "chance", "gain", "conversion", "heatmap", "theta-ARCH"} <= set(drawn)
    assert set(drawn) <= set(seen.ids)


def test_tables_carry_the_measured_numbers(
    folder: Path, zoo_split: ZooSplit, measured: measure.Measurement
) -> None:
    with (folder / "table1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["category"] for row in rows][:2] == ["BASE", "REINIT"]
    assert {row["category"] for row in rows} == {"BASE", *measure.CATEGORIES}
    compared = measured.comparison
    base = compared.models.index(compared.base)
    assert {row["model"] for row in rows} == set(compared.models)
    for row in rows:
        m = compared.models.index(row["model"])
        wrong = zoo_split.test.logits(row["model"]).argmax(axis=1) != zoo_split.test.target
        assert float(row["accuracy"]) == pytest.approx(1 - wrong.mean())
        base_wrong = zoo_split.test.logits(compared.base).argmax(axis=1) != zoo_split.test.target
        assert float(row["error_inconsistency"]) == pytest.approx((wrong ^ base_wrong).mean())
        assert float(row["ensemble_accuracy"]) == compared.ensembles.accuracy[base, m]
    study = json.loads((folder / "study.json").read_text())
    assert study["recipe_digest"] == Recipe.tiny().digest()
    assert len(study["table1"]) == len(rows)
    assert {finding["verdict"] for finding in study["findings"]} <= {
        findings.HOLDS, findings.FAILS, findings.UNCLEAR,
    }  # fmt: skip


def test_each_half_is_calibrated_on_its_own_images(
    zoo_split: ZooSplit, measured: measure.Measurement
) -> None:
    """Temperatures of one half must not depend on the other half's calibration images."""
    import ovcore as ov

    name = measured.cards[1].name
    calibrated = zoo_split.test.logits(name).astype(np.float64)
    for fold in (0, 1):
        fit_on = zoo_split.calibration.columns["fold"] == fold
        fit = ov.calibration.fit_temperature(
            [zoo_split.calibration.logits(name)[fit_on]], zoo_split.calibration.target[fit_on]
        )
        calibrated[zoo_split.test.columns["fold"] == fold] /= fit.temperature[0]
    exp = np.exp(calibrated - calibrated.max(axis=1, keepdims=True))
    confidence = (exp / exp.sum(axis=1, keepdims=True)).max(axis=1)
    np.testing.assert_allclose(measured.confidence[1], confidence, rtol=1e-12)


def test_every_base_seed_serves_as_base(measured: measure.Measurement) -> None:
    pairs = measure.pair_rows([measured])
    n_bases, n_models = len(measured.bases), len(measured.cards)
    assert n_bases >= 2
    assert len(pairs) == n_bases * (n_models - 1)
    between_bases = pairs[pairs["base"].isin(pairs["base"]) & pairs["model"].isin(pairs["base"])]
    assert set(between_bases["category"]) == {"REINIT"}
    gain = pairs["error_inconsistency"] * (pairs["conversion_rate"] - 0.5)
    assert (pairs["gain"] - gain).min() > -1e-12  # the rest is the rescued share


def test_theta_gap_is_positive_where_confidence_tells_who_is_right(
    measured: measure.Measurement,
) -> None:
    toy = replace(
        measured,
        confidence=np.array([[0.9, 0.9, 0.5, 0.5], [0.5, 0.5, 0.9, 0.9]]),
        right=np.array([[True, True, False, False], [False, False, True, True]]),
    )
    expected = 2 * (np.degrees(np.arctan2(0.9, 0.5)) - 45)
    assert measure.theta_gap(toy, 0, 1) == pytest.approx(expected)
    assert np.isnan(measure.theta_gap(toy, 0, 0))


def test_a_category_outside_the_band_is_left_open(measured: measure.Measurement) -> None:
    pairs = measure.pair_rows([measured])
    pairs.loc[pairs["category"] == "ARCH", "in_band"] = False
    categories = measure.category_rows(pairs)
    arch = categories[categories["category"] == "ARCH"].iloc[0]
    assert arch["models"] == 0
    assert np.isnan(arch["gain"])
    found = findings.findings(pairs)
    assert found[1].verdict != findings.HOLDS
    assert "ARCH and FWORK" in found[1].evidence
    nobody = features.feature_rows([], [], pairs, progress=False)
    text = page.render(
        [measured],
        pairs=pairs,
        models=measure.model_rows(pairs),
        categories=categories,
        table=measure.table_one([measured]),
        features=features.feature_tables(
            features.mixing_samples(nobody.mixing),
            features.rate_samples(nobody.mixing),
            features.fewest_samples(nobody.curves),
        ),
        curves=nobody.curves,
        findings=found,
        about={"ovcore": "0", "recipe": Recipe.tiny().__dict__, "recipe_digest": "0",
               "splits": 1, "errors": "over models"},
    )  # fmt: skip
    assert "– ± –" in text


def made_up(unit: str, spread: float, *means: float) -> pd.DataFrame:
    """Samples of the five categories: three units each, the same deviations in every category."""
    index = pd.MultiIndex.from_product([measure.CATEGORIES, range(3)], names=["category", "unit"])
    gain = [mean + spread * deviation for mean in means for deviation in (-1, 0, 1)]
    samples = pd.DataFrame({"gain": gain}, index=index)
    samples.attrs["unit"] = unit
    return samples


def test_verdicts_follow_the_numbers() -> None:
    rising = made_up("model", 0.001, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert findings._ordered(rising, "gain", "").verdict == findings.HOLDS
    assert findings._apart(rising, "gain", "").verdict == findings.HOLDS
    swapped = made_up("model", 0.001, 0.1, 0.2, 0.4, 0.3, 0.5)
    verdict = findings._ordered(swapped, "gain", "")
    assert verdict.verdict == findings.FAILS
    assert "FWORK is below ARCH by more than two standard errors" in verdict.evidence
    noisy = made_up("model", 0.5, 0.1, 0.2, 0.4, 0.3, 0.5)
    assert findings._ordered(noisy, "gain", "").verdict == findings.UNCLEAR
    nearly_flat = made_up("model", 0.05, 0.1, 0.101, 0.3, 0.6, 0.9)
    verdict = findings._ordered(nearly_flat, "gain", "")
    assert verdict.verdict == findings.UNCLEAR
    assert verdict.evidence.endswith("of each other: REINIT and HPARAM")
    assert findings._apart(noisy, "gain", "").verdict == findings.UNCLEAR
    falling = made_up("model", 0.001, 0.5, 0.4, 0.3, 0.2, 0.1)
    assert findings._apart(falling, "gain", "").verdict == findings.FAILS


def test_splits_are_paired_and_models_are_not() -> None:
    means = (0.1, 0.2, 0.3, 0.4, 0.5)
    apart, error = measure.difference(made_up("split", 0.5, *means), "gain", "REINIT", "DATASET")
    assert (apart, error) == (pytest.approx(0.4), pytest.approx(0, abs=1e-12))
    apart, error = measure.difference(made_up("model", 0.5, *means), "gain", "REINIT", "DATASET")
    assert (apart, error) == (pytest.approx(0.4), pytest.approx(0.5 * np.sqrt(2 / 3)))


def test_a_second_run_replaces_the_files(folder: Path, zoo_cache: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "index.html").write_text("old")
    report.run(folder, recipe=Recipe.tiny(), cache=zoo_cache, quiet=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_splits_give_errors_over_splits(zoo_cache: Path, tmp_path: Path) -> None:
    report.run(tmp_path, recipe=Recipe.tiny(), splits=2, cache=zoo_cache, quiet=True)
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["errors"] == "over splits"
    per_split = pd.read_csv(tmp_path / "pairs.csv").query("in_band and category == 'REINIT'")
    means = per_split.groupby("split")["gain"].mean()
    reinit = study["categories"][0]
    assert reinit["gain_se"] == pytest.approx(means.std(ddof=1) / np.sqrt(2))
