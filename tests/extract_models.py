"""Small models and data that the tests of extraction share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Made = TypeVar("Made")
CLASS_NAMES = ["ant", "bee", "cat"]


def seeded(make: Callable[[], Made], seed: int = 0) -> Made:
    """What `make` gives with torch's generator at a seed; the generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def mlp(seed: int = 0, classes: int = 3) -> nn.Sequential:
    """A classifier of 5 numbers with 7 features; dropout shows whether it is in eval mode."""
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(5, 7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, classes)
        ),
        seed,
    )  # fmt: skip


class Numbered(Dataset[tuple[Tensor, int, str]]):
    """Samples of 5 numbers, made from their position; counts how often each is loaded."""

    def __init__(self, count: int = 11, classes: int = 3) -> None:
        self.inputs = torch.randn(count, 5, generator=torch.Generator().manual_seed(1))
        self.classes = classes
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, int, str]:
        self.loaded.append(index)
        return self.inputs[index], index % self.classes, f"s{index}"


def loader(count: int = 11, batch_size: int = 4, **options: Any) -> DataLoader[Any]:
    """Batches of 4, 4 and 3 unless other sizes are asked for."""
    return DataLoader(Numbered(count), batch_size=batch_size, **options)


@torch.no_grad()
def own_logits(module: nn.Module, given: Any) -> Tensor:
    """What a module gives in eval mode, batch by batch."""
    module.eval()
    outputs = [module(batch[0]) for batch in given]
    return torch.cat([getattr(output, "logits", output) for output in outputs])


def images(count: int = 7, size: int = 32, batch_size: int = 4) -> DataLoader[Any]:
    """Images of random numbers, (3, size, size), with labels below 3."""
    pixels = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(2))
    return DataLoader([(pixels[n], n % 3) for n in range(count)], batch_size=batch_size)  # type: ignore[arg-type]


def vit(labels: int = 3) -> Any:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=32, patch_size=16, num_labels=labels,
    )  # fmt: skip
    return seeded(lambda: ViTForImageClassification(config))


def convnext(labels: int = 3) -> Any:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], num_labels=labels)
    return seeded(lambda: ConvNextForImageClassification(config))


def swin(labels: int = 5) -> Any:
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2],
        window_size=4, num_labels=labels,
    )  # fmt: skip
    return seeded(lambda: SwinForImageClassification(config))


def bert(labels: int = 3) -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=labels,
    )  # fmt: skip
    return seeded(lambda: BertForSequenceClassification(config))


def clip() -> Any:
    from transformers import CLIPConfig, CLIPModel

    tower = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32,
    }  # fmt: skip
    config = CLIPConfig(
        text_config={
            **tower, "vocab_size": 64, "max_position_embeddings": 16,
            "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
        },
        vision_config={**tower, "image_size": 32, "patch_size": 16},
        projection_dim=8,
    )  # fmt: skip
    return seeded(lambda: CLIPModel(config))


class LimitedMemory(nn.Module):
    """A classifier that runs out of memory above some number of samples."""

    def __init__(self, body: nn.Module, fits: int, error: Exception | None = None) -> None:
        super().__init__()
        self.body = body
        self.fits = fits
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.fits:
            raise self.error
        self.sizes.append(len(x))
        return self.body(x)


def save_vit(folder: Path, labels: int = 3) -> str:
    """A small classifier with its processor, as transformers saves them; gives its name."""
    from transformers import ViTImageProcessor

    vit(labels).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"transformers:{folder}"


def save_clip(folder: Path) -> str:
    """A small model of images and texts, with a tokenizer of single letters."""
    from transformers import CLIPImageProcessor, CLIPTokenizer

    letters = [*"abcdefghijklmnopqrstuvwxyz."]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    clip().save_pretrained(folder)
    vocabulary = {word: n for n, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return f"transformers:{folder}"


def save_images(folder: Path, counts: tuple[int, ...] = (3, 2, 4)) -> str:
    """Small pictures of noise in one sub-folder a class; gives their name as data."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, count in zip(CLASS_NAMES, counts, strict=True):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            pixels = rng.integers(0, 256, (40, 36, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{n}.png")
    return f"folder:{folder}"
