"""What the residuals of spots say of the noise of their light: see `_definitions/photometry.py`."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend, lend_all, shaped
from npsubpix._cpu.compiler.jit import device, fused, inlined, kernel, summing
from npsubpix._cpu.formulas.cholesky import factor, forward
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._cpu.photometry.pixels import pixel_of, prefetch_box
from npsubpix._definitions.photometry import NOT_MEASURED, SERIES, SUMS

__all__ = ["scatter_kernel"]

_NOT_MEASURED = int(NOT_MEASURED)
_FLUX, _FLUX_Y, _FLUX_X = (SUMS.index(n) for n in ("FLUX", "FLUX_Y", "FLUX_X"))
_FLUX_YY, _FLUX_XX, _FLUX_XY = (SUMS.index(n) for n in ("FLUX_YY", "FLUX_XX", "FLUX_XY"))

_ORDER, _TERMS, _SHARE = int(SERIES["SERIES_ORDER"]), int(SERIES["SERIES_TERMS"]), SERIES["SERIES_SHARE"]
_WIDTHS, _PIXELS = SERIES["SERIES_WIDTHS"], int(SERIES["SERIES_PIXELS"])
_REACH, _WIDER = SERIES["SERIES_REACH"], SERIES["SERIES_WIDER"]
_GAUSSIANS = tuple(SERIES[f"SERIES_WIDTH_{k + 1}"] for k in range(int(SERIES["SERIES_GAUSSIANS"])))
_FLATTEST = SERIES["SERIES_FLATTEST"]
_LEAST_WIDTH, _WIDTH_STEPS = SERIES["LEAST_WIDTH"], int(SERIES["WIDTH_STEPS"])

#: Rows of the table of pixels: offsets from the position, which become those from the centroid, along the axes of the
#: spot and in its widths; signal and variance; what is fitted, and leverage.
_U, _W, _SIGNAL, _VARIANCE, _FITTED, _LEVERAGE = range(6)
_ROWS = 6

#: Pixels are as many as a multiple of this, so that no loop over them has a remainder: those added count for nothing.
_LANES = 8


@device
def _width_of(variance, radius):
    """Return the width of a Gaussian spot whose variance along an axis, in an aperture, is known."""
    width = math.sqrt(variance)
    for _ in range(_WIDTH_STEPS):
        before = width
        t = 0.5 * (radius / width) ** 2
        width = math.sqrt(variance / max(1.0 - t * math.exp(-t) / (1.0 - math.exp(-t)), 1e-9))
        if width >= radius:
            return radius
        if width == before:
            break
    return max(width, _LEAST_WIDTH)


@device
def _shape_of(out, sums, flux, y, x, radius):
    """Write the directions of the axes of a spot, each over its width; return false if it has no shape."""
    yy, xx = sums[_FLUX_YY] / flux - y * y, sums[_FLUX_XX] / flux - x * x
    xy = sums[_FLUX_XY] / flux - x * y
    mean = 0.5 * (yy + xx)
    if not (mean > 0.0 and y * y + x * x <= radius * radius):
        return False
    width, half = _width_of(mean, radius), math.sqrt(0.25 * (yy - xx) ** 2 + xy * xy)
    half = min(half / mean, 1.0 - _FLATTEST)
    angle = 0.5 * math.atan2(2.0 * xy, yy - xx)
    long, short = width * math.sqrt(1.0 + half), width * math.sqrt(1.0 - half)
    out[0], out[1] = math.cos(angle) / long, math.sin(angle) / long
    out[2], out[3] = -math.sin(angle) / short, math.cos(angle) / short
    return True


@inlined
def _gather(x, mask, camera, beside, spot, frame, cy, cx, reach, pixels):
    """Write the pixels within a reach that count: places, variances and signals; return how many."""
    height, width = x.shape[1:]
    step = max(math.ceil(reach / _PIXELS), 1)
    count = 0
    for i in range(math.ceil(cy - reach), math.floor(cy + reach) + 1, step):
        for j in range(math.ceil(cx - reach), math.floor(cx + reach) + 1, step):
            u, w = i - cy, j - cx
            if u * u + w * w > reach * reach or i < 0 or i >= height or j < 0 or j >= width:
                continue
            v, b, s, flag = pixel_of(x, mask, camera, beside, spot, frame, i, j)
            if flag == 0:
                pixels[_U, count], pixels[_W, count] = u, w
                pixels[_SIGNAL, count], pixels[_VARIANCE, count] = v - b, s
                count += 1
    return count


@inlined
def _turn(pixels, count, y, x, shape):
    """Write the offsets of pixels from the centroid in widths; return how many are near."""
    near = 0
    for n in range(count):
        dy, dx = pixels[_U, n] - y, pixels[_W, n] - x
        u, w = shape[0] * dy + shape[1] * dx, shape[2] * dy + shape[3] * dx
        pixels[_U, n], pixels[_W, n] = u, w
        near += 1 if u * u + w * w <= _WIDTHS * _WIDTHS else 0
    return near


@device
def _size_of(near):
    """Return the order of the series, which the pixels near a spot determine, and how many terms; 0 for too few."""
    most = _SHARE * near
    if most >= _TERMS:
        return _ORDER, _TERMS
    order = _ORDER
    while order >= 0 and (order + 1) * (order + 2) // 2 + 1 > most:
        order -= 1
    return order, (order + 1) * (order + 2) // 2 + 1 if order >= 0 else 0


@fused
def _write_lines(out, places, count, order):
    """Write Hermite functions of one coordinate of each pixel."""
    lines, offsets = lend(out), lend(places)
    for n in range(count):
        lines[0, n] = exponential64(-0.5 * offsets[n] * offsets[n])
    if order > 0:
        for n in range(count):
            lines[1, n] = math.sqrt(2.0) * offsets[n] * lines[0, n]
    for k in range(1, order):
        ahead, behind = math.sqrt(2.0 / (k + 1)), math.sqrt(k / (k + 1.0))
        for n in range(count):
            lines[k + 1, n] = ahead * offsets[n] * lines[k, n] - behind * lines[k - 1, n]


@fused
def _write_terms(out, lines, known, count, order, size):
    """Write the terms of the series, a row for each, and a row of signals."""
    terms, across, along, pixels = lend(out), lend(lines)[0], lend(lines)[1], lend(known)
    _write_lines(across, pixels[_U], count, order)
    _write_lines(along, pixels[_W], count, order)
    row = 0
    for a in range(order + 1):
        for b in range(order + 1 - a):
            for n in range(count):
                terms[row, n] = across[a, n] * along[b, n]
            row += 1
    if row + 1 < size:
        for g in range(len(_GAUSSIANS)):
            scale = -0.5 / (_GAUSSIANS[g] * _GAUSSIANS[g])
            for n in range(count):
                u, w = pixels[_U, n], pixels[_W, n]
                terms[row, n] = exponential64(scale * (u * u + w * w))
            row += 1
    for n in range(count):
        terms[row, n], terms[row + 1, n] = 1.0, pixels[_SIGNAL, n]


@summing
def _write_products(out, terms, count, size):
    """Write the sums over pixels of products of two rows, of which the first is not after the second."""
    matrix, rows = lend(out), lend(terms)
    for a in range(size + 1):
        row = rows[a]
        for b in range(0, a + 1, 4):
            r0, r1, r2, r3 = rows[b], rows[b + 1], rows[b + 2], rows[b + 3]
            s0 = s1 = s2 = s3 = 0.0
            for n in range(count):
                s0 += row[n] * r0[n]
                s1 += row[n] * r1[n]
                s2 += row[n] * r2[n]
                s3 += row[n] * r3[n]
            matrix[b, a], matrix[b + 1, a], matrix[b + 2, a], matrix[b + 3, a] = s0, s1, s2, s3


@inlined
def _fit(out, terms, lines, matrix, upper, pixels, count, order, size):
    """Fit the series to pixels, and write what the residuals say."""
    width = count
    while width % _LANES:
        pixels[_U, width] = pixels[_W, width] = pixels[_SIGNAL, width] = 0.0
        width += 1
    _write_terms(terms, lines, pixels, width, order, size)
    for a in range(size):
        for n in range(count, width):
            terms[a, n] = 0.0
    _write_products(matrix, terms, width, size)
    if not factor(upper, matrix, size):
        return
    forward(terms, upper, size, width, size, pixels[_FITTED], pixels[_LEVERAGE])
    for n in range(count):
        fitted, free, variance = pixels[_FITTED, n], 1.0 - pixels[_LEVERAGE, n], pixels[_VARIANCE, n]
        signal, residual = max(fitted, 0.0), pixels[_SIGNAL, n] - fitted
        out[0] += residual * residual - variance * free
        out[1] += signal * free
        out[2] += variance * variance * free
        out[3] += variance * signal * free
        out[4] += signal * signal * free


@kernel("photometry_scatter")
def scatter_kernel(x, mask, camera, beside, points, frames, radius, sums, flags, out):
    """Add up what the residuals of each spot say of the noise of its light."""
    reach = max(radius, min(_REACH, _WIDER * radius))
    side = 2 * math.ceil(min(reach, _PIXELS)) + 3
    most = (side * side // _LANES + 1) * _LANES
    for k in prange(len(points)):
        flux = sums[k, _FLUX]
        if flags[k] & _NOT_MEASURED or not flux > 0.0:
            continue
        y, w = sums[k, _FLUX_Y] / flux, sums[k, _FLUX_X] / flux
        shape, matrices = np.empty(4), np.zeros((2, _TERMS + 1, _TERMS + 1))
        if not _shape_of(shape, sums[k], flux, y, w, radius):
            continue
        numbers = np.empty((_ROWS + _TERMS + 1 + 2 * (_ORDER + 1), most))
        pixels, terms = lend(numbers)[:_ROWS], lend(numbers)[_ROWS : _ROWS + _TERMS + 1]
        lines = shaped(numbers[_ROWS + _TERMS + 1 :], (2, _ORDER + 1, most))
        prefetch_box(lend(x), points, frames, k + 1, reach)
        cy, cx = points[k, 0], points[k, 1]
        count = _gather(
            lend(x), lend(mask), lend_all(camera), lend_all(beside), k, frames[k], cy, cx, reach, pixels
        )  # fmt: skip
        order, size = _size_of(_turn(pixels, count, y, w, shape))
        if size > 0:
            _fit(lend(out)[k], terms, lines, lend(matrices)[0], lend(matrices)[1], pixels, count, order, size)
        keep(x)
        keep(mask)
        keep(camera)
        keep(beside)
        keep(out)
        keep(matrices)
        keep(numbers)
