"""Finished experiments on disk, found again where nothing that they depend on has changed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import ovcore as ov
from ovcore.study.results import Experiment, Result
from ovcore.study.subject import Subject
from ovcore.study.writing import write

FOLDER = "experiments"
LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "torch")


def key_of(subject: Subject) -> str:
    """Hash of all that results depend on: the models' outputs, the choices, the code."""
    parts = {
        "ovcore": ov.__version__,
        "code": _code(),
        "splits": [split.store.sha256 for split in subject.splits],
        "temperatures": [
            None if split.fitted is None else split.fitted.tolist() for split in subject.splits
        ],
        "transfer": [store.sha256 for store in subject.transfer],
        "base": subject.base,
        "bases": subject.bases,
        "accuracy_range": subject.accuracy_range,
        "seed": subject.seed,
        "about": subject.about,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    """Hash of the package's files, compiled ones too, and versions of what numbers come from."""
    digest = hashlib.sha256()
    package = Path(ov.__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    native = importlib.util.find_spec("ovcore._native")
    if native is not None and native.origin is not None:
        digest.update(Path(native.origin).read_bytes())
    for library in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            digest.update(f"{library} {metadata.version(library)}".encode())
    return digest.hexdigest()


def load(folder: Path, experiment: Experiment, key: str) -> Result | None:
    """The finished result, or None where there is none of this key."""
    try:
        stored = json.loads((folder / FOLDER / f"{experiment.name}.json").read_text("utf-8"))
        return Result.from_json(stored["result"]) if stored["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a file that is not whole is written again


def save(folder: Path, experiment: Experiment, key: str, result: Result) -> Path:
    """Writes a result, whole or not at all."""
    stored = {"experiment": experiment.name, "ovcore": ov.__version__, "key": key}
    path = folder / FOLDER / f"{experiment.name}.json"
    write(path, as_text(stored | {"result": result.to_json()}))
    return path


def as_text(stored: dict[str, Any]) -> str:
    """JSON of one item a line."""
    return json.dumps(stored, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
