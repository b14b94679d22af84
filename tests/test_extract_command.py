"""`ovcore extract` from the command line's words to a store and a line a model."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
import pytest

from extract_models import CLASS_NAMES, save_clip, save_images, save_vit
from ovcore.commands import extract
from ovcore.extract import extract_outputs, fit_probe, load_data, load_model
from ovcore.store import Store, verify

FACTORIES = """
import torch
from torch import nn
from torch.utils.data import TensorDataset
from extract_models import mlp

def net():
    return mlp()

def wide():
    return mlp(classes=5)

def data():
    return TensorDataset(torch.randn(9, 5, generator=torch.Generator().manual_seed(0)),
                         torch.arange(9) % 3)

def training():
    return TensorDataset(torch.randn(30, 5, generator=torch.Generator().manual_seed(1)),
                         torch.arange(30) % 3)

def stopped():
    raise KeyboardInterrupt
"""


def ovcore(*words: object) -> int:
    parser = argparse.ArgumentParser()
    extract.add_parser(parser.add_subparsers())
    options = parser.parse_args(["extract", *map(str, words)])
    return options.run(options)


@pytest.fixture
def own(tmp_path: Path) -> str:
    """Prefix of the factories in a file."""
    file = tmp_path / "own.py"
    file.write_text(FACTORIES)
    return f"torch:{file}:"


def test_images_and_saved_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    data = save_images(tmp_path / "images")
    vit, clip = save_vit(tmp_path / "vit"), save_clip(tmp_path / "clip")
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a photo of a {}.\n\nthe {}.\n")
    assert ovcore(
        tmp_path / "store", "--data", data, "--model", vit, "--name", "ViT", "--model", clip,
        "--name", "CLIP", "--templates", prompts, "--batch-size", 4, "--device", "cpu",
    ) == 0  # fmt: skip
    store = Store(tmp_path / "store")
    assert verify(store.path) == []
    assert store.class_names == CLASS_NAMES
    assert store.sample_ids is not None
    assert store.sample_ids[3:5] == ["bee/0.png", "bee/1.png"]
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:5:2] for line in said] == [
        [name, f"{accuracy:.4f}", "samples"]
        for name, accuracy in zip(store.names, store.accuracy, strict=True)
    ]
    assert [card.head for card in store.models] == ["Trained", "Zero-shot"]
    assert store.models[1].training["prediction_head"]["templates"] == [
        "a photo of a {}.", "the {}.",
    ]  # fmt: skip
    loaded = load_model(vit).extraction
    assert loaded.prepare is not None
    batches = [loaded.prepare(images) for images, _, _ in load_data(data, batch_size=4).loader]
    want, features = extract_outputs(loaded.module, batches, layer="classifier", side="input")
    np.testing.assert_array_equal(store.logits("ViT"), want)
    np.testing.assert_array_equal(store.features("ViT"), features)


def test_own_modules_and_more_of_them(
    tmp_path: Path, own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n")
    words = (store, "--data", own + "data", "--model", own + "net", "--device", "cpu")
    assert ovcore(*words, "--head", "fine-tuned", "--class-names", names, "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert ovcore(*words) == 1
    assert "ovcore extract: a store or another file is already at" in capsys.readouterr().err
    assert ovcore(
        *words, "--append", "--name", "half", "--dtype", "float16", "--layer", "none"
    ) == 0  # fmt: skip
    found = Store(store)
    assert found.class_names == CLASS_NAMES
    assert [card.name for card in found.models] == ["net", "half"]
    assert [card.head for card in found.models] == ["Fine-tuned", "Trained"]
    assert found.kinds("net") == ("logits", "features", "preds")
    assert found.kinds("half") == ("logits", "preds")


def test_a_class_map(tmp_path: Path, own: str) -> None:
    table = tmp_path / "map.csv"
    table.write_text("source,target\n0,ant\n1,bee\n2,ant\n4,bee\n")
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n")
    words = (
        tmp_path / "store", "--data", own + "data", "--model", own + "wide", "--device", "cpu",
        "--class-map", table, "--class-names", names, "--class-map-how", "max",
    )  # fmt: skip
    assert ovcore(*words) == 1
    assert ovcore(*words, "--missing-classes", "never") == 0
    logits = Store(tmp_path / "store").logits("wide")
    batches = [x for x, _ in load_data(own + "data").loader]
    want, _ = extract_outputs(load_model(own + "wide").extraction.module, batches)
    np.testing.assert_array_equal(logits[:, 0], np.maximum(want[:, 0], want[:, 2]))
    np.testing.assert_array_equal(logits[:, 1], np.maximum(want[:, 1], want[:, 4]))
    assert np.isneginf(logits[:, 2]).all()


def test_a_probe(tmp_path: Path, own: str) -> None:
    assert ovcore(
        tmp_path / "store", "--data", own + "data", "--model", own + "net", "--device", "cpu",
        "--probe-train", own + "training",
    ) == 0  # fmt: skip
    store = Store(tmp_path / "store")
    assert store.models[0].head == "L-BFGS"
    module = load_model(own + "net").extraction.module
    head = fit_probe(module, load_data(own + "training").loader, device="cpu")
    _, features = extract_outputs(
        module, [x for x, _ in load_data(own + "data").loader], layer="3", side="input"
    )
    weight, bias = head.weight.numpy(), head.bias.numpy()
    np.testing.assert_allclose(store.logits("net"), features @ weight.T + bias, rtol=1e-4)


def test_a_file_of_models_that_differ(tmp_path: Path, own: str) -> None:
    table = tmp_path / "map.json"
    table.write_text("[0, 1, 2, 2, 1]")
    file = tmp_path / "models.toml"
    file.write_text(
        f"""
[[model]]
model = "{own}net"
name = "a"
method = "Sup."
category = "BASE"
layer = "0"
[model.training]
seed = 1
objective = "Sup."
[[model]]
model = "{own}wide"
class_map = "{table}"
"""
    )
    names = tmp_path / "names.txt"
    names.write_text("ant\nbee\ncat\n")
    words = (tmp_path / "store", "--data", own + "data", "--models", file, "--device", "cpu")
    assert ovcore(*words, "--class-names", names) == 0
    first, second = Store(tmp_path / "store").models
    assert (first.name, first.method, first.category) == ("a", "Sup.", "BASE")
    assert first.training == {"seed": 1, "objective": "Sup."}
    assert second.head == "Class-mapped"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no model: give --model or --models"),
        (["--model", "{own}net", "--name", "a", "--name", "b"], "2 --name for 1 --model"),
        (["--model", "keras:x"], "a model's name must begin with one of"),
        (["--model", "{own}net", "--head", "zero-shot"], "zero-shot, which needs the class names"),
        (
            ["--model", "{own}net", "--head", "zero-shot", "--class-names", "{names}"],
            "has no text encoder: it cannot be zero-shot",
        ),
        (
            ["--model", "{own}net", "--head", "trained", "--class-map", "x.csv"],
            "can have one head, got head and class_map",
        ),
        (["--model", "{own}net", "--class-map", "none.csv"], "No such file or directory"),
        (["--model", "{own}net", "--class-names", "{empty}"], "empty is empty"),
        (["--model", "{own}net", "--model", "{own}net"], "2 models are named 'net'"),
        (["--model", "{own}net", "--device", "abacus"], "device 'abacus' is unknown"),
        (["--model", "{own}stopped"], "interrupted; the same command goes on from here"),
        (["--models", "{bad}"], "bad is not TOML"),
        (["--models", "{keys}"], "has unknown keys speed: keys are category, "),
        (["--models", "{head}"], "head must be one of trained, .*, got 'odd'"),
        (["--models", "{unnamed}"], "has no key 'model'"),
        (["--models", "{empty}"], r"must hold \[\[model\]\] tables, got none"),
    ],
)
def test_what_could_not_be_done_is_said(
    words: list[str], message: str, tmp_path: Path, own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "names": "ant\nbee\ncat\n", "empty": "\n", "bad": "[[model",
        "keys": "[[model]]\nmodel = 'x'\nspeed = 3", "unnamed": "[[model]]\nname = 'x'",
        "head": f"[[model]]\nmodel = '{own}net'\nhead = 'odd'",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    places = {name: str(tmp_path / name) for name in files}
    given = [word.format(own=own, **places) for word in words]
    assert ovcore(tmp_path / "store", "--data", own + "data", "--quiet", *given) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ovcore extract: ")
    assert not (tmp_path / "store").exists()
    assert re.search(message, said.err)


@pytest.mark.parametrize(
    "words",
    [["store"], ["store", "--data", "x", "--batch-size", "0"], ["store", "--data", "x", "--what"]],
    ids=["no data", "no samples", "unknown"],
)
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ovcore(*words)
    assert caught.value.code == 2
