from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ovcore._arrays import Typed
from ovcore._candidates import Candidates, Scored
from ovcore._devices import Place
from ovcore._screens import Screen

class DeviceArray:
    def __init__(
        self,
        place: Place,
        dtype: str,
        shape: Sequence[int],
        strides: Sequence[int] | None,
        address: int,
        owner: object,
    ) -> None: ...
    @staticmethod
    def empty(place: Place, shape: Sequence[int], dtype: str) -> DeviceArray: ...
    @staticmethod
    def upload(place: Place, values: NDArray[Any]) -> DeviceArray: ...
    @staticmethod
    def from_dlpack(place: Place, capsule: Any) -> DeviceArray: ...
    @property
    def place(self) -> Place: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def strides(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def itemsize(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any) -> DeviceArray: ...
    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def take(self, rows: NDArray[np.int64]) -> DeviceArray: ...
    def numpy(self) -> NDArray[Any]: ...

class Buffer:
    def __init__(self, n_bytes: int, device: int, stream: int) -> None: ...
    @property
    def address(self) -> int: ...

def devices() -> list[str]: ...
def device_of(address: int) -> int: ...
def order(device: int, before: int, after: int) -> None: ...
def measure(on: bool) -> None: ...
def measured() -> list[tuple[str, float]]: ...
def pack_errors(
    models: Sequence[Typed | DeviceArray],
    target: DeviceArray,
    words: DeviceArray,
    preds: DeviceArray | None,
    workers: Any,
    progress: Any,
) -> list[int]: ...
def joint_errors(
    words: DeviceArray, workers: Any, progress: Any, method: str | None = None
) -> NDArray[np.int64]: ...
def joint_errors_between(
    words: DeviceArray, rows: range, cols: range, workers: Any, progress: Any
) -> NDArray[np.int64]: ...
def screen_pairs(
    words: DeviceArray, rows: range, cols: range, screen: Screen, workers: Any, progress: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
def joint_agreement(
    preds: Sequence[DeviceArray], lowest: int, highest: int, workers: Any, progress: Any
) -> NDArray[np.int64]: ...
def class_span(preds: Sequence[DeviceArray]) -> tuple[int, int]: ...
def temperature_nll(
    models: Sequence[Typed],
    target: DeviceArray,
    beta: NDArray[np.float64],
    workers: Any,
    progress: Any,
) -> NDArray[np.float64]: ...
def confidences(
    models: Sequence[Typed],
    temperature: NDArray[np.float64],
    preds: DeviceArray,
    confidence: DeviceArray,
    workers: Any,
    progress: Any,
) -> None: ...
def candidate_scores(
    scored: Scored,
    preds: DeviceArray,
    target: DeviceArray,
    all_samples: bool,
    workers: Any,
    progress: Any,
) -> Candidates: ...
def pair_ensemble_hits(
    scored: Scored, n_models: int, candidates: Candidates, workers: Any, progress: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def candidate_hits(
    scored: Scored,
    n_models: int,
    candidates: Candidates,
    members: NDArray[np.int64],
    running: Any,
    outside: Any,
    right: NDArray[np.bool_],
    workers: Any,
) -> NDArray[np.int64]: ...
def ensemble_predictions(
    scored: Scored,
    weights: NDArray[np.float64],
    preds: DeviceArray,
    workers: Any,
    progress: Any,
) -> NDArray[np.int32]: ...
def angle_histogram(
    confidence: DeviceArray,
    right: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    slopes: NDArray[np.float64],
    keep: NDArray[np.bool_],
    workers: Any,
    progress: Any,
) -> NDArray[np.int64]: ...
