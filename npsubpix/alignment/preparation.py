"""Pixels of two images that are compared: without their background, near positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import Array, HostArray, as_array, beside, to_numpy
from npsubpix._arrays.options import check_count
from npsubpix.background import local_background
from npsubpix.results import Background, Peaks

__all__ = ["levels_of_radius", "mask_around", "without_background"]

#: Least radius of what is compared around a position, in pixels of a level.
_LEAST_RADIUS = 2.5


def without_background(image: Array, background: Any, mask: Array | None, name: str) -> Array:
    """Subtract from an image the background in boxes of so many pixels, or one that is known."""
    if isinstance(background, Background):
        level = background.level
    elif isinstance(background, np.generic) or (np.ndim(background) == 0 and not hasattr(background, "shape")):
        level = local_background(image, check_count(background, "background", 1), mask=mask).level
    else:
        level = as_array(background, "background")
    if tuple(level.shape) != tuple(image.shape):
        raise ValueError(
            f"background must have the shape of both images, got {tuple(level.shape)} for {name} of shape "
            f"{tuple(image.shape)}; pass the size of boxes to measure it in each image"
        )
    home_of(image).require_beside(level, "background", name)
    home_of(image).require_one_library(level, "images and background")
    return image - level


def mask_around(around: Any, radius: float, image: Array, mask: Array | None) -> Array:
    """Return a mask of the pixels of an image farther than a radius from all positions, with those masked already."""
    near = _near(_positions(around), radius, tuple(image.shape))
    if mask is None:
        return beside(~near, image)
    if home_of(mask).on_gpu:
        return mask | beside(~near, mask)
    return beside(to_numpy(mask) | ~near, image)


def levels_of_radius(radius: float) -> int:
    """Return the number of levels at which pixels within a radius of a position are more than a few."""
    return 1 + max(0, int(math.log2(radius / _LEAST_RADIUS)))


def _positions(around: Any) -> HostArray:
    if isinstance(around, Peaks):
        if around.frame is not None and len(np.unique(to_numpy(around.frame))) > 1:
            raise ValueError("around must be the peaks of the fixed image, got peaks of several frames")
        around = around.coords
    points = np.asarray(to_numpy(as_array(around, "around")), np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"around must be Peaks of an image, or have shape (N, 2), got {points.shape}")
    return points[np.isfinite(points).all(1)]


def _near(points: HostArray, radius: float, shape: tuple[int, ...]) -> HostArray:
    """Return True for the pixels within a radius of any point, by the runs of such pixels in each row."""
    height, width = shape
    y, x = points[((points >= -radius) & (points <= np.array(shape) - 1 + radius)).all(1)].T
    ends = np.zeros((height, width + 1), np.int32)  # of runs: 1 where one begins, -1 after it
    first = np.maximum(np.ceil(y - radius), 0).astype(np.int64)
    for step in range(min(2 * math.ceil(radius) + 1, height)):
        row = first + step
        distance = np.abs(row - y)
        with np.errstate(over="ignore"):
            half = np.sqrt(np.maximum((radius - distance) * (radius + distance), 0))
        begin, end = (np.clip(e, 0, width).astype(np.int64) for e in (np.ceil(x - half), np.floor(x + half) + 1))
        inside = (distance <= radius) & (row < height) & (begin < end)
        np.add.at(ends, (row[inside], begin[inside]), 1)
        np.add.at(ends, (row[inside], end[inside]), -1)
    return np.asarray(ends.cumsum(1)[:, :-1] > 0)
