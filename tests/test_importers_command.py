"""``ovcore import``: what it prints and writes, and the 67 ImageNet models in one store."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovcore as ov
from conftest import DATA
from ovcore.__main__ import main
from ovcore.commands import imports
from ovcore.importers import read_arrays
from ovcore.store import Store

TRIALS = "subj,session,trial,rt,object_response,category,condition,imagename\n"


def run(*arguments: object) -> int:
    return main(["import", *map(str, arguments)])


def test_arrays_are_imported_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", preds=[0, 1, 2], ids=["x", "y", "z"], y=[0, 1, 1])
    np.savez(tmp_path / "b.npz", out=[1, 1, 0], ids=["z", "y", "w"])
    store = tmp_path / "s"
    assert run("arrays", tmp_path / "a.npz", "--store", store) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a: 3 matched, 0 dropped, 0 missing, 0 disagreed on the label, accuracy 0.6667",
        f"{store} has 1 models on 3 samples",
    ]
    again = ("arrays", tmp_path / "b.npz", "--preds", "out", "--store", store)
    assert run(*again) == 1
    assert "is there already; append adds models to a store" in capsys.readouterr().err
    assert run(*again, "--append") == 1
    assert capsys.readouterr().err == (
        f"ovcore import: {tmp_path / 'b.npz'}, 'out' lacks 1 of 3 samples of the store {store}, "
        "first 'x': a store's samples are fixed, import into a new one\n"
    )
    assert run("arrays", tmp_path / "a.npz", "--store", store, "--append", "--name", "c/d") == 0
    assert list(Store(store).names) == ["a", "c/d"]


def test_names_labels_and_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("id,one,two\nx,cat,ant\ny,dog,dog\n")
    (tmp_path / "labels.csv").write_text("image,id,truth\n7,x,cat\n8,y,dog\n9,z,ant\n")
    (tmp_path / "names.txt").write_text("ant\ncat\ndog\n")
    common = ("arrays", tmp_path / "a.csv", "--preds", "two", "--preds", "one",
              "--labels", tmp_path / "labels.csv", "--labels-key", "truth",
              "--class-names", tmp_path / "names.txt", "--store", tmp_path / "s")  # fmt: skip
    assert run(*common, "--name", "A") == 1
    assert capsys.readouterr().err == "ovcore import: --name is given 1 times for 2 models\n"
    assert run(*common, "--name", "A", "--name", "B") == 0
    store = Store(tmp_path / "s")
    assert (list(store.names), store.class_names) == (["A", "B"], ["ant", "cat", "dog"])
    assert store.accuracy.tolist() == [0.5, 1.0]
    assert "A: 2 matched, 0 dropped, 1 missing" in capsys.readouterr().out
    # A store that models are added to names the classes.
    assert run("arrays", tmp_path / "a.csv", "--preds", "one", "--store", tmp_path / "s",
               "--append") == 0  # fmt: skip


def test_samples_with_other_labels_are_dropped_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, labels in (("a", [0, 1, 1]), ("b", [0, 2, 1])):
        np.savez(tmp_path / f"{name}.npz", preds=[0, 1, 2], labels=labels)
    files = (tmp_path / "a.npz", tmp_path / "b.npz")
    assert run("arrays", *files, "--store", tmp_path / "s", "--disagreeing", "refuse") == 1
    assert "labels 1 of 3 samples otherwise than" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
    assert run("arrays", *files, "--store", tmp_path / "s", "--classes", 5) == 0
    assert "b: 2 matched, 1 dropped, 0 missing, 1 disagreed on the label (first '1')" in (
        capsys.readouterr().out
    )
    assert Store(tmp_path / "s").n_classes == 5


def test_every_format_is_read_by_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("forest.csv").write_text("a,b,y\n0.25,0.75,b\n1,0,a\n")
    choice = {
        "doc_id": 0, "doc_hash": "h", "target": "1", "filter": "f", "exact_match": 1.0,
        "arguments": [["q", " a"], ["q", " bb"]], "filtered_resps": [[-1.0, True], [-1.5, True]],
    }  # fmt: skip
    Path("samples.jsonl").write_text(json.dumps(choice))
    sample = {"id": 1, "epoch": 1, "target": "B", "choices": ["x", "y"],
              "scores": {"choice": {"value": "C", "answer": "B"}}}  # fmt: skip
    log = {"status": "error", "eval": {"model": "m"}, "samples": [sample]}
    Path("log.json").write_text(json.dumps(log))
    Path("helm").mkdir()
    entry = {"instance_id": "id1", "train_trial_index": 0,
             "stats": [{"name": {"name": "exact_match"}, "mean": 1.0}]}  # fmt: skip
    Path("helm/per_instance_stats.json").write_text(json.dumps([entry]))
    Path("trials.csv").write_text(TRIALS + "s,1,1,0.5,dog,dog,0,1_x.png\n")
    for arguments, kind in (
        (("sklearn", "forest.csv"), "logits"),
        (("lm-eval", "samples.jsonl", "--normalize", "chars", "--filter", "f"), "logits"),
        (("lm-eval", "samples.jsonl", "--metric", "exact_match", "--repeat", 0), "preds"),
        (("inspect", "log.json", "--unfinished", "--scorer", "choice", "--epoch", 1), "preds"),
        (("helm", "helm", "--metric", "exact_match", "--trial", 0), "preds"),
        (("model-vs-human", "trials.csv", "--condition", 0), "preds"),
    ):
        store = Path(f"store {arguments[0]} {kind}")
        assert run(*arguments, "--store", store) == 0, capsys.readouterr().err
        assert kind in Store(store).kinds(Store(store).names[0])
        assert Store(store).accuracy.tolist() == [1.0]
        assert "accuracy 1.0000" in capsys.readouterr().out


def test_usage_tells_the_formats_and_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, texts in (
        (["--help"], ["arrays", "sklearn", "lm-eval", "inspect", "helm", "model-vs-human"]),
        (["arrays", "--help"], ["--preds KEY", "--append", "--labels FILE", "options of arrays"]),
        (["lm-eval", "--help"], ["--normalize {chars,bytes}", "--filter NAME"]),
    ):
        with pytest.raises(SystemExit) as exit_:
            run(*arguments)
        assert exit_.value.code == 0
        out = capsys.readouterr().out
        assert [text for text in texts if text not in out] == []
        assert max(map(len, out.splitlines())) <= 100
    with pytest.raises(SystemExit) as exit_:
        run("arrays", "a.npz")
    assert exit_.value.code == 2
    assert "the following arguments are required: --store" in capsys.readouterr().err


def test_offering_the_command_costs_no_reader() -> None:
    script = (
        "import argparse, sys\nfrom ovcore.commands import imports\n"
        "imports.add_parser(argparse.ArgumentParser().add_subparsers())\n"
        "heavy = {'pyarrow', 'pandas', 'safetensors', 'torch', 'inspect_ai', 'ovcore.importers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
    assert imports.run.__doc__


@pytest.fixture(scope="module")
def imagenet(real_data: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Any, Any]:
    """A store of all 67 models, imported by the command, and their reference values."""
    from ovcore.importers import import_outputs

    top5, first = real_data("imagenet_top5_dev.npz")
    _, second = real_data("imagenet_val_v2_top1_dev.npz")
    top5.close()
    path = tmp_path_factory.mktemp("imagenet") / "store"
    models = [
        *read_arrays(DATA / "imagenet_top5_dev.npz"),
        *read_arrays(DATA / "imagenet_val_v2_top1_dev.npz", preds="val_preds", target="val_labels"),
    ]
    import_outputs(models, path)
    return Store(path), first, second["val"]


def test_the_67_imagenet_models_have_their_reference_values(
    imagenet: tuple[Store, Any, Any],
) -> None:
    store, first, second = imagenet
    assert (len(store), store.n_samples, store.n_classes) == (67, 50_000, 1000)
    right = np.round(store.accuracy * store.n_samples).astype(int).tolist()
    assert right == first["top1_correct"] + second["top1_correct"]
    errors = ov.pack_errors(store.outputs(), store.target)
    joint = np.asarray(ov.pairwise.joint_errors(errors))
    wrong = np.diag(joint)
    apart = wrong[:, None] + wrong - 2 * joint
    np.testing.assert_array_equal(apart[:23, :23], first["xor_all_pairs"])
    np.testing.assert_array_equal(apart[23:, 23:], second["xor_all_pairs"])


def test_the_command_imports_both_files_of_imagenet_models(
    imagenet: tuple[Store, Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "s"
    assert run("arrays", DATA / "imagenet_top5_dev.npz", "--store", store) == 0
    assert run("arrays", DATA / "imagenet_val_v2_top1_dev.npz", "--preds", "val_preds",
               "--target", "val_labels", "--store", store, "--append") == 0  # fmt: skip
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 69
    assert out[0] == (
        "keras/densenet169: 50000 matched, 0 dropped, 0 missing, 0 disagreed on the label, "
        "accuracy 0.7392"
    )
    assert out[-1] == f"{store} has 67 models on 50,000 samples"
    assert Store(store).accuracy.tolist() == imagenet[0].accuracy.tolist()
