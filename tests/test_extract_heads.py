"""Heads against values worked out by hand, and how they say themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from extract_models import Numbered, loader, mlp, own_logits, seeded
from ovcore.extract import (
    ClassMapped,
    Extraction,
    Probe,
    ZeroShot,
    class_features,
    extract_outputs,
    extract_to_store,
    fit_probe,
    read_class_map,
)
from ovcore.representations import LinearProbe
from ovcore.store import ModelCard, Store

NEVER = -np.inf


def extracted(tmp_path: Path, head: Any, module: nn.Module | None = None, **options: Any) -> Store:
    models = [Extraction(ModelCard("a"), module or mlp(), head=head, **options)]
    return extract_to_store(tmp_path / "store", loader(), models)


def test_zero_shot_by_hand() -> None:
    head = ZeroShot(torch.tensor([[0.0, 2.0], [3.0, 4.0]]), 10.0)
    logits = head(torch.tensor([[4.0, 3.0], [0.0, 0.5]]))
    np.testing.assert_allclose(logits, [[6.0, 9.6], [10.0, 8.0]], rtol=1e-6)
    assert head.to_json() == {
        "head": "Zero-shot", "scale": 10.0, "class_names": None, "templates": None,
    }  # fmt: skip


def test_prompts_of_a_class_are_normalised_then_averaged() -> None:
    vectors = {"a cat": [3.0, 4.0], "the cat": [0.0, 9.0], "a dog": [2.0, 0.0], "the dog": [1.0, 0]}
    seen: list[list[str]] = []

    def encode(texts: list[str]) -> Tensor:
        seen.append(texts)
        return torch.tensor([vectors[text] for text in texts])

    found = class_features(encode, ["cat", "dog"], ["a {}", "the {}"])
    mean = np.array([0.3, 0.9])  # of (0.6, 0.8) and (0, 1)
    np.testing.assert_allclose(found, [mean / np.sqrt(0.9), [1.0, 0.0]], rtol=1e-6)
    assert seen == [["a cat", "the cat"], ["a dog", "the dog"]]


def test_zero_shot_reads_the_image_encoder(tmp_path: Path) -> None:
    class TwoTowers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = mlp(classes=4)

        def encode_image(self, x: Tensor) -> Tensor:
            return self.image(x)

    head = ZeroShot(torch.eye(4)[:3], 5.0, class_names=["x", "y", "z"], templates=["{}"])
    module = TwoTowers()
    store = extracted(tmp_path, head, module)
    image = own_logits(mlp(classes=4), loader()).numpy()
    np.testing.assert_array_equal(store.features("a"), image)
    want = 5 * image[:, :3] / np.linalg.norm(image, axis=1, keepdims=True)
    np.testing.assert_allclose(store.logits("a"), want, rtol=1e-5)
    card = store.models[0]
    assert card.head == "Zero-shot"
    assert card.training == {"prediction_head": head.to_json()}


def test_a_module_that_is_an_image_encoder(tmp_path: Path) -> None:
    store = extracted(tmp_path, ZeroShot(torch.eye(3), 1.0))
    np.testing.assert_array_equal(store.features("a"), own_logits(mlp(), loader()).numpy())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZeroShot(torch.ones(3), 1.0), r"must be \(K, D\), got shape \(3,\)"),
        (lambda: ZeroShot(torch.ones(3, 2), 0.0), "scale must be positive and finite, got 0.0"),
        (lambda: ZeroShot(torch.ones(3, 2), np.inf), "scale must be positive and finite"),
        (lambda: ZeroShot(torch.eye(3, 2), 1.0), "features of class 2 have no direction"),
        (lambda: ZeroShot(torch.ones(3, 2), 1.0, class_names=["a"]), "1 names but .* 3 classes"),
        (lambda: class_features(len, ["a"], ["photo"]), r"'photo' has no \{\}"),
        (lambda: class_features(len, [], ["{}"]), "class_names must be one text or more"),
        (lambda: class_features(len, ["a"], "{}"), "templates must be one text or more"),
        (lambda: Probe(torch.ones(3, 2), torch.ones(2)), r"shapes \(3, 2\) and \(2,\)"),
    ],
)
def test_weights_that_make_no_head(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


LOGITS = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, -1.0, NEVER, 500.0]])


def test_classes_that_are_joined_sum_their_probabilities() -> None:
    mapped = ClassMapped([1, 0, 1, -1], n_classes=2)(LOGITS)
    want = [[2.0, np.log(np.exp(1) + np.exp(3))], [-1.0, 0.0]]
    np.testing.assert_allclose(mapped, want, rtol=1e-6)
    assert mapped[0, 0] == 2.0  # one source alone is taken as it is
    many = ClassMapped([0, 0, 0, 0], n_classes=1)(LOGITS)
    np.testing.assert_allclose(many[1], 500.0)


def test_classes_may_take_the_largest() -> None:
    mapped = ClassMapped([1, 0, 1, -1], n_classes=2, how="max")(LOGITS)
    np.testing.assert_array_equal(mapped, [[2.0, 3.0], [-1.0, 0.0]])


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (["x", "y", "x", -1], {"class_names": ["y", "x"]}),
        ({0: "x", 1: "y", 2: "x"}, {"class_names": ["y", "x"]}),
        ({"a": 1, "b": 0, "c": 1}, {"n_classes": 2, "source_names": list("abcd")}),
        ({"0": "1", "1": "0", "2": "1", "3": "-1"}, {"n_classes": 2}),
        ({"a": "x", "b": "y", "c": "x"}, {"class_names": ["y", "x"], "source_names": list("abcd")}),
        (np.array([1, 0, 1, -1]), {"n_classes": 2}),
    ],
    ids=["names", "by number", "by name", "texts of a file", "both", "array"],
)
def test_forms_of_tables(table: Any, names: dict[str, Any]) -> None:
    head = ClassMapped(table, **names)
    assert head.sources == [[1], [0, 2]]
    assert head.to_json() == {
        "head": "Class-mapped", "how": "logsumexp", "sources": [[1], [0, 2]],
    }  # fmt: skip
    json.dumps(head.to_json())


def test_a_class_without_a_source_is_refused_or_never_predicted(tmp_path: Path) -> None:
    names = ["ant", "bee", "cat", "dog"]
    with pytest.raises(ValueError, match="2 target classes have no source class: 'bee', 'dog'; pa"):
        ClassMapped([0, 2, 0], class_names=names)
    with pytest.raises(ValueError, match="8 target .*: 1, 3, 4, 5, 6, ...; pass missing='never'"):
        ClassMapped([0, 2, 0], n_classes=10)
    head = ClassMapped([0, 2, 0], class_names=names, missing="never")
    store = extracted(tmp_path, head)
    own = own_logits(mlp(), loader())
    logits = store.logits("a")
    assert logits is not None
    np.testing.assert_array_equal(logits[:, [1, 3]], np.full((11, 2), NEVER))
    np.testing.assert_array_equal(logits[:, 2], own[:, 1])
    np.testing.assert_array_equal(logits[:, 0], own[:, [0, 2]].logsumexp(1))
    assert set(np.unique(store.preds("a"))) <= {0, 2}
    assert store.models[0].head == "Class-mapped"
    with torch.no_grad():
        want = torch.cat([mlp()[:3].eval()(x) for x, _, _ in loader()])
    np.testing.assert_array_equal(store.features("a"), want)  # of the model's own classifier


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClassMapped([0]), "n_classes or class_names must be given"),
        (lambda: ClassMapped([0], n_classes=2, class_names=["x"]), "1 names but n_classes is 2"),
        (lambda: ClassMapped([2], n_classes=2), "target class 2 is out of range: there are 2"),
        (lambda: ClassMapped([-2], n_classes=2), "target class -2 is out of range"),
        (lambda: ClassMapped({-1: 0}, n_classes=1), "source class -1 is out of range"),
        (lambda: ClassMapped(["z"], class_names=["x"]), "no target class 'z'; there are 'x'"),
        (lambda: ClassMapped({"z": 0}, n_classes=1), "no source class 'z': its classes have no na"),
        (
            lambda: ClassMapped([0], n_classes=1, source_names=["x", "x"]),
            "names of source classes|",
        ),
        (lambda: ClassMapped([0], n_classes=1, source_names=["x", "y"]), "1 entries but .* 2 cla"),
        (lambda: ClassMapped({0: 0}, class_names=["x", "x"]), "names of target classes repeat"),
        (lambda: ClassMapped([0], n_classes=1, how="mean"), "how must be"),
        (lambda: ClassMapped([0], n_classes=1, missing="zero"), "missing must be"),
        (lambda: ClassMapped([0, 0], n_classes=1)(LOGITS), "is of 2 source classes, .* gives 4"),
        (lambda: ClassMapped({4: 0}, n_classes=1)(LOGITS), "at least 5 source classes, .* gives 4"),
    ],
)
def test_tables_that_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_class_maps_from_files(tmp_path: Path) -> None:
    table = tmp_path / "map.csv"
    table.write_text("source,target,note\na,x,\n1,y,\nc,-1,none\n")
    assert read_class_map(table) == {"a": "x", "1": "y", "c": "-1"}
    head = ClassMapped(read_class_map(table), class_names=["x", "y"], source_names=["a", "b", "c"])
    assert head.sources == [[0], [1]]
    (tmp_path / "map.json").write_text("[1, 0]")
    assert read_class_map(tmp_path / "map.json") == [1, 0]

    def refused(name: str, text: str, message: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=message):
            read_class_map(tmp_path / name)

    refused("map.json", "3", "must hold a list or an object")
    refused("map.csv", "from,to\n", r"needs the columns source and target: has \['from', 'to'\]")
    refused("map.csv", "source,target\na,x\na,y\n", "source class 'a' is there twice")
    refused("map.txt", "", r"must end in \.csv or \.json")


def training(count: int = 60, classes: int = 3) -> DataLoader[Any]:
    return DataLoader(Numbered(count, classes), batch_size=7, shuffle=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_probe_is_the_logistic_regression_on_the_features(classes: int, tmp_path: Path) -> None:
    module = mlp(classes=classes)
    ordered = DataLoader(Numbered(60, classes), batch_size=7)
    head = seeded(lambda: fit_probe(module, training(classes=classes), C=0.3, progress=False))
    assert (head.layer, head.side) == ("3", "input")
    _, features = extract_outputs(module, [x for x, _, _ in ordered], layer="2")
    probe = LinearProbe(C=0.3).fit(features, np.arange(60) % classes)
    models = [Extraction(ModelCard("a"), module, head=head)]
    store = extract_to_store(tmp_path / "store", DataLoader(Numbered(11, classes), 4), models)
    _, tested = extract_outputs(module, [x for x, _, _ in loader()], layer="2")
    np.testing.assert_array_equal(store.features("a"), tested)
    np.testing.assert_allclose(
        store.logits("a"), probe.predict_logits(tested), rtol=1e-3, atol=1e-4
    )
    card = store.models[0]
    assert card.head == "L-BFGS"
    assert card.training["prediction_head"] == {
        "head": "L-BFGS", "layer": "3", "side": "input", "C": 0.3, "fitted_C": 0.3,
        "n_training_samples": 60,
    }  # fmt: skip


def test_a_probe_on_a_module_without_a_classifier(tmp_path: Path) -> None:
    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = mlp()[0]

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).unflatten(1, (7, 1, 1))

    head = fit_probe(Body(), training(), layer="")
    assert head.weight.shape == (3, 7)
    store = extracted(tmp_path, head, Body())
    assert store.features("a").shape == (11, 7)
    assert extracted(tmp_path / "other", head, Body(), layer=None).features("a") is None


def test_probes_that_cannot_be_fitted_or_put_on() -> None:
    with pytest.raises(ValueError, match="train_loader is empty"):
        fit_probe(mlp(), [])
    x = torch.randn(6, 5)
    with pytest.raises(ValueError, match="train_loader has no sample of class 1"):
        fit_probe(mlp(), [(x, torch.tensor([0, 2, 0, 2, 0, 2]))])
    with pytest.raises(ValueError, match=r"labels must be 0\.\.K-1, but one .* is -1"):
        fit_probe(mlp(), [(x, torch.tensor([0, 1, 0, -1, 0, 2]))])
    head = Probe(torch.ones(3, 7), torch.zeros(3), layer="1")
    with pytest.raises(ValueError, match=r"probe of 'a' reads the output of layer '1', not the in"):
        Extraction(ModelCard("a"), mlp(), "3", "input", head=head)
    with pytest.raises(ValueError, match="probe reads 7 features, but the layer gives 2"):
        head(torch.ones(4, 2))
