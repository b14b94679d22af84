"""Log-likelihoods and labels of lm-evaluation-harness's multiple-choice tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore.importers._json import field, truth

__all__ = ["has_choices", "read"]

_METRICS = {None: "acc", "chars": "acc_norm", "bytes": "acc_bytes"}
"""What the harness calls the accuracy of each way to normalize."""


class _Choice(NamedTuple):
    context: str
    continuation: str
    response: Any


def has_choices(record: dict[str, Any]) -> bool:
    """Whether a logged sample has (log-likelihood, is greedy) for each of several choices."""
    responses = _responses(record, None)
    return (
        isinstance(responses, list)
        and len(responses) > 1
        and all(_is_pair(one) or _is_pairs(one) for one in responses)
    )


def read(
    records: Sequence[tuple[str, dict[str, Any]]],
    *,
    normalize: Literal["chars", "bytes"] | None,
    repeat: int | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (N, K) with -inf where a document has fewer choices, and labels (N,).

    Raises:
        ValueError: a field that is missing, no number, or contradicts the logged metrics.
    """
    asked = [_choices(where, record, repeat) for where, record in records]
    scores = [
        [_number(choice.response, repeat, where) for choice in some]
        for (where, _), some in zip(records, asked, strict=True)
    ]
    delimiter = _delimiter(asked)
    labels = _labels(records, asked, scores, delimiter)
    if normalize is not None:
        for (where, _), some, row in zip(records, asked, scores, strict=True):
            for i, choice in enumerate(some):
                text = choice.continuation.removeprefix(delimiter)
                length = len(text.encode() if normalize == "bytes" else text)
                if length == 0:
                    raise ValueError(f"{where}: choice {i} is empty and has no length")
                row[i] /= length
        _check_metric(records, scores, labels, _METRICS[normalize])
    logits = np.full((len(scores), max(map(len, scores))), -np.inf)
    for i, of_one in enumerate(scores):
        logits[i, : len(of_one)] = of_one
    return logits, np.array(labels, np.int64)


def _choices(where: str, record: dict[str, Any], repeat: int | None) -> list[_Choice]:
    """What the model was asked for each choice, and its answer."""
    arguments: Any = record.get("arguments")
    if isinstance(arguments, dict):
        # {"gen_args_0": {"arg_0": context, "arg_1": continuation}, ...}
        arguments = [
            list(field(arguments, f"gen_args_{i}", dict, where).values())
            for i in range(len(arguments))
        ]
    responses = _responses(record, repeat)
    if not isinstance(responses, list):
        raise ValueError(f"{where}: 'filtered_resps' and 'resps' are no lists")
    if not isinstance(arguments, list) or len(arguments) != len(responses):
        raise ValueError(f"{where}: 'arguments' must be as many as the {len(responses)} responses")
    if not all(isinstance(p, list) and len(p) >= 2 and isinstance(p[1], str) for p in arguments):
        raise ValueError(f"{where}: 'arguments' must be pairs of context and continuation")
    some = [_Choice(str(a[0]), a[1], r) for a, r in zip(arguments, responses, strict=True)]
    # For acc_mutual_info, every choice is asked a second time without a context.
    half = len(some) // 2
    alone = [choice._replace(context="") for choice in some[:half]]
    asked_twice = [(a.context, a.continuation) for a in alone] == [
        (b.context, b.continuation) for b in some[half:]
    ]
    return some[:half] if asked_twice and any(choice.context for choice in some[:half]) else some


def _responses(record: dict[str, Any], repeat: int | None) -> Any:
    """What the filter left of the responses, or all repeats of them."""
    kept = None if repeat is not None and "resps" in record else record.get("filtered_resps")
    return record.get("resps") if kept is None else kept


def _number(response: Any, repeat: int | None, where: str) -> float:
    if _is_pairs(response):
        if repeat is None and len(response) > 1:
            raise ValueError(
                f"{where}: each choice has {len(response)} responses: choose repeat 0.."
                f"{len(response) - 1}"
            )
        if repeat is not None and not 0 <= repeat < len(response):
            raise ValueError(f"{where}: no repeat {repeat} of {len(response)}")
        response = response[repeat or 0]
    value = float(response[0])
    if value != value:
        raise ValueError(f"{where}: a log-likelihood is NaN")
    return value


def _is_pair(response: Any) -> bool:
    """Whether this is (log-likelihood, is greedy), as numbers or as the harness's texts of them."""
    if not isinstance(response, list) or len(response) != 2:
        return False
    try:
        float(response[0])
    except (TypeError, ValueError):
        return False
    return isinstance(response[1], bool) or response[1] in ("True", "False")


def _is_pairs(response: Any) -> bool:
    return isinstance(response, list) and bool(response) and all(map(_is_pair, response))


def _delimiter(asked: Sequence[Sequence[_Choice]]) -> str:
    """The white space between context and choice, which no choice's length counts."""
    spaces = {
        text[: len(text) - len(text.lstrip())]
        for some in asked
        for text in (choice.continuation for choice in some)
    }
    shortest = min(spaces, key=len)
    return shortest if all(space.startswith(shortest) for space in spaces) else ""


def _labels(
    records: Sequence[tuple[str, dict[str, Any]]],
    asked: Sequence[Sequence[_Choice]],
    scores: Sequence[Sequence[float]],
    delimiter: str,
) -> list[int | None]:
    """Each document's right choice: ``target`` is its position, or else its text.

    Where it can be read both ways, as among choices that are numbers, the logged acc decides.
    """
    targets = [str(field(record, "target", object, where)) for where, record in records]
    ways = [
        [_position(target, some) for target, some in zip(targets, asked, strict=True)],
        [_text(delimiter + target, some) for target, some in zip(targets, asked, strict=True)],
    ]
    whole = [labels for labels in ways if None not in labels]
    if not whole:
        best = min(ways, key=lambda labels: labels.count(None))
        first = best.index(None)
        raise ValueError(
            f"{records[first][0]}: target {targets[first]!r} is none of the "
            f"{len(asked[first])} choices, or several: choose a metric such as 'acc'"
        )
    for labels in whole[:-1]:
        try:
            _check_metric(records, scores, labels, "acc")
        except ValueError:
            continue
        return labels
    _check_metric(records, scores, whole[-1], "acc")
    return whole[-1]


def _position(target: str, some: Sequence[_Choice]) -> int | None:
    return int(target) if target.isdecimal() and int(target) < len(some) else None


def _text(continuation: str, some: Sequence[_Choice]) -> int | None:
    found = [i for i, choice in enumerate(some) if choice.continuation == continuation]
    return found[0] if len(found) == 1 else None


def _check_metric(
    records: Sequence[tuple[str, dict[str, Any]]],
    scores: Sequence[Sequence[float]],
    labels: Sequence[int | None],
    metric: str,
) -> None:
    """Refuses logits and labels that do not give the metric that the harness logged."""
    for (where, record), row, label in zip(records, scores, labels, strict=True):
        if metric in record:
            right = int(np.argmax(row)) == label
            if truth(record[metric], f"{where}: {metric}") != right:
                raise ValueError(
                    f"{where}: {metric} is {record[metric]}, but log-likelihoods and target "
                    f"{label} give {int(right)}: choose metric {metric!r}"
                )
