"""Correlation with products of lines of weights, from the rows of a floating-point image where they are.

Rows are summed along their length into a ring of as many rows as the kernel covers, and the rows of the ring are
summed into the result. Sums are taken as in `lines`, so that both have the same bits.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import allocating, device, kernel
from npsubpix._cpu.convolution.lines import BAND, WIDTH, copy_line, sum_down
from npsubpix._cpu.convolution.sums import sum_row

__all__ = ["correlate_products"]


@device
def _sum_along(sums, row, weights, inside, edges, memory, step, fill):
    """Sum along a row; the columns that reach beyond those of the image are copied first, with their extension."""
    left, right, source = inside
    strip, of_strip = memory
    for first in range(left, right, WIDTH):
        sum_row(sums[first : min(first + WIDTH, right)], row[source + first - left :], weights, step, True)
    copy_line(strip, row, edges, (0, 0, 0), fill)
    sum_row(of_strip, strip, weights, step, True)
    for j in range(left):
        sums[j] = of_strip[j]
    for j in range(right, sums.size):
        sums[j] = of_strip[of_strip.size - sums.size + j]


@allocating
def _correlate_band(x, along, weights, planes, rows, inside, edges, dilation, fill, out, begin):
    """Compute the rows of a band, from its first row on."""
    F = weights.dtype.type
    kd, kh = weights.shape[:2]
    reach = dilation[1] * (kh - 1) + 1
    end = min(begin + BAND, out.shape[0])
    blank = np.full(x.shape[2], F(fill))
    ring = np.empty((kd, 2 * reach, out.shape[1]), F)
    memory = np.empty(edges.size, F), np.empty(edges.size - dilation[2] * (along.shape[1] - 1), F)
    for r in range(begin, end + reach - 1):
        place = r % reach
        for a in range(kd):
            exists = planes[a] >= 0 and rows[r] >= 0
            row = x[planes[a], rows[r]] if exists else blank
            _sum_along(ring[a, place], row, along[a], inside, edges, memory, dilation[2], F(fill))
            copy_to(ring[a, place + reach], ring[a, place])
        i = r - reach + 1
        if i >= begin:
            sum_down(out[i], ring, weights, i, dilation[1])


@kernel("correlate_products")
def correlate_products(x, along, weights, planes, rows, inside, edges, dilation, fill, out):
    """Correlate images (B, D, H, W) with weights `along` (KD, KW) rows, and then (KD, KH, 1), in steps of one pixel.

    `inside` and `edges` are those of `correlate_rows`.
    """
    batch, depth, height, _ = out.shape
    bands = (height + BAND - 1) // BAND
    for task in prange(batch * depth * bands):
        b, z, band = task // (depth * bands), task // bands % depth, task % bands
        _correlate_band(x[b], along, weights, planes[z], rows, inside, edges, dilation, fill, out[b, z], band * BAND)
