"""`ovcore store` and `ovcore compare`: what they print and write, and their exit statuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ovcore as ov
from ovcore.__main__ import main
from ovcore.store import ModelCard, Store, StoreWriter

N, K = 300, 4
RNG = np.random.default_rng(5)
TARGET = RNG.integers(0, K, N)
LOGITS = RNG.normal(size=(3, N, K)) + 1.5 * np.eye(K)[TARGET]
NAMES = ("one", "two, or more", "three")


def write(path: Path, rows: slice = slice(None), *, temperature: float | None = None) -> Store:
    with StoreWriter(
        path, target=TARGET[rows], sample_ids=[str(n) for n in range(N)][rows]
    ) as writer:
        for m, name in enumerate(NAMES):
            card = ModelCard(
                name, head="Trained", category="BASE" if m == 1 else "",
                training={"data": "IN", "seed": m}, temperature=temperature,
            )  # fmt: skip
            writer.add(card, logits=LOGITS[m, rows])
    return Store(path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write(tmp_path / "s", temperature=1.5).path


def test_a_store_compares_as_its_arrays(store: Path) -> None:
    expected = ov.compare(LOGITS, TARGET, models=NAMES, temperature=1.5)
    for result in (
        ov.compare(Store(store), temperature="stored"),
        ov.compare(Store(store), temperature=1.5),
    ):
        assert result.models == NAMES
        assert result.ensembles is not None
        assert expected.ensembles is not None
        np.testing.assert_array_equal(result.ensembles.hits, expected.ensembles.hits)
        np.testing.assert_array_equal(result.errors.joint, expected.errors.joint)
        assert result.table() == expected.table()
    np.testing.assert_array_equal(
        ov.pack_errors(Store(store), TARGET).words, ov.pack_errors(LOGITS, TARGET).words
    )
    np.testing.assert_array_equal(
        ov.pairwise.joint_agreement(Store(store)), ov.pairwise.joint_agreement(LOGITS)
    )
    np.testing.assert_array_equal(
        ov.ensembles.pairs(Store(store), TARGET).hits, ov.ensembles.pairs(LOGITS, TARGET).hits
    )


def test_predicted_classes_alone_are_compared_by_errors(tmp_path: Path) -> None:
    preds = LOGITS.argmax(2)
    with StoreWriter(tmp_path / "p", target=TARGET) as writer:
        for name, values in zip(NAMES, preds, strict=True):
            writer.add(ModelCard(name), preds=values)
    for result in (ov.compare(Store(tmp_path / "p")), ov.compare(preds, TARGET, models=NAMES)):
        assert result.ensembles is None
        assert result.temperature is None
        expected = ov.compare(LOGITS, TARGET, temperature=1.0)
        np.testing.assert_array_equal(result.error_inconsistency, expected.error_inconsistency)
        assert list(result.rows()[0]) == [
            "model", "accuracy", "error_inconsistency", "error_consistency"
        ]  # fmt: skip
        assert "gain" not in result.to_pandas()


def test_temperatures_are_fitted_on_another_store(tmp_path: Path) -> None:
    test, held = write(tmp_path / "t", slice(0, 200)), write(tmp_path / "h", slice(200, None))
    result = ov.compare(test, calibration_split=held)
    expected = ov.calibration.fit_temperature(LOGITS[:, 200:], TARGET[200:]).temperature
    np.testing.assert_array_equal(result.temperature, expected)
    some = ov.compare(test.select(["three"]), calibration_split=held)
    np.testing.assert_array_equal(some.temperature, expected[2:])
    with pytest.raises(ValueError, match="has no model 'two, or more' to fit"):
        ov.compare(test, calibration_split=held.select(["one", "three"]))
    with pytest.raises(ValueError, match="no temperature of 3 of 3 models, first 'one'"):
        ov.compare(test, temperature="stored")
    with pytest.raises(TypeError, match="only a store has labels of its own"):
        ov.compare(LOGITS)


def test_store_ls(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "ls", str(store)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "300 samples, 4 classes, with sample ids"
    assert lines[1].split() == ["model", "head", "category", "accuracy", "temperature", "kept"]
    assert "two, or more  Trained  BASE" in lines[4]
    assert lines[4].endswith("1.500          logits float64 x 4, preds")


def test_store_verify(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "verify", str(store)]) == 0
    assert capsys.readouterr().out.endswith("s: 3 models as written\n")
    file = store / "model-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert main(["store", "verify", str(store)]) == 1
    assert "SHA-256 differs" in capsys.readouterr().out
    assert main(["store", "verify", str(store / "none")]) == 1
    assert "ovcore store: no store at" in capsys.readouterr().err


def test_store_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, rows in (("a", slice(0, 100)), ("b", slice(100, None))):
        write(tmp_path / part, rows)
    out = str(tmp_path / "all")
    parts = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["store", "merge", out, *parts]) == 0
    assert capsys.readouterr().out == f"{out}: 3 models on 300 samples\n"
    np.testing.assert_array_equal(Store(out).logits("three"), LOGITS[2])
    assert main(["store", "merge", out, *parts]) == 1
    assert "already at" in capsys.readouterr().err


def test_compare_prints_the_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = ov.compare(LOGITS, TARGET, models=NAMES, temperature=1.5, base="two, or more")
    assert main(["compare", str(store)]) == 0
    captured = capsys.readouterr()
    assert captured.out == expected.table() + "\n"
    assert captured.err == ""
    assert main(["compare", str(store), "--base", "three", "--temperature", "1.5"]) == 0
    assert capsys.readouterr().out == expected.table("three") + "\n"
    assert main(["compare", str(store), "--models", "three", "one", "--temperature", "fit"]) == 0
    captured = capsys.readouterr()
    assert "--calibration STORE fits them on others" in captured.err
    assert "two" not in captured.out


def test_compare_sorts_by_a_metric(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = ov.compare(LOGITS, TARGET, models=NAMES, temperature=1.5)
    assert result.ensembles is not None
    gain = np.asarray(result.ensembles.gain)
    main(["compare", str(store), "--base", "one", "--metric", "gain", "q_statistic"])
    rows = capsys.readouterr().out.splitlines()[2:]
    order = [1, 2] if gain[0, 1] >= gain[0, 2] else [2, 1]
    assert [row.split("  ")[0] for row in rows] == [NAMES[m] for m in (0, *order)]
    main(["compare", str(store), "--pairs", "2", "--metric", "gain"])
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == 2
    values = sorted(gain[np.triu_indices(3, 1)], reverse=True)[:2]
    assert [row.split()[-1] for row in rows] == [f"{value:.4f}" for value in values]


def test_compare_writes_what_it_measured(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = ov.compare(LOGITS, TARGET, models=NAMES, temperature=1.5, base="two, or more")
    assert result.ensembles is not None
    files = [str(tmp_path / "c.csv"), str(tmp_path / "c.json")]
    assert main(["compare", str(store), "--csv", files[0], "--json", files[1]]) == 0
    assert capsys.readouterr().out == result.table() + "\n"
    with Path(files[0]).open(newline="") as file:
        pairs = list(csv.DictReader(file))
    assert [(p["model_a"], p["model_b"]) for p in pairs] == [
        ("one", "two, or more"), ("one", "three"), ("two, or more", "three")
    ]  # fmt: skip
    gain = np.asarray(result.ensembles.gain)[np.triu_indices(3, 1)]
    assert [float(p["gain"]) for p in pairs] == gain.tolist()
    saved = json.loads(Path(files[1]).read_text())
    assert saved["counts"]["joint_errors"] == np.asarray(result.errors.joint).tolist()
    assert saved["counts"]["ensemble_hits"] == np.asarray(result.ensembles.hits).tolist()
    assert saved["metrics"]["conversion_rate"][0][0] is None
    assert saved["base"] == "two, or more"
    assert saved["categories"][0] == [None, "REINIT", "REINIT"]
    assert main(["compare", str(store), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == saved
    assert main(["compare", str(store), "--csv", "-"]) == 0
    assert capsys.readouterr().out == Path(files[0]).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base", "four"], "no model is named 'four'"),
        (["--models", "four"], "has no model named 'four'"),
        (["--temperature", "warm"], "must be fit, stored or a number, got 'warm'"),
        (["--json", "-", "--csv", "-"], "--json and --csv cannot go to the same file"),
        (["--calibration", "nowhere"], "no store at nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_exits_with_1(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["compare", str(store), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ovcore compare: ")
    assert message in captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "luck"], "error_inconsistency"),
        (["--pairs", "0"], "must be at least 1, got 0"),
    ],
)
def test_wrong_usage_exits_with_2(store: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "ovcore", "compare", str(store), *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_files_are_written_through_links_and_to_pipes(store: Path, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    assert main(["compare", str(store), "--csv", str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("model_a,model_b,")
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", "ovcore", "compare", str(store), "--csv", "pipe"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL):
        assert (tmp_path / "pipe").read_text() == (tmp_path / "real.csv").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.csv", "pipe", "real.csv", "s"]


def test_names_that_look_like_numbers_stay_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StoreWriter(tmp_path / "n", target=TARGET) as writer:
        for name in ("007", "1e5"):
            writer.add(ModelCard(name), preds=TARGET)
    for more in ([], ["--pairs"], ["--metric", "double_fault"]):
        assert main(["compare", str(tmp_path / "n"), *more]) == 0
        printed = capsys.readouterr().out
        assert "007" in printed
        assert "1e5" in printed


def test_ensembles_of_predicted_classes_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StoreWriter(tmp_path / "p", target=TARGET) as writer:
        for name in NAMES:
            writer.add(ModelCard(name), preds=TARGET)
    assert main(["compare", str(tmp_path / "p"), "--metric", "gain"]) == 1
    assert "gain needs confidences of all models" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "p")]) == 0
    assert "gain" not in capsys.readouterr().out
