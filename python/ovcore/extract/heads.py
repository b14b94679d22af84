"""Prediction heads other than a model's own: zero-shot, class-mapped, and a probe's.

A head is a torch module that turns what a model gives into logits (n, K); it computes in float32,
also under autocast. :func:`~ovcore.extract.fit_probe` fits a probe, and
:func:`class_features` makes a zero-shot head's weights of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ovcore.extract.class_maps import Class, Table, read_table
from ovcore.extract.hooks import Side

__all__ = ["ClassMapped", "Head", "Probe", "ZeroShot", "class_features"]


class Head(nn.Module):
    """What the heads have in common.

    Attributes:
        label: what a card says of it.
        reads: the module's output (n, C), or the features (n, D) of its layer.
    """

    label: ClassVar[str]
    reads: ClassVar[Literal["output", "features"]] = "output"

    def to_json(self) -> dict[str, Any]:
        """What it is and how it was made, for the manifest."""
        raise NotImplementedError


class ZeroShot(Head):
    """Cosine similarity of image features and class text features, times a scale.

    logits = scale * (f / |f|) (t / |t|)^T, with f what the module's image encoder gives
    (Radford et al., 2021). Features that are stored are f, before it is normalised.

    Args:
        class_features: t, (K, D); any length.
        scale: positive; exp of the model's ``logit_scale``.
        class_names: K names, for the manifest.
        templates: the prompts that ``class_features`` come from, likewise.

    Raises:
        ValueError: a scale or a shape out of range; a class whose features are zero or not finite.
    """

    label = "Zero-shot"
    class_features: Tensor
    scale: Tensor

    def __init__(
        self,
        class_features: Tensor,  # (K, D) floating
        scale: float | Tensor,
        *,
        class_names: Sequence[str] | None = None,
        templates: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        if class_features.ndim != 2:
            shape = tuple(class_features.shape)
            raise ValueError(f"class_features must be (K, D), got shape {shape}")
        if class_names is not None and len(class_names) != len(class_features):
            raise ValueError(
                f"class_names has {len(class_names)} names but class_features has "
                f"{len(class_features)} classes"
            )
        factor = torch.as_tensor(scale).detach().float().cpu().reshape(())
        if not (torch.isfinite(factor) and factor > 0):
            raise ValueError(f"scale must be positive and finite, got {factor.item()}")
        weights = _unit(class_features.detach().float().cpu())
        wrong = ~torch.isfinite(weights).all(1)
        if wrong.any():
            raise ValueError(f"the features of class {int(wrong.int().argmax())} have no direction")
        self.register_buffer("class_features", weights)
        self.register_buffer("scale", factor)
        self.class_names = None if class_names is None else list(class_names)
        self.templates = None if templates is None else list(templates)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, K) of image features (n, D)."""
        return _unit(features) @ self.class_features.T * self.scale

    def to_json(self) -> dict[str, Any]:
        """What it is and how it was made, for the manifest."""
        return {
            "head": self.label,
            "scale": self.scale.item(),
            "class_names": self.class_names,
            "templates": self.templates,
        }


def class_features(
    encode: Callable[[list[str]], Tensor],
    class_names: Sequence[str],
    templates: Sequence[str] = ("a photo of a {}.",),
) -> Tensor:
    """Text features of each class, from an ensemble of prompts: (K, D), each of length 1.

    The mean of the normalised features of the class's prompts, normalised again (Radford et al.,
    2021, section 3.1.4).

    Args:
        encode: text features (n, D) of n texts.
        class_names: what stands for ``{}``.
        templates: prompts with a ``{}`` each.

    Raises:
        ValueError: no class or template, or a template without ``{}``.
    """
    for what, texts in (("class_names", class_names), ("templates", templates)):
        if isinstance(texts, str) or not len(texts):
            raise ValueError(f"{what} must be one text or more, got {texts!r}")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no {{}} for the class's name")
    rows = []
    with torch.no_grad():
        for name in class_names:
            prompts = [template.replace("{}", name) for template in templates]
            rows.append(_unit(_unit(encode(prompts).float().cpu()).mean(0)))
    return torch.stack(rows)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)


class ClassMapped(Head):
    """The logits of a larger set of classes, brought to the target's by a table.

    A class's logit is the log of the summed exponentials of its source classes' logits, so that
    its probability is the sum of theirs among the classes that are mapped; or the largest of them.

    Args:
        table: the target class of each source class: a sequence, -1 for none; or a mapping, where
            a class that is not in it has none. Classes are numbers or names.
        n_classes: K; known where ``class_names`` are given.
        class_names: the target's K classes.
        source_names: the model's C classes.
        how: "logsumexp" or "max".
        missing: "refuse" a target class without a source class, or "never" predict it: -inf.

    Raises:
        ValueError: a class that is not there, a target class without a source, a setting unknown.

    >>> ClassMapped([0, 1, 0, -1], n_classes=2, how="max")(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    tensor([[3., 2.]])
    """

    label = "Class-mapped"

    def __init__(
        self,
        table: Table,
        *,
        n_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        source_names: Sequence[str] | None = None,
        how: Literal["logsumexp", "max"] = "logsumexp",
        missing: Literal["refuse", "never"] = "refuse",
    ) -> None:
        super().__init__()
        if how not in ("logsumexp", "max"):
            raise ValueError(f"how must be 'logsumexp' or 'max', got {how!r}")
        if missing not in ("refuse", "never"):
            raise ValueError(f"missing must be 'refuse' or 'never', got {missing!r}")
        read = read_table(table, n_classes, class_names, source_names)
        self.n_sources, self.sources, self.how = read.n_sources, read.sources, how
        lacking: list[Class] = [
            class_names[k] if class_names is not None else k
            for k, sources in enumerate(self.sources)
            if not sources
        ]
        if lacking and missing == "refuse":
            shown = ", ".join(repr(name) for name in lacking[:5])
            raise ValueError(
                f"{len(lacking)} target classes have no source class: {shown}"
                f"{', ...' if len(lacking) > 5 else ''}; pass missing='never' to never predict them"
            )
        # Classes with equally many sources are reduced together, without padding.
        self._groups = []
        for count in sorted({len(sources) for sources in self.sources} - {0}):
            targets = [k for k, sources in enumerate(self.sources) if len(sources) == count]
            columns = torch.tensor([self.sources[k] for k in targets])
            self._groups.append((f"targets_{count}", f"columns_{count}"))
            self.register_buffer(f"targets_{count}", torch.tensor(targets))
            self.register_buffer(f"columns_{count}", columns)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (n, K) of logits (n, C) of the source classes.

        Raises:
            ValueError: another number of source classes than the table's.
        """
        last = max((max(sources) for sources in self.sources if sources), default=-1)
        if logits.shape[1] <= last or self.n_sources not in (None, logits.shape[1]):
            raise ValueError(
                f"the table is of {self.n_sources or f'at least {last + 1}'} source classes, "
                f"but the model gives {logits.shape[1]}"
            )
        mapped = logits.new_full((len(logits), len(self.sources)), -torch.inf)
        for targets, columns in self._groups:
            taken = logits[:, getattr(self, columns)]  # (n, targets of the group, their sources)
            reduced = taken.logsumexp(2) if self.how == "logsumexp" else taken.amax(2)
            mapped[:, getattr(self, targets)] = reduced
        return mapped

    def to_json(self) -> dict[str, Any]:
        """What it is and how it was made, for the manifest."""
        return {"head": self.label, "how": self.how, "sources": self.sources}


class Probe(Head):
    """A linear classifier on a layer's features: logits = W x + b.

    Args:
        weight: W, (K, D).
        bias: b, (K,).
        layer: whose features it reads, as :class:`~ovcore.extract.Extraction` has it.
        side: of that layer.
        settings: how it was fitted, for the manifest; plain JSON.

    Raises:
        ValueError: shapes that do not fit.
    """

    label = "L-BFGS"
    reads = "features"
    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,  # (K, D) floating
        bias: Tensor,  # (K,) floating
        *,
        layer: str = "auto",
        side: Side = "output",
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"weight must be (K, D) and bias (K,), got shapes {tuple(weight.shape)} "
                f"and {tuple(bias.shape)}"
            )
        self.register_buffer("weight", weight.detach().float().cpu())
        self.register_buffer("bias", bias.detach().float().cpu())
        self.layer, self.side, self.settings = layer, side, dict(settings or {})

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, K) of features (n, D)."""
        if features.shape[1] != self.weight.shape[1]:
            raise ValueError(
                f"the probe reads {self.weight.shape[1]} features, "
                f"but the layer gives {features.shape[1]}"
            )
        return nn.functional.linear(features, self.weight, self.bias)

    def to_json(self) -> dict[str, Any]:
        """What it is and how it was made, for the manifest."""
        return {"head": self.label, "layer": self.layer, "side": self.side, **self.settings}
