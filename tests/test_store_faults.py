"""Faults of disks, files and other writers: a clear error each, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ovcore.store import ModelCard, Store, StoreError, StoreWriter, verify

TARGET = np.array([0, 1, 2, 1])
LOGITS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with StoreWriter(tmp_path / "s", target=TARGET, sample_ids=list("wxyz")) as writer:
        writer.add(ModelCard("a"), logits=LOGITS, features=LOGITS)
        writer.add(ModelCard("b"), logits=-LOGITS)
    assert verify(tmp_path / "s") == []
    return tmp_path / "s"


def file_of(store: Path, number: int = 0) -> Path:
    return store / f"model-{number:05d}.safetensors"


def change(store: Path, *keys: str | int, to: object) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    (store / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-8], r"has \d+ bytes, but its header tells of \d+"),
        (lambda data: data + b"x", r"has \d+ bytes, but its header tells of \d+"),
        (lambda data: data[:6], "is not a safetensors file of a store, or is truncated"),
        (lambda _: b"", "is not a safetensors file of a store, or is truncated"),
        (lambda data: b"PK" + data[2:], "is not a safetensors file of a store, or is truncated"),
        (lambda data: data[:8] + b"[" + data[9:], "has no safetensors header"),
        (lambda data: data.replace(b'"shape"', b'"shepe"'), "has a damaged header"),
        (lambda data: data.replace(b'"logits"', b'"lagits"'), "has no tensor 'logits'"),
        (lambda data: data.replace(b"[4, 3]", b"[null]"), "has a damaged header"),
        (
            lambda data: data.replace(b'"data_offsets": [0,', b'"data_offsets": [9,'),
            "of 48 bytes is said to be at 9:48",
        ),
        (
            lambda data: data.replace(b'"shape": [4, 3]', b'"shape": [3, 4]'),
            r"is float32 \(3, 4\), but the manifest says float32 \(4, 3\)",
        ),
        (
            lambda data: data.replace(b'"dtype": "F32"', b'"dtype": "I32"'),
            r"is int32 \(4, 3\), but the manifest says float32 \(4, 3\)",
        ),
    ],
    ids=[
        "cut",
        "longer",
        "stump",
        "empty",
        "zip",
        "no-json",
        "no-shape",
        "no-tensor",
        "half-shape",
        "overlap",
        "shape",
        "dtype",
    ],
)
def test_damaged_files_are_refused_by_name(store: Path, damage: object, message: str) -> None:
    file = file_of(store)
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    opened = Store(store)
    with pytest.raises(StoreError, match=f"model-00000.*{message}.*model 'a'.*extract or copy"):
        opened.logits("a")
    np.testing.assert_array_equal(opened.logits("b"), -LOGITS)
    (problem,) = verify(store)
    assert "model-00000.safetensors" in problem


def test_a_missing_file_is_named(store: Path) -> None:
    file_of(store).unlink()
    with pytest.raises(StoreError, match="model-00000.safetensors cannot be read: No such file"):
        Store(store).logits("a")
    assert len(verify(store)) == 1


def test_a_changed_byte_is_found_by_its_hash(store: Path) -> None:
    data = bytearray(file_of(store).read_bytes())
    data[-20] ^= 1  # among the predictions' and logits' bytes
    file_of(store).write_bytes(data)
    (problem,) = verify(store)
    assert "is not what was written: its SHA-256 differs" in problem


def test_labels_that_were_changed_are_found(store: Path) -> None:
    change(store, "target", 0, to=2)
    first, *others = verify(store)
    assert "manifest.json: labels, sample ids or columns were changed" in first
    assert all("labels were changed" in problem for problem in others)
    assert len(others) == 2


def test_ids_that_were_changed_are_found(store: Path) -> None:
    change(store, "sample_ids", to=list("xwyz"))
    (problem,) = verify(store)
    assert "labels, sample ids or columns were changed" in problem


def test_a_file_of_no_model_is_named(store: Path) -> None:
    shutil.copy(file_of(store), file_of(store, 7))
    (problem,) = verify(store)
    assert "model-00007.safetensors belongs to no model" in problem
    with StoreWriter.append(store) as writer:
        writer.add(ModelCard("c"), preds=TARGET)
    assert Store(store).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["format"], "ovcore-store-1", "but of 'ovcore-store-1': write the store again"),
        (["target"], [0, 1, 2], "expected 4 integers"),
        (["sample_ids"], ["w"], "sample_ids must be 4 texts"),
        (["sample_ids"], "wxyz", "sample_ids must be 4 texts"),
        (["sample_ids"], list("wwyz"), "sample ids repeat"),
        (["target"], [0, 1, 2, 2**70], "OverflowError"),
        (["n_classes"], -5, "n_classes is -5"),
        (["n_classes"], 7, r"logits of 'a' have shape \(4, 3\)"),
        (["models", 0, "accuracy"], "high", "accuracy of 'a' is 'high'"),
        (["models", 0, "tensors", "logits", "shape"], [], "IndexError"),
        (["models", 1, "file"], "model-00000.safetensors", "two models have the same file"),
        (["class_names"], ["w"], "class_names must be 3 texts"),
        (["models", 0, "file"], "../model-00000.safetensors", "lies outside the store"),
        (["models", 1, "name"], "a", "model names repeat"),
        (["models", 0, "tensors", "logits", "shape"], [5, 3], r"logits of 'a' has shape \(5, 3\)"),
        (["models", 0, "temperature"], -1, "temperature of 'a' must be positive"),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, list) and value else "",
)
def test_damaged_manifests_are_refused(
    store: Path, keys: list[str | int], value: object, message: str
) -> None:
    change(store, *keys, to=value)
    with pytest.raises(StoreError, match=message):
        Store(store)
    with pytest.raises(StoreError, match=message):
        verify(store)


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "/abs", "a\x00b", "..", "model-00000.safetensors", "\u202e"]
    with StoreWriter(tmp_path / "s", target=TARGET) as writer:
        for name in names:
            writer.add(ModelCard(name), logits=LOGITS)
    assert list(tmp_path.iterdir()) == [tmp_path / "s"]
    assert Store(tmp_path / "s").names == tuple(names)
    assert verify(tmp_path / "s") == []


def test_the_second_writer_is_refused(tmp_path: Path, store: Path) -> None:
    with StoreWriter(tmp_path / "new", target=TARGET) as first:
        with (
            pytest.raises(StoreError, match="another process is writing to the store at .*new"),
            StoreWriter(tmp_path / "new", target=TARGET),
        ):
            pass
        first.add(ModelCard("a"), logits=LOGITS)
    assert Store(tmp_path / "new").names == ("a",)
    with StoreWriter.append(store) as first:
        with pytest.raises(StoreError, match="another process"), StoreWriter.append(store):
            pass
        first.add(ModelCard("c"), logits=LOGITS)
    assert Store(store).names == ("a", "b", "c")


WRITE_SLOWLY = """
import sys, time
import numpy as np
from ovcore.store import ModelCard, StoreWriter

def blocks():
    yield {"preds": np.array([0])}
    print("writing", flush=True)
    time.sleep(60)

make = StoreWriter.append if sys.argv[2] == "append" else StoreWriter
facts = {} if sys.argv[2] == "append" else {"target": np.array([0, 1, 2, 1])}
with make(sys.argv[1], **facts) as writer:
    writer.add_blocks(ModelCard("slow"), blocks())
"""


@pytest.mark.parametrize("how", ["append", "new"])
def test_a_killed_writer_leaves_the_store_whole(tmp_path: Path, store: Path, how: str) -> None:
    path = store if how == "append" else tmp_path / "new"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITE_SLOWLY), str(path), how],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        with pytest.raises(StoreError, match="another process"):
            (
                StoreWriter.append(path) if how == "append" else StoreWriter(path, target=TARGET)
            ).__enter__()
        process.send_signal(signal.SIGKILL)
    if how == "append":
        assert Store(path).names == ("a", "b")
        with StoreWriter.append(path) as writer:
            writer.add(ModelCard("c"), logits=LOGITS)
    else:
        assert not path.exists()
        with StoreWriter(path, target=TARGET) as writer:
            writer.add(ModelCard("c"), logits=LOGITS)
    assert Store(path).names[-1] == "c"
    assert verify(path) == []
    assert not list(path.parent.glob(".*"))
    assert {p.name for p in path.glob(".*")} <= {".lock"}


def test_a_model_never_takes_anothers_file(store: Path) -> None:
    manifest = json.loads((store / "manifest.json").read_text())
    change(store, "models", to=manifest["models"][1:])
    with StoreWriter.append(store) as writer:
        writer.add(ModelCard("c"), logits=LOGITS + 1)
    np.testing.assert_array_equal(Store(store).logits("b"), -LOGITS)
    np.testing.assert_array_equal(Store(store).logits("c"), LOGITS + 1)


def test_an_interrupt_after_the_manifest_keeps_the_models(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def interrupted(path: Path, missing_ok: bool = False) -> None:
        if path.name == ".manifest.json.part":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with pytest.raises(KeyboardInterrupt), StoreWriter.append(store) as writer:
        writer.add(ModelCard("c"), logits=LOGITS)
        monkeypatch.setattr(Path, "unlink", interrupted)
    monkeypatch.undo()
    assert Store(store).names == ("a", "b", "c")
    assert verify(store) == []


def test_a_writer_is_opened_once(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path / "s", target=TARGET)
    with pytest.raises(KeyError), writer:
        writer.add(ModelCard("a"), logits=LOGITS)
        raise KeyError
    with pytest.raises(RuntimeError, match="opened once"), writer:
        pass
    assert not list(tmp_path.iterdir())


def test_a_card_is_kept_as_it_was_added(tmp_path: Path) -> None:
    card = ModelCard("a", training={"steps": []})
    with StoreWriter(tmp_path / "s", target=TARGET) as writer:
        writer.add(card, logits=LOGITS)
        card.training["steps"].append(np.float32(1))
        with pytest.raises(TypeError, match="card must be a ModelCard, got 'b'"):
            writer.add("b", logits=LOGITS)  # type: ignore[arg-type]
    assert Store(tmp_path / "s").models[0].training == {"steps": []}


def test_errors_of_blocks_are_their_own(tmp_path: Path) -> None:
    def blocks() -> Iterator[dict[str, np.ndarray]]:
        yield {"logits": LOGITS[:1]}
        (tmp_path / "17.jpg").read_bytes()

    with (
        pytest.raises(FileNotFoundError, match=r"17\.jpg"),
        StoreWriter(tmp_path / "s", target=TARGET) as writer,
    ):
        writer.add_blocks(ModelCard("a"), blocks())
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.name != "posix" or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "s"
    with StoreWriter(path, target=TARGET) as writer:
        writer.add(ModelCard("a"), logits=LOGITS)
    wide = np.zeros((4, 30_000), np.float32)
    with StoreWriter.append(path) as writer:
        with pytest.raises(OSError, match="No space left on device while writing 'wide'"):
            writer.add(ModelCard("wide"), logits=LOGITS, features=wide)
        writer.add(ModelCard("b"), logits=LOGITS)
    assert Store(path).names == ("a", "b")
    assert verify(path) == []
    with (
        pytest.raises(OSError, match="No space left on device"),
        StoreWriter(small_disk / "t", target=TARGET) as writer,
    ):
        writer.add(ModelCard("wide"), logits=LOGITS, features=wide)
    assert not (small_disk / "t").exists()


def test_space_is_reserved_before_a_model_is_written(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, also where none can be mounted."""

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    with StoreWriter.append(store) as writer:
        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space left on device while writing 'c'"):
            writer.add(ModelCard("c"), logits=LOGITS)
    monkeypatch.undo()
    assert Store(store).names == ("a", "b")
    assert verify(store) == []


def test_a_manifest_that_does_not_fit_leaves_the_store(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), StoreWriter.append(store) as writer:
        writer.add(ModelCard("c"), logits=LOGITS)
        monkeypatch.setattr(os, "fsync", full)
    monkeypatch.undo()
    assert Store(store).names == ("a", "b")
    assert verify(store) == []
