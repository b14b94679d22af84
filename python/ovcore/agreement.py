"""Do models predict the same: agreement of predictions, also where both are wrong.

Every function is for all pairs of M models and returns an (M, M) matrix in the caller's library.
Reached as ``ov.pairwise.<name>``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _dispatch, _inputs, _progress
from ovcore._arrays import Array, Typed
from ovcore._devices import DeviceArray
from ovcore._inputs import Logits, Preds
from ovcore._tables import Values, replace_undefined
from ovcore.errors import ErrorBits, JointErrors
from ovcore.packing import pack
from ovcore.topk import TopK

__all__ = ["capa", "joint_agreement", "label_disagreement", "same_wrong_answer"]

_MOST_CLASSES = 1 << 16
_BLOCK_BYTES = 1 << 26  # float64 probabilities of all models on one block of samples


def joint_agreement(
    preds_or_logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating | (M, N) integer
    *,
    backend: str | None = None,
    workers: int | None = None,
) -> Array:
    """Samples for which both models of a pair predict the same class, right or wrong: int64 (M, M).

    Negative classes are labels as any other: two models that both answer -1 agree.

    Args:
        preds_or_logits: as in :func:`ovcore.pack_errors`.
        backend: as in :func:`ovcore.pack_errors`.
        workers: threads; default: all cores.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; samples without a prediction; classes that span
            more than 65,536 values.
        TypeError: an element type that is neither floating nor integer.

    >>> import numpy as np
    >>> joint_agreement(np.array([[0, 1, 2, 2], [0, 2, 2, 1]]))
    array([[4, 2],
           [2, 4]])
    """
    agreement, inputs = _agreement_of(preds_or_logits, backend, workers)
    return _arrays.in_library(agreement, inputs.library)


def label_disagreement(
    preds_or_logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating | (M, N) integer
    *,
    backend: str | None = None,
    workers: int | None = None,
) -> Array:
    """Share of samples for which the models of a pair predict different classes.

    Right or wrong alike, so never less than error inconsistency. Takes and refuses what
    :func:`joint_agreement` does.

    >>> import numpy as np
    >>> label_disagreement(np.array([[0, 1, 2, 2], [0, 2, 2, 1]]))
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    agreement, inputs = _agreement_of(preds_or_logits, backend, workers)
    return _arrays.in_library(share_of_different(agreement, inputs.n_samples), inputs.library)


def same_wrong_answer(
    preds_or_logits: Array | TopK | Sequence[Array | TopK],  # (M, N, K) floating | (M, N) integer
    target: Array,  # (N,) integer
    *,
    ignore_index: int | None = None,
    backend: str | None = None,
    workers: int | None = None,
) -> Array:
    """Of the samples that both models get wrong, the share with the same answer.

    (agreement - n11) / n00, NaN where n00 = 0; 1 on the diagonal (Kim et al., 2025). Models that
    choose at random among K - 1 wrong classes have 1 / (K - 1).

    Args:
        preds_or_logits: as in :func:`ovcore.pack_errors`. Negative classes are wrong answers as any
            other: two models that both answer -1 give the same.
        target: (N,) integer classes.
        ignore_index: samples whose target is this are dropped for all models.
        backend: as in :func:`ovcore.pack_errors`.
        workers: threads; default: all cores.

    Raises:
        ValueError, TypeError: as :func:`joint_agreement`; a target out of range.

    >>> import numpy as np
    >>> same_wrong_answer(np.array([[0, 1, 2, 2], [1, 1, 2, 1]]), np.zeros(4, int))[0, 1].round(3)
    np.float64(0.667)
    """
    inputs = _inputs.read(preds_or_logits, target, ignore_index=ignore_index)
    errors, classes = pack_with_classes(inputs, backend, workers)
    same = count_agreement(classes, inputs.library, backend, workers)
    counts = JointErrors.from_errors(errors, backend=backend, workers=workers)
    return _arrays.in_library(share_of_same_wrong(same, counts), counts.library)


def capa(
    probs: Array | Sequence[Array],  # (M, N, K) floating | (M, N) integer
    target: Array,  # (N,) integer
    *,
    n_options: int | Array | None = None,  # or (N,) integer
    replace_undefined_by: float = np.nan,
) -> Array:
    """Chance-adjusted probabilistic agreement, kappa_p: (c_obs - c_exp) / (1 - c_exp).

    c_obs is the mean over samples of sum_k p_a(k) p_b(k), the probability of the same answer. With
    pbar a model's mean probability of the target and K_n the options of sample n, c_exp = pbar_a
    pbar_b + (1 - pbar_a)(1 - pbar_b) (1/N) sum_n 1 / (K_n - 1): independent models that spread what
    they do not put on the target evenly. The diagonal is 1 for one-hot probabilities only (Goel et
    al., 2025).

    Args:
        probs: probabilities, (M, N, K) or a sequence of M arrays (N, K), each row with sum 1. Read
            in blocks, in float64. Or predicted classes, (M, N) or a sequence of M arrays (N,),
            which stand for one-hot probabilities.
        target: (N,) integer classes.
        n_options: K_n, at least 2: one number or (N,). The classes from K_n on are no options and
            have probability 0. Default: K; of predicted classes it must be given.
        replace_undefined_by: value where 1 - c_exp = 0: both models certain of every target, or of
            none where K_n = 2 throughout. With the default, NaN, a warning counts such pairs.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`; a row that has NaN or negative values or whose
            sum is not 1 within 0.001 (0.02 in 16-bit floats); fewer than two options; a class that
            is no option.
        TypeError: stored top-k outputs, which lack the probabilities of other classes.

    >>> import numpy as np
    >>> capa(np.array([[[.8, .2], [.5, .5]], [[.6, .4], [1, 0]]]), np.array([0, 0])).round(3)
    array([[ 0.099, -0.146],
           [-0.146,  0.25 ]])
    """
    parts = probs if isinstance(probs, list | tuple) else [probs]
    if any(isinstance(part, TopK) for part in parts):
        raise TypeError("capa needs the probabilities of all classes, got stored top-k outputs")
    for part in parts:
        _arrays.refuse_gpu(part, "probs", "CAPA is computed")
    inputs = _inputs.read(probs, target, name="probs")
    options = _read_options(n_options, inputs)
    if isinstance(inputs, Logits):
        c_obs, of_target = _overlap(inputs, options)
    else:
        c_obs, of_target = _overlap_of_classes(inputs, options)
    chance = (1 / (options - 1)).mean()
    c_exp = np.outer(of_target, of_target) + np.outer(1 - of_target, 1 - of_target) * chance
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.where(c_exp == 1, np.nan, (c_obs - c_exp) / (1 - c_exp))
    replace_undefined(kappa, replace_undefined_by, "CAPA")
    return _arrays.in_library(kappa, inputs.library)


def share_of_different(agreement: NDArray[np.int64], n_samples: int) -> Values:
    """(M, M) label disagreement of counted agreement."""
    return (n_samples - agreement) / n_samples


def share_of_same_wrong(agreement: NDArray[np.int64], counts: JointErrors) -> Values:
    """(M, M) same wrong answers of counted agreement, on the samples of the joint errors."""
    n_wrong = counts.n_wrong()
    n11 = counts.n_samples - n_wrong[:, None] - n_wrong + counts.joint
    with np.errstate(invalid="ignore"):
        return (agreement - n11) / counts.joint


def _agreement_of(
    preds_or_logits: Array | TopK | Sequence[Array | TopK], backend: str | None, workers: int | None
) -> tuple[NDArray[np.int64], Logits | Preds]:
    """(M, M) agreement of what was given, and the checked inputs."""
    inputs = _inputs.read_predictions(preds_or_logits)
    classes = pack_with_classes(inputs, backend, workers)[1]
    return count_agreement(classes, inputs.library, backend, workers), inputs


def pack_with_classes(
    inputs: Logits | Preds, backend: str | None, workers: int | None
) -> tuple[ErrorBits, Sequence[NDArray[np.integer] | DeviceArray]]:
    """Error bits, and what M models predict on the samples that are not ignored."""
    preds = None
    if isinstance(inputs, Logits):
        preds = _arrays.empty((len(inputs.models), inputs.n_samples), "int32", inputs.library)
    errors = pack(inputs, preds=preds, nan_policy=None, backend=backend, workers=workers)
    if isinstance(inputs, Preds):
        return errors, inputs.models
    assert preds is not None
    if inputs.ignored is None:
        return errors, list(preds)
    keep = np.flatnonzero(~inputs.ignored)
    return errors, [_arrays.take(row, keep) for row in preds]


def count_agreement(
    classes: Sequence[NDArray[np.integer] | DeviceArray],
    library: str,
    backend: str | None,
    workers: int | None,
) -> NDArray[np.int64]:
    """(M, M) samples for which the classes (N,) of two of M models are the same."""
    kernel = _dispatch.choose(backend, library).joint_agreement
    threads = _dispatch.count_workers(workers)
    lowest, highest = _arrays.span(classes)
    if highest - lowest >= _MOST_CLASSES or highest > np.iinfo(np.int64).max:
        raise ValueError(
            f"classes must span at most {_MOST_CLASSES:,} values below 2^63, "
            f"got {lowest} to {highest}"
        )
    with _progress.bar("joint agreement") as progress:
        return kernel(classes, lowest, highest, threads, progress)


def _read_options(n_options: int | Array | None, inputs: Logits | Preds) -> NDArray[np.int64]:
    """(N,) options of each sample; at least 2, no more than there are classes."""
    n_samples = inputs.n_samples
    n_classes = inputs.n_classes if isinstance(inputs, Logits) else None
    if n_options is None:
        if n_classes is None:
            raise ValueError("predicted classes need n_options: how many each sample had")
        n_options = n_classes
    given = _arrays.integers(_arrays.adopt(n_options, "n_options"), "n_options")
    if given.shape not in ((), (n_samples,)):
        raise ValueError(
            f"n_options must be an integer or ({n_samples},) integers, one a sample: "
            f"got {given.dtype} {given.shape}"
        )
    options = np.broadcast_to(given.astype(np.int64), (n_samples,))
    outside = options < 2
    if n_classes is not None:
        outside |= options > n_classes
    if outside.any():
        n = int(np.argmax(outside))
        most = "" if n_classes is None else f" and at most the {n_classes} classes of probs"
        raise ValueError(f"capa needs at least 2 options{most}: sample {n} has {options[n]}")
    _refuse_other_classes(inputs.target, options, "target")
    return options


def _refuse_other_classes(
    classes: NDArray[np.integer], options: NDArray[np.int64], name: str
) -> None:
    outside = (classes < 0) | (classes >= options)
    if outside.any():
        n = int(np.argmax(outside))
        raise ValueError(
            f"{name}[{n}] is {classes[n]}, expected one of its options, 0..{options[n] - 1}"
        )


def _overlap_of_classes(inputs: Preds, options: NDArray[np.int64]) -> tuple[Values, Values]:
    """c_obs (M, M), and each model's mean probability of the target (M,), of one-hot rows."""
    for m, classes in enumerate(inputs.models):
        _refuse_other_classes(classes, options, f"probs[{m}]")
    right = [np.count_nonzero(classes == inputs.target) for classes in inputs.models]
    agreement = count_agreement(inputs.models, inputs.library, None, None)
    return agreement / inputs.n_samples, np.array(right) / inputs.n_samples


def _overlap(inputs: Logits, options: NDArray[np.int64]) -> tuple[Values, Values]:
    """c_obs (M, M), and each model's mean probability of the target (M,)."""
    n_models, n_samples, n_classes = len(inputs.models), inputs.n_samples, inputs.n_classes
    overlap, of_target = np.zeros((n_models, n_models)), np.zeros(n_models)
    for rows in _inputs.blocks(n_samples, 8 * n_models * n_classes, _BLOCK_BYTES):
        block = np.stack([
            _probabilities(model, rows, options[rows], m) for m, model in enumerate(inputs.models)
        ])  # fmt: skip
        of_target += block[:, np.arange(block.shape[1]), inputs.target[rows]].sum(axis=1)
        flat = block.reshape(n_models, -1)  # one axis of (sample, class): one matrix product
        overlap += flat @ flat.T
    return overlap / n_samples, of_target / n_samples


def _probabilities(model: Typed, rows: slice, options: NDArray[np.int64], m: int) -> Values:
    """(n, K) float64 of one model on some samples; refuses what is no distribution over options."""
    values = _arrays.widen(model, rows).astype(np.float64)
    tolerance = 0.02 if model.dtype in ("float16", "bfloat16") else 0.001
    sums = values.sum(axis=1)
    past = np.arange(values.shape[1]) >= options[:, None]
    checks = {
        "NaN or negative probabilities": ~(values >= 0).all(axis=1),
        f"probabilities whose sum is not 1 within {tolerance}": ~(abs(sums - 1) <= tolerance),
        "probability on classes past its options": ((values != 0) & past).any(axis=1),
    }
    for problem, bad in checks.items():
        if bad.any():
            n = int(np.argmax(bad))
            raise ValueError(
                f"model {m}, sample {rows.start + n} has {problem} "
                f"(sum {sums[n]:.6g}, {options[n]} options); capa takes probabilities, not logits"
            )
    return values
