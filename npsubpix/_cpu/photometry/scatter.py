"""What the residuals of spots say of the noise of their light: see `_definitions/photometry.py`."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend, lend_all
from npsubpix._cpu.compiler.jit import allocates, device, kernel
from npsubpix._cpu.formulas.cholesky import backward, factor, forward
from npsubpix._cpu.photometry.pixels import pixel_of
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


@device
def _width_of(variance, radius):
    """Return the width of a Gaussian spot whose variance along an axis, in an aperture, is known."""
    width = math.sqrt(variance)
    for _ in range(_WIDTH_STEPS):
        t = 0.5 * (radius / width) ** 2
        width = math.sqrt(variance / max(1.0 - t * math.exp(-t) / (1.0 - math.exp(-t)), 1e-9))
        if width >= radius:
            return radius
    return max(width, _LEAST_WIDTH)


@device
def _lines(out, u, order):
    """Write Hermite functions of one coordinate."""
    out[0] = math.exp(-0.5 * u * u)
    if order > 0:
        out[1] = math.sqrt(2.0) * u * out[0]
    for k in range(1, order):
        out[k + 1] = math.sqrt(2.0 / (k + 1)) * u * out[k] - math.sqrt(k / (k + 1.0)) * out[k - 1]


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


@device
def _terms(out, lines, dy, dx, shape, order, size):
    """Write the terms of the series at an offset from the centroid."""
    u, w = shape[0] * dy + shape[1] * dx, shape[2] * dy + shape[3] * dx
    _lines(lines[0], u, order)
    _lines(lines[1], w, order)
    count = 0
    for a in range(order + 1):
        for b in range(order + 1 - a):
            out[count] = lines[0, a] * lines[1, b]
            count += 1
    if count + 1 < size:
        for width in _GAUSSIANS:
            out[count] = math.exp(-0.5 * (u * u + w * w) / (width * width))
            count += 1
    out[count] = 1.0


@device
def _gather(x, mask, camera, beside, spot, frame, cy, cx, reach, values, places):
    """Write the pixels within a reach that count: signal and variance, and their places; return how many."""
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
                values[count, 0], values[count, 1] = v - b, s
                places[count, 0], places[count, 1] = u, w
                count += 1
    return count


@device
def _size_of(places, count, y, x, shape):
    """Return the order of the series, which the pixels near a spot determine, and how many terms; 0 for too few."""
    near = 0
    for n in range(count):
        dy, dx = places[n, 0] - y, places[n, 1] - x
        u, w = shape[0] * dy + shape[1] * dx, shape[2] * dy + shape[3] * dx
        near += 1 if u * u + w * w <= _WIDTHS * _WIDTHS else 0
    most = _SHARE * near
    if most >= _TERMS:
        return _ORDER, _TERMS
    order = _ORDER
    while order >= 0 and (order + 1) * (order + 2) // 2 + 1 > most:
        order -= 1
    return order, (order + 1) * (order + 2) // 2 + 1 if order >= 0 else 0


@device
@allocates
def _fit(out, values, places, count, y, x, shape, order, size):
    """Fit the series to pixels, and write what the residuals say."""
    terms, lines = np.empty(_TERMS), np.empty((2, _ORDER + 1))
    matrix, lower = np.zeros((_TERMS, _TERMS)), np.empty((_TERMS, _TERMS))
    right, solved = np.zeros(_TERMS), np.empty(_TERMS)
    for n in range(count):
        _terms(terms, lines, places[n, 0] - y, places[n, 1] - x, shape, order, size)
        for a in range(size):
            right[a] += terms[a] * values[n, 0]
            for b in range(a + 1):
                matrix[a, b] += terms[a] * terms[b]
    if not factor(lower, matrix, size):
        return
    forward(solved, lower, right, size)
    backward(solved, lower, size)
    for n in range(count):
        _terms(terms, lines, places[n, 0] - y, places[n, 1] - x, shape, order, size)
        fitted = 0.0
        for a in range(size):
            fitted += solved[a] * terms[a]
        free = 1.0 - forward(right, lower, terms, size)
        signal, variance, residual = max(fitted, 0.0), values[n, 1], values[n, 0] - fitted
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
    for k in prange(len(points)):
        flux = sums[k, _FLUX]
        if flags[k] & _NOT_MEASURED or not flux > 0.0:
            continue
        y, w = sums[k, _FLUX_Y] / flux, sums[k, _FLUX_X] / flux
        shape = np.empty(4)
        if not _shape_of(shape, sums[k], flux, y, w, radius):
            continue
        values, places = np.empty((side * side, 2)), np.empty((side * side, 2))
        cy, cx = points[k, 0], points[k, 1]
        count = _gather(
            lend(x), lend(mask), lend_all(camera), lend_all(beside), k, frames[k], cy, cx, reach, lend(values),
            lend(places),
        )  # fmt: skip
        keep(x)
        keep(mask)
        keep(camera)
        keep(beside)
        order, size = _size_of(places, count, y, w, shape)
        if size > 0:
            _fit(out[k], values, places, count, y, w, shape, order, size)
