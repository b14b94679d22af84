"""Fewer samples at a time where a batch does not fit in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

_CUDA = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)
_SAYINGS = ("DefaultCPUAllocator", "alloc_cpu", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on the CPU torch has no class for it."""
    if isinstance(error, _CUDA | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _SAYINGS)


class Halving:
    """Runs samples in pieces, the largest that were seen to fit.

    Attributes:
        limit: samples that are run at a time from now on; None while all fitted.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_warned = False
        self.limit: int | None = None

    def run(self, n_samples: int, work: Callable[[slice], Result]) -> list[Result]:
        """``work`` on all samples, in order, in one piece or more.

        Raises:
            MemoryError: one sample alone does not fit.
        """
        results: list[Result] = []
        done = 0
        while done < n_samples:
            size = min(self.limit or n_samples, n_samples - done)
            try:
                results.append(work(slice(done, done + size)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            else:
                done += size
                continue
            # Out of the handler: the error's frames hold what did not leave room.
            self._lower(size, reason)
        return results

    def _lower(self, size: int, reason: str) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise MemoryError(f"one sample of {self._name!r} does not fit in memory: {reason}")
        self.limit = (size + 1) // 2
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{size} samples of {self._name!r} do not fit in memory: going on with at most "
                f"{self.limit} at a time, or fewer",
                RuntimeWarning,
                stacklevel=2,
            )
