"""Correlation with a kernel of weights, from the rows of a floating-point image where they are.

Sums of shifted rows are written to the result at once, so that memory, not copies, takes the time. Only columns whose
windows reach beyond those of the image are copied, with their border extension. Sums are taken as in `lines`, so that
both have the same bits.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import allocating, device, kernel
from npsubpix._cpu.convolution.lines import BAND, WIDTH, copy_line
from npsubpix._cpu.convolution.sums import add_row_twice, sum_row, sum_three_lines

__all__ = ["correlate_rows"]


@allocating
def _correlate_band(x, weights, planes, rows, inside, edges, dilation, fill, out, begin):
    """Compute the rows of a band, from its first row on."""
    F = weights.dtype.type
    kd, kh, kw = weights.shape
    left, right, source = inside
    end = min(begin + BAND, out.shape[0])
    blank = np.full(x.shape[2], F(fill))
    strips = np.empty((kd, end - begin + dilation[1] * (kh - 1), edges.size), F)
    for a in range(kd):
        for r in range(strips.shape[1]):
            exists = planes[a] >= 0 and rows[begin + r] >= 0
            row = x[planes[a], rows[begin + r]] if exists else blank
            copy_line(strips[a, r], row, edges, (0, 0, 0), F(fill))
    lines = strips.reshape(kd, strips.shape[1] * edges.size)
    span = edges.size - dilation[2] * (kw - 1)
    sums = np.empty((end - begin - 1) * edges.size + span, F)  # between the edges of a row and the next, of no use
    for a in range(kd):
        for c in range(kh):
            below = lines[a, c * dilation[1] * edges.size :]
            sum_row(sums, below, weights[a, c], dilation[2], a == 0 and c == 0)
    for i in range(begin, end):
        line, first = out[i], (i - begin) * edges.size
        for j in range(left):
            line[j] = sums[first + j]
        for j in range(right, line.size):
            line[j] = sums[first + span - line.size + j]
    step = 2 if dilation[1] == 1 and kh > 3 else 1
    for i in range(begin, end, step):
        if i + 1 < min(end, i + step):
            _sum_two_rows(
                out[i, left:right], out[i + 1, left:right], x, blank, weights, planes, rows[i:], source, dilation
            )
        else:
            _sum_rows(out[i, left:right], x, blank, weights, planes, rows[i:], source, dilation)


@kernel("correlate_rows")
def correlate_rows(x, weights, planes, rows, inside, edges, dilation, fill, out):
    """Correlate images (B, D, H, W) with a kernel (KD, KH, KW), in steps of one row and one column.

    `inside` are the columns of the result whose windows lie in columns of the image that follow each other: the first,
    the one after the last, and the pixel of the first. `edges` has the columns that the windows of the others cover.
    """
    batch, depth, height, _ = out.shape
    bands = (height + BAND - 1) // BAND
    for task in prange(batch * depth * bands):
        b, z, band = task // (depth * bands), task // bands % depth, task % bands
        _correlate_band(x[b], weights, planes[z], rows, inside, edges, dilation, fill, out[b, z], band * BAND)


@device
def _sum_rows(sums, x, blank, weights, planes, rows, source, dilation):
    """Sum rows of the image, or of the fill value where there is none, from a column on."""
    kd, kh, kw = weights.shape
    for first in range(0, sums.size, WIDTH):
        part, column = sums[first : first + WIDTH], source + first
        if kd == 1 and kh == 3 and kw == 3 and planes[0] >= 0:
            top, middle, bottom = rows[0], rows[dilation[1]], rows[2 * dilation[1]]
            a = x[planes[0], top] if top >= 0 else blank
            b = x[planes[0], middle] if middle >= 0 else blank
            c = x[planes[0], bottom] if bottom >= 0 else blank
            sum_three_lines(part, a[column:], b[column:], c[column:], weights[0], dilation[2])
        else:
            for k in range(kd):
                for m in range(kh):
                    place = rows[m * dilation[1]]
                    row = x[planes[k], place] if planes[k] >= 0 and place >= 0 else blank
                    sum_row(part, row[column:], weights[k, m], dilation[2], k == 0 and m == 0)


@device
def _sum_two_rows(above, below, x, blank, weights, planes, rows, source, dilation):
    """Sum rows of the image for two rows of the result that follow each other, as `_sum_rows` does.

    Each is loaded once for both, but for the first and the last ones.
    """
    kd, kh = weights.shape[:2]
    for first in range(0, above.size, WIDTH):
        a, b, column = above[first : first + WIDTH], below[first : first + WIDTH], source + first
        for k in range(kd):
            for m in range(kh + 1):
                place = rows[m]
                row = x[planes[k], place] if planes[k] >= 0 and place >= 0 else blank
                line = row[column:]
                if m == 0 or m == kh or (m == 1 and k == 0):
                    if m < kh:
                        sum_row(a, line, weights[k, m], dilation[2], k == 0 and m == 0)
                    if m > 0:
                        sum_row(b, line, weights[k, m - 1], dilation[2], k == 0 and m == 1)
                else:
                    add_row_twice(a, b, line, weights[k, m], weights[k, m - 1], dilation[2])
