"""The adjoint of sampling: from gradients of values, and of their gradients, to those of pixels and positions.

Windows overlap, so no two threads may add to one pixel, and the order of sums must not depend on
how many threads there are. Positions that follow each other down the image, as those of a warped
grid do, are cut into runs; runs two apart share no pixels, so first the even ones are worked on,
then the odd ones. Positions in any other order are sorted into bands of rows of the image (of planes
of a volume, of pixels of a line) that their windows begin in, and so are the bands. Windows at the
border, which may be folded to anywhere, come last, one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel
from npsubpix._cpu.sampling.bands import RUNS, SMALLEST_BAND, chunks_per_run, places_of, slow_axis, sort
from npsubpix._cpu.sampling.borders import INSIDE, UNKNOWN
from npsubpix._cpu.sampling.interior import LONGEST, MOST, locator, surveyor
from npsubpix._cpu.sampling.values import CHUNK, placer
from npsubpix._cpu.sampling.weights import TAPS, Taps, left_of

__all__ = ["vjp_kernels"]


def _spreader(taps: Taps) -> Any:
    """Make the function that adds windows that are inside to the gradients of their pixels."""
    count, weights, slopes = taps.count, taps.weights, taps.slopes

    @fused
    def spread_row(x, dx, o, u, du, g, F):
        row, slope = F(0), F(0)
        for k in range(count):
            v = F(x[o + np.uint64(k)])
            row += u[k] * v
            slope += du[k] * v
            dx[o + np.uint64(k)] += g * u[k]
        return row, slope

    @fused
    def spread_plane(x, dx, o, width, u, du, v, dv, g, F):
        total, gy, gx = F(0), F(0), F(0)
        for b in range(count):
            row, slope = spread_row(x, dx, o, u, du, g * v[b], F)
            total += v[b] * row
            gy += dv[b] * row
            gx += v[b] * slope
            o += width
        return total, gy, gx

    @fused
    def spread1(x, dx, starts, t, addresses, g, gx):
        F = dx.dtype.type
        for m in range(starts.size):
            u, du = weights(t[2, m], F, addresses), slopes(t[2, m], F, addresses)
            _, sx = spread_row(x, dx, np.uint64(starts[m]), u, du, F(g[m]), F)
            gx[m] += F(g[m]) * sx

    @fused
    def spread2(x, dx, starts, t, shape, addresses, g, gy, gx):
        F = dx.dtype.type
        width = np.uint64(shape[2])
        for m in range(starts.size):
            u, du = weights(t[2, m], F, addresses), slopes(t[2, m], F, addresses)
            v, dv = weights(t[1, m], F, addresses), slopes(t[1, m], F, addresses)
            _, sy, sx = spread_plane(x, dx, np.uint64(starts[m]), width, u, du, v, dv, F(g[m]), F)
            gy[m] += F(g[m]) * sy
            gx[m] += F(g[m]) * sx

    @fused
    def spread3(x, dx, starts, t, shape, addresses, g, gz, gy, gx):
        F = dx.dtype.type
        width, plane = np.uint64(shape[2]), np.uint64(shape[1] * shape[2])
        for m in range(starts.size):
            u, du = weights(t[2, m], F, addresses), slopes(t[2, m], F, addresses)
            v, dv = weights(t[1, m], F, addresses), slopes(t[1, m], F, addresses)
            w, dw = weights(t[0, m], F, addresses), slopes(t[0, m], F, addresses)
            o = np.uint64(starts[m])
            tz, ty, tx = F(0), F(0), F(0)
            for a in range(count):
                total, sy, sx = spread_plane(x, dx, o, width, u, du, v, dv, F(g[m]) * w[a], F)
                tz += dw[a] * total
                ty += w[a] * sy
                tx += w[a] * sx
                o += plane
            gz[m] += F(g[m]) * tz
            gy[m] += F(g[m]) * ty
            gx[m] += F(g[m]) * tx

    @device
    def spread(x, dx, starts, t, shape, axes, addresses, g, grads):
        """Add windows to the gradients of their pixels, and what moves them to those of positions, (A, N)."""
        if axes == 1:
            spread1(x, dx, starts, t, addresses, g, grads[0])
        elif axes == 2:
            spread2(x, dx, starts, t, shape, addresses, g, grads[0], grads[1])
        else:
            spread3(x, dx, starts, t, shape, addresses, g, grads[0], grads[1], grads[2])

    return spread


@functools.cache
def _folded_spreader(count: int) -> Any:
    """Make the function that does so for one window that may be folded, and for gradients of gradients."""

    @fused
    def spread(x, dx, w, pixels, shape, axes, cval, g, hz, hy, hx):
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


@device
def _note(d_coords, b, k, gz, gy, gx):
    axes = d_coords.shape[1]
    d_coords[b, axes - 1, k] = gx
    if axes > 1:
        d_coords[b, axes - 2, k] = gy
    if axes > 2:
        d_coords[b, axes - 3, k] = gz


@device
def _inside_of(left_out, rest, begin, size):
    """Return the indices of the positions of a chunk that are not left out."""
    ids = np.empty(size - rest, np.int64)
    skipped = 0
    for k in range(size):
        if skipped < rest and left_out[skipped] == k:
            skipped += 1
        else:
            ids[k - skipped] = begin + k
    return ids


@functools.cache
def _surveyors(base_of: Callable[..., Any], count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that find the rows of a chunk's windows, and the bands that they begin in."""
    left = left_of(count)
    locate, rows_between = locator(base_of, count), surveyor(base_of, count)

    @device
    def survey(coords, b, begin, size, shape, axis, stride, F):
        """Return how many windows of a chunk are not inside, and the first and last row of the others."""
        first, last = rows_between(coords, b, begin, size, shape, axis)
        if first >= 0:
            return 0, first, last + count - 1
        left_out, starts, t = np.arange(size), np.empty(size, np.int32), np.empty((3, size), F)
        rest, _ = locate(coords, b, begin, shape, left_out, starts, t)
        if rest == size:
            return rest, np.iinfo(np.int64).max, -1
        ids = _inside_of(left_out, rest, np.int64(0), size)
        low, high = starts[ids[0]], starts[ids[0]]
        for m in range(ids.size):
            low, high = min(low, starts[ids[m]]), max(high, starts[ids[m]])
        return rest, low // stride, high // stride + count - 1

    @device
    def count_bands(coords, b, begin, size, shape, axis, shift, bands, counts):
        """Count the windows of a chunk that are inside by their bands, and note these; the last is of the others."""
        left_out, starts, t = np.arange(size), np.empty(size, np.int32), np.empty((3, size), coords.dtype)
        rest, _ = locate(coords, b, begin, shape, left_out, starts, t)
        slow = coords[b, axis - 3 + coords.shape[1], begin : begin + size]
        last = counts.size - 1
        skipped = 0
        for k in range(size):
            if skipped < rest and left_out[skipped] == k:
                skipped += 1
                bands[k] = last
            else:
                bands[k] = (np.int32(base_of(slow[k])) - left) >> shift
            counts[bands[k]] += 1

    return survey, count_bands


def _vjp_kernel(name: str, taps: Taps) -> Kernel:
    count = taps.count
    locate, place = locator(taps.base, count), placer(taps, 3)
    survey, count_bands = _surveyors(taps.base, count)
    spread, spread_folded = _spreader(taps), _folded_spreader(count)

    @device
    def spread_run(x, coords, b, begin, shape, starts, t, addresses, by_value, dx, d_coords):
        """Spread windows that are inside, of positions that follow each other."""
        end = begin + starts.size
        grads = d_coords[b, :, begin:end]
        grads[:] = 0
        for c in range(x.shape[1]):
            spread(x[b, c], dx[b, c], starts, t, shape, coords.shape[1], addresses, by_value[b, c, begin:end], grads)

    @device
    def spread_some(x, coords, b, ids, shape, addresses, by_value, dx, d_coords):
        """Spread windows that are inside, of positions anywhere."""
        axes, size = coords.shape[1], ids.size
        packed = np.empty((1, axes, size), coords.dtype)
        starts, t = np.empty(size, np.int32), np.empty((3, size), dx.dtype)
        for a in range(axes):
            here = coords[b, a]
            for m in range(size):
                packed[0, a, m] = here[ids[m]]
        nothing = np.int64(0)  # not a literal, for which all would be compiled again
        locate(packed, nothing, nothing, shape, np.empty(size, np.int64), starts, t)
        # Cut, as those of `spread_run` are, so that one function takes both.
        grads, g = np.zeros((axes, size), dx.dtype)[:, :size], np.empty(size, dx.dtype)
        for c in range(x.shape[1]):
            cotangents = by_value[b, c]
            for m in range(size):
                g[m] = cotangents[ids[m]]
            spread(x[b, c], dx[b, c], starts, t, shape, axes, addresses, g, grads)
        for a in range(axes):
            there = d_coords[b, a]
            for m in range(size):
                there[ids[m]] = grads[a, m]

    @device
    def spread_any(x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords):
        """Spread windows that are anywhere, with gradients of gradients if there are any."""
        axes, F = coords.shape[1], dx.dtype.type
        own_w, own_pixels = np.empty((3, 3, count), dx.dtype), np.empty((3, count), np.int64)
        w, pixels = lend(own_w), lend(own_pixels)
        for m in range(ids.size):
            k = ids[m]
            status = place(w, pixels, coords, b, k, shape, rules, addresses)
            if status != INSIDE:
                nothing = F(np.nan) if status == UNKNOWN else F(0)
                _note(d_coords, b, k, nothing, nothing, nothing)
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
            _note(d_coords, b, k, gz, gy, gx)
        keep(own_w)
        keep(own_pixels)

    @device
    def spread_chunk(x, shape, coords, b, k, rules, cval, addresses, by_value, by_gradient, dx, d_coords):
        """Spread the windows of a chunk that are inside."""
        begin, size = k * CHUNK, min(CHUNK, coords.shape[2] - k * CHUNK)
        left_out, starts, t = np.arange(size), np.empty(size, np.int32), np.empty((3, size), dx.dtype)
        rest, _ = locate(coords, b, begin, shape, left_out, starts, t)
        if by_gradient.size > 0:
            ids = _inside_of(left_out, rest, begin, size)
            spread_any(x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords)
        elif rest == 0:
            spread_run(x, coords, b, begin, shape, starts, t, addresses, by_value, dx, d_coords)
        else:
            ids = _inside_of(left_out, rest, begin, size)
            spread_some(x, coords, b, ids, shape, addresses, by_value, dx, d_coords)

    @kernel(f"sample_vjp_{name}")
    def sample_vjp(x, shape, coords, rules, cval, addresses, by_value, by_gradient, dx, d_coords):
        batch = x.shape[0]
        total = coords.shape[2]
        F = dx.dtype.type
        axis, stride = slow_axis(shape)
        chunks = (total + CHUNK - 1) // CHUNK
        small = max(shape) < LONGEST and x.shape[2] < MOST
        flat = dx.reshape(dx.size)
        for r in prange((flat.size + CHUNK - 1) // CHUNK):
            flat[r * CHUNK : min((r + 1) * CHUNK, flat.size)] = 0
        rests = np.empty((batch, chunks), np.int64)
        lows, highs = np.empty((batch, chunks), np.int64), np.empty((batch, chunks), np.int64)
        for r in prange(batch * chunks):
            b, k = r // chunks, r % chunks
            size = min(CHUNK, total - k * CHUNK)
            rests[b, k], lows[b, k], highs[b, k] = size, 0, -1
            if small:
                rests[b, k], lows[b, k], highs[b, k] = survey(coords, b, k * CHUNK, size, shape, axis, stride, F)
        per = np.empty(batch, np.int64)
        for b in range(batch):
            per[b] = chunks_per_run(lows[b], highs[b])

        for colour in range(2):
            for r in prange(batch * (RUNS // 2)):
                b, run = r // (RUNS // 2), r % (RUNS // 2) * 2 + colour
                for k in range(run * per[b], min((run + 1) * per[b], chunks) if small else 0):
                    spread_chunk(x, shape, coords, b, k, rules, cval, addresses, by_value, by_gradient, dx, d_coords)

        for b in range(batch):
            if per[b] > 0:
                continue
            shift = SMALLEST_BAND
            while shape[axis] >> shift > 128:
                shift += 1
            amount = (shape[axis] >> shift) + 1
            bands, order = np.empty(total, np.int32), np.empty(total, np.int64)
            places = np.zeros((chunks, amount + 1), np.int64)
            for k in prange(chunks):
                begin, end = k * CHUNK, min((k + 1) * CHUNK, total)
                count_bands(coords, b, begin, end - begin, shape, axis, shift, bands[begin:end], places[k])
            begins = places_of(places)
            for k in prange(chunks):
                sort(bands, places[k], k * CHUNK, min((k + 1) * CHUNK, total), order)
            for colour in range(2):
                for r in prange((amount + 1 - colour) // 2):
                    band = 2 * r + colour
                    for first in range(begins[band], begins[band + 1], CHUNK):
                        ids = order[first : min(first + CHUNK, begins[band + 1])]
                        if by_gradient.size == 0:
                            spread_some(x, coords, b, ids, shape, addresses, by_value, dx, d_coords)
                        else:
                            spread_any(
                                x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords
                            )

        for b in prange(batch):
            for k in range(chunks):
                if rests[b, k] > 0:
                    begin, size = k * CHUNK, min(CHUNK, total - k * CHUNK)
                    left_out, rest = np.arange(size), size
                    if small:
                        starts, t = np.empty(size, np.int32), np.empty((3, size), F)
                        rest, _ = locate(coords, b, begin, shape, left_out, starts, t)
                    ids = left_out[:rest] + begin
                    spread_any(x, coords, b, ids, shape, rules, cval, addresses, by_value, by_gradient, dx, d_coords)

    return sample_vjp


vjp_kernels = {name: _vjp_kernel(name, taps) for name, taps in TAPS.items()}
