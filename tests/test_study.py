"""The study from end to end: the files it writes, resumed, repeated, and told on a terminal."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovcore as ov
from ovcore.__main__ import main
from ovcore.store import ModelCard, Store, StoreWriter
from ovcore.study import EXPERIMENTS, from_store, resuming, running
from ovcore.study import folder as folder_of_study
from ovcore.study.experiments import fig6
from ovcore.study.results import Result
from ovcore.study.zoo import Recipe

FAST = ("fig1", "fig2", "table1")


@pytest.fixture(scope="module", autouse=True)
def fewer_probes() -> Iterator[None]:
    """The probes of features have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fig6, "SEEDS", 1)
        patch.setattr(fig6, "CURVES_EACH", 1)
        yield


@pytest.fixture(scope="module")
def of_zoo(zoo_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every experiment of the tiny zoo."""
    out = tmp_path_factory.mktemp("study") / "new"
    page = running.run(out, recipe=Recipe.tiny(), cache=zoo_cache, quiet=True)
    assert page == out / "index.html"
    return out


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of six models' logits."""
    rng = np.random.default_rng(4)
    target = rng.integers(0, 5, 400)
    path = tmp_path_factory.mktemp("outputs") / "models"
    with StoreWriter(path, target=target, class_names=list("abcde")) as writer:
        for m, (name, category) in enumerate(
            [("base", "BASE"), ("twin", "REINIT"), ("other", "REINIT"), ("wide", "ARCH"),
             ("far", "DATASET"), ("farther", "DATASET")]
        ):  # fmt: skip
            logits = rng.normal(size=(400, 5)) + (1.4 + 0.1 * m) * np.eye(5)[target]
            writer.add(ModelCard(name, category=category), logits=logits.astype(np.float32))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != folder_of_study.LOCK
    }


def test_every_experiment_of_the_zoo_is_made(of_zoo: Path) -> None:
    study = json.loads((of_zoo / "study.json").read_text())
    assert list(study["experiments"]) == list(EXPERIMENTS)
    made = {name for name, found in study["experiments"].items() if not found["lacking"]}
    assert made >= {"fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "table1"}
    for name, found in study["experiments"].items():
        claims = [finding["claim"] for finding in found["findings"]]
        assert claims == list(EXPERIMENTS[name].claims)
    assert study["ovcore"] == ov.__version__
    assert study["seed"] == 0
    assert study["recipe_digest"] == Recipe.tiny().digest()
    assert study["recipe"]["labelled"] == Recipe.tiny().labelled


def test_every_file_is_listed_and_there(of_zoo: Path) -> None:
    study = json.loads((of_zoo / "study.json").read_text())
    assert set(files_of(of_zoo)) == {*study["files"], "index.html"}
    figures = [name for name in study["files"] if name.startswith("figures/")]
    assert {Path(name).suffix for name in figures} == {".svg", ".pdf"}
    assert len(figures) >= 20
    page = (of_zoo / "index.html").read_text()
    for name in study["files"]:
        assert name in page
    with (of_zoo / "tables" / "fig2-models.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"category", "model", "gain"} <= set(rows[0])


def test_the_same_study_again_is_the_same_to_the_byte(
    of_zoo: Path, zoo_cache: Path, tmp_path: Path
) -> None:
    running.run(tmp_path / "again", recipe=Recipe.tiny(), cache=zoo_cache, quiet=True)
    first, again = files_of(of_zoo), files_of(tmp_path / "again")
    assert list(first) == list(again)
    different = [name for name in first if first[name] != again[name]]
    assert different == []


def test_the_date_is_all_that_differs_on_another_day(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = []
    for day in ("0", "86400"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", day)
        page = running.run(tmp_path / day, subject=from_store(outputs), only=FAST, quiet=True)
        pages.append(page.read_text())
    assert pages[0] != pages[1]
    assert pages[0].replace("1970-01-01", "1970-01-02") == pages[1]
    assert pages[1].count("1970-01-02") <= 2


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the experiments that are made from now on."""
    made: list[str] = []
    conduct = running.Experiment.conduct

    def count(experiment: Any, subject: Any) -> Result:
        made.append(experiment.name)
        return conduct(experiment, subject)

    monkeypatch.setattr(running.Experiment, "conduct", count)
    return made


def test_finished_experiments_are_taken_as_they_are(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = counted(monkeypatch)
    running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    page = running.run(tmp_path, subject=from_store(outputs), only=FAST, quiet=True).read_bytes()
    assert made == ["fig1", "fig2", "table1"]
    assert (
        running.run(tmp_path, subject=from_store(outputs), only=FAST, quiet=True).read_bytes()
        == page
    )
    assert made == ["fig1", "fig2", "table1"]


@pytest.mark.parametrize(
    "changed",
    [
        lambda path: from_store(path, base="twin"),
        lambda path: from_store(path, all_bases=True),
        lambda path: from_store(path, seed=1),
        lambda path: from_store(path, accuracy_range=(0.0, 1.0)),
        lambda path: from_store(Store(path).select(["base", "twin", "far"])),
    ],
    ids=["base", "bases", "seed", "range", "models"],
)
def test_what_was_made_of_something_else_is_made_again(
    changed: Callable[[Path], Any], outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    made = counted(monkeypatch)
    running.run(tmp_path, subject=changed(outputs), only=["fig1"], quiet=True)
    assert made == ["fig1"]


def test_an_interrupted_study_goes_on_and_leaves_the_last_page(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    before = (tmp_path / "index.html").read_bytes()
    conduct = running.Experiment.conduct

    def stop(experiment: Any, subject: Any) -> Result:
        if experiment.name == "fig3":
            raise KeyboardInterrupt
        return conduct(experiment, subject)

    with monkeypatch.context() as patch:
        patch.setattr(running.Experiment, "conduct", stop)
        with pytest.raises(KeyboardInterrupt):
            running.run(tmp_path, subject=from_store(outputs), quiet=True)
    assert (tmp_path / "index.html").read_bytes() == before
    made = counted(monkeypatch)
    running.run(tmp_path, subject=from_store(outputs), quiet=True)
    assert made[0] == "fig3"
    assert "fig2" not in made


@pytest.mark.parametrize("damage", ["", "{", '{"key": "x"}', "[]"])
def test_a_damaged_result_is_made_again(damage: str, outputs: Path, tmp_path: Path) -> None:
    subject = from_store(outputs)
    running.run(tmp_path, subject=subject, only=["fig1"], quiet=True)
    path = tmp_path / "experiments" / "fig1.json"
    whole = path.read_bytes()
    path.write_text(damage)
    assert resuming.load(tmp_path, EXPERIMENTS["fig1"], resuming.key_of(subject)) is None
    running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    assert path.read_bytes() == whole


def test_files_of_another_study_do_not_stay(outputs: Path, tmp_path: Path) -> None:
    running.run(tmp_path, subject=from_store(outputs), only=["fig2"], quiet=True)
    (tmp_path / "mine.txt").write_text("kept")
    (tmp_path / "figures" / "mine.svg").write_text("kept")
    assert (tmp_path / "figures" / "fig2.svg").is_file()
    running.run(tmp_path, subject=from_store(outputs, base="twin"), only=["fig1"], quiet=True)
    assert not (tmp_path / "figures" / "fig2.svg").exists()
    assert not (tmp_path / "experiments" / "fig2.json").exists()
    assert (tmp_path / "mine.txt").is_file()
    assert (tmp_path / "figures" / "mine.svg").is_file()


def test_files_of_the_same_study_stay_and_are_listed(outputs: Path, tmp_path: Path) -> None:
    running.run(tmp_path, subject=from_store(outputs), only=["fig2"], quiet=True)
    page = running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    study = json.loads((tmp_path / "study.json").read_text())
    assert set(files_of(tmp_path)) == {*study["files"], "index.html"}
    assert "figures/fig2.svg" in study["files"]
    assert "figures/fig2.svg" in page.read_text()
    at_once = tmp_path / "at once"
    running.run(at_once, subject=from_store(outputs), only=["fig1", "fig2"], quiet=True)
    running.run(tmp_path, subject=from_store(outputs), only=["fig1", "fig2"], quiet=True)
    assert files_of(at_once).items() <= files_of(tmp_path).items()


def test_two_studies_do_not_write_to_one_folder(outputs: Path, tmp_path: Path) -> None:
    with (
        folder_of_study.taken(tmp_path),
        pytest.raises(ValueError, match="another study is writing to .*: wait until it is done"),
    ):
        running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    assert files_of(tmp_path) == {}
    running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)


def test_a_file_in_the_way_is_seen_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "build", lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError, match="expected a folder .* but .*file is a file"):
            running.run(out, quiet=True)
    for seconds in ("soon", "1.5", "9" * 40):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        with pytest.raises(ValueError, match="SOURCE_DATE_EPOCH must be whole seconds"):
            running.run(tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()


def test_files_have_the_rights_that_the_user_gives_new_ones(outputs: Path, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        page = running.run(tmp_path, subject=from_store(outputs), only=["fig1"], quiet=True)
    finally:
        os.umask(before)
    assert page.stat().st_mode & 0o777 == 0o640


def test_results_of_other_code_or_libraries_are_not_taken(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = resuming.key_of(from_store(outputs))
    version = resuming.metadata.version
    monkeypatch.setattr(resuming.metadata, "version", lambda name: version(name) + "+other")
    resuming._code.cache_clear()
    assert resuming.key_of(from_store(outputs)) != key
    monkeypatch.undo()
    resuming._code.cache_clear()
    assert resuming.key_of(from_store(outputs)) == key


def test_what_a_store_lacks_is_said(outputs: Path, tmp_path: Path) -> None:
    running.run(tmp_path, subject=from_store(outputs), quiet=True)
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["experiments"]["fig6"]["lacking"] == "the store keeps no features of base"
    assert "on another task" in study["experiments"]["fig7"]["lacking"]
    assert not list((tmp_path / "figures").glob("fig6*"))
    for finding in study["experiments"]["fig6"]["findings"]:
        assert finding["verdict"] == "cannot be told here"
    assert "the store keeps no features of base" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("scale", [0.0, 8.0], ids=["identical", "perfect"])
def test_models_that_never_differ(scale: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    target = np.arange(60) % 3
    logits = (scale * np.eye(3)[target] + rng.normal(size=(60, 3))).astype(np.float32)
    with StoreWriter(tmp_path / "same", target=target) as writer:
        for name in ("a", "b", "c"):
            writer.add(ModelCard(name, temperature=1.0), logits=logits)
    page = running.run(tmp_path / "out", subject=from_store(tmp_path / "same"), quiet=True)
    labels = re.findall(r'aria-label="([^"]*)"', page.read_text())
    assert labels
    assert [label for label in labels if re.search(r"\bnan\b", label)] == []


def test_only_what_is_asked_for(outputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no experiment is called 'fig9'; there are fig1, fig2"):
        running.run(tmp_path / "none", subject=from_store(outputs), only=["fig9"])
    assert not (tmp_path / "none").exists()
    running.run(tmp_path, subject=from_store(outputs), only=["table1", "fig2"], quiet=True)
    study = json.loads((tmp_path / "study.json").read_text())
    assert list(study["experiments"]) == ["fig2", "table1"]


class TestCommand:
    def test_lists_the_experiments(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["study", "--list"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(EXPERIMENTS)

    def test_tells_of_a_store(
        self, outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["study", "--store", str(outputs), "--out", str(tmp_path), "--only"]
        options = ["--all-bases", "--accuracy-range", "0.2", "1", "--seed", "3"]
        assert main([*arguments, "fig1, fig2,fig6,table1,", *options]) == 0
        told = capsys.readouterr().out
        assert re.search(r"base +BASE .*\d\.\d{4}", told)
        assert "What of the paper holds here" in told
        assert "cannot be told here" in told
        assert "the store keeps no features of base" in told
        assert str(tmp_path / "index.html") in told
        study = json.loads((tmp_path / "study.json").read_text())
        assert study["bases"] == list(Store(outputs).names)
        assert study["accuracy_range"] == [0.2, 1]
        assert study["seed"] == 3

    def test_metadata_give_categories(self, outputs: Path, tmp_path: Path) -> None:
        table = tmp_path / "models.csv"
        table.write_text("name,category\nwide,FWORK\n")
        arguments = ["study", "--store", str(outputs), "--out", str(tmp_path / "out")]
        assert main([*arguments, "--metadata", str(table), "--only", "fig1", "--quiet"]) == 0
        with (tmp_path / "out" / "pairs.csv").open() as file:
            found = {row["model"]: row["category"] for row in csv.DictReader(file)}
        assert found["wide"] == "FWORK"
        assert found["twin"] == "REINIT"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--base", "a"], "--base is of a store: give --store DIR"),
            (["--accuracy-range", "0", "1"], "--accuracy-range is of a store"),
            (["--store", "STORE", "--splits", "2"], "--splits is of the built-in zoo"),
            (["--store", "STORE", "--base", "nobody"], "has no model 'nobody' to be the base"),
            (["--store", "STORE", "--accuracy-range", "0.9", "0.1"], "LO <= HI within 0..1"),
            (["--store", "nowhere"], "no store at nowhere"),
            (["--only", "fig99"], "no experiment is called 'fig99'"),
            (["--only", " ,"], "expected names of experiments, got none; there are fig1"),
            (["--seed", "0"], "--seed is of a store: give --store DIR"),
            (["--store", "STORE", "--seed", "-1"], "seed"),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    def test_refuses(
        self, arguments: list[str], message: str, outputs: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        given = [str(outputs) if text == "STORE" else text for text in arguments]
        assert main(["study", "--out", str(tmp_path / "out"), *given]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_top_five_outputs_of_imagenet_models(
    real_data: Callable[[str], tuple[Any, Any]], tmp_path: Path
) -> None:
    data, _ = real_data("imagenet_top5_dev.npz")
    with StoreWriter(tmp_path / "top5", target=data["labels"], n_classes=1000) as writer:
        for name, classes, probs in zip(data["names"], data["preds"], data["probs"], strict=True):
            writer.add(ModelCard(str(name)), topk=ov.TopK(classes, probs, 1000))
    table = tmp_path / "models.csv"
    names = [str(name) for name in data["names"]]
    table.write_text(
        "name,data,objective,architecture,seed\n"
        + "".join(f"{n},IN,Sup.,{n.split('/')[1].lower()},{n.split('/')[0]}\n" for n in names)
    )
    subject = from_store(
        tmp_path / "top5", base="torch/resnet50", accuracy_range=(0.7, 0.78), metadata=table
    )
    running.run(tmp_path / "out", subject=subject, quiet=True)
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    lacking = {name for name, found in study["experiments"].items() if found["lacking"]}
    assert lacking >= {"fig6", "fig7"}
    assert not lacking & {"fig1", "fig2", "fig3", "fig4", "fig5", "fig8", "table1"}
    assert subject.category("torch/resnet50", "keras/resnet50") == "REINIT"
    assert subject.category("torch/resnet50", "torch/vgg16") == "ARCH"
