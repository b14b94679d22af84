"""The sizes of timed jobs on a GPU, and their data, which torch makes there."""

from __future__ import annotations

from typing import Any, NamedTuple

from cases import Case
from ovcore import _arrays, _bits, _devices
from zoo_logits import COMMON, OWN, RIVALS, SCALE


class Shapes(NamedTuple):
    """How much is timed."""

    joint: list[Case]
    zoo: Case
    agreement: Case
    greedy: Case


ASKED_SHAPES = Shapes(
    joint=[Case(1000, 50_000), Case(100, 1_000_000), Case(10_000, 1_000_000)],
    zoo=Case(82, 50_000, 1000),
    agreement=Case(1000, 50_000, 1000),
    greedy=Case(50, 10_000, 1000),
)
SMALL_SHAPES = Shapes(
    joint=[Case(130, 5000), Case(300, 20_000)],
    zoo=Case(12, 2000, 1000),
    agreement=Case(130, 5000, 1000),
    greedy=Case(8, 1000, 1000),
)


def shapes_for(free_bytes: float) -> Shapes:
    """Those asked for, or what of them fits into so much memory."""
    asked = ASKED_SHAPES
    joint = []
    for case in asked.joint:
        m = case.models
        while m > 128 and m * case.samples / 8 + 40 * m * m > 0.8 * free_bytes:
            m //= 2
        joint.append(Case(m, case.samples))
    sample_bytes = 6 * asked.zoo.models * asked.zoo.classes  # in 32 and in 16 bits at a time
    samples = asked.zoo.samples
    if sample_bytes * samples > 0.8 * free_bytes:
        samples = max(1000, int(0.8 * free_bytes / sample_bytes) // 1000 * 1000)
    zoo = Case(asked.zoo.models, samples, asked.zoo.classes)
    greedy = Case(asked.greedy.models, min(asked.greedy.samples, samples), asked.greedy.classes)
    return Shapes(joint, zoo, asked.agreement, greedy)


def error_words(torch: Any, case: Case, device: str) -> Any:
    """(M, W) int64 error bits, a quarter of them set, padded as ovcore pads them."""
    n_models, n_words = _bits.shape_of(case.models, case.samples)
    words = torch.empty((n_models, n_words), dtype=torch.int64, device=device)
    for first in range(0, n_models, 1000):
        shape = (min(1000, n_models - first), 8 * n_words)
        one, other = (
            torch.randint(0, 256, shape, dtype=torch.uint8, device=device) for _ in range(2)
        )
        one &= other
        one[:, case.samples // 8 :] = 0  # N is a multiple of 8
        words[first : first + 1000] = one.view(torch.int64)
    return words


def as_words(words: Any) -> Any:
    """A view of torch's int64 as the words that kernels take."""
    place = _arrays.place(f"torch:{words.device}")
    kind = _devices.module().DeviceArray
    return kind(place, "uint64", list(words.shape), None, words.data_ptr(), words)


def predictions(torch: Any, case: Case, device: str) -> Any:
    """(M, N) int32 classes: three quarters right, half of the others what a sample is taken for."""
    shape, k = (case.models, case.samples), case.classes
    target, rival = torch.randint(0, k, (2, case.samples), dtype=torch.int32, device=device)
    chance = torch.rand(shape, device=device)
    other = torch.randint(0, k, shape, dtype=torch.int32, device=device)
    return torch.where(chance < 0.75, target, torch.where(chance < 0.875, rival, other))


def zoo_logits(torch: Any, case: Case, device: str) -> tuple[list[Any], Any]:
    """M float32 logits (N, K) and int64 targets (N,), after zoo_logits.py; one model at a time."""
    n, k = case.samples, case.classes
    rows = torch.arange(n, device=device)
    target = torch.randint(0, k, (n,), device=device)
    common = float(COMMON) * torch.randn((n, k), device=device)

    def exponential(mean: float) -> Any:
        return mean * torch.empty(n, device=device).exponential_()

    for _ in range(RIVALS):
        rival = torch.randint(0, k, (n,), device=device)
        common[rows, rival] += 2 + exponential(1.1) + exponential(1.1)
    common[rows, target] += exponential(8.0)
    models = []
    for own, skill in torch.rand((case.models, 2)).tolist():
        z = torch.randn((n, k), device=device).mul_(OWN * (0.8 + 0.6 * own)).add_(common)
        z[rows, target] += 2 + 1.3 * (skill - 0.4)
        models.append(z.mul_(float(SCALE)))
    return models, target
