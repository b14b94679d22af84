"""Fits of linear probes that are interrupted and go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovcore.representations import LinearProbe, _fitting, _search
from ovcore.representations._objective import Problems
from plain_probes import problem


class Interrupted(Exception):
    """A person pressed Ctrl-C."""


def interrupting(function: Any, after: int, count: list[int]) -> Any:
    """The function, which counts its calls and raises when there were so many."""

    def counted(*arguments: Any, **options: Any) -> Any:
        if len(count) == after:
            raise Interrupted
        count.append(1)
        return function(*arguments, **options)

    return counted


@pytest.mark.parametrize("protocol", ["clip", "kornblith"])
@pytest.mark.parametrize("after", [0, 1, 9, -1])
def test_an_interrupted_protocol_goes_on_to_the_same_bits(
    protocol: str,
    after: int,
    rng: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, target = problem(rng, 120, 5)
    whole = LinearProbe(protocol=protocol).fit(features, target)
    n_fits = len(whole.lambdas_) + 1
    after %= n_fits
    fit, count = _fitting.fit, list[int]()
    monkeypatch.setattr(_fitting, "fit", interrupting(fit, after, count))
    probe = LinearProbe(protocol=protocol)
    with pytest.raises(Interrupted):
        probe.fit(features, target, checkpoint=tmp_path / "new" / "kept")
    assert not hasattr(probe, "coef_")
    kept = list((tmp_path / "new" / "kept").iterdir())
    assert len(kept) == after
    assert all(path.suffix == ".npz" and path.name[0] != "." for path in kept)
    monkeypatch.setattr(_fitting, "fit", interrupting(fit, n_fits, count))
    probe.fit(features, target, checkpoint=tmp_path / "new" / "kept")
    assert len(count) == n_fits
    again = LinearProbe(protocol=protocol, workers=1)
    again.fit(features, target, checkpoint=tmp_path / "new" / "kept")
    assert len(count) == n_fits
    for resumed in (probe, again):
        for name in ("coef_", "intercept_", "lambdas_", "validation_accuracy_"):
            np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
        assert (resumed.C_, resumed.loss_) == (whole.C_, whole.loss_)


@pytest.mark.parametrize("protocol", [None, "clip"])
def test_a_search_goes_on_from_the_weights_it_had(
    protocol: str | None,
    rng: np.random.Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, target = problem(rng, 400, 30, 6)
    probe = LinearProbe(protocol=protocol)
    whole, count = LinearProbe(protocol=protocol).fit(features, target), list[int]()
    monkeypatch.setattr(_search, "_SECONDS", -1.0)
    loss = Problems.loss_and_gradient
    monkeypatch.setattr(Problems, "loss_and_gradient", interrupting(loss, 14, count))
    with pytest.raises(Interrupted):
        probe.fit(features, target, checkpoint=tmp_path)
    monkeypatch.setattr(Problems, "loss_and_gradient", loss)
    resumed = probe.fit(features, target, checkpoint=tmp_path)
    assert resumed.loss_ == pytest.approx(whole.loss_, rel=1e-8)
    assert resumed.C_ == whole.C_
    if protocol is None:
        assert resumed.n_iter_ < whole.n_iter_ - 5
    assert not list(tmp_path.glob(".*"))


def test_checkpoints_of_something_else_are_refused(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    features, target = problem(rng)
    features = np.round(4 * features)  # sums of integers are exact in any order
    probe = LinearProbe(protocol="clip").fit(features, target, checkpoint=tmp_path)
    shuffled, changed, relabelled = np.roll(features, 1, axis=0), features.copy(), target.copy()
    changed[17, 3] += 1
    relabelled[0] = (relabelled[0] + 1) % 3
    beside = features[:240], target[:240], (features[240:], target[240:])
    for settings, x, y, validation in [
        ({}, shuffled, target, None),
        ({}, changed, target, None),
        ({}, features[:, ::-1], target, None),
        ({}, features, relabelled, None),
        ({}, *beside),
        ({"protocol": None}, features, target, None),
        ({"tol": 1e-7}, features, target, None),
        ({"standardize": False}, features, target, None),
        ({"seed": 1}, features, target, None),
        ({"validation_fraction": 0.3}, features, target, None),
        ({"max_iter": 999}, features, target, None),
    ]:
        other = LinearProbe(**{"protocol": "clip", **settings})
        with pytest.raises(ValueError, match="is a checkpoint of other data or settings"):
            other.fit(x, y, validation=validation, checkpoint=tmp_path)
    same = LinearProbe(protocol="clip", workers=1, warm_start=True)
    same.fit(
        features, np.array(list("xyz"))[target], checkpoint=tmp_path
    )  # names are of no account
    np.testing.assert_array_equal(same.coef_, probe.coef_)


@pytest.mark.parametrize("content", ["cut", "empty", "text", "other"])
def test_damaged_checkpoints_are_refused(
    content: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    features, target = problem(rng)
    LinearProbe().fit(features, target, checkpoint=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if content == "other":
        np.savez(path, weights=np.zeros(3))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "text": b"text"}[content])
    with pytest.raises(ValueError, match=r"final\.npz cannot be read as a checkpoint .*delete it"):
        LinearProbe().fit(features, target, checkpoint=tmp_path)
    path.unlink()
    LinearProbe().fit(features, target, checkpoint=tmp_path)
    assert path.read_bytes() == whole


def test_another_split_of_the_same_samples_is_something_else(tmp_path: Path) -> None:
    features = np.random.default_rng(0).standard_normal((300, 6))
    target = np.arange(300) % 3
    LinearProbe(protocol="clip").fit(features, target, checkpoint=tmp_path)  # holds out 60 of 300
    with pytest.raises(ValueError, match="of other data or settings"):
        LinearProbe(protocol="clip").fit(
            features[:240],
            target[:240],
            validation=(features[240:], target[240:]),
            checkpoint=tmp_path,
        )


def test_settings_are_compared_by_value(rng: np.random.Generator, tmp_path: Path) -> None:
    features, target = problem(rng, 120, 5)
    first = LinearProbe(C=1, max_iter=500).fit(features, target, checkpoint=tmp_path)
    again = LinearProbe(C=np.float64(1.0), max_iter=np.int64(500))
    np.testing.assert_array_equal(
        again.fit(features, target, checkpoint=tmp_path).coef_, first.coef_
    )
