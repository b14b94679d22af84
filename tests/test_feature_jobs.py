"""The benchmark's jobs on features: their data, their judges, every contestant, the tables."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench_modules import BENCH, bench, bench_is_importable  # noqa: F401
from plain_probes import objective, scikit_learn

SIZES = {
    "covariance": {"samples": 300, "dtype": "float32", "dims": 200},
    "linear probe": {"samples": 400, "classes": 5, "dtype": "float32", "steps": 1, "dims": 12},
    "probe path": {"samples": 400, "classes": 5, "dtype": "float32", "steps": 3, "dims": 12},
    "small probes": {"samples": 400, "classes": 5, "dtype": "float32", "steps": 3, "dims": 12},
}
PROBES = [job for job in SIZES if job != "covariance"]
JUDGED = SimpleNamespace(form=None, tolerance=1e-6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("jobs")
    for job in SIZES:
        bench("jobs").JOBS[job].make(made, [case_of(job)])
    return made


@pytest.fixture
def threads_of_torch() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def case_of(job: str) -> Any:
    return bench("cases").Case(models=1, **SIZES[job])


def job_of(job: str) -> Any:
    return bench("jobs").JOBS[job]


def refused(job: str, answer: Any, folder: Path, contestant: Any = JUDGED) -> str:
    with pytest.raises(bench("cases").WrongAnswerError, match="wrong") as error:
        job_of(job).check(answer, contestant, folder, case_of(job))
    return str(error.value)


def test_sizes_in_words() -> None:
    case = bench("cases").Case
    assert str(case(1_000, 50_000)) == "1,000 models x 50,000 samples"
    assert str(case(84, 50_000, 1_000)) == "84 models x 50,000 samples"
    assert str(case(1, 50_000, 1_000, "float32")) == "50,000 samples x 1,000 classes, float32"
    said = str(case(1, 20_000, 0, "float32", dims=2_048))
    assert said == "20,000 samples x 2,048 dimensions, float32"
    said = str(case(1, 10_000, 100, "float32", steps=12, dims=512))
    assert said == "10,000 samples x 512 dimensions x 100 classes, float32"


def test_cases_without_dimensions_are_read() -> None:
    """As in records that were kept before there were any."""
    text = '[{"models": 3, "samples": 5, "classes": 0, "dtype": "", "steps": 0}]'
    cases = bench("cases")
    assert cases.read_cases(text) == [cases.Case(3, 5)]


@pytest.mark.parametrize("path", sorted(BENCH.glob("results/*.json")), ids=lambda path: path.stem)
def test_kept_records_are_shown(path: Path) -> None:
    record = json.loads(path.read_text())
    shown = bench("tables").show(record)
    assert {row["job"] for row in record["rows"]}
    assert all(row["job"] in shown for row in record["rows"])


def test_features_share_factors(folder: Path) -> None:
    jobs, case = bench("feature_jobs"), case_of("covariance")
    case = dataclasses.replace(case, samples=20_000, dims=16)
    x, y = job_of("covariance").load(folder, case)
    assert x.dtype == y.dtype == np.float32
    for features in (x, y):
        np.testing.assert_allclose(features.mean(axis=0), jobs.MEAN, atol=0.05)
        np.testing.assert_allclose(features.std(axis=0), 1, atol=0.05)
    between = np.corrcoef(x, y, rowvar=False)[:16, 16:]
    same = np.equal.outer(np.arange(16), np.arange(16)) | (
        np.abs(np.subtract.outer(np.arange(16), np.arange(16))) == jobs.FACTORS
    )
    np.testing.assert_allclose(between, np.where(same, jobs.SHARED, 0), atol=0.04)
    for one, again in zip((x, y), job_of("covariance").load(folder, case), strict=True):
        np.testing.assert_array_equal(one, again)


@pytest.fixture
def covariance(folder: Path) -> np.ndarray:
    x, y = job_of("covariance").load(folder, case_of("covariance"))
    both = np.cov(x.T, y.T)
    return both[: x.shape[1], x.shape[1] :]


def test_the_right_covariance_passes(covariance: np.ndarray, folder: Path) -> None:
    for answer in (covariance, torch.from_numpy(covariance)):
        said = job_of("covariance").check(answer, JUDGED, folder, case_of("covariance"))
        assert float(said.removeprefix("off by ")) < 1e-12


@pytest.mark.parametrize("entry", [(0, 0), (0, 199), (33, 7), (199, 199)], ids=str)
def test_one_wrong_entry_is_refused(
    covariance: np.ndarray, folder: Path, entry: tuple[int, int]
) -> None:
    covariance[entry] += 1e-4
    assert "off by" in refused("covariance", covariance, folder)


def test_wrong_entries_that_cancel_in_the_sum_are_refused(
    covariance: np.ndarray, folder: Path
) -> None:
    path = bench("feature_jobs").answers(folder, case_of("covariance"))
    with np.load(path) as known:
        i, (one, other), signs = known["i"][0], known["j"][:2], known["signs"]
    covariance[i, one] += 1e-4 * signs[one]
    covariance[i, other] -= 1e-4 * signs[other]
    assert "off by" in refused("covariance", covariance, folder)


def test_wrong_covariances_are_refused(covariance: np.ndarray, folder: Path) -> None:
    unknown = covariance.copy()
    unknown[3, 4] = np.nan
    for answer in (covariance.T, covariance * (299 / 300), np.zeros_like(covariance), unknown):
        assert "off by" in refused("covariance", answer, folder)
    assert "shape (200, 199)" in refused("covariance", covariance[:, :-1], folder)


def test_the_product_is_told_not_judged(folder: Path) -> None:
    peers = bench("peers.covariance")
    product = next(c for c in peers.COVARIANCE if c.name == peers.PRODUCT)
    data, case = job_of("covariance").load(folder, case_of("covariance")), case_of("covariance")
    said = job_of("covariance").check(product.prepare(data, 1)(), product, folder, case)
    # the means alone: 100 * 100 * 300 / 299
    assert float(said.removeprefix("off by ")) == pytest.approx(10_033, rel=0.3)


def test_probes_see_standardised_features_and_overlapping_classes() -> None:
    case = bench("cases").Case(1, 10_000, 100, "float32", steps=1, dims=512)
    features, target = bench("probe_jobs").draw(case)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(features.std(axis=0), 1, atol=1e-5)
    assert np.bincount(target).tolist() == [100] * 100
    spectrum = np.linalg.eigvalsh(np.corrcoef(features, rowvar=False))[::-1]
    assert spectrum[:51].sum() > 0.5 * spectrum.sum()  # a tenth of the directions
    means = np.stack([features[target == k].mean(axis=0) for k in range(100)])
    nearest = ((features**2).sum(1)[:, None] - 2 * features @ means.T + (means**2).sum(1)).argmin(1)
    assert 0.1 < (nearest == target).mean() < 0.9


def test_tasks() -> None:
    path = job_of("probe path").tasks(case_of("probe path"))
    assert [task.penalty for task in path] == pytest.approx([1e-4, 10**-2.5, 1e-1])
    small = job_of("small probes").tasks(case_of("small probes"))
    assert [task.penalty for task in small] == pytest.approx([0.1] * 3)
    for task in path:
        assert task.dims.tolist() == list(range(12))
    assert len({tuple(task.dims) for task in small}) == 3
    for task in small:
        assert len(task.dims) == 6
        assert task.dims.tolist() == sorted(set(task.dims))


def right_answer(job: str, folder: Path) -> list[Any]:
    data = job_of(job).load(folder, case_of(job))
    return [
        bench("probe_jobs").Fit(
            *scikit_learn(data.features[:, task.dims], data.target, C=task.penalty), 7
        )
        for task in data.tasks
    ]


@pytest.mark.parametrize("job", PROBES)
def test_the_bound_is_next_to_the_least_loss(job: str, folder: Path) -> None:
    jobs = bench("probe_jobs")
    data = job_of(job).load(folder, case_of(job))
    least = job_of(job).least(folder, case_of(job))
    answer = right_answer(job, folder)
    for task, bound, fit in zip(data.tasks, least, answer, strict=True):
        x = data.features[:, task.dims]
        loss = objective(x, data.target, fit.weights, fit.intercepts, task.penalty) / len(x)
        assert jobs.loss_of(data, task, fit) == pytest.approx(loss, rel=1e-12)
        assert bound * (1 - 1e-12) <= loss <= bound * (1 + 1e-8)
        for step in (1e-3, 1e-2, 1e-1):  # of any weights and intercepts: true, if not tight
            noise = step * np.random.default_rng(0).standard_normal((6, *fit.weights.shape))
            rough = fit._replace(weights=fit.weights + noise[0], intercepts=noise[1, :, 0])
            assert jobs.bound_by(data, task, rough) <= loss
    said = job_of(job).check(answer, JUDGED, folder, case_of(job))
    assert said.endswith(f"above the least, {7 * len(answer)} iterations")


@pytest.mark.parametrize("job", PROBES)
def test_wrong_probes_are_refused(job: str, folder: Path) -> None:
    answer = right_answer(job, folder)
    *others, last = answer
    data = job_of(job).load(folder, case_of(job))
    task = data.tasks[-1]
    x = data.features[:, task.dims]
    other_penalty = scikit_learn(x, data.target, C=1.3 * task.penalty)
    for wrong in (
        last._replace(weights=1.02 * last.weights),
        last._replace(weights=np.roll(last.weights, 1, axis=0)),
        last._replace(intercepts=last.intercepts + 0.05 * (np.arange(5) == 0)),
        last._replace(weights=np.zeros_like(last.weights)),
        last._replace(weights=last.weights + np.nan),
        last._replace(weights=1e9 * last.weights),
        bench("probe_jobs").Fit(*other_penalty, 7),
    ):
        assert "at C = " in refused(job, [*others, wrong], folder)
    assert "weights" in refused(job, [*others, last._replace(weights=last.weights[:, 1:])], folder)
    assert "probes, expected" in refused(job, others, folder)


def test_no_bound_without_the_best_intercepts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, job = bench("probe_jobs"), job_of("linear probe")
    data, (fit,) = (
        job.load(folder, case_of("linear probe")),
        right_answer("linear probe", folder),
    )
    assert np.isfinite(jobs.bound_by(data, data.tasks[0], fit))
    monkeypatch.setattr(jobs, "best_intercepts", lambda *_: (fit.intercepts, np.ones((400, 5))))
    assert np.isnan(jobs.bound_by(data, data.tasks[0], fit))


def every_contestant() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH))
        for job in SIZES:
            for contestant in bench("peers").CONTESTANTS[job]:
                yield pytest.param(job, contestant, id=f"{job}, {contestant.name}")


@pytest.mark.usefixtures("threads_of_torch")
@pytest.mark.parametrize(("job", "contestant"), list(every_contestant()))
def test_every_contestant_is_right(
    job: str, contestant: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in contestant.env.items():
        monkeypatch.setenv(name, value)
    row = bench("worker").measure(job_of(job), contestant, case_of(job), 1, folder, 0.0)
    assert row["seconds"] > 0
    assert row["answer"].startswith("off by" if job == "covariance" else ("loss", "3 losses"))


def test_an_entry_in_a_process_of_its_own(folder: Path) -> None:
    script, job = bench("side_by_side"), "small probes"
    ours = bench("peers").CONTESTANTS[job][0]
    [row] = script.run(script.Entry(job, ours, 1, [case_of(job)], 0.0), folder)
    assert row["problem"] == ""
    assert row["answer"].startswith("3 losses")
    assert row["case"]["dims"] == 12


def plan_of(*arguments: Any, **changes: Any) -> Any:
    options = {"quick": False, "full": False, "jobs": list(SIZES), "threads": [1, 2], "passes": 2}
    return bench("side_by_side").plan_of(argparse.Namespace(**options | changes), *arguments)


def test_quick_plans_are_smaller() -> None:
    full, quick = plan_of(), plan_of(quick=True)
    assert list(full.cases) == list(quick.cases) == list(SIZES)
    for job in SIZES:
        (case,), (small,) = full.cases[job], quick.cases[job]
        assert small.samples < case.samples
        assert small.dims < case.dims


def test_a_twin_takes_part_on_several_threads_only() -> None:
    of_path = [
        (entry.contestant.name, entry.threads)
        for entry in bench("side_by_side").contests(plan_of(jobs=["probe path"]))
    ]
    assert of_path == [
        ("ovcore", 1),
        ("scikit-learn", 1),
        ("ovcore", 2),
        ("scikit-learn", 2),
        ("scikit-learn, BLAS on one thread", 2),
    ]


def test_what_is_repeated() -> None:
    is_slow = bench("side_by_side").is_slow
    assert is_slow([{"threads": 1, "rounds": 1, "seconds": 4}])
    assert is_slow([{"threads": 2, "rounds": 1, "seconds": 40}])
    assert not is_slow([{"threads": 2, "rounds": 1, "seconds": 4}])
    assert not is_slow([{"threads": 2, "rounds": 3, "seconds": 40}])
    assert not is_slow([{"threads": 1, "problem": "cannot run"}])


def test_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The better of two; but one where one is enough."""
    script, job = bench("side_by_side"), "covariance"
    ran: list[str] = []

    def run(entry: Any, _: Path) -> list[dict[str, Any]]:
        ran.append(entry.contestant.name)
        return [{"threads": 2, "rounds": 3, "seconds": 9.0 - len(ran), "problem": ""}]

    monkeypatch.setattr(script, "run", run)
    contestants = [c for c in bench("peers").CONTESTANTS[job] if "numpy" in c.name]
    entries = [script.Entry(job, c, 2, [case_of(job)], 0.0) for c in contestants]
    found = script.in_passes(2, entries, tmp_path)
    product, centred, both = (c.name for c in contestants)
    assert ran == [product, centred, both, product, centred]
    assert [row["seconds"] for row in found] == [5.0, 4.0, 6.0]


def a_row(job: str, contestant: str, seconds: float, **changes: Any) -> dict[str, Any]:
    row = {
        "job": job, "contestant": contestant, "threads": 2, "problem": "", "seconds": seconds,
        "case": dataclasses.asdict(case_of(job)), "measured": {}, "answer": "", "beside": {},
    }  # fmt: skip
    return row | changes


def test_covariances_are_measured_by_the_product_alone() -> None:
    tables, job = bench("tables"), "covariance"
    rows = [
        a_row(job, "ovcore native", 2.0),
        a_row(job, bench("peers.covariance").PRODUCT, 1.0),
        a_row(job, "torch.cov of both side by side", 8.0),
        a_row(job, "ovcore native", 1.0, threads=1),
    ]
    tables.add_rates({"rows": rows, "limits": {}})
    assert [row["share_of_limit"] for row in rows] == [0.5, 1.0, 0.125, None]
    assert [row["times_native"] for row in rows] == [1.0, 0.5, 4.0, 1.0]
    assert rows[0]["rate"] == 2 * 300 * 200**2 / 2.0
    text = tables.contest(job, case_of(job), rows)
    for part in ("GFLOP/s", "of the product alone", "x native", "50.0 %", "not measured"):
        assert part in text, part


def test_the_better_of_twins_is_named() -> None:
    tables, job = bench("tables"), "probe path"
    pinned = "scikit-learn, BLAS on one thread"
    rows = [
        a_row(job, "ovcore", 1.0),
        a_row(job, "scikit-learn", 6.0),
        a_row(job, pinned, 3.0),
        a_row(job, "scikit-learn", 4.0, threads=1),
    ]
    tables.add_rates({"rows": rows, "limits": {}})
    assert [row["times_native"] for row in rows] == [1.0, 6.0, 3.0, None]
    assert [row["rate"] for row in rows] == [3.0, 0.5, 1.0, 0.75]
    lines = tables.contest(job, case_of(job), rows).splitlines()
    assert lines[0].split() == ["contestant", "threads", "ms", "probes/s", "x", "ovcore"]
    named = [line for line in lines if "the better of scikit-learn's" in line]
    assert len(named) == 1
    assert named[0].startswith(pinned)
