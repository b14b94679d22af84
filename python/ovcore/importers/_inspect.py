"""Logs of Inspect (inspect_ai), ``.eval`` and ``.json``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ovcore.importers._json import field, objects, only, read_json
from ovcore.importers._outputs import Outputs, from_right
from ovcore.store import ModelCard

__all__ = ["read_inspect"]

_VALUES = {"C": 1.0, "I": 0.0, "N": 0.0, "P": 0.5, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
"""What Inspect's value_to_float makes of texts."""

_UNUSED = {"messages", "output", "events", "store", "attachments", "metadata", "model_usage"}
"""Fields of a sample that are most of a log's size."""


def read_inspect(
    path: str | os.PathLike[str],
    *,
    scorer: str | None = None,
    kind: Literal["choice", "right"] | None = None,
    partial: Literal["right", "wrong"] | None = None,
    epoch: int | None = None,
    unfinished: bool = False,
) -> Outputs:
    """One model's answers in an Inspect log: letters of choices, or right and wrong.

    Where every sample has choices and one letter as its target, predictions are the letters of the
    scorer's answers, A = 0, and -1 where there is no single letter. They must agree with the
    scorer's values. Otherwise, or with kind "right", only right or wrong is taken from the values:
    C (or 1) is right; I, N (or 0) are wrong. A sample without a score, or with NaN, is left out.

    Samples are named by their id, those of later epochs by ``id (epoch 2)``. ``.json`` logs are
    read as they are; ``.eval`` logs by Inspect itself.

    Args:
        path: the log.
        scorer: its name, where the log has several.
        kind: what to read, where the log's choices do not tell.
        partial: what P (or 0.5) counts as; refused without it.
        epoch: the only one to read; all without it.
        unfinished: also read a log that was cancelled or ended by an error.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: an ``.eval`` log, and inspect_ai is not installed.
        ValueError: the log is damaged or unfinished, has several scorers, or a sample's value,
            answer or target cannot be read, each by its id.

    The format: ``inspect_ai.log.EvalLog``, version 2.
    """
    for option, given, known in (
        ("kind", kind, (None, "choice", "right")), ("partial", partial, (None, "right", "wrong")),
    ):  # fmt: skip
        if given not in known:
            raise ValueError(f"{option} must be {known[1]!r} or {known[2]!r}, got {given!r}")
    file = Path(path)
    log = _read_eval(file) if file.suffix == ".eval" else _read_log(file)
    if log["status"] != "success" and not unfinished:
        raise ValueError(f"{file} ended with status {log['status']!r}: read it as unfinished")
    samples = [s for s in log["samples"] if epoch is None or s.get("epoch", 1) == epoch]
    if not samples:
        raise ValueError(f"{file} has no samples" + ("" if epoch is None else f" of epoch {epoch}"))
    scored = [s for s in samples if s.get("scores") and isinstance(s["scores"], dict)]
    chosen = only((n for s in scored for n in s["scores"]), scorer, "scorer", str(file))
    ids, values, answers, kept = [], [], [], []
    for sample in scored:
        name = _name(sample, str(file))
        score = sample["scores"].get(chosen)
        value = None if score is None else _value(score, f"{file}, sample {name!r}")
        if value is None or math.isnan(value):
            continue
        ids.append(name)
        values.append(value)
        answers.append(score.get("answer"))
        kept.append(sample)
    card = ModelCard(log["model"], source=f"inspect:{file.name}")
    targets = [_letter(_target(sample)) for sample in kept]
    if kind is None:
        every = all(s.get("choices") and t is not None for s, t in zip(kept, targets, strict=True))
        kind = "choice" if every else "right"
    if kind == "right":
        where = f"{file}, scorer {chosen!r}, sample"
        right = [_right(v, partial, f"{where} {n!r}") for v, n in zip(values, ids, strict=True)]
        return from_right(card, str(file), ids, right)
    return _choices(card, file, ids, targets, answers, values)


def _choices(
    card: ModelCard,
    file: Path,
    ids: Sequence[str],
    targets: Sequence[int | None],
    answers: Sequence[Any],
    values: Sequence[float],
) -> Outputs:
    preds = []
    for name, target, answer, value in zip(ids, targets, answers, values, strict=True):
        if target is None:
            raise ValueError(
                f"{file}, sample {name!r}: the target is not one letter: read as right"
            )
        letter = _letter(answer)
        if (letter == target) != (value == 1):
            raise ValueError(
                f"{file}, sample {name!r}: answer {answer!r} to target {chr(ord('A') + target)!r} "
                f"has value {value:g}: read it as right"
            )
        preds.append(-1 if letter is None else letter)
    return Outputs(
        card, str(file), ids, np.array(targets, np.int64), preds=np.array(preds, np.int64)
    )


def _read_log(file: Path) -> dict[str, Any]:
    log = read_json(file, dict)
    evaluation = field(log, "eval", dict, str(file))
    return {
        "status": field(log, "status", str, str(file)),
        "model": field(evaluation, "model", str, f"{file}, 'eval'"),
        "samples": objects(log, "samples", str(file)),
    }


def _read_eval(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    try:
        from inspect_ai.log import read_eval_log
    except ImportError as error:
        raise ImportError(
            f"{file} is read with inspect_ai: pip install inspect_ai, or convert it by "
            "`inspect log convert --to json`",
            name="inspect_ai",
        ) from error
    try:
        log = read_eval_log(file, exclude_fields=_UNUSED)
    except Exception as error:  # zip, JSON and pydantic each have their own
        raise ValueError(f"{file} is not a log of Inspect: {error}") from error
    wanted = {"id", "epoch", "choices", "target", "scores"}
    return {
        "status": log.status,
        "model": log.eval.model,
        "samples": [sample.model_dump(include=wanted) for sample in log.samples or []],
    }


def _name(sample: dict[str, Any], where: str) -> str:
    name = str(field(sample, "id", (str, int), where))
    epoch = sample.get("epoch", 1)
    return name if epoch == 1 else f"{name} (epoch {epoch})"


def _value(score: Any, where: str) -> float | None:
    value = score.get("value") if isinstance(score, dict) else None
    if isinstance(value, str):
        text = value if value in _VALUES else value.lower()
        if text in _VALUES:
            return _VALUES[text]
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"{where}: value {value!r} is neither right nor wrong") from None
    if isinstance(value, bool | int | float):
        return float(value)
    if value is None:
        return None
    raise ValueError(f"{where}: value {value!r} is neither right nor wrong")


def _right(value: float, partial: str | None, where: str) -> bool:
    if value == _VALUES["P"] and partial is not None:
        return partial == "right"
    if value not in (0, 1):
        raise ValueError(
            f"{where}: value {value:g} is neither right (C, 1) nor wrong (I, N, 0)"
            + (": say what partial counts as" if value == _VALUES["P"] else "")
        )
    return value == 1


def _target(sample: dict[str, Any]) -> Any:
    target = sample.get("target")
    return target[0] if isinstance(target, list) and len(target) == 1 else target


def _letter(text: Any) -> int | None:
    """The choice that an answer names: A = 0, ..., and from the 27th choice on 1 = 26, ..."""
    text = text.strip() if isinstance(text, str) else ""
    if len(text) == 1 and text.isascii() and text.isalpha():
        return ord(text.upper()) - ord("A")
    return 25 + int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None
