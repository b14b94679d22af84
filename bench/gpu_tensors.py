"""The public functions on arrays of torch, of cupy and of ovcore itself, on a GPU and on the CPU.

What they answer must be the same, and lie where what they were given lies.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ovcore as ov
from gpu_cases import Case, NotHereError, Setting
from ovcore import _arrays, _devices

FITTED = 1e-8  # relative, of a temperature: each is within 1e-9 of the best


class Library(NamedTuple):
    """Arrays on one device."""

    put: Callable[[np.ndarray, str], Any]  # values -> an array of that element type there
    get: Callable[[Any], np.ndarray]  # a result -> the same in host memory
    is_there: Callable[[Any], bool]


def own_arrays() -> Library:
    place = _arrays.place("cuda:0")
    return Library(
        put=lambda values, dtype: _devices.upload(values.astype(dtype), place),
        get=_arrays.on_host,
        is_there=lambda found: _devices.is_device_array(found) and found.place.device == 0,
    )


def torch_arrays(torch: Any, device: str = "cuda:0") -> Library:
    return Library(
        put=lambda values, dtype: torch.from_numpy(values).to(device, getattr(torch, dtype)),
        get=lambda found: found.cpu().numpy(),
        is_there=lambda found: isinstance(found, torch.Tensor) and str(found.device) == device,
    )


def cupy_arrays(cupy: Any) -> Library:
    return Library(
        put=lambda values, dtype: cupy.asarray(values.astype(dtype)),
        get=lambda found: found.get(),
        is_there=lambda found: isinstance(found, cupy.ndarray) and found.device.id == 0,
    )


def answers(logits: Any, target: Any, preds: Any) -> dict[str, Any]:
    """Of the public functions: arrays in the caller's library, and numbers (tuples)."""
    comparison = ov.compare(logits, target, temperature=1.0)
    pairs = ov.ensembles.pairs(logits, target, temperature=0.7, combine="logit")
    errors = ov.pack_errors(preds, target)
    fit = ov.calibration.fit_temperature(logits, target)
    selected = ov.ensembles.greedy(logits, target, max_size=4, holdout=0.5)
    angles = ov.ensembles.specialization(logits, target, temperature=1.3)
    return {
        "compare accuracy": comparison.accuracy,
        "compare error_inconsistency": comparison.error_inconsistency,
        "compare error_consistency": comparison.error_consistency,
        "compare error_correlation": comparison.error_correlation,
        "compare hits": comparison.ensembles.hits,
        "compare conversions": comparison.ensembles.conversions,
        "compare rescues": comparison.ensembles.rescues,
        "pairs of logits": pairs.hits,
        "pack_errors of logits": tuple(ov.pack_errors(logits, target).n_wrong()),
        "pack_errors of predictions": errors.accuracy(),
        "joint_errors": ov.pairwise.joint_errors(errors),
        "joint_agreement": ov.pairwise.joint_agreement(preds),
        "fit_temperature": fit.temperature,
        "fit_temperature nll": fit.nll,
        "fit_temperature status": tuple(status == "converged" for status in fit.status),
        "greedy members": selected.members,
        "greedy accuracy": selected.accuracy,
        "greedy nll": selected.selection_nll,
        "specialization histogram": angles.histogram,
        "specialization share": angles.specialized,
        "specialization samples": (angles.n_samples,),
        "predict": ov.ensembles.predict(logits, combine="prob"),
        "predict by votes": ov.ensembles.predict(logits, combine="vote"),
    }


def compared(
    what: str, library: Library, host: dict[str, Any], there: dict[str, Any]
) -> Iterator[Case]:
    for name, expected in host.items():
        found = there[name]
        title = f"{what}: {name}"
        if isinstance(expected, tuple):
            yield Case(title, found, expected)
            continue
        yield Case(f"{title}, where it lies", library.is_there(found), True)
        rtol = FITTED if name.startswith("fit_temperature") else 0.0
        yield Case(title, library.get(found), np.asarray(expected), rtol)


def inputs_of(s: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(M, N, K) float32 logits of models that share much, (N,) targets, (M, N) predictions."""
    m, n, k = s.pick((12, 9000, 100), (4, 300, 10), (4, 65, 5))
    target = s.rng.integers(0, k, n)
    logits = s.rng.standard_normal((n, k)) + 0.8 * s.rng.standard_normal((m, n, k))
    logits[:, np.arange(n), target] += 2.0
    return logits.astype(np.float32), target, logits.argmax(axis=2).astype(np.int32)


def on_host(values: np.ndarray, dtype: str) -> Any:
    if dtype != "bfloat16":
        return values.astype(dtype)
    import torch

    return torch.from_numpy(values).bfloat16()


def same_as_on_the_cpu(s: Setting, make: Callable[[], Library], dtypes: Any) -> Iterator[Case]:
    """One array of all models, then one array each."""
    library = make()
    values, target, preds = inputs_of(s)
    for dtype in dtypes:
        host = answers(on_host(values, dtype), target, preds)
        logits, labels = library.put(values, dtype), library.put(target, "int64")
        classes = library.put(preds, "int32")
        yield from compared(dtype, library, host, answers(logits, labels, classes))
        parts = [logits[m] for m in range(len(values))], [classes[m] for m in range(len(values))]
        found = answers(parts[0], labels, parts[1])
        yield from compared(f"{dtype}, a list", library, host, found)


def torch_on_a_stream(s: Setting) -> Iterator[Case]:
    """Logits that a stream of the caller's has yet to write: who does not wait reads NaN."""
    torch = needed("torch")
    library = torch_arrays(torch)
    values, target, preds = inputs_of(s)
    host = answers(values, target, preds)
    ready = library.put(values, "float32")
    labels, classes = library.put(target, "int64"), library.put(preds, "int32")
    late, work = torch.full_like(ready, torch.nan), torch.ones(4096, 4096, device="cuda:0")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(50):
            work = work @ work / 4096
        late.copy_(ready)
        found = answers(late, labels, classes)
        torch.cuda.current_stream().synchronize()
    yield from compared("on a stream", library, host, found)


def cupy_on_a_stream(s: Setting) -> Iterator[Case]:
    cupy = needed("cupy")
    library = cupy_arrays(cupy)
    values, target, preds = inputs_of(s)
    host = answers(values, target, preds)
    ready = library.put(values, "float32")
    labels, classes = library.put(target, "int64"), library.put(preds, "int32")
    late, work = cupy.full_like(ready, cupy.nan), cupy.ones((4096, 4096), cupy.float32)
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        for _ in range(50):
            work = work @ work / 4096
        late[...] = ready
        found = answers(late, labels, classes)
        stream.synchronize()
    yield from compared("on a stream", library, host, found)


def needed(name: str) -> Any:
    """torch or cupy; a check that needs what is not there is left out."""
    try:
        library = importlib.import_module(name)
        works = library.cuda.is_available()
    except ImportError as error:
        raise NotHereError(f"{name} is not installed") from error
    if not works:
        raise NotHereError(f"{name} sees no GPU")
    return library


FLOATS = ("float32", "float16", "float64")
TENSORS: dict[str, Callable[[Setting], Iterator[Case]]] = {
    "public functions": partial(same_as_on_the_cpu, make=own_arrays, dtypes=FLOATS),
    "public functions, torch": partial(
        same_as_on_the_cpu,
        make=lambda: torch_arrays(needed("torch")),
        dtypes=(*FLOATS, "bfloat16"),
    ),
    "public functions, torch on a stream": torch_on_a_stream,
    "public functions, cupy": partial(
        same_as_on_the_cpu, make=lambda: cupy_arrays(needed("cupy")), dtypes=FLOATS
    ),
    "public functions, cupy on a stream": cupy_on_a_stream,
}
