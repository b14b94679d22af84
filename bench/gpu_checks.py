"""Every kernel of ovcore._cuda against the CPU's on fresh random inputs, its memory poisoned.

A check yields cases: what was found, and what it must be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpu_cases import (
    DTYPES,
    INTEGERS,
    WORKERS,
    Case,
    NotHereError,
    Setting,
    Zoo,
    empty,
    models_there,
    put,
    put_apart,
    rows_of,
    typed,
    zoos,
)
from ovcore import _bits
from ovcore._arrays import Typed
from ovcore._candidates import Candidates
from ovcore._screens import Screen

Check = Callable[[Setting], Iterator[Case]]
METHODS = ("popcount", "mma", "wgmma")


def pack_errors(s: Setting) -> Iterator[Case]:
    for n in s.pick([1, 63, 64, 65, 127, 1000, 20_000], [1, 65, 300], [65]):
        for k in s.pick([1, 2, 10, 63, 65, 1000], [1, 7, 65, 300], [10]):
            target = s.rng.integers(0, k, n)
            alike = []
            for dtype in DTYPES:
                models = [
                    typed(rows_of(s.rng, kind, (n, k)), dtype)
                    for kind in ("plain", "ties", "special", "bits")
                ]
                yield from _packed(s, f"{n} x {k} {dtype}", models, target)
                alike.append(models[1])
            yield from _packed(s, f"{n} x {k}, all types in one call", alike, target)
    for k in s.pick([100_003], [5003], []):
        for dtype in DTYPES:
            models = [typed(rows_of(s.rng, "plain", (70, k)), dtype)]
            yield from _packed(s, f"70 x {k} {dtype}", models, s.rng.integers(0, k, 70))


def _packed(s: Setting, what: str, models: Sequence[Typed], target: np.ndarray) -> Iterator[Case]:
    shape, n = _bits.shape_of(len(models), len(target)), len(target)
    words, preds = empty(shape, "uint64"), empty((len(models), n), "int32")
    there = models_there(models)
    without = s.cuda.pack_errors(there, put(target), words, preds, WORKERS, None)
    for oracle in s.oracles(sum(model.values.size for model in models)):
        expected = np.zeros(shape, np.uint64), np.zeros((len(models), n), np.int32)
        count = oracle.pack_errors(models, target, *expected, WORKERS, None)
        yield Case(f"{what}: words", words.numpy(), expected[0])
        yield Case(f"{what}: preds", preds.numpy(), expected[1])
        yield Case(f"{what}: rows without a prediction", without, count)


def pack_predictions(s: Setting) -> Iterator[Case]:
    for n in s.pick([1, 63, 64, 65, 1000, 50_000], [1, 64, 300], [65]):
        target = s.rng.integers(0, 3, n)
        for dtype in INTEGERS:
            rows, there = _classes(s, n, dtype, 0, 3)
            words = empty(_bits.shape_of(len(rows), n), "uint64")
            s.cuda.pack_errors(there, put(target), words, None, WORKERS, None)
            for oracle in s.oracles(100 * n):
                expected = np.zeros(words.shape, np.uint64)
                oracle.pack_errors(rows, target, expected, None, WORKERS, None)
                yield Case(f"{n} {dtype}", words.numpy(), expected)


def _classes(
    s: Setting, n: int, dtype: str, lowest: int, highest: int, n_models: int = 4
) -> tuple[list[np.ndarray], list[Any]]:
    """Classes (N,) of models in host memory and on the GPU, there with strides of all kinds."""
    values = s.rng.integers(lowest, highest, (n_models, n), np.dtype(dtype), endpoint=True)
    values[1:, ::2] = values[0, ::2]
    layouts = [
        lambda row: put(row),
        lambda row: put(np.repeat(row, 2))[::2],
        lambda row: put(row[::-1])[::-1],
    ]
    return list(values), [layouts[m % 3](row) for m, row in enumerate(values)]


def joint_errors(s: Setting, method: str | None) -> Iterator[Case]:
    def count(words: Any) -> Any:
        try:
            return s.cuda.joint_errors(words, WORKERS, None, method=method)
        except RuntimeError as error:
            if "cudaErrorNotSupported" in str(error):
                raise NotHereError("not on this device, or not in this build") from error
            raise

    models = [1, 2, 3, 63, 64, 65, 127, 128, 129, 257, 1000]
    shapes = [(m, w) for m in models for w in (1, 2, 7, 16, 17, 129, 1024)]
    shapes += [(2, 100_001), (129, 15_632), (1000, 15_632)]
    small = [(1, 1), (2, 7), (3, 1024), (64, 2), (65, 17), (129, 33), (257, 16)]
    for m, w in s.pick(shapes, small, [(3, 40), (65, 17)]):
        words = s.rng.integers(0, 1 << 64, (m, w), np.uint64)
        # rows at multiples of 16 bytes, as tensor cores take them, with poison between them
        found = count(put_apart(words, before=2, after=2 + w % 2))
        for oracle in s.oracles(words.size + 10 * m * m):
            yield Case(f"{m} x {w} words", found, oracle.joint_errors(words, WORKERS, None))
        if method in (None, "popcount"):
            yield Case(f"{m} x {w} words, not aligned", count(put_apart(words)), found)
    if s.size == "full":
        ones = np.full((2, 1 << 25), ~np.uint64(0))
        yield Case("2^31 samples, all wrong", count(put(ones)), np.full((2, 2), 1 << 31))


def joint_errors_between(s: Setting) -> Iterator[Case]:
    shapes = s.pick([(70, 1), (300, 157), (9000, 16)], [(70, 1), (150, 17)], [(20, 3)])
    for m, w in shapes:
        words = s.rng.integers(0, 1 << 64, (m, w), np.uint64)
        there = put_apart(words)
        for rows, cols in _ranges(m):
            found = s.cuda.joint_errors_between(there, rows, cols, WORKERS, None)
            for oracle in s.oracles(len(rows) * len(cols) * w):
                expected = oracle.joint_errors_between(words, rows, cols, WORKERS, None)
                yield Case(f"{rows} and {cols} of {m} x {w} words", found, expected)


def screen_pairs(s: Setting) -> Iterator[Case]:
    shapes = s.pick([(70, 1), (300, 157), (9000, 16)], [(70, 1), (150, 17)], [(20, 3)])
    for m, w in shapes:
        words = s.rng.integers(0, 1 << 64, (m, w), np.uint64)
        there = put_apart(words)
        for slack in (0.0, 0.5):
            screen = _screen(s, m, w, slack)
            for rows, cols in _ranges(m):
                found = s.cuda.screen_pairs(there, rows, cols, screen, WORKERS, None)
                for oracle in s.oracles(len(rows) * len(cols) * w):
                    expected = oracle.screen_pairs(words, rows, cols, screen, WORKERS, None)
                    what = f"{rows} and {cols} of {m} x {w} words, slack {slack}"
                    yield Case(what, _in_order(found), _in_order(expected))


def _ranges(m: int) -> list[tuple[range, range]]:
    every = range(m)
    return [(every, every), (every[: m // 3], every[m // 3 :]), (every[3 : m // 2], every[5:9])]


def _screen(s: Setting, m: int, w: int, slack: float) -> Screen:
    """Halves and small numbers, so that ties are many; about one pair in ten passes."""
    joint, x = 16 * w, s.rng.integers(0, 9, m) / 2
    x[::13] = np.nan
    return Screen(
        sign=1.0,
        alpha=joint + 1.3 * np.sqrt(joint) + s.rng.integers(-4, 5, m) / 2,
        beta=s.rng.choice([0.0, 0.5, 1 / 3], m),
        gamma=s.rng.choice([0.0, 0.1], m),
        x=x,
        y=s.rng.integers(0, 9, m) / 2,
        slack=slack,
        number=s.rng.permutation(m),
        last=s.rng.integers(0, m, m),
        last_x=s.rng.choice(x, m),
    )


def _in_order(found: Sequence[np.ndarray]) -> np.ndarray:
    pairs = np.stack(found, axis=1)
    return pairs[np.lexsort(pairs.T[::-1])]


def joint_agreement(s: Setting) -> Iterator[Case]:
    shapes = s.pick(
        [(1, 1000), (2, 1), (3, 63), (7, 64), (25, 65), (82, 5000), (129, 1000), (500, 1300),
         (3, 300_000)],
        [(1, 65), (3, 64), (25, 513)],
        [(5, 100)],
    )  # fmt: skip
    for m, n in shapes:
        for dtype in s.pick(INTEGERS, ("int16", "uint64"), ("int32",)):
            for span in s.pick((0, 1, 9, 999, 65_535), (9, 1000), (9,)):
                info = np.iinfo(dtype)
                lowest = max(-7, int(info.min))
                highest = min(lowest + span, int(info.max))
                rows, there = _classes(s, n, dtype, lowest, highest, m)
                found = s.cuda.joint_agreement(there, lowest, highest, WORKERS, None)
                for oracle in s.oracles(10 * n * m * m):
                    expected = oracle.joint_agreement(rows, lowest, highest, WORKERS, None)
                    yield Case(f"{m} x {n} {dtype}, {span + 1} classes", found, expected)


def class_span(s: Setting) -> Iterator[Case]:
    for m, n in s.pick([(1, 1), (3, 65), (82, 50_000)], [(1, 1), (3, 700)], [(2, 65)]):
        for dtype in INTEGERS:
            info = np.iinfo(dtype)
            limits = max(int(info.min), -(2**62)), min(int(info.max), 2**62)
            rows, there = _classes(s, n, dtype, *limits, m)
            expected = min(int(r.min()) for r in rows), max(int(r.max()) for r in rows)
            yield Case(f"{m} x {n} {dtype}", s.cuda.class_span(there), expected)


def temperature_nll(s: Setting) -> Iterator[Case]:
    for what, z in zoos(s):
        target, beta = put(z.target), 1 / z.temperature
        found = s.cuda.temperature_nll(z.there, target, beta, WORKERS, None)
        for oracle in s.oracles(z.numbers()):
            expected = oracle.temperature_nll(z.models, z.target, beta, WORKERS, None)
            # A slope is a difference of sums, which spread more than it; a curvature a variance.
            spread = 1e-10 * float(np.sqrt(expected[:, 2].max(initial=0.0)))
            yield Case(f"{what}: NLL", found[:, 0], expected[:, 0], 1e-11, 1e-12)
            yield Case(f"{what}: slope", found[:, 1], expected[:, 1], 1e-11, spread)
            yield Case(f"{what}: curvature", found[:, 2], expected[:, 2], 1e-9, 1e-200)
        again = s.cuda.temperature_nll(z.there, target, beta, WORKERS, None)
        yield Case(f"{what}: the same bits again", again.view(np.uint64), found.view(np.uint64))


def confidences(s: Setting) -> Iterator[Case]:
    for n, k in s.pick(
        [(1, 1), (65, 2), (1000, 17), (5000, 1000)], [(65, 7), (200, 33)], [(65, 7)]
    ):
        models = [
            typed(rows_of(s.rng, kind, (n, k)), dtype)
            for dtype in DTYPES
            for kind in ("plain", "ties", "special")
        ]
        temperature = s.rng.uniform(0.5, 2.0, len(models))
        shape = (len(models), n)
        preds, confidence = empty(shape, "int32"), empty(shape, "float32")
        there = models_there(models)
        s.cuda.confidences(there, temperature, preds, confidence, WORKERS, None)
        for oracle in s.oracles(len(models) * n * k):
            expected = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
            oracle.confidences(models, temperature, *expected, WORKERS, None)
            yield Case(f"{n} x {k}: preds", preds.numpy(), expected[0])
            yield Case(f"{n} x {k}: confidence", confidence.numpy(), expected[1])


def candidate_scores(s: Setting) -> Iterator[Case]:
    for what, z in zoos(s):
        for combine in ("prob", "logit"):
            for all_samples in (True, False):
                here, there = z.scored(combine)
                rest = (all_samples, WORKERS, None)
                found = s.cuda.candidate_scores(there, put(z.preds), put(z.target), *rest)
                for oracle in s.oracles(z.numbers()):
                    expected = oracle.candidate_scores(here, z.preds, z.target, *rest)
                    for name in Candidates._fields[:-1]:
                        title = f"{what}, {combine}{', all samples' * all_samples}: {name}"
                        got = getattr(found, name).numpy()
                        yield Case(title, got, getattr(expected, name))
                yield Case(f"{what}: n_classes", found.n_classes, z.models[0].values.shape[1])


def pair_ensemble_hits(s: Setting) -> Iterator[Case]:
    for what, combine, z, here, there in _candidates(s):
        scored, scored_there = z.scored(combine)
        m = len(z.models)
        found, _ = s.cuda.pair_ensemble_hits(scored_there, m, there, WORKERS, None)
        for oracle in s.oracles(z.numbers() * m):
            expected, _ = oracle.pair_ensemble_hits(scored, m, here, WORKERS, None)
            yield Case(what, found, expected)


def candidate_hits(s: Setting) -> Iterator[Case]:
    """Ensembles of none, of one, and of models of which one is there twice."""
    for what, combine, z, here, there in _candidates(s):
        scored, scored_there = z.scored(combine)
        m = len(z.models)
        right = s.rng.random(len(here.samples)) < 0.5
        for members in ([], [m - 1], [*s.rng.permutation(m)[:3], 0]):
            joined = np.array(members, np.int64)
            running = np.zeros(len(here.classes))
            outside = np.zeros(len(here.samples))
            for member in joined:
                running += here.scores[:, member]
                outside += here.outside[:, member]
            sums = (running, outside, right, WORKERS)
            found = s.cuda.candidate_hits(scored_there, m, there, joined, *sums)
            for oracle in s.oracles(z.numbers() * m):
                expected = oracle.candidate_hits(scored, m, here, joined, *sums)
                yield Case(f"{what}, {len(joined)} members", found, expected)


def _candidates(s: Setting) -> Iterator[tuple[str, str, Zoo, Candidates, Candidates]]:
    """Candidates of zoos as the CPU makes them, in host memory and on the GPU."""
    for what, z in zoos(s):
        for combine in ("prob", "logit"):
            rest = (z.preds, z.target, True, WORKERS, None)
            here = s.host.candidate_scores(z.scored(combine)[0], *rest)
            there = Candidates._make([*map(put, here[:-1]), here.n_classes])
            yield f"{what}, {combine}", combine, z, here, there


def ensemble_predictions(s: Setting) -> Iterator[Case]:
    for what, z in zoos(s):
        for combine in ("prob", "logit", "max"):
            here, there = z.scored(combine)
            weights = s.rng.choice([1.0, 0.5, s.rng.uniform(0.1, 3)], len(z.models))
            rest = (WORKERS, None)
            found = s.cuda.ensemble_predictions(there, weights, put(z.preds), *rest)
            for oracle in s.oracles(z.numbers()):
                expected = oracle.ensemble_predictions(here, weights, z.preds, *rest)
                yield Case(f"{what}, {combine}", found, expected)


def angle_histogram(s: Setting) -> Iterator[Case]:
    shapes = [(1, 64), (2, 1), (4, 65), (23, 2100), (82, 5000), (2, 200_000)]
    for m, n in s.pick(shapes, [(1, 1), (4, 300)], [(3, 65)]):
        eighths = s.rng.integers(1, 9, (m, n)) / 8  # many are equal, or in simple ratios
        values = np.where(s.rng.random((m, n)) < 0.4, eighths, s.rng.uniform(0.01, 1, (m, n)))
        confidence = values.astype(np.float32)
        right = s.rng.random((m, n)) < 0.7
        pairs = s.rng.permutation(np.argwhere(np.ones((m, m), bool)))
        keep = s.rng.random(n) < 0.8
        for n_bins in s.pick((1, 2, 3, 20, 41), (1, 3, 20), (4,)):
            slopes = np.tan(np.arange(1, n_bins) / n_bins * np.pi / 2)
            rest = (right, pairs, slopes, keep, WORKERS, None)
            found = s.cuda.angle_histogram(put(confidence), *rest)
            for oracle in s.oracles(len(pairs) * n):
                expected = oracle.angle_histogram(confidence, *rest)
                yield Case(f"{m} x {n}, {n_bins} bins", found, expected)


def take_rows(s: Setting) -> Iterator[Case]:
    for n, k in s.pick([(1, 1), (65, 3), (50_000, 16)], [(1, 1), (65, 3)], [(5, 3)]):
        for dtype in ("uint8", "float16", "float32", "float64"):
            values = s.rng.standard_normal((n, k)).astype(dtype)
            rows = s.rng.integers(0, n, n + 3)
            for there in (put(values), put_apart(values)):
                yield Case(f"{n} x {k} {dtype}", there.take(rows).numpy(), values[rows])


KERNELS: dict[str, Check] = {
    "pack_errors of logits": pack_errors,
    "pack_errors of predictions": pack_predictions,
    **{f"joint_errors, {name}": partial(joint_errors, method=name) for name in METHODS},
    "joint_errors, as chosen": partial(joint_errors, method=None),
    "joint_errors_between": joint_errors_between,
    "screen_pairs": screen_pairs,
    "class_span": class_span,
    "joint_agreement": joint_agreement,
    "temperature_nll": temperature_nll,
    "confidences": confidences,
    "candidate_scores": candidate_scores,
    "pair_ensemble_hits": pair_ensemble_hits,
    "candidate_hits": candidate_hits,
    "ensemble_predictions": ensemble_predictions,
    "angle_histogram": angle_histogram,
    "take_rows": take_rows,
}
