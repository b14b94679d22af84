"""Models with heads from names, files and numbers, as a command line or a file gives them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ovcore.extract.class_maps import read_class_map
from ovcore.extract.data import load_data
from ovcore.extract.heads import ClassMapped, Head
from ovcore.extract.models import Extraction
from ovcore.extract.probes import fit_probe
from ovcore.extract.sources import LoadedModel, load_model

_OWN = {"trained": "Trained", "fine-tuned": "Fine-tuned", "distilled": "Distilled"}
HEADS = (*_OWN, "zero-shot")


@dataclass(frozen=True)
class Request:
    """One model, as it is asked for.

    Attributes:
        model: its name with a source's prefix.
        name: of its card; that of the source unless given.
        method: of its card.
        category: of its card.
        training: of its card, beside what the source knows.
        head: one of ``HEADS``; None leaves it to the source.
        class_names: file of the data's class names, one a line, for prompts.
        templates: file of prompts, one a line.
        class_map: file that maps the model's classes to the data's.
        class_map_how: "logsumexp" or "max".
        missing_classes: "refuse" or "never", of a map.
        probe_train: data to fit a probe on.
        layer: of the features: "auto", "none" or a name.
        side: "output" or "input" of a named layer.
        pretrained: load its weights; otherwise they are random.
        seed: of random ones.
    """

    model: str
    name: str | None = None
    method: str | None = None
    category: str | None = None
    training: dict[str, Any] = field(default_factory=dict)
    head: str | None = None
    class_names: str | None = None
    templates: str | None = None
    class_map: str | None = None
    class_map_how: str = "logsumexp"
    missing_classes: str = "refuse"
    probe_train: str | None = None
    layer: str = "auto"
    side: str = "output"
    pretrained: bool = True
    seed: int = 0


def read_requests(path: str | Path, defaults: dict[str, Any]) -> list[Request]:
    """The ``[[model]]`` tables of a TOML file; their keys are the attributes of Request.

    Args:
        path: the file; files that it names are found from where the process runs.
        defaults: of keys that a table does not have.

    Raises:
        ValueError: a file that is not TOML, an unknown key or no model.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    models = tables.pop("model", None)
    if tables or not isinstance(models, list) or not models:
        raise ValueError(f"{path} must hold [[model]] tables, got {', '.join(tables) or 'none'}")
    known = {f.name for f in fields(Request)}
    for table in models:
        unknown = sorted(set(table) - known)
        if unknown or "model" not in table:
            told = f"unknown keys {', '.join(unknown)}" if unknown else "no key 'model'"
            raise ValueError(
                f"a [[model]] of {path} has {told}: keys are {', '.join(sorted(known))}"
            )
    return [Request(**{**defaults, **table}) for table in models]


def assemble(
    request: Request,
    class_names: Sequence[str] | None,
    *,
    batch_size: int | None = None,
    workers: int = 0,
    **running: Any,
) -> Extraction:
    """Loads a model and puts its head on.

    Args:
        request: the model.
        class_names: of the data, unless the request has a file of them.
        batch_size: of a probe's training data.
        workers: of those.
        running: autocast, device and progress, for a probe.

    Raises:
        ValueError: heads that exclude each other, or what one needs is missing.
    """
    _refuse_two_heads(request)
    loaded = load_model(request.model, pretrained=request.pretrained, seed=request.seed)
    extraction = _described(loaded.extraction, request)
    names = class_names if request.class_names is None else lines_of(request.class_names)
    head: Head | None = extraction.head
    if request.probe_train is not None:
        train = load_data(request.probe_train, batch_size=batch_size, workers=workers)
        head = fit_probe(
            extraction.module, train.loader, layer=extraction.layer or "auto",
            side=extraction.side, prepare=extraction.prepare, **running,
        )  # fmt: skip
        extraction = replace(extraction, layer=None if extraction.layer is None else "auto")
    elif request.class_map is not None:
        head = ClassMapped(
            read_class_map(request.class_map), class_names=names, source_names=loaded.class_names,
            how=request.class_map_how, missing=request.missing_classes,  # type: ignore[arg-type]
        )  # fmt: skip
    elif request.head == "zero-shot" or (
        request.head is None and head is None and loaded.encode_texts is not None
    ):
        head = _zero_shot(loaded, request, names)
    return replace(extraction, head=head)


def _refuse_two_heads(request: Request) -> None:
    if request.head is not None and request.head not in HEADS:
        raise ValueError(f"head must be one of {', '.join(HEADS)}, got {request.head!r}")
    chosen = {
        "head": request.head, "class_map": request.class_map, "probe_train": request.probe_train,
    }  # fmt: skip
    given = [name for name, value in chosen.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"{request.model!r} can have one head, got {' and '.join(given)}")


def _described(extraction: Extraction, request: Request) -> Extraction:
    """With the request's words on the card, and its layer."""
    card = extraction.card
    card = replace(
        card,
        name=request.name or card.name,
        method=card.method if request.method is None else request.method,
        category=card.category if request.category is None else request.category,
        training={**card.training, **request.training},
        head=_OWN.get(request.head or "", card.head),
    )
    if request.layer == "auto":
        return replace(extraction, card=card)
    layer = None if request.layer == "none" else request.layer
    return replace(extraction, card=card, layer=layer, side=request.side)  # type: ignore[arg-type]


def _zero_shot(loaded: LoadedModel, request: Request, names: Sequence[str] | None) -> Head:
    if names is None:
        raise ValueError(f"{request.model!r} is zero-shot, which needs the class names")
    if request.templates is None:
        return loaded.zero_shot(names)
    return loaded.zero_shot(names, lines_of(request.templates))


def lines_of(path: str | Path) -> list[str]:
    """The lines of a file, without those that are empty.

    Raises:
        ValueError: there is none.
    """
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise ValueError(f"{path} is empty")
    return found
