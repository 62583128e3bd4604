"""Direct alignment of images on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

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

#: No mask.
_NONE = np.zeros((0, 0), bool)


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
        image = x.astype(self.dtype, copy=False)
        good, ignored = image.size, _NONE
        low, high = image.min(), image.max()
        if mask is not None or not (np.isfinite(low) and np.isfinite(high)):
            bad = ~np.isfinite(x) if mask is None else ~np.isfinite(x) | mask
            good -= int(np.count_nonzero(bad))
            if good < image.size:
                image, ignored = filled(image.copy(), bad), grown(bad)
                low, high = image.min(), image.max()  # filled pixels lie between good ones
        self._filled.append(image)
        self._ignored.append(ignored)
        if not good:
            return Survey(0, np.nan, np.nan, np.nan)
        with np.errstate(over="ignore"):
            mean = float(image.mean(dtype=np.float64))
        return Survey(good, float(low), float(high), mean)

    def whole(self, units: tuple[Unit, Unit], rounding: float) -> Level:
        """Return the level of full resolution."""
        first, second = self._filled
        both = np.empty(first.size + second.size, self.dtype)  # in one piece, which takes large pages of memory
        fixed, moving = both[: first.size].reshape(first.shape), both[first.size :].reshape(second.shape)
        for image, x, unit in zip((fixed, moving), self._filled, units, strict=True):
            np.multiply(x, self.dtype.type(unit.factor), out=image)
            image -= self.dtype.type(unit.pedestal)
        return Level.of(fixed, moving, self._ignored[0], self._ignored[1], 1, rounding)


def phase_correlation(
    fixed: HostArray, moving: HostArray, mask: HostArray | None = None, moving_mask: HostArray | None = None
) -> HostArray:
    """Find the translation from the maximum of the phase correlation, to about a tenth of a pixel."""
    import scipy.fft  # 0.2 s that few alignments need

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
