"""Error bits and joint errors on a GPU where the compiled module is not built.

It takes cupy's arrays where they lie and queues its work on their stream. Kernels share work inside
of a block alone, so that numba's simulator, which takes numpy's arrays, runs the same source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba.cuda
import numpy as np
from numba.cuda.cudadrv.error import CudaSupportError
from numpy.typing import NDArray

from ovcore import _arrays, _devices
from ovcore._arrays import Typed
from ovcore._devices import DeviceArray
from ovcore._numba_tasks import INFINITY
from ovcore._progress import Progress

__all__ = ["devices", "joint_errors", "pack_errors"]

cuda: Any = numba.cuda  # of that name: the simulator puts its own in its place

_COMPILED_ONLY = (
    "angle_histogram",
    "candidate_hits",
    "candidate_scores",
    "confidences",
    "ensemble_predictions",
    "joint_agreement",
    "joint_errors_between",
    "pair_ensemble_hits",
    "screen_pairs",
    "temperature_nll",
)
_SIMULATED = bool(cuda.config.ENABLE_CUDASIM)
_FEWEST_BLOCKS = 1 if _SIMULATED else 128  # numba warns of launches of fewer; the rest do nothing
_THREADS = 256  # of a block
_LANES = 32  # threads that read a row together
_LANE_ROWS = (64, _LANES + 1)  # in shared memory; odd, so that neighbouring rows' banks differ
_SIDE = 16  # a block's threads as a square, each with 2 x 2 pairs
_TILE = 2 * _SIDE  # models a side
_STAGE = 16  # words of a tile's models in shared memory at a time
_STAGE_ROWS = (2 * _TILE, _STAGE + 1)  # odd, too
_ENOUGH_BLOCKS = 1024  # to keep a GPU busy; fewer tiles are split over words
_SLICE_WORDS = 4 * _STAGE  # at least


def devices() -> list[str]:
    """Names of the GPUs.

    Raises:
        RuntimeError: there is none, or numba cannot compile for it.
    """
    if _SIMULATED:
        return ["numba's simulator"]
    try:
        names = [gpu.name for gpu in cuda.gpus]
    except CudaSupportError as error:
        raise RuntimeError(f"no CUDA device: {' '.join(str(error).split())}") from error
    if not names:
        raise RuntimeError("no CUDA device: the driver lists none")
    if not cuda.cudadrv.nvvm.is_available():
        raise RuntimeError(
            "no CUDA device that numba compiles for: libNVVM is not found "
            "(a CUDA toolkit, or pip install 'ovcore[cuda]')"
        )
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def __getattr__(name: str) -> Any:
    if name in _COMPILED_ONLY:
        raise RuntimeError(
            f"backend 'numba-cuda' has no kernel {name}: the compiled module has it "
            "(OVCORE_CUDA=ON at installation)"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pack_errors(
    models: Sequence[Typed | DeviceArray],
    target: DeviceArray,
    words: DeviceArray,
    preds: DeviceArray | None,
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> list[int]:
    """See :func:`ovcore._reference.pack_errors`."""
    if words.size == 0:
        return [0] * len(models)
    with _device_of(words):
        to, expected = _seen(words), _seen(target)
        stream, n_words = to.stream, words.shape[1]
        found = cuda.device_array((0, 0), np.int32) if preds is None else _seen(preds)
        without = cuda.to_device(np.zeros(len(models), np.int64), stream=stream)
        for m, model in enumerate(models):
            if isinstance(model, Typed):
                infinity = INFINITY[model.dtype]
                bits = model.values.view(infinity.dtype)
                args = (_seen(bits), infinity, expected, m, to, found, without)
                _launch(_pack_logits, n_words, _THREADS, stream, args)
            else:
                # numba compares 64 unsigned bits with signed ones as floats
                signed = model.view(np.int64) if model.dtype == np.uint64 else model
                _launch(_pack_classes, n_words, 64, stream, (_seen(signed), expected, m, to))
        return _fetch(without, stream).tolist()


def joint_errors(
    words: DeviceArray,
    workers: int,  # noqa: ARG001
    progress: Progress | None,  # noqa: ARG001
) -> NDArray[np.int64]:
    """See :func:`ovcore._reference.joint_errors`."""
    n_models, n_words = words.shape
    if words.size == 0:
        return np.zeros((n_models, n_models), np.int64)
    n_tiles = -(-n_models // _TILE)
    most_slices = max(1, min(_ENOUGH_BLOCKS // n_tiles**2, n_words // _SLICE_WORDS))
    slice_words = -(-n_words // (most_slices * _STAGE)) * _STAGE
    n_blocks = n_tiles**2 * -(-n_words // slice_words)
    with _device_of(words):
        rows = _seen(words)
        stream = rows.stream
        joint = cuda.device_array((n_models, n_models), np.int64, stream=stream)
        _launch(_clear, -(-(n_models**2) // _THREADS), _THREADS, stream, (joint,))
        _launch(_joint_errors, n_blocks, _SIDE**2, stream, (rows, n_tiles, slice_words, joint))
        return _fetch(joint, stream)


def _device_of(array: DeviceArray) -> Any:
    """Makes the array's GPU the current one, for numba and cupy alike, in a with statement."""
    return cuda.gpus[_devices.device_number(_arrays.device_of(array)) or 0]


def _seen(array: DeviceArray) -> Any:
    """What kernels take: the same memory, and the stream that its library works on now, or 0."""
    if _SIMULATED:
        return cuda.devicearray.FakeCUDAArray(array)
    return cuda.as_cuda_array(array, sync=False)  # what is queued on that stream comes first anyway


def _launch(kernel: Any, n_blocks: int, n_threads: int, stream: Any, args: tuple[Any, ...]) -> None:
    kernel[max(n_blocks, _FEWEST_BLOCKS), n_threads, stream](*args)


def _fetch(array: Any, stream: Any) -> NDArray[np.int64]:
    """A copy in host memory, once all that is queued has run."""
    values = array.copy_to_host(stream=stream)
    if stream:
        stream.synchronize()
    return values


@cuda.jit
def _pack_logits(bits, infinity, target, m, words, preds, without):
    """A block makes a word. Floats are compared as integers that order the same way."""
    keys = cuda.shared.array(_LANE_ROWS, np.int64)
    classes = cuda.shared.array(_LANE_ROWS, np.int32)
    word = cuda.shared.array(1, np.uint64)
    w, thread = cuda.blockIdx.x, cuda.threadIdx.x
    if w >= words.shape[1]:
        return
    integer = bits.dtype.type
    sign = 8 * bits.itemsize - 1
    low_bits = integer(~(np.int64(-1) << sign))
    minus_infinity = integer(~infinity)
    n_samples, n_classes = bits.shape
    lane = thread % _LANES
    if thread == 0:
        word[0] = np.uint64(0)
    for i in range(thread // _LANES, 64, _THREADS // _LANES):
        largest, at = minus_infinity, n_classes
        n = w * 64 + i
        if n < n_samples:
            for k in range(lane, n_classes, _LANES):
                element = bits[n, k]
                key = integer(element ^ ((element >> sign) & low_bits))
                if key == -1:  # -0, which is equal to +0
                    key = integer(0)
                if key < minus_infinity:  # a NaN with a sign; others are past infinity
                    key = low_bits
                if key > largest:
                    largest, at = key, k
        keys[i, lane] = largest
        classes[i, lane] = at
    cuda.syncthreads()
    n = w * 64 + thread
    if thread < 64 and n < n_samples:
        best, pred = keys[thread, 0], classes[thread, 0]
        for i in range(1, n_classes if n_classes < _LANES else _LANES):
            key, at = keys[thread, i], classes[thread, i]
            if key > best or (key == best and at < pred):
                best, pred = key, at
        if best > infinity or best == minus_infinity:
            pred = np.int32(-1)
            cuda.atomic.add(without, m, 1)
        if n < preds.shape[1]:
            preds[m, n] = pred
        if pred != target[n]:
            cuda.atomic.or_(word, 0, np.uint64(1) << np.uint64(thread))
    cuda.syncthreads()
    if thread == 0:
        words[m, w] = word[0]


@cuda.jit
def _pack_classes(classes, target, m, words):
    word = cuda.shared.array(1, np.uint64)
    w, thread = cuda.blockIdx.x, cuda.threadIdx.x
    if w >= words.shape[1]:
        return
    if thread == 0:
        word[0] = np.uint64(0)
    cuda.syncthreads()
    n = w * 64 + thread
    if n < len(target) and classes[n] != target[n]:
        cuda.atomic.or_(word, 0, np.uint64(1) << np.uint64(thread))
    cuda.syncthreads()
    if thread == 0:
        words[m, w] = word[0]


@cuda.jit
def _clear(counts):
    i = cuda.blockIdx.x * _THREADS + cuda.threadIdx.x
    n_cols = counts.shape[1]
    if i < counts.size:
        counts[i // n_cols, i % n_cols] = 0


@cuda.jit
def _joint_errors(words, n_tiles, slice_words, joint):
    """A block adds the counts of a tile of pairs in a slice of the words; a thread's are 2 x 2."""
    stage = cuda.shared.array(_STAGE_ROWS, np.uint64)
    thread = cuda.threadIdx.x
    n_squares = n_tiles * n_tiles
    part, tile = cuda.blockIdx.x // n_squares, cuda.blockIdx.x % n_squares
    top, left = tile // n_tiles * _TILE, tile % n_tiles * _TILE
    first = part * slice_words
    last = first + slice_words
    if last > words.shape[1]:
        last = words.shape[1]
    if first >= last or top > left:
        return
    y, x = thread // _SIDE, thread % _SIDE
    counts = cuda.local.array((2, 2), np.int64)
    for r in range(2):
        for c in range(2):
            counts[r, c] = 0
    for begin in range(first, last, _STAGE):
        for i in range(thread, 2 * _TILE * _STAGE, _SIDE * _SIDE):
            r, w = i // _STAGE, i % _STAGE
            row = top + r if r < _TILE else left + r - _TILE
            if row < words.shape[0] and begin + w < last:
                stage[r, w] = words[row, begin + w]
            else:
                stage[r, w] = np.uint64(0)
        cuda.syncthreads()
        for w in range(_STAGE):
            for r in range(2):
                for c in range(2):
                    both = stage[y + r * _SIDE, w] & stage[_TILE + x + c * _SIDE, w]
                    counts[r, c] += cuda.popc(both)
        cuda.syncthreads()
    for r in range(2):
        for c in range(2):
            row, col = top + y + r * _SIDE, left + x + c * _SIDE
            if row <= col and col < joint.shape[0]:  # integers: blocks may add in any order
                cuda.atomic.add(joint, (row, col), counts[r, c])
                if row < col:
                    cuda.atomic.add(joint, (col, row), counts[r, c])
