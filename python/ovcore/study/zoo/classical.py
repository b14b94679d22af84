"""scikit-learn's classifiers, with logits that a temperature can calibrate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore.study.zoo.streams import seed_of

Floats = NDArray[np.float32]

METHODS = {"svm": "RBF SVM", "knn": "k nearest neighbours", "trees": "Extra trees"}
SETTINGS: dict[str, dict[str, float]] = {
    "svm": {"C": 10.0, "gamma": 0.02},
    "knn": {"n_neighbors": 3},
    "trees": {"n_estimators": 200},
}
_FLOOR = 0.01  # added to each class's probability before the logarithm


@dataclass(frozen=True)
class Classical:
    """A fitted estimator: decision values, or logarithms of smoothed probabilities."""

    kind: str
    estimator: Any

    def logits(self, inputs: NDArray[np.floating]) -> Floats:
        """Inputs (N, 64) to logits (N, K)."""
        if self.kind == "svm":
            return np.asarray(self.estimator.decision_function(inputs), dtype=np.float32)
        return np.log(self.estimator.predict_proba(inputs) + _FLOOR).astype(np.float32)


def fit_classical(
    kind: str, inputs: NDArray[np.floating], labels: NDArray[np.int64], *stream: str | int
) -> Classical:
    """Fit one of METHODS to inputs (n, 64); every class must be among the labels."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    settings = SETTINGS[kind]
    if kind == "svm":
        estimator = SVC(**settings)
    elif kind == "knn":
        estimator = KNeighborsClassifier(weights="distance", **settings)
    else:
        estimator = ExtraTreesClassifier(random_state=seed_of(*stream) % 2**32, **settings)
    return Classical(kind, estimator.fit(inputs, labels))
