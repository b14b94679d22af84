"""Features of pairs of models, cut into parts to fit probes on and to score them on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ovcore import representations
from ovcore.store import Store
from ovcore.study.results import Lacking
from ovcore.study.subject import Subject

PARTNERS_EACH = 20
"""Models of each category: those nearest to the base in accuracy."""

MOST_SAMPLES = 8000
"""Of one part of the data; more are drawn from."""

PROBE = representations.LinearProbe(C=1.0)
"""Settings of all probes here."""

Rows = NDArray[np.int64]


class FeaturePair(NamedTuple):
    """The base's features and one other's, on the samples that both saw through one instance.

    ``rank`` counts partners of a category; ``half`` is the part of the data, of which probes are
    fitted on ``fitting`` and scored on ``scoring``.
    """

    split: int
    half: int
    category: str
    model: str
    rank: int
    features: tuple[NDArray[np.floating], NDArray[np.floating]]
    target: Rows
    fitting: Rows
    scoring: Rows


def feature_pairs(subject: Subject) -> list[FeaturePair]:
    """The base with every partner in the range whose features are at least as many as its own.

    So all mixtures are equally wide. A second head of the same network is passed over.

    Raises:
        Lacking: no features of the base, or of no partner.
    """
    found = list(_feature_pairs(subject))
    if not found:
        raise Lacking(
            f"no model in the accuracy range has features, at least as many as {subject.base} has"
        )
    return found


def _feature_pairs(subject: Subject) -> Iterator[FeaturePair]:
    for number, split in enumerate(subject.splits):
        store, base = split.store, split.store.features(subject.base)
        if base is None:
            raise Lacking(f"the store keeps no features of {subject.base}")
        refuse_nan(subject.base, base)
        parts = list(halves(store, subject.seed))
        seen, kept = [base], Counter[str]()
        for category, name in subject.partners(split, subject.base):
            features = store.features(name)
            if features is None or features.shape[1] < base.shape[1]:
                continue
            refuse_nan(name, features)
            if kept[category] == PARTNERS_EACH or is_among(features, seen):
                continue
            seen.append(features)
            kept[category] += 1
            for half, fitting, scoring in parts:
                yield FeaturePair(
                    number, half, category, name, kept[category] - 1, (base, features),
                    store.target, fitting, scoring,
                )  # fmt: skip


def refuse_nan(name: str, features: NDArray[np.floating]) -> None:
    """Raises :class:`Lacking` where a probe could not be fitted."""
    if not np.isfinite(features).all():
        raise Lacking(f"the features of {name} are not all finite")


def is_among(features: NDArray[np.floating], seen: list[NDArray[np.floating]]) -> bool:
    """Whether these are another model's, too: heads on one network."""
    return any(np.array_equal(features, other) for other in seen)


def halves(store: Store, seed: int) -> Iterator[tuple[int, Rows, Rows]]:
    """(part, samples to fit on, samples to score on), cut in two by class.

    Samples that different instances of the models saw (a column "fold" of the store tells them
    apart) are different parts: their features are not comparable.
    """
    folds = store.columns.get("fold", np.zeros(store.n_samples, np.int64))
    for number, fold in enumerate(np.unique(folds)):
        generator = np.random.default_rng(seed + number)
        of_fold = np.flatnonzero(folds == fold)
        if len(of_fold) > 2 * MOST_SAMPLES:
            of_fold = np.sort(generator.choice(of_fold, 2 * MOST_SAMPLES, replace=False))
        chosen = [
            generator.permutation(members)[: len(members) // 2]
            for members in (of_fold[store.target[of_fold] == k] for k in np.unique(store.target))
        ]
        fitting = np.sort(np.concatenate(chosen))
        scoring = np.setdiff1d(of_fold, fitting)
        if not len(fitting) or not len(scoring):
            raise Lacking("classes have too few samples to fit probes on some and score others")
        yield int(fold), fitting, scoring


def describe_parts(subject: Subject) -> str:
    """How samples are shared between fitting and scoring, in words."""
    folds = len(np.unique(subject.first.store.columns.get("fold", np.zeros(1))))
    part = "the samples" if folds == 1 else f"each of the {folds} parts of the samples"
    return (
        f"probes are fitted on half of {part} and scored on the rest, drawn within each class with "
        f"seed {subject.seed}; at most {MOST_SAMPLES:,} samples each"
    )


def describe_probe() -> str:
    """The probe, in words."""
    return f"multinomial logistic regression by L-BFGS, C = {PROBE.C:g}, standardised features"
