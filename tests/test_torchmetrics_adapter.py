"""Metrics of pairs as torchmetrics knows them, against plain functions of all samples."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

import ovcore as ov
from ovcore.adapters import torchmetrics as adapter
from ovcore.adapters.torchmetrics import (
    Accuracy,
    ConversionRate,
    Dominance,
    DoubleFault,
    ErrorConsistency,
    ErrorCorrelation,
    ErrorCovariance,
    ErrorInconsistency,
    LabelDisagreement,
    PairEnsembleAccuracy,
    PairEnsembleGain,
    PairMetric,
    QStatistic,
    RelativeInconsistency,
    RescueRate,
    SameWrongAnswer,
)

M, N, K = 4, 120, 5
TEMPERATURE = [0.5, 1.0, 2.0, 1.5]
pairwise = ov.pairwise


def of_errors(metric: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    return lambda z, t: metric(ov.pack_errors(z, t))


def of_pairs(name: str) -> Callable[[Any, Any], Any]:
    return lambda z, t: getattr(ov.ensembles.pairs(z, t, temperature=TEMPERATURE), name)


EXPECTED: dict[type[PairMetric], Callable[[Any, Any], Any]] = {
    Accuracy: lambda z, t: ov.pack_errors(z, t).accuracy(),
    ErrorInconsistency: of_errors(pairwise.error_inconsistency),
    RelativeInconsistency: of_errors(pairwise.relative_inconsistency),
    ErrorConsistency: of_errors(pairwise.error_consistency),
    ErrorCorrelation: of_errors(pairwise.error_correlation),
    ErrorCovariance: of_errors(pairwise.error_covariance),
    QStatistic: of_errors(pairwise.q_statistic),
    DoubleFault: of_errors(pairwise.double_fault),
    Dominance: of_errors(pairwise.dominance),
    LabelDisagreement: lambda z, _: pairwise.label_disagreement(z),
    SameWrongAnswer: pairwise.same_wrong_answer,
    PairEnsembleAccuracy: of_pairs("accuracy"),
    PairEnsembleGain: of_pairs("gain"),
    ConversionRate: of_pairs("conversion_rate"),
    RescueRate: of_pairs("rescue_rate"),
}
ENSEMBLES = (PairEnsembleAccuracy, PairEnsembleGain, ConversionRate, RescueRate)
BATCHES = [slice(0, 50), slice(50, 50), slice(50, 51), slice(51, N)]


def made(kind: type[PairMetric], **options: Any) -> PairMetric:
    if kind in ENSEMBLES:
        options["temperature"] = TEMPERATURE
    return kind(M, **options)


@pytest.fixture
def samples(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    target = rng.integers(0, K, N)
    logits = rng.normal(size=(M, N, K)) + 1.5 * np.eye(K)[target]
    return torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(target)


def same(found: torch.Tensor, expected: Any) -> None:
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found.numpy(), np.asarray(expected))


def test_every_metric_is_tested() -> None:
    metrics = {getattr(adapter, name) for name in adapter.__all__} - {PairMetric}
    assert metrics == set(EXPECTED)


@pytest.mark.parametrize("kind", EXPECTED)
def test_batches_give_what_all_samples_give(kind: type[PairMetric], samples: Any) -> None:
    logits, target = samples
    metric, expected = made(kind), EXPECTED[kind]
    size = getattr(metric, metric._state).shape
    for _ in range(2):
        for batch in BATCHES:
            metric.update(logits[:, batch], target[batch])
            assert getattr(metric, metric._state).shape == size
        same(metric.compute(), expected(logits, target))
        metric.reset()


@pytest.mark.parametrize("kind", [ErrorCorrelation, SameWrongAnswer, PairEnsembleGain])
def test_metrics_merge_are_copied_pickled_and_called(kind: type[PairMetric], samples: Any) -> None:
    logits, target = samples
    expected = EXPECTED[kind](logits, target)
    halves = [made(kind), made(kind)]
    for metric, part in zip(halves, (slice(0, 70), slice(70, N)), strict=True):
        of_batch = metric(logits[:, part], target[part])  # forward: the value of the batch alone
        same(of_batch, EXPECTED[kind](logits[:, part], target[part]))
    other = pickle.loads(pickle.dumps(halves[1]))
    clone = halves[0].clone()
    halves[0].merge_state(other)
    same(halves[0].compute(), expected)
    same(clone.compute(), EXPECTED[kind](logits[:, :70], target[:70]))
    halves[0].persistent(True)
    restored = made(kind)
    restored.persistent(True)
    restored.load_state_dict(copy.deepcopy(halves[0].state_dict()))
    restored.update(logits[:, :0], target[:0])
    same(restored.compute(), expected)


def test_processes_are_added_up(samples: Any) -> None:
    """As torchmetrics gathers states of two processes, uneven ones and one without samples."""
    logits, target = samples
    parts = [slice(0, 90), slice(90, N), slice(N, N)]
    metrics = [PairEnsembleGain(M, temperature=TEMPERATURE) for _ in parts]
    for metric, part in zip(metrics, parts, strict=True):
        metric.update(logits[:, part], target[part])

    gathered = [getattr(metric, metric._state).clone() for metric in metrics]
    for metric in metrics:
        metric.dist_sync_fn = lambda state, group=None: gathered  # noqa: ARG005
        metric.distributed_available_fn = lambda: True
        same(metric.compute(), EXPECTED[PairEnsembleGain](logits, target))
        assert metric.counts.n_samples in (90, 30, 0)  # its own again


def test_a_collection_counts_once(samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = samples
    collection = MetricCollection([made(kind) for kind in EXPECTED])
    collection.update(logits[:, :60], target[:60])
    assert [len(group) for group in collection.compute_groups.values()] == [9, 2, 4]
    calls = 0
    count = ov.PairCounts.from_outputs

    def counted(*given: Any, **how: Any) -> ov.PairCounts:
        nonlocal calls
        calls += 1
        return count(*given, **how)

    monkeypatch.setattr(ov.PairCounts, "from_outputs", counted)
    collection.update(logits[:, 60:], target[60:])
    assert calls == 3
    for kind, found in zip(EXPECTED, collection.compute().values(), strict=False):
        same(collection[kind.__name__].compute(), EXPECTED[kind](logits, target))
        assert found.dtype == torch.float64


def test_a_collection_never_shares_what_differs(samples: Any) -> None:
    """On the first batch other temperatures, or policies, may count the same by chance."""
    logits, target = samples
    collection = MetricCollection({
        "one": PairEnsembleGain(M),
        "two": PairEnsembleGain(M, temperature=2.0),
        "logit": PairEnsembleGain(M, combine="logit"),
        "errors": ErrorInconsistency(M),
        "omit": ErrorInconsistency(M, nan_policy="omit"),
    })  # fmt: skip
    collection.update(logits[:, :0], target[:0])
    collection.update(logits, target)
    assert len(collection.compute_groups) == 5
    found = collection.compute()
    for name, options in (("two", {"temperature": 2.0}), ("logit", {"combine": "logit"})):
        same(found[name], ov.ensembles.pairs(logits, target, **options).gain)


def test_means_over_pairs(samples: Any) -> None:
    logits, target = samples
    for kind in (ErrorInconsistency, QStatistic, PairEnsembleGain):
        metric = made(kind, reduction="mean")
        metric.update(logits, target)
        matrix = np.asarray(EXPECTED[kind](logits, target))
        expected = matrix[np.triu_indices(M, 1)].mean()
        assert metric.compute().shape == ()
        assert metric.compute().item() == pytest.approx(expected, abs=1e-15)
    accuracy = Accuracy(M, reduction="mean")
    accuracy.update(logits, target)
    assert accuracy.compute().item() == pytest.approx(
        float(ov.pack_errors(logits, target).accuracy().mean())
    )
    alone = ErrorInconsistency(1, reduction="mean")
    alone.update(logits[:1], target)
    assert alone.compute().isnan()


def test_models_that_lack_samples(samples: Any) -> None:
    logits, target = samples
    logits[1, 5:30] = torch.nan
    metric = ErrorInconsistency(M, nan_policy="omit")
    for batch in BATCHES:
        metric.update(logits[:, batch], target[batch])
    same(
        metric.compute(),
        pairwise.error_inconsistency(ov.pack_errors(logits, target, nan_policy="omit")),
    )
    with pytest.raises(ValueError, match="model 1 has 25 samples without a prediction"):
        ErrorInconsistency(M).update(logits, target)


def test_lists_gradients_and_classes_are_taken(samples: Any) -> None:
    logits, target = samples
    expected = EXPECTED[ErrorInconsistency](logits, target)
    metric = ErrorInconsistency(M)
    metric.update(logits.clone().requires_grad_(), target)
    same(metric.compute(), expected)
    metric.reset()
    metric.update([model.clone().requires_grad_() for model in logits], target)
    same(metric.compute(), expected)
    metric.reset()
    metric.update(logits.argmax(dim=2), target)
    same(metric.compute(), expected)


def test_what_cannot_be_is_refused(samples: Any) -> None:
    logits, target = samples
    with pytest.raises(ValueError, match="outputs are of 3 models, but n_models is 4"):
        ErrorInconsistency(M).update(logits[:3], target)
    with pytest.raises(ValueError, match="reduction must be 'none' or 'mean', got 'sum'"):
        ErrorInconsistency(M, reduction="sum")
    with pytest.raises(ValueError, match="nan_policy must be 'raise' or 'omit', got 'drop'"):
        ErrorInconsistency(M, nan_policy="drop")
    with pytest.raises(ValueError, match="n_models must be at least 1, got 0"):
        ErrorInconsistency(0)
    with pytest.raises(ValueError, match=r"temperature must be a number or \(4,\), one a model"):
        PairEnsembleGain(M, temperature=[1.0, 2.0])
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        PairEnsembleGain(M, temperature=-1.0)
    with pytest.raises(ValueError, match="combine must be one of prob, logit, logprob: got 'vote'"):
        PairEnsembleGain(M, combine="vote")
    for kind in (LabelDisagreement, PairEnsembleGain):
        with pytest.raises(ValueError, match="not defined where models lack samples"):
            kind(M, nan_policy="omit")


@pytest.mark.parametrize("kind", EXPECTED)
def test_no_samples_are_no_error(kind: type[PairMetric], samples: Any) -> None:
    logits, target = samples
    expected = np.asarray(EXPECTED[kind](logits, target))
    metric, mean = made(kind), made(kind, reduction="mean")
    with pytest.warns(UserWarning, match="before the ``update``"):
        same(metric.compute(), np.full(expected.shape, np.nan))
    metric.update(logits, target)
    same(metric(logits[:, :0], target[:0]), np.full(expected.shape, np.nan))
    same(mean(logits[:, :0], target[:0]), np.nan)
    same(metric.compute(), expected)  # a call on a batch without samples loses nothing


def test_lightning_logs_them(samples: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what importing Lightning brings up
        import pytorch_lightning as lightning
    logits, target = samples

    class Models(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.apart = ErrorInconsistency(M, reduction="mean")
            self.gains = PairEnsembleGain(M, temperature=TEMPERATURE)

        def validation_step(self, batch: Any, _: int) -> None:
            outputs, labels = batch
            outputs = outputs.movedim(1, 0)
            self.apart.update(outputs, labels)
            self.gains.update(outputs, labels)
            self.log("apart", self.apart)  # computed and reset at the end of the epoch

        def on_validation_epoch_end(self) -> None:
            self.log("gain", self.gains.compute()[0, 1])
            self.gains.reset()

        def configure_optimizers(self) -> None:
            return None

    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(logits.movedim(0, 1), target), batch_size=32
    )
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few workers of the loader
        for _ in range(2):
            (found,) = trainer.validate(Models(), loader, verbose=False)
            apart = np.asarray(EXPECTED[ErrorInconsistency](logits, target))
            assert found["apart"] == pytest.approx(apart[np.triu_indices(M, 1)].mean(), abs=1e-6)
            gain = EXPECTED[PairEnsembleGain](logits, target)[0, 1]
            assert found["gain"] == pytest.approx(float(gain), abs=1e-6)
