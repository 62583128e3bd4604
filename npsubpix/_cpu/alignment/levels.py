"""Levels of the pyramids of both images, and the values that replace their bad pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.likeness import likeness_of
from npsubpix._cpu.alignment.normal_equations import ComparedImages, normal_equations
from npsubpix._cpu.sampling.splines import spline_coefficients
from npsubpix._definitions.alignment.gauss_newton import residual_step
from npsubpix._definitions.alignment.images import FILLINGS
from npsubpix._definitions.alignment.normal_equations import Comparison, Equations, Likeness
from npsubpix._definitions.sampling.borders import BORDER_RULES

__all__ = ["Level", "filled", "grown"]


@dataclass
class Level:
    """Both images at one level of their pyramids, as pixels, as coefficients of splines, and with their masks."""

    fixed: HostArray
    moving: HostArray
    fixed_spline: HostArray
    moving_spline: HostArray
    fixed_mask: HostArray  # True for pixels to ignore, empty for none
    moving_mask: HostArray
    scale: int
    rounding: float

    @classmethod
    def of(
        cls, fixed: HostArray, moving: HostArray, fixed_mask: HostArray, moving_mask: HostArray, scale: int,
        rounding: float,
    ) -> Level:  # fmt: skip
        """Return a level of two images."""
        of_fixed, of_moving = (spline_coefficients(x, 3, "mirror", 2, x.dtype) for x in (fixed, moving))
        return cls(fixed, moving, of_fixed, of_moving, fixed_mask, moving_mask, scale, rounding)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fixed image."""
        return self.fixed.shape

    @property
    def moving_shape(self) -> tuple[int, ...]:
        """Shape of the moving image."""
        return self.moving.shape

    def equations(self, basis: HostArray, comparison: Comparison) -> Equations:
        """Sum up the normal equations of one iteration."""
        images = ComparedImages(self.fixed, self.fixed_spline, self.moving_spline, self.fixed_mask, self.moving_mask)
        return normal_equations(images, basis, comparison)

    def likeness(self, matrix: HostArray, fixed_mean: float, moving_mean: float) -> Likeness:
        """Return the likeness of the pixels compared, of these means."""
        images = self.fixed, self.moving, self.fixed_mask, self.moving_mask
        return likeness_of(images, matrix, fixed_mean, moving_mean)

    def halved(self) -> Level:
        """Return the next coarser level."""
        return Level.of(
            _halved(self.fixed), _halved(self.moving), _halved_mask(self.fixed_mask), _halved_mask(self.moving_mask),
            2 * self.scale, self.rounding,
        )  # fmt: skip

    def residuals(self, matrix: HostArray, gain: float, bias: float) -> HostArray:
        """Return the finite residuals of every `residual_step`-th pixel along both axes."""
        from npsubpix._cpu.sampling.values import value_kernel

        h, w = self.fixed.shape
        step = residual_step(self.fixed.shape)
        y, x = (a.ravel() for a in np.mgrid[1 : h - 1 : step, 1 : w - 1 : step])
        moved = matrix @ np.stack([y, x, np.ones(y.size)])
        with np.errstate(all="ignore"):
            coords = np.ascontiguousarray(moved[:2] / moved[2])
        values = np.empty((1, 1, y.size), self.moving.dtype)
        value_kernel("bspline3", 1, 2).run(
            30 * y.size,
            self.moving_spline[None, None, None],
            coords[None],
            BORDER_RULES["constant"],
            np.nan,
            (0, 0),
            values,
        )
        residuals = values[0, 0] - gain * self.fixed[y, x] - bias
        if self.fixed_mask.size:
            residuals = residuals[~self.fixed_mask[y, x]]
        return np.asarray(residuals[np.isfinite(residuals)])


def _halved(x: HostArray) -> HostArray:
    """Return the means of two by two pixels."""
    h, w = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    lines = x[0:h:2] + x[1:h:2]
    quarter: HostArray = lines[:, 0:w:2] + lines[:, 1:w:2]
    quarter *= x.dtype.type(0.25)
    return quarter


def _halved_mask(mask: HostArray) -> HostArray:
    """Mask pixels of which any of two by two pixels is masked."""
    if not mask.size:
        return mask
    h, w = mask.shape[0] // 2 * 2, mask.shape[1] // 2 * 2
    lines = mask[0:h:2] | mask[1:h:2]
    halved: HostArray = lines[:, 0:w:2] | lines[:, 1:w:2]
    return halved


def filled(x: HostArray, bad: HostArray) -> HostArray:
    """Overwrite bad pixels by values between those of their neighbours, so that splines do not ring around them."""
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
    for _ in range(FILLINGS):
        x[rows, columns] = sum(x[neighbour] for neighbour in around) / x.dtype.type(4)
    return x


def grown(bad: HostArray) -> HostArray:
    """Mask the neighbours of bad pixels too: their gradients depend on the values filled in."""
    from scipy.ndimage import maximum_filter

    return np.asarray(maximum_filter(bad, 3))
