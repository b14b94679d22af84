"""Counts merged by real processes, equal to those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

import counting_ranks
import ovcore as ov
from conftest import DATA
from ovcore.adapters.torch_distributed import all_reduce


def torchrun(n_ranks: int, script: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", str(n_ranks), str(script), *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module", params=[2, 3])
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder that so many processes wrote, and what each of them said."""
    out = tmp_path_factory.mktemp("ranks")
    real = [DATA] if DATA.is_dir() else []
    outcome = torchrun(request.param, Path(counting_ranks.__file__), out, *real)
    assert outcome.returncode == 0, outcome.stderr
    said = [json.loads((out / f"said_{r}.json").read_text()) for r in range(request.param)]
    return out, said


def of_all(ranks: Any, case: str, kind: Any = ov.PairCounts) -> list[Any]:
    """What each process has after one collective."""
    out, said = ranks
    assert [words[case] for words in said] == [["all_reduce"]] * len(said)
    return [kind.load(out / f"{case}_{rank}.npz") for rank in range(len(said))]


def test_uneven_shards_give_the_counts_of_one_process(ranks: Any) -> None:
    whole = counting_ranks.counts_of(*counting_ranks.samples())
    assert whole.n_samples == 100
    for counts in of_all(ranks, "pairs"):
        assert counts == whole
    for counts in of_all(ranks, "errors", ov.JointErrors):
        assert counts == whole.errors


def test_results_are_in_the_library_of_each_process(ranks: Any) -> None:
    found = [words["library"] for words in ranks[1]]
    empty = {2: [], 3: ["ndarray"]}[len(found)]
    assert found == ["Tensor", *empty, "Tensor"]


def test_no_samples_at_all(ranks: Any) -> None:
    for counts in of_all(ranks, "empty"):
        assert counts == ov.PairCounts.empty(3, agreement=False)


def test_models_that_lack_samples_on_one_process(ranks: Any) -> None:
    whole = counting_ranks.errors_of(*counting_ranks.lacking_samples())
    assert whole.shared is not None
    for counts in of_all(ranks, "lacking", ov.JointErrors):
        assert counts == whole
    for counts in of_all(ranks, "lacking_pairs"):
        assert counts == ov.PairCounts(whole)
    for counts in of_all(ranks, "none_lacks"):
        assert counts == counting_ranks.counts_of(*counting_ranks.samples())


def test_all_processes_raise_for_what_one_has(ranks: Any) -> None:
    _, said = ranks
    assert [words["lacks"] for words in said] == [True] + [False] * (len(said) - 1)
    message = (
        f"ValueError: models lack samples on 1 of {len(said)} processes: pass missing=True on all "
        "of them"
    )
    assert [words["refused"] for words in said] == [["all_reduce", message]] * len(said)


def test_more_samples_than_can_be_counted(ranks: Any) -> None:
    _, said = ranks
    message = (
        f"ValueError: counts of at most 2^62 samples can be merged, got {len(said) * 2**62} in all"
    )
    assert [words["too_many"] for words in said] == [["all_reduce", message]] * len(said)
    for counts in of_all(ranks, "most", ov.JointErrors):
        assert counts.n_samples == 2**62


def test_processes_of_a_group(ranks: Any) -> None:
    out, said = ranks
    whole = counting_ranks.counts_of(*counting_ranks.samples())  # who is left out has no sample
    for rank in (0, len(said) - 1):
        assert said[rank]["group"] == ["all_reduce"]
        assert ov.PairCounts.load(out / f"group_{rank}.npz") == whole
    for words in said[1:-1]:
        [message] = words["group"]
        assert message.startswith("ValueError: this process is not in the group")


@pytest.mark.parametrize(("case", "n_models"), [("top5", 23), ("v2", 44)])
def test_real_models_in_shards(ranks: Any, case: str, n_models: int) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real predictions at {DATA}")
    outputs, target = counting_ranks.real_samples(DATA, case)
    whole = counting_ranks.real_counts(outputs, target)
    assert whole.n_models == n_models
    errors = ov.JointErrors.from_errors(ov.pack_errors(outputs, target))
    agreement = ov.pairwise.joint_agreement(outputs)
    for counts in of_all(ranks, case):
        assert counts == whole
        assert counts.errors == errors
        assert np.array_equal(counts.agreement, agreement)


@pytest.fixture
def alone() -> Any:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_what_is_no_count_is_refused() -> None:
    errors = ov.pack_errors(np.zeros((2, 3), int), np.zeros(3, int))
    with pytest.raises(TypeError, match="expected JointErrors or PairCounts, got ErrorBits"):
        all_reduce(errors)  # type: ignore[type-var]


@pytest.mark.usefixtures("alone")
def test_the_counts_passed_are_not_changed() -> None:
    mine = counting_ranks.counts_of(*counting_ranks.samples())
    total = all_reduce(mine, device="cpu")
    total.errors.joint[:] = 0
    total.agreement[:] = 0
    assert mine == counting_ranks.counts_of(*counting_ranks.samples())


@pytest.mark.gpu
def test_tensors_lie_on_the_gpu_where_the_backend_wants_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU for nccl")
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)
    places = []
    real = dist.all_reduce

    def watch(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
        places.append(tensor.device)
        return real(tensor, *args, **options)

    monkeypatch.setattr(dist, "all_reduce", watch)
    try:
        whole = counting_ranks.counts_of(*counting_ranks.samples())
        assert all_reduce(whole) == whole
    finally:
        dist.destroy_process_group()
    assert places == [torch.device("cuda", torch.cuda.current_device())]
