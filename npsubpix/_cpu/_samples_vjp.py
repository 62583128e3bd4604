"""The adjoint of sampling: from gradients of values, and of their gradients, to those of pixels and positions.

Windows overlap, so positions are sorted by the rows of the image that their windows begin in (by
planes of a volume, by pixels of a line). Bands of rows that share no pixel are worked on at the same
time: first the even ones, then the odd ones, each in the order of its positions. Windows at the
border, which may be folded to anywhere, come last, one after the other. So no two threads add to
one pixel, and the sums do not depend on how many threads there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu._borders import INSIDE, UNKNOWN
from npsubpix._cpu._inside import LONGEST, MOST, locator
from npsubpix._cpu._jit import Kernel, device, fused, kernel
from npsubpix._cpu._memory import keep, lend
from npsubpix._cpu._samples import CHUNK, placer
from npsubpix._cpu._taps import TAPS, Taps

__all__ = ["vjp_kernels"]

_ROWS = 16  # of a band, at least: more than any window has


@device
def _slow_axis(shape):  # type: ignore[no-untyped-def]
    """Return the axis that bands cut, and how many pixels one of its indices has."""
    if shape[0] > 1:
        return 0, shape[1] * shape[2]
    if shape[1] > 1:
        return 1, shape[2]
    return 2, 1


@device
def _sort(bands, counts, order):  # type: ignore[no-untyped-def]
    """Write the indices of positions, band after band; `counts` becomes where each band begins."""
    total = 0
    for k in range(counts.size):
        here = counts[k]
        counts[k] = total
        total += here
    next_place = counts.copy()
    for k in range(bands.size):
        order[next_place[bands[k]]] = k
        next_place[bands[k]] += 1


def _spreader(taps: Taps) -> Any:
    """Make the function that adds one window to the gradients of its pixels, and returns that of its position."""
    count, weights, slopes = taps.count, taps.weights, taps.slopes

    @fused
    def spread_row(x, dx, o, u, du, g, F):  # type: ignore[no-untyped-def]
        row, slope = F(0), F(0)
        for k in range(count):
            v = F(x[o + np.uint64(k)])
            row += u[k] * v
            slope += du[k] * v
            dx[o + np.uint64(k)] += g * u[k]
        return row, slope

    @fused
    def spread_plane(x, dx, o, width, u, du, v, dv, g, F):  # type: ignore[no-untyped-def]
        total, gy, gx = F(0), F(0), F(0)
        for b in range(count):
            row, slope = spread_row(x, dx, o, u, du, g * v[b], F)
            total += v[b] * row
            gy += dv[b] * row
            gx += v[b] * slope
            o += width
        return total, gy, gx

    @fused
    def spread(x, dx, start, t, k, shape, axes, addresses, g, F):  # type: ignore[no-untyped-def]
        o = np.uint64(start)
        u, du = weights(t[2, k], F, addresses), slopes(t[2, k], F, addresses)
        if axes == 1:
            _, gx = spread_row(x, dx, o, u, du, g, F)
            return F(0), F(0), g * gx
        v, dv = weights(t[1, k], F, addresses), slopes(t[1, k], F, addresses)
        width = np.uint64(shape[2])
        if axes == 2:
            _, gy, gx = spread_plane(x, dx, o, width, u, du, v, dv, g, F)
            return F(0), g * gy, g * gx
        w, dw = weights(t[0, k], F, addresses), slopes(t[0, k], F, addresses)
        gz, gy, gx = F(0), F(0), F(0)
        for a in range(count):
            total, sy, sx = spread_plane(x, dx, o, width, u, du, v, dv, g * w[a], F)
            gz += dw[a] * total
            gy += w[a] * sy
            gx += w[a] * sx
            o += np.uint64(shape[1] * shape[2])
        return g * gz, g * gy, g * gx

    return spread


def _folded_spreader(count: int) -> Any:
    """Make the same function for a window that may be folded, and for gradients of gradients."""

    @fused
    def spread(x, dx, w, pixels, shape, axes, cval, g, hz, hy, hx):  # type: ignore[no-untyped-def]
        F = w.dtype.type
        gz, gy, gx = F(0), F(0), F(0)
        for a in range(count if axes > 2 else 1):
            for b in range(count if axes > 1 else 1):
                inside = pixels[0, a] >= 0 and pixels[1, b] >= 0
                o = (pixels[0, a] * shape[1] + pixels[1, b]) * shape[2]
                wz, dz, ez = w[0, 0, a], w[0, 1, a], w[0, 2, a]
                wy, dy, ey = w[1, 0, b], w[1, 1, b], w[1, 2, b]
                by_value = g * wz * wy + hz * dz * wy + hy * wz * dy
                by_slope = hx * wz * wy
                row, slope, curve = F(0), F(0), F(0)
                for k in range(count):
                    j = pixels[2, k]
                    there = inside and j >= 0
                    v = F(x[o + j]) if there else cval
                    row += w[2, 0, k] * v
                    slope += w[2, 1, k] * v
                    curve += w[2, 2, k] * v
                    if there:
                        dx[o + j] += by_value * w[2, 0, k] + by_slope * w[2, 1, k]
                gz += (g * dz * wy + hz * ez * wy + hy * dz * dy) * row + hx * dz * wy * slope
                gy += (g * wz * dy + hz * dz * dy + hy * wz * ey) * row + hx * wz * dy * slope
                gx += by_value * slope + by_slope * curve
        return gz, gy, gx

    return spread


def _vjp_kernel(name: str, taps: Taps) -> Kernel:
    count = taps.count
    locate, place = locator(taps), placer(taps, 3)
    spread, spread_folded = _spreader(taps), _folded_spreader(count)

    @device
    def note(d_coords, b, k, gz, gy, gx):  # type: ignore[no-untyped-def]
        axes = d_coords.shape[1]
        d_coords[b, axes - 1, k] = gx
        if axes > 1:
            d_coords[b, axes - 2, k] = gy
        if axes > 2:
            d_coords[b, axes - 3, k] = gz

    @device
    def spread_some(x, coords, b, ids, shape, addresses, by_value, dx, d_coords):  # type: ignore[no-untyped-def]
        """Spread windows that are inside."""
        axes, F = coords.shape[1], dx.dtype.type
        packed = np.empty((1, axes, ids.size), coords.dtype)
        for a in range(axes):
            for m in range(ids.size):
                packed[0, a, m] = coords[b, a, ids[m]]
        starts, t = np.empty(ids.size, np.int32), np.empty((3, ids.size), F)
        locate(packed, 0, 0, shape, np.empty(ids.size, np.int64), starts, t)
        grads = np.zeros((3, ids.size), F)
        for c in range(x.shape[1]):
            pixels, d_pixels, cotangents = lend(x[b, c]), lend(dx[b, c]), by_value[b, c]
            lent = lend(t)
            for m in range(ids.size):
                g = F(cotangents[ids[m]])
                gz, gy, gx = spread(pixels, d_pixels, starts[m], lent, m, shape, axes, addresses, g, F)
                grads[0, m] += gz
                grads[1, m] += gy
                grads[2, m] += gx
        keep(t)
        for m in range(ids.size):
            if axes > 2:
                d_coords[b, axes - 3, ids[m]] = grads[0, m]
            if axes > 1:
                d_coords[b, axes - 2, ids[m]] = grads[1, m]
            d_coords[b, axes - 1, ids[m]] = grads[2, m]

    @device
    def spread_any(x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords):  # type: ignore[no-untyped-def]
        """Spread windows that are anywhere, with gradients of gradients if there are any."""
        axes, F = coords.shape[1], dx.dtype.type
        own_w, own_pixels = np.empty((3, 3, count), dx.dtype), np.empty((3, count), np.int64)
        w, pixels = lend(own_w), lend(own_pixels)
        for m in range(ids.size):
            k = ids[m]
            status = place(w, pixels, coords, b, k, shape, rules, addresses)
            if status != INSIDE:
                nothing = F(np.nan) if status == UNKNOWN else F(0)
                note(d_coords, b, k, nothing, nothing, nothing)
                continue
            gz, gy, gx = F(0), F(0), F(0)
            for c in range(x.shape[1]):
                g = F(by_value[b, c, k]) if by_value.size > 0 else F(0)
                hz, hy, hx = F(0), F(0), F(0)
                if by_gradient.size > 0:
                    hx = F(by_gradient[b, axes - 1, c, k])
                    hy = F(by_gradient[b, axes - 2, c, k]) if axes > 1 else F(0)
                    hz = F(by_gradient[b, axes - 3, c, k]) if axes > 2 else F(0)
                sz, sy, sx = spread_folded(x[b, c], dx[b, c], w, pixels, shape, axes, F(cval), g, hz, hy, hx)
                gz, gy, gx = gz + sz, gy + sy, gx + sx
            note(d_coords, b, k, gz, gy, gx)
        keep(own_w)
        keep(own_pixels)

    @kernel(f"sample_vjp_{name}")
    def sample_vjp(x, shape, coords, rules, cval, addresses, by_value, by_gradient, dx, d_coords):  # type: ignore[no-untyped-def]
        batch = x.shape[0]
        total = coords.shape[2]
        axis, stride = _slow_axis(shape)
        rows = max(_ROWS, (shape[axis] + 127) // 128)
        count_bands = (shape[axis] + rows - 1) // rows
        chunks = (total + CHUNK - 1) // CHUNK
        small = max(shape) < LONGEST and x.shape[2] < MOST
        bands = np.empty((batch, total), np.int32)
        order = np.empty((batch, total), np.int64)
        begins = np.zeros((batch, count_bands + 2), np.int64)
        for r in prange(batch * chunks):
            b, begin = r // chunks, r % chunks * CHUNK
            size = min(CHUNK, total - begin)
            left_out, rest = np.arange(size), size
            starts, t = np.zeros(size, np.int32), np.empty((3, size), dx.dtype)
            if small:
                rest, _ = locate(coords, b, begin, shape, left_out, starts, t)
            for k in range(size):
                bands[b, begin + k] = starts[k] // stride // rows
            for m in range(rest):
                bands[b, begin + left_out[m]] = count_bands
        for b in prange(batch):
            for k in range(total):
                begins[b, bands[b, k]] += 1
            _sort(bands[b], begins[b], order[b])
        for colour in range(2):
            half = (count_bands + 1 - colour) // 2
            for r in prange(batch * half):
                b, band = r // half, r % half * 2 + colour
                for first in range(begins[b, band], begins[b, band + 1], CHUNK):
                    ids = order[b, first : min(first + CHUNK, begins[b, band + 1])]
                    if by_gradient.size == 0:
                        spread_some(x, coords, b, ids, shape, addresses, by_value, dx, d_coords)
                    else:
                        spread_any(
                            x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords
                        )
        for b in prange(batch):
            ids = order[b, begins[b, count_bands] : begins[b, count_bands + 1]]
            spread_any(x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords)

    return sample_vjp


vjp_kernels = {name: _vjp_kernel(name, taps) for name, taps in TAPS.items()}
