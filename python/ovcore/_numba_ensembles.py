"""numba's twins of the kernels that combine models: see _reference_ensembles for their meaning.

Where only a few classes can win a sample, their scores decide unless another class might reach
them: then, about once in 1,000, all classes are scanned.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovcore._candidates import PAD, Candidates, Scored, padded
from ovcore._numba_scores import (
    Source,
    largest,
    rows_of,
    samples_per_task,
    score_row,
    scratch,
    source_of,
    terms,
)
from ovcore._numba_tasks import compiled, for_each_range
from ovcore._progress import Progress

_SUMS_PER_TASK = 1 << 26  # of two scores: about a tenth of a second
_CONVERTED, _RESCUED, _UNSETTLED = 1, 2, 4


def candidate_scores(
    scored: Scored,
    preds: NDArray[np.int32],
    target: NDArray[np.int64],
    all_samples: bool,
    workers: int,
    progress: Progress | None,
) -> Candidates:
    """See :func:`ovcore._reference_ensembles.candidate_scores`."""
    source, n_models = source_of(scored), len(preds)

    def list_classes(first: int, last: int) -> Any:
        lengths = np.zeros(last - first, np.int64)
        classes = np.empty((last - first) * min(n_models + 1, source.n_classes), np.int32)
        by_sample = np.ascontiguousarray(preds[:, first:last].T)
        n_listed = _list_classes(by_sample, target[first:last], all_samples, lengths, classes)
        listed = np.flatnonzero(lengths)
        return first + listed, lengths[listed], classes[:n_listed].copy()

    per_task = _SUMS_PER_TASK // (64 * n_models) + 1
    lists = for_each_range(len(target), per_task, workers, None, list_classes)
    samples, lengths, classes = (np.concatenate(parts) for parts in zip(*lists, strict=True))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n_samples, n_padded = len(samples), padded(n_models)
    result = Candidates(
        samples=samples,
        offsets=offsets,
        classes=classes,
        target=np.empty(n_samples, np.int32),
        tops=np.full((n_samples, n_padded), -1, np.int32),
        scores=np.zeros((len(classes), n_padded), np.float32),
        outside=np.zeros((n_samples, n_padded), np.float32),
        mass=np.ones((n_samples, n_padded)),
        n_classes=source.n_classes,
    )

    def score(first: int, last: int) -> None:
        of_task = samples[first:last]
        _score_listed(source, result, preds[:, of_task], target[of_task], first)

    for_each_range(n_samples, samples_per_task(scored.models), workers, progress, score)
    return result


@compiled
def _list_classes(preds, target, all_samples, lengths, classes):
    """Writes the ascending classes of each sample on which models differ, or of all."""
    written = 0
    for n in range(len(target)):
        differ = int(all_samples)
        for m in range(preds.shape[1]):
            differ += preds[n, m] != preds[n, 0]
        if not differ:
            continue
        listed, length = classes[written:], 1
        listed[0] = target[n]
        for m in range(preds.shape[1]):
            at = _position(listed[:length], preds[n, m])
            if at < length and listed[at] == preds[n, m]:
                continue
            for i in range(length, at, -1):
                listed[i] = listed[i - 1]
            listed[at] = preds[n, m]
            length += 1
        lengths[n] = length
        written += length
    return written


@compiled
def _position(listed, label):
    """Where label is in ascending classes, or would be."""
    low, high = 0, len(listed)
    while low < high:
        middle = (low + high) // 2
        if listed[middle] < label:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _score_listed(source, c, preds, target, first):
    z, values = scratch(source.n_classes)
    for i in range(len(target)):
        s = first + i
        u, last = c.offsets[s], c.offsets[s + 1]
        listed = c.classes[u:last]
        c.target[s] = _position(listed, target[i])
        for m in range(len(preds)):
            mass = terms(source, m, c.samples[s], z, values)
            for j in range(len(listed)):
                c.scores[u + j, m] = np.float32(values[listed[j]] / mass)
                values[listed[j]] = -np.inf
            outside = np.int32(largest(values[: len(z)].view(np.int32))).view(np.float32)
            c.outside[s, m] = np.float32(outside / mass)
            c.mass[s, m] = mass
            c.tops[s, m] = _position(listed, preds[m, i])


def pair_ensemble_hits(
    scored: Scored | None,
    n_models: int,
    candidates: Candidates,
    workers: int,
    progress: Progress | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """See :func:`ovcore._reference_ensembles.pair_ensemble_hits`."""
    source, plain = _as_arguments(scored, candidates)
    n_samples, n_padded = plain.tops.shape
    counts = np.zeros((2, n_models, n_padded), np.int64)
    unsettled = np.zeros(2, np.int64)
    merging = threading.Lock()

    def task(first: int, last: int) -> None:
        part = np.zeros((2, n_models, n_padded), np.int32)
        part_unsettled = np.zeros(2, np.int64)
        _pair_hits(source, plain, n_models, first, last, part, part_unsettled)
        with merging:
            np.add(counts, part, out=counts)
            np.add(unsettled, part_unsettled, out=unsettled)

    step = min(_SUMS_PER_TASK // (n_models * n_padded), n_samples // (4 * workers)) + 1
    for_each_range(n_samples, step, workers, progress, task)
    upper = np.triu(counts[:, :, :n_models], 1)
    return upper + upper.transpose(0, 2, 1), unsettled


def _as_arguments(scored: Scored | None, candidates: Candidates) -> tuple[Source, Candidates]:
    """Models (none where scores were given) and contiguous arrays, as kernels take them."""
    plain = Candidates._make([*map(np.ascontiguousarray, candidates[:-1]), candidates.n_classes])
    if scored is not None:
        return source_of(scored), plain
    none = np.empty(0)
    return Source(rows_of([]), none.astype(np.float32), none, plain.n_classes, False), plain


@compiled
def _pair_hits(source, c, n_models, first, last, counts, unsettled):
    n_padded = c.tops.shape[1]
    rivals, outcomes = np.empty(n_padded, c.scores.dtype), np.empty(n_padded, np.int32)
    z, values = scratch(source.n_classes)
    dense = np.empty((len(source.rows), source.n_classes), np.float32)
    is_dense = np.zeros(n_models, np.bool_)
    for s in range(first, last):
        is_dense[:] = False
        target = c.offsets[s] + c.target[s]
        for a in range(n_models - 1):
            start = (a + 1) // PAD * PAD  # whole vectors; columns up to a are counted in vain
            rival, outcome = rivals[start:], outcomes[start:]
            rival[:] = -np.inf
            for u in range(c.offsets[s], c.offsets[s + 1]):
                if u != target:
                    _raise_to_sums(rival, c.scores[u, start:], c.scores[u, a])
            a_is_right = c.tops[s, a] == c.target[s]
            _compare(
                rival, outcome,
                c.scores[target, start:], c.scores[target, a],
                c.outside[s, start:], c.outside[s, a],
                c.tops[s, start:], c.tops[s, a], c.target[s],
            )  # fmt: skip
            if not _count(outcome, counts[0, a, start:], counts[1, a, start:]):
                continue
            for b in range(a + 1, n_models):
                if outcomes[b] != _UNSETTLED:
                    continue
                unsettled[0] += 1
                total, settled, hit = _listed_sums(c, s, a, b)
                if not settled and len(source.rows) == 0:
                    hit = not _unlisted_zero_wins(c, s, total)
                elif not settled:
                    unsettled[1] += 1
                    for m in (a, b):
                        if not is_dense[m]:
                            score_row(source, m, c.samples[s], z, values, dense[m])
                            is_dense[m] = True
                    hit = not _another_wins(dense[a], dense[b], total, c.classes[target])
                if hit:
                    one_is_right = a_is_right or c.tops[s, b] == c.target[s]
                    counts[0 if one_is_right else 1, a, b] += 1


@compiled
def _raise_to_sums(rival, scores, score):
    for i in range(len(rival)):
        total = scores[i] + score
        rival[i] = total if total > rival[i] else rival[i]


@compiled
def _compare(rival, outcome, of_target, a_of_target, outside, a_outside, tops, a_top, target):
    """What the sums of a and of each b, rounded as they are, decide; equality decides nothing."""
    for i in range(len(outcome)):
        total = of_target[i] + a_of_target
        hit = (total > rival[i]) & (total > outside[i] + a_outside)
        open_ = not (hit | (rival[i] > total))
        kind = _CONVERTED if (tops[i] == target) | (a_top == target) else _RESCUED
        found = kind if hit else (_UNSETTLED if open_ else 0)
        outcome[i] = found if tops[i] != a_top else 0


@compiled
def _count(outcome, converted, rescued):
    """Adds up outcomes; returns whether some are not settled."""
    any_open = np.int32(0)
    for i in range(len(outcome)):
        converted[i] += np.int32(outcome[i] == _CONVERTED)
        rescued[i] += np.int32(outcome[i] == _RESCUED)
        any_open |= np.int32(outcome[i] == _UNSETTLED)
    return any_open != 0


@compiled
def _listed_sums(c, s, a, b):
    """Sum for the target; whether sums of listed classes and bounds decide; whether it is a hit."""
    target = c.offsets[s] + c.target[s]
    total = np.float64(c.scores[target, a]) + np.float64(c.scores[target, b])
    if total == -np.inf:
        return total, True, False
    for u in range(c.offsets[s], c.offsets[s + 1]):
        rival = np.float64(c.scores[u, a]) + np.float64(c.scores[u, b])
        if rival > total or (rival == total and u < target):
            return total, True, False
    bound = np.float64(c.outside[s, a]) + np.float64(c.outside[s, b])
    return total, total > bound, True


@compiled
def _unlisted_zero_wins(c, s, total):
    """Whether the lowest class that is not listed, whose scores are all 0, beats the target."""
    first, last = c.offsets[s], c.offsets[s + 1]
    label = 0
    while first + label < last and c.classes[first + label] == label:
        label += 1
    if label == c.n_classes:
        return False
    return total < 0 or (total == 0 and label < c.classes[first + c.target[s]])


@compiled
def _another_wins(some, others, total, label):
    """Whether the sum of any class beats the total of class ``label``."""
    beaten = 0
    for k in range(label):
        beaten |= np.float64(some[k]) + np.float64(others[k]) >= total
    for k in range(label + 1, len(some)):
        beaten |= np.float64(some[k]) + np.float64(others[k]) > total
    return beaten != 0


def candidate_hits(
    scored: Scored | None,
    n_models: int,
    candidates: Candidates,
    members: NDArray[np.int64],
    running: NDArray[np.float64],
    outside: NDArray[np.float64],
    right: NDArray[np.bool_],
    workers: int,
) -> NDArray[np.int64]:
    """See :func:`ovcore._reference_ensembles.candidate_hits`."""
    source, plain = _as_arguments(scored, candidates)
    n_samples, n_padded = plain.tops.shape

    def task(first: int, last: int) -> NDArray[np.int64]:
        hits = np.zeros((n_models, 2), np.int64)
        _candidate_hits(source, plain, members, running, outside, right, first, last, hits)
        return hits

    step = min(_SUMS_PER_TASK // (16 * n_padded), n_samples // (4 * workers)) + 1
    parts = for_each_range(n_samples, step, workers, None, task)
    return sum(parts, np.zeros((n_models, 2), np.int64))


@compiled
def _candidate_hits(source, c, members, running, outside, right, first, last, hits):
    n_padded = c.tops.shape[1]
    total, lost = np.empty(n_padded), np.empty(n_padded, np.int64)
    z, values = scratch(source.n_classes)
    scores = np.empty(source.n_classes, np.float32)
    together = np.empty(source.n_classes)
    for s in range(first, last):
        target = c.offsets[s] + c.target[s]
        of_target = c.scores[target]
        for i in range(n_padded):
            total[i] = running[target] + np.float64(of_target[i])
        lost[:] = 0
        for u in range(c.offsets[s], c.offsets[s + 1]):
            if u != target:
                _mark_lost(lost, total, running[u], c.scores[u], u < target)
        agreed = True
        for member in members:
            agreed &= c.tops[s, member] == c.tops[s, members[0]]
        has_members_sum = False
        for m in range(len(hits)):
            if agreed and (len(members) == 0 or c.tops[s, m] == c.tops[s, members[0]]):
                hit = c.tops[s, m] == c.target[s]
            elif lost[m] or total[m] == -np.inf:
                hit = False
            elif total[m] > outside[s] + np.float64(c.outside[s, m]):
                hit = True
            elif len(source.rows) == 0:
                hit = not _unlisted_zero_wins(c, s, total[m])
            else:
                if not has_members_sum:
                    together[:] = 0
                    for member in members:
                        score_row(source, member, c.samples[s], z, values, scores)
                        together += scores
                    has_members_sum = True
                score_row(source, m, c.samples[s], z, values, scores)
                hit = not _another_wins(together, scores, total[m], c.classes[target])
            hits[m, np.int64(right[s])] += hit


@compiled
def _mark_lost(lost, total, running, scores, wins_ties):
    for i in range(len(lost)):
        rival = running + np.float64(scores[i])
        lost[i] |= np.int64((rival > total[i]) | ((rival == total[i]) & wins_ties))


def ensemble_predictions(
    scored: Scored,
    weights: NDArray[np.float64],
    preds: NDArray[np.int32],
    workers: int,
    progress: Progress | None,
) -> NDArray[np.int32]:
    """See :func:`ovcore._reference_ensembles.ensemble_predictions`."""
    source, most = source_of(scored), scored.combine == "max"
    predicted = np.empty(preds.shape[1], np.int32)

    def task(first: int, last: int) -> None:
        of_task = np.ascontiguousarray(preds[:, first:last].T)
        _predict(source, weights, most, of_task, first, predicted[first:last])

    step = samples_per_task(scored.models)
    for_each_range(len(predicted), step, workers, progress, task)
    return predicted


@compiled
def _predict(source, weights, most, preds, first, predicted):
    z, values = scratch(source.n_classes)
    scores, total = np.empty(source.n_classes, np.float32), np.empty(source.n_classes)
    for n in range(len(predicted)):
        predicted[n] = preds[n, 0]
        if (preds[n] == preds[n, 0]).all():
            continue
        total[:] = -1.0 if most else 0.0
        for m in range(len(weights)):
            score_row(source, m, first + n, z, values, scores)
            for k in range(len(total)):
                term = weights[m] * np.float64(scores[k])
                total[k] = max(total[k], term) if most else total[k] + term
        best = total.argmax()
        predicted[n] = best if total[best] > -np.inf else -1
