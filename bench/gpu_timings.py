"""Times of kernels and of public functions on one NVIDIA GPU, beside its limits and peers.

Kernels are timed by CUDA's events around their launches, as ovcore._cuda takes them itself; peers
by torch's. Data are made on the GPU.
"""

from __future__ import annotations

import gc
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import gpu_peers
import ovcore as ov
from cases import Case
from gpu_cases import NotHereError
from gpu_data import (
    ASKED_SHAPES,
    SMALL_SHAPES,
    Shapes,
    as_words,
    error_words,
    predictions,
    shapes_for,
    zoo_logits,
)
from gpu_rows import (
    ASKED,
    CEILINGS,
    Goal,
    Row,
    Timings,
    full_operations,
    least_operations,
    median,
    medians,
    share_counted,
    show,
    time_at,
)
from gpu_tensors import needed
from ovcore import _bits, _devices

__all__ = ["run", "show"]

Job = Callable[[], Iterable[Row]]

FEWEST, MOST, SECONDS = 5, 30, 1.5  # rounds of one measurement, and how long it may take
PASSES = 2 + 4 * 4000 / 50_000  # of a fit of temperatures: four steps on some samples, two on all
COPIED = 4 << 30  # bytes, to measure what copying them takes
METHODS = tuple(CEILINGS)
DEVICE = "cuda:0"


@dataclass(frozen=True)
class Bench:
    """What every job needs."""

    torch: Any
    cupy: Any  # None where it is not there
    device: str
    timer: gpu_peers.Timer
    shapes: Shapes
    has_goals: bool  # on an H200
    bandwidth: float  # bytes a second
    rows: list[Row]  # those there are

    def goal(self, goal: Goal, case: Case, asked: Case) -> Goal | None:
        return goal if self.has_goals and case == asked else None

    def reading(self, n_bytes: float) -> float:
        return time_at(n_bytes, self.bandwidth)

    def free(self) -> int:
        gc.collect()
        self.torch.cuda.empty_cache()
        return int(self.torch.cuda.mem_get_info()[0])


def run(device: str, seed: int, *, small: bool) -> Timings:
    """Every job; one that fails is a row with a problem."""
    torch = needed("torch")
    try:
        cupy = needed("cupy")
    except NotHereError:
        cupy = None
    torch.manual_seed(seed)
    timings = Timings()
    shapes = SMALL_SHAPES if small else shapes_for(torch.cuda.mem_get_info()[0])
    if shapes != ASKED_SHAPES:
        timings.notes.append(
            f"smaller than asked for: {', '.join(map(str, [*shapes.joint, shapes.zoo]))}"
        )
    timings.copy_bytes_per_s = gpu_peers.copy_bandwidth(torch, COPIED >> 5 if small else COPIED)
    is_h200 = "H200" in device
    if not is_h200:
        timings.notes.append("floors of joint errors are an NVIDIA H200's; no goal is set here")
    bench = Bench(
        torch=torch,
        cupy=cupy,
        device=DEVICE,
        timer=gpu_peers.event_timer(torch),
        shapes=shapes,
        has_goals=is_h200,
        bandwidth=timings.copy_bytes_per_s,
        rows=timings.rows,
    )
    try:
        for name, job in jobs(bench):
            attempt(bench, name, job)
    except Exception as error:  # noqa: BLE001  # what was timed is to be told
        timings.rows.append(Row("logits", problem=f"{type(error).__name__}: {error}"))
    timings.peak_bytes = int(torch.cuda.max_memory_allocated())
    timings.notes.append(
        f"copying takes {timings.copy_bytes_per_s / 1e12:.2f} TB/s, read and written; "
        f"torch held {timings.peak_bytes / 1e9:.1f} GB at most"
    )
    return timings


def attempt(bench: Bench, name: str, job: Job) -> None:
    """Adds a job's rows; one that fails is a row with a problem."""
    start = time.perf_counter()
    try:
        for row in job():
            bench.rows.append(row)
    except Exception as error:  # noqa: BLE001  # the other jobs are to run
        bench.rows.append(Row(name, problem=f"{type(error).__name__}: {error}"))
    print(f"timed {name} in {time.perf_counter() - start:.0f} s", flush=True)
    bench.free()


def jobs(bench: Bench) -> Iterator[tuple[str, Job]]:
    """All of them, each to be done before the next is asked for: data come and go in between."""
    torch, case = bench.torch, bench.shapes.zoo
    for joint in bench.shapes.joint:
        yield f"joint errors, {joint}", partial(joint_errors, bench, joint)
    yield "joint agreement", partial(joint_agreement, bench)
    models, target = zoo_logits(torch, case, bench.device)
    yield "pack errors, float32", partial(pack_errors, bench, models, target)
    half = []
    while models:  # never all in both types
        half.append(models.pop(0).half())
    torch.cuda.empty_cache()
    short = [z.bfloat16() for z in half]
    yield "pack errors, bfloat16", partial(pack_errors, bench, short, target)
    short.clear()
    torch.cuda.empty_cache()
    for job in (pack_errors, temperature, pair_ensembles, angles, greedy, compare):
        yield f"{job.__name__}, float16", partial(job, bench, half, target)


def measure(call: Callable[[int], Any]) -> tuple[Any, dict[str, float], float]:
    """The answer of round 0, and medians of rounds: ms of each kernel and "total", ms of the call.

    ``call`` is told the round, to take turns between inputs that the second-level cache would hold.
    """
    cuda = _devices.module()
    answer = call(0)
    call(1)
    walls: list[float] = []
    laps = []
    cuda.measured()  # what others left
    cuda.measure(True)
    try:
        while len(walls) < FEWEST or (sum(walls) < SECONDS and len(walls) < MOST):
            start = time.perf_counter()
            call(len(walls))
            walls.append(time.perf_counter() - start)
            laps.append(cuda.measured())
    finally:
        cuda.measure(False)
    return answer, medians(laps), 1e3 * median(walls)


def joint_errors(bench: Bench, case: Case) -> Iterator[Row]:
    """Each method that the device has; then the one that is chosen, with the peers."""
    cuda, torch = _devices.module(), bench.torch
    n_bytes = 8 * math.prod(_bits.shape_of(case.models, case.samples))
    copies = min(24, 1 + 2 * gpu_peers.L2_BYTES // n_bytes)
    words = [error_words(torch, case, bench.device) for _ in range(copies)]
    there = [as_words(part) for part in words]

    def count(method: str | None, turn: int) -> Any:
        return cuda.joint_errors(there[turn % copies], 1, None, method=method)

    answers: list[np.ndarray] = []
    for method in (*METHODS, None):
        try:
            answer, kernels, wall = measure(partial(count, method))
        except RuntimeError as error:
            if method is None or "cudaErrorNotSupported" not in str(error):
                raise
            continue
        answers = [*answers[:1], answer]
        row = joint_row(bench, case, method, kernels, wall)
        if not np.array_equal(answers[0], answer):
            row.problem = "its counts are not those of popcount"
        if method is None:
            ours = torch.from_numpy(answer).to(words[0].device)
            del words[1:], there[1:]
            free = bench.free()
            row.peers = gpu_peers.joint_errors(torch, bench.cupy, bench.timer, words[0], ours, free)
        yield row


def joint_row(
    bench: Bench, case: Case, method: str | None, kernels: dict[str, float], wall: float
) -> Row:
    m, n = case.models, case.samples
    row = Row(
        f"joint errors, {case}, {method or 'as chosen'}",
        ms=kernels["total"],
        wall_ms=wall,
        kernels=kernels,
        amount=full_operations(m, n),
        unit="Pop/s",
    )
    rate = least_operations(m, n) / (kernels["total"] * 1e-3)
    row.note = f"the rate is of the full matrix; {rate / 1e15:.3g} Pop/s with each pair once"
    largest = ASKED_SHAPES.joint[-1]
    if method is not None:
        row.floor_ms = time_at(least_operations(m, n), CEILINGS[method])
        row.note += f"; counts {share_counted(m, method):.0%} of the pairs of the full matrix"
        asked = ASKED[method]
        goal = Goal(f"{asked / 1e15:.3g} Pop/s, pairs once", time_at(least_operations(m, n), asked))
        row.goal = bench.goal(goal, case, largest)
    else:
        most = 20.0 if case == largest else None
        text = "5 x torch._int_mm" + (f", {most:g} ms" if most else "")
        row.goal = Goal(text, most, "torch._int_mm", 5.0) if bench.has_goals else None
    return row


def joint_agreement(bench: Bench) -> Iterator[Row]:
    case, torch = bench.shapes.agreement, bench.torch
    preds = predictions(torch, case, bench.device)
    found, kernels, wall = measure(lambda _: ov.pairwise.joint_agreement(preds))
    asked = ASKED_SHAPES.agreement
    yield Row(
        f"joint agreement, {case}, {case.classes:,} classes",
        ms=kernels["joint_agreement"],
        wall_ms=wall,
        kernels=kernels,
        amount=case.pairs() * case.samples,
        unit="10^12 pairs of predictions/s",
        floor_ms=0.5 if bench.goal(Goal(""), case, asked) else None,
        goal=bench.goal(Goal("1 ms", 1.0), case, asked),
        peers=gpu_peers.joint_agreement(torch, bench.timer, preds, found),
    )


def sized(models: Sequence[Any]) -> tuple[Case, str, float]:
    """The size of some logits, what to call it, and their bytes."""
    dtype = str(models[0].dtype).removeprefix("torch.")
    case = Case(len(models), *models[0].shape)
    named = replace(case, dtype=dtype)
    return case, str(named), float(named.logits_bytes())


def pack_errors(bench: Bench, models: Sequence[Any], target: Any) -> Iterator[Row]:
    case, name, n_bytes = sized(models)
    errors, kernels, wall = measure(lambda _: ov.pack_errors(models, target))
    wrong = bench.torch.from_numpy(errors.wrong()).to(target.device)
    asked = None if "float32" in name else Goal("2.3 ms", 2.3)
    yield Row(
        f"pack errors, {name}",
        ms=kernels["pack_errors"],
        wall_ms=wall,
        kernels=kernels,
        amount=n_bytes,
        unit="TB/s",
        floor_ms=bench.reading(n_bytes),
        goal=asked and bench.goal(asked, case, ASKED_SHAPES.zoo),
        peers=gpu_peers.pack_errors(bench.torch, bench.cupy, bench.timer, models, target, wrong),
        note="the floor is what copying as many bytes takes in this run",
    )


def temperature(bench: Bench, models: Sequence[Any], target: Any) -> Iterator[Row]:
    case, name, n_bytes = sized(models)
    _, kernels, wall = measure(lambda _: ov.calibration.fit_temperature(models, target))
    yield Row(
        f"temperature, {name}",
        ms=kernels["total"],
        wall_ms=wall,
        kernels=kernels,
        floor_ms=bench.reading(PASSES * n_bytes),
        goal=bench.goal(Goal("6 ms", 6.0), case, ASKED_SHAPES.zoo),
        note=f"the floor is {PASSES:g} reads of the logits",
    )
    once = ov.calibration.negative_log_likelihood
    _, kernels, wall = measure(lambda _: once(models, target))
    yield Row(
        f"one pass of it, {name}",
        ms=kernels["temperature_nll"],
        wall_ms=wall,
        kernels=kernels,
        amount=n_bytes,
        unit="TB/s",
        floor_ms=bench.reading(n_bytes),
    )


def pair_ensembles(bench: Bench, models: Sequence[Any], target: Any) -> Iterator[Row]:
    case, name, n_bytes = sized(models)
    found, kernels, wall = measure(lambda _: ov.ensembles.pairs(models, target))
    packed = [row.ms for row in bench.rows if row.job == f"pack errors, {name}" and row.ms]
    goal = Goal("1.5 x pack errors", 1.5 * packed[0]) if packed else None
    which = range(0, len(models), max(1, len(models) // 8))[:8]
    yield Row(
        f"pair ensembles, {name}",
        ms=kernels["total"],
        wall_ms=wall,
        kernels=kernels,
        amount=n_bytes,
        unit="TB/s",
        floor_ms=bench.reading(n_bytes),
        goal=goal and bench.goal(goal, case, ASKED_SHAPES.zoo),
        peers=gpu_peers.pair_ensembles(bench.torch, bench.timer, models, target, found.hits, which),
        note="the floor is one read of the logits",
    )


def angles(bench: Bench, models: Sequence[Any], target: Any) -> Iterator[Row]:
    """Specialization of all pairs: its confidences, then its histograms."""
    _, name, n_bytes = sized(models)
    _, kernels, wall = measure(lambda _: ov.ensembles.specialization(models, target))
    yield Row(
        f"confidences, {name}",
        ms=kernels["confidences"],
        amount=n_bytes,
        unit="TB/s",
        floor_ms=bench.reading(n_bytes),
    )
    pairs, n = len(models) * (len(models) - 1) // 2, len(target)
    yield Row(
        f"angle histograms, {pairs:,} pairs x {n:,} samples",
        ms=kernels["angle_histogram"],
        wall_ms=wall,
        kernels=kernels,
        amount=2.0 * pairs * n,
        unit="10^12 pairs of predictions/s",
        note="two histograms, of 20 bins and of 3 sides; wall is all of specialization()",
    )


def greedy(bench: Bench, models: Sequence[Any], target: Any) -> Iterator[Row]:
    case = bench.shapes.greedy
    some = [z[: case.samples] for z in models[: case.models]]
    _, name, n_bytes = sized(some)

    def select(_: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # nothing is held out
            return ov.ensembles.greedy(some, target[: case.samples], max_size=len(some))

    _, kernels, wall = measure(select)
    tried = len(some) * (len(some) + 1) / 2
    yield Row(
        f"greedy selection of all, {name}",
        ms=kernels["total"],
        wall_ms=wall,
        kernels=kernels,
        amount=tried * case.samples * case.classes,
        unit="10^9 candidate scores/s",
        floor_ms=bench.reading(n_bytes),
        note="the floor is one read of the logits",
    )


def compare(bench: Bench, models: Sequence[Any], target: Any) -> Iterator[Row]:
    """End to end: temperatures, pair ensembles and all matrices."""
    _, name, n_bytes = sized(models)

    def all_of_it(_: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # fitted where they are reported
            return ov.compare(models, target)

    _, kernels, wall = measure(all_of_it)
    yield Row(
        f"compare(), {name}",
        ms=kernels["total"],
        wall_ms=wall,
        kernels=kernels,
        amount=n_bytes,
        unit="TB/s",
        floor_ms=bench.reading((PASSES + 1) * n_bytes),
        note="the floor is the temperatures' and one read of the logits",
    )
