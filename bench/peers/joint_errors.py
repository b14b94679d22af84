"""Joint errors of all pairs of models, from error bits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from peers import forms
from peers.contestant import Call, Contestant

Errors = tuple[np.ndarray, int]  # (M, W) words, N


def ovcore_joint_errors(backend: str) -> Callable[[Errors, int], Call]:
    def prepare(data: Errors, threads: int) -> Call:
        from ovcore import _dispatch

        kernel = _dispatch.choose(backend).joint_errors
        return lambda: kernel(data[0], threads, None)

    return prepare


def as_truth_values(data: Errors, dtype: Any = np.uint8) -> np.ndarray:
    """(M, N) zeros and ones."""
    words, samples = data
    bits = np.unpackbits(words.view(np.uint8), axis=1, count=samples, bitorder="little")
    return bits.view(dtype) if np.dtype(dtype).itemsize == 1 else bits.astype(dtype)


def numpy_product(data: Errors, _: int) -> Call:
    wrong = as_truth_values(data, np.float32)  # counts are exact below 2^24 samples
    return lambda: wrong @ wrong.T


def numpy_bitwise_count(data: Errors, _: int) -> Call:
    words = data[0]

    def call() -> np.ndarray:
        joint = np.zeros((len(words), len(words)), np.uint32)
        for i, row in enumerate(words):
            joint[i, i:] = np.bitwise_count(row & words[i:]).sum(axis=1, dtype=np.uint32)
        return joint

    return call


def torch_int8_product(data: Errors, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    wrong = torch.from_numpy(as_truth_values(data, np.int8))
    return lambda: torch._int_mm(wrong, wrong.T)


def numkong_dots(data: Errors, threads: int) -> Call:
    """Its own symmetric product of bits; rows are split so that threads get equal triangles."""
    import numkong

    rows = data[0].view(np.uint8)
    if threads == 1 or len(rows) * rows.size < 3e7:  # 0.1 ms of work, what a pool costs to wake
        return lambda: numkong.dots_symmetric(rows, dtype="uint1")
    m = len(rows)
    ends = [round(m * (1 - (1 - t / threads) ** 0.5)) for t in range(threads + 1)]
    pool = ThreadPoolExecutor(threads)

    def call() -> Any:
        out = numkong.empty((m, m), dtype="uint32")

        def part(t: int) -> None:
            numkong.dots_symmetric(
                rows, dtype="uint1", out=out, start_row=ends[t], end_row=ends[t + 1]
            )

        list(pool.map(part, range(threads)))
        return out

    return call


def simsimd_cdist(data: Errors, threads: int) -> Call:
    import simsimd

    rows = data[0].view(np.uint8)
    kind = {"metric": "hamming", "dtype": "bin8", "out_dtype": "int32"}
    return lambda: simsimd.cdist(rows, rows, threads=threads, **kind)


def faiss_hammings(data: Errors, _: int) -> Call:
    import faiss

    rows = data[0].view(np.uint8)
    m, width = rows.shape

    def call() -> np.ndarray:
        distance = np.empty((m, m), np.int32)
        of_rows = faiss.swig_ptr(rows)
        faiss.hammings(of_rows, of_rows, m, m, width, faiss.swig_ptr(distance))
        return distance

    return call


def faiss_search(data: Errors, threads: int) -> Call:
    import faiss

    faiss.omp_set_num_threads(threads)
    rows = data[0].view(np.uint8)
    index = faiss.IndexBinaryFlat(rows.shape[1] * 8)
    index.add(rows)

    def call() -> np.ndarray:
        sorted_distance, at = index.search(rows, len(rows))
        distance = np.empty_like(sorted_distance)
        np.put_along_axis(distance, at, sorted_distance, axis=1)
        return distance

    return call


def scipy_pdist(data: Errors, _: int) -> Call:
    from scipy.spatial.distance import pdist

    wrong = as_truth_values(data, np.bool_)
    return lambda: forms.square(pdist(wrong, "hamming"), len(wrong))


def sklearn_distances(data: Errors, threads: int) -> Call:
    from sklearn.metrics import pairwise_distances

    wrong = as_truth_values(data, np.bool_)
    return lambda: pairwise_distances(wrong, metric="hamming", n_jobs=threads)


def per_pair(metric: Callable[[Any, Any], Any], wrong: Any) -> Call:
    """A loop over pairs, as notebooks have it."""
    m = len(wrong)

    def call() -> np.ndarray:
        values = np.zeros((m, m))
        for i in range(m):
            for j in range(i, m):
                values[i, j] = metric(wrong[i], wrong[j])
        return values

    return call


def numpy_per_pair(data: Errors, _: int) -> Call:
    return per_pair(lambda a, b: (a & b).sum(), as_truth_values(data, np.bool_))


def sklearn_kappa(data: Errors, _: int) -> Call:
    from sklearn.metrics import cohen_kappa_score

    return per_pair(cohen_kappa_score, as_truth_values(data))


def torchmetrics_kappa(data: Errors, threads: int) -> Call:
    import torch
    from torchmetrics.functional.classification import binary_cohen_kappa

    torch.set_num_threads(threads)
    wrong = torch.from_numpy(as_truth_values(data))
    return per_pair(lambda a, b: binary_cohen_kappa(a, b, validate_args=False), wrong)


JOINT_ERRORS = [
    Contestant("ovcore native", ovcore_joint_errors("native"), grows=0.25),
    Contestant("ovcore native, AVX2", ovcore_joint_errors("native"), env={"OVCORE_ISA": "avx2"}),
    Contestant(
        "ovcore native, baseline", ovcore_joint_errors("native"), env={"OVCORE_ISA": "baseline"}
    ),
    Contestant("ovcore numba", ovcore_joint_errors("numba"), grows=0.25),
    Contestant("numpy float32 product", numpy_product, grows=5),
    Contestant("numpy bitwise_count by row", numpy_bitwise_count, upper=True, one_thread=True),
    Contestant("torch._int_mm int8", torch_int8_product, grows=1.25),
    Contestant("numkong dots_symmetric uint1", numkong_dots, upper=True, grows=0.25),
    Contestant("simsimd cdist hamming", simsimd_cdist, forms.joint_from_distance, grows=0.25),
    Contestant("faiss hammings", faiss_hammings, forms.joint_from_distance, one_thread=True),
    Contestant("faiss IndexBinaryFlat, k = M", faiss_search, forms.joint_from_distance),
    Contestant(
        "scipy pdist hamming",
        scipy_pdist,
        forms.joint_from_share,
        upper=True,
        one_thread=True,
        only={"models": 60},
    ),
    Contestant(
        "scikit-learn pairwise_distances hamming",
        sklearn_distances,
        forms.joint_from_share,
        only={"models": 60},
    ),
    Contestant(
        "scikit-learn cohen_kappa_score per pair",
        sklearn_kappa,
        forms.joint_from_kappa,
        upper=True,
        one_thread=True,
        only={"models": 6},
    ),
    Contestant(
        "torchmetrics binary_cohen_kappa per pair",
        torchmetrics_kappa,
        forms.joint_from_kappa,
        upper=True,
        only={"models": 6},
    ),
    Contestant(
        "Python loop, numpy sum per pair",
        numpy_per_pair,
        upper=True,
        one_thread=True,
        only={"models": 20},
    ),
]
