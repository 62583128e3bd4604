"""Variances of windows, at a cost that does not depend on their size, without differences of large sums.

A part of a window has a count, a sum, and a sum of squared differences from its own mean. Two parts
are joined [1]_ by adding these, and adding the squared difference of the two means times the product
of the counts over their sum. All terms are positive, so no precision is lost, however far from 0 the
pixels are. Windows are joined from parts as in `running`. The count of a part is the product of the
number of its lines and of its columns that count; factors that depend on counts only are computed once.

References
----------
.. [1] T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for
   computing sample variances", COMPSTAT 1982, 30-41.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend
from npsubpix._cpu.compiler.jit import allocating, device, fused, kernel

__all__ = ["running_var"]

_SAMPLES = 5  # lines and columns whose pixels are sampled for a level


@fused
def _join(sums, squares, sums_b, squares_b, counts):
    """Join each part of a line with its neighbour; `counts` has n and m of both, and 1 / (n m (n + m))."""
    n, m, weights = counts[0], counts[1], counts[2]
    for k in range(sums.size):
        j = np.uint64(k)  # no index is negative, and so none is counted from the end
        d = sums[j] * m[j] - sums_b[j] * n[j]
        squares[j] = squares[j] + squares_b[j] + d * d * weights[j]
        sums[j] = sums[j] + sums_b[j]


@fused
def _join_into(sums, squares, sums_a, squares_a, sums_b, squares_b, counts):
    n, m, weights = counts[0], counts[1], counts[2]
    for k in range(sums.size):
        j = np.uint64(k)
        d = sums_a[j] * m[j] - sums_b[j] * n[j]
        squares[j] = squares_a[j] + squares_b[j] + d * d * weights[j]
        sums[j] = sums_a[j] + sums_b[j]


@fused
def _join_lines(sums, squares, sums_a, squares_a, sums_b, squares_b, n, m, shares):
    """Join parts of n and of m lines; shares are 1 over how many columns count."""
    weight = 1.0 / (n * m * (n + m)) if n * m > 0 else 0.0
    for k in range(sums.size):
        j = np.uint64(k)
        d = sums_a[j] * m - sums_b[j] * n
        squares[j] = squares_a[j] + squares_b[j] + d * d * (weight * shares[j])
        sums[j] = sums_a[j] + sums_b[j]


@fused
def _join_line(sums, squares, sums_b, squares_b, n, m, shares):
    weight = 1.0 / (n * m * (n + m)) if n * m > 0 else 0.0
    for k in range(sums.size):
        j = np.uint64(k)
        d = sums[j] * m - sums_b[j] * n
        squares[j] = squares[j] + squares_b[j] + d * d * (weight * shares[j])
        sums[j] = sums[j] + sums_b[j]


@device
def _count(table, n, m):
    for j in range(n.size):
        table[0, j], table[1, j] = n[j], m[j]
        table[2, j] = 1 / (n[j] * m[j] * (n[j] + m[j])) if n[j] * m[j] > 0 else 0.0


@allocating
def _count_columns(tables, line, whole, length):
    """Fill the counts of all joins that `_fold_line` does, from 1 where a column counts; `whole` becomes the last."""
    n, done, p, t = whole.size, 0, 1, 0
    while True:
        if length & p:
            if done == 0:
                copy_to(whole, line[:n])
            else:
                _count(tables[t], whole, line[done : done + n])
                whole += line[done : done + n]
                t += 1
            done += p
        if done == length:
            break
        m = n + length - 2 * p
        _count(tables[t], line[:m], line[p : p + m])
        line = line[:m] + line[p : p + m]
        t += 1
        p *= 2


@device
def _fold_line(sums, squares, line, other, length, tables):
    """Join all pixels of each window of a line: windows of powers of two, one for each bit of the length."""
    n, done, p, t = sums.size, 0, 1, 0
    while True:
        if length & p:
            if done == 0:
                copy_to(sums, line[0, :n])
                copy_to(squares, line[1, :n])
            else:
                _join(sums, squares, line[0, done : done + n], line[1, done : done + n], tables[t])
                t += 1
            done += p
        if done == length:
            break
        m = n + length - 2 * p
        _join_into(
            other[0, :m], other[1, :m], line[0, :m], line[1, :m], line[0, p : p + m], line[1, p : p + m], tables[t]
        )
        line, other = other, line
        t += 1
        p *= 2


@device
def _get(state, x, row, columns, line, other, length, tables, fill, level):
    """Fold a line of the image, of differences from `level`."""
    for j in range(columns.size):
        there = row >= 0 and columns[j] >= 0
        value = (np.float64(x[row, columns[j]]) if there else fill) - level
        line[0, j], line[1, j] = value, value - value  # 0, or NaN if it is not finite
    _fold_line(state[0], state[1], line, other, length, tables)


@device
def _level(x, rows, columns):
    """Return the sampled pixel closest to 0: an outlier far from 0 would cost the digits of all other pixels."""
    level = np.inf
    for k in range(_SAMPLES):
        row = rows[(2 * k + 1) * rows.size // (2 * _SAMPLES)]
        for m in range(_SAMPLES):
            column = columns[(2 * m + 1) * columns.size // (2 * _SAMPLES)]
            if row >= 0 and column >= 0:
                v = np.float64(x[row, column])
                if abs(v) < abs(level):
                    level = v
    return level if abs(level) < np.inf else 0.0


@kernel("running_var")
def running_var(x, rows, columns, size, stride, fill, shrink, root, tile, band, out):
    """Fill `out` with variances, or their square roots. With `shrink`, windows are clipped to the image."""
    batch, height, width = out.shape
    down, along = size
    R = out.dtype.type
    full, step = (height - 1) * stride[0] + 1, tile // stride[1] + 1
    bands, tiles = (full + band - 1) // band, (width + step - 1) // step
    within = np.zeros(rows.size + 1)  # lines that count before each
    for r in range(rows.size):
        within[r + 1] = within[r] + (0.0 if shrink and rows[r] < 0 else 1.0)
    for task in prange(batch * bands * tiles):
        b, first = task // (bands * tiles), task // tiles % bands * band
        left, right = task % tiles * step, min((task % tiles + 1) * step, width)
        n, place = (right - left - 1) * stride[1] + 1, left * stride[1]
        here = columns[place : place + n + along - 1]
        level = _level(x[b], rows[first : min(first + band, full) + down - 1], here)
        beyond = level if shrink else fill
        own, own_lines = np.empty((2, 2, n + along - 1)), np.empty((down + 2, 2, n))
        line, other, lines = lend(own)[0], lend(own)[1], lend(own_lines)
        begun, whole = lines[down], lines[down + 1]
        joins = 1
        while (1 << joins) <= along:
            joins += 1
        own_tables, counts, shares = np.empty((2 * joins, 3, n + along)), np.ones(n + along - 1), np.empty(n)
        if shrink:
            for k in range(counts.size):
                counts[k] = here[k] >= 0
        _count_columns(own_tables, counts, shares, along)
        tables = lend(own_tables)
        for j in range(n):
            shares[j] = 1 / shares[j] if shares[j] > 0 else 0.0
        for i in range(first, min(first + band, full)):
            j = (i - first) % down
            if i == first:
                for r in range(down):
                    _get(lines[r], x[b], rows[i + r], here, line, other, along, tables, beyond, level)
            else:  # to where the line was that no window needs any more
                r = i + down - 1
                _get(
                    lines[down - 1 if j == 0 else j - 1], x[b], rows[r], here, line, other, along, tables, beyond, level
                )
            ended = i - j + down  # the line after those of the block that the window begins in
            last, next_ = within[ended] - within[i], within[i + down] - within[ended]
            if j == 0:
                for k in range(down - 2, -1, -1):
                    one, more = within[i + k + 1] - within[i + k], within[i + down] - within[i + k + 1]
                    _join_line(lines[k, 0], lines[k, 1], lines[k + 1, 0], lines[k + 1, 1], one, more, shares)
                copy_to(whole[0], lines[0, 0])
                copy_to(whole[1], lines[0, 1])
            else:
                if j == 1:
                    copy_to(begun[0], lines[0, 0])
                    copy_to(begun[1], lines[0, 1])
                else:
                    one = within[i + down] - within[i + down - 1]
                    _join_line(begun[0], begun[1], lines[j - 1, 0], lines[j - 1, 1], next_ - one, one, shares)
                _join_lines(whole[0], whole[1], lines[j, 0], lines[j, 1], begun[0], begun[1], last, next_, shares)
            if i % stride[0] == 0:
                target = out[b, i // stride[0], left:right]
                for k in range(right - left):
                    v = whole[1, k * stride[1]] * shares[k * stride[1]] / (last + next_)
                    target[k] = R(np.sqrt(v)) if root else R(v)
        keep(own)
        keep(own_lines)
        keep(own_tables)
