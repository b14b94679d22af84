"""Samples with the same predicted class, of all pairs of models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from peers import forms
from peers.contestant import Call, Contestant


def ovcore_joint_agreement(backend: str) -> Callable[[np.ndarray, int], Call]:
    def prepare(preds: np.ndarray, threads: int) -> Call:
        from ovcore import _dispatch

        kernel = _dispatch.choose(backend).joint_agreement
        models, lowest, highest = list(preds), int(preds.min()), int(preds.max())
        return lambda: kernel(models, lowest, highest, threads, None)

    return prepare


def numpy_equal(preds: np.ndarray, _: int) -> Call:
    return lambda: np.array([(preds == row).sum(axis=1) for row in preds])


def numpy_equal_upper(preds: np.ndarray, _: int) -> Call:
    def call() -> np.ndarray:
        agreement = np.zeros((len(preds), len(preds)), np.int64)
        for i, row in enumerate(preds):
            agreement[i, i:] = (preds[i:] == row).sum(axis=1)
        return agreement

    return call


def torch_equal(preds: np.ndarray, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    classes = torch.from_numpy(preds)
    # int32 sums: the int64 sums that torch takes by default cost twice the time
    return lambda: torch.stack([(classes == row).sum(dim=1, dtype=torch.int32) for row in classes])


def torch_pdist(preds: np.ndarray, threads: int) -> Call:
    """The zeroth norm of a difference counts where two differ; exact below 2^24 samples."""
    import torch

    torch.set_num_threads(threads)
    classes = torch.from_numpy(preds.astype(np.float32))
    return lambda: forms.square(torch.pdist(classes, p=0.0).numpy(), len(classes))


def scipy_pdist(preds: np.ndarray, _: int) -> Call:
    from scipy.spatial.distance import pdist

    classes = preds.astype(np.float64)  # what scipy would convert to in each call
    return lambda: forms.square(pdist(classes, "hamming"), len(classes))


JOINT_AGREEMENT = [
    Contestant("ovcore native", ovcore_joint_agreement("native")),
    Contestant("ovcore native, AVX2", ovcore_joint_agreement("native"), env={"OVCORE_ISA": "avx2"}),
    Contestant("ovcore numba", ovcore_joint_agreement("numba")),
    Contestant("numpy equal by row", numpy_equal, one_thread=True, only={"models": 84}),
    Contestant(
        "numpy equal by row, upper half",
        numpy_equal_upper,
        upper=True,
        one_thread=True,
        only={"models": 84},
    ),
    Contestant("torch equal by row", torch_equal, only={"models": 84}),
    Contestant(
        "torch.pdist p = 0", torch_pdist, forms.same_from_distance, upper=True, only={"models": 84}
    ),
    Contestant(
        "scipy pdist hamming",
        scipy_pdist,
        forms.same_from_share,
        upper=True,
        one_thread=True,
        only={"models": 84},
    ),
]
