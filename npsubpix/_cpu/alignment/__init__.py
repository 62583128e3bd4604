"""Direct alignment of images on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from npsubpix._arrays.checks import check_pixels_below
from npsubpix._arrays.library import HostArray
from npsubpix._cpu.alignment.levels import Level, filled, grown
from npsubpix._cpu.sampling.interior import MOST
from npsubpix._definitions.alignment import phase_correlation as definition
from npsubpix._definitions.alignment.gauss_newton import Options, Outcome
from npsubpix._definitions.alignment.images import Survey, align_images
from npsubpix._definitions.dtypes import promoted

__all__ = ["align", "phase_correlation"]


def align(
    fixed: HostArray, moving: HostArray, mask: HostArray | None, *, init: HostArray | str | None, options: Options
) -> Outcome:
    """Find the matrix that takes pixels of the fixed image to positions in the moving one."""
    check_pixels_below(moving, MOST, "moving")
    return align_images(_Images(fixed, moving, mask), init, options)


class _Images:
    """Both images, with bad pixels filled once their content is surveyed."""

    def __init__(self, fixed: HostArray, moving: HostArray, mask: HostArray | None) -> None:
        self._fixed, self._moving, self._mask = fixed, moving, mask
        self._filled: list[HostArray] = []
        self._masks: list[HostArray] = []
        self.shapes = fixed.shape, moving.shape
        self.dtype: np.dtype[Any] = promoted(fixed.dtype, moving.dtype)

    def phase_correlation(self) -> HostArray:
        """Return the matrix of the translation at the maximum of the phase correlation."""
        return phase_correlation(self._fixed, self._moving)

    def surveys(self) -> tuple[Survey, Survey]:
        """Fill the bad pixels of both images, and survey them."""
        return self._survey(self._fixed, self._mask), self._survey(self._moving, None)

    def _survey(self, x: HostArray, mask: HostArray | None) -> Survey:
        bad = ~np.isfinite(x)
        if mask is not None:
            bad |= mask
        good = int(bad.size - np.count_nonzero(bad))
        image = filled(x.astype(self.dtype), bad)
        self._filled.append(image)
        self._masks.append(grown(bad) if good < bad.size else np.zeros((0, 0), bool))
        # Filled pixels lie between good ones
        return Survey(good, float(image.min()), float(image.max())) if good else Survey(0, np.nan, np.nan)

    def whole(self, rounding: float) -> Level:
        """Return the level of full resolution."""
        return Level.of(self._filled[0], self._filled[1], self._masks[0], self._masks[1], 1, rounding)


def phase_correlation(fixed: HostArray, moving: HostArray) -> HostArray:
    """Find the translation from the maximum of the phase correlation, to about a tenth of a pixel."""
    return definition.phase_correlation(fixed, moving, _windowed, scipy.fft, np.asarray)


def _windowed(x: HostArray, shape: tuple[int, int]) -> HostArray:
    x = x.astype(np.float64)
    finite = np.isfinite(x)
    mean = x[finite].mean() if finite.any() else 0.0
    out = np.zeros(shape)
    out[: x.shape[0], : x.shape[1]] = np.where(finite, x - mean, 0.0)
    rows, columns = (definition.hann_window(n) for n in x.shape)
    out[: x.shape[0], : x.shape[1]] *= np.outer(rows, columns)
    return out
