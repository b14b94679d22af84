"""One call, labelled results."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch

import ovcore as ov

mpl.use("Agg")


@pytest.fixture
def compared(rng: np.random.Generator) -> ov.Comparison:
    target = rng.integers(0, 5, 300)
    logits = rng.normal(size=(4, 300, 5)) + 1.5 * np.eye(5)[target]
    return ov.compare(logits, target, models=list("abcd"), base="c", temperature=1.0)


def test_the_table_measures_against_the_base(compared: ov.Comparison) -> None:
    rows = compared.rows()
    assert [row["model"] for row in rows] == ["c", "a", "b", "d"]
    assert rows[0]["error_inconsistency"] == 0
    assert rows[1]["error_inconsistency"] == compared.error_inconsistency[2, 0]
    assert rows[3]["ensemble_accuracy"] == compared.ensembles.accuracy[2, 3]
    text = compared.table("d")
    assert text.splitlines()[2].split()[0] == "d"
    assert "error inconsistency" in text
    assert f"{compared.accuracy[3]:.4f}" in text


def test_pandas_has_a_row_for_each_pair(compared: ov.Comparison) -> None:
    frame = compared.to_pandas()
    assert len(frame) == 6
    pair = frame[(frame.model_a == "b") & (frame.model_b == "d")].iloc[0]
    assert pair.error_inconsistency == compared.error_inconsistency[1, 3]
    assert pair.gain == compared.ensembles.gain[1, 3]
    assert pair.accuracy_b == compared.accuracy[3]


def test_plot_draws_every_model_once(compared: ov.Comparison) -> None:
    axes = compared.plot()
    assert sorted(label.get_text() for label in axes.get_xticklabels()) == list("abcd")
    order = compared.clustered_order()
    drawn = axes.images[0].get_array()
    np.testing.assert_array_equal(drawn, compared.error_inconsistency[np.ix_(order, order)])
    mpl.pyplot.close("all")
    _, given = mpl.pyplot.subplots()
    assert compared.plot(given) is given
    mpl.pyplot.close("all")


def test_temperatures_are_fitted_on_the_split_given(rng: np.random.Generator) -> None:
    target = rng.integers(0, 5, 600)
    logits = 7 * (rng.normal(size=(2, 600, 5)) + 1.5 * np.eye(5)[target])
    half = (logits[:, :300], target[:300])
    result = ov.compare(logits[:, 300:], target[300:], calibration_split=half)
    expected = ov.calibration.fit_temperature(*half).temperature
    np.testing.assert_array_equal(result.temperature, expected)
    np.testing.assert_array_equal(
        result.ensembles.hits,
        ov.ensembles.pairs(logits[:, 300:], target[300:], temperature=expected).hits,
    )
    with pytest.warns(UserWarning, match="fitted on the samples they are reported on"):
        ov.compare(*half)
    with pytest.warns(UserWarning, match="fitted on the samples they are reported on"):
        ov.compare(*half, calibration_split=half)
    with pytest.raises(TypeError, match="must be a pair"):
        ov.compare(logits, target, calibration_split=half[0])
    with pytest.raises(TypeError, match="must be a pair"):
        ov.compare(logits, target, calibration_split=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="calibration_split has 2 models but logits has 1"):
        ov.compare(logits[:1, 300:], target[300:], calibration_split=half)
    with pytest.raises(ValueError, match="calibration_split has 5 classes but logits has 6"):
        ov.compare(np.pad(logits, ((0, 0), (0, 0), (0, 1))), target, calibration_split=half)
    with pytest.raises(
        ValueError, match=r"calibration_split\[0\] has 300 samples but target has 9"
    ):
        ov.compare(logits, target, calibration_split=(half[0], target[:9]))
    with pytest.raises(ValueError, match="calibration_split is for temperature='fit'"):
        ov.compare(logits, target, temperature=1.0, calibration_split=half)


def test_the_callers_temperatures_are_copied_into_its_library(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(2, 20, 3)), rng.integers(0, 3, 20)
    mine = np.array([1.0, 2.0])
    result = ov.compare(logits, target, temperature=mine)
    mine[0] = 77
    assert result.temperature.tolist() == [1.0, 2.0]
    tensors = ov.compare(torch.from_numpy(logits), target, temperature=2.0)
    assert isinstance(tensors.temperature, torch.Tensor)
    assert tensors.table().splitlines()[0].startswith("model")


def test_names_and_bases_of_other_types_are_refused(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(2, 20, 3)), rng.integers(0, 3, 20)
    for options, message in (
        ({"models": "ab"}, "models must be a sequence of names, got 'ab'"),
        ({"models": [1, 2]}, "models must be a sequence of names"),
        ({"base": 1.0}, "base must be a name or an index, got 1.0"),
    ):
        with pytest.raises(TypeError, match=message):
            ov.compare(logits, target, temperature=1.0, **options)


def test_defaults_and_bad_names(rng: np.random.Generator) -> None:
    logits, target = rng.normal(size=(2, 20, 3)), rng.integers(0, 3, 20)
    result = ov.compare(logits, target, temperature=1.0)
    assert result.models == ("model 0", "model 1")
    assert result.base == "model 0"
    assert ov.compare(logits, target, base=-1, temperature=1.0).base == "model 1"
    assert repr(result) == "Comparison(2 models x 20 samples, base 'model 0')"
    for options, message in (
        ({"models": ["a"]}, "models has 1 names but logits has 2 models"),
        ({"models": ["a", "a"]}, "names that repeat"),
        ({"base": "x"}, "no model is named 'x'; there are: model 0, model 1"),
        ({"base": 2}, "there is no model 2; there are 2"),
        ({"temperature": "warm"}, "temperature must be 'fit', 'stored' .* got 'warm'"),
    ):
        with pytest.raises(ValueError, match=message):
            ov.compare(logits, target, **{"temperature": 1.0, **options})
