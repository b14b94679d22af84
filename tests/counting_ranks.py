"""One of several processes of torch.distributed; its results are files, one a case and rank.

    torchrun --nproc_per_node 2 counting_ranks.py OUT [DATA]

Also read by the test, for the samples and what one process counts of them.
"""

from __future__ import annotations

import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

import ovcore as ov
from ovcore.adapters.torch_distributed import all_reduce

COLLECTIVES = (
    "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all",
    "all_to_all_single", "barrier", "batch_isend_irecv", "broadcast", "broadcast_object_list",
    "gather", "gather_object", "irecv", "isend", "monitored_barrier", "recv", "recv_object_list",
    "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
    "send_object_list",
)  # fmt: skip
"""Everything by which processes talk to each other."""


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 4 models on 100 samples, and the target."""
    rng = np.random.default_rng(5)
    target = rng.integers(0, 5, 100)
    logits = rng.normal(size=(4, 100, 5)) + np.eye(5)[target]
    return logits.astype(np.float32), target


def lacking_samples() -> tuple[np.ndarray, np.ndarray]:
    """The same, but models 1 and 2 lack some of the first 40 samples."""
    logits, target = samples()
    logits[1, 3:30:3] = np.nan
    logits[2, 20:40] = np.nan
    return logits, target


def shards(n_samples: int, n_ranks: int) -> list[slice]:
    """Uneven, the last but one empty where there are three: 70 and 30, or 70, 0 and 30 of 100."""
    cut = n_samples * 7 // 10
    middle = [slice(cut, cut)] * (n_ranks - 2)
    return [slice(0, cut), *middle, slice(cut, n_samples)]


def counts_of(logits: Any, target: Any, part: slice = slice(None)) -> ov.PairCounts:
    """All that is counted."""
    return ov.PairCounts.from_outputs(
        logits[:, part], target[part], temperature=[1.0, 2.0, 0.5, 1.0], combine="prob"
    )


def errors_of(logits: Any, target: Any, part: slice = slice(None)) -> ov.JointErrors:
    """Joint errors of models that lack samples."""
    counts = ov.PairCounts.from_outputs(
        logits[:, part], target[part], agreement=False, nan_policy="omit"
    )
    return counts.errors


def real_samples(data: str | Path, case: str) -> tuple[Any, np.ndarray]:
    """What 23 models predict on ImageNet (top 5), or 44 on ImageNet V2; and the target."""
    if case == "top5":
        with np.load(Path(data) / "imagenet_top5_dev.npz", allow_pickle=False) as found:
            return ov.TopK(found["preds"], found["probs"], 1000), found["labels"]
    with np.load(Path(data) / "imagenet_val_v2_top1_dev.npz", allow_pickle=False) as found:
        return found["v2_matchedfreq_preds"], found["v2_matchedfreq_labels"]


def real_counts(outputs: Any, target: np.ndarray, part: slice = slice(None)) -> ov.PairCounts:
    """Errors and agreement of these models."""
    if isinstance(outputs, ov.TopK):
        models: Any = [outputs[m][part] for m in range(outputs.shape[0])]
    else:
        models = outputs[:, part]
    return ov.PairCounts.from_outputs(models, target[part])


def watched(called: list[str]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each collective, noting that it is called."""
    for name in COLLECTIVES:
        yield name, functools.partial(_call, called, name, getattr(dist, name))


def _call(
    called: list[str], name: str, real: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    called.append(name)
    return real(*args, **options)


def main(out: Path, data: str | None) -> None:
    """All cases in turn."""
    dist.init_process_group("gloo")
    rank, n_ranks = dist.get_rank(), dist.get_world_size()
    part = shards(100, n_ranks)[rank]
    called: list[str] = []
    for name, call in list(watched(called)):
        setattr(dist, name, call)
    said: dict[str, Any] = {}

    def reduce(case: str, counts: Any, **options: Any) -> Any:
        called.clear()
        try:
            total = all_reduce(counts, **options)
        except (TypeError, ValueError) as error:
            said[case] = [*called, f"{type(error).__name__}: {error}"]
            return None
        said[case] = list(called)
        total.save(out / f"{case}_{rank}.npz")
        return total

    logits, target = samples()
    mine = counts_of(torch.from_numpy(logits), torch.from_numpy(target), part)
    total = reduce("pairs", mine)
    said["library"] = type(total.label_disagreement()).__name__
    reduce("errors", mine.errors)
    reduce("empty", ov.PairCounts.empty(3, agreement=False))

    mine = errors_of(*lacking_samples(), part)
    said["lacks"] = mine.shared is not None
    reduce("refused", mine)  # only the first process has a reason to raise
    reduce("lacking", mine, missing=True)
    reduce("lacking_pairs", ov.PairCounts(mine), missing=True)
    reduce("none_lacks", counts_of(logits, target, part), missing=True)

    most = ov.JointErrors(np.zeros((2, 2), np.int64), 1 << 62)
    reduce("too_many", most)
    reduce("most", most if rank == 0 else ov.JointErrors.empty(2))

    group = dist.new_group([0, n_ranks - 1])
    reduce("group", counts_of(logits, target, part), group=group)
    for case in ("top5", "v2") if data else ():
        outputs, target = real_samples(data, case)
        reduce(case, real_counts(outputs, target, shards(len(target), n_ranks)[rank]))
    (out / f"said_{rank}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
