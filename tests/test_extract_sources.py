"""Models and data by name, and what is said of names that are not known."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from extract_models import CLASS_NAMES, mlp, save_images
from ovcore.extract import Extraction, ImageFolder, extract_to_store, load_data, load_model

FACTORIES = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from ovcore.extract import Extraction
from ovcore.store import ModelCard
from beside import WIDTH

def small():
    return nn.Linear(WIDTH, 3)

def described():
    return Extraction(ModelCard("mine", "Sup."), nn.Linear(WIDTH, 3), layer=None)

def dataset():
    return TensorDataset(torch.zeros(9, WIDTH), torch.arange(9) % 3)

def batches():
    return DataLoader(dataset(), batch_size=2)

def words():
    return "nothing"

WIDTHS = 3
"""


@pytest.fixture
def factories(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    file = tmp_path / "factories.py"
    file.write_text(FACTORIES)
    yield file
    for name in ("beside", "_ovcore_factory_factories"):
        sys.modules.pop(name, None)


def test_a_module_of_a_factory(factories: Path) -> None:
    path = list(sys.path)
    spec = f"torch:{factories}:small"
    first, again = load_model(spec), load_model(spec)
    assert first.extraction.card.name == "small"
    assert first.extraction.card.source == spec
    assert torch.equal(*(loaded.extraction.module.weight for loaded in (first, again)))
    assert sys.path == path


def test_an_extraction_of_a_factory(factories: Path) -> None:
    extraction = load_model(f"torch:{factories}:described").extraction
    assert (extraction.card.name, extraction.card.method) == ("mine", "Sup.")
    assert extraction.card.source == f"torch:{factories}:described"
    assert extraction.layer is None


def test_a_factory_of_an_importable_module(
    factories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(factories.parent)
    assert isinstance(load_model("torch:factories:small").extraction.module, nn.Linear)
    sys.modules.pop("factories")


def test_names_that_are_not_known(factories: Path) -> None:
    with pytest.raises(ValueError, match="begin with one of torch:, timm:, .* got 'keras:x'"):
        load_model("keras:x")
    with pytest.raises(ValueError, match="begin with one of"):
        load_model("timm")
    with pytest.raises(ValueError, match=r"must be torch:FILE\.py:FUNCTION"):
        load_model(f"torch:{factories}")
    with pytest.raises(ValueError, match="has no function 'large', which 'torch:.*large' names"):
        load_model(f"torch:{factories}:large")
    with pytest.raises(ValueError, match="has no function 'WIDTHS'"):
        load_model(f"torch:{factories}:WIDTHS")
    with pytest.raises(ValueError, match="must return a torch module or an Extraction, got 'noth"):
        load_model(f"torch:{factories}:words")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.py"):
        load_model("torch:none.py:small")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load_model("torch:no_such_module:small")


def test_a_file_that_fails_is_not_kept_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise ArithmeticError('broken')")
    with pytest.raises(ArithmeticError, match="broken"):
        load_model(f"torch:{tmp_path / 'broken.py'}:small")
    assert "_ovcore_factory_broken" not in sys.modules
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("spec", "library", "package"),
    [
        ("timm:resnet18", "timm", "timm"),
        ("torchvision:resnet18", "torchvision.models", "torchvision"),
        ("open_clip:RN50/openai", "open_clip", "open_clip_torch"),
        ("transformers:x", "transformers", "transformers"),
    ],
)
def test_missing_libraries_are_named(
    spec: str, library: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{spec} needs {library}, .*: pip install {package}$"):
        load_model(spec)


def pictures() -> list[Any]:
    from PIL import Image

    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (250, 240, 3), np.uint8)) for _ in range(2)]


def test_timm_without_pretrained_weights(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    extraction = load_model("timm:resnet18.a1_in1k", pretrained=False, seed=3).extraction
    assert extraction.card.training == {"architecture": "resnet18", "seed": 3}
    assert extraction.prepare is not None
    inputs = extraction.prepare(pictures())
    config = timm.data.resolve_model_data_config(extraction.module)
    transform = timm.data.create_transform(**config, is_training=False)
    assert torch.equal(inputs, torch.stack([transform(image) for image in pictures()]))
    store = extract_to_store(tmp_path / "store", [(inputs, [0, 1])], [extraction], device="cpu")
    with torch.no_grad():
        want = extraction.module.eval()(inputs)
    np.testing.assert_array_equal(store.logits("resnet18.a1_in1k"), want)
    assert store.features("resnet18.a1_in1k").shape == (2, 512)
    with pytest.raises(ValueError, match="timm:no_such_model"):
        load_model("timm:no_such_model", pretrained=False)


def test_torchvision_without_pretrained_weights(tmp_path: Path) -> None:
    models = pytest.importorskip("torchvision.models")
    spec = "torchvision:resnet18/IMAGENET1K_V1"
    extraction = load_model(spec, pretrained=False).extraction
    assert extraction.card.training == {"architecture": "resnet18", "seed": 0}
    assert extraction.prepare is not None
    inputs = extraction.prepare(pictures())
    transform = models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert torch.equal(inputs, torch.stack([transform(image) for image in pictures()]))
    store = extract_to_store(tmp_path / "store", [(inputs, [0, 1])], [extraction], device="cpu")
    assert store.features("resnet18/IMAGENET1K_V1").shape == (2, 512)
    with pytest.raises(ValueError, match="no weights 'V9', but IMAGENET1K_V1"):
        load_model("torchvision:resnet18/V9")
    with pytest.raises(ValueError, match="no_such_model"):
        load_model("torchvision:no_such_model")


def test_open_clip_without_pretrained_weights(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    loaded = load_model("open_clip:RN50/openai", pretrained=False)
    assert loaded.extraction.card.training == {"architecture": "RN50", "seed": 0}
    extraction = loaded.extraction
    assert extraction.prepare is not None
    inputs = extraction.prepare(pictures())
    head = loaded.zero_shot(CLASS_NAMES)
    store = extract_to_store(
        tmp_path / "store",
        [(inputs, [0, 1])],
        [Extraction(extraction.card, extraction.module, head=head)],
        device="cpu",
    )
    with torch.no_grad():
        image = extraction.module.eval().encode_image(inputs)
    np.testing.assert_array_equal(store.features("RN50/openai"), image)
    with pytest.raises(ValueError, match="must name weights"):
        load_model("open_clip:RN50")


def test_data_of_factories(factories: Path) -> None:
    loaded = load_data(f"torch:{factories}:dataset", batch_size=4)
    assert [len(labels) for _, labels in loaded.loader] == [4, 4, 1]
    assert loaded.class_names is None
    assert [len(x) for x, _ in load_data(f"torch:{factories}:batches").loader] == [2, 2, 2, 2, 1]
    assert load_data(f"torch:{factories}:dataset").loader.batch_size == 64  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="has batches of its own: leave out the batch size"):
        load_data(f"torch:{factories}:batches", batch_size=4)
    with pytest.raises(ValueError, match="begin with one of torch:, folder:, got 'csv:x'"):
        load_data("csv:x")


def test_a_folder_of_images(tmp_path: Path) -> None:
    spec = save_images(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "bee" / "deeper").mkdir()
    (tmp_path / "bee" / "0.png").rename(tmp_path / "bee" / "deeper" / "9.PNG")
    loaded = load_data(spec, batch_size=4)
    assert loaded.class_names == CLASS_NAMES
    batches = list(loaded.loader)
    assert [label for _, labels, _ in batches for label in labels.tolist()] == [
        0, 0, 0, 1, 1, 2, 2, 2, 2,
    ]  # fmt: skip
    names = [name for _, _, names in batches for name in names]
    assert names[:5] == ["ant/0.png", "ant/1.png", "ant/2.png", "bee/1.png", "bee/deeper/9.PNG"]
    image = batches[0][0][0]
    assert (image.mode, image.size) == ("RGB", (36, 40))


def test_folders_that_have_no_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        ImageFolder(tmp_path / "none")
    with pytest.raises(ValueError, match="has no sub-folders, one a class"):
        ImageFolder(tmp_path)
    (tmp_path / "ant").mkdir()
    with pytest.raises(ValueError, match="has no images"):
        ImageFolder(tmp_path)
    (tmp_path / "ant" / "0.png").write_bytes(b"no image")
    with pytest.raises(OSError, match=r"ant/0\.png is not a whole image"):
        ImageFolder(tmp_path)[0]


def test_images_need_preprocessing(tmp_path: Path) -> None:
    loader = load_data(save_images(tmp_path / "images")).loader
    with pytest.raises(TypeError, match=r"inputs of 'a' are no tensors but a list of Image.*prepa"):
        extract_to_store(tmp_path / "store", loader, {"a": mlp()})
