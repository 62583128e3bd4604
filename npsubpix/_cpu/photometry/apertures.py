"""Sums over apertures: circles that cut pixels, and whole pixels around the nearest one."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend, lend_all
from npsubpix._cpu.compiler.jit import inlined, kernel
from npsubpix._cpu.formulas.discs import COLUMN, ROW, disc_share, write_columns, write_rows
from npsubpix._cpu.photometry.pixels import is_inside, pixel_of, prefetch_box
from npsubpix._definitions.photometry import SUMS, MeasurementFlags

__all__ = ["apertures_kernel"]

_PARTIAL_WINDOW = int(MeasurementFlags.PARTIAL_WINDOW)
_NONFINITE = int(MeasurementFlags.NONFINITE)
_OUTSIDE = int(MeasurementFlags.OUTSIDE)

_RAW, _AREA, _LEVEL, _SQUARE = (SUMS.index(n) for n in ("RAW", "AREA", "LEVEL", "SQUARE"))
_VARIANCE, _LIGHT = (SUMS.index(n) for n in ("VARIANCE", "LIGHT"))
_FLUX, _FLUX_Y, _FLUX_X = (SUMS.index(n) for n in ("FLUX", "FLUX_Y", "FLUX_X"))
_FLUX_YY, _FLUX_XX, _FLUX_XY = (SUMS.index(n) for n in ("FLUX_YY", "FLUX_XX", "FLUX_XY"))
_PEAK, _MASS, _RAW_MASS, _MASS_RR = (SUMS.index(n) for n in ("PEAK", "MASS", "RAW_MASS", "MASS_RR"))
_MASS_COS, _MASS_SIN, _CENTRE = (SUMS.index(n) for n in ("MASS_COS", "MASS_SIN", "CENTRE"))
_SIGNAL, _MOMENT = (SUMS.index(n) for n in ("SIGNAL", "MOMENT"))


@inlined
def _sum_circle(x, mask, camera, beside, spot, frame, cy, cx, radius, rows, columns, out):
    """Sum the pixels of a circle, each by the share that lies in it; return flags."""
    height, width = x.shape[1:]
    flags = 0
    raw = area = level = square = variance = light = 0.0
    flux = fy = fx = fyy = fxx = fxy = 0.0
    peak = -math.inf
    reach = radius + 0.5
    i0, i1 = max(math.ceil(cy - reach), 0), min(math.floor(cy + reach) + 1, height)
    j0, j1 = max(math.ceil(cx - reach), 0), min(math.floor(cx + reach) + 1, width)
    write_rows(rows[: i1 - i0], i0, cy, radius)
    write_columns(columns[: j1 - j0], j0, cx, radius)
    for i in range(i0, i1):
        for j in range(j0, j1):
            u, w = i - cy, j - cx
            share = disc_share(rows, i - i0, columns, j - j0, radius)
            if share <= 0.0:
                continue
            v, b, s, flag = pixel_of(x, mask, camera, beside, spot, frame, i, j)
            flags |= flag
            if flag:
                continue
            above = v - b
            part = share * above
            raw += share * v
            area += share
            level += share * b
            square += share * share
            variance += share * share * s
            light += share * part
            flux += part
            fy += part * u
            fx += part * w
            fyy += part * u * u
            fxx += part * w * w
            fxy += part * u * w
            if u * u + w * w < radius * radius:
                peak = max(peak, above)
    out[_RAW], out[_AREA], out[_LEVEL], out[_SQUARE], out[_VARIANCE] = raw, area, level, square, variance
    out[_LIGHT] = light
    out[_FLUX], out[_FLUX_Y], out[_FLUX_X] = flux, fy, fx
    out[_FLUX_YY], out[_FLUX_XX], out[_FLUX_XY] = fyy, fxx, fxy
    out[_PEAK] = peak if peak > -math.inf else math.nan
    return flags


@inlined
def _sum_disc(x, mask, camera, beside, spot, frame, ci, cj, radius, out):
    """Sum the whole pixels within a radius of one; return flags."""
    height, width = x.shape[1:]
    r = math.floor(radius)
    flags = 0
    if ci < r or ci + r >= height or cj < r or cj + r >= width:
        flags |= _PARTIAL_WINDOW
    mass = raw = rr = cosine = sine = centre = signal = moment = 0.0
    for i in range(max(ci - r, 0), min(ci + r + 1, height)):
        for j in range(max(cj - r, 0), min(cj + r + 1, width)):
            u, w = float(i - ci), float(j - cj)
            distance = u * u + w * w
            if distance > radius * radius:
                continue
            v, b, _, flag = pixel_of(x, mask, camera, beside, spot, frame, i, j)
            flags |= flag
            if flag:
                continue
            above = v - b
            mass += above
            raw += v
            moment += 0.5 * distance
            signal = max(signal, above)
            if distance == 0.0:
                centre = above
                cosine += above
            else:
                rr += distance * above
                cosine += above * (w * w - u * u) / distance
                sine += above * 2.0 * u * w / distance
    out[_MASS], out[_RAW_MASS], out[_MASS_RR], out[_MASS_COS], out[_MASS_SIN] = mass, raw, rr, cosine, sine
    out[_CENTRE], out[_SIGNAL], out[_MOMENT] = centre, signal, moment
    return flags


@kernel("photometry_apertures")
def apertures_kernel(x, mask, camera, beside, points, frames, radius, sums, flags):
    """Sum over the aperture of each position, and set its flags; sums of positions outside the image stay NaN."""
    height, width = x.shape[1:]
    side = 2 * math.floor(radius + 0.5) + 2
    for k in prange(len(points)):
        cy, cx, frame = points[k, 0], points[k, 1], frames[k]
        if not is_inside(x, frame, cy, cx):
            flags[k] = _OUTSIDE if math.isfinite(cy) and math.isfinite(cx) else _NONFINITE
            continue
        prefetch_box(lend(x), points, frames, k + 1, radius)
        images, marked, maps, known, out = lend(x), lend(mask), lend_all(camera), lend_all(beside), lend(sums)[k]
        rows, columns = np.empty((side, ROW)), np.empty((side, COLUMN))
        flag = _sum_circle(images, marked, maps, known, k, frame, cy, cx, radius, lend(rows), lend(columns), out)
        if cy - radius < -0.5 or cy + radius > height - 0.5 or cx - radius < -0.5 or cx + radius > width - 0.5:
            flag |= _PARTIAL_WINDOW
        ci, cj = math.floor(cy + 0.5), math.floor(cx + 0.5)
        flag |= _sum_disc(images, marked, maps, known, k, frame, ci, cj, radius, out)
        flags[k] |= flag
        keep(x)
        keep(mask)
        keep(camera)
        keep(beside)
        keep(sums)
        keep(rows)
        keep(columns)
