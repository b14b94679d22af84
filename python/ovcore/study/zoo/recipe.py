"""Every number of the zoo in one frozen, hashable place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class Training:
    """One run of AdamW with a cosine schedule."""

    steps: int = 140
    batch: int = 30
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.2
    smoothing: float = 0.0


@dataclass(frozen=True)
class ArchitectureRun:
    """An architecture trained on the labelled digits, with its own settings."""

    architecture: str
    seeds: int
    training: Training


@dataclass(frozen=True)
class ContrastiveRun:
    """SimCLR pretraining of an architecture on the unlabelled digits."""

    architecture: str
    seeds: int
    training: Training
    temperature: float = 0.3
    projection: int = 32


@dataclass(frozen=True)
class SourceRun:
    """An architecture trained on synthetic characters instead of real digits."""

    source: str  # "pen", "font" or "superset"
    architecture: str
    seeds: int
    samples: int
    training: Training


@dataclass(frozen=True)
class TransferTask:
    """Canvases of several digits: `draw_canvases`."""

    canvases: int = 500  # per half
    shift: int = 1  # pixels, at most; the base's mAP is .52, with 2 it is .43
    hard: float = 0.15  # share of the digits


_BASE = Training()
_SOURCE = Training(steps=300, batch=64, smoothing=0.1)
_TOKENS = Training(steps=120, learning_rate=2e-3, weight_decay=5e-2, dropout=0.1)


@dataclass(frozen=True)
class Recipe:
    """How the zoo is built. `Recipe()` is the full zoo, `Recipe.tiny()` one for tests."""

    seed: int = 0
    labelled: int = 60  # per half, class-balanced
    calibration: int = 250  # per half
    base: Training = _BASE
    reinit: int = 6  # seeds beside the base
    hparam_dropout: tuple[float, ...] = (0.0, 0.1, 0.3, 0.4, 0.5, 0.6)
    hparam_smoothing: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    hparam_rate_factor: tuple[float, ...] = (1 / 3, 0.5, 2.0, 3.3)
    hparam_weight_decay: tuple[float, ...] = (0.0, 0.1, 0.3)
    architectures: tuple[ArchitectureRun, ...] = (
        ArchitectureRun("mlp-128", 1, _BASE),
        ArchitectureRun("mlp-128-128", 1, _BASE),
        ArchitectureRun("vit-2x2", 2, _TOKENS),
        ArchitectureRun("vit-4x4", 1, _TOKENS),
        ArchitectureRun("mixer", 1, _TOKENS),
        ArchitectureRun("rescnn", 2, Training(steps=100, learning_rate=4e-3, dropout=0.0)),
    )
    classical: tuple[str, ...] = ("svm", "knn", "trees")
    contrastive: tuple[ContrastiveRun, ...] = (
        ContrastiveRun("cnn", 2, Training(steps=150, batch=80, dropout=0.0)),
        ContrastiveRun(
            "vit-4x4", 1, Training(steps=150, batch=80, learning_rate=2e-3, dropout=0.0)
        ),
    )
    distilled: int = 2  # students
    distillation: Training = Training(steps=200, batch=64, dropout=0.0)
    distillation_temperature: float = 0.5
    sources: tuple[SourceRun, ...] = (
        SourceRun("pen", "cnn", 2, 4000, _SOURCE),
        SourceRun("font", "cnn", 2, 4000, _SOURCE),
        SourceRun("superset", "cnn", 1, 8000, _SOURCE),
    )
    fine_tuning: Training = Training(steps=60, learning_rate=2e-3, dropout=0.2)
    probe_strength: float = 1.0  # C of the L-BFGS heads
    transfer: TransferTask = TransferTask()

    @staticmethod
    def tiny() -> Recipe:
        """All five categories with a few steps each: seconds, and poor models."""
        few = Training(steps=40, batch=30)
        return replace(
            Recipe(),
            calibration=100,
            base=few,
            reinit=1,
            hparam_dropout=(0.5,),
            hparam_smoothing=(0.2,),
            hparam_rate_factor=(),
            hparam_weight_decay=(),
            architectures=(ArchitectureRun("mlp-128", 1, few),),
            classical=("svm",),
            contrastive=(ContrastiveRun("cnn", 1, Training(steps=10, batch=32)),),
            distilled=1,
            distillation=few,
            sources=(
                SourceRun("pen", "cnn", 1, 400, few),
                SourceRun("superset", "cnn", 1, 680, replace(few, steps=80, batch=60)),
            ),
            fine_tuning=few,
            transfer=TransferTask(canvases=60),
        )

    def digest(self) -> str:
        """Hex digest of the recipe's JSON; differs where any number differs."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
