"""Agreement of predictions against plain loops, other people's libraries and real data."""

from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

import ovcore as ov
from ovcore import agreement
from ovcore.pairwise import capa, joint_agreement, label_disagreement, same_wrong_answer


def random_preds(
    rng: np.random.Generator, n_models: int = 5, n_samples: int = 300, n_classes: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """(M, N) classes that are often right and, where wrong, often the same; and the target."""
    target, decoy, other = rng.integers(0, n_classes, (3, n_samples))
    kind = rng.random((n_models, n_samples))
    return np.where(kind < 0.5, target, np.where(kind < 0.8, decoy, other)), target


def random_probs(
    rng: np.random.Generator, options: np.ndarray, n_models: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """(M, N, K) probabilities over each sample's options, K the most, and a target among them."""
    weights = rng.exponential(size=(n_models, len(options), options.max())) ** 2
    weights *= np.arange(options.max()) < options[:, None]
    return weights / weights.sum(axis=2, keepdims=True), rng.integers(0, options)


def count_equal(preds: np.ndarray) -> list[list[int]]:
    return [[sum(p == q for p, q in zip(a, b, strict=True)) for b in preds] for a in preds]


@pytest.mark.parametrize("n_samples", [1, 63, 64, 65, 127, 1000])
@pytest.mark.parametrize("n_classes", [2, 6, 300])
def test_joint_agreement_counts_equal_predictions(
    backend: str, n_classes: int, n_samples: int, rng: np.random.Generator
) -> None:
    preds, _ = random_preds(rng, 4, n_samples, n_classes)
    result = joint_agreement(preds, backend=backend)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, count_equal(preds))


def test_negative_classes_are_labels(backend: str) -> None:
    preds = np.array([[-1, -1, 0, 3], [-1, 0, 0, -2], [7, -1, -3, -2]])
    np.testing.assert_array_equal(
        joint_agreement(preds, backend=backend), [[4, 2, 1], [2, 4, 1], [1, 1, 4]]
    )


def test_integer_types_mix_and_classes_may_lie_anywhere(backend: str) -> None:
    mixed = [np.array([5, 200], np.uint8), np.array([5, -3], np.int16), np.array([5, 200])]
    assert joint_agreement(mixed, backend=backend).tolist() == [[2, 1, 2], [1, 2, 1], [2, 1, 2]]
    wide = np.array([[0, 65_535], [65_535, 65_535]], np.uint16)
    for offset in (0, -40_000, 2**62, -(2**63)):
        far = wide.astype(np.int64) + offset
        assert joint_agreement(far, backend=backend).tolist() == [[2, 1], [1, 2]]


def test_logits_and_stored_outputs_agree_as_their_predictions(
    backend: str, rng: np.random.Generator
) -> None:
    logits = rng.normal(size=(3, 200, 5)).astype(np.float32)
    expected = joint_agreement(logits.argmax(axis=2), backend=backend)
    classes = np.argsort(-logits, axis=2)[:, :, :2]
    top = ov.TopK(classes, np.take_along_axis(logits, classes, axis=2), n_classes=5)
    for form in (logits, list(logits), torch.from_numpy(logits), top, [top[0], top[1], top[2]]):
        np.testing.assert_array_equal(joint_agreement(form, backend=backend), expected)
    np.testing.assert_array_equal(joint_agreement(logits, backend=backend, workers=1), expected)


def test_label_disagreement_is_a_hamming_distance(backend: str, rng: np.random.Generator) -> None:
    preds, target = random_preds(rng)
    result = label_disagreement(preds, backend=backend)
    np.testing.assert_allclose(result, squareform(pdist(preds, "hamming")), rtol=1e-12)
    inconsistency = ov.pairwise.error_inconsistency(ov.pack_errors(preds, target))
    assert (result >= inconsistency).all()
    assert (result > inconsistency).any()


@pytest.mark.parametrize("form", ["preds", "logits"])
def test_same_wrong_answer_is_a_share_of_what_both_get_wrong(
    form: str, backend: str, rng: np.random.Generator
) -> None:
    preds, target = random_preds(rng)
    data = preds if form == "preds" else np.eye(6, dtype=np.float32)[preds]
    for ignore_index in (None, 2):
        result = same_wrong_answer(data, target, ignore_index=ignore_index, backend=backend)
        kept = np.ones(len(target), bool) if ignore_index is None else target != ignore_index
        for a in range(len(preds)):
            for b in range(len(preds)):
                both_wrong = (preds[a] != target) & (preds[b] != target) & kept
                expected = (preds[a] == preds[b])[both_wrong].mean()
                assert result[a, b] == pytest.approx(expected, rel=1e-12)
        np.testing.assert_array_equal(result.diagonal(), 1)


def test_same_wrong_answer_where_there_is_none() -> None:
    preds = np.array([[0, 0, 1], [1, 1, 0], [2, -1, 0], [0, -1, 0]])
    result = same_wrong_answer(preds, np.zeros(3, int))
    assert np.isnan(result[0, 1])  # never wrong on the same sample
    assert result[1, 2] == 0
    assert result[2, 3] == 1  # -1 is an answer


def capa_of_two(
    a: np.ndarray, b: np.ndarray, target: np.ndarray, options: np.ndarray | list[int]
) -> float:
    """The definition, a sample and a class at a time, on (N, K) probabilities."""
    n = len(target)
    c_obs = p_a = p_b = luck = 0.0
    for i in range(n):
        c_obs += sum(a[i, k] * b[i, k] for k in range(options[i])) / n
        p_a += a[i, target[i]] / n
        p_b += b[i, target[i]] / n
        luck += 1 / (options[i] - 1) / n
    c_exp = p_a * p_b + (1 - p_a) * (1 - p_b) * luck
    return (c_obs - c_exp) / (1 - c_exp)


@pytest.mark.parametrize("most", [2, 3, 9])
def test_capa_is_its_definition(most: int, rng: np.random.Generator) -> None:
    for options in (np.full(60, most), rng.integers(2, most + 1, 60)):
        options[0] = most
        probs, target = random_probs(rng, options)
        result = capa(probs, target, n_options=options)
        expected = [[capa_of_two(a, b, target, options) for b in probs] for a in probs]
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-13)
        np.testing.assert_array_equal(result, capa(list(probs), target, n_options=options))
    np.testing.assert_array_equal(
        capa(*random_probs(np.random.default_rng(1), np.full(60, most))),
        capa(*random_probs(np.random.default_rng(1), np.full(60, most)), n_options=most),
    )


def test_predicted_classes_are_one_hot_probabilities(rng: np.random.Generator) -> None:
    options = rng.integers(2, 7, 200)
    options[0] = 6
    preds, target = rng.integers(0, options, (5, 200)), rng.integers(0, options)
    result = capa(preds, target, n_options=options)
    one_hot = np.eye(6)[preds]
    np.testing.assert_allclose(result, capa(one_hot, target, n_options=options), rtol=1e-12)
    expected = [[capa_of_two(a, b, target, options) for b in one_hot] for a in one_hot]
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(result.diagonal(), 1, rtol=1e-12)
    np.testing.assert_array_equal(result, capa(list(preds), target, n_options=options))


def test_capa_of_two_options_is_error_consistency(rng: np.random.Generator) -> None:
    """With two options whoever is wrong gives the same answer: CAPA is kappa of correctness."""
    target = rng.integers(0, 2, 300)
    preds = np.where(rng.random((4, 300)) < 0.7, target, 1 - target)
    np.testing.assert_allclose(
        capa(preds, target, n_options=2),
        ov.pairwise.error_consistency(ov.pack_errors(preds, target)),
        rtol=1e-10,
    )


def test_blocks_of_samples_make_no_difference(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = rng.integers(2, 6, 101)
    options[0] = 5
    probs, target = random_probs(rng, options)
    whole = capa(probs, target, n_options=options)
    for n_samples in (1, 10, 100):
        monkeypatch.setattr(agreement, "_BLOCK_BYTES", 8 * 4 * 5 * n_samples)
        np.testing.assert_allclose(capa(probs, target, n_options=options), whole, rtol=1e-12)
    bad = probs.copy()
    bad[2, 77, 0] += 0.5
    with pytest.raises(ValueError, match="model 2, sample 77 has probabilities whose sum is not 1"):
        capa(bad, target, n_options=options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_capa_of_short_floats(dtype: str, rng: np.random.Generator) -> None:
    probs, target = random_probs(rng, np.full(80, 20))
    short = probs.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    expected = [
        [capa_of_two(a, b, target, [20] * 80) for b in short.astype(float)]
        for a in short.astype(float)
    ]
    np.testing.assert_allclose(capa(short, target), expected, rtol=1e-10, atol=1e-13)


def test_undefined_capa_is_nan_and_counted() -> None:
    certain, good = np.eye(2)[[0, 0, 0]], np.eye(2)[[0, 0, 1]]
    target = np.zeros(3, int)
    with pytest.warns(RuntimeWarning, match="CAPA is undefined for 3 pairs") as warned:
        result = capa([certain, certain, good], target)
    assert warned[0].filename == __file__
    np.testing.assert_array_equal(result, [[np.nan, np.nan, 0], [np.nan, np.nan, 0], [0, 0, 1]])
    with pytest.warns(RuntimeWarning, match="CAPA is undefined for 1 pair "):
        assert np.isnan(capa(np.ones((1, 3), int), target, n_options=2)).all()
    assert capa(np.ones((1, 3), int), target, n_options=3).tolist() == [[1.0]]
    replaced = capa([certain, certain, good], target, replace_undefined_by=1.0)
    assert replaced.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    sums_past_one = np.array([[[1, 1e-4]]])  # within the tolerance: neither NaN nor inf comes free
    with pytest.warns(RuntimeWarning, match="CAPA is undefined for 1 pair "):
        assert np.isnan(capa(sums_past_one, target[:1])).all()


def test_tensors_give_tensors_and_one_model_one_by_one(rng: np.random.Generator) -> None:
    preds, target = random_preds(rng, n_models=1)
    classes, labels = torch.from_numpy(preds), torch.from_numpy(target)
    probs = torch.from_numpy(np.eye(6)[preds])
    for result in (
        joint_agreement(classes),
        label_disagreement(classes),
        same_wrong_answer(classes, labels),
        same_wrong_answer(probs, labels),
        capa(classes, labels, n_options=6),
        capa(probs, labels, n_options=torch.full((300,), 6)),
    ):
        assert isinstance(result, torch.Tensor)
        assert result.shape == (1, 1)


PROBS = np.full((2, 4, 5), 0.2)
PREDS = np.zeros((2, 4), int)
TARGET = np.zeros(4, int)


def with_value(value: float) -> np.ndarray:
    probs = PROBS.copy()
    probs[1, 3, 2] = value
    return probs


@pytest.mark.parametrize(
    ("probs", "target", "n_options", "message"),
    [
        (with_value(0.3), TARGET, None, "model 1, sample 3 has probabilities whose sum is not 1"),
        (with_value(0.202), TARGET, None, "sum is not 1 within 0.001 (sum 1.002, 5 options)"),
        (with_value(np.nan), TARGET, None, "model 1, sample 3 has NaN or negative probabilities"),
        (with_value(-0.2), TARGET, None, "model 1, sample 3 has NaN or negative probabilities"),
        (with_value(np.inf), TARGET, None, "sum is not 1"),
        (with_value(0.23).astype(np.float16), TARGET, None, "sum is not 1 within 0.02"),
        (PROBS, TARGET, 4, "model 0, sample 0 has probability on classes past its options"),
        (PROBS, TARGET, np.array([5, 5, 1, 5]), "at most the 5 classes of probs: sample 2 has 1"),
        (PROBS, TARGET, 6, "at least 2 options and at most the 5 classes of probs: sample 0 has 6"),
        (PROBS, TARGET, np.full(3, 5), "n_options must be an integer or (4,) integers"),
        (np.ones((2, 4, 1)), TARGET, None, "sample 0 has 1"),
        (PROBS, TARGET + 3, 3, "target[0] is 3, expected one of its options, 0..2"),
        (PREDS, TARGET, None, "predicted classes need n_options"),
        (PREDS, TARGET, 1, "capa needs at least 2 options: sample 0 has 1"),
        (PREDS + 2, TARGET, 2, "probs[0][0] is 2, expected one of its options, 0..1"),
        (PREDS - 1, TARGET, 2, "probs[0][0] is -1, expected one of its options, 0..1"),
        (PROBS, np.zeros(3, int), None, "probs has 4 samples but target has 3"),
        (PROBS[:, :0], TARGET[:0], None, "probs has no samples"),
    ],
)  # fmt: skip
def test_what_is_no_distribution_is_refused(
    probs: Any, target: Any, n_options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        capa(probs, target, n_options=n_options)


def test_options_are_integers() -> None:
    for n_options in (5.0, torch.tensor(5.0).bfloat16()):
        with pytest.raises(TypeError, match="n_options must be integer, got"):
            ov.pairwise.capa(PROBS, TARGET, n_options=n_options)  # type: ignore[arg-type]


def test_stored_outputs_have_no_capa() -> None:
    top = ov.TopK(np.zeros((4, 1), int), np.ones((4, 1)), n_classes=5)
    with pytest.raises(TypeError, match="capa needs the probabilities of all classes"):
        capa([top, top], TARGET)


@pytest.mark.parametrize("metric", [joint_agreement, label_disagreement])
def test_what_is_no_prediction_is_refused(metric: Any, backend: str) -> None:
    logits = np.zeros((2, 4, 3))
    logits[1, 2:] = np.nan
    top = ov.TopK(np.zeros((4, 1), int), np.full((4, 1), np.nan), n_classes=3)
    for data, error, message in (
        (logits, ValueError, "model 1 has 2 samples without a prediction"),
        ([top], ValueError, "model 0 has 4 samples without a prediction"),
        ([[0, 70_000], [3, 3]], ValueError, "at most 65,536 values below 2^63, got 0 to 70000"),
        (np.full((1, 2), 2**63, np.uint64), ValueError, "got 9223372036854775808 to 92233720368"),
        (np.zeros((2, 0), int), ValueError, "preds_or_logits has no samples"),
        ([], ValueError, "preds_or_logits has no models"),
        (np.zeros((2, 4)), ValueError, "must be (M, N, K) logits or (M, N) integer classes"),
        ([np.zeros(4, int), np.zeros(3, int)], ValueError, "preds_or_logits[1] has shape (3,)"),
        ([np.zeros(4)], TypeError, "so integer classes: got float64"),
        ([torch.zeros(4, 2), torch.zeros(4, 2, device="meta")], ValueError,
         "[0] is on cpu but preds_or_logits[1] is on meta"),
    ):  # fmt: skip
        with pytest.raises(error, match=re.escape(message)) as refused:
            metric(data, backend=backend)
        assert "nan_policy" not in str(refused.value)  # there is none here
    with pytest.raises(ValueError, match="without a prediction"):
        same_wrong_answer(logits, TARGET, backend=backend)
    np.testing.assert_array_equal(  # samples that are ignored need none
        same_wrong_answer(logits, np.array([1, 2, 9, 9]), ignore_index=9, backend=backend), 1
    )


def test_real_imagenet_predictions(backend: str, real_data: Any) -> None:
    data, _ = real_data("imagenet_val_v2_top1_dev.npz")
    preds, target = data["val_preds"], data["val_labels"]
    if backend == "reference":
        preds = preds[:4]  # it goes through Python objects
    joint = joint_agreement(preds, backend=backend)
    same = same_wrong_answer(preds, target, backend=backend)
    wrong = preds != target
    for a in range(len(preds)):
        for b in range(len(preds)):
            agree = preds[a] == preds[b]
            assert joint[a, b] == agree.sum()
            expected = (agree & wrong[a]).sum() / (wrong[a] & wrong[b]).sum()
            assert same[a, b] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(label_disagreement(preds, backend=backend), 1 - joint / len(target))


def test_real_probabilities(real_data: Any) -> None:
    data, _ = real_data("tabular_fullprobs_dev.npz")
    for name in ("iris", "breast_cancer"):
        probs, target = data[f"{name}_probs"], data[f"{name}_labels"]
        options = [probs.shape[2]] * len(target)
        expected = [[capa_of_two(a, b, target, options) for b in probs] for a in probs]
        np.testing.assert_allclose(capa(probs, target), expected, rtol=1e-9)
