"""Counts of the processes of torch.distributed, merged with one collective call.

Each process counts the samples it has. What travels is integers of all pairs of models, and never
logits: 1,000 models take 4 MB a matrix, whatever the number of samples.

    counts = ov.PairCounts.empty(n_models)
    for batch in loader:
        counts += ov.PairCounts.from_outputs(outputs_of(batch), labels_of(batch))
    counts = all_reduce(counts)  # the same on all processes
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from ovcore import JointErrors, PairCounts

__all__ = ["all_reduce"]

Counts = TypeVar("Counts", JointErrors, PairCounts)

_HEADER = 3  # processes whose models lack samples; the number of samples in halves of 32 bits
_MOST_SAMPLES = 1 << 62


def all_reduce(
    counts: Counts,
    *,
    group: dist.ProcessGroup | None = None,
    device: torch.device | str | int | None = None,
    missing: bool = False,
) -> Counts:
    """The counts of all processes together, the same integers on each of them.

    One ``torch.distributed.all_reduce`` of one int64 tensor on the way: M (M + 1) / 2 elements a
    matrix. Processes may have different numbers of samples; one without any passes
    ``PairCounts.empty(M, ...)`` or ``JointErrors.empty(M)``.

    All processes must pass the same kind of counts, of the same number of models, and the same
    ``missing``, as they must call any collective with tensors of one size: where sizes differ the
    backend fails as it does for those (gloo aborts the process, nccl may wait for ever).

    Args:
        counts: of this process. They are not changed.
        group: processes that call this; default: all.
        device: where the tensor lies; default: the current CUDA device where the group's backend is
            nccl, elsewhere the CPU.
        missing: whether models may lack samples (``nan_policy="omit"``), on any process: sends
            M (M + 1) / 2 + M^2 elements more.

    Returns:
        Counts of the same kind. Metrics of them come back in the library of this process's own.

    Raises:
        TypeError: neither joint errors nor counts of pairs. Raised before the others are met.
        ValueError: this process is not in the group (before). On all processes alike, after the
            collective: models lack samples on some process, and ``missing`` is False; more than
            2^62 samples in all.

    >>> import torch, ovcore as ov
    >>> preds, target = torch.tensor([[0, 1, 2, 2], [1, 1, 1, 2]]), torch.tensor([0, 1, 2, 2])
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> all_reduce(ov.PairCounts.from_outputs(preds, target))
    PairCounts(2 models x 4 samples: joint errors, agreement)
    >>> dist.destroy_process_group()
    """
    if not isinstance(counts, JointErrors | PairCounts):
        raise TypeError(f"expected JointErrors or PairCounts, got {type(counts).__name__}")
    if dist.get_rank(group) < 0:
        raise ValueError("this process is not in the group: only its members call all_reduce")
    pairs = counts if isinstance(counts, PairCounts) else PairCounts(counts)
    kinds = {"agreement": pairs.agreement is not None, "ensembles": pairs.conversions is not None}
    lacking = pairs.errors.shared is not None and not missing
    # a process that raised here would leave the others waiting: it sends zeros, and says so
    sent = PairCounts.empty(pairs.n_models, **kinds) if lacking else pairs
    high, low = divmod(pairs.n_samples, 1 << 32)
    header = np.array([lacking, high, low], np.int64)
    flat = np.concatenate([header, sent.to_vector(missing=missing)])
    total = _sum(flat, group, device)

    n_lacking, high, low = map(int, total[:_HEADER])
    if n_lacking:
        raise ValueError(
            f"models lack samples on {n_lacking} of {dist.get_world_size(group)} processes: pass "
            "missing=True on all of them"
        )
    n_samples = (high << 32) + low  # sums of int64 may have wrapped; those of halves cannot
    if n_samples > _MOST_SAMPLES:
        raise ValueError(f"counts of at most 2^62 samples can be merged, got {n_samples} in all")
    merged = PairCounts.from_vector(total[_HEADER:], pairs.n_models, **kinds, missing=missing)
    merged.errors.library = pairs.errors.library
    return merged if isinstance(counts, PairCounts) else merged.errors


def _sum(
    flat: NDArray[np.int64],
    group: dist.ProcessGroup | None,
    device: torch.device | str | int | None,
) -> NDArray[np.int64]:
    if device is None and dist.get_backend(group) == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    tensor = torch.from_numpy(flat).to("cpu" if device is None else device)
    dist.all_reduce(tensor, dist.ReduceOp.SUM, group=group)
    total: NDArray[np.int64] = tensor.cpu().numpy()
    return total
