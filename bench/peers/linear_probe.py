"""Linear probes: one, at rising C each from the one before, and of many subsets of dimensions.

Of features that are standardised already. All minimise the same (probe_jobs.py), and stop at about
the same loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from peers.contestant import Call, Contestant
from probe_jobs import Fit, Probes


def ovcore_probe(data: Probes, threads: int) -> Call:
    import ovcore as ov

    def call() -> list[Fit]:
        probe = ov.representations.LinearProbe(standardize=False, warm_start=True, workers=threads)
        found = []
        for task in data.tasks:
            probe.set_params(C=task.penalty).fit(data.features, data.target)
            found.append(Fit(probe.coef_, probe.intercept_, probe.n_iter_))
        return found

    return call


def ovcore_probes(data: Probes, threads: int) -> Call:
    import ovcore as ov

    def call() -> list[Fit]:
        probes = ov.representations.LinearProbes(
            [task.dims for task in data.tasks],
            C=data.tasks[0].penalty,
            standardize=False,
            workers=threads,
        ).fit(data.features, data.target)
        return list(map(Fit, probes.coef_, probes.intercept_, probes.n_iter_.tolist()))

    return call


def sklearn_probe(dtype: str) -> Callable[[Probes, int], Call]:
    def prepare(data: Probes, _: int) -> Call:
        features = data.features.astype(dtype)

        def call() -> list[Fit]:
            model = logistic_regression(warm_start=True)
            return [
                fit_of(model.set_params(C=task.penalty).fit(features, data.target))
                for task in data.tasks
            ]

        return call

    return prepare


def sklearn_probes(data: Probes, _: int) -> Call:
    """One after the other."""
    parts = [np.ascontiguousarray(data.features[:, task.dims]) for task in data.tasks]

    def call() -> list[Fit]:
        return [
            fit_of(logistic_regression(C=task.penalty).fit(part, data.target))
            for task, part in zip(data.tasks, parts, strict=True)
        ]

    return call


def logistic_regression(**settings: Any) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(tol=1e-6, max_iter=10_000, **settings)


def fit_of(model: Any) -> Fit:
    return Fit(model.coef_, model.intercept_, int(model.n_iter_[0]))


def torch_lbfgs(data: Probes, threads: int) -> Call:
    import torch

    torch.set_num_threads(threads)
    features, target = torch.from_numpy(data.features), torch.from_numpy(data.target)
    classes = int(data.target.max()) + 1
    [task] = data.tasks
    ridge = 1 / (2 * task.penalty * len(features))

    def call() -> list[Fit]:
        weights = torch.zeros(classes, features.shape[1], requires_grad=True)
        intercepts = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weights, intercepts],
            max_iter=1_000,
            tolerance_grad=1e-6,
            tolerance_change=0,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Any:
            optimizer.zero_grad()
            logits = torch.nn.functional.linear(features, weights, intercepts)
            value = torch.nn.functional.cross_entropy(logits, target)
            value = value + ridge * weights.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        iterations = optimizer.state[weights]["n_iter"]
        return [Fit(weights.detach(), intercepts.detach(), iterations)]

    return call


PINNED = {"OPENBLAS_NUM_THREADS": "1"}  # small products on several threads can take longer
PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}  # huge ones: torch allocates anew in each step
LINEAR_PROBE = [
    Contestant("ovcore", ovcore_probe),
    Contestant("scikit-learn", sklearn_probe("float32")),
    Contestant(
        "scikit-learn, BLAS on one thread",
        sklearn_probe("float32"),
        env=PINNED,
        several_threads=True,
    ),
    Contestant("scikit-learn, float64", sklearn_probe("float64"), one_thread=True),
    Contestant("torch L-BFGS, autograd", torch_lbfgs, env=PAGES),
]
PROBE_PATH = LINEAR_PROBE[:3]
SMALL_PROBES = [
    Contestant("ovcore", ovcore_probes),
    Contestant("scikit-learn", sklearn_probes),
    Contestant(
        "scikit-learn, BLAS on one thread", sklearn_probes, env=PINNED, several_threads=True
    ),
]
