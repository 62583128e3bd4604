"""Cotangents of windows: the functions that add those of a sample to its pixels and to its position."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import device, fused, inlined_fused, inlined_summing
from npsubpix._cpu.sampling.pairs import EIGHT, spread_eight
from npsubpix._cpu.sampling.weights import TAPS, Taps

_ONE = np.uint64(1)

__all__ = ["folded_spreader", "spreader", "write_cotangent"]


@functools.cache
def spreader(taps: Taps) -> Any:
    """Make the function that adds windows inside the image to the cotangents of their pixels."""
    count, weights, slopes = taps.count, taps.weights, taps.slopes
    linear = taps == TAPS["linear"]

    @inlined_summing
    def sum_row(x, o, u, du, F):
        row, slope = F(0), F(0)
        for k in range(count):
            v = F(x[o + np.uint64(k)])
            row += u[k] * v
            slope += du[k] * v
        return row, slope

    @inlined_fused
    def add_row(image_cotangent, o, u, g):
        for k in range(count):
            image_cotangent[o + np.uint64(k)] += g * u[k]

    @inlined_fused
    def spread_plane_of_two(x, image_cotangent, o, width, u, du, v, dv, g, F):
        """Read all pixels before the first is written: rows of 2 to some power would seem to be the same memory."""
        p = o + width
        a, b, c, d = F(x[o]), F(x[o + _ONE]), F(x[p]), F(x[p + _ONE])
        q, r = image_cotangent[o], image_cotangent[o + _ONE]
        s, t = image_cotangent[p], image_cotangent[p + _ONE]
        upper, lower = g * v[0], g * v[1]
        image_cotangent[o], image_cotangent[o + _ONE] = q + upper * u[0], r + upper * u[1]
        image_cotangent[p], image_cotangent[p + _ONE] = s + lower * u[0], t + lower * u[1]
        above, below = u[0] * a + u[1] * b, u[0] * c + u[1] * d
        gx = v[0] * (du[0] * a + du[1] * b) + v[1] * (du[0] * c + du[1] * d)
        return v[0] * above + v[1] * below, dv[0] * above + dv[1] * below, gx

    @inlined_fused
    def spread_plane_of_any(x, image_cotangent, o, width, u, du, v, dv, g, F):
        """Read all rows before the first is written: both arrays might be one, for all that the compiler knows."""
        total, gy, gx = F(0), F(0), F(0)
        for b in range(count):
            row, slope = sum_row(x, o + np.uint64(b) * width, u, du, F)
            total += v[b] * row
            gy += dv[b] * row
            gx += v[b] * slope
        for b in range(count):
            add_row(image_cotangent, o + np.uint64(b) * width, u, g * v[b])
        return total, gy, gx

    spread_plane = spread_plane_of_two if count == 2 else spread_plane_of_any

    @fused
    def spread1(x, image_cotangent, starts, t, addresses, g, gx):
        F = image_cotangent.dtype.type
        for m in range(starts.size):
            u, du = weights(t[2, m], F, addresses), slopes(t[2, m], F, addresses)
            _, sx = sum_row(x, np.uint64(starts[m]), u, du, F)
            add_row(image_cotangent, np.uint64(starts[m]), u, F(g[m]))
            gx[m] += F(g[m]) * sx

    @fused
    def spread2(x, image_cotangent, starts, t, shape, addresses, g, gy, gx):
        F = image_cotangent.dtype.type
        width = np.uint64(shape[2])
        begin = 0
        if linear:
            while begin + EIGHT <= starts.size:
                spread_eight(x, starts, t, begin, shape[2], image_cotangent, g, gy, gx)
                begin += EIGHT
        for m in range(begin, starts.size):
            u, du = weights(t[2, m], F, addresses), slopes(t[2, m], F, addresses)
            v, dv = weights(t[1, m], F, addresses), slopes(t[1, m], F, addresses)
            _, sy, sx = spread_plane(x, image_cotangent, np.uint64(starts[m]), width, u, du, v, dv, F(g[m]), F)
            gy[m] += F(g[m]) * sy
            gx[m] += F(g[m]) * sx

    @fused
    def spread3(x, image_cotangent, starts, t, shape, addresses, g, gz, gy, gx):
        F = image_cotangent.dtype.type
        width, plane = np.uint64(shape[2]), np.uint64(shape[1] * shape[2])
        for m in range(starts.size):
            u, du = weights(t[2, m], F, addresses), slopes(t[2, m], F, addresses)
            v, dv = weights(t[1, m], F, addresses), slopes(t[1, m], F, addresses)
            w, dw = weights(t[0, m], F, addresses), slopes(t[0, m], F, addresses)
            o = np.uint64(starts[m])
            tz, ty, tx = F(0), F(0), F(0)
            for a in range(count):
                total, sy, sx = spread_plane(x, image_cotangent, o, width, u, du, v, dv, F(g[m]) * w[a], F)
                tz += dw[a] * total
                ty += w[a] * sy
                tx += w[a] * sx
                o += plane
            gz[m] += F(g[m]) * tz
            gy[m] += F(g[m]) * ty
            gx[m] += F(g[m]) * tx

    @device
    def spread(x, image_cotangent, starts, t, shape, axes, addresses, g, grads):
        """Add windows to the cotangents of their pixels, and their derivatives to those of positions, (A, N)."""
        if axes == 1:
            spread1(x, image_cotangent, starts, t, addresses, g, grads[0])
        elif axes == 2:
            spread2(x, image_cotangent, starts, t, shape, addresses, g, grads[0], grads[1])
        else:
            spread3(x, image_cotangent, starts, t, shape, addresses, g, grads[0], grads[1], grads[2])

    return spread


@functools.cache
def folded_spreader(count: int) -> Any:
    """Make the function that does so for a single window, folded or not, and for cotangents of gradients."""

    @fused
    def spread(x, image_cotangent, w, pixels, shape, axes, cval, g, hz, hy, hx):
        F = w.dtype.type
        gz, gy, gx = F(0), F(0), F(0)
        for a in range(count if axes > 2 else 1):
            for b in range(count if axes > 1 else 1):
                inside = pixels[0, a] >= 0 and pixels[1, b] >= 0
                o = (pixels[0, a] * shape[1] + pixels[1, b]) * shape[2]
                wz, dz, ez = w[0, 0, a], w[0, 1, a], w[0, 2, a]
                wy, dy, ey = w[1, 0, b], w[1, 1, b], w[1, 2, b]
                of_value = g * wz * wy + hz * dz * wy + hy * wz * dy
                of_slope = hx * wz * wy
                row, slope, curve = F(0), F(0), F(0)
                for k in range(count):
                    j = pixels[2, k]
                    there = inside and j >= 0
                    v = F(x[o + j]) if there else cval
                    row += w[2, 0, k] * v
                    slope += w[2, 1, k] * v
                    curve += w[2, 2, k] * v
                    if there:
                        image_cotangent[o + j] += of_value * w[2, 0, k] + of_slope * w[2, 1, k]
                gz += (g * dz * wy + hz * ez * wy + hy * dz * dy) * row + hx * dz * wy * slope
                gy += (g * wz * dy + hz * dz * dy + hy * wz * ey) * row + hx * wz * dy * slope
                gx += of_value * slope + of_slope * curve
        return gz, gy, gx

    return spread


@device
def write_cotangent(coords_cotangent, b, k, gz, gy, gx):
    """Write the cotangent of position k of image b, along the axes that the image has."""
    axes = coords_cotangent.shape[1]
    coords_cotangent[b, axes - 1, k] = gx
    if axes > 1:
        coords_cotangent[b, axes - 2, k] = gy
    if axes > 2:
        coords_cotangent[b, axes - 3, k] = gz
