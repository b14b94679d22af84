"""The paper's numbers as they are packaged, and what its figures say of them."""

from __future__ import annotations

import csv
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from ovcore.study import paper

SHARED = Path(__file__).parents[2] / "shared" / "data" / "paper" / "tables_1_to_4.csv"
MEANS = {  # read off the paper's figures
    "REINIT": (0.085, 0.010, 0.61), "HPARAM": (0.095, 0.012, 0.62), "ARCH": (0.115, 0.021, 0.68),
    "FWORK": (0.126, 0.024, 0.69), "DATASET": (0.184, 0.053, 0.77),
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    with (resources.files("ovcore.study") / "facts" / "paper_tables.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_packaged_tables_are_the_shared_ones() -> None:
    if not SHARED.is_file():
        pytest.skip(f"no tables at {SHARED}")
    packaged = (resources.files("ovcore.study") / "facts" / "paper_tables.csv").read_bytes()
    assert packaged == SHARED.read_bytes()


def test_category_means_are_those_of_the_figures() -> None:
    """By a loop over the rows of the file."""
    sums: dict[str, list[tuple[float, float, float]]] = {}
    for row in rows():
        if row["table"] != "1":
            continue
        accuracy, apart = float(row["accuracy"]), float(row["error_inconsistency"])
        together = float(row["ensemble_accuracy"])
        n11 = (accuracy + 0.765 - apart) / 2
        found = (apart, together - (accuracy + 0.765) / 2, (together - n11) / apart)
        sums.setdefault(row["category"], []).append(found)
    table = paper.category_means()
    assert table["category"].tolist() == list(MEANS)
    for _, row in table.iterrows():
        means = row[["error_inconsistency", "gain", "conversion_rate"]].tolist()
        assert means == pytest.approx(np.mean(sums[row["category"]], axis=0))
        for mean, printed, last in zip(means, MEANS[row["category"]], (3, 3, 2), strict=True):
            assert mean == pytest.approx(printed, abs=0.6 * 10**-last)


def test_gain_and_inconsistency_correlate_as_the_paper_says() -> None:
    models = paper.models()
    r = np.corrcoef(models["error_inconsistency"], models["gain"])[0, 1]
    assert round(r, 2) == 0.98
    assert (models["table"] == 1).all()


def test_tables_are_a_copy() -> None:
    table = paper.tables()
    assert len(table) == len(rows())
    assert set(table["table"]) == {1, 2, 3, 4}
    table["accuracy"] = 0.0
    assert (paper.tables()["accuracy"] > 0).any()
