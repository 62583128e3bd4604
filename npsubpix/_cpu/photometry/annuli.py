"""Background and noise of annuli, clipped as those of the boxes of a background are."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.background.clipping import clip_about_median, step_of
from npsubpix._cpu.compiler.intrinsics import keep, lend, lend_all
from npsubpix._cpu.compiler.jit import inlined, kernel
from npsubpix._cpu.formulas.sorting import sort_floats
from npsubpix._cpu.photometry.pixels import electrons_of, is_inside, prefetch_box
from npsubpix._definitions.constants import CLIPPED_SHARE, LEAST_ANNULUS, ROUNDING_NOISE
from npsubpix._definitions.photometry import MeasurementFlags

__all__ = ["annuli_kernel"]

_NO_BACKGROUND = int(MeasurementFlags.NO_BACKGROUND)
_NOISE_GUESSED = int(MeasurementFlags.NOISE_GUESSED)


@inlined
def _gather(x, mask, camera, frame, cy, cx, inner, outer, out):
    """Write the pixels whose centres lie in an annulus, finite and not masked; return their number."""
    F = out.dtype.type
    height, width = x.shape[1:]
    low, high = inner * inner, outer * outer
    count = 0
    for i in range(max(math.ceil(cy - outer), 0), min(math.floor(cy + outer) + 1, height)):
        for j in range(max(math.ceil(cx - outer), 0), min(math.floor(cx + outer) + 1, width)):
            dy, dx = i - cy, j - cx
            distance = dy * dy + dx * dx
            if distance < low or distance >= high or (mask.size > 0 and mask[frame, i, j]):
                continue
            v = F(electrons_of(x, camera, frame, i, j))
            if math.isfinite(v):
                out[count] = v
                count += 1
    return count


@kernel("photometry_annuli")
def annuli_kernel(
    x, mask, camera, points, frames, annulus, use_mean, allowance, floats, bits, level, noise, kept, flags
):
    """Measure background and noise of the annulus around each position, and count the pixels that are kept."""
    inner, outer = annulus
    side = 2 * math.floor(outer) + 2
    most = min(side, x.shape[1]) * min(side, x.shape[2])
    for k in prange(len(points)):
        level[k] = noise[k] = math.nan
        kept[k] = 0
        cy, cx, frame = points[k, 0], points[k, 1], frames[k]
        if not is_inside(x, frame, cy, cx):
            continue
        values, spare = np.empty(most, floats.dtype), np.empty(most, floats.dtype)
        prefetch_box(lend(x), points, frames, k + 1, outer)
        count = _gather(lend(x), lend(mask), lend_all(camera), frame, cy, cx, inner, outer, lend(values))
        if count < LEAST_ANNULUS:
            flags[k] |= _NO_BACKGROUND
        else:
            sort_floats(values[:count], spare, bits)
            middle, offsets = np.float64(values[count // 2]), np.empty(count)
            for n in range(count):
                offsets[n] = np.float64(values[n]) - middle
            step = step_of(values[:count])
            repeated = (count - 1) // 2 > 0 and offsets[(count - 1) // 2 - 1] == offsets[(count - 1) // 2]
            repeated = repeated or offsets[(count - 1) // 2] == offsets[(count - 1) // 2 + 1]
            more = allowance[0] + (allowance[1] * step if repeated else 0.0)
            begin, end, median, mean, deviation = clip_about_median(offsets, more)
            level[k] = middle + (mean if use_mean else median)
            noise[k] = deviation / CLIPPED_SHARE
            kept[k] = end - begin
            if step > 0 and values[begin] == values[end - 1]:
                noise[k] = ROUNDING_NOISE * step
                flags[k] |= _NOISE_GUESSED
        keep(x)
        keep(mask)
        keep(camera)
        keep(values)
