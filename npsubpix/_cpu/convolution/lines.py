"""Correlation with a kernel of weights, line by line.

Lines of the image are copied once, as floats and with their border extension, into a ring buffer of as
many lines as the kernel covers. A line of the result is a sum of shifted lines of the ring, which is
vector code, and is rounded and written once. A separable kernel is applied along lines before they
enter the ring, so that neither needs memory of the size of an image; the ring then has each line twice,
so that those of a window follow each other as pixels of a line do.

Images have shape (B, D, H, W), kernels (KD, KH, KW). The border extension of an axis is an array with,
for each place that any window covers, the pixel that it copies, or -1 for none.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to, shaped
from npsubpix._cpu.compiler.jit import allocating, device, fused, kernel
from npsubpix._cpu.convolution.sums import add_strided, sum_row, sum_three_lines

__all__ = ["BAND", "WIDTH", "copy_line", "correlate_lines", "sum_down"]

#: Lines of the result that one thread computes one after the other.
BAND = 64

#: Pixels of a line that are summed before the next ones: fewer make more calls, more leave the cache.
WIDTH = 2048


@device
def copy_line(line, pixels, columns, inner, fill):
    """Copy a line of the image with its border extension; `inner` are the columns that are copied as they are."""
    F = line.dtype.type
    begin, end, source = inner
    for j in range(begin):
        line[j] = F(pixels[columns[j]]) if columns[j] >= 0 else fill
    inside, there = line[begin:end], pixels[source : source + end - begin]
    for j in range(inside.size):
        inside[j] = F(there[j])
    for j in range(end, line.size):
        line[j] = F(pixels[columns[j]]) if columns[j] >= 0 else fill


@device
def _mask_line(mask, absent, line, columns, exists, left_out, omit):
    """Put 1 into the mask of pixels that count, and set the other pixels to 0; `absent`, if any, is the complement."""
    F = line.dtype.type
    for j in range(line.size):
        counts = (exists and columns[j] >= 0) or not left_out
        if omit and line[j] != line[j]:
            counts = False
        mask[j] = F(1) if counts else F(0)
        line[j] = line[j] if counts else F(0)
    for j in range(absent.size):
        absent[j] = F(1) - mask[j]


@device
def _write(out, sums, integer, low, high, greatest):
    """Write sums; to integers rounded and kept from `low` to `high`, and as the `greatest` beyond, if that is more."""
    if integer:
        for j in range(out.size):
            v = sums[j]
            v = v if v == v else low * 0
            v = v if v > low else low
            out[j] = np.rint(v if v < high else high)
        if greatest.size > 0:
            for j in range(out.size):
                if sums[j] > high:
                    out[j] = greatest[0]
    else:
        for j in range(out.size):
            out[j] = sums[j]


@fused
def _normalize(sums, parts, total):
    for j in range(sums.size):
        sums[j] = sums[j] * (total / parts[j])


@fused
def _complete(sums, means, parts, gaps):
    """Add the weights of the pixels that do not count, times the mean of those that do."""
    for j in range(sums.size):
        if gaps[j] != 0 or parts[j] == 0:
            sums[j] += gaps[j] * (means[j] / parts[j])


@allocating
def _total(weights, along):
    """Sum the magnitudes of all weights."""
    return np.abs(weights).sum() * (np.abs(along[0]).sum() if along.size > 0 else weights.dtype.type(1))


@allocating
def _correlate_band(
    x,
    along,
    weights,
    planes,
    rows,
    columns,
    inner,
    stride,
    dilation,
    fill,
    left_out,
    omit,
    mixed,
    limits,
    greatest,
    out,
    total,
    task,
):
    """Compute a band of lines of the result: apart from its loop over threads, whose passes take long."""
    _, depth, height, _ = out.shape
    F = weights.dtype.type
    bands = (height + BAND - 1) // BAND
    kd, kh = weights.shape[:2]
    reach = dilation[1] * (kh - 1) + 1
    masked = left_out or omit
    mixed = mixed and masked
    integer, low, high = limits
    separable = along.size > 0
    b, z, band = task // (depth * bands), task // bands % depth, task % bands
    length = out.shape[3] if separable else columns.size
    wide, tall = out.shape[3], columns.size
    lines = 2 * reach if separable else reach
    ring = np.empty((kd, lines, length), F)
    mask = np.empty((kd, lines, length if masked else 0), F)
    absent = np.empty((kd, lines, length if mixed else 0), F)
    magnitudes = np.empty((kd, lines, length), F) if mixed and separable else ring
    line, line_mask = np.empty(tall, F), np.empty(tall if masked else 0, F)
    line_absent = np.empty(tall if mixed else 0, F)
    sums, parts = np.empty(wide, F), np.empty(wide if masked else 0, F)
    means, gaps = np.empty(wide if mixed else 0, F), np.empty(wide if mixed else 0, F)
    absolute, absolute_along = np.abs(weights), np.abs(along)
    ready = band * BAND * stride[1]  # rows before this are in the ring, or not needed
    for i in range(band * BAND, min((band + 1) * BAND, height)):
        begin = i * stride[1]
        for r in range(max(ready, begin), begin + reach):
            for a in range(kd):
                plane, row = planes[z, a], rows[r]
                exists = plane >= 0 and row >= 0
                place = r % reach
                target = line if separable else ring[a, place]
                if exists:
                    copy_line(target, x[b, plane, row], columns, inner, F(fill))
                else:
                    target[:] = F(fill)
                if masked:
                    target_mask = line_mask if separable else mask[a, place]
                    target_absent = line_absent if separable else absent[a, place]
                    _mask_line(target_mask, target_absent, target, columns, exists, left_out, omit)
                if separable:
                    _sum_line(ring[a], place, line, along[a], dilation[2], stride[2])
                    if masked:
                        _sum_line(mask[a], place, line_mask, absolute_along[a], dilation[2], stride[2])
                    if mixed:
                        _sum_line(magnitudes[a], place, line, absolute_along[a], dilation[2], stride[2])
                        _sum_line(absent[a], place, line_absent, along[a], dilation[2], stride[2])
        ready = begin + reach
        _sum_ring(sums, ring, weights, begin, dilation, stride, separable)
        if masked:
            _sum_ring(parts, mask, absolute, begin, dilation, stride, separable)
        if mixed:
            _sum_ring(means, magnitudes, absolute, begin, dilation, stride, separable)
            _sum_ring(gaps, absent, weights, begin, dilation, stride, separable)
            _complete(sums, means, parts, gaps)
        elif masked:
            _normalize(sums, parts, F(total))
        _write(out[b, z, i], sums, integer, F(low), F(high), greatest)


@kernel("correlate")
def correlate_lines(
    x,
    along,
    weights,
    planes,
    rows,
    columns,
    inner,
    stride,
    dilation,
    fill,
    left_out,
    omit,
    mixed,
    limits,
    greatest,
    out,
):
    """Correlate.

    `along` has, for each plane of the kernel, weights along lines, which are applied first, or is empty.
    `planes` has, for each plane of the result and of the kernel, the plane of the image. Weights are `mixed` if there
    are some of both signs: where pixels do not count, sums of weights are then of several kinds.
    """
    batch, depth, height, _ = out.shape
    total = _total(weights, along)
    for task in prange(batch * depth * ((height + BAND - 1) // BAND)):
        _correlate_band(
            x, along, weights, planes, rows, columns, inner, stride, dilation, fill, left_out, omit, mixed, limits,
            greatest, out, total, task,
        )  # fmt: skip


@device
def _sum_line(ring, place, line, weights, step, stride):
    """Sum along a line, into its place in a ring and the same place of the next turn."""
    sums, again = ring[place], ring[place + ring.shape[0] // 2]
    if stride == 1:
        for first in range(0, sums.size, WIDTH):
            last = min(first + WIDTH, sums.size)
            sum_row(sums[first:last], line[first:], weights, step, True)
    else:
        sums[:] = 0
        add_strided(sums, line, weights, step, stride)
    copy_to(again, sums)


@device
def sum_down(sums, ring, weights, begin, step):
    """Sum the lines of a ring of two turns, which follow each other: each is `step` lines after the one before."""
    kd, kh = weights.shape[:2]
    turn, length = ring.shape[1] // 2, ring.shape[2]
    for first in range(0, length, WIDTH):
        part = sums[first : first + WIDTH]
        for a in range(kd):
            lines = shaped(ring[a], (ring.shape[1] * length,))
            below = lines[begin % turn * length + first :]
            sum_row(part, below, shaped(weights[a], (kh,)), step * length, a == 0)


@device
def _sum_ring(sums, ring, weights, begin, dilation, stride, separable):
    """Sum the lines of the ring from `begin` on."""
    kd, kh, kw = weights.shape
    if separable:
        sum_down(sums, ring, weights, begin, dilation[1])
        return
    reach = ring.shape[1]
    if kd == 1 and kh == 3 and kw == 3 and stride[2] == 1:
        middle, bottom = begin + dilation[1], begin + 2 * dilation[1]
        top = ring[0, begin % reach]
        sum_three_lines(sums, top, ring[0, middle % reach], ring[0, bottom % reach], weights[0], dilation[2])
        return
    if stride[2] != 1:
        sums[:] = 0
    for first in range(0, sums.size, WIDTH):
        last = min(first + WIDTH, sums.size)
        for a in range(kd):
            for c in range(kh):
                line = ring[a, (begin + c * dilation[1]) % reach]
                if stride[2] == 1:
                    sum_row(sums[first:last], line[first:], weights[a, c], dilation[2], a == 0 and c == 0)
                else:
                    add_strided(sums[first:last], line[first * stride[2] :], weights[a, c], dilation[2], stride[2])
