"""Softmax over windows: the mean position and value of each, in vector code.

Where all exponents of a tile lie close together, they are shifted by the greatest value of the
tile, and one exponential per pixel serves all windows that cover it; the sums over windows are then
sums along rows, down columns and through planes in turn. In other tiles each window is shifted by
its own maximum, with one exponential for each of its pixels, so that windows far below the peak of
the map stay exact. Windows with NaN or infinity are summed by the definition.

Kernels take maps of shape (N, D, H, W); windows, strides and padding along (z, y, x); and the frame
of the coordinates that they write: the pixel at 0 and the coordinates per pixel, for each axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, allocating, device, fused, kernel
from npsubpix._cpu.formulas.exponential import exponential32, exponential64
from npsubpix._cpu.soft_argmax.tiles import add, add_times, inside, load_tile, window_sums

__all__ = ["softmax_window_kernels"]

#: Windows of a tile along each axis, at most: its rows of sums stay in the first-level cache.
_COLUMNS, _ROWS, _PLANES = 512, 32, 8


def _plane_sums(F: Any, exponential: Callable[..., Any], exponent: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that sums over the windows of one plane, with one exponential per pixel."""

    @fused
    def weigh(w, aw, row, shift, scale):
        for j in range(w.size):
            a = exponent(row[j], shift, scale)
            e = exponential(a)
            w[j] = e
            aw[j] = a * e

    @fused
    def across3(s0, sx, sa, w, aw):
        for j in range(s0.size):
            s0[j] = w[j] + w[j + 1] + w[j + 2]
            sx[j] = w[j + 2] - w[j]
            sa[j] = aw[j] + aw[j + 1] + aw[j + 2]

    @fused
    def across5(s0, sx, sa, w, aw):
        for j in range(s0.size):
            s0[j] = (w[j] + w[j + 1]) + (w[j + 2] + w[j + 3]) + w[j + 4]
            sx[j] = F(2) * (w[j + 4] - w[j]) + (w[j + 3] - w[j + 1])
            sa[j] = (aw[j] + aw[j + 1]) + (aw[j + 2] + aw[j + 3]) + aw[j + 4]

    @device
    def across(s, w, aw, kx):
        """Sum over kx columns: weights, times x, times exponent."""
        if kx == 3:
            across3(s[0], s[1], s[2], w, aw)
        elif kx == 5:
            across5(s[0], s[1], s[2], w, aw)
        else:
            s[:] = 0
            n = s.shape[1]
            for k in range(kx):
                add(s[0], w[k : k + n])
                add_times(s[1], w[k : k + n], F(k) - F(0.5) * F(kx - 1))
                add(s[2], aw[k : k + n])

    @fused
    def sum3(out, a, b, c):
        for j in range(out.size):
            out[j] = a[j] + b[j] + c[j]

    @fused
    def slope3(out, a, c):
        for j in range(out.size):
            out[j] = c[j] - a[j]

    @device
    def down(s, ring, first, ky):
        """Sum over ky rows of sums, in a ring: weights, times y, times x, times exponent."""
        if ky == 3:
            a, b, c = ring[first], ring[(first + 1) % 3], ring[(first + 2) % 3]
            sum3(s[0], a[0], b[0], c[0])
            slope3(s[1], a[0], c[0])
            sum3(s[2], a[1], b[1], c[1])
            sum3(s[3], a[2], b[2], c[2])
            return
        s[:] = 0
        for k in range(ky):
            row = ring[(first + k) % ky]
            add(s[0], row[0])
            add_times(s[1], row[0], F(k) - F(0.5) * F(ky - 1))
            add(s[2], row[1])
            add(s[3], row[2])

    @allocating
    def plane_sums(out, plane, shift, scale, step, window):
        ky, kx = window[1], window[2]
        ring = np.empty((ky, 3, out.shape[2]), F)
        w = np.empty(plane.shape[1], F)
        aw = np.empty(plane.shape[1], F)
        done = 0
        for i in range(plane.shape[0]):
            weigh(w, aw, plane[i], shift, scale)
            across(ring[i % ky], w, aw, kx)
            if i == done * step + ky - 1:
                down(out[done], ring, (i + 1) % ky, ky)
                done += 1

    return plane_sums


def _writer(F: Any) -> Callable[..., Any]:
    """Make the function that writes the results of a row of windows from its sums."""

    @fused
    def reciprocals(out, row):
        for j in range(out.size):
            out[j] = F(1) / row[j]

    @fused
    def along(out, row, inverse, start, factor):
        for j in range(out.size):
            out[j] = factor * ((start + F(j)) + row[j] * inverse[j])

    @fused
    def along_strided(out, row, inverse, start, factor, step):
        for j in range(out.size):
            out[j] = factor * ((start + F(j * step)) + row[j * step] * inverse[j * step])

    @fused
    def across(out, row, inverse, position, factor):
        for j in range(out.size):
            out[j] = factor * (position + row[j] * inverse[j])

    @fused
    def across_strided(out, row, inverse, position, factor, step):
        for j in range(out.size):
            out[j] = factor * (position + row[j * step] * inverse[j * step])

    @fused
    def values(out, row, inverse, shift, temperature, step):
        for j in range(out.size):
            out[j] = shift[j * step] + temperature * (row[j * step] * inverse[j * step])

    @device
    def write(coords, value, s, shift, inverse, begin, middle, frame, temperature, step):
        """Write (z, x, y) or (x, y), and values where there is a row for them."""
        reciprocals(inverse, s[0])
        axes = coords.shape[0]
        z, y, x = F(middle[0] - frame[0, 0]), F(middle[1] - frame[1, 0]), F(middle[2] - frame[2, 0])
        out = coords[:, begin : begin + (inverse.size + step - 1) // step]
        if step == 1:
            if axes == 3:
                across(out[0], s[1], inverse, z, F(frame[0, 1]))
            along(out[axes - 2], s[3], inverse, x, F(frame[2, 1]))
            across(out[axes - 1], s[2], inverse, y, F(frame[1, 1]))
        else:
            if axes == 3:
                across_strided(out[0], s[1], inverse, z, F(frame[0, 1]), step)
            along_strided(out[axes - 2], s[3], inverse, x, F(frame[2, 1]), step)
            across_strided(out[axes - 1], s[2], inverse, y, F(frame[1, 1]), step)
        if value.size > 0:
            values(value[begin : begin + out.shape[1]], s[4], inverse, shift, temperature, step)

    return write


def _windows_kernel(name: str, F: Any, exponential: Callable[..., Any]) -> Kernel:
    exponent, greatest, _, one_by_one, by_definition = window_sums(F, exponential)
    plane_sums = _plane_sums(F, exponential, exponent)
    write = _writer(F)

    @device
    def through(s, ring, first, row, kz):
        """Sum over kz planes of sums: weights, times z, times y, times x, times exponent."""
        s[:] = 0
        for k in range(kz):
            plane = ring[(first + k) % kz, row]
            add(s[0], plane[0])
            add_times(s[1], plane[0], F(k) - F(0.5) * F(kz - 1))
            add(s[2], plane[1])
            add(s[3], plane[2])
            add(s[4], plane[3])

    @kernel(f"softmax_windows_{name}")
    def softmax_windows(x, temperatures, window, stride, padding, frame, spread, coords, values):
        maps, _, depth, height, width = coords.shape
        kz, ky, kx = window
        sz, sy, sx = stride
        blocks_z, blocks_y = (depth + _PLANES - 1) // _PLANES, (height + _ROWS - 1) // _ROWS
        columns = max(_COLUMNS // sx, 1)
        blocks_x = (width + columns - 1) // columns
        for r in prange(maps * blocks_z * blocks_y * blocks_x):
            j0 = r % blocks_x * columns
            i0 = r // blocks_x % blocks_y * _ROWS
            d0 = r // blocks_x // blocks_y % blocks_z * _PLANES
            b = r // blocks_x // blocks_y // blocks_z
            planes, rows, length = min(_PLANES, depth - d0), min(_ROWS, height - i0), min(columns, width - j0)
            wide = (length - 1) * sx + 1
            tile = np.empty(((planes - 1) * sz + kz, (rows - 1) * sy + ky, wide + kx - 1), F)
            z0, y0, x0 = d0 * sz - padding[0], i0 * sy - padding[1], j0 * sx - padding[2]
            temperature = F(temperatures[b])
            one = F(temperatures[b] / temperatures[b])
            top, bottom, strange = load_tile(tile, x[b], z0, y0, x0, np.empty((3, tile.shape[2]), F), one)
            scale = F(1.0 / temperatures[b])
            s = np.empty((5, wide), F)
            shift = np.empty(wide, F)
            inverse = np.empty(wide, F)
            half_z, half_y, half_x = 0.5 * (kz - 1), 0.5 * (ky - 1), 0.5 * (kx - 1)
            if strange == 0 and (top - bottom) * scale <= spread:
                shift[:] = top
                ring = np.empty((kz, rows, 4, wide), F)
                for p in range(tile.shape[0]):
                    plane_sums(ring[p % kz], tile[p], top, scale, sy, window)
                    q = p - kz + 1
                    if q >= 0 and q % sz == 0:
                        d = q // sz
                        for i in range(rows):
                            through(s, ring, (p + 1) % kz, i, kz)
                            middle = (z0 + q + half_z, y0 + i * sy + half_y, x0 + half_x)
                            out = coords[b, :, d0 + d, i0 + i]
                            value = values[b, d0 + d, i0 + i]  # empty if values are not returned
                            write(out, value, s, shift, inverse, j0, middle, frame, temperature, sx)
                continue
            part = np.empty((3, wide), F)
            weights = np.empty((1, wide), F)
            box_z, box_y = inside(z0, tile.shape[0], x.shape[1]), inside(y0, tile.shape[1], x.shape[2])
            box = box_z + box_y + inside(x0, tile.shape[2], x.shape[3])
            for d in range(planes):
                for i in range(rows):
                    greatest(shift, tile, d * sz, i * sy, window, one)
                    one_by_one(s, shift, part, weights, tile, d * sz, i * sy, window, scale)
                    if strange != 0:
                        for j in range(0, wide, sx):
                            by_definition(s, shift, j, tile, d * sz, i * sy, window, scale, box)
                    middle = (z0 + d * sz + half_z, y0 + i * sy + half_y, x0 + half_x)
                    out = coords[b, :, d0 + d, i0 + i]
                    value = values[b, d0 + d, i0 + i]
                    write(out, value, s, shift, inverse, j0, middle, frame, temperature, sx)

    return softmax_windows


softmax_window_kernels = {
    np.dtype(np.float32): _windows_kernel("f4", np.float32, exponential32),
    np.dtype(np.float64): _windows_kernel("f8", np.float64, exponential64),
}
