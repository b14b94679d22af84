"""Outputs of many models, and how tasks get at those of some samples."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from ovcore import TopK
from ovcore.store import Store

Given: TypeAlias = "Store | da.Array | Sequence[da.Array]"
"""What the adapter takes as outputs."""

_KINDS = ("logits", "topk", "preds")


class Place(NamedTuple):
    """Samples [first, stop) of the whole, and models [low, high)."""

    first: int
    stop: int
    low: int
    high: int


class Outputs:
    """M models' outputs on N samples.

    Attributes:
        kind: "logits", "topk" or "preds".
        n_models: M.
        n_samples: N.
        n_classes: K of logits, else None.
        sample_bytes: of all models together.
        name: what the caller calls them.
    """

    def __init__(self, given: Given, target: Any, name: str, *, needs_target: bool = True) -> None:
        self.name = name
        self._arrays: list[da.Array] = []  # one of all models, or one each
        self._store: Store | None = None
        self._pieces: dict[tuple[Any, ...], list[Any]] = {}  # made once, for passes to come
        if isinstance(given, Store):
            self._take_store(given)
        else:
            self._take_arrays(given)
        self._target = None
        if target is not None:
            self._target = _read_target(target, self.n_samples, name)
        elif self._store is None and needs_target:
            raise TypeError("target is missing: only a store has labels of its own")

    def _take_store(self, store: Store) -> None:
        if len(store) == 0:
            raise ValueError(f"the store at {store.path} has no models")
        if store.n_samples == 0:
            raise ValueError(f"the store at {store.path} has no samples")
        kinds = [kind for kind in _KINDS if all(kind in store.kinds(m) for m in store.names)]
        some = store.select(samples=slice(0, 1)).select(store.names[:1])
        first = some.outputs()[0] if kinds else store.outputs()[0]  # the latter says what lacks
        arrays = [first.classes, first.probs] if isinstance(first, TopK) else [first]
        self.kind = kinds[0]
        self.n_models, self.n_samples = len(store), store.n_samples
        self.n_classes = store.n_classes if self.kind == "logits" else None
        self.sample_bytes = len(store) * sum(int(array.nbytes) for array in arrays)
        self._store = store.select()
        self._store.path = store.path.resolve()  # workers may run in other folders
        self._literal = dask.delayed(self._store)

    def _take_arrays(self, given: da.Array | Sequence[da.Array]) -> None:
        several = isinstance(given, list | tuple)
        arrays: list[Any] = list(given) if several else [given]
        if not arrays:
            raise ValueError(f"{self.name} has no models")
        for m, array in enumerate(arrays):
            what = f"{self.name}[{m}]" if several else self.name
            if not isinstance(array, da.Array):
                raise TypeError(
                    f"{what} must be a Dask array, and {self.name} a store, a Dask array (M, N, K) "
                    f"or (M, N), or M of them: got {type(array).__name__}"
                )
            _refuse_unknown_chunks(array, what)
            if array.ndim not in ((1, 2) if several else (2, 3)):
                expected = "(N, K) logits or (N,)" if several else "(M, N, K) logits or (M, N)"
                raise ValueError(f"{what} must be {expected} classes, got shape {array.shape}")
            is_logits = array.ndim == (2 if several else 3)
            if array.dtype.kind in "iu" if is_logits else array.dtype.kind not in "iu":
                kind = "floating logits" if is_logits else "integer classes"
                raise TypeError(f"{what} has shape {array.shape}, so {kind}: got {array.dtype}")
            if array.shape != arrays[0].shape:
                raise ValueError(
                    f"{what} has shape {array.shape}, but {self.name}[0] has {arrays[0].shape}"
                )
        shape = arrays[0].shape if several else arrays[0].shape[1:]
        self._several = several
        self._arrays = arrays
        self.kind = "logits" if len(shape) == 2 else "preds"
        self.n_models = len(arrays) if several else arrays[0].shape[0]
        self.n_samples = shape[0]
        self.n_classes = shape[1] if len(shape) == 2 else None
        for what, count in (("models", self.n_models), ("samples", self.n_samples)):
            if count == 0:
                raise ValueError(f"{self.name} has no {what}: shape {arrays[0].shape}")
        items = sum(array.dtype.itemsize for array in arrays)
        self.sample_bytes = items * (1 if several else self.n_models) * (self.n_classes or 1)

    def pieces(
        self, edges: Sequence[int], low: int = 0, high: int | None = None
    ) -> list[tuple[Place, Any, Any]]:
        """For each block between edges: where it is, outputs and target for :func:`read`.

        ``low`` and ``high`` are of models.
        """
        high = self.n_models if high is None else high
        key = (tuple(edges), low, high)
        if key not in self._pieces:
            places = [Place(a, b, low, high) for a, b in pairwise(edges)]
            outputs = self._outputs(edges, low, high)
            targets = self._targets(edges)
            self._pieces[key] = list(zip(places, outputs, targets, strict=True))
        return self._pieces[key]

    def _outputs(self, edges: Sequence[int], low: int, high: int) -> list[Any]:
        if self._store is not None:
            return [self._literal] * (len(edges) - 1)
        if self._several:
            parts = [_delayed(array, edges, 0) for array in self._arrays[low:high]]
            return [list(block) for block in zip(*parts, strict=True)]
        return _delayed(self._arrays[0][low:high], edges, 1)

    def _targets(self, edges: Sequence[int]) -> list[Any]:
        if self._target is None:
            return [None] * (len(edges) - 1)
        return _delayed(self._target, edges, 0)


def read(
    outputs: Any,
    target: NDArray[Any] | None,
    place: Place,
    models: NDArray[np.int64] | None = None,  # of place's; default: all
) -> tuple[list[Any], NDArray[Any]]:
    """One array a model of some samples, and their labels; in the task."""
    if not isinstance(outputs, Store):
        which = range(len(outputs)) if models is None else models
        labels = np.zeros(place.stop - place.first, np.int64) if target is None else target
        return [_readable(outputs[m]) for m in which], labels
    which = range(place.high - place.low) if models is None else models
    names = [outputs.names[place.low + m] for m in which]
    some = outputs.select(list(dict.fromkeys(names)), slice(place.first, place.stop))
    found = dict(zip(some.names, some.outputs(), strict=True))
    return [found[name] for name in names], some.target if target is None else target


def read_temperature(given: Any, n_models: int) -> NDArray[np.float64]:  # (M,)
    """One temperature for all models, or one each."""
    values = np.asarray(given)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"temperature must be a number or {n_models} numbers: got {given!r}")
    if values.shape not in ((), (n_models,)):
        raise ValueError(
            f"temperature must be a number or ({n_models},), one a model: got shape {values.shape}"
        )
    if not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"temperature must be positive and finite, got {given}")
    return np.array(np.broadcast_to(values.astype(np.float64), n_models))


def as_arrays(given: Any, name: str) -> list[da.Array]:
    """Dask arrays (N, D_m) side by side, of one N."""
    arrays = list(given) if isinstance(given, list | tuple) else [given]
    for m, array in enumerate(arrays):
        what = f"{name}[{m}]" if isinstance(given, list | tuple) else name
        if not isinstance(array, da.Array):
            raise TypeError(f"{what} must be a Dask array (N, D), got {type(array).__name__}")
        _refuse_unknown_chunks(array, what)
        if array.ndim != 2:
            raise ValueError(f"{what} must be (N, D), got shape {array.shape}")
        if array.shape[0] != arrays[0].shape[0]:
            raise ValueError(
                f"{what} has {array.shape[0]} samples but {name}[0] has {arrays[0].shape[0]}"
            )
    if not arrays or arrays[0].shape[0] == 0:
        raise ValueError(f"{name} has no samples" if arrays else f"{name} has no models")
    return arrays


def delayed_rows(arrays: Sequence[da.Array], edges: Sequence[int]) -> list[list[Any]]:
    """For each block between edges, the rows of each array."""
    parts = [_delayed(array, edges, 0) for array in arrays]
    return [list(block) for block in zip(*parts, strict=True)]


def _readable(values: Any) -> Any:
    """As kernels read them. What came from another process often lies at an odd address."""
    if not isinstance(values, np.ndarray):
        return values
    contiguous = values.shape[-1] <= 1 or values.strides[-1] == values.itemsize
    return values if contiguous and values.flags.aligned else np.require(values, None, ["C", "A"])


def _delayed(array: da.Array, edges: Sequence[int], axis: int) -> list[Any]:
    """The array in blocks between edges, all other axes in one chunk."""
    chunks: dict[int, Any] = dict.fromkeys(range(array.ndim), -1) | {
        axis: tuple(np.diff(edges).tolist())
    }
    return list(array.rechunk(chunks).to_delayed().ravel())


def _read_target(target: Any, n_samples: int, name: str) -> da.Array:
    labels = target
    if not isinstance(target, da.Array):
        given = np.asarray(target)
        labels = da.from_array(given, chunks=given.shape)
    _refuse_unknown_chunks(labels, "target")
    if labels.ndim != 1:
        raise ValueError(f"target must be (N,), got shape {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"target must be integer classes, got {labels.dtype}")
    if labels.shape[0] != n_samples:
        raise ValueError(f"{name} has {n_samples} samples but target has {labels.shape[0]}")
    return labels


def _refuse_unknown_chunks(array: da.Array, name: str) -> None:
    if any(np.isnan(size) for size in array.shape):
        raise ValueError(
            f"{name} has chunks of unknown sizes, shape {array.shape}: call its "
            "compute_chunk_sizes() first"
        )
