from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore._arrays import Typed
from ovcore._candidates import Candidates, Scored
from ovcore._screens import Screen

def instruction_set() -> str: ...
def pack_errors(
    models: Sequence[tuple[NDArray[Any], str] | NDArray[np.integer[Any]]],
    target: NDArray[np.int64],
    words: NDArray[np.uint64],
    preds: NDArray[np.int32] | None,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[int]: ...
def joint_errors(
    words: NDArray[np.uint64], workers: int, progress: Callable[[int, int], None] | None
) -> NDArray[np.int64]: ...
def joint_errors_between(
    words: NDArray[np.uint64],
    rows: range,
    cols: range,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int64]: ...
def screen_pairs(
    words: NDArray[np.uint64],
    rows: range,
    cols: range,
    screen: Screen,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def joint_agreement(
    preds: Sequence[NDArray[np.integer[Any]]],
    lowest: int,
    highest: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int64]: ...
def temperature_nll(
    models: Sequence[Typed],
    target: NDArray[np.int64],
    beta: NDArray[np.float64],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float64]: ...
def confidences(
    models: Sequence[Typed],
    temperature: NDArray[np.float64],
    preds: NDArray[np.int32],
    confidence: NDArray[np.float32],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> None: ...
def candidate_scores(
    scored: Scored,
    preds: NDArray[np.int32],
    target: NDArray[np.int64],
    all_samples: bool,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> Candidates: ...
def pair_ensemble_hits(
    scored: Scored | None,
    n_models: int,
    candidates: Candidates,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def candidate_hits(
    scored: Scored | None,
    n_models: int,
    candidates: Candidates,
    members: NDArray[np.int64],
    running: NDArray[np.float64],
    outside: NDArray[np.float64],
    right: NDArray[np.bool_],
    workers: int,
) -> NDArray[np.int64]: ...
def ensemble_predictions(
    scored: Scored,
    weights: NDArray[np.float64],
    preds: NDArray[np.int32],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int32]: ...
def angle_histogram(
    confidence: NDArray[np.float32],
    right: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    slopes: NDArray[np.float64],
    keep: NDArray[np.bool_],
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int64]: ...
def center_rows(
    parts: Sequence[Typed],
    pilots: Sequence[NDArray[np.floating[Any]]],
    out: Sequence[NDArray[np.floating[Any]]],
    sums: Sequence[NDArray[np.floating[Any]]],
    workers: int,
) -> None: ...
