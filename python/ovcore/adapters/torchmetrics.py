"""Metrics of pairs of models as torchmetrics' Metrics.

Each is updated with the outputs of all M models on a batch and keeps one int64 vector of counts,
whose length depends on the number of models alone. Processes and merged metrics add it up, so that
the result is that of all samples at once, to the bit. Metrics that count the same share one state
in a ``MetricCollection``.

>>> import torch
>>> from torchmetrics import MetricCollection
>>> metrics = MetricCollection([ErrorInconsistency(2), LabelDisagreement(2, reduction="mean")])
>>> preds, target = torch.tensor([[0, 1, 2, 2], [1, 1, 1, 2]]), torch.tensor([0, 1, 0, 2])
>>> for batch in (slice(0, 3), slice(3, 4)):
...     metrics.update(preds[:, batch], target[batch])
>>> found = metrics.compute()
>>> found["ErrorInconsistency"][0, 1].item(), found["LabelDisagreement"].item()
(0.25, 0.5)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from ovcore import PairCounts, pairwise

__all__ = [
    "Accuracy",
    "ConversionRate",
    "Dominance",
    "DoubleFault",
    "ErrorConsistency",
    "ErrorCorrelation",
    "ErrorCovariance",
    "ErrorInconsistency",
    "LabelDisagreement",
    "PairEnsembleAccuracy",
    "PairEnsembleGain",
    "PairMetric",
    "QStatistic",
    "RelativeInconsistency",
    "RescueRate",
    "SameWrongAnswer",
]


class PairMetric(Metric):
    """What the metrics here share; of joint errors, unless a class says otherwise.

    Args:
        n_models: M.
        reduction: "none" for the (M, M) matrix; "mean" for the mean over pairs of different models
            where the metric is defined, a scalar, as Lightning's ``self.log`` takes it.
        nan_policy: as in :func:`ovcore.pack_errors`. With "omit" the state is larger.
        **kwargs: as for any Metric of torchmetrics.

    Raises:
        ValueError: no model; an unknown option; ``nan_policy="omit"`` where agreement or ensembles
            are counted.
    """

    is_differentiable = False
    higher_is_better: bool | None = None
    full_state_update = False

    _with_agreement: ClassVar[bool] = False

    def __init__(
        self,
        n_models: int,
        *,
        reduction: str = "none",
        nan_policy: str = "raise",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reduction not in ("none", "mean"):
            raise ValueError(f"reduction must be 'none' or 'mean', got {reduction!r}")
        if nan_policy not in ("raise", "omit"):
            raise ValueError(f"nan_policy must be 'raise' or 'omit', got {nan_policy!r}")
        self.n_models = n_models
        self.reduction = reduction
        self._missing = nan_policy == "omit"
        self._how: dict[str, Any] = {"agreement": self._with_agreement, "nan_policy": nan_policy}
        self._kinds = {"agreement": self._with_agreement, "ensembles": False}
        self._add_counts()

    def _add_counts(self) -> None:
        """One state, named after what is counted: collections share states of one name."""
        empty = PairCounts.empty(self.n_models, **self._kinds)
        if empty.n_models == 0:
            raise ValueError("n_models must be at least 1, got 0")
        one = np.zeros((self.n_models, 1, 1)), np.zeros(1, np.int64)
        PairCounts.from_outputs(*one, **self._how)  # refuses bad options now, not in an epoch
        digest = hashlib.sha256(repr(sorted(self._how.items())).encode()).hexdigest()
        self._state = f"counts_{digest[:16]}"
        vector = torch.from_numpy(empty.to_vector(missing=self._missing))
        self.add_state(self._state, vector, dist_reduce_fx="sum")

    def update(self, outputs: Tensor | Sequence[Tensor], target: Tensor) -> None:
        """Counts a batch, of which there may be no sample.

        Args:
            outputs: of all models: logits (M, N, K), or M tensors (N, K); or predicted classes
                (M, N), or M tensors (N,), where no ensembles are counted.
            target: (N,) integer classes.

        Raises:
            TypeError, ValueError: as :meth:`ovcore.PairCounts.from_outputs`; outputs of another
                number of models.
        """
        given: Any = outputs.detach() if isinstance(outputs, Tensor) else outputs
        if not isinstance(given, Tensor):
            given = [model.detach() for model in given]
        if len(given) != self.n_models:
            raise ValueError(f"outputs are of {len(given)} models, but n_models is {self.n_models}")
        counts = PairCounts.from_outputs(given, target, **self._how)
        state = getattr(self, self._state)
        more = torch.from_numpy(counts.to_vector(missing=self._missing)).to(state.device)
        setattr(self, self._state, state + more)

    def compute(self) -> Tensor:
        """The metric on all samples so far, in float64; NaN where there are none.

        An error would cost more than the batch: within ``forward``, which is called on batches of
        no sample, too, torchmetrics loses what was counted before.
        """
        counts = self.counts
        if counts.n_samples:
            values = np.ascontiguousarray(self._of(counts), np.float64)
        else:
            values = np.full(self._shape(), np.nan)
        if self.reduction == "mean":
            values = np.asarray(self._mean(values))
        return torch.from_numpy(values).to(getattr(self, self._state).device)

    @property
    def counts(self) -> PairCounts:
        """The counts themselves, for any other metric of pairs."""
        vector = getattr(self, self._state).cpu().numpy()
        return PairCounts.from_vector(vector, self.n_models, **self._kinds, missing=self._missing)

    def _of(self, counts: PairCounts) -> Any:
        raise NotImplementedError

    def _shape(self) -> tuple[int, ...]:
        return (self.n_models, self.n_models)

    def _mean(self, values: Any) -> float:
        apart = values[~np.eye(self.n_models, dtype=bool)]
        defined = apart[~np.isnan(apart)]
        return float(defined.mean()) if len(defined) else float("nan")


class Accuracy(PairMetric):
    """Share of samples that each model gets right: (M,), or its mean."""

    higher_is_better = True

    def _of(self, counts: PairCounts) -> Any:
        return counts.accuracy()

    def _shape(self) -> tuple[int, ...]:
        return (self.n_models,)

    def _mean(self, values: Any) -> float:
        return float(values.mean())


class ErrorInconsistency(PairMetric):
    """:func:`ovcore.pairwise.error_inconsistency`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.error_inconsistency(counts.errors)


class RelativeInconsistency(PairMetric):
    """:func:`ovcore.pairwise.relative_inconsistency`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.relative_inconsistency(counts.errors)


class ErrorConsistency(PairMetric):
    """:func:`ovcore.pairwise.error_consistency`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.error_consistency(counts.errors)


class ErrorCorrelation(PairMetric):
    """:func:`ovcore.pairwise.error_correlation`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.error_correlation(counts.errors)


class ErrorCovariance(PairMetric):
    """:func:`ovcore.pairwise.error_covariance`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.error_covariance(counts.errors)


class QStatistic(PairMetric):
    """:func:`ovcore.pairwise.q_statistic`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.q_statistic(counts.errors)


class DoubleFault(PairMetric):
    """:func:`ovcore.pairwise.double_fault`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.double_fault(counts.errors)


class Dominance(PairMetric):
    """:func:`ovcore.pairwise.dominance`."""

    def _of(self, counts: PairCounts) -> Any:
        return pairwise.dominance(counts.errors)


class _AgreementMetric(PairMetric):
    _with_agreement = True

    def __init__(self, n_models: int, *, reduction: str = "none", **kwargs: Any) -> None:
        super().__init__(n_models, reduction=reduction, **kwargs)


class LabelDisagreement(_AgreementMetric):
    """:func:`ovcore.pairwise.label_disagreement`."""

    def _of(self, counts: PairCounts) -> Any:
        return counts.label_disagreement()


class SameWrongAnswer(_AgreementMetric):
    """:func:`ovcore.pairwise.same_wrong_answer`."""

    def _of(self, counts: PairCounts) -> Any:
        return counts.same_wrong_answer()


class _EnsembleMetric(PairMetric):
    """Of ensembles of all pairs.

    Args:
        n_models: M.
        temperature: positive, one for all models or one each, as
            :func:`ovcore.calibration.fit_temperature` finds them on other samples.
        combine: as in :func:`ovcore.ensembles.pairs`.
        reduction: as in :class:`PairMetric`.
        **kwargs: as for any Metric of torchmetrics.
    """

    def __init__(
        self,
        n_models: int,
        *,
        temperature: float | Sequence[float] | Tensor = 1.0,
        combine: str = "prob",
        reduction: str = "none",
        **kwargs: Any,
    ) -> None:
        self._temperature = np.asarray(
            temperature.cpu() if isinstance(temperature, Tensor) else temperature, np.float64
        )
        if self._temperature.shape not in ((), (n_models,)):
            raise ValueError(
                f"temperature must be a number or ({n_models},), one a model: "
                f"got shape {self._temperature.shape}"
            )
        self._combine = combine
        super().__init__(n_models, reduction=reduction, **kwargs)

    def _add_counts(self) -> None:
        temperatures = np.broadcast_to(self._temperature, self.n_models).tolist()
        self._how |= {"temperature": temperatures, "combine": self._combine}
        self._kinds["ensembles"] = True
        super()._add_counts()


class PairEnsembleAccuracy(_EnsembleMetric):
    """Accuracy of each pair's ensemble: :attr:`ovcore.ensembles.PairEnsembles.accuracy`."""

    higher_is_better = True

    def _of(self, counts: PairCounts) -> Any:
        return counts.ensembles.accuracy


class PairEnsembleGain(_EnsembleMetric):
    """That less its members' mean accuracy: :attr:`ovcore.ensembles.PairEnsembles.gain`."""

    higher_is_better = True

    def _of(self, counts: PairCounts) -> Any:
        return counts.ensembles.gain


class ConversionRate(_EnsembleMetric):
    """:attr:`ovcore.ensembles.PairEnsembles.conversion_rate`."""

    higher_is_better = True

    def _of(self, counts: PairCounts) -> Any:
        return counts.ensembles.conversion_rate


class RescueRate(_EnsembleMetric):
    """:attr:`ovcore.ensembles.PairEnsembles.rescue_rate`."""

    higher_is_better = True

    def _of(self, counts: PairCounts) -> Any:
        return counts.ensembles.rescue_rate
