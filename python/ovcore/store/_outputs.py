"""One model's outputs, checked before they are written, and what they predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays
from ovcore._arrays import Array
from ovcore._inputs import read_predictions
from ovcore.packing import predict
from ovcore.store._tensors import DTYPES, Tensor
from ovcore.topk import TopK

Outputs: TypeAlias = dict[str, NDArray[Any]]
"""Tensors by name as they are written, bfloat16 as its bits."""

KINDS = ("logits", "features", "topk", "preds")
_FLOATS = tuple(dtype for dtype in DTYPES.values() if dtype != "int32")


def read(
    given: Mapping[str, Array | TopK | None], of: str, n_classes: int | None
) -> tuple[Outputs, dict[str, Tensor]]:
    """Tensors of n samples and their types; predictions are added to scores.

    Args:
        given: "logits", "features", "topk", "preds"; None where there are none.
        of: the model, for messages.
        n_classes: K, where it is known.

    Raises:
        TypeError: an element type that is not stored.
        ValueError: nothing to store, other axes, samples or classes.
    """
    kinds = {kind: values for kind, values in given.items() if values is not None}
    if not kinds:
        raise ValueError(f"{of} has no outputs: pass logits, topk, preds or features")
    tensors: dict[str, Tensor] = {}
    outputs: Outputs = {}
    for kind in ("logits", "features"):
        if kind in kinds:
            seen = _arrays.view_on_host(kinds[kind], f"{kind} of {of}")
            if seen.values.ndim != 2 or seen.dtype not in _FLOATS:
                raise ValueError(
                    f"{kind} of {of} must be (N, {'K' if kind == 'logits' else 'D'}) in "
                    f"{', '.join(_FLOATS)}: got {seen.dtype} {seen.values.shape}"
                )
            outputs[kind], tensors[kind] = seen.values, Tensor(seen.dtype, seen.values.shape)
    top = kinds.get("topk")
    if top is not None:
        if not isinstance(top, TopK) or len(top.shape) != 2:
            raise TypeError(f"topk of {of} must be an ovcore.TopK of one model, got {top!r}")
        probs = _arrays.view_on_host(top.probs, "probs")
        outputs |= {"topk_classes": top.classes, "topk_probs": probs.values}
        tensors["topk_classes"] = Tensor("int32", top.classes.shape)
        tensors["topk_probs"] = Tensor(probs.dtype, probs.values.shape)
    preds = _predictions(kinds, of, n_classes)
    if preds is not None:
        outputs["preds"], tensors["preds"] = preds, Tensor("int32", preds.shape)
    lengths = {name: len(values) for name, values in outputs.items()}
    if len(set(lengths.values())) != 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise ValueError(f"the outputs of {of} are of different samples: {counts}")
    return outputs, tensors


def classes_of(given: Mapping[str, Array | TopK | None]) -> dict[str, int]:
    """K of the logits and of the stored top-k outputs, where they are given."""
    found = {kind: given.get(kind) for kind in ("logits", "topk")}
    return {
        kind: int(values.shape[1])
        for kind, values in found.items()
        if values is not None and len(values.shape) == 2
    }


def _predictions(
    kinds: Mapping[str, Array | TopK], of: str, n_classes: int | None
) -> NDArray[np.int32] | None:
    """(n,) those given, or else those of the scores; -1 where there is none."""
    if "preds" in kinds:
        preds = _arrays.integers(_arrays.adopt(kinds["preds"], "preds"), f"preds of {of}")
        if preds.ndim != 1:
            raise ValueError(f"preds of {of} must be (N,), got shape {preds.shape}")
        limit = np.iinfo(np.int32).max + 1 if n_classes is None else n_classes
        outside = (preds < -1) | (preds >= limit)
        if outside.any():
            raise ValueError(
                f"preds of {of} must be in 0..{limit - 1}, or -1 for none: "
                f"got {preds[outside.argmax()]} at sample {outside.argmax()}"
            )
        return preds.astype(np.int32)
    if "logits" in kinds:
        scores = kinds["logits"]
        if isinstance(scores, np.ndarray):  # kernels refuse what a file holds differently anyway
            scores = np.ascontiguousarray(scores, scores.dtype.newbyteorder("="))
    elif "topk" in kinds:
        scores = kinds["topk"]
    else:
        return None
    if len(scores.shape) and scores.shape[0] == 0:
        return np.zeros(0, np.int32)
    return predict(read_predictions([scores], name=f"logits of {of}"))[0]
