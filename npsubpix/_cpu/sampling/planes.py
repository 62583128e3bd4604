"""Sums over the rows and planes of a window inside an image, with weights in registers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import fused, inlined_fused, summing
from npsubpix._cpu.sampling.weights import Taps

__all__ = ["planes_of", "rows_of"]

_ONE, _TWO, _THREE = np.uint64(1), np.uint64(2), np.uint64(3)


@functools.cache
def rows_of(taps: Taps) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that sum over a row of a window, and over its derivatives."""
    count = taps.count

    @summing
    def row_value(x, o, u, F):
        total = F(0)
        for k in range(count):
            total += u[k] * F(x[o + np.uint64(k)])
        return total

    @summing
    def row_slope(x, o, u, du, F):
        total, slope = F(0), F(0)
        for k in range(count):
            v = F(x[o + np.uint64(k)])
            total += u[k] * v
            slope += du[k] * v
        return total, slope

    return row_value, row_slope


@functools.cache
def planes_of(taps: Taps) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that sum over a plane of a window, and over its derivatives."""
    count, weights, slopes = taps.count, taps.weights, taps.slopes
    row_value, row_slope = rows_of(taps)

    @inlined_fused
    def plane_value_of_two(x, o, width, t, k, addresses, F):
        u, v = weights(t[2, k], F, addresses), weights(t[1, k], F, addresses)
        p = o + width
        above, below = u[0] * F(x[o]) + u[1] * F(x[o + _ONE]), u[0] * F(x[p]) + u[1] * F(x[p + _ONE])
        return v[0] * above + v[1] * below

    @inlined_fused
    def plane_gradient_of_two(x, o, width, t, k, addresses, F):
        u, du = weights(t[2, k], F, addresses), slopes(t[2, k], F, addresses)
        v, dv = weights(t[1, k], F, addresses), slopes(t[1, k], F, addresses)
        p = o + width
        a, b, c, d = F(x[o]), F(x[o + _ONE]), F(x[p]), F(x[p + _ONE])
        above, below = u[0] * a + u[1] * b, u[0] * c + u[1] * d
        gx = v[0] * (du[0] * a + du[1] * b) + v[1] * (du[0] * c + du[1] * d)
        return v[0] * above + v[1] * below, dv[0] * above + dv[1] * below, gx

    @inlined_fused
    def plane_value_of_four(x, o, width, t, k, addresses, F):
        """Sum down the columns first, which is vector code."""
        u, v = weights(t[2, k], F, addresses), weights(t[1, k], F, addresses)
        a, b, c, d = F(0), F(0), F(0), F(0)
        for n in range(4):
            a += v[n] * F(x[o])
            b += v[n] * F(x[o + _ONE])
            c += v[n] * F(x[o + _TWO])
            d += v[n] * F(x[o + _THREE])
            o += width
        return u[0] * a + u[1] * b + u[2] * c + u[3] * d

    @inlined_fused
    def plane_gradient_of_four(x, o, width, t, k, addresses, F):
        u, du = weights(t[2, k], F, addresses), slopes(t[2, k], F, addresses)
        v, dv = weights(t[1, k], F, addresses), slopes(t[1, k], F, addresses)
        a, b, c, d = F(0), F(0), F(0), F(0)
        e, f, g, h = F(0), F(0), F(0), F(0)
        for n in range(4):
            p, q, r, s = F(x[o]), F(x[o + _ONE]), F(x[o + _TWO]), F(x[o + _THREE])
            a += v[n] * p
            b += v[n] * q
            c += v[n] * r
            d += v[n] * s
            e += dv[n] * p
            f += dv[n] * q
            g += dv[n] * r
            h += dv[n] * s
            o += width
        total = u[0] * a + u[1] * b + u[2] * c + u[3] * d
        gy = u[0] * e + u[1] * f + u[2] * g + u[3] * h
        return total, gy, du[0] * a + du[1] * b + du[2] * c + du[3] * d

    @fused
    def plane_value_of_any(x, o, width, t, k, addresses, F):
        u, v = weights(t[2, k], F, addresses), weights(t[1, k], F, addresses)
        total = F(0)
        for b in range(count):
            total += v[b] * row_value(x, o, u, F)
            o += width
        return total

    @fused
    def plane_gradient_of_any(x, o, width, t, k, addresses, F):
        u, du = weights(t[2, k], F, addresses), slopes(t[2, k], F, addresses)
        v, dv = weights(t[1, k], F, addresses), slopes(t[1, k], F, addresses)
        total, gy, gx = F(0), F(0), F(0)
        for b in range(count):
            row, slope = row_slope(x, o, u, du, F)
            total += v[b] * row
            gy += dv[b] * row
            gx += v[b] * slope
            o += width
        return total, gy, gx

    plane_value = {2: plane_value_of_two, 4: plane_value_of_four}.get(count, plane_value_of_any)
    plane_gradient = {2: plane_gradient_of_two, 4: plane_gradient_of_four}.get(count, plane_gradient_of_any)
    return plane_value, plane_gradient
