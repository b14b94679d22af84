"""All pairs of models as the page carries them: counts alone, from which it computes metrics."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

import ovcore as ov
from ovcore.study.charts import COLORS, GREY
from ovcore.study.page.report import Report
from ovcore.study.subject import OTHER, Split, Subject, place

BINS = 18
"""Of angles, 5 degrees each."""

MOST_BYTES = 64 << 20
"""Of angles, and of error bits, before they are compressed; more are left out of the page."""

MANY_MODELS = 300
"""More are clustered without the optimal order of leaves, and drawn when asked for."""

_ONLY_FIRST, _ONLY_SECOND = 1, 2  # places among the outcomes n11, n10, n01, n00


@dataclass(frozen=True)
class PairData:
    """What the page knows of pairs.

    A pair a < b stands at place a (2 M - a - 1) / 2 + b - a - 1 of every array of pairs.

    Attributes:
        about: names, orders and types of integers, as JSON.
        arrays: by name: little-endian integers, compressed (gzip), as base64.
    """

    about: dict[str, Any]
    arrays: dict[str, str]


def pair_data(report: Report) -> PairData:
    """Joint errors and categories of all pairs, ensembles and angles where there are confidences.

    Of several splits the first.
    """
    subject = report.subject
    split = subject.first
    comparison = split.comparison
    names = split.names
    a, b = np.triu_indices(len(names), 1)
    own = dict(zip(report.models["model"], report.models["category"], strict=True))
    kinds = [subject.category(names[i], names[j]) for i, j in zip(a, b, strict=True)]
    categories = sorted({*own.values(), *kinds, OTHER}, key=lambda name: (place(name), name))
    code = {name: i for i, name in enumerate(categories)}
    arrays = {
        "joint": np.asarray(comparison.errors.joint)[a, b],
        "kind": np.array([code[kind] for kind in kinds], np.int64),
    }
    if comparison.ensembles is not None:
        arrays |= {
            name: np.asarray(getattr(comparison.ensembles, name))[a, b]
            for name in ("hits", "conversions", "rescues")
        }
    lacking: dict[str, str] = {}
    for found, name in ((_bits(split), "classes"), (_angles(split), "theta")):
        if isinstance(found, str):
            lacking[name] = found
        else:
            arrays |= found
    narrow = {name: _narrow(values) for name, values in arrays.items()}
    about = {
        "models": names,
        "category": [code[own.get(name, OTHER)] for name in names],
        "categories": categories,
        "colors": [COLORS.get(name, GREY) for name in categories],
        "in_range": subject.in_range(split).astype(int).tolist(),
        "base": split.index(subject.base),
        "n_samples": comparison.n_samples,
        "wrong": comparison.errors.n_wrong().tolist(),
        "orders": _orders(subject, [code[own.get(name, OTHER)] for name in names]),
        "many": len(names) > MANY_MODELS,
        "types": {name: values.dtype.name for name, values in narrow.items()},
        "class_names": _class_names(split),
        "bins": BINS,
        "lacking": lacking,
    }
    return PairData(about, {name: _compressed(values) for name, values in narrow.items()})


def _bits(split: Split) -> dict[str, NDArray[Any]] | str:
    """Error bits of (M, N), sample n at bit n % 8 of byte n // 8; and the class of each sample."""
    n_models, n_samples = split.errors.n_models, split.errors.n_samples
    row_bytes = -(-n_samples // 8)
    if n_models * row_bytes > MOST_BYTES:
        return (
            f"Which of {n_samples:,} samples each of {n_models:,} models gets wrong would take "
            "more than 64 MB, so that disagreement by class is left out of this page."
        )
    words = np.ascontiguousarray(split.errors.words, "<u8")
    classes = np.unique(split.target, return_inverse=True)[1]
    return {"bits": words.view(np.uint8)[:, :row_bytes], "classes": classes}


def _class_names(split: Split) -> list[str]:
    """Of the classes that samples have, ascending."""
    names = split.store.class_names
    return [f"class {k}" if names is None else names[k] for k in np.unique(split.target)]


def _angles(split: Split) -> dict[str, NDArray[Any]] | str:
    """(pairs, 2, BINS) samples by angle where only a, or only b, is right: an array for each a."""
    if split.temperature is None:
        return "The store keeps predicted classes alone: there are no ensembles and no angles."
    joint = np.asarray(split.comparison.errors.joint)
    alone = int((np.diag(joint)[:, None] - joint).max())  # no bin has more
    n_pairs = len(joint) * (len(joint) - 1) // 2
    if n_pairs * 2 * BINS * np.min_scalar_type(alone).itemsize > MOST_BYTES:
        return (
            f"Angles of {n_pairs:,} pairs would take more than 64 MB: they are left out of this "
            "page."
        )
    found = ov.ensembles.specialization(
        split.outputs, split.target, temperature=split.temperature, bins=BINS
    )
    counts = np.asarray(found.histogram)[:, [_ONLY_FIRST, _ONLY_SECOND]]
    first = np.asarray(found.pairs)[:, 0]
    ends = np.searchsorted(first, np.arange(len(joint)))
    return {f"theta-{a}": block for a, block in enumerate(np.split(counts, ends[1:])[:-1])}


def _orders(subject: Subject, category: list[int]) -> dict[str, list[int]]:
    """Ways to order the models: indices."""
    accuracy = subject.first.accuracy
    return {
        "clustered": _clustered(subject.first).tolist(),
        "category": np.lexsort((-accuracy, np.array(category))).tolist(),
        "accuracy": np.argsort(-accuracy, kind="stable").tolist(),
        "given": list(range(len(accuracy))),
    }


def _clustered(split: Split) -> NDArray[np.int64]:
    comparison = split.comparison
    if len(split.names) <= MANY_MODELS:
        return comparison.clustered_order()
    distance = squareform(np.asarray(comparison.error_inconsistency), checks=False)
    leaves: NDArray[np.int64] = leaves_list(linkage(distance, "average")).astype(np.int64)
    return leaves


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Counts in the narrowest of the types that browsers have."""
    largest = int(values.max(initial=0))
    fitting = next(t for t in ("uint8", "uint16", "uint32") if largest <= np.iinfo(t).max)
    return values.astype(fitting)


def _compressed(values: NDArray[Any]) -> str:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(gzip.compress(little.tobytes(), 6, mtime=0)).decode()
