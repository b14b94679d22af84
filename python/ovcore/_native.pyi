from typing import Any

import numpy as np
from numpy.typing import NDArray

def instruction_set() -> str: ...
def pack_errors(
    logits: NDArray[Any],
    dtype: str,
    target: NDArray[np.int64],
    words: NDArray[np.uint64],
    preds: NDArray[np.int32] | None,
    workers: int,
) -> int: ...
def joint_errors(words: NDArray[np.uint64], workers: int) -> NDArray[np.int64]: ...
