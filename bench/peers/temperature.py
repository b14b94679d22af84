"""The temperature of one model, from logits. Each peer's own rule to stop; each tells its error."""

from __future__ import annotations

from typing import Any

import numpy as np

from clock import seconds_to_read
from logit_jobs import softmax
from peers.contestant import Call, Contestant, use_cores, watched

Logits = tuple[np.ndarray, np.ndarray]  # (N, K) logits, (N,) target


def ovcore_fit(data: Logits, threads: int) -> Call:
    import ovcore as ov

    use_cores(threads)
    logits, target = data
    return lambda: ov.calibration.fit_temperature([logits], target).temperature[0]


def beside_fit(data: Logits, threads: int) -> dict[str, float]:
    """Seconds to read the logits once, and passes over them: rows that the kernel is given."""
    fit = ovcore_fit(data, threads)
    with watched("temperature_nll") as calls:
        fit()
    rows = sum(len(model.values) for _, models in calls for model in models)
    return {"reading": seconds_to_read(data[0], threads), "passes": rows / len(data[1])}


def torch_lbfgs(dtype: str, parameter: str, **options: Any) -> Any:
    """Minimises the cross entropy of z / T, T itself or log T the parameter."""

    def prepare(data: Logits, threads: int) -> Call:
        import torch

        torch.set_num_threads(threads)
        logits = torch.from_numpy(data[0]).to(getattr(torch, dtype))
        target = torch.from_numpy(data[1])

        def call() -> float:
            start = 1.5 if parameter == "T" else 0.0
            x = torch.full((1,), start, dtype=logits.dtype, requires_grad=True)
            optimizer = torch.optim.LBFGS([x], **options)

            def loss() -> Any:
                optimizer.zero_grad()
                scaled = logits / x if parameter == "T" else logits * torch.exp(-x)
                value = torch.nn.functional.cross_entropy(scaled, target)
                value.backward()
                return value

            optimizer.step(loss)
            return float(x.detach() if parameter == "T" else torch.exp(x.detach()))

        return call

    return prepare


def sklearn_scaling(dtype: str) -> Any:
    """What CalibratedClassifierCV(method="temperature") fits to the scores of its classifier."""

    def prepare(data: Logits, _: int) -> Call:
        from sklearn.calibration import _TemperatureScaling

        logits, target = data[0].astype(dtype), data[1]
        return lambda: 1 / _TemperatureScaling().fit(logits, target).beta_

    return prepare


def netcal_scaling(data: Logits, threads: int) -> Call:
    """Of probabilities, in float64: in float32 its search ends where it starts, at T = 1.

    Not among the extras, as it brings pyro, gpytorch and tensorboard: pip install netcal.
    """
    import torch
    from netcal.scaling import TemperatureScaling

    torch.set_num_threads(threads)
    probabilities, target = softmax(data[0]), data[1]
    return lambda: 1 / TemperatureScaling().fit(probabilities, target).temperature[0]


def probmetrics_scaling(data: Logits, threads: int) -> Call:
    import torch
    from probmetrics.calibrators.temperature_scaling import TemperatureScalingCalibrator
    from probmetrics.distributions import CategoricalLogits

    torch.set_num_threads(threads)
    logits, target = CategoricalLogits(torch.from_numpy(data[0])), torch.from_numpy(data[1])
    return lambda: 1 / TemperatureScalingCalibrator().fit_torch(logits, target).invtemp_


TIGHT = {"max_iter": 100, "tolerance_grad": 1e-10, "tolerance_change": 1e-13}
ANY = float("inf")  # its temperature is told, not judged
PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}  # huge ones: torch allocates anew in each step
TEMPERATURE = [
    Contestant(
        "ovcore native",
        ovcore_fit,
        beside=beside_fit,
        tolerance=1e-7,
        env={"OVCORE_BACKEND": "native"},
    ),
    Contestant(
        "ovcore native, AVX2",
        ovcore_fit,
        tolerance=1e-7,
        env={"OVCORE_BACKEND": "native", "OVCORE_ISA": "avx2"},
    ),
    Contestant(
        "ovcore numba",
        ovcore_fit,
        beside=beside_fit,
        tolerance=1e-7,
        env={"OVCORE_BACKEND": "numba"},
    ),
    Contestant(
        "torch L-BFGS, float64, log T, line search",
        torch_lbfgs("float64", "log T", line_search_fn="strong_wolfe", **TIGHT),
        tolerance=1e-6,
        env=PAGES,
    ),
    Contestant(
        "torch L-BFGS, float32, log T, line search",
        torch_lbfgs("float32", "log T", line_search_fn="strong_wolfe", max_iter=100),
        tolerance=1e-2,
        env=PAGES,
    ),
    Contestant(
        "torch L-BFGS, float32, T, lr 0.01, 50 steps",
        torch_lbfgs("float32", "T", lr=0.01, max_iter=50),
        one_thread=True,
        tolerance=ANY,
        env=PAGES,
    ),
    Contestant(
        "scikit-learn, float64", sklearn_scaling("float64"), one_thread=True, tolerance=1e-4
    ),
    Contestant(
        "scikit-learn, float32", sklearn_scaling("float32"), one_thread=True, tolerance=1e-2
    ),
    Contestant("netcal, float64", netcal_scaling, tolerance=1e-2, env=PAGES),
    Contestant("probmetrics, float32", probmetrics_scaling, tolerance=1e-4, env=PAGES),
]
