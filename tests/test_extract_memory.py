"""Batches that do not fit in memory are run in smaller pieces."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from extract_models import LimitedMemory, loader, mlp, own_logits
from ovcore.extract import Extraction, extract_to_store
from ovcore.extract.memory import Halving, is_out_of_memory
from ovcore.store import ModelCard

ON_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 900000000000 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    "error", [None, ON_CPU, MemoryError("no more")], ids=["GPU", "CPU", "Python"]
)
def test_a_batch_is_halved_until_it_fits(error: Exception | None, tmp_path: Path) -> None:
    module = LimitedMemory(mlp(), 3, error)
    other = mlp(1)
    models = [Extraction(ModelCard("a"), module), Extraction(ModelCard("b"), other)]
    with pytest.warns(RuntimeWarning, match="8 samples of 'a' do not fit in memory: .* 4") as seen:
        store = extract_to_store(tmp_path / "store", loader(19, 8), models)
    assert len(seen) == 1
    # the layer is found on two samples; 8 and then 4 fail; 2 fit from then on
    assert module.sizes == [2, 2] + [2] * 8 + [2, 1]
    want = own_logits(mlp(), loader(19, 8)).numpy()
    np.testing.assert_allclose(store.logits("a"), want, rtol=1e-5)
    np.testing.assert_array_equal(store.logits("b"), own_logits(other, loader(19, 8)).numpy())
    assert store.features("a").shape == (19, 7)


def test_one_sample_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    models = [Extraction(ModelCard("a"), LimitedMemory(mlp(), 0))]
    with (
        pytest.warns(RuntimeWarning, match="2 samples of 'a'"),
        pytest.raises(MemoryError, match="one sample of 'a' does not fit in memory: CUDA out of"),
    ):
        extract_to_store(tmp_path / "store", loader(), models)
    assert list(tmp_path.iterdir()) == []


def test_torchs_own_allocator_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def test_other_errors_are_not_lack_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator"))


@pytest.mark.parametrize("count", [1, 2, 5, 7, 8])
def test_pieces_cover_all_samples_in_order(count: int) -> None:
    def work(rows: slice) -> list[int]:
        if rows.stop - rows.start > 2:
            raise MemoryError
        return list(range(rows.start, rows.stop))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Halving("a").run(count, work)
    assert [n for piece in found for n in piece] == list(range(count))
