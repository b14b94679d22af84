"""numba's twins of what counts joint errors, of all pairs or of a part of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovcore._numba_tasks import compiled, for_each_task
from ovcore._numba_tiles import LANES, TILE_COLS, TILE_ROWS, count_both, popcount
from ovcore._progress import Progress
from ovcore._screens import Screen

_BLOCK = 192  # models a side


def joint_errors_between(
    words: NDArray[np.uint64],
    rows: range,
    cols: range,
    workers: int,
    progress: Progress | None,
) -> NDArray[np.int64]:
    """See :func:`ovcore._reference.joint_errors_between`."""
    words = np.ascontiguousarray(words)
    joint = np.empty((len(rows), len(cols)), np.int64)
    blocks = _blocks(rows, cols)

    def task(i: int) -> None:
        row, col = blocks[i]
        to = joint[row.start - rows.start :, col.start - cols.start :]
        _count(words, row.start, row.stop, col.start, col.stop, to)

    for_each_task(len(blocks), workers, progress, task)
    return joint


def screen_pairs(
    words: NDArray[np.uint64],
    rows: range,
    cols: range,
    screen: Screen,
    workers: int,
    progress: Progress | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """See :func:`ovcore._reference.screen_pairs`."""
    words = np.ascontiguousarray(words)
    blocks = [(row, col) for row, col in _blocks(rows, cols) if row.start < col.stop - 1]

    def task(i: int) -> NDArray[np.int64]:
        row, col = blocks[i]
        joint = np.empty((len(row), len(col)), np.int64)
        _count(words, row.start, row.stop, col.start, col.stop, joint)
        passed = np.empty((joint.size, 3), np.int64)
        return passed[: _screen(joint, row.start, col.start, *screen, passed)].copy()

    found = for_each_task(len(blocks), workers, progress, task)
    first, second, joint = np.concatenate([np.empty((0, 3), np.int64), *found]).T.copy()
    return first, second, joint


def _blocks(rows: range, cols: range) -> list[tuple[range, range]]:
    return [
        (rows[i : i + _BLOCK], cols[j : j + _BLOCK])
        for i in range(0, len(rows), _BLOCK)
        for j in range(0, len(cols), _BLOCK)
    ]


@compiled
def count_joint_errors(words, row_first, row_last, col_first, col_last, joint):
    """The block and its mirror image in joint (M, M)."""
    for i in range(row_first, row_last, TILE_ROWS):
        last = min(i + TILE_ROWS, row_last)
        first = max(i, col_first)
        _count(words, i, last, first, col_last, joint[i:, first:])
    mirror(row_first, row_last, col_first, col_last, joint)


@compiled
def mirror(row_first, row_last, col_first, col_last, out):
    """What tiles wrote below the diagonal is overwritten, like the rest of the lower triangle."""
    for i in range(row_first, row_last):
        for j in range(max(i + 1, col_first), col_last):
            out[j, i] = out[i, j]


@compiled
def _count(words, row_first, row_last, col_first, col_last, joint):
    """Joint errors of a block, from the first element of joint on."""
    n_words, stride = words.shape[1], words.strides[0] // 8
    whole = n_words // LANES
    address = np.int64(words.ctypes.data)
    tile = np.empty(TILE_ROWS * TILE_COLS, np.int64)
    for i in range(row_first, row_last, TILE_ROWS):
        for j in range(col_first, col_last, TILE_COLS):
            if i + TILE_ROWS <= row_last and j + TILE_COLS <= col_last:
                a, b = address + i * stride * 8, address + j * stride * 8
                count_both(a, b, stride, whole, 1, np.int64(tile.ctypes.data))
                for r in range(TILE_ROWS):
                    for c in range(TILE_COLS):
                        count = tile[r * TILE_COLS + c]
                        for w in range(whole * LANES, n_words):
                            count += popcount(words[i + r, w] & words[j + c, w])
                        joint[i + r - row_first, j + c - col_first] = count
                continue
            for r in range(i, min(i + TILE_ROWS, row_last)):
                for c in range(j, min(j + TILE_COLS, col_last)):
                    count = 0
                    for w in range(n_words):
                        count += popcount(words[r, w] & words[c, w])
                    joint[r - row_first, c - col_first] = count


@compiled
def _screen(
    joint, first_row, first_col, sign, alpha, beta, gamma, x, y, slack, number, last, last_x, passed
):
    n_passed = 0
    for r in range(joint.shape[0]):
        for c in range(joint.shape[1]):
            i, j = first_row + r, first_col + c
            if i >= j:
                continue
            count = joint[r, c]
            for a, b in ((i, j), (j, i)):
                score = sign * count - beta[a] * x[b] - gamma[a] * y[b]
                if not score >= alpha[a] - slack:
                    continue
                ties = score == alpha[a] and (slack == 0 or x[b] == last_x[a])
                if ties and number[b] > last[a]:
                    continue
                passed[n_passed, 0], passed[n_passed, 1], passed[n_passed, 2] = i, j, count
                n_passed += 1
                break
    return n_passed
