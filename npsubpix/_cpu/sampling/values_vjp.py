"""The adjoint of sampling: from cotangents of values and gradients to cotangents of pixels and positions.

Windows overlap, so no two threads may add to one pixel, and the order of summation must not depend
on the number of threads. Positions in scan order, such as those of a warped grid, are cut into runs.
Runs two apart share no pixels, so the even runs are processed in parallel, then the odd ones.
Positions in any other order are sorted into bands by the row of the image (the plane of a volume,
the pixel of a line) at which their windows begin, and bands are processed in the same way. Windows
at the border, which may be folded to anywhere, come last, one after the other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, kernel, made_once
from npsubpix._cpu.sampling.bands import RUNS, SMALLEST_BAND, chunks_per_run, places_of, slow_axis, sort
from npsubpix._cpu.sampling.distance_weights import taps_of
from npsubpix._cpu.sampling.easing import easing_of, inside_taps
from npsubpix._cpu.sampling.interior import (
    CHUNK,
    LONGEST,
    MOST,
    distances_of_chunk,
    indices_of_chunk,
    leave_all_out,
    locator,
    surveyor,
)
from npsubpix._cpu.sampling.spreaders import folded_spreader, spreader, write_cotangent
from npsubpix._cpu.sampling.values import count_unknown, kernel_name, placer
from npsubpix._cpu.sampling.weights import left_of
from npsubpix._definitions.sampling.borders import INSIDE, UNKNOWN

__all__ = ["inside_of", "vjp_kernel"]


@allocating
def inside_of(left_out, left_out_count, begin, size):
    """Return the indices of the positions of a chunk that are not left out."""
    ids = np.empty(size - left_out_count, np.int64)
    skipped = 0
    for k in range(size):
        if skipped < left_out_count and left_out[skipped] == k:
            skipped += 1
        else:
            ids[k - skipped] = begin + k
    return ids


@functools.cache
def _surveyors(base_of: Callable[..., Any], count: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make the functions that find the rows of a chunk's windows, and the bands that they begin in."""
    left = left_of(count)
    locate, rows_between = locator(base_of, count), surveyor(base_of, count)

    @allocating
    def survey(coords, b, begin, size, shape, axis, stride, F):
        """Return the number of windows of a chunk that are not inside, and the first and last row of the others."""
        first, last = rows_between(coords, b, begin, size, shape, axis)
        if first >= 0:
            return 0, first, last + count - 1
        left_out, starts, t = (
            indices_of_chunk(np.int64)[:size],
            indices_of_chunk(np.int32)[:size],
            distances_of_chunk(F),
        )
        left_out_count, _ = locate(coords, b, begin, shape, left_out, starts, t)
        if left_out_count == size:
            return left_out_count, np.iinfo(np.int64).max, -1
        ids = inside_of(left_out, left_out_count, np.int64(0), size)
        low, high = starts[ids[0]], starts[ids[0]]
        for m in range(ids.size):
            low, high = min(low, starts[ids[m]]), max(high, starts[ids[m]])
        return left_out_count, low // stride, high // stride + count - 1

    @allocating
    def count_bands(coords, b, begin, size, shape, axis, shift, bands, counts):
        """Find and count the bands of the windows of a chunk; windows that are not inside have the last one."""
        left_out, starts, t = (
            indices_of_chunk(np.int64)[:size],
            indices_of_chunk(np.int32)[:size],
            distances_of_chunk(coords.dtype.type),
        )
        left_out_count, _ = locate(coords, b, begin, shape, left_out, starts, t)
        slow = coords[b, axis - 3 + coords.shape[1], begin : begin + size]
        last = counts.size - 1
        skipped = 0
        for k in range(size):
            if skipped < left_out_count and left_out[skipped] == k:
                skipped += 1
                bands[k] = last
            else:
                bands[k] = (np.int32(base_of(slow[k])) - left) >> shift
            counts[bands[k]] += 1

    return survey, count_bands


@made_once
def vjp_kernel(name: str, reach: int) -> Kernel:
    """Make the kernel of a method for the cotangents of pixels and positions."""
    taps = taps_of(name, reach)
    count = taps.count
    locate, place = locator(taps.base, count), placer(taps, 3)
    survey, count_bands = _surveyors(taps.base, count)
    spread, spread_folded = spreader(inside_taps(name, reach)), folded_spreader(count)
    _, ease, apply_slopes = easing_of(name, reach)

    @device
    def spread_run(
        x, coords, b, begin, shape, starts, t, addresses, values_cotangent, image_cotangent, coords_cotangent
    ):
        """Spread windows inside the image, of consecutive positions."""
        end = begin + starts.size
        grads, axes = coords_cotangent[b, :, begin:end], coords.shape[1]
        slopes = distances_of_chunk(t.dtype.type)
        ease(t, slopes, axes, starts.size, addresses)
        grads[:] = 0
        for c in range(x.shape[1]):
            spread(
                x[b, c],
                image_cotangent[b, c],
                starts,
                t,
                shape,
                axes,
                addresses,
                values_cotangent[b, c, begin:end],
                grads,
            )
        for a in range(axes):
            apply_slopes(grads[a], slopes[3 - axes + a])

    @allocating
    def spread_scattered(x, coords, b, ids, shape, addresses, values_cotangent, image_cotangent, coords_cotangent):
        """Spread windows inside the image, of positions with any indices."""
        axes, size = coords.shape[1], ids.size
        packed = np.empty((1, axes, size), coords.dtype)
        starts, t = np.empty(size, np.int32), np.empty((3, size), image_cotangent.dtype)
        for a in range(axes):
            here = coords[b, a]
            for m in range(size):
                packed[0, a, m] = here[ids[m]]
        nothing = np.int64(0)  # not a literal, for which all would be compiled again
        locate(packed, nothing, nothing, shape, np.empty(size, np.int64), starts, t)
        slopes = distances_of_chunk(t.dtype.type)
        ease(t, slopes, axes, size, addresses)
        # Cut, as those of `spread_run` are, so that one function takes both.
        grads, g = np.zeros((axes, size), image_cotangent.dtype)[:, :size], np.empty(size, image_cotangent.dtype)
        for c in range(x.shape[1]):
            cotangents = values_cotangent[b, c]
            for m in range(size):
                g[m] = cotangents[ids[m]]
            spread(x[b, c], image_cotangent[b, c], starts, t, shape, axes, addresses, g, grads)
        for a in range(axes):
            apply_slopes(grads[a], slopes[3 - axes + a])
            there = coords_cotangent[b, a]
            for m in range(size):
                there[ids[m]] = grads[a, m]

    @allocating
    def spread_any(
        x,
        coords,
        b,
        ids,
        shape,
        rules,
        cval,
        addresses,
        values_cotangent,
        gradient_cotangent,
        image_cotangent,
        coords_cotangent,
    ):
        """Spread windows anywhere, with the cotangents of gradients if there are any."""
        axes, F = coords.shape[1], image_cotangent.dtype.type
        own_w, own_pixels = np.empty((3, 3, count), image_cotangent.dtype), np.empty((3, count), np.int64)
        w, pixels = lend(own_w), lend(own_pixels)
        for m in range(ids.size):
            k = ids[m]
            status = place(w, pixels, coords, b, k, shape, rules, addresses)
            if status != INSIDE:
                nothing = F(np.nan) if status == UNKNOWN else F(0)
                write_cotangent(coords_cotangent, b, k, nothing, nothing, nothing)
                continue
            gz, gy, gx = F(0), F(0), F(0)
            for c in range(x.shape[1]):
                g = F(values_cotangent[b, c, k]) if values_cotangent.size > 0 else F(0)
                hz, hy, hx = F(0), F(0), F(0)
                if gradient_cotangent.size > 0:
                    hx = F(gradient_cotangent[b, axes - 1, c, k])
                    hy = F(gradient_cotangent[b, axes - 2, c, k]) if axes > 1 else F(0)
                    hz = F(gradient_cotangent[b, axes - 3, c, k]) if axes > 2 else F(0)
                sz, sy, sx = spread_folded(
                    x[b, c], image_cotangent[b, c], w, pixels, shape, axes, F(cval), g, hz, hy, hx
                )
                gz, gy, gx = gz + sz, gy + sy, gx + sx
            write_cotangent(coords_cotangent, b, k, gz, gy, gx)
        keep(own_w)
        keep(own_pixels)

    @allocating
    def spread_chunk(
        x,
        shape,
        coords,
        b,
        k,
        rules,
        cval,
        addresses,
        values_cotangent,
        gradient_cotangent,
        image_cotangent,
        coords_cotangent,
    ):
        """Spread the windows of a chunk that are inside the image."""
        begin, size = k * CHUNK, min(CHUNK, coords.shape[2] - k * CHUNK)
        left_out, starts, t = (
            indices_of_chunk(np.int64)[:size],
            indices_of_chunk(np.int32)[:size],
            distances_of_chunk(image_cotangent.dtype.type),
        )
        left_out_count, _ = locate(coords, b, begin, shape, left_out, starts, t)
        if gradient_cotangent.size > 0:
            ids = inside_of(left_out, left_out_count, begin, size)
            spread_any(
                x,
                coords,
                b,
                ids,
                shape,
                rules,
                cval,
                addresses,
                values_cotangent,
                gradient_cotangent,
                image_cotangent,
                coords_cotangent,
            )
        elif left_out_count == 0:
            spread_run(
                x, coords, b, begin, shape, starts, t, addresses, values_cotangent, image_cotangent, coords_cotangent
            )
        else:
            ids = inside_of(left_out, left_out_count, begin, size)
            spread_scattered(x, coords, b, ids, shape, addresses, values_cotangent, image_cotangent, coords_cotangent)

    @kernel(kernel_name("sample_vjp", name, reach))
    def sample_vjp(
        x,
        shape,
        coords,
        rules,
        cval,
        addresses,
        values_cotangent,
        gradient_cotangent,
        image_cotangent,
        coords_cotangent,
    ):
        """Write cotangents; return the number of NaN among those of positions."""
        batch = x.shape[0]
        total = coords.shape[2]
        F = image_cotangent.dtype.type
        axis, stride = slow_axis(shape)
        chunks = (total + CHUNK - 1) // CHUNK
        small = max(shape) < LONGEST and x.shape[2] < MOST
        flat = image_cotangent.reshape(image_cotangent.size)
        for r in prange((flat.size + CHUNK - 1) // CHUNK):
            flat[r * CHUNK : min((r + 1) * CHUNK, flat.size)] = 0
        left_out_counts = np.empty((batch, chunks), np.int64)
        lows, highs = np.empty((batch, chunks), np.int64), np.empty((batch, chunks), np.int64)
        for r in prange(batch * chunks):
            b, k = r // chunks, r % chunks
            size = min(CHUNK, total - k * CHUNK)
            left_out_counts[b, k], lows[b, k], highs[b, k] = size, 0, -1
            if small:
                left_out_counts[b, k], lows[b, k], highs[b, k] = survey(
                    coords, b, k * CHUNK, size, shape, axis, stride, F
                )
        per = np.empty(batch, np.int64)
        for b in range(batch):
            per[b] = chunks_per_run(lows[b], highs[b])

        for colour in range(2):
            for r in prange(batch * (RUNS // 2)):
                b, run = r // (RUNS // 2), r % (RUNS // 2) * 2 + colour
                for k in range(run * per[b], min((run + 1) * per[b], chunks) if small else 0):
                    spread_chunk(
                        x,
                        shape,
                        coords,
                        b,
                        k,
                        rules,
                        cval,
                        addresses,
                        values_cotangent,
                        gradient_cotangent,
                        image_cotangent,
                        coords_cotangent,
                    )

        for b in range(batch):
            if per[b] > 0:
                continue
            shift = SMALLEST_BAND
            while shape[axis] >> shift > 128:
                shift += 1
            band_count = (shape[axis] >> shift) + 1
            bands, order = np.empty(total, np.int32), np.empty(total, np.int64)
            places = np.zeros((chunks, band_count + 1), np.int64)
            for k in prange(chunks):
                begin, end = k * CHUNK, min((k + 1) * CHUNK, total)
                count_bands(coords, b, begin, end - begin, shape, axis, shift, bands[begin:end], places[k])
            begins = places_of(places)
            for k in prange(chunks):
                sort(bands, places[k], k * CHUNK, min((k + 1) * CHUNK, total), order)
            for colour in range(2):
                for r in prange((band_count + 1 - colour) // 2):
                    band = 2 * r + colour
                    for first in range(begins[band], begins[band + 1], CHUNK):
                        ids = order[first : min(first + CHUNK, begins[band + 1])]
                        if gradient_cotangent.size == 0:
                            spread_scattered(
                                x, coords, b, ids, shape, addresses, values_cotangent, image_cotangent, coords_cotangent
                            )
                        else:
                            spread_any(
                                x,
                                coords,
                                b,
                                ids,
                                shape,
                                rules,
                                cval,
                                addresses,
                                values_cotangent,
                                gradient_cotangent,
                                image_cotangent,
                                coords_cotangent,
                            )

        for b in prange(batch):
            for k in range(chunks):
                if left_out_counts[b, k] > 0:
                    begin, size = k * CHUNK, min(CHUNK, total - k * CHUNK)
                    left_out, left_out_count = indices_of_chunk(np.int64)[:size], size
                    if not small:
                        leave_all_out(left_out)
                    else:
                        starts, t = indices_of_chunk(np.int32)[:size], distances_of_chunk(F)
                        left_out_count, _ = locate(coords, b, begin, shape, left_out, starts, t)
                    ids = left_out[:left_out_count] + begin
                    spread_any(
                        x,
                        coords,
                        b,
                        ids,
                        shape,
                        rules,
                        cval,
                        addresses,
                        values_cotangent,
                        gradient_cotangent,
                        image_cotangent,
                        coords_cotangent,
                    )

        written = coords_cotangent.reshape(coords_cotangent.size)
        unknown = np.zeros((written.size + CHUNK - 1) // CHUNK, np.int64)
        for r in prange(unknown.size):
            unknown[r] = count_unknown(written[r * CHUNK : min((r + 1) * CHUNK, written.size)])
        total_unknown = 0
        for r in range(unknown.size):
            total_unknown += unknown[r]
        return total_unknown

    return sample_vjp
