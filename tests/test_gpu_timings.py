"""The timings of a GPU, on tensors in host memory: rates, goals, tables, jobs, peers' answers."""

from __future__ import annotations

import dataclasses
import json
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import ovcore as ov
from bench_modules import BENCH, bench, bench_is_importable  # noqa: F401
from on_gpu import put
from ovcore import _bits, _devices, _reference


def a_row(**changes: Any) -> Any:
    rows = bench("gpu_rows")
    peers = {"a": {"ms": 30.0}, "b": {"ms": 12.0, "note": "3 pairs"}, "c": {"problem": "wrong"}}
    row = rows.Row("job", ms=4.0, amount=2e9, unit="TB/s", floor_ms=1.0, peers=peers)
    return dataclasses.replace(row, **changes)


def test_rates_and_ratios() -> None:
    row = a_row()
    assert row.rate == pytest.approx(5e11)
    assert row.share_of_floor == 0.25
    assert (row.best_peer, row.times_best_peer) == ("b", 3.0)
    nothing = a_row(ms=None, peers={}, floor_ms=None)
    assert (nothing.rate, nothing.share_of_floor, nothing.times_best_peer) == (None, None, None)


def test_goals() -> None:
    goal = bench("gpu_rows").Goal
    assert a_row().is_met is None
    for ms, met in ((4.0, True), (3.9, False)):
        assert a_row(goal=goal("", ms)).is_met is met
    for times, met in ((7.5, True), (7.6, False)):
        assert a_row(goal=goal("", None, "a", times)).is_met is met
        assert a_row(goal=goal("", 3.0, "a", times)).is_met is False
    assert a_row(goal=goal("", 4.0, "c", 2.0)).is_met is None
    assert a_row(goal=goal("", 3.0, "c", 2.0)).is_met is False


def test_operations() -> None:
    rows = bench("gpu_rows")
    assert rows.full_operations(10, 100) == 20_000
    assert rows.least_operations(10, 100) == 11_000
    assert rows.share_counted(10_000, "mma") == pytest.approx(0.537, abs=1e-3)
    assert rows.share_counted(128, "popcount") == 1
    assert rows.time_at(2e12, 4e12) == 500


def test_medians_of_kernels() -> None:
    medians = bench("gpu_rows").medians
    rounds = [[("a", 1.0), ("b", 2.0), ("a", 1.0)], [("a", 3.0), ("b", 1.0)], [("a", 9.0)]]
    assert medians(rounds) == {"total": 4.0, "a": 3.0, "b": 1.0}


def test_the_table_says_it_all() -> None:
    rows = bench("gpu_rows")
    timings = rows.Timings([
        a_row(goal=rows.Goal("3 ms", 3.0), kernels={"total": 4.0, "x": 3.0, "y": 1.0}),
        a_row(job="other", problem="RuntimeError: no memory"),
    ])  # fmt: skip
    text = rows.show(timings.rows)
    for part in (
        "0.500 TB/s", "25%", "12.0 b", "3 ms", "NO", "x 3.00, y 1.00", "b: 12.0 ms (3 pairs)",
        "c: wrong", "FAILED: RuntimeError: no memory",
    ):  # fmt: skip
        assert part in text, part
    again = json.loads(json.dumps(timings.as_json(), allow_nan=False))
    assert again["rows"][0]["is_met"] is False
    assert again["rows"][0]["goal"]["ms"] == 3.0


def test_less_memory_takes_smaller_shapes() -> None:
    data = bench("gpu_data")
    assert data.shapes_for(130e9) == data.ASKED_SHAPES
    small = data.shapes_for(8e9)
    assert small.joint[0] == data.ASKED_SHAPES.joint[0]
    assert small.joint[2].models == 5000 or small.joint[2] == data.ASKED_SHAPES.joint[2]
    assert small.zoo.samples == 13_000
    assert data.shapes_for(1e9).joint[2].models < 5000


def error_words(models: int, samples: int) -> Any:
    return bench("gpu_data").error_words(torch, bench("cases").Case(models, samples), "cpu")


def test_error_words_are_padded_with_zeros() -> None:
    words = error_words(1003, 2056).numpy().view(np.uint64)
    assert words.shape == _bits.shape_of(1003, 2056)
    wrong = _bits.unpack(words, 64 * words.shape[1])
    assert not wrong[:, 2056:].any()
    assert wrong[:, :2056].mean() == pytest.approx(0.25, abs=0.01)


def test_logits_are_like_those_of_a_zoo() -> None:
    case = bench("cases").Case(20, 1000, 300)
    models, target = bench("gpu_data").zoo_logits(torch, case, "cpu")
    preds = torch.stack([z.argmax(1) for z in models])
    assert 0.3 < float((preds == preds[0]).all(0).float().mean()) < 0.7
    assert 0.4 < float((preds == target).float().mean()) < 0.9


def host_timer(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def test_peers_of_joint_errors_are_checked() -> None:
    peers = bench("gpu_peers")
    words = error_words(37, 5000)
    bits = peers.unpack(torch, words, torch.int8, 48)
    rows = words.numpy().view(np.uint64)
    assert bits.shape == (48, 5120)
    np.testing.assert_array_equal(bits[:37, :5000].numpy(), _bits.unpack(rows, 5000))
    assert not bits[37:].any()
    ours = torch.from_numpy(_reference.joint_errors(rows, 1, None))
    found = peers.joint_errors(torch, None, host_timer, words, ours, 10**9)
    assert found["torch._int_mm"]["ms"] > 0
    assert set(found) == {"torch._int_mm", "torch bf16", "torch fp16"}
    ours[3, 5] += 1
    found = peers.joint_errors(torch, None, host_timer, words, ours, 10**9)
    assert found["torch._int_mm"] == {"problem": "not timed: 1 pairs differ from ours"}
    found = peers.joint_errors(torch, None, host_timer, words, ours, 10**5)
    assert "takes 0 GB" in found["torch._int_mm"]["problem"]


def test_measure_takes_medians_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    timings = bench("gpu_timings")
    state: dict[str, Any] = {"on": False, "laps": []}

    def call(number: int) -> int:
        if state["on"]:
            state["laps"] += [("a", 1.0 + number % 2), ("b", 5.0)]
        return number

    def measured() -> Any:
        laps, state["laps"] = state["laps"], []
        return laps

    module = types.SimpleNamespace(measure=lambda on: state.update(on=on), measured=measured)
    monkeypatch.setattr(_devices, "module", lambda: module)
    answer, kernels, wall = timings.measure(call)
    assert answer == 0
    assert kernels == {"total": 6.5, "a": 1.5, "b": 5.0}
    assert wall < 1000
    assert not state["on"]


def test_kernels_go_by_the_names_that_jobs_ask_for(
    gpus: Any, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    timings = bench("gpu_timings")
    monkeypatch.setattr(timings, "SECONDS", 0.0)
    logits = put(rng.normal(size=(3, 70, 5)))
    target, preds = put(rng.integers(0, 5, 70)), put(rng.integers(0, 5, (3, 70)))
    calls: dict[str, Callable[[int], Any]] = {
        "pack_errors": lambda _: ov.pack_errors(logits, target),
        "joint_agreement": lambda _: ov.pairwise.joint_agreement(preds),
        "temperature_nll": lambda _: ov.calibration.negative_log_likelihood(logits, target),
        "confidences": lambda _: ov.ensembles.specialization(logits, target),
        "angle_histogram": lambda _: ov.ensembles.specialization(logits, target),
        "pair_ensemble_hits": lambda _: ov.ensembles.pairs(logits, target),
    }
    for name, call in calls.items():
        _, kernels, wall = timings.measure(call)
        assert 0 < kernels[name] <= kernels["total"] <= wall
    assert gpus.measured() == []


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Jobs on torch's tensors in host memory, called once; kernels take a millisecond each."""
    timings = bench("gpu_timings")
    case = bench("cases").Case

    def measure(call: Callable[[int], Any]) -> Any:
        names = ["pack_errors", "temperature_nll", "confidences", "angle_histogram",
                 "joint_agreement"]  # fmt: skip
        return call(0), {"total": 1.0, **dict.fromkeys(names, 1.0)}, 2.0

    class OnCpu(timings.Bench):  # type: ignore[misc,name-defined]
        def free(self) -> int:
            return 10**9

    monkeypatch.setattr(timings, "measure", measure)
    shapes = bench("gpu_data").Shapes(
        [case(130, 5000)], case(9, 300, 50), case(5, 400, 40), case(4, 100, 50)
    )
    return OnCpu(torch, None, "cpu", host_timer, shapes, True, 4e12, [])


@pytest.mark.usefixtures("gpus")
def test_all_jobs_run(
    on_cpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timings = bench("gpu_timings")
    monkeypatch.setattr(timings, "as_words", lambda words: put(words.numpy().view(np.uint64)))
    for name, job in timings.jobs(on_cpu):
        timings.attempt(on_cpu, name, job)
    rows = {row.job: row for row in on_cpu.rows}
    assert [row.problem for row in on_cpu.rows if row.problem] == []
    peers = {job: row.peers for job, row in rows.items()}
    exact = peers["joint errors, 130 models x 5,000 samples, as chosen"]["torch._int_mm"]
    assert exact["ms"] > 0
    assert "joint errors, 130 models x 5,000 samples, wgmma" not in rows  # not on this device
    for dtype in ("float32", "bfloat16", "float16"):
        found = peers[f"pack errors, 9 models x 300 samples x 50 classes, {dtype}"]
        assert all("ms" in peer for peer in found.values())
    pairs = peers["pair ensembles, 9 models x 300 samples x 50 classes, float16"]
    assert all(peer["note"].startswith("28 pairs, scaled to all 36") for peer in pairs.values())
    assert all("ms" in peer for peer in pairs.values())
    assert "ms" in peers["joint agreement, 5 models x 400 samples, 40 classes"]["torch == and sum"]
    assert "compare(), 9 models x 300 samples x 50 classes, float16" in rows
    assert "timed compare, float16" in capsys.readouterr().out
    text = timings.show(on_cpu.rows)
    assert all(job in text for job in rows)
    json.dumps([row.as_json() for row in on_cpu.rows], allow_nan=False)


def test_methods_that_disagree_are_a_problem(
    on_cpu: Any, gpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings, count = bench("gpu_timings"), gpus.joint_errors
    monkeypatch.setattr(timings, "as_words", lambda words: put(words.numpy().view(np.uint64)))

    def wrong(words: Any, *rest: Any, method: str | None) -> Any:
        found = count(words, *rest, method=method)
        return found + 1 if method == "mma" else found

    monkeypatch.setattr(gpus, "joint_errors", wrong)
    problems = {row.job.split(", ")[-1]: row.problem for row in
                timings.joint_errors(on_cpu, on_cpu.shapes.joint[0])}  # fmt: skip
    assert problems["mma"] == "its counts are not those of popcount"
    assert problems["as chosen"] == problems["popcount"] == ""


def test_a_wrong_peer_is_not_timed(on_cpu: Any) -> None:
    data, peers = bench("gpu_data"), bench("gpu_peers")
    models, target = data.zoo_logits(torch, on_cpu.shapes.zoo, "cpu")
    wrong = torch.from_numpy(ov.pack_errors(models, target).wrong())
    found = peers.pack_errors(torch, None, host_timer, models, target, ~wrong)
    assert "2,700 of 2,700 samples differ" in found["torch argmax"]["problem"]
    hits = ov.ensembles.pairs(models, target).hits + 3
    found = peers.pair_ensembles(torch, host_timer, models, target, hits, range(3))
    assert all("off by 3" in peer["problem"] for peer in found.values())
