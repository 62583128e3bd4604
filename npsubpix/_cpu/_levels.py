"""Images at all scales that they are aligned at, and what stands in for their bad pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from npsubpix._arrays import HostArray
from npsubpix._cpu._bspline import spline_coefficients

__all__ = ["ROUNDING", "Level", "filled", "grown", "is_flat", "pyramid"]

#: Least side of the coarsest level, in pixels.
_LEAST_SIDE = 32

#: Gradient of an image, in units of the rounding of its pixels, that is nothing but rounding.
ROUNDING = 16.0

#: Times that each bad pixel is replaced by the mean of its neighbours.
_FILLINGS = 16


@dataclass
class Level:
    """Both images at one scale, as kernels take them."""

    fixed: HostArray
    fixed_spline: HostArray
    moving: HostArray
    hidden: HostArray
    bad: HostArray
    scale: int

    def to_level(self, matrix: HostArray) -> HostArray:
        """Turn a matrix between pixels of the whole images into one between pixels of this level."""
        s = np.eye(3)
        s[:2, :2] *= self.scale
        s[:2, 2] = 0.5 * (self.scale - 1)
        inner: HostArray = np.linalg.inv(s) @ matrix @ s
        return np.asarray(inner / inner[2, 2])

    def from_level(self, matrix: HostArray) -> HostArray:
        """Undo `to_level`."""
        s = np.eye(3)
        s[:2, :2] *= self.scale
        s[:2, 2] = 0.5 * (self.scale - 1)
        outer: HostArray = s @ matrix @ np.linalg.inv(s)
        return np.asarray(outer / outer[2, 2])


def _halve(x: HostArray) -> HostArray:
    """Mean of two by two pixels."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    lines = x[0:h:2] + x[1:h:2]
    quarter: HostArray = lines[:, 0:w:2] + lines[:, 1:w:2]
    quarter *= x.dtype.type(0.25)
    return quarter


def _halve_marks(marks: HostArray) -> HostArray:
    if not marks.size:
        return marks
    h, w = marks.shape[0] // 2 * 2, marks.shape[1] // 2 * 2
    some: HostArray = marks[0:h:2, 0:w:2] | marks[1:h:2, 0:w:2] | marks[0:h:2, 1:w:2] | marks[1:h:2, 1:w:2]
    return some


def pyramid(fixed: HostArray, moving: HostArray, hidden: HostArray, bad: HostArray, levels: int | None) -> list[Level]:
    side = min(*fixed.shape, *moving.shape)
    if levels is None:
        levels = 1 + max(0, int(math.log2(max(side, 1) / _LEAST_SIDE))) if side >= _LEAST_SIDE else 1
    result = []
    for k in range(levels):
        of_fixed, of_moving = (spline_coefficients(x, 3, "mirror", 2, x.dtype) for x in (fixed, moving))
        result.append(Level(fixed, of_fixed, of_moving, hidden, bad, 2**k))
        if min(*fixed.shape, *moving.shape) < 16:
            break
        fixed, moving = _halve(fixed), _halve(moving)
        hidden, bad = _halve_marks(hidden), _halve_marks(bad)
    return result[::-1]


def filled(x: HostArray, bad: HostArray) -> HostArray:
    """Write over bad pixels what lies between their neighbours, so that splines do not ring around them."""
    from scipy.ndimage import distance_transform_edt

    if not bad.any() or bad.all():
        return x
    nearest = distance_transform_edt(bad, return_distances=False, return_indices=True)
    rows, columns = np.nonzero(bad)
    x[rows, columns] = x[tuple(nearest[:, rows, columns])]
    height, width = x.shape
    around = [
        (np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1))
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    for _ in range(_FILLINGS):
        x[rows, columns] = sum(x[place] for place in around) / x.dtype.type(4)
    return x


def grown(bad: HostArray) -> HostArray:
    """Mark the neighbours of bad pixels too: their gradients are made of what was filled in."""
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(bad, 3))


def is_flat(x: HostArray) -> bool:
    """Whether all pixels are equal, but for rounding."""
    low, high = float(x.min()), float(x.max())
    return high - low <= ROUNDING * float(np.finfo(x.dtype).eps) * max(abs(low), abs(high))
