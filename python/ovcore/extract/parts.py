"""What is done of an extraction, in files beside the store, so that a kill loses little."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovcore.extract.batches import Batch
from ovcore.store import StoreError

if TYPE_CHECKING:
    from filelock import BaseFileLock

FLUSH_BYTES = 1 << 26
FLUSH_SECONDS = 10.0

_PLAN = "plan.json"
_LOCK = "lock"


class Samples(NamedTuple):
    """Labels and ids of one part's samples."""

    labels: NDArray[np.int64]
    ids: list[str] | None


class Parts:
    """The folder of unfinished work beside the store at ``path``, for one process at a time.

    A part holds the outputs of all models on consecutive batches. It appears under its name when
    it is whole. Parts are written every 64 MB or 10 seconds, and when the block ends.

    Attributes:
        folder: where the parts are.
        n_batches: batches in finished parts.
        n_samples: samples in them.
        limits: samples that each model was run at a time at the end of the last part.

    Raises:
        StoreError: another process extracts to the same store, or a part is damaged.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.folder = path.with_name(f".{path.name}.extracting")
        self._resume = resume
        self.n_batches = self.n_samples = 0
        self.limits: list[int | None] | None = None
        self._files: list[Path] = []
        self._pending: list[tuple[Batch, Sequence[dict[str, Tensor]]]] = []
        self._pending_bytes = 0
        self._pending_limits: list[int | None] = []
        self._since = time.monotonic()
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> Parts:
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another process is extracting to {self.path}: wait until it is done"
            ) from None
        self._lock = lock
        try:
            self._clear_unfinished()
            self._scan()
        except BaseException:
            lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._lock is not None
        try:
            if self.folder.exists():
                with contextlib.suppress(OSError):  # the error that ended the block matters more
                    self.flush()
                if not self._files:
                    self.remove()
        finally:
            self._lock.release()

    def _clear_unfinished(self) -> None:
        keep_parts = self._resume and (self.folder / _PLAN).is_file()
        for file in self.folder.iterdir():
            if file.name != _LOCK and (file.suffix == ".tmp" or not keep_parts):
                file.unlink()

    def _scan(self) -> None:
        for file in sorted(self.folder.glob("part-*.safetensors")):
            with _opened(file) as part:
                about = part.metadata()
                n_samples = part.get_slice("labels").get_shape()[0]
            first, stop = json.loads(about["batches"])
            if first != self.n_batches:
                raise StoreError(
                    f"{self.folder} lacks batch {self.n_batches}: pass resume=False to begin anew"
                )
            self.n_batches = stop
            self.n_samples += n_samples
            self.limits = json.loads(about["limits"])
            self._files.append(file)

    def saved_plan(self) -> Any:
        """The plan of the work that is there; None where there is none."""
        if not self._files:
            return None
        file = self.folder / _PLAN
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"{file} is damaged ({error}): pass resume=False") from None

    def save_plan(self, plan: Any) -> None:
        """Keeps the plan, before the first part."""
        part = self.folder / f"{_PLAN}.tmp"
        part.write_text(json.dumps(plan, indent=1), encoding="utf-8")
        part.replace(self.folder / _PLAN)

    def add(
        self, batch: Batch, outputs: Sequence[dict[str, Tensor]], limits: list[int | None]
    ) -> None:
        """Keeps the outputs of each model on one batch; on the disk a little later."""
        self._pending.append((batch, outputs))
        self._pending_limits = limits
        self._pending_bytes += sum(t.nbytes for found in outputs for t in found.values())
        long = time.monotonic() - self._since >= FLUSH_SECONDS
        if long or self._pending_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what was added since the last part."""
        from safetensors.torch import save_file

        if not self._pending:
            return
        batches = [batch for batch, _ in self._pending]
        first, stop = self.n_batches, self.n_batches + len(batches)
        tensors = {"labels": torch.from_numpy(np.concatenate([b.labels for b in batches]))}
        for m, outputs in enumerate(self._pending[0][1]):
            for kind in outputs:
                rows = [found[m][kind] for _, found in self._pending]
                tensors[_key(m, kind)] = torch.cat(rows)
        about = {
            "batches": json.dumps([first, stop]),
            "limits": json.dumps(self._pending_limits),
            "ids": json.dumps(_joined([b.ids for b in batches])),
        }
        file = self.folder / f"part-{first:09d}.safetensors"
        unfinished = file.with_suffix(".tmp")
        save_file(tensors, unfinished, about)
        with unfinished.open("rb+") as written:
            os.fsync(written.fileno())
        unfinished.replace(file)
        self._files.append(file)
        self.n_batches, self.limits = stop, list(self._pending_limits)
        self.n_samples += len(tensors["labels"])
        self._pending, self._pending_bytes, self._since = [], 0, time.monotonic()

    def samples(self) -> Iterator[Samples]:
        """Labels and ids of each part, in order."""
        for file in self._files:
            with _opened(file) as part:
                yield Samples(part.get_tensor("labels").numpy(), json.loads(part.metadata()["ids"]))

    def blocks(self, model: int) -> Iterator[dict[str, Tensor]]:
        """Outputs of one model, a part at a time, in order."""
        for file in self._files:
            with _opened(file) as part:
                keys = set(part.keys())
                yield {
                    kind: part.get_tensor(_key(model, kind))
                    for kind in ("logits", "features")
                    if _key(model, kind) in keys
                }

    def remove(self) -> None:
        """Deletes the folder: the store is there, or nothing was done."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        part = safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise StoreError(
            f"{file} is damaged ({error}): pass resume=False to begin anew, or delete {file.parent}"
        ) from error
    with part as opened:
        yield opened


def _key(model: int, kind: str) -> str:
    return f"{model}.{kind}"


def _joined(ids: list[list[str] | None]) -> list[str] | None:
    return None if ids[0] is None else [name for names in ids for name in names or ()]
