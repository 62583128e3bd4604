"""Images at all scales that they are aligned at, and what stands in for their bad pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.normal_equations import normal_equations
from npsubpix._cpu.sampling.splines import spline_coefficients
from npsubpix._definitions.alignment.gauss_newton import ROUNDING, count_levels
from npsubpix._definitions.alignment.normal_equations import Equations
from npsubpix._definitions.sampling.borders import BORDER_RULES

__all__ = ["Level", "filled", "grown", "is_flat", "pyramid"]

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

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fixed image."""
        return self.fixed.shape

    @property
    def moving_shape(self) -> tuple[int, ...]:
        """Shape of the moving image."""
        return self.moving.shape

    @property
    def rounding(self) -> float:
        """How far the largest pixel of the fixed image is from the next number."""
        return float(np.finfo(self.fixed.dtype).eps * np.abs(self.fixed).max())

    def equations(self, inverse: bool, gain_bias: bool, crossed: bool, basis: HostArray, *options: Any) -> Equations:
        """Sum up the normal equations of one iteration."""
        images = self.fixed, self.fixed_spline, self.moving, self.hidden, self.bad
        return normal_equations(inverse, gain_bias, crossed, basis, images, 100 * self.fixed.size, *options)

    def residuals(self, matrix: HostArray, gain: float, bias: float) -> HostArray:
        """Return the residuals of some thousand pixels, those that there are."""
        from npsubpix._cpu.sampling.values import value_kernels

        h, w = self.fixed.shape
        step = max(1, int(math.sqrt(h * w / 4096)))
        y, x = (a.ravel() for a in np.mgrid[1 : h - 1 : step, 1 : w - 1 : step])
        moved = matrix @ np.stack([y, x, np.ones(y.size)])
        with np.errstate(all="ignore"):
            coords = np.ascontiguousarray(moved[:2] / moved[2])
        values = np.empty((1, 1, y.size), self.moving.dtype)
        value_kernels["bspline3"].run(
            30 * y.size, self.moving[None, None, None], coords[None], BORDER_RULES["constant"], np.nan, (0, 0), values
        )
        residuals = values[0, 0] - gain * self.fixed[y, x] - bias
        if self.hidden.size:
            residuals = residuals[~self.hidden[y, x]]
        return np.asarray(residuals[np.isfinite(residuals)])


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
    result = []
    for k in range(count_levels(side, levels)):
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
