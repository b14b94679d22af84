"""What was measured of a job, what the GPU allows, what is asked for; and all that as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tabulate import tabulate

from tables import number

UNITS = {  # scale of a rate
    "Pop/s": 1e15,
    "TB/s": 1e12,
    "10^12 pairs of predictions/s": 1e12,
    "10^9 candidate scores/s": 1e9,
}
# Operations a second that an H200 does at most: two for a bit of a pair, an AND and an addition.
# popcount: 132 multiprocessors at 1.98 GHz, whose 64 lanes take 5 instructions for 64 bits.
CEILINGS = {"popcount": 0.43e15, "mma": 9.2e15, "wgmma": 15.8e15}
ASKED = {"popcount": 0.27e15, "mma": 5e15, "wgmma": 9e15}
SQUARES = {"popcount": 128, "mma": 256, "wgmma": 256}  # models whose pairs are counted together


@dataclass(frozen=True)
class Goal:
    """What is asked for: at most so many ms, or so many times as fast as a peer, or both."""

    text: str
    ms: float | None = None
    peer: str = ""
    times: float = 0.0


@dataclass
class Row:
    """One job. Times are medians; those of kernels are events', in ms."""

    job: str
    ms: float | None = None  # of our kernels
    wall_ms: float | None = None  # of the call, until its answer is in host memory
    kernels: dict[str, float] = field(default_factory=dict)
    amount: float = 0.0  # of work
    unit: str = ""
    floor_ms: float | None = None
    peers: dict[str, dict[str, Any]] = field(default_factory=dict)  # "ms", or "problem"
    goal: Goal | None = None
    note: str = ""
    problem: str = ""

    @property
    def rate(self) -> float | None:
        return self.amount / (self.ms * 1e-3) if self.ms and self.amount else None

    @property
    def share_of_floor(self) -> float | None:
        return self.floor_ms / self.ms if self.ms and self.floor_ms else None

    @property
    def best_peer(self) -> str | None:
        timed = {name: peer["ms"] for name, peer in self.peers.items() if "ms" in peer}
        return min(timed, key=timed.__getitem__) if timed else None

    @property
    def times_best_peer(self) -> float | None:
        return self.peers[self.best_peer]["ms"] / self.ms if self.ms and self.best_peer else None

    @property
    def is_met(self) -> bool | None:
        """None where nothing is asked for, or the peer that it is about was not timed."""
        if self.goal is None or not self.ms:
            return None
        met = self.goal.ms is None or self.ms <= self.goal.ms
        if self.goal.peer:
            peer = self.peers.get(self.goal.peer, {})
            if "ms" not in peer:
                return None if met else False
            met &= peer["ms"] >= self.goal.times * self.ms
        return met

    def as_json(self) -> dict[str, Any]:
        more = ("rate", "share_of_floor", "best_peer", "times_best_peer", "is_met")
        return {**asdict(self), **{name: getattr(self, name) for name in more}}


@dataclass
class Timings:
    """All rows, and what they were measured on."""

    rows: list[Row] = field(default_factory=list)
    copy_bytes_per_s: float = 0.0  # read and written
    peak_bytes: int = 0  # of torch's memory
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "copy_bytes_per_s": self.copy_bytes_per_s,
            "peak_bytes": self.peak_bytes,
            "notes": self.notes,
            "rows": [row.as_json() for row in self.rows],
        }


def full_operations(n_models: int, n_samples: int) -> float:
    """Of joint errors as a product of 0/1 matrices: an AND and an addition a bit and pair."""
    return 2.0 * n_models**2 * n_samples


def least_operations(n_models: int, n_samples: int) -> float:
    """The same of pairs i <= j alone: joint errors are symmetric."""
    return float(n_models * (n_models + 1) * n_samples)


def share_counted(n_models: int, method: str) -> float:
    """Of the M^2 pairs, those that a method counts: squares on the diagonal and above it.

    More than 1 for few models: a square of theirs is mostly empty.
    """
    side = SQUARES[method]
    squares = -(-n_models // side)
    return squares * (squares + 1) / 2 * side**2 / n_models**2


def time_at(operations: float, rate: float) -> float:
    """Milliseconds."""
    return 1e3 * operations / rate


def medians(rounds: Sequence[Sequence[tuple[str, float]]]) -> dict[str, float]:
    """Of each kernel's time a round, and of their sum: "total". A kernel may run more than once."""
    sums: list[dict[str, float]] = []
    for laps in rounds:
        sums.append({"total": 0.0})
        for name, ms in laps:
            sums[-1][name] = sums[-1].get(name, 0.0) + ms
            sums[-1]["total"] += ms
    names = dict.fromkeys(name for of_round in sums for name in of_round)
    return {name: median([of_round.get(name, 0.0) for of_round in sums]) for name in names}


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def by_kernel(kernels: Mapping[str, float]) -> str:
    parts = [f"{name} {number(ms)}" for name, ms in kernels.items() if name != "total"]
    return ", ".join(parts) if len(parts) > 1 else ""


def show(rows: Sequence[Row]) -> str:
    """A table, and under it what it has no room for."""
    lines = [line_of(row) for row in rows]
    headers = ["job", "ours ms", "rate", "floor ms", "of floor", "best peer ms", "peer/ours",
               "goal", "met", "wall ms"]  # fmt: skip
    right = ("ours ms", "rate", "floor ms", "of floor", "best peer ms", "peer/ours", "wall ms")
    align = ["right" if header in right else "left" for header in headers]
    parts = [tabulate(lines, headers, colalign=align, disable_numparse=True)]
    for row in rows:
        if not row.problem:
            parts += [f"{row.job}: {said}" for said in remarks(row)]
    return "\n".join(parts)


def line_of(row: Row) -> list[str]:
    if row.problem:
        return [row.job, f"FAILED: {row.problem}", *[""] * 8]
    share, times = row.share_of_floor, row.times_best_peer
    best = row.best_peer
    return [
        row.job,
        in_ms(row.ms),
        "" if row.rate is None else f"{number(row.rate / UNITS[row.unit])} {row.unit}",
        in_ms(row.floor_ms),
        "" if share is None else f"{share:.0%}",
        "" if best is None else f"{in_ms(row.peers[best]['ms'])} {best}",
        "" if times is None else number(times),
        "" if row.goal is None else row.goal.text,
        {True: "yes", False: "NO", None: ""}[row.is_met],
        in_ms(row.wall_ms),
    ]


def in_ms(value: float | None) -> str:
    return "" if value is None else number(value)


def remarks(row: Row) -> list[str]:
    """Kernels where there are several, peers, and what is to be known of the numbers."""
    said = [row.note] if row.note else []
    if by_kernel(row.kernels):
        said.append(f"ms by kernel: {by_kernel(row.kernels)}")
    for name, peer in row.peers.items():
        note = f" ({peer['note']})" if peer.get("note") else ""
        said.append(f"{name}: {peer.get('problem') or number(peer['ms']) + ' ms'}{note}")
    return said
