"""CSV files of trials by people and models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ovcore as ov
from ovcore.importers import import_outputs, read_model_vs_human
from ovcore.store import Store

HEADER = "subj,session,trial,rt,object_response,category,condition,imagename\n"


def write(path: Path, rows: list[tuple[str, str, str, str]], header: str = HEADER) -> Path:
    """Rows of subject, response, category and image; the image's name starts with the trial."""
    lines = [
        f"{subject},1,{i},NaN,{response},{category},0,{image}\n"
        for i, (subject, response, category, image) in enumerate(rows)
    ]
    path.write_text(header + "".join(lines), encoding="utf-8")
    return path


def human(folder: Path) -> Path:
    rows = [
        ("subject-01", "dog", "dog", "0001_ske_s01_0_dog_00_dog-1-sketch-16.png"),
        ("subject-01", "na", "cat", "0002_ske_s01_0_cat_00_n02123045_7.JPEG"),
        ("subject-01", "cat", "bear", "0003_ske_s01_0_bear_00_bear2.png"),
    ]
    return write(folder / "human.csv", rows)


def network(folder: Path) -> Path:
    rows = [
        ("resnet50", "bear", "bear", "0009_ske_dnn_0_bear_00_bear2.png"),
        ("resnet50", "bear", "dog", "0008_ske_dnn_0_dog_00_dog-1-sketch-16.png"),
        ("resnet50", "cat", "cat", "0007_ske_dnn_0_cat_00_n02123045_7.JPEG"),
        ("resnet50", "cat", "cat", "0007_ske_dnn_0_cat_00_only-here.png"),
    ]
    return write(folder / "network.csv", rows, HEADER.replace("imagename", "ImageName"))


def test_subjects_are_matched_by_condition_and_image(tmp_path: Path) -> None:
    models = read_model_vs_human([human(tmp_path), network(tmp_path)])
    assert [model.card.name for model in models] == ["subject-01", "resnet50"]
    assert models[0].card.source == "model-vs-human:human.csv"
    ids = ["0/dog-1-sketch-16.png", "0/n02123045_7.JPEG", "0/bear2.png"]
    assert models[0].sample_ids == ids
    assert np.asarray(models[0].preds).tolist() == [2, -1, 1]
    reports = import_outputs(models, tmp_path / "s")
    store = Store(tmp_path / "s")
    assert (store.sample_ids, store.class_names) == (ids, ["bear", "cat", "dog"])
    assert [(report.matched, report.dropped) for report in reports] == [(3, 0), (3, 1)]
    assert store.accuracy.tolist() == pytest.approx([1 / 3, 2 / 3])
    errors = ov.pack_errors([store.preds(name) for name in store.names], store.target)
    assert ov.pairwise.error_inconsistency(errors)[0, 1] == 1.0


def test_sessions_of_a_subject_are_put_together(tmp_path: Path) -> None:
    write(tmp_path / "a_session_1.csv", [("s", "dog", "dog", "1_x.png")])
    write(tmp_path / "a_session_2.csv", [("s", "na", "cat", "1_y.png")])
    (model,) = read_model_vs_human(tmp_path)
    assert model.sample_ids == ["0/x.png", "0/y.png"]
    write(tmp_path / "a_session_2.csv", [("s", "na", "dog", "9_x.png")])
    with pytest.raises(ValueError, match="a_session_1.csv, subject 's': sample id '0/x.png' is th"):
        read_model_vs_human(tmp_path)


def test_one_of_several_conditions(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER + "s,1,1,0.5,dog,dog,10-15,1_x.png\ns,1,2,0.5,cat,dog,NaN,2_x.png\n")
    (model,) = read_model_vs_human(path, condition="10-15")
    assert model.sample_ids == ["10-15/x.png"]
    (model,) = read_model_vs_human(path, condition="NaN", class_names=["dog", "cat", "ant"])
    assert (model.sample_ids, np.asarray(model.preds).tolist()) == (["NaN/x.png"], [1])
    with pytest.raises(ValueError, match="a.csv has no trials of condition '3'"):
        read_model_vs_human(path, condition="3")


def test_trials_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = human(tmp_path)
    with pytest.raises(
        ValueError, match=r"human.csv, column 'category': 'bear' is none of cat, dog"
    ):
        read_model_vs_human(path, class_names=["cat", "dog"])
    with pytest.raises(ValueError, match="column 'object_response': 'cat' is none of dog"):
        read_model_vs_human(
            write(tmp_path / "b.csv", [("s", "cat", "dog", "x")]), class_names=["dog"]
        )
    with pytest.raises(ValueError, match="column 'category': 'na' is none of dog"):
        read_model_vs_human(
            write(tmp_path / "b.csv", [("s", "dog", "na", "x")]), class_names=["dog"]
        )
    path.write_text("subj,trial,category,condition\n")
    with pytest.raises(ValueError, match="human.csv has no column 'object_response', 'imagename'"):
        read_model_vs_human(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no CSV files"):
        read_model_vs_human(tmp_path / "empty")
    with pytest.raises(ValueError, match="b.csv cannot be read"):
        read_model_vs_human(write(tmp_path / "b.csv", [("s", "dog", "dog", "x,y")]))
