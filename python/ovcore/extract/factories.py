"""Functions of the user's own files and modules, by name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def call_factory(name: str, spec: str) -> Any:
    """What a function of a file or a module returns; it is called without arguments.

    Args:
        name: ``FILE.py:FUNCTION`` or ``PACKAGE.MODULE:FUNCTION``.
        spec: what the user wrote, for messages.

    Raises:
        ValueError: another form, or there is no such function.
        FileNotFoundError: there is no such file.
        ImportError: there is no such module.
    """
    place, colon, function = name.rpartition(":")
    if not colon or not place or not function:
        raise ValueError(f"{spec!r} must be torch:FILE.py:FUNCTION or torch:MODULE:FUNCTION")
    module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    factory = getattr(module, function, None)
    if not callable(factory):
        raise ValueError(f"{place} has no function {function!r}, which {spec!r} names")
    return factory()


def _from_file(path: Path) -> ModuleType:
    """The file as a module; files beside it can be imported by it."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"_ovcore_factory_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling what it defines looks there
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module
