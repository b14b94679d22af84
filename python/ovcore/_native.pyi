from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
def joint_agreement(
    preds: Sequence[NDArray[np.integer[Any]]],
    lowest: int,
    highest: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.int64]: ...
