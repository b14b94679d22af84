"""Everything about many models on the same samples, in one call and with their names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ovcore import _arrays, _inputs, calibration, ensembles, pairwise
from ovcore._arrays import Array
from ovcore.ensembles import PairEnsembles
from ovcore.errors import JointErrors
from ovcore.packing import pack
from ovcore.store import Store
from ovcore.topk import TopK

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Comparison", "compare"]

FITTED_ON_THE_SAME = (
    "temperatures are fitted on the samples they are reported on; pass "
    "calibration_split=(logits, target) of other samples, or temperature=1.0"
)
NOT_TO_FIT_ON = (
    "stored top-k outputs do not carry all confidences, which temperatures are fitted on: "
    "pass temperature=1.0"
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Labelled results of :func:`compare`. Matrices are (M, M) in the order of ``models``.

    Attributes:
        models: M names.
        base: the name that :meth:`table` compares with.
        accuracy: (M,) share of samples each model gets right.
        temperature: (M,) what its confidences were divided by before they were averaged.
        error_inconsistency: share of samples that exactly one model of the pair gets right.
        error_consistency: kappa of correctness; NaN where it is undefined.
        error_correlation: correlation of being wrong; NaN where a model is always right or wrong.
        ensembles: ensembles of all pairs, see :class:`ovcore.ensembles.PairEnsembles`; None, as the
            temperatures are, where models gave predicted classes alone.
        errors: the joint errors behind all of it.
    """

    models: tuple[str, ...]
    base: str
    accuracy: Array
    temperature: Array | None
    error_inconsistency: Array
    error_consistency: Array
    error_correlation: Array
    ensembles: PairEnsembles | None
    errors: JointErrors

    @classmethod
    def from_counts(
        cls,
        errors: JointErrors,
        *,
        models: Sequence[str] | None = None,
        base: str | int | None = None,
        temperature: Array | None = None,
        ensembles: PairEnsembles | None = None,
    ) -> Comparison:
        """What :func:`compare` makes of counts, which may be merged from many places.

        Args:
            errors: joint errors of M models.
            models: as are those below, see :func:`compare`.
            base: see there.
            temperature: (M,) of the models in their ensembles.
            ensembles: of all pairs of the same models on the same samples.

        Raises:
            TypeError, ValueError: names that are not M distinct strings; an unknown base.

        >>> import numpy as np, ovcore as ov
        >>> errors = ov.pack_errors(np.array([[0, 1, 0], [1, 1, 0]]), np.array([0, 1, 1]))
        >>> counts = ov.JointErrors.from_errors(errors)
        >>> ov.Comparison.from_counts(counts, models=["a", "b"], base="b")
        Comparison(2 models x 3 samples, base 'b')
        """
        names, base_name = read_names(models, base, errors.n_models)
        return cls(
            models=names,
            base=base_name,
            accuracy=errors.accuracy(),
            temperature=temperature,
            error_inconsistency=pairwise.error_inconsistency(errors),
            error_consistency=pairwise.error_consistency(errors),
            error_correlation=pairwise.error_correlation(errors),
            ensembles=ensembles,
            errors=errors,
        )

    @property
    def n_samples(self) -> int:
        """Number of samples, N."""
        return self.errors.n_samples

    def __repr__(self) -> str:
        return (
            f"Comparison({len(self.models)} models x {self.n_samples} samples, base {self.base!r})"
        )

    def rows(self, base: str | None = None) -> list[dict[str, Any]]:
        """One row a model, measured against the base model; the base itself comes first."""
        name = self.base if base is None else base
        b = _position(self.models, name)
        order = [b, *(m for m in range(len(self.models)) if m != b)]
        on_host = _arrays.as_numpy
        columns = {} if self.temperature is None else {"temperature": on_host(self.temperature)}
        columns |= {
            "accuracy": on_host(self.accuracy),
            "error_inconsistency": on_host(self.error_inconsistency)[b],
            "error_consistency": on_host(self.error_consistency)[b],
        }
        if self.ensembles is not None:
            columns |= {
                "ensemble_accuracy": on_host(self.ensembles.accuracy)[b],
                "gain": on_host(self.ensembles.gain)[b],
                "conversion_rate": on_host(self.ensembles.conversion_rate)[b],
            }
        return [
            {"model": self.models[m], **{key: float(value[m]) for key, value in columns.items()}}
            for m in order
        ]

    def table(self, base: str | None = None) -> str:
        """:meth:`rows` as text to print."""
        from tabulate import tabulate

        rows = self.rows(base)
        headers = {key: key.replace("_", " ") for key in rows[0]}
        digits = [
            "" if key == "model" else ".3f" if key == "temperature" else ".4f" for key in rows[0]
        ]
        text: str = tabulate(rows, headers=headers, floatfmt=digits, disable_numparse=[0])
        return text

    def to_pandas(self) -> pd.DataFrame:
        """One row for each pair of models a before b, with every metric of the pair."""
        import pandas as pd

        a, b = np.triu_indices(len(self.models), 1)
        names = np.array(self.models, object)
        ensemble = self.ensembles
        columns: dict[str, Any] = {
            "model_a": names[a],
            "model_b": names[b],
            "accuracy_a": _arrays.as_numpy(self.accuracy)[a],
            "accuracy_b": _arrays.as_numpy(self.accuracy)[b],
        }
        matrices = {
            "error_inconsistency": self.error_inconsistency,
            "error_consistency": self.error_consistency,
            "error_correlation": self.error_correlation,
        }
        if ensemble is not None:
            matrices |= {
                "ensemble_accuracy": ensemble.accuracy,
                "gain": ensemble.gain,
                "conversion_rate": ensemble.conversion_rate,
                "rescue_rate": ensemble.rescue_rate,
            }
        return pd.DataFrame(
            columns | {key: _arrays.as_numpy(m)[a, b] for key, m in matrices.items()}
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Error inconsistency of all pairs as a heatmap, similar models side by side.

        Args:
            ax: matplotlib axes to draw into; default: new ones.
        """
        import matplotlib.pyplot as plt

        if ax is None:
            side = max(4.0, 0.22 * len(self.models) + 2.5)
            _, ax = plt.subplots(figsize=(side + 1, side), layout="constrained")
        order = self.clustered_order()
        matrix = _arrays.as_numpy(self.error_inconsistency)[np.ix_(order, order)]
        image = ax.imshow(matrix, cmap="viridis", vmin=0)
        names = [self.models[m] for m in order]
        ax.set_xticks(range(len(names)), names, rotation=90)
        ax.set_yticks(range(len(names)), names)
        ax.figure.colorbar(image, ax=ax, label="error inconsistency", shrink=0.8)
        ax.set_title(f"{len(names)} models on {self.n_samples:,} samples")
        return ax

    def clustered_order(self) -> NDArray[np.int64]:
        """Models ordered so that those that err alike are neighbours.

        Leaves of average-linkage clustering on error inconsistency, which is a distance (the
        normalised Hamming distance of the error vectors); optimally ordered.
        """
        from scipy.cluster.hierarchy import leaves_list, linkage
        from scipy.spatial.distance import squareform

        if len(self.models) < 3:
            return np.arange(len(self.models))
        distance = squareform(_arrays.as_numpy(self.error_inconsistency), checks=False)
        tree = linkage(distance, "average", optimal_ordering=True)
        order: NDArray[np.int64] = leaves_list(tree).astype(np.int64)
        return order


def compare(
    logits: Array | TopK | Sequence[Array | TopK] | Store,  # (M, N, K) floating, or M arrays (N, K)
    target: Array | None = None,  # (N,) integer
    *,
    models: Sequence[str] | None = None,
    base: str | int | None = None,
    temperature: str | float | Sequence[float] | Array = "fit",
    calibration_split: tuple[Array | Sequence[Array], Array] | Store | None = None,
) -> Comparison:
    """Compares M models: accuracies, all pairs' error inconsistency, and what pairs of them gain.

    Args:
        logits: as in :func:`ovcore.pack_errors`; stored top-k outputs with ``temperature=1.0``; of
            predicted classes errors alone are compared. Or an :class:`ovcore.store.Store`, whose
            files are read where they lie, a few samples at a time.
        target: (N,) integer classes; a store has its own.
        models: M distinct names; default: those of the store, or "model 0", "model 1", ...
        base: name or index of the model that tables compare with; default: the first.
        temperature: "fit"; or "stored", those of the store's cards; or a positive temperature for
            all models, or one each.
        calibration_split: (logits, target) of other samples of the same models, or a store that has
            models of the same names, to fit the temperatures on. Without it they are fitted on the
            samples they are reported on, with a warning.

    Raises:
        ValueError: as :func:`ovcore.pack_errors`, :func:`ovcore.calibration.fit_temperature` and
            :func:`ovcore.ensembles.pairs`; names that repeat or are not M; an unknown base; a
            calibration split of other models or classes.
        TypeError: names that are not strings, or another argument of the wrong kind.

    >>> import numpy as np, ovcore as ov
    >>> rng = np.random.default_rng(0)
    >>> target = rng.integers(0, 10, 500)
    >>> logits = rng.normal(size=(3, 500, 10)) + 2 * np.eye(10)[target]
    >>> result = ov.compare(logits, target, models=["a", "b", "c"], temperature=1.0)
    >>> bool((result.ensembles.gain[0, 1:] > 0).all())
    True
    """
    if isinstance(logits, Store):
        models = logits.names if models is None else models
        target = logits.target if target is None else target
        if isinstance(temperature, str) and temperature == "stored":
            temperature = stored_temperatures(logits)
        logits = logits.outputs()
    if target is None:
        raise TypeError("target is missing: only a store has labels of its own")
    inputs = _inputs.read(logits, target, name="logits")
    stored = isinstance(inputs, _inputs.Preds) and _inputs.are_stored(logits)
    n_models = len(inputs.models)
    names, base_name = read_names(models, base, n_models)
    if isinstance(inputs, _inputs.Preds) and not stored:
        counts = JointErrors.from_errors(pack(inputs))
        return Comparison.from_counts(counts, models=names, base=base_name)
    if isinstance(temperature, str):
        if temperature != "fit":
            raise ValueError(
                f"temperature must be 'fit', 'stored' (of a store) or numbers, got {temperature!r}"
            )
        if stored:
            raise ValueError(NOT_TO_FIT_ON)
        assert isinstance(inputs, _inputs.Logits)
        split = _checked_split(calibration_split, inputs, names) or (logits, target)
        if split[0] is logits:
            warnings.warn(FITTED_ON_THE_SAME, UserWarning, stacklevel=2)
        fitted = calibration.fit_temperature(*split).temperature
        temperatures = _arrays.in_library(_arrays.as_numpy(fitted), inputs.library)
    elif calibration_split is not None:
        raise ValueError("calibration_split is for temperature='fit': got both")
    else:
        values = _inputs.read_temperature(temperature, n_models)
        temperatures = _arrays.in_library(values, inputs.library)
    pairs = ensembles.pairs(logits, target, temperature=temperatures)
    return Comparison.from_counts(
        pairs.errors, models=names, base=base_name, temperature=temperatures, ensembles=pairs
    )


def read_names(
    models: Sequence[str] | None, base: str | int | None, n_models: int
) -> tuple[tuple[str, ...], str]:
    """The models' names and the base's, checked, as :func:`compare` takes them."""
    names = tuple(models) if models is not None else tuple(f"model {m}" for m in range(n_models))
    if isinstance(models, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"models must be a sequence of names, got {models!r}")
    if len(names) != n_models:
        raise ValueError(f"models has {len(names)} names but logits has {n_models} models")
    if len(set(names)) != n_models:
        raise ValueError("models has names that repeat")
    return names, names[0] if base is None else names[_position(names, base)]


def stored_temperatures(store: Store) -> list[float]:
    """Temperatures of the store's cards; refuses a store that lacks some."""
    found = [card.temperature for card in store.models]
    lacking = [card.name for card in store.models if card.temperature is None]
    if lacking:
        raise ValueError(
            f"the store at {store.path} has no temperature of {len(lacking)} of {len(store)} "
            f"models, first {lacking[0]!r}: pass temperature='fit' or numbers"
        )
    return [t for t in found if t is not None]


def _checked_split(
    split: tuple[Array | Sequence[Array], Array] | Store | None,
    inputs: _inputs.Logits,
    names: tuple[str, ...],
) -> tuple[Array | Sequence[Array], Array] | None:
    """The split itself; refuses one that is not of the same models and classes."""
    if split is None:
        return None
    if isinstance(split, Store):
        split = same_models(split, names)
        split = ([split.logits(name) for name in names], split.target)
    if not isinstance(split, tuple | list) or len(split) != 2:
        raise TypeError("calibration_split must be a pair (logits, target) or a store")
    held = _inputs.read_logits(*split, name="calibration_split[0]")
    for what, theirs, ours in (
        ("models", len(held.models), len(inputs.models)),
        ("classes", held.n_classes, inputs.n_classes),
    ):
        if theirs != ours:
            raise ValueError(f"calibration_split has {theirs} {what} but logits has {ours}")
    return split[0], split[1]


def same_models(split: Store, names: Sequence[str]) -> Store:
    """The models called so in a store of other samples."""
    lacking = [name for name in names if name not in split.names]
    if lacking:
        raise ValueError(
            f"the store at {split.path} has no model {lacking[0]!r} to fit a temperature of"
        )
    return split.select(names)


def _position(names: Sequence[str], wanted: str | int) -> int:
    if isinstance(wanted, str):
        if wanted not in names:
            raise ValueError(f"no model is named {wanted!r}; there are: {', '.join(names)}")
        return names.index(wanted)
    if not isinstance(wanted, int | np.integer) or isinstance(wanted, bool):
        raise TypeError(f"base must be a name or an index, got {wanted!r}")
    if not -len(names) <= wanted < len(names):
        raise ValueError(f"there is no model {wanted}; there are {len(names)}")
    return int(wanted) % len(names)
