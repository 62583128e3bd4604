"""The adjoint of the softmax over windows: gradients with respect to pixels and temperatures.

With weights w that sum to W over a window, offsets c and exponents a = (v - m) / T, the position
is E[c] and the value E[v], where E[.] is the mean with weights w / W. Then for a pixel v of it

    d E[c] / d v = w / W * (c - E[c]) / T
    d E[v] / d v = w / W * ((v - E[v]) / T + 1),

and both are homogeneous in (v - m, T), of degree 0 and 1, which gives the derivative
with respect to T.

Windows overlap, so threads work on bands of rows that share no pixel: first on the even bands, then
on the odd ones. The order of sums does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import copy_to
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel
from npsubpix._cpu.formulas.exponential import exponential32, exponential64
from npsubpix._cpu.soft_argmax.tiles import add, add_times, inside, load_tile, window_sums

__all__ = ["band_rows", "softmax_window_vjp_kernels"]

#: Pixels of a window up to which the weights of its sums are kept, rather than computed again.
_KEPT = 128


def band_rows(window: int, stride: int) -> int:
    """Return the rows of windows in a band: enough that the bands before and after it share no pixel."""
    return max(16, -(-window // stride))


def _windows_vjp_kernel(name: str, F: Any, exponential: Callable[..., Any]) -> Kernel:
    exponent, greatest, weigh, one_by_one, by_definition = window_sums(F, exponential)

    @device
    def spread_out(out, row, step, factor):
        """Write gradients of a row of windows to the columns where these begin, and 0 elsewhere."""
        out[:] = 0
        for j in range(row.size):
            out[j * step] = F(factor) * F(row[j])

    @fused
    def multiply(row, inverse):
        for j in range(row.size):
            row[j] *= inverse[j]

    @fused
    def subtract_product(out, a, b):
        for j in range(out.size):
            out[j] -= a[j] * b[j]

    @fused
    def slopes(out, w, row, m, base, gx, gv, scale, cx):
        """Write weight times derivative with respect to the exponent, for the pixels of windows at one offset."""
        for j in range(out.size):
            out[j] = w[j] * (base[j] + cx * gx[j] + exponent(row[j], m[j], scale) * gv[j])

    @fused
    def add_to_pixels(out, slope, w, gv, scale):
        for j in range(out.size):
            out[j] += scale * (slope[j] + w[j] * gv[j])

    @fused
    def add_to_temperature(out, slope, row, m, scale):
        for j in range(out.size):
            out[j] += slope[j] * exponent(row[j], m[j], scale)

    @device
    def row_of_windows(grad, tile, g, s, m, part, weights, d0, i0, window, scale):
        """Add the gradients of the windows that begin in one row; g holds the cotangents of z, y, x and value.

        The last is already multiplied by T. Return the sum of exponent times derivative with respect to it.
        """
        inverse, base, by_t, slope, constant = part[0], part[1], part[2], part[3], part[4]
        for j in range(inverse.size):
            inverse[j] = F(1) / s[0, j]
        for k in range(1, 5):
            multiply(s[k], inverse)
            multiply(g[k - 1], inverse)
        constant[:] = 0
        for k in range(4):
            subtract_product(constant, g[k], s[k + 1])
        by_t[:] = 0
        for d in range(window[0]):
            for i in range(window[1]):
                copy_to(base, constant)
                add_times(base, g[0], F(d) - F(0.5) * F(window[0] - 1))
                add_times(base, g[1], F(i) - F(0.5) * F(window[1] - 1))
                for k in range(window[2]):
                    row = tile[d0 + d, i0 + i, k : k + m.size]
                    out = grad[d0 + d, i0 + i, k : k + m.size]
                    cx = F(k) - F(0.5) * F(window[2] - 1)
                    w = weights[(d * window[1] + i) * window[2] + k if weights.shape[0] > 1 else 0]
                    if weights.shape[0] == 1:
                        weigh(w, row, m, scale)
                    slopes(slope, w, row, m, base, g[2], g[3], scale, cx)
                    add_to_pixels(out, slope, w, g[3], scale)
                    add_to_temperature(by_t, slope, row, m, scale)
        total = 0.0
        for j in range(by_t.size):
            total += by_t[j]
        return total

    @kernel(f"softmax_windows_vjp_{name}")
    def softmax_windows_vjp(
        x, temperatures, window, stride, padding, factors, rows, coords_cotangent, values_cotangent, grad, by_t
    ):
        maps, axes, depth, height, width = coords_cotangent.shape
        kz, ky, kx = window
        sz, sy, sx = stride
        wide = (width - 1) * sx + 1
        blocks = by_t.shape[1]
        for colour in range(2):
            for r in prange(maps * ((blocks + 1 - colour) // 2)):
                block = r // maps * 2 + colour
                b = r % maps
                i0 = block * rows
                count = min(rows, height - i0)
                scale = F(1.0 / temperatures[b])
                tile = np.empty(((depth - 1) * sz + kz, (count - 1) * sy + ky, wide + kx - 1), F)
                y0 = i0 * sy - padding[1]
                one = F(temperatures[b] / temperatures[b])
                _, _, strange = load_tile(
                    tile, x[b], -padding[0], y0, -padding[2], np.empty((3, tile.shape[2]), F), one
                )
                own = np.zeros(tile.shape, F)
                s = np.empty((5, wide), F)
                g = np.empty((4, wide), F)
                part = np.empty((5, wide), F)
                m = np.empty(wide, F)
                # The weights that `one_by_one` leaves are right for one window per column, with its own shift.
                many = kz * ky * kx > _KEPT or strange != 0 or sx > 1
                weights = np.empty((1 if many else kz * ky * kx, wide), F)
                box_z, box_y = inside(-padding[0], tile.shape[0], x.shape[1]), inside(y0, tile.shape[1], x.shape[2])
                box_x = inside(-padding[2], tile.shape[2], x.shape[3])
                box = box_z + box_y + box_x
                total = 0.0
                for d in range(depth):
                    for i in range(count):
                        greatest(m, tile, d * sz, i * sy, window, one)
                        one_by_one(s, m, part[:3], weights, tile, d * sz, i * sy, window, scale)
                        if strange != 0:
                            for j in range(0, wide, sx):
                                by_definition(s, m, j, tile, d * sz, i * sy, window, scale, box)
                        for j in range(wide):
                            if j % sx != 0:  # not a window: no weight, whatever its pixels are
                                m[j] = np.inf
                                s[:, j] = 1
                        if axes == 3:
                            spread_out(g[0], coords_cotangent[b, 0, d, i0 + i], sx, factors[0])
                        else:
                            g[0, :] = 0
                        spread_out(g[1], coords_cotangent[b, axes - 1, d, i0 + i], sx, factors[1])
                        spread_out(g[2], coords_cotangent[b, axes - 2, d, i0 + i], sx, factors[2])
                        spread_out(g[3], values_cotangent[b, d, i0 + i], sx, temperatures[b])
                        total += row_of_windows(own, tile, g, s, m, part, weights, d * sz, i * sy, window, scale)
                by_t[b, block] = -total / temperatures[b]
                for d in range(box_z[0], box_z[1]):
                    for i in range(box_y[0], box_y[1]):
                        out = grad[b, d - padding[0], y0 + i, box_x[0] - padding[2] : box_x[1] - padding[2]]
                        add(out, own[d, i, box_x[0] : box_x[1]])

    return softmax_windows_vjp


softmax_window_vjp_kernels = {
    np.dtype(np.float32): _windows_vjp_kernel("f4", np.float32, exponential32),
    np.dtype(np.float64): _windows_vjp_kernel("f8", np.float64, exponential64),
}
