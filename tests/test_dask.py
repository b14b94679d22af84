"""The Dask adapter against one process: any chunks, stores, lost workers."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ovcore as ov
from ovcore import _dispatch
from ovcore.counts import PairCounts
from ovcore.store import ModelCard, Store, StoreWriter

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

from ovcore.adapters import dask as ovd  # noqa: E402  # once it is known to be there
from ovcore.commands import clusters  # noqa: E402

M, N, K = 4, 40_000, 5
RNG = np.random.default_rng(11)
TARGET = RNG.integers(0, K, N)
LOGITS = (RNG.normal(size=(M, N, K)) + RNG.uniform(1, 3, (M, 1, 1)) * np.eye(K)[TARGET]).astype(
    np.float32
)
NAMES = [f"model {m}" for m in range(M)]
TEMPERATURE = [0.5, 0.8, 1.0, 2.0]


@pytest.fixture
def in_turn() -> Iterator[None]:
    """Tasks run one after the other in this process."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes of one thread each."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0",
            host="127.0.0.1", silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as connected,
    ):  # fmt: skip
        yield connected


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("stores") / "s"
    with StoreWriter(path, target=TARGET, sample_ids=[str(n) for n in range(N)]) as writer:
        for m, name in enumerate(NAMES):
            writer.add(ModelCard(name, temperature=TEMPERATURE[m]), logits=LOGITS[m])
    return Store(path)


def chunks_of(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    """A few chunks of any size, some of one sample and some of none."""
    cuts = np.sort(rng.integers(0, n + 1, rng.integers(1, 9)))
    edges = np.sort(np.concatenate([[0, 1, n], cuts, cuts[:2], cuts[-1:]]))
    return tuple(int(size) for size in np.diff(edges))


def same_fit(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(found.temperature, expected.temperature)
    np.testing.assert_array_equal(found.nll, expected.nll)
    assert found.status == expected.status


def same_pairs(found: Any, expected: Any) -> None:
    for name in ("hits", "conversions", "rescues"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.errors == expected.errors


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("seed", range(4))
def test_any_chunks_count_as_one_process(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = chunks_of(rng, N)
    whole = da.from_array(LOGITS, chunks=((1, 2, 1), samples, (K - 1, 1)))
    several = [da.from_array(z, chunks=(chunks_of(rng, N), K)) for z in LOGITS]
    target: Any = TARGET if seed % 2 else da.from_array(TARGET, chunks=(chunks_of(rng, N),))
    preds = LOGITS.argmax(2)
    classes = da.from_array(preds, chunks=(2, samples))
    sizes = {"block_size": int(rng.integers(3000, N)), "split_every": int(rng.integers(2, 9))}
    expected = PairCounts.from_outputs(LOGITS, TARGET, temperature=TEMPERATURE)
    for outputs in (whole, several):
        assert ovd.joint_errors(outputs, target, **sizes) == expected.errors
        found = ovd.pair_counts(outputs, target, temperature=TEMPERATURE, **sizes)
        assert found == expected
        pairs = ovd.pairs(outputs, target, temperature=TEMPERATURE, **sizes)
        same_pairs(pairs, expected.ensembles)
        np.testing.assert_array_equal(ovd.joint_agreement(outputs, **sizes), expected.agreement)
    assert ovd.joint_errors(classes, target, **sizes) == expected.errors
    assert ovd.joint_errors(list(classes), target, **sizes) == expected.errors
    np.testing.assert_array_equal(ovd.joint_agreement(classes, **sizes), expected.agreement)
    assert ovd.compare(classes, target, **sizes).ensembles is None


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize("block_size", [None, 1, 16_384, N])
def test_temperatures_are_those_of_one_process_to_the_bit(block_size: int | None) -> None:
    rng = np.random.default_rng(3)
    expected = ov.calibration.fit_temperature(LOGITS, TARGET)
    outputs = da.from_array(LOGITS, chunks=(3, chunks_of(rng, N), 2))
    same_fit(ovd.fit_temperature(outputs, TARGET, block_size=block_size), expected)
    several = [da.from_array(z, chunks=(chunks_of(rng, N), K)) for z in LOGITS]
    same_fit(ovd.fit_temperature(several, TARGET, block_size=block_size), expected)
    few = slice(0, 50)
    same_fit(
        ovd.fit_temperature(outputs[:, few], TARGET[few]),
        ov.calibration.fit_temperature(LOGITS[:, few], TARGET[few]),
    )


@pytest.mark.usefixtures("in_turn")
def test_more_than_eight_canonical_blocks() -> None:
    """Three levels of the tree, and tasks of eight blocks."""
    n = 66 * 16_384 + 7
    target = RNG.integers(0, 2, n)
    logits = (RNG.normal(size=(2, n, 2)) + np.eye(2)[target]).astype(np.float16)
    logits[1] += logits[0]
    expected = ov.calibration.fit_temperature(logits, target)
    outputs = da.from_array(logits, chunks=(2, 300_000, 2))
    for block_size in (16_384, 8 * 16_384):
        same_fit(ovd.fit_temperature(outputs, target, block_size=block_size), expected)


@pytest.mark.usefixtures("in_turn")
def test_models_without_signal_or_optimum() -> None:
    target = np.array([0, 1, 1])
    logits = np.stack([np.eye(2)[target], np.eye(2)[1 - target], np.ones((3, 2))])
    expected = ov.calibration.fit_temperature(logits, target)
    assert expected.status == ("at_bound", "at_bound", "no_signal")
    same_fit(ovd.fit_temperature(da.from_array(logits, chunks=1), target), expected)


@pytest.mark.filterwarnings("ignore:temperatures are fitted on the samples")
def test_a_comparison_on_a_cluster_is_that_of_one_process(client: Any, store: Store) -> None:
    expected = ov.compare(store)
    outputs = da.from_array(LOGITS, chunks=(2, 9_000, K))
    for given, target in ((store, None), (outputs, TARGET)):
        found = ovd.compare(given, target, models=NAMES, client=client, block_size=9_000)
        np.testing.assert_array_equal(found.temperature, expected.temperature)
        same_pairs(found.ensembles, expected.ensembles)
        assert found.table() == expected.table()
    stored = ovd.compare(store, temperature="stored", base="model 2", client=client)
    assert stored.table() == ov.compare(store, temperature="stored", base="model 2").table()


@pytest.mark.usefixtures("in_turn")
def test_views_of_a_store(store: Store) -> None:
    """Only what the view shows is counted, whichever rows of the files that is."""
    rng = np.random.default_rng(4)
    for samples in (slice(100, 30_000), rng.permutation(N)[:20_000], TARGET > 0):
        view = store.select(["model 2", "model 0"], samples)
        logits, target = LOGITS[[2, 0]][:, samples], TARGET[samples]
        assert ovd.joint_errors(view, block_size=7_000) == ov.JointErrors.from_errors(
            ov.pack_errors(logits, target)
        )
        np.testing.assert_array_equal(
            ovd.joint_agreement(view), ov.pairwise.joint_agreement(logits)
        )
        same_fit(ovd.fit_temperature(view), ov.calibration.fit_temperature(logits, target))
    other = (TARGET + 1) % K
    assert ovd.joint_errors(store, other) == ov.JointErrors.from_errors(
        ov.pack_errors(LOGITS, other)
    )


@pytest.mark.usefixtures("in_turn")
def test_temperatures_are_fitted_on_a_split(store: Store) -> None:
    held, rest = store.select(samples=slice(0, 9_000)), store.select(samples=slice(9_000, N))
    expected = ov.compare(rest, calibration_split=held)
    split = (da.from_array(LOGITS[:, :9_000], chunks=4_000), TARGET[:9_000])
    for given in (held, split):
        found = ovd.compare(rest, calibration_split=given)
        np.testing.assert_array_equal(found.temperature, expected.temperature)
        assert found.table() == expected.table()
    with pytest.raises(ValueError, match="has no model 'model 0' to fit"):
        ovd.compare(rest, calibration_split=held.select(["model 1"]))
    with pytest.raises(ValueError, match="calibration_split has 2 models but logits has 4"):
        ovd.compare(rest, calibration_split=(split[0][:2], split[1]))
    with pytest.raises(ValueError, match="calibration_split is for temperature='fit'"):
        ovd.compare(rest, calibration_split=held, temperature=1.0)
    with pytest.warns(UserWarning, match="fitted on the samples they are reported on"):
        ovd.compare(rest)


def test_imagenet_models(real_data: Any, client: Any, tmp_path: Path) -> None:
    data, _ = real_data("imagenet_top5_dev.npz")
    labels = data["labels"].astype(np.int64)
    with StoreWriter(tmp_path / "s", target=labels, n_classes=1000) as writer:
        for name, classes, probs in zip(data["names"], data["preds"], data["probs"], strict=True):
            writer.add(ModelCard(str(name)), topk=ov.TopK(classes, probs, 1000))
    found = ovd.compare(Store(tmp_path / "s"), temperature=1.0, client=client, block_size=13_000)
    expected = ov.compare(Store(tmp_path / "s"), temperature=1.0)
    same_pairs(found.ensembles, expected.ensembles)
    assert found.table() == expected.table()
    with pytest.raises(ValueError, match="stored top-k outputs do not carry all confidences"):
        ovd.compare(Store(tmp_path / "s"), client=client)

    data, _ = real_data("imagenet_val_v2_top1_dev.npz")
    preds, target = data["val_preds"], data["val_labels"]
    outputs = da.from_array(preds, chunks=(9, 7_001))
    found = ovd.pair_counts(outputs, target, client=client, block_size=6_000)
    assert found == PairCounts.from_outputs(preds, target)


@pytest.mark.usefixtures("in_turn")
def test_moments_are_the_same_bits_whatever_the_chunks(client: Any) -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(150_000, 6)).astype(np.float32) + 10
    other = rng.normal(size=(150_000, 3))
    whole = ov.representations.Moments.from_features(features, other.astype(np.float32))
    first = None
    for size in (None, 16_384, 1_000_000):
        sides = [da.from_array(features, chunks=(chunks_of(rng, 150_000), 4))]
        sides.append(da.from_array(other.astype(np.float32), chunks=(70_000, 3)))
        found = ovd.moments(*sides, block_size=size, client=client if size is None else None)
        first = first or found
        for name in ("comoment", "mean", "other_mean"):
            np.testing.assert_array_equal(getattr(found, name), getattr(first, name))
            np.testing.assert_allclose(
                getattr(found, name), getattr(whole, name), rtol=1e-6, atol=2e-3
            )
        assert found.n_samples == 150_000
    two = [da.from_array(other, chunks=9_999), da.from_array(other[:, :1] + 1, chunks=150_000)]
    np.testing.assert_allclose(
        ovd.covariance(two), np.cov(np.hstack([other, other[:, :1] + 1]).T), atol=1e-12
    )
    with pytest.raises(ValueError, match="features has 10 samples but other has 150000"):
        ovd.moments(da.zeros((10, 2)), two[0])
    features[20_000] = np.nan
    with pytest.raises(ValueError, match=r"in samples from 16384 to 32767.*features has NaN"):
        ovd.moments(da.from_array(features, chunks=50_000), block_size=16_384)


def test_many_labels_in_memory_are_sent_without_a_warning(client: Any) -> None:
    n = 1_500_000
    outputs = da.zeros((2, n), dtype=np.int8, chunks=(2, 500_000))
    found = ovd.joint_errors(outputs, np.arange(n) % 2, client=client, block_size=400_000)
    assert found == ov.JointErrors(np.full((2, 2), n // 2), n)


def made(block: Any, folder: str, block_info: Any = None) -> Any:
    """A chunk of logits; leaves a file that says which process made it."""
    number = block_info[0]["chunk-location"][1]
    Path(folder, f"{number}-{os.getpid()}-{uuid.uuid4().hex}").touch()
    time.sleep(0.02)
    return block


def test_blocks_of_a_killed_worker_are_counted_again(client: Any, tmp_path: Path) -> None:
    n_blocks = 40
    logits = da.from_array(LOGITS, chunks=(M, N // n_blocks, K), name=False)
    outputs = logits.map_blocks(made, folder=str(tmp_path), dtype=logits.dtype)
    victim = next(iter(client.run(os.getpid).values()))

    def kill() -> None:
        while sum(f"-{victim}-" in file.name for file in tmp_path.iterdir()) < 6:
            time.sleep(0.005)
        os.kill(victim, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    # all counts are held until the last, so that those of the victim are lost
    found = ovd.pair_counts(
        outputs, TARGET, temperature=1.0, client=client, block_size=N // n_blocks, split_every=99
    )
    thread.join()
    assert found == PairCounts.from_outputs(LOGITS, TARGET, temperature=1.0)
    runs = Counter(int(file.name.split("-")[0]) for file in tmp_path.iterdir())
    assert sorted(runs) == list(range(n_blocks))
    by_victim = {int(f.name.split("-")[0]) for f in tmp_path.iterdir() if f"-{victim}-" in f.name}
    assert len(by_victim) >= 6
    # but for what the other worker had fetched before
    assert any(runs[number] >= 2 for number in by_victim)
    client.wait_for_workers(2)


@pytest.mark.usefixtures("in_turn")
def test_a_task_keeps_to_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    plain = _dispatch.count_workers

    def counted(workers: int | None) -> int:
        used.append(plain(workers))
        return used[-1]

    monkeypatch.setattr(_dispatch, "count_workers", counted)
    outputs = da.from_array(LOGITS, chunks=(M, 10_000, K))
    for workers in (1, 2):
        used.clear()
        ovd.pairs(outputs, TARGET, workers=workers)
        ovd.fit_temperature(outputs, TARGET, workers=workers)
        ovd.joint_agreement(outputs, workers=workers)
        assert set(used) == {min(workers, plain(None))} | {workers}
    assert plain(None) == len(os.sched_getaffinity(0))


@pytest.mark.usefixtures("in_turn")
def test_bad_samples_are_placed() -> None:
    logits = LOGITS.copy()
    logits[1, 25_003] = np.nan
    outputs = da.from_array(logits, chunks=(M, 10_000, K))
    with pytest.raises(
        ValueError, match=r"in samples from 20000 to 29999, counted.*model 1 .* at sample 5003"
    ):
        ovd.joint_errors(outputs, TARGET, block_size=10_000)
    with pytest.raises(
        ValueError, match=r"in samples from 16384 to 32767, .*model 1 has.* at sample 8619"
    ):
        ovd.fit_temperature(outputs, TARGET)
    left_out = ovd.joint_errors(outputs, TARGET, nan_policy="omit")
    assert left_out == ov.JointErrors.from_errors(ov.pack_errors(logits, TARGET, nan_policy="omit"))
    labels = TARGET.copy()
    labels[30_001] = K
    with pytest.raises(ValueError, match=r"from 30000 to 39999.* target\[1\] is 5"):
        ovd.joint_errors(da.from_array(LOGITS, chunks=9_000), labels, block_size=10_000)


@pytest.mark.usefixtures("in_turn")
def test_what_is_not_understood_is_refused(tmp_path: Path) -> None:
    outputs = da.from_array(LOGITS, chunks=(M, 10_000, K))
    unknown = outputs[:, da.from_array(TARGET > 2, chunks=10_000)]
    classes = outputs.argmax(2)
    for refused, message in (
        (lambda: ovd.joint_errors(unknown, TARGET), "unknown sizes.*compute_chunk_sizes"),
        (lambda: ovd.joint_errors(outputs, TARGET[1:]), "outputs has 40000 samples but target"),
        (lambda: ovd.joint_errors(outputs, TARGET[None]), r"target must be \(N,\)"),
        (lambda: ovd.joint_errors(outputs[0], TARGET), "outputs has shape .* so integer classes"),
        (lambda: ovd.joint_errors([outputs], TARGET), r"outputs\[0\] must be \(N, K\) logits"),
        (lambda: ovd.joint_errors([], TARGET), "outputs has no models"),
        (lambda: ovd.joint_errors(outputs[:, :0], TARGET[:0]), "outputs has no samples"),
        (lambda: ovd.joint_errors(LOGITS, TARGET), "outputs must be a Dask array, .* ndarray"),
        (lambda: ovd.joint_errors(outputs, TARGET / 2), "target must be integer classes"),
        (lambda: ovd.joint_errors(outputs), "only a store has labels of its own"),
        (lambda: ovd.joint_errors(outputs, TARGET, block_size=0), "block_size must be at least 1"),
        (lambda: ovd.joint_errors(outputs, TARGET, split_every=1), "split_every must be at least"),
        (lambda: ovd.joint_errors(outputs, TARGET, client=5), "client must be a distributed"),
        (lambda: ovd.joint_errors([outputs[0], outputs[1, 1:]], TARGET), r"outputs\[1\] has shape"),
        (lambda: ovd.fit_temperature(classes, TARGET), "do not carry all confidences"),
        (lambda: ovd.pairs(classes, TARGET), "predicted classes, which have no confidence"),
        (lambda: ovd.pairs(outputs, TARGET, temperature=[1, 2]), r"or \(4,\), one a model"),
        (lambda: ovd.pairs(outputs, TARGET, temperature=0), "positive and finite"),
        (lambda: ovd.pairs(outputs, TARGET, temperature="hot"), "a number or 4 numbers"),
        (lambda: ovd.compare(outputs, TARGET, temperature="hot"), "temperature must be 'fit'"),
        (lambda: ovd.compare(outputs, TARGET, models=["a"]), "models has 1 names but logits has 4"),
        (lambda: ovd.moments(outputs), r"features must be \(N, D\)"),
        (lambda: ovd.moments(LOGITS[0]), "features must be a Dask array"),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError), match=message):
            refused()
    with StoreWriter(tmp_path / "f", target=TARGET[:3]) as writer:
        writer.add(ModelCard("a"), features=np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="has features alone, and no outputs"):
        ovd.joint_errors(Store(tmp_path / "f"))


def test_the_command_prints_the_same(
    client: Any, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovcore.__main__ import main

    address = client.scheduler.address
    for more in (["--temperature", "fit"], ["--pairs", "--json", "-"]):
        printed = []
        for where in ([], ["--dask", address], ["--dask"]):
            if where == ["--dask"] and "--pairs" in more:  # starting processes takes seconds
                continue
            assert main(["compare", str(store.path), *more, *where]) == 0
            printed.append(capsys.readouterr())
        assert all(text == printed[0] for text in printed)
    monkeypatch.setattr(clusters, "_PATIENCE", 0.2)
    assert main(["compare", str(store.path), "--dask", "tcp://127.0.0.1:1"]) == 1
    assert "tcp://127.0.0.1:1" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    assert main(["compare", str(store.path), "--dask"]) == 1
    assert "needs distributed: pip install 'ovcore[dask]'" in capsys.readouterr().err
