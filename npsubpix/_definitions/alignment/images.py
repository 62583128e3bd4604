"""Two images to align, wherever they are: checks of their content, the start, and the levels of their pyramids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from npsubpix._definitions.alignment.fixed_pattern import holds_the_transform, is_held
from npsubpix._definitions.alignment.gauss_newton import Level, Options, Outcome, aligned, nothing_to_align
from npsubpix._definitions.dtypes import HostArray
from npsubpix._definitions.flags import AlignmentFlags

__all__ = ["FILLINGS", "Images", "Survey", "Unit", "align_images", "count_levels"]

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
    """Number of the good pixels of an image, finite and not masked, and their least, greatest and mean value."""

    good: int
    low: float
    high: float
    mean: float

    @property
    def greatest(self) -> float:
        """Greatest absolute value."""
        return max(abs(self.low), abs(self.high))


class Unit(NamedTuple):
    """Unit in which an image is compared: its pixels, times two to the power of the exponent, less the pedestal.

    Without it squares of very small or very large pixels would leave the range of floats, and those of small
    differences between large pixels would be lost in rounding.
    """

    exponent: int
    pedestal: float

    @property
    def factor(self) -> float:
        """Two to the power of the exponent."""
        return math.ldexp(1.0, self.exponent)

    def gain_bias_to(self, other: Unit, gain: float, bias: float) -> tuple[float, float]:
        """Convert a gain and a bias, from this image to another, to those between the pixels themselves."""
        gain = math.ldexp(gain, self.exponent - other.exponent)
        return gain, (bias + other.pedestal) / other.factor - gain * self.pedestal / self.factor


def units_of(surveys: Sequence[Survey], dtype: np.dtype[Any], gain_bias: bool) -> tuple[Unit, Unit]:
    """Return the units of the fixed and of the moving image: one for both, unless gain and bias are estimated."""
    fixed, moving = surveys
    if gain_bias:
        return _unit(fixed, fixed.greatest, dtype), _unit(moving, moving.greatest, dtype)
    unit = _unit(fixed, max(fixed.greatest, moving.greatest), dtype)
    return unit, unit


def _unit(survey: Survey, greatest: float, dtype: np.dtype[Any]) -> Unit:
    most = np.finfo(dtype).maxexp - 8  # two to this power, and one over it, are floats
    exponent = min(max(-math.frexp(greatest)[1], -most), most)
    mean = survey.mean if math.isfinite(survey.mean) else 0.5 * survey.low + 0.5 * survey.high
    return Unit(exponent, math.ldexp(mean, exponent))


class Images(Protocol):
    """Both images."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the fixed image and of the moving one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in which the images are compared."""

    def without_fixed_pattern(self) -> Images | None:
        """Return the images with the pixels of a fixed pattern masked in both, None if there is no pattern."""

    def phase_correlation(self) -> HostArray:
        """Return the matrix of the translation at the maximum of the phase correlation."""

    def surveys(self) -> tuple[Survey, Survey]:
        """Survey the fixed image and the moving one."""

    def whole(self, units: tuple[Unit, Unit], rounding: float) -> Level:
        """Return the level of full resolution, in these units, with bad pixels filled."""


def align_images(images: Images, init: HostArray | str | None, options: Options) -> Outcome:
    """Align two images from a matrix, from the identity, or from the maximum of the phase correlation.

    A transform near the identity is compared with that of the pixels that belong to no fixed pattern.
    """
    outcome = _aligned(images, init, options)
    fixed, moving = images.shapes
    if fixed == moving and is_held(outcome, fixed):
        others = images.without_fixed_pattern()
        if others is not None and holds_the_transform(outcome, _aligned(others, init, options), fixed):
            outcome.flags |= int(AlignmentFlags.FIXED_PATTERN)
    return outcome


def _aligned(images: Images, init: HostArray | str | None, options: Options) -> Outcome:
    """Align two images, whatever their pixels belong to."""
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
    fixed, moving = units = units_of(surveys, images.dtype, options.gain_bias)
    levels = [images.whole(units, epsilon * surveys[0].greatest * fixed.factor)]
    for _ in range(count_levels(side, options.levels) - 1):
        levels.append(levels[-1].halved())
    outcome = aligned(levels[::-1], options, matrix)
    outcome.rms, outcome.noise = outcome.rms / moving.factor, outcome.noise / moving.factor
    if options.gain_bias:
        outcome.gain, outcome.bias = fixed.gain_bias_to(moving, outcome.gain, outcome.bias)
    return outcome


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
