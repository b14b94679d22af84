"""The jobs: the data that every contestant is given, and what its answer must be.

Data and answers are made by a process of their own and lie in .npy files that contestants map.
Answers come from plain numpy. As a program, ``jobs.py FOLDER JOB CASES`` makes one job's files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from cases import Case, WrongAnswerError, read_cases, refuse_if
from feature_jobs import Covariance
from logit_jobs import Greedy, PairEnsembles, Temperature
from ovcore import _bits
from probe_jobs import LinearProbes

CHECKED_MODELS = 1_008  # all pairs of so many models are checked, and a sample of those beyond
SAMPLED_PAIRS = 2_000


class Job(Protocol):
    """Makes data, loads them for a contestant, and judges its answer."""

    def make(self, folder: Path, cases: list[Case]) -> None: ...

    def load(self, folder: Path, case: Case) -> Any: ...

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> str | None:
        """Raises WrongAnswerError, or says how right it is; ``case`` is what was to be done."""

    def amount(self, case: Case) -> float: ...


class JointErrors:
    """popcount(wrong_i & wrong_j) of all pairs; a quarter of the bits are set."""

    def make(self, folder: Path, cases: list[Case]) -> None:
        for samples in {case.samples for case in cases}:
            rng = np.random.default_rng(samples)
            words = _bits.empty(max(c.models for c in cases if c.samples == samples), samples)
            for row in words:  # bits as they are packed: a byte a sample would not fit in memory
                one, other = rng.integers(0, 1 << 64, (2, len(row)), np.uint64)
                row[:] = one & other
            words &= _bits.full(1, samples, words.shape[1])
            np.save(folder / f"errors_{samples}.npy", words)
            np.save(folder / f"wrong_{samples}.npy", [count_bits(row) for row in words])
            checked = words[:CHECKED_MODELS]
            np.save(folder / f"joint_{samples}.npy", [count_bits(row & checked) for row in checked])

    def load(self, folder: Path, case: Case) -> tuple[np.ndarray, int]:
        """(M, W) words as ovcore packs them, aligned, each row padded to 128 bytes; and N."""
        words = _bits.empty(case.models, case.samples)
        words[:] = np.load(folder / f"errors_{case.samples}.npy", mmap_mode="r")[: case.models]
        return words, case.samples

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> None:
        words = np.load(folder / f"errors_{case.samples}.npy", mmap_mode="r")
        wrong = np.load(folder / f"wrong_{case.samples}.npy")
        joint = np.load(folder / f"joint_{case.samples}.npy")

        def count(i: int, j: int) -> np.int64:
            return count_bits(words[i] & words[j])

        check_pairs(answer, contestant, joint, wrong, count, case)

    def amount(self, case: Case) -> float:
        """Pairs of bits."""
        return case.pairs() * case.samples


class PackErrors:
    """Where the arg max of a row of logits, the lowest class on ties, is not the target."""

    def make(self, folder: Path, cases: list[Case]) -> None:
        samples, classes = cases[0].samples, cases[0].classes
        rng = np.random.default_rng(0)
        logits = rng.standard_normal((samples, classes), np.float32)
        target = logits.argmax(axis=1)
        target[::4] = rng.integers(0, classes, len(target[::4]))
        np.save(folder / "target.npy", target)
        for dtype in {case.dtype for case in cases}:
            values = logits.astype(dtype)
            np.save(folder / f"logits_{dtype}.npy", values.view(np.uint8))
            wrong = values.astype(np.float32).argmax(axis=1) != target
            np.save(folder / f"wrong_{dtype}.npy", wrong)

    def load(self, folder: Path, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """(N, K) logits and (N,) targets, in memory: reading a file is not the job."""
        values = np.array(np.load(folder / f"logits_{case.dtype}.npy", mmap_mode="r"))
        dtype = getattr(ml_dtypes, case.dtype, case.dtype)
        return values.view(dtype), np.load(folder / "target.npy")

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> None:
        wrong = np.load(folder / f"wrong_{case.dtype}.npy")
        found = contestant.form(answer) if contestant.form else np.asarray(answer)
        refuse_if(found != wrong, "samples")

    def amount(self, case: Case) -> float:
        """Bytes of logits."""
        return case.logits_bytes()


class JointAgreement:
    """Samples with the same predicted class, of all pairs.

    Three quarters of the predictions are right; half of the others are the class that the sample
    is easily taken for.
    """

    def make(self, folder: Path, cases: list[Case]) -> None:
        largest = max(cases)
        n, k = largest.samples, largest.classes
        rng = np.random.default_rng(0)
        target, rival = rng.integers(0, k, (2, n), np.int16)
        preds = np.empty((largest.models, n), np.int16)
        for row in preds:
            chance = rng.random(n, np.float32)
            other = rng.integers(0, k, n, np.int16)
            row[:] = np.where(chance < 0.75, target, np.where(chance < 0.875, rival, other))
        np.save(folder / "preds.npy", preds)
        agreement = np.zeros((len(preds), len(preds)), np.int64)
        for i, row in enumerate(preds):
            agreement[i, i:] = np.count_nonzero(preds[i:] == row, axis=1)
        np.save(folder / "agreement.npy", np.maximum(agreement, agreement.T))

    def load(self, folder: Path, case: Case) -> np.ndarray:
        """(M, N) int16 classes."""
        return np.array(np.load(folder / "preds.npy", mmap_mode="r")[: case.models])

    def check(self, answer: Any, contestant: Any, folder: Path, case: Case) -> None:
        agreement = np.load(folder / "agreement.npy")
        check_pairs(answer, contestant, agreement, agreement.diagonal(), None, case)

    def amount(self, case: Case) -> float:
        """Pairs of predictions."""
        return case.pairs() * case.samples


def count_bits(words: np.ndarray) -> Any:
    return np.bitwise_count(words).sum(axis=-1, dtype=np.int64)


def check_pairs(
    answer: Any,
    contestant: Any,
    expected: np.ndarray,
    own: np.ndarray,
    count: Callable[[int, int], np.int64] | None,
    case: Case,
) -> None:
    """Compares an (M, M) answer with the known counts of the first models, and some beyond them.

    ``own`` (M,) is each model's count with itself, from which other forms of answers are brought to
    counts; ``count`` counts a pair beyond those known.
    """
    found = np.asarray(answer)
    m = case.models
    if found.shape != (m, m):
        raise WrongAnswerError(f"wrong: an answer of shape {found.shape}, expected {(m, m)}")
    rows, cols = np.triu_indices(min(m, len(expected)))
    counts = expected[rows, cols]
    if m > len(expected) and count is not None:
        i, j = np.sort(np.random.default_rng(m).integers(0, m, (SAMPLED_PAIRS, 2)), axis=1).T
        rows, cols = np.append(rows, i), np.append(cols, j)
        counts = np.append(counts, [count(*pair) for pair in zip(i, j, strict=True)])
    for i, j in [(rows, cols)] if contestant.upper else [(rows, cols), (cols, rows)]:
        values = found[i, j]
        if contestant.form:
            values = contestant.form(values, own[i], own[j], case.samples)
        refuse_if(values != counts, "pairs")


JOBS: dict[str, Job] = {
    "joint errors": JointErrors(),
    "pack errors": PackErrors(),
    "joint agreement": JointAgreement(),
    "pair ensembles": PairEnsembles(),
    "temperature": Temperature(),
    "greedy selection": Greedy(),
    "covariance": Covariance(),
    "linear probe": LinearProbes(1e-2, 1e-2),
    "probe path": LinearProbes(1e-4, 1e-1),
    "small probes": LinearProbes(1e-1, 1e-1, share=0.5),
}


if __name__ == "__main__":
    JOBS[sys.argv[2]].make(Path(sys.argv[1]), read_cases(sys.argv[3]))
