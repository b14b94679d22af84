"""How probable models hold what is right: likelihood and Brier score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs
from ovcore._arrays import Array, Typed
from ovcore._inputs import Logits
from ovcore.calibration import _sums

__all__ = ["add_nll_sums", "brier_score", "negative_log_likelihood", "nll_sums"]

_BLOCK_BYTES = 1 << 26  # float64 copies are made of one block of samples at a time


def negative_log_likelihood(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
) -> Array:
    """Mean over samples of logsumexp(z / T) - z_target / T, in nats: (M,) float64.

    The log loss of softmax(z / T), from the logits themselves, so that no probability is clipped.
    0 where every target has probability 1, log K for equal logits. inf where a target's logit is
    -inf: what was held impossible happened.

    Args:
        logits: as in :func:`ovcore.pack_errors`.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; one class; NaN or +inf among the logits, or -inf
            throughout a sample; a temperature that is not positive and finite.

    >>> import numpy as np
    >>> logits = np.log([[[.8, .2], [.5, .5]]])
    >>> negative_log_likelihood(logits, np.array([0, 1])).round(4)  # -log(.8 * .5) / 2
    array([0.4581])
    """
    inputs, temperatures = read(logits, target, temperature)
    return _arrays.in_library(mean_nll(inputs, temperatures)[:, 0].copy(), inputs.library)


def brier_score(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
) -> Array:
    """Mean over samples of sum_k (p_k - [k is the target])^2, p = softmax(z / T): (M,) float64.

    From 0, certain and right, to 2, certain and wrong: the original score of Brier (1950), for two
    classes twice the one that counts one class alone. In float64, whatever the logits are in.

    Args:
        logits: as in :func:`ovcore.pack_errors`. Of a sample with +inf, that class has all.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; one class; a temperature that is not positive
            and finite.

    >>> import numpy as np
    >>> logits = np.log([[[.8, .2], [.5, .5]]])
    >>> brier_score(logits, np.array([0, 1])).round(4)  # (.2^2 + .2^2 + .5^2 + .5^2) / 2
    array([0.29])
    """
    inputs, temperatures = read(logits, target, temperature)
    _arrays.refuse_gpu(inputs.models[0].values, "logits", "the Brier score is computed")
    scores = np.zeros(len(inputs.models))
    for m, model in enumerate(inputs.models):
        for rows in blocks(model):
            distance = probabilities(model, m, rows, temperatures[m])
            distance[np.arange(len(distance)), inputs.target[rows]] -= 1
            scores[m] += np.square(distance, out=distance).sum()
    return _arrays.in_library(scores / inputs.n_samples, inputs.library)


def read(
    logits: Array | Sequence[Array],
    target: Array,
    temperature: float | Sequence[float] | Array = 1.0,
) -> tuple[Logits, NDArray[np.float64]]:
    """Checked logits of at least two classes, and (M,) temperatures."""
    inputs = _inputs.read_logits(logits, target)
    if inputs.n_classes == 1:
        raise ValueError("calibration needs at least two classes, logits have one")
    return inputs, _inputs.read_temperature(temperature, len(inputs.models))


def nll_sums(
    logits: Array | Sequence[Array],  # (M, N, K) floating, or a sequence of M arrays (N, K)
    target: Array,  # (N,) integer
    *,
    temperature: float | Sequence[float] | Array = 1.0,  # scalar or (M,)
    every: int = 1,
) -> NDArray[np.float64]:
    """What temperatures are fitted by: (B, M, 3) sums over blocks of 16,384 samples, the last less.

    Of logsumexp(b z) - b z_target, b = 1 / T, in nats, and of its first two derivatives in b.
    Blocks begin at sample 0, so that of samples divided at multiples of 16,384 each part has the
    blocks of the whole, to the bit: in host memory whatever the number of threads, on processors
    of one instruction set. :func:`add_nll_sums` adds blocks, :func:`fit_from_nll_sums` fits.

    Args:
        logits: as in :func:`ovcore.pack_errors`. -inf is allowed outside the target class.
        target: (N,) integer classes.
        temperature: positive, one for all models or one each.
        every: sums over every so manyth sample of a block, from its first on.

    Raises:
        ValueError: as :func:`fit_temperature`; a temperature that is not positive and finite.

    >>> import numpy as np
    >>> logits = np.log([[[.8, .2], [.5, .5]]])
    >>> nll_sums(logits, np.array([0, 1]))[0, 0, 0].round(4)  # -log(.8 * .5)
    np.float64(0.9163)
    """
    inputs, temperatures = read(logits, target, temperature)
    step = _inputs.at_least_one(every, "every")
    sums = _sums.of_blocks(inputs, temperatures, every=step)
    _refuse_not_finite(inputs, sums.sum(axis=0), FINITE_LIKELIHOOD)
    return sums


def add_nll_sums(
    sums: NDArray[np.float64],  # (B, M, 3)
) -> NDArray[np.float64]:
    """Adds :func:`nll_sums` of blocks in their order: (M, 3), in which rounding is always the same.

    Eight at a time, then eight of those, and so on. So parts of 8, 64, 512, ... blocks, counted
    from block 0, can be added first, and then what comes of them: the sum is the same to the bit.

    Raises:
        ValueError: a shape other than (B, M, 3), or no block.

    >>> import numpy as np
    >>> blocks = np.random.default_rng(0).standard_normal((20, 1, 3))
    >>> parts = [add_nll_sums(blocks[first : first + 8]) for first in (0, 8, 16)]
    >>> np.array_equal(add_nll_sums(np.stack(parts)), add_nll_sums(blocks))
    True
    """
    given = np.asarray(sums, np.float64)
    if given.ndim != 3 or given.shape[2] != 3 or len(given) == 0:
        raise ValueError(f"sums must be (B, M, 3) of at least one block, got {given.shape}")
    return _sums.add(given)


def mean_nll(
    inputs: Logits,
    temperature: NDArray[np.float64],
    *,
    lack: Lack | None = None,
    every: int = 1,
) -> NDArray[np.float64]:  # (M, 3)
    """Mean NLL of softmax(z / T), and its first two derivatives in 1 / T.

    Over every so manyth sample. Refuses samples without a likelihood, or without what ``lack``
    tells of. They are looked for only where a mean is not finite: one such sample makes it so.
    """
    on_gpu = _arrays.is_on_gpu(inputs.models[0].values)
    size = inputs.n_samples if on_gpu else _sums.BLOCK  # a GPU waits for each call's sums
    sums = _sums.add(_sums.of_blocks(inputs, temperature, every=every, size=size))
    for m in _refuse_not_finite(inputs, sums, lack or LIKELIHOOD):
        if not np.isfinite(sums[m, 0]):
            sums[m, 0] = np.inf
    return sums / len(range(0, inputs.n_samples, every))


def _refuse_not_finite(
    inputs: Logits,
    sums: NDArray[np.float64],  # (M, 3)
    lack: Lack,
) -> NDArray[np.int64]:
    """Models whose sums are not finite though their samples lack nothing."""
    models = np.flatnonzero(~np.isfinite(sums).all(axis=1))
    for m in models:
        refuse(inputs.models[m], int(m), inputs.target, lack)
    return models


def probabilities(
    model: Typed, m: int, rows: slice, temperature: float
) -> NDArray[np.float64]:  # (n, K)
    """softmax(z / T) of some samples of model ``m``, in float64; classes at +inf share all."""
    z = _arrays.widen(model, rows).astype(np.float64)
    share = weights(z, tops(model, m, z), temperature)
    share /= share.sum(axis=1, keepdims=True)
    return share


def tops(model: Typed, m: int, z: NDArray[np.float64]) -> NDArray[np.float64]:  # (n,)
    """Largest logit of each of some samples; refuses the model where one has no prediction."""
    top: NDArray[np.float64] = z.max(axis=1)
    if not (top > -np.inf).all():
        refuse(model, m, np.zeros(len(model.values), np.int64), PREDICTION)
    return top


def weights(
    z: NDArray[np.float64], top: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:  # (n, K)
    """exp((z - top) / T); 1 at the top also where that is +inf."""
    with np.errstate(over="ignore", invalid="ignore"):  # too far from the top: 0
        distance = np.where(z == top[:, None], 0.0, z - top[:, None])
        distance /= temperature
        return np.exp(distance, out=distance)


def blocks(model: Typed) -> Iterator[slice]:
    """Samples in blocks whose float64 copy stays small."""
    n_samples, n_classes = model.values.shape
    return _inputs.blocks(n_samples, 8 * n_classes, _BLOCK_BYTES)


class Lack(NamedTuple):
    """Something that samples need, and which of some logits (n, K) with targets (n,) lack it."""

    what: str
    of: Callable[[NDArray[Any], NDArray[np.int64]], NDArray[np.bool_]]


def _no_prediction(z: NDArray[Any], target: NDArray[np.int64]) -> NDArray[np.bool_]:  # noqa: ARG001
    return ~(z.max(axis=1) > -np.inf)


def _no_likelihood(z: NDArray[Any], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    return _no_prediction(z, target) | (z.max(axis=1) == np.inf)


def _no_finite_likelihood(z: NDArray[Any], target: NDArray[np.int64]) -> NDArray[np.bool_]:
    return _no_likelihood(z, target) | (z[np.arange(len(z)), target] == -np.inf)


PREDICTION = Lack(_inputs.A_PREDICTION, _no_prediction)
LIKELIHOOD = Lack(
    "a likelihood (NaN or +inf among the logits, or -inf throughout)",
    _no_likelihood,
)
FINITE_LIKELIHOOD = Lack(
    "a finite likelihood (NaN or +inf among the logits, or -inf at the target)",
    _no_finite_likelihood,
)


def refuse(model: Typed, m: int, target: NDArray[np.int64], lack: Lack) -> None:
    """Raises where samples of model ``m`` lack something, and says how many and which is first."""
    lacking = [lack.of(_arrays.rows_on_host(model, rows), target[rows]) for rows in blocks(model)]
    _inputs.refuse_samples(m, np.concatenate(lacking), lack.what)
