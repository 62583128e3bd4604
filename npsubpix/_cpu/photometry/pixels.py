"""One pixel: in electrons, above its background, and its variance."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.intrinsics import prefetch_line
from npsubpix._cpu.compiler.jit import device, inlined
from npsubpix._definitions.photometry import MeasurementFlags

__all__ = ["electrons_of", "is_inside", "pixel_of", "prefetch_box"]

_MASKED = int(MeasurementFlags.MASKED)
_NONFINITE = int(MeasurementFlags.NONFINITE)

_FAR = 32.0  # reach in pixels beyond which a box is no small part of a cache, and reading it takes longer than waiting


@device
def is_inside(x, frame, cy, cx):
    """Tell whether the pixel nearest to a position exists."""
    images, height, width = x.shape
    return 0 <= frame < images and -0.5 <= cy < height - 0.5 and -0.5 <= cx < width - 0.5


@inlined
def prefetch_box(x, points, frames, k, reach):
    """Ask for the pixels around a position, if there is one: those of one spot are measured while the next come."""
    if k >= len(points) or reach > _FAR or not is_inside(x, frames[k], points[k, 0], points[k, 1]):
        return
    cy, cx = points[k, 0], points[k, 1]
    first, last = math.ceil(cx - reach), math.floor(cx + reach)
    for i in range(math.ceil(cy - reach), math.floor(cy + reach) + 1):
        row = (frames[k] * x.shape[1] + i) * x.shape[2]
        prefetch_line(x, row + first, row + last)


@inlined
def electrons_of(x, camera, frame, i, j):
    """Return a pixel in electrons, or as it is without a camera.

    `camera` are the offset, the factor to electrons and the read variance, flat, each followed by its steps per frame
    and per pixel, and the variance per electron, 0 without a camera.
    """
    v = np.float64(x[frame, i, j])
    offsets, offset_frame, offset_pixel, factors, factor_frame, factor_pixel = camera[:6]
    if camera[9] > 0.0:
        place = i * x.shape[2] + j
        v = (v - offsets[frame * offset_frame + place * offset_pixel]) * factors[
            frame * factor_frame + place * factor_pixel
        ]
    return v


@inlined
def _variance_of(v, camera, beside, spot, frame, place):
    factors, factor_frame, factor_pixel, variances, variance_frame, variance_pixel, excess = camera[3:]
    if excess > 0.0:
        factor = factors[frame * factor_frame + place * factor_pixel]
        return excess * max(v, 0.0) + variances[frame * variance_frame + place * variance_pixel] * factor * factor
    errors, of_spot, of_frame, of_pixel = beside[4:]
    e = errors[spot * of_spot + frame * of_frame + place * of_pixel]
    return e * e if e >= 0.0 else math.nan


@inlined
def pixel_of(x, mask, camera, beside, spot, frame, i, j):
    """Return a pixel, its background and its variance, and flags if it does not count.

    `beside` are backgrounds and errors, flat, each followed by its steps per spot, per frame and per pixel.
    """
    levels, of_spot, of_frame, of_pixel = beside[:4]
    place = i * x.shape[2] + j
    v = electrons_of(x, camera, frame, i, j)
    b = levels[spot * of_spot + frame * of_frame + place * of_pixel]
    variance = _variance_of(v, camera, beside, spot, frame, place)
    if mask.size > 0 and mask[frame, i, j]:
        return v, b, variance, _MASKED
    # What was measured in an annulus may be NaN: then the spot has a flag
    bad = not math.isfinite(v) or (of_spot == 0 and not math.isfinite(b))
    bad = bad or (beside[5] == 0 and not math.isfinite(variance))
    return v, b, variance, _NONFINITE if bad else 0
