"""One model at work on batches: its logits and features, on the host, as they are stored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from ovcore.extract.batches import move, take, tensors
from ovcore.extract.encoders import image_encoder
from ovcore.extract.heads import Probe, ZeroShot
from ovcore.extract.hooks import Side, call, evaluating, logits_of, only, recording
from ovcore.extract.layers import find_classifier
from ovcore.extract.memory import Halving
from ovcore.extract.models import Extraction

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_SAMPLES_TO_FIND = 2


class Settings:
    """How models are run, checked.

    Args:
        dtype: that outputs are stored in.
        autocast: the lower precision that the modules run in, or None.
        device: "auto" is a GPU where there is one.

    Raises:
        ValueError: an unknown setting, or a device that is not there.
    """

    def __init__(
        self,
        dtype: str = "float32",
        autocast: str | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if autocast not in (None, "bfloat16", "float16"):
            raise ValueError(f"autocast must be 'bfloat16', 'float16' or None, got {autocast!r}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"device {device!r} is unknown: {error}") from None
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device is {str(device)!r}, but torch finds no GPU")
        self.dtype, self.autocast = dtype, autocast

    def precision(self) -> AbstractContextManager[Any]:
        """What the modules run in."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.autocast])


class Runner:
    """Runs one model; in a ``with`` block, after which its module is as it was found.

    Args:
        model: what to run.
        settings: how.
        logits: whether logits are wanted; not for a module that ends in its features.
        features: whether features are wanted, where the model names a layer.

    Attributes:
        layer: of the features, once :meth:`begin` has found it; None for none.
        side: of that layer.
        stores_features: whether features are among the outputs.
        halving: how many samples are run at a time.
        seconds: time spent.
    """

    def __init__(
        self,
        model: Extraction,
        settings: Settings,
        *,
        logits: bool = True,
        features: bool = True,
    ) -> None:
        self.name = model.card.name
        self.halving = Halving(self.name)
        self.seconds = 0.0
        self._model, self._settings = model, settings
        self._module: nn.Module = model.module
        self._head = model.head
        if isinstance(model.head, ZeroShot | Probe) or not logits:
            self._module = image_encoder(model.module)
        self._wants_logits = logits
        self.stores_features = features and model.layer is not None
        self.layer: str | None = None
        self.side: Side = "output"
        self._seen: list[Tensor] = []
        self._stack = ExitStack()

    def __enter__(self) -> Runner:
        with ExitStack() as stack:
            stack.enter_context(evaluating(self._module))
            for module in (self._module, self._head):
                if module is not None:
                    _place(module, self._settings.device, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def prepare(self, inputs: Any) -> Any:
        """The module's inputs of a batch's."""
        if self._model.prepare is not None:
            inputs = self._model.prepare(inputs)
        if next(tensors(inputs), None) is None:
            raise TypeError(
                f"the inputs of {self.name!r} are no tensors but {_kind(inputs)}: "
                "its Extraction needs prepare=, which makes tensors of them"
            )
        return inputs

    def begin(self, inputs: Any, n_samples: int) -> dict[str, Tensor]:
        """Finds the layer of the features and runs a few samples of the first batch.

        Raises:
            ValueError: the layer is not there, or cannot be found.
        """
        count = min(_SAMPLES_TO_FIND, n_samples)
        few = take(inputs, slice(0, count), n_samples)
        self.layer, self.side = self._named_layer()
        if self.layer == "auto":

            def find(rows: slice) -> str:
                piece = move(take(few, rows, count), self._settings.device)
                return find_classifier(self._module, lambda: self._logits(piece))

            with torch.no_grad(), self._settings.precision(), self._naming():
                self.layer, self.side = self.halving.run(count, find)[0], "input"
        # Layers have the names that they have in the module that was given.
        among = self._module if self.layer == "" else self._model.module
        with self._naming():
            self._seen = self._stack.enter_context(recording(among, self.layer, self.side))
        return self(few, count)

    def _named_layer(self) -> tuple[str | None, Side]:
        layer, side = self._model.layer, self._model.side
        if isinstance(self._head, Probe):
            layer, side = self._head.layer, self._head.side
        elif not self.stores_features:
            return None, "output"
        is_encoder = self._module is not self._model.module or isinstance(self._head, ZeroShot)
        return ("", "output") if layer == "auto" and is_encoder else (layer, side)

    def _logits(self, inputs: Any) -> Tensor:
        return logits_of(call(self._module, inputs))

    def __call__(self, inputs: Any, n_samples: int) -> dict[str, Tensor]:
        """Logits (n, K) and features (n, D) of prepared inputs, by those names, as stored."""
        began = time.perf_counter()

        def run(rows: slice) -> dict[str, Tensor]:
            piece = take(inputs, rows, n_samples)
            return self._run(move(piece, self._settings.device), rows.stop - rows.start)

        pieces = self.halving.run(n_samples, run)
        outputs = {kind: torch.cat([piece[kind] for piece in pieces]) for kind in pieces[0]}
        self.seconds += time.perf_counter() - began
        return outputs

    def _run(self, inputs: Any, n_samples: int) -> dict[str, Tensor]:
        self._seen.clear()
        with torch.no_grad(), self._naming():
            with self._settings.precision():
                output = call(self._module, inputs)
            found: dict[str, Tensor] = {}
            if self.layer is not None:
                found["features"] = self._features(self.layer)
            if self._head is not None and self._head.reads == "features":
                found["logits"] = self._head(found["features"].float())
            elif self._head is not None:
                found["logits"] = self._head(logits_of(output).float())
            elif self._wants_logits:
                found["logits"] = logits_of(output)
        if not self.stores_features:
            found.pop("features", None)
        return {kind: self._stored(kind, rows, n_samples) for kind, rows in found.items()}

    def _features(self, layer: str) -> Tensor:
        try:
            return only(self._seen, layer).flatten(1)
        except RuntimeError as error:
            raise ValueError(f"{error}: its features are not one row a sample") from None

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors say which of the models they are about."""
        try:
            yield
        except TypeError as error:
            raise TypeError(f"{self.name!r}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{self.name!r}: {error}") from error

    def _stored(self, kind: str, rows: Tensor, n_samples: int) -> Tensor:
        if len(rows) != n_samples:
            raise ValueError(f"{kind} of {self.name!r} are {len(rows)} rows of {n_samples} samples")
        stored = rows.to("cpu", DTYPES[self._settings.dtype], copy=True)
        if self._settings.dtype == "float16" and (stored.isinf() & rows.isfinite().cpu()).any():
            raise ValueError(
                f"{kind} of {self.name!r} exceed the range of float16: store bfloat16 or float32"
            )
        return stored


def _place(module: nn.Module, device: torch.device, stack: ExitStack) -> None:
    """Moves a module to the device, and back when the stack is closed."""
    first = next(module.parameters(), next(module.buffers(), None))
    if first is None:
        return
    home = first.device
    if home.type != device.type or device.index not in (None, home.index):
        module.to(device)
        stack.callback(module.to, home)


def _kind(inputs: Any) -> str:
    if isinstance(inputs, list | tuple) and inputs:
        return f"a {type(inputs).__name__} of {type(inputs[0]).__name__}"
    return type(inputs).__name__
