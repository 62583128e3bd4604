"""Direct alignment of images on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft

from npsubpix._arrays.checks import check_pixels_below
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.fixed_pattern import fixed_pattern
from npsubpix._cpu.alignment.levels import Level, filled, grown
from npsubpix._cpu.sampling.interior import MOST
from npsubpix._definitions.alignment import phase_correlation as definition
from npsubpix._definitions.alignment.fixed_pattern import with_border
from npsubpix._definitions.alignment.gauss_newton import Options, Outcome
from npsubpix._definitions.alignment.images import Survey, Unit, align_images
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.shapes import Shape

__all__ = ["align", "phase_correlation"]


def align(
    fixed: HostArray, moving: HostArray, mask: HostArray | None, moving_mask: HostArray | None, *,
    init: HostArray | str | None, options: Options,
) -> Outcome:  # fmt: skip
    """Find the matrix that takes pixels of the fixed image to positions in the moving one."""
    check_pixels_below(moving, MOST, "moving")
    return align_images(_Images(fixed, moving, mask, moving_mask), init, options)


class _Images:
    """Both images, with bad pixels filled once their content is surveyed."""

    def __init__(
        self, fixed: HostArray, moving: HostArray, mask: HostArray | None, moving_mask: HostArray | None
    ) -> None:
        self._images, self._masks = (fixed, moving), (mask, moving_mask)
        self._filled: list[HostArray] = []
        self._ignored: list[HostArray] = []
        self.shapes = fixed.shape, moving.shape
        self.dtype: np.dtype[Any] = promoted(fixed.dtype, moving.dtype)

    def without_fixed_pattern(self) -> _Images | None:
        """Return the images with the pixels of a fixed pattern masked in both, None if there is no pattern."""
        fixed, moving = (np.array(x, self.dtype, order="C") for x in self._images)
        pattern = fixed_pattern(fixed, moving)
        if not pattern.any():
            return None
        pattern = with_border(pattern)
        return _Images(*self._images, *(pattern if mask is None else mask | pattern for mask in self._masks))

    def phase_correlation(self) -> HostArray:
        """Return the matrix of the translation at the maximum of the phase correlation."""
        return phase_correlation(*self._images, *self._masks)

    def surveys(self) -> tuple[Survey, Survey]:
        """Fill the bad pixels of both images, and survey them."""
        fixed, moving = (self._survey(x, mask) for x, mask in zip(self._images, self._masks, strict=True))
        return fixed, moving

    def _survey(self, x: HostArray, mask: HostArray | None) -> Survey:
        bad = ~np.isfinite(x)
        if mask is not None:
            bad |= mask
        good = int(bad.size - np.count_nonzero(bad))
        image = filled(x.astype(self.dtype), bad)
        self._filled.append(image)
        self._ignored.append(grown(bad) if good < bad.size else np.zeros((0, 0), bool))
        if not good:
            return Survey(0, np.nan, np.nan, np.nan)
        with np.errstate(over="ignore"):
            mean = float(image.mean(dtype=np.float64))
        return Survey(good, float(image.min()), float(image.max()), mean)  # filled pixels lie between good ones

    def whole(self, units: tuple[Unit, Unit], rounding: float) -> Level:
        """Return the level of full resolution."""
        for image, unit in zip(self._filled, units, strict=True):
            image *= image.dtype.type(unit.factor)
            image -= image.dtype.type(unit.pedestal)
        fixed, moving = self._filled
        return Level.of(fixed, moving, self._ignored[0], self._ignored[1], 1, rounding)


def phase_correlation(
    fixed: HostArray, moving: HostArray, mask: HostArray | None = None, moving_mask: HostArray | None = None
) -> HostArray:
    """Find the translation from the maximum of the phase correlation, to about a tenth of a pixel."""
    images = (fixed, mask), (moving, moving_mask)
    return definition.phase_correlation(*images, (fixed.shape, moving.shape), _centred, scipy.fft, np.asarray)


def _centred(image: tuple[HostArray, HostArray | None], windows: Sequence[HostArray], shape: Shape) -> HostArray:
    pixels, mask = image
    x = pixels.astype(np.float64)
    good = np.isfinite(x)
    if mask is not None:
        good &= ~mask
    mean = x[good].mean() if good.any() else 0.0
    out = np.zeros(shape)
    out[: x.shape[0], : x.shape[1]] = np.where(good, x - mean, 0.0) * np.outer(*windows)
    return out
