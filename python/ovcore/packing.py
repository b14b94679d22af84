"""From logits or predictions to error bits: who is wrong on which sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _bits, _dispatch, _inputs, _progress
from ovcore._arrays import Array
from ovcore._devices import DeviceArray
from ovcore._inputs import Logits, Preds
from ovcore.errors import ErrorBits
from ovcore.topk import TopK

__all__ = ["pack_errors"]


def pack_errors(
    preds_or_logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating | (M, N) integer
    target: Array,  # (N,) integer
    *,
    nan_policy: str = "raise",
    ignore_index: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> ErrorBits:
    """Packs which model is wrong on which sample into bits.

    A model is wrong where its prediction, the arg max of its logits, differs from the target. On a
    tie the lowest class wins. +inf wins over everything, -inf never wins.

    Args:
        preds_or_logits: logits, (M, N, K) or a sequence of M arrays (N, K), in float16, bfloat16,
            float32 or float64; or predicted classes, (M, N) or a sequence of M arrays (N,), in any
            integer type; or :class:`ovcore.TopK`. numpy arrays and memory maps, torch CPU tensors,
            arrays of other libraries with ``__dlpack__``; bfloat16 from torch and ml_dtypes. Read
            where they lie, without a converted copy, so a memory map may be larger than memory. A
            negative prediction is always wrong. Arrays of torch, cupy and others on an NVIDIA GPU
            are read there; the target must be there, too.
        target: (N,) integer classes.
        nan_policy: what to do with rows of logits that have no prediction (a NaN among them, or
            -inf throughout). "raise" refuses them; "omit" leaves such a sample out of that model's
            counts, and of every pair's that the model is in.
        ignore_index: samples whose target is this are dropped for all models.
        backend: "native", "numba" or "reference", on a GPU "cuda" or "numba-cuda"; default: the
            best that can run.
        workers: threads; default: all cores.

    Returns:
        ErrorBits of M models on N samples, less those ignored.

    Raises:
        ValueError: shapes that do not match, no model or sample, a target out of range, arrays on
            different devices, rows without a prediction (names the model and counts them).
        TypeError: an element type that is neither floating nor integer.

    Logits that are not contiguous along classes (Fortran order, transposed tensors, data frames of
    floats) are refused by name rather than copied.

    >>> import numpy as np
    >>> pack_errors(np.array([[0, 1, 2], [0, 0, 0]]), np.array([0, 1, 1])).accuracy().round(3)
    array([0.667, 0.333])
    """
    inputs = _inputs.read(preds_or_logits, target, ignore_index=ignore_index)
    return pack(inputs, nan_policy=nan_policy, backend=backend, workers=workers)


def pack(
    inputs: Logits | Preds,
    *,
    preds: NDArray[np.int32] | DeviceArray | None = None,
    nan_policy: str | None = "raise",
    numbers: Sequence[int] | NDArray[np.int64] | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> ErrorBits:
    """:func:`pack_errors` of checked inputs; ``preds`` (M, N) also takes what logits predict.

    No policy raises without advising one; ``numbers`` are what errors call the models.
    """
    if nan_policy not in ("raise", "omit", None):
        raise ValueError(f"nan_policy must be 'raise' or 'omit', got {nan_policy!r}")
    kernel = _dispatch.choose(backend, inputs.library).pack_errors
    threads = _dispatch.count_workers(workers)
    words = _bits.empty_in(inputs.library, len(inputs.models), inputs.n_samples)
    with _progress.bar("pack errors") as progress:
        if isinstance(inputs, Preds):
            kernel(inputs.models, inputs.labels, words, None, threads, progress)
            absent = inputs.absent
        else:
            without = kernel(inputs.models, inputs.labels, words, preds, threads, progress)
            absent = {
                m: _rows_without_prediction(inputs, m, preds, backend, threads)
                for m, count in enumerate(without)
                if count
            }
    absent = {m: rows for m, rows in absent.items() if rows.any()}
    ignored = inputs.ignored if isinstance(inputs, Logits) else None
    if nan_policy != "omit":
        advice = "" if nan_policy is None else "; nan_policy='omit' leaves them out"
        for m, rows in absent.items():
            _inputs.refuse_samples(m if numbers is None else int(numbers[m]), rows, advice=advice)
    if not absent and ignored is None and _arrays.is_on_gpu(words):
        return ErrorBits._of_gpu(words, inputs.n_samples, inputs.library)
    words = _arrays.on_host(words)
    present = None
    if absent:
        present = _bits.full(len(words), inputs.n_samples, words.shape[1]).copy()
        for m, rows in absent.items():
            present[m] = _bits.pack(~rows[None])
        words &= present
    if ignored is None:
        return ErrorBits(words, inputs.n_samples, present=present, library=inputs.library)
    keep = ~ignored
    return ErrorBits(
        _bits.compress(words, keep),
        int(keep.sum()),
        present=None if present is None else _bits.compress(present, keep),
        library=inputs.library,
    )


def predict(inputs: Logits | Preds) -> NDArray[np.int32]:
    """(M, N) what each model predicts, in host memory; negative where it predicts nothing."""
    if isinstance(inputs, Preds):
        return np.stack([_arrays.on_host(classes) for classes in inputs.models]).astype(np.int32)
    preds = _arrays.empty((len(inputs.models), inputs.n_samples), "int32", inputs.library)
    pack(inputs, preds=preds, nan_policy="omit")
    found: NDArray[np.int32] = _arrays.on_host(preds)
    return found


def _rows_without_prediction(
    inputs: Logits,
    m: int,
    preds: NDArray[np.int32] | DeviceArray | None,
    backend: str | None,
    threads: int,
) -> NDArray[np.bool_]:
    """(N,) the rows of one model that have none; without ``preds`` its logits are read again."""
    if preds is None:
        found = _arrays.empty((1, inputs.n_samples), "int32", inputs.library)
        words = _bits.empty_in(inputs.library, 1, inputs.n_samples)
        kernel = _dispatch.choose(backend, inputs.library).pack_errors
        kernel(inputs.models[m : m + 1], inputs.labels, words, found, threads, None)
    else:
        found = preds[m : m + 1]
    without = _arrays.on_host(found)[0] < 0
    return without if inputs.ignored is None else without & ~inputs.ignored
