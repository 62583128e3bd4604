"""Percentiles of windows of any size and footprint: sort a block of pixels once, then slide windows over its ranks.

Pixels of a block are ranked by value [1]_. A window is a set of bits, one per rank, with a pointer to
the word of the rank that is asked for. When it moves by a pixel, the bits of leaving pixels are
cleared, those of entering pixels are set, and the pointer moves by a few words. The cost grows with
the length of the window, not with its area, for pixels of any dtype.

References
----------
.. [1] J. Suomela, "Median filtering is equivalent to sorting", arXiv:1406.1717 (2014).
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, count_bits, keep, lend, trailing_zeros
from npsubpix._cpu.compiler.jit import allocating, device, kernel
from npsubpix._cpu.windows.small_percentiles import compiled_rank_of, interpolated

__all__ = ["percentile"]

_ONE, _WORD, _SIX = np.uint64(1), np.uint64(63), np.uint64(6)


@allocating
def _number(ranks, values, x, skipped, planes, rows, columns, shrink, fill):
    """Give numbers to the pixels of a block by value: -1 for none, -2 for NaN; put sorted values into `values`."""
    T = values.dtype.type
    count = 0
    flat = ranks.reshape(-1)
    for k in range(flat.size):
        z, y, c = k // (rows.size * columns.size), k // columns.size % rows.size, k % columns.size
        inside = planes[z] >= 0 and rows[y] >= 0 and columns[c] >= 0
        flat[k] = -1
        counts = inside or not shrink
        if inside and skipped.size > 0:
            counts = not skipped[planes[z], rows[y], columns[c]]
        if counts:
            v = T(x[planes[z], rows[y], columns[c]]) if inside else fill
            if v != v:
                flat[k] = -2
            else:
                values[count] = v
                flat[k] = count
                count += 1
    order = np.argsort(values[:count])
    ranking = np.empty(count, np.int64)
    for r in range(count):
        ranking[order[r]] = r
    copy_to(values[:count], values[:count][order])
    for k in range(flat.size):
        if flat[k] >= 0:
            flat[k] = ranking[flat[k]]


@device
def _toggle(bits, ranks, offsets, row, column, state, change):
    """Set or clear the bits of pixels; state is (pixels, NaN, word, bits of the words before it)."""
    count, missing, word, before = state
    for k in range(offsets.shape[0]):
        r = ranks[offsets[k, 0], row + offsets[k, 1], column + offsets[k, 2]]
        if r >= 0:
            bits[r >> 6] ^= _ONE << np.uint64(r & 63)
            count += change
            before += change if (r >> 6) < word else 0
        elif r == -2:
            missing += change
    return count, missing, word, before


@device
def _go_to(bits, rank, word, before):
    """Find the word of a rank among the bits that are set, and how many are set before it."""
    while before > rank:
        word -= 1
        before -= np.int64(count_bits(bits[word]))
    while True:
        here = np.int64(count_bits(bits[word]))
        if before + here > rank:
            return word, before
        before += here
        word += 1


@device
def _two_ranks(bits, word, skip):
    """Return the places of a bit that is set, `skip` set ones after the first of a word, and of the next; or -1."""
    left = bits[word]
    for _ in range(skip):
        left &= left - _ONE
    first = word * 64 + np.int64(trailing_zeros(left))
    left &= left - _ONE
    while left == 0:
        word += 1
        if word == bits.size:
            return first, np.int64(-1)
        left = bits[word]
    return first, word * 64 + np.int64(trailing_zeros(left))


@device
def _value(bits, values, state, quantile, integer, none):
    """Return a percentile, or `none` if there are no pixels or one is NaN, and the state."""
    count, missing, word, before = state
    if missing > 0 or count == 0:
        return none, state
    rank, fraction = compiled_rank_of(quantile, count)
    word, before = _go_to(bits, rank, word, before)
    first, second = _two_ranks(bits, word, rank - before)
    high = values[second] if fraction > 0 else values[first]
    return interpolated(values, values[first], high, fraction, integer), (count, missing, word, before)


@kernel("percentile")
def percentile(
    x,
    skipped,
    planes,
    rows,
    columns,
    size,
    offsets,
    leaving,
    entering,
    stride,
    block,
    quantile,
    shrink,
    integer,
    fill,
    none,
    out,
):
    """Fill `out` with a quantile, from 0 to 1, of windows with pixels at offsets.

    Offsets whose previous pixel is outside of the window are `leaving`, and those whose next pixel is outside are
    `entering`. `none` is the result of a window without pixels.
    """
    depth, height, width = out.shape
    T = fill.dtype.type
    deep, tall, wide = size
    down, along = max(block // stride[1], 1), max(block // stride[2], 1)
    bands, tiles = (height + down - 1) // down, (width + along - 1) // along
    for task in prange(depth * bands * tiles):
        z, first, left = task // (bands * tiles), task // tiles % bands * down, task % tiles * along
        end, right = min(first + down, height), min(left + along, width)
        deeper = planes[z * stride[0] : z * stride[0] + deep]
        lower = rows[first * stride[1] : (end - 1) * stride[1] + tall]
        here = columns[left * stride[2] : (right - 1) * stride[2] + wide]
        own = np.empty((deeper.size, lower.size, here.size), np.int64)
        own_values, own_bits = np.empty(own.size, T), np.empty(own.size // 64 + 1, np.uint64)
        _number(own, own_values, x, skipped, deeper, lower, here, shrink, fill[0])
        ranks, values, bits, line = lend(own), lend(own_values), lend(own_bits), lend(out)
        all_, gone, come = lend(offsets), lend(leaving), lend(entering)
        for i in range(first, end):
            row = (i - first) * stride[1]
            bits[:] = 0
            state = _toggle(bits, ranks, all_, row, 0, (0, 0, 0, 0), 1)
            for j in range(left, right):
                line[z, i, j], state = _value(bits, values, state, quantile, integer, none[0])
                if j + 1 < right:
                    for c in range((j - left) * stride[2], (j - left + 1) * stride[2]):
                        state = _toggle(bits, ranks, gone, row, c, state, -1)
                        state = _toggle(bits, ranks, come, row, c + 1, state, 1)
        keep(own)
        keep(own_values)
        keep(own_bits)
    keep(out)
    keep(offsets)
    keep(leaving)
    keep(entering)
