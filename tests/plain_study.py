"""Small stores for tests of the study, and its numbers as loops over samples in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovcore import TopK
from ovcore.store import ModelCard, Store, StoreWriter

N_CLASSES = 4
RANGE = (0.7, 0.85)
"""Of these models' accuracies: ``tiny`` and ``weak`` are below, ``strong`` is above."""

CATEGORIES = {
    "base": "BASE", "twin": "REINIT", "wide": "HPARAM", "conv": "ARCH", "ssl": "FWORK",
    "far": "DATASET", "farther": "DATASET", "strong": "FWORK", "tiny": "HPARAM", "weak": "DATASET",
    "second": "REINIT",
}  # fmt: skip
_SIGNALS = {"strong": 3.2, "tiny": 0.9, "weak": 0.8}
_OWN = {"BASE": 0.3, "REINIT": 0.3, "HPARAM": 0.4, "ARCH": 0.5, "FWORK": 0.6, "DATASET": 0.8}
"""Share of a model's noise that it has alone."""


@dataclass(frozen=True)
class Models:
    """Made-up models: logits (M, N, K), features of each, and what follows for pairs."""

    names: list[str]
    target: np.ndarray  # (N,)
    logits: np.ndarray  # (M, N, K) float32
    temperature: np.ndarray  # (M,)

    @property
    def probs(self) -> np.ndarray:
        z = self.logits.astype(np.float64) / self.temperature[:, None, None]
        e = np.exp(z - z.max(axis=2, keepdims=True))
        return e / e.sum(axis=2, keepdims=True)

    @property
    def preds(self) -> np.ndarray:
        return self.logits.argmax(axis=2)

    @property
    def right(self) -> np.ndarray:
        return self.preds == self.target

    @property
    def accuracy(self) -> np.ndarray:
        return self.right.mean(axis=1)

    def index(self, name: str) -> int:
        return self.names.index(name)

    def numbers(self, a: str, b: str) -> dict[str, float]:
        """Of a pair, sample by sample."""
        one, two = self.index(a), self.index(b)
        probs, right, n = self.probs, self.right, len(self.target)
        n11 = n10 = n01 = n00 = hits = converted = 0
        for i in range(n):
            first, second = bool(right[one, i]), bool(right[two, i])
            hit = int((probs[one, i] + probs[two, i]).argmax() == self.target[i])
            n11 += first and second
            n10 += first and not second
            n01 += second and not first
            n00 += not first and not second
            hits += hit
            converted += hit and first != second
        p_a, p_b = (n11 + n10) / n, (n11 + n01) / n
        apart = n10 + n01
        return {
            "both_right": n11 / n,
            "both_wrong": n00 / n,
            "error_inconsistency": apart / n,
            "relative_to_chance": apart / n / (p_a * (1 - p_b) + p_b * (1 - p_a)),
            "base_accuracy": p_a,
            "accuracy": p_b,
            "ensemble_accuracy": hits / n,
            "gain": hits / n - (p_a + p_b) / 2,
            "gain_over_base": hits / n - p_a,
            "conversion_rate": converted / apart if apart else float("nan"),
        }

    def confidence(self, name: str) -> np.ndarray:
        return self.probs[self.index(name)].max(axis=1)

    def theta(self, a: str, b: str) -> np.ndarray:
        """In degrees."""
        return np.degrees(np.arctan2(self.confidence(a), self.confidence(b))) - 45


def made_up(names: list[str] | None = None, *, n_samples: int = 240, seed: int = 3) -> Models:
    """The same name makes the same model; ``second`` is left out unless asked for."""
    names = [name for name in CATEGORIES if name != "second"] if names is None else names
    rng = np.random.default_rng(seed)
    target = rng.permutation(np.arange(n_samples) % N_CLASSES)
    shape = (n_samples, N_CLASSES)
    shared = rng.normal(size=shape)
    own = dict(zip(CATEGORIES, rng.normal(size=(len(CATEGORIES), *shape)), strict=True))
    logits, temperature = [], []
    for name in names:
        share = _OWN[CATEGORIES[name]]
        noise = np.sqrt(1 - share) * shared + np.sqrt(share) * own[name]
        signal = _SIGNALS.get(name, 1.75)
        logits.append(noise + signal * np.eye(N_CLASSES)[target])
        temperature.append(0.7 + 0.05 * list(CATEGORIES).index(name))
    stacked = np.stack(logits).astype(np.float32)
    return Models(names, target, stacked, np.array(temperature))


def features_of(models: Models, name: str, width: int = 6) -> np.ndarray:
    """(N, D) float32, from which the classes can be told in part; wider for some models."""
    rng = np.random.default_rng([7, models.index(name)])
    z = models.logits[models.index(name)].astype(np.float64)
    mixed = z @ rng.normal(size=(z.shape[1], width))
    found: np.ndarray = (mixed + rng.normal(size=mixed.shape)).astype(np.float32)
    return found


def stored(
    path: Path,
    models: Models,
    *,
    kind: str = "logits",
    listed: int = N_CLASSES,
    cards: dict[str, dict[str, Any]] | None = None,
    features: dict[str, np.ndarray] | None = None,
    **facts: Any,
) -> Store:
    """A store of logits with their temperatures, of top-k probabilities, or of predictions."""
    with StoreWriter(path, target=models.target, **facts) as writer:
        for m, name in enumerate(models.names):
            about: dict[str, Any] = {"category": CATEGORIES[name]}
            if kind == "logits":
                about["temperature"] = float(models.temperature[m])
            about |= (cards or {}).get(name, {})
            kept: dict[str, Any] = {}
            if features is not None and name in features:
                kept["features"] = features[name]
            if kind == "logits":
                kept["logits"] = models.logits[m]
            elif kind == "topk":
                order = np.argsort(-models.probs[m], axis=1, kind="stable")
                best = np.take_along_axis(models.probs[m], order, axis=1)
                kept["topk"] = TopK(order[:, :listed], best[:, :listed], N_CLASSES)
            elif kind == "preds":
                kept["preds"] = models.preds[m]
            writer.add(ModelCard(name, **about), **kept)
    return Store(path)
