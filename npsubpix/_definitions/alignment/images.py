"""Two images to align, wherever they are: checks of their content, the start, and the levels of their pyramids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from npsubpix._definitions.alignment.gauss_newton import Level, Options, Outcome, aligned, nothing_to_align
from npsubpix._definitions.dtypes import HostArray
from npsubpix._definitions.flags import AlignmentFlags

__all__ = ["FILLINGS", "Images", "Survey", "align_images", "count_levels"]

#: Number of times that each bad pixel is replaced by the mean of its neighbours, after the nearest good one.
FILLINGS = 16

#: Least side of the coarsest level, in pixels, where the caller does not choose the number of levels.
_LEAST_SIDE = 32

#: Least side of a level that is halved again, in pixels, where the caller chooses the number of levels.
_LEAST_HALVED = 16

#: Least side of images that can be aligned, in pixels.
_LEAST_ALIGNED = 4

#: Range of an image, in units of the rounding of its greatest pixel, that is nothing but rounding.
_LEAST_RANGE = 16.0


class Survey(NamedTuple):
    """Number of the good pixels of an image, finite and not masked, and the least and the greatest of them."""

    good: int
    low: float
    high: float

    @property
    def greatest(self) -> float:
        """Greatest absolute value."""
        return max(abs(self.low), abs(self.high))


class Images(Protocol):
    """Both images."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the fixed image and of the moving one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in which the images are compared."""

    def phase_correlation(self) -> HostArray:
        """Return the matrix of the translation at the maximum of the phase correlation."""

    def surveys(self) -> tuple[Survey, Survey]:
        """Survey the fixed image and the moving one."""

    def whole(self, rounding: float) -> Level:
        """Return the level of full resolution, with bad pixels filled."""


def align_images(images: Images, init: HostArray | str | None, options: Options) -> Outcome:
    """Align two images from a matrix, from the identity, or from the maximum of the phase correlation."""
    side = min(n for shape in images.shapes for n in shape)
    if isinstance(init, str):
        init = images.phase_correlation() if side > 0 else None
    matrix = np.eye(3) if init is None else init
    if side < _LEAST_ALIGNED:
        return nothing_to_align(options, matrix, int(AlignmentFlags.NO_OVERLAP))
    surveys = images.surveys()
    epsilon = float(np.finfo(images.dtype).eps)
    problem = _problem(surveys, epsilon)
    if problem:
        return nothing_to_align(options, matrix, int(problem))
    levels = [images.whole(epsilon * surveys[0].greatest)]
    for _ in range(count_levels(side, options.levels) - 1):
        levels.append(levels[-1].halved())
    return aligned(levels[::-1], options, matrix)


def _problem(surveys: Sequence[Survey], epsilon: float) -> AlignmentFlags:
    """Return the flag of images without good pixels or without texture, 0 for others."""
    if any(survey.good == 0 for survey in surveys):
        return AlignmentFlags.NO_OVERLAP
    if any(survey.high - survey.low <= _LEAST_RANGE * epsilon * survey.greatest for survey in surveys):
        return AlignmentFlags.NO_TEXTURE
    return AlignmentFlags(0)


def count_levels(side: int, levels: int | None) -> int:
    """Return the number of levels of images with this least side."""
    if levels is None:
        return 1 + max(0, int(math.log2(side / _LEAST_SIDE))) if side >= _LEAST_SIDE else 1
    count = 1
    while count < levels and side >= _LEAST_HALVED:
        side, count = side // 2, count + 1
    return count
