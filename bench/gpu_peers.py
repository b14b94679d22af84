"""What torch and cupy take for the same jobs on the same GPU. An answer is checked before its time.

A peer's result is {"ms": ..., "note": ...}, or {"problem": ...} where it failed or was wrong.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpu_rows import median

Timer = Callable[[Callable[[], Any]], float]  # ms of a call
ROUNDS, MOST_MS = 7, 2000.0
MOST_CALLS, BATCH_MS = 50, 4.0  # short calls are timed together: else launching them would count
L2_BYTES = 60_000_000  # an H200's; what fits is read from copies in turns
NEAR = 2e-4  # of all samples: float32 probabilities tie where logits differ by an ulp or two


def event_timer(torch: Any) -> Timer:
    """Medians by CUDA's events, after the call that was checked has warmed everything up."""

    def ms_of(call: Callable[[], Any], calls: int) -> float:
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(calls):
            call()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last)) / calls

    def timer(call: Callable[[], Any]) -> float:
        once = ms_of(call, 1)
        calls = max(1, min(MOST_CALLS, int(BATCH_MS / max(once, 1e-3))))
        times = [once] if once > MOST_MS else [ms_of(call, calls)]
        while len(times) < ROUNDS and sum(times) * calls < MOST_MS:
            times.append(ms_of(call, calls))
        return median(times)

    return timer


def copy_bandwidth(torch: Any, n_bytes: int) -> float:
    """Bytes a second, read and written."""
    values = torch.randint(0, 256, (n_bytes,), dtype=torch.uint8, device="cuda:0")
    to = torch.empty_like(values)
    to.copy_(values)
    timer = event_timer(torch)
    return 2 * n_bytes / (timer(lambda: to.copy_(values)) * 1e-3)


def time_peer(
    timer: Timer, call: Callable[[], Any], problem_of: Callable[[Any], str], scale: float = 1.0
) -> dict[str, Any]:
    """``problem_of`` says what is wrong with an answer, or nothing; ``scale`` is all of the work
    over what was measured of it.
    """
    try:
        problem = problem_of(call())
        if problem:
            return {"problem": f"not timed: {problem}"}
        return {"ms": scale * timer(call)}
    except Exception as error:  # noqa: BLE001  # theirs may be of any kind, and costs us a peer only
        return {"problem": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"}


def unpack(torch: Any, words: Any, dtype: Any, rows: int) -> Any:
    """(rows, 64 W) zeros and ones of (M, W) int64 words, rows past M of zeros."""
    n_models, n_words = words.shape
    bits = torch.zeros((rows, 64 * n_words), dtype=dtype, device=words.device)
    shifts = torch.arange(8, dtype=torch.uint8, device=words.device)
    for first in range(0, n_models, 128):  # a byte a sample of few models at a time
        part = words[first : first + 128].contiguous().view(torch.uint8)
        ones = part[:, :, None].bitwise_right_shift(shifts).bitwise_and_(1)
        bits[first : first + len(part)] = ones.reshape(len(part), -1)
    return bits


def joint_errors(
    torch: Any, cupy: Any, timer: Timer, words: Any, ours: Any, free: int
) -> dict[str, dict[str, Any]]:
    """The full matrix as a product of zeros and ones, and by counting bits.

    Args:
        torch: the module.
        cupy: the module, or None.
        timer: of calls.
        words: (M, W) int64 error bits on the GPU.
        ours: (M, M) int64 there.
        free: bytes of its memory.
    """
    n_models, n_words = words.shape
    padded = -(-max(n_models, 32) // 16) * 16  # as _int_mm takes them

    def problem_of(joint: Any) -> str:
        wrong = joint[:n_models, :n_models].long() != ours
        return f"{int(wrong.sum()):,} pairs differ from ours" if bool(wrong.any()) else ""

    def exact(bits: Any) -> Any:  # sums of 0 and 1 below 2^24
        return torch.mm(bits, bits.T, out_dtype=torch.float32)

    peers = {}
    for name, dtype, multiply in (
        ("torch._int_mm", torch.int8, lambda bits: torch._int_mm(bits, bits.T)),
        ("torch bf16", torch.bfloat16, exact),
        ("torch fp16", torch.float16, exact),
    ):
        needs = padded * 64 * n_words * dtype.itemsize + 24 * padded**2
        if needs > free:
            peers[name] = {"problem": f"not timed: takes {needs / 1e9:.0f} GB"}
            continue
        turns = in_turns(multiply, unpack(torch, words, dtype, padded))
        peers[name] = time_peer(timer, turns, problem_of)
        del turns
    if cupy is not None:
        found = torch.zeros((n_models, n_models), dtype=torch.int64, device=words.device)
        turns = in_turns(lambda some: count_by_popcount(cupy, some, found), words)
        peers["cupy popcount kernel"] = time_peer(timer, turns, problem_of)
    return peers


def in_turns(call: Callable[[Any], Any], values: Any) -> Callable[[], Any]:
    """Calls with the values, then with copies of them, so that the second-level cache has none."""
    n_copies = 2 * L2_BYTES // (values.numel() * values.element_size())
    inputs = itertools.cycle([values, *(values.clone() for _ in range(min(n_copies, 24)))])
    return lambda: call(next(inputs))


# A block counts 64 x 64 pairs, a thread 4 x 4, from stages of 16 words in shared memory.
POPCOUNT = r"""
extern "C" __global__ void joint_popcount(const unsigned long long* words, long long* joint,
                                          int n_models, int n_words) {
  __shared__ unsigned long long rows[64][17], cols[64][17];
  const int x = threadIdx.x % 16, y = threadIdx.x / 16;
  const int row = blockIdx.y * 64, col = blockIdx.x * 64;
  int counts[4][4] = {};
  for (int first = 0; first < n_words; first += 16) {
    for (int r = y; r < 64; r += 16) {
      const bool inside = first + x < n_words;
      rows[r][x] = inside && row + r < n_models
                       ? words[(long long)(row + r) * n_words + first + x] : 0;
      cols[r][x] = inside && col + r < n_models
                       ? words[(long long)(col + r) * n_words + first + x] : 0;
    }
    __syncthreads();
    for (int w = 0; w < 16; ++w)
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          counts[i][j] += __popcll(rows[y + 16 * i][w] & cols[x + 16 * j][w]);
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) {
      const int a = row + y + 16 * i, b = col + x + 16 * j;
      if (a < n_models && b < n_models) joint[(long long)a * n_models + b] = counts[i][j];
    }
}
"""


@functools.cache
def popcount_kernel(cupy: Any) -> Any:
    return cupy.RawKernel(POPCOUNT, "joint_popcount")


def count_by_popcount(cupy: Any, words: Any, found: Any) -> Any:
    """On cupy's current stream, which like torch's is the default one."""
    n_models, n_words = words.shape
    side = -(-n_models // 64)
    arguments = (
        np.uintp(words.data_ptr()), np.uintp(found.data_ptr()), np.int32(n_models),
        np.int32(n_words),
    )  # fmt: skip
    popcount_kernel(cupy)((side, side), (256,), arguments)
    return found


def pack_errors(
    torch: Any, cupy: Any, timer: Timer, models: Sequence[Any], target: Any, wrong: Any
) -> dict[str, dict[str, Any]]:
    """Where M models (N, K) are wrong, one model at a time, against ours (M, N)."""

    def problem_of(found: Sequence[Any]) -> str:
        other = sum(int((mine != theirs).sum()) for mine, theirs in zip(wrong, found, strict=True))
        if other <= NEAR * wrong.numel():
            return ""
        return f"{other:,} of {wrong.numel():,} samples differ from ours"

    def softmaxed() -> list[Any]:
        return [torch.softmax(z, 1, dtype=torch.float32).argmax(1) != target for z in models]

    def plain() -> list[Any]:
        return [z.argmax(1) != target for z in models]

    peers = {
        "torch argmax": time_peer(timer, plain, problem_of),
        "torch softmax + argmax": time_peer(timer, softmaxed, problem_of),
    }
    if cupy is not None and models[0].dtype != torch.bfloat16:
        views, labels = [cupy.asarray(z) for z in models], cupy.asarray(target)

        def on_torch(found: Sequence[Any]) -> str:
            return problem_of([torch.as_tensor(part, device=wrong.device) for part in found])

        def by_cupy() -> list[Any]:
            return [z.argmax(1) != labels for z in views]

        peers["cupy argmax"] = time_peer(timer, by_cupy, on_torch)
    return peers


def pair_ensembles(
    torch: Any, timer: Timer, models: Sequence[Any], target: Any, hits: Any, which: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Hits of the pairs of some models, scaled to all pairs.

    Args:
        torch: the module.
        timer: of calls.
        models: M logits (N, K).
        target: (N,).
        hits: (M, M) ours, at temperature 1.
        which: models whose pairs are measured.
    """
    pairs = [(a, b) for i, a in enumerate(which) for b in which[i + 1 :]]
    n_models, n_samples = len(models), len(target)
    scale = n_models * (n_models - 1) / 2 / len(pairs)

    def softmax(m: int) -> Any:
        return torch.softmax(models[m], 1, dtype=torch.float32)

    def anew() -> list[Any]:
        return [((softmax(a) + softmax(b)).argmax(1) == target).sum() for a, b in pairs]

    stored = {m: softmax(m) for m in which}

    def from_stored() -> list[Any]:
        return [((stored[a] + stored[b]).argmax(1) == target).sum() for a, b in pairs]

    def problem_of(found: Sequence[Any]) -> str:
        off = [abs(int(n) - int(hits[a, b])) for n, (a, b) in zip(found, pairs, strict=True)]
        most = max(1.0, 5 * NEAR * n_samples)
        return f"hits of a pair are off by {max(off):,}" if max(off) > most else ""

    note = f"{len(pairs)} pairs, scaled to all {n_models * (n_models - 1) // 2:,}"
    peers = {
        "torch softmax, add, argmax": time_peer(timer, anew, problem_of, scale),
        "torch add, argmax of stored": time_peer(timer, from_stored, problem_of, scale),
    }
    for peer in peers.values():
        peer["note"] = note
    peers["torch add, argmax of stored"]["note"] += "; the softmax is not counted"
    return peers


def joint_agreement(torch: Any, timer: Timer, preds: Any, ours: Any) -> dict[str, dict[str, Any]]:
    """Each model's predictions (N,) compared with those of all (M, N)."""

    def count() -> Any:
        return torch.stack([(preds == row).sum(1) for row in preds])

    def problem_of(found: Any) -> str:
        return "" if bool((found == ours).all()) else "counts differ from ours"

    return {"torch == and sum": time_peer(timer, count, problem_of)}
