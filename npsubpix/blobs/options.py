"""Checks of the widths of blobs and of the scales between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.options import check_choice, check_count, check_lengths
from npsubpix._definitions.scale_space import SCALE_METHODS, ScalePlan, scale_plan

__all__ = ["NARROWEST", "check_scales"]

#: Width of a blob in pixels, below which its pixels do not show it.
NARROWEST = 0.5

_MOST_PER_OCTAVE = 20


def check_scales(
    min_sigma: Any, max_sigma: Any, scales_per_octave: Any, method: Any, spacing: Any, shape: tuple[int, ...]
) -> tuple[ScalePlan, bool]:
    """Plan the scales for images of a shape; return the plan, and whether widths are reported per axis."""
    n = len(shape)
    check_choice(method, "method", SCALE_METHODS)
    per_octave = check_count(scales_per_octave, "scales_per_octave", 1)
    if per_octave > _MOST_PER_OCTAVE:
        raise ValueError(f"scales_per_octave must be at most {_MOST_PER_OCTAVE}, got {per_octave}")
    least, most = check_lengths(min_sigma, n, "min_sigma"), check_lengths(max_sigma, n, "max_sigma")
    per_axis = np.ndim(min_sigma) > 0 or np.ndim(max_sigma) > 0 or spacing is not None
    if spacing is not None:
        pixel = check_lengths(spacing, n, "spacing")
        least, most = (tuple(s / p for s, p in zip(widths, pixel, strict=True)) for widths in (least, most))
    if any(a > b for a, b in zip(least, most, strict=True)):
        raise ValueError(f"max_sigma must not be below min_sigma, {min_sigma!r}, got {max_sigma!r}")
    growth = [b / a for a, b in zip(least, most, strict=True)]
    if max(growth) > (1 + 1e-6) * min(growth):
        raise ValueError(
            f"max_sigma must have the ratios between axes that min_sigma has, {min_sigma!r}, got {max_sigma!r}"
        )
    unit = "" if spacing is None else f" with spacing={spacing!r}"
    if min(least) < NARROWEST:
        raise ValueError(
            f"min_sigma must be at least {NARROWEST} pixels on every axis, got {min_sigma!r}, {min(least):.3g} pixels"
            f"{unit}"
        )
    if all(shape):
        axis = int(np.argmax([s / length for s, length in zip(most, shape, strict=True)]))
        if most[axis] > shape[axis] / 3:
            raise ValueError(
                f"max_sigma must be at most a third of the image along each axis, {shape[axis] / 3:.4g} pixels for "
                f"{shape[axis]} along axis {axis}, got {max_sigma!r}, {most[axis]:.4g} pixels{unit}"
            )
    ratios = tuple(s / least[-1] for s in least)
    return scale_plan(str(method), least[-1], most[-1], per_octave, ratios), per_axis
