"""An extraction that was killed goes on where it was, and its store is the same byte for byte."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn
from torch.utils.data import DataLoader

from extract_models import LimitedMemory, Numbered, loader, mlp, own_logits
from ovcore.extract import ClassMapped, Extraction, extract_to_store, parts
from ovcore.extract.parts import Parts
from ovcore.store import ModelCard, StoreError, StoreWriter

KILLED = """
import os, signal, sys
from torch.utils.data import DataLoader
from extract_models import Numbered, mlp
from ovcore.extract import Extraction, extract_to_store, parts
from ovcore.store import ModelCard

class Deadly(Numbered):
    def __getitem__(self, index):
        if index == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)

parts.FLUSH_BYTES = int(sys.argv[3])
models = [Extraction(ModelCard(name), mlp(seed)) for seed, name in enumerate("ab")]
extract_to_store(sys.argv[1], DataLoader(Deadly(30), 4), models)
"""


@pytest.fixture(autouse=True)
def _a_part_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FLUSH_BYTES", 1)


def models(*seeds: int) -> list[Extraction]:
    return [Extraction(ModelCard("ab"[seed]), mlp(seed)) for seed in seeds or (0, 1)]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def broken_off(path: Path, after: int, given: list[Extraction] | None = None) -> None:
    """Leaves an extraction with that many batches done."""

    def batches() -> Iterator[Any]:
        for n, batch in enumerate(loader()):
            if n == after:
                raise InterruptedError("stop here")
            yield batch

    class Breaking(DataLoader[Any]):
        def __iter__(self) -> Any:
            return batches()

    with pytest.raises(InterruptedError, match="stop here"):
        extract_to_store(path, Breaking(Numbered(), batch_size=4), given or models())


@pytest.mark.parametrize(
    ("at", "flush_bytes", "done"),
    [(2, 1, 0), (13, 1, 3), (29, 1, 7), (29, 500, 6)],
    ids=["first batch", "middle", "last batch", "larger parts"],
)
def test_killed_and_resumed_it_is_the_same_store(
    at: int, flush_bytes: int, done: int, tmp_path: Path
) -> None:
    path = tmp_path / "store"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(at), str(flush_bytes)],
        cwd=Path(__file__).parent,
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not path.exists()
    data, runs = Numbered(30), []
    resumed = models()
    resumed[1].module.register_forward_hook(lambda _, args, __: runs.append(len(args[0])))
    extract_to_store(path, DataLoader(data, 4), resumed)
    extract_to_store(tmp_path / "whole", DataLoader(Numbered(30), 4), models())
    assert contents(path) == contents(tmp_path / "whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store", "whole"]
    first = list(range(4)) if done else []
    assert data.loaded == first + list(range(4 * done, 30))  # of what was done the first alone
    sizes = [4] * 7 + [2]
    assert runs == [2, 2, *sizes[done:]]  # two runs of two samples find the layer


def test_all_batches_done_but_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "add_blocks", full)
        with pytest.raises(OSError, match="No space left"):
            extract_to_store(tmp_path / "store", loader(), models())
    data = Numbered()
    extract_to_store(tmp_path / "store", DataLoader(data, 4), models())
    assert data.loaded == [0, 1, 2, 3]
    extract_to_store(tmp_path / "whole", loader(), models())
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["list", "iterator", "single samples"])
def test_other_loaders_pass_over_what_is_done(kind: str, tmp_path: Path) -> None:
    batches = list(loader())

    def given() -> Any:
        if kind == "single samples":  # the dataset makes the batches
            return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        return batches if kind == "list" else iter(batches)

    def fail(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        if len(args[0]) == 3:
            raise InterruptedError("stop here")

    module, runs = mlp(), []
    failing = module.register_forward_pre_hook(fail)
    with pytest.raises(InterruptedError):
        extract_to_store(tmp_path / "store", given(), {"a": module})
    failing.remove()
    assert len(list((tmp_path / ".store.extracting").glob("part-*"))) == 2
    module.register_forward_hook(lambda _, args, __: runs.append(len(args[0])))
    store = extract_to_store(tmp_path / "store", given(), {"a": module})
    assert runs == [2, 2, 3]
    np.testing.assert_array_equal(store.logits("a"), own_logits(mlp(), loader()).numpy())


def test_resuming_can_be_declined(tmp_path: Path) -> None:
    broken_off(tmp_path / "store", 2)
    data = Numbered()
    extract_to_store(tmp_path / "store", DataLoader(data, 4), models(), resume=False)
    assert data.loaded == list(range(11))


def other_first() -> DataLoader[Any]:
    changed = Numbered()
    changed.inputs[2, 3] += 1
    return DataLoader(changed, 4)


def with_first(**changes: Any) -> list[Extraction]:
    first, second = models()
    return [replace(first, **changes), second]


@pytest.mark.parametrize(
    ("given", "batches", "options", "message"),
    [
        (models(1, 0), None, {}, "the models' names"),
        (models(0), None, {}, "the models' names"),
        (with_first(card=ModelCard("a", "Sup.")), None, {}, "the card of 'a'"),
        (with_first(module=mlp(2)), None, {}, "the weights of 'a'"),
        (with_first(layer="0"), None, {}, "the layer of the features of 'a'"),
        (with_first(layer=None), None, {}, "the layer of the features of 'a'"),
        (with_first(prepare=lambda x: x + 1), None, {}, "what prepare= makes .* of 'a'"),
        (with_first(head=ClassMapped([2, 1, 0], n_classes=3)), None, {}, "the head of 'a'"),
        (None, None, {"features": False}, "layer of the features of 'a'.*layer .* of 'b'"),
        (None, None, {"dtype": "float16"}, r"dtype \(was 'float32', now 'float16'\)"),
        (None, None, {"autocast": "bfloat16"}, r"autocast \(was None, now 'bfloat16'\)"),
        (None, None, {"class_names": list("xyz")}, "the class names"),
        (None, loader(batch_size=3), {}, r"the batch size \(was 4, now 3\)"),
        (None, loader(12), {}, r"the number of samples \(was 11, now 12\)"),
        (None, other_first(), {}, "the first batch's inputs, labels or ids"),
    ],
    ids=[
        "order", "fewer models", "card", "weights", "layer", "no layer", "prepare",
        "head", "features", "dtype", "autocast", "class names", "batch size", "samples", "data",
    ],
)  # fmt: skip
def test_another_plan_is_refused(
    given: Any, batches: Any, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    broken_off(tmp_path / "store", 1)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=rf"was another one: .*{message}.*resume=False"):
        extract_to_store(tmp_path / "store", batches or loader(), given or models(), **options)
    assert contents(tmp_path) == before
    extract_to_store(tmp_path / "store", loader(), models())


def test_a_second_process_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "store"
    broken_off(path, 1)
    with Parts(path, resume=True):
        with pytest.raises(StoreError, match="another process is extracting to .*store"):
            extract_to_store(path, loader(), models())
        with pytest.raises(StoreError, match="another process is extracting"):
            extract_to_store(path, loader(), models(), resume=False)
    extract_to_store(path, loader(), models())


def test_damaged_parts_are_named(tmp_path: Path) -> None:
    broken_off(tmp_path / "store", 2)
    folder = tmp_path / ".store.extracting"
    first, second = sorted(folder.glob("part-*"))
    whole = second.read_bytes()
    second.write_bytes(whole[:-5])
    with pytest.raises(StoreError, match=r"part-000000001\.safetensors is damaged .*resume=False"):
        extract_to_store(tmp_path / "store", loader(), models())
    second.write_bytes(whole)
    kept = first.read_bytes()
    first.unlink()
    with pytest.raises(StoreError, match=r"lacks batch 0: pass resume=False"):
        extract_to_store(tmp_path / "store", loader(), models())
    first.write_bytes(kept)
    plan = (folder / "plan.json").read_text()
    (folder / "plan.json").write_text(plan[:50])
    with pytest.raises(StoreError, match=r"plan\.json is damaged .*resume=False"):
        extract_to_store(tmp_path / "store", loader(), models())
    extract_to_store(tmp_path / "store", loader(), models(), resume=False)


def test_what_was_left_unfinished_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / ".store.extracting"
    folder.mkdir()
    (folder / "part-000000000.tmp").write_bytes(b"half")
    (folder / "part-000000000.safetensors").write_bytes(b"of no plan")
    store = extract_to_store(tmp_path / "store", loader(), models())
    np.testing.assert_array_equal(store.logits("a"), own_logits(mlp(), loader()).numpy())


def test_the_lower_batch_size_is_taken_up_again(tmp_path: Path) -> None:
    def limited(fits: int) -> list[Extraction]:
        return [Extraction(ModelCard("a"), LimitedMemory(mlp(), fits), layer="body.2")]

    with pytest.warns(RuntimeWarning, match="do not fit in memory"):
        broken_off(tmp_path / "store", 2, limited(2))
    again = limited(100)
    store = extract_to_store(tmp_path / "store", loader(), again)
    module = again[0].module
    assert isinstance(module, LimitedMemory)
    assert module.sizes == [2, 2, 1]  # two samples of the first batch, then the last batch
    with pytest.warns(RuntimeWarning, match="do not fit in memory"):
        extract_to_store(tmp_path / "whole", loader(), limited(2))
    assert contents(store.path) == contents(tmp_path / "whole")


def test_parts_are_written_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "FLUSH_BYTES", 1 << 30)
    written: list[int] = []
    now = iter(range(0, 1000, 6))
    monkeypatch.setattr(parts.time, "monotonic", lambda: next(now))
    flush = Parts.flush
    monkeypatch.setattr(
        Parts, "flush", lambda self: written.append(len(self._pending)) or flush(self)
    )
    extract_to_store(tmp_path / "store", loader(batch_size=2), models())
    assert written[:3] == [2, 2, 2]
