"""The oracle of what looks for pairs among many models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore._progress import Progress
from ovcore._screens import Screen


def joint_errors_between(
    words: NDArray[np.uint64],  # (M, W)
    rows: range,
    cols: range,
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.int64]:  # (R, C)
    """joint[i, j] = samples that models rows[i] and cols[j] both get wrong."""
    joint = [[np.bitwise_count(words[i] & words[j]).sum() for j in cols] for i in rows]
    return np.array(joint, np.int64).reshape(len(rows), len(cols))


def screen_pairs(
    words: NDArray[np.uint64],  # (M, W)
    rows: range,
    cols: range,
    screen: Screen,
    workers: int,
    progress: Progress | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:  # (P,), (P,), (P,)
    """Models i in rows and j in cols, i < j, that pass, and their joint errors; in any order."""
    joint = joint_errors_between(words, rows, cols, workers, progress)
    found = [
        (i, j, int(joint[i - rows.start, j - cols.start]))
        for i in rows
        for j in cols
        if i < j
        and (
            passes(screen, i, j, int(joint[i - rows.start, j - cols.start]))
            or passes(screen, j, i, int(joint[i - rows.start, j - cols.start]))
        )
    ]
    first, second, counts = np.array(found, np.int64).reshape(-1, 3).T.copy()
    return first, second, counts


def passes(screen: Screen, a: int, b: int, joint: int) -> bool:
    """Whether model a lets partner b pass."""
    score = screen.sign * joint - screen.beta[a] * screen.x[b] - screen.gamma[a] * screen.y[b]
    if not score >= screen.alpha[a] - screen.slack:
        return False
    ties = score == screen.alpha[a] and (screen.slack == 0 or screen.x[b] == screen.last_x[a])
    return not (ties and screen.number[b] > screen.last[a])
