"""Data by name: ``torch:`` factories, and ``folder:`` of images in one sub-folder a class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, tensor
from torch.utils.data import DataLoader, Dataset

from ovcore.extract.factories import call_factory

__all__ = ["ImageFolder", "LoadedData", "load_data"]

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class LoadedData(NamedTuple):
    """A loader, and the names of its classes where they are known."""

    loader: Iterable[Any]
    class_names: list[str] | None


class ImageFolder(Dataset[tuple[Any, int, str]]):
    """Images in one sub-folder a class: (image of PIL in RGB, class, path relative to the folder).

    Classes are the sub-folders, sorted by name; images of each are in the order of their paths.

    Args:
        folder: where the sub-folders are.

    Attributes:
        class_names: the sub-folders' names.

    Raises:
        ImportError: Pillow is missing.
        FileNotFoundError: there is no such folder.
        ValueError: it has no sub-folder, or they have no image.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            import PIL.Image  # noqa: F401
        except ImportError as error:
            raise ImportError("folders of images need Pillow: pip install pillow") from error
        self._folder = Path(folder)
        if not self._folder.is_dir():
            raise FileNotFoundError(f"there is no folder {self._folder}")
        classes = sorted(
            entry.name
            for entry in self._folder.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )
        if not classes:
            raise ValueError(f"{self._folder} has no sub-folders, one a class")
        self.class_names = classes
        self._files = [
            (path.relative_to(self._folder).as_posix(), label)
            for label, name in enumerate(classes)
            for path in sorted((self._folder / name).rglob("*"))
            if path.suffix.lower() in IMAGES and not path.name.startswith(".")
        ]
        if not self._files:
            raise ValueError(f"{self._folder} has no images ({', '.join(IMAGES)})")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Any, int, str]:
        from PIL import Image

        name, label = self._files[index]
        try:
            with Image.open(self._folder / name) as image:
                return image.convert("RGB"), label, name
        except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
            raise OSError(f"{self._folder / name} is not a whole image: {error}") from error


def _collate(samples: list[tuple[Any, int, str]]) -> tuple[list[Any], Tensor, list[str]]:
    images, labels, names = zip(*samples, strict=True)
    return list(images), tensor(labels), list(names)


def load_data(spec: str, *, batch_size: int | None = None, workers: int = 0) -> LoadedData:
    """Loads data by name.

    ``torch:FILE.py:FACTORY`` or ``torch:MODULE:FACTORY`` is a function that returns a Dataset, a
    DataLoader or another iterable of batches; ``folder:DIR`` an :class:`ImageFolder`, whose images
    each model's own preprocessing takes.

    Args:
        spec: the name.
        batch_size: of a dataset; 64 unless given.
        workers: processes that load its samples.

    Raises:
        ValueError: an unknown prefix, or a batch size for what has its own.
    """
    prefix, colon, name = spec.partition(":")
    if prefix not in ("torch", "folder") or not colon or not name:
        raise ValueError(f"data must begin with one of torch:, folder:, got {spec!r}")
    made = ImageFolder(name) if prefix == "folder" else call_factory(name, spec)
    class_names = getattr(made, "class_names", None)
    if class_names is None:
        class_names = getattr(getattr(made, "dataset", None), "class_names", None)
    names = None if class_names is None else [str(text) for text in class_names]
    if not isinstance(made, Dataset):
        if batch_size is not None:
            raise ValueError(f"{spec!r} has batches of its own: leave out the batch size")
        return LoadedData(made, names)
    collate = _collate if isinstance(made, ImageFolder) else None
    loader: DataLoader[Any] = DataLoader(
        made, batch_size=batch_size or 64, num_workers=workers, collate_fn=collate
    )
    return LoadedData(loader, names)
