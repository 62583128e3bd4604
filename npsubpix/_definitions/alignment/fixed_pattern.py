"""Fixed patterns: pixels that stand out from those around them at one place of both images, as hot pixels do.

They do not move with the scene, and hold a transform at the identity. Stars narrower than a pixel look alike, if they
did not move. The remaining pixels decide: they are aligned alone, and show whether the scene moved.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._definitions.alignment.gauss_newton import Outcome
from npsubpix._definitions.alignment.solutions import corners_of
from npsubpix._definitions.alignment.transforms import farthest, shifts_of
from npsubpix._definitions.dtypes import HostArray

__all__ = ["SHARPNESS", "deviation", "holds_the_transform", "is_held", "with_border"]

#: Least deviation of a pixel of a fixed pattern, in units of those of its eight neighbours, of which one may belong to
#: the pattern: a Gaussian spot at its centre has a standard deviation below 0.67 pixels.
SHARPNESS = 3.0

#: Distance in pixels, at any corner, up to which a transform may be held at the identity.
_NEAR = 1.0

#: Difference of shifts with and without the pattern, in standard errors and in pixels, that is no chance.
_SIGNIFICANT, _LEAST_SHIFT = 5.0, 0.01

#: Correlation that the noise allows, in units of the standard deviation of that of white noise, of images with texture.
_TEXTURED = 12.0


def deviation(x: Any, i: int, j: int) -> float:
    """Return the difference of a pixel from those two pixels away; 0 if more than one neighbour differs as well.

    The greatest and the least of those two pixels away do not count: they may belong to the pattern.
    """
    total, low, high = 0.0, math.inf, -math.inf
    for a in range(-2, 3, 2):
        for b in range(-2, 3, 2):
            if a != 0 or b != 0:
                value = float(x[i + a, j + b])
                total += value
                low, high = min(low, value), max(high, value)
    around = (total - low - high) / 6.0
    here = float(x[i, j]) - around
    similar = 0
    for a in range(-1, 2):
        for b in range(-1, 2):
            if (a != 0 or b != 0) and SHARPNESS * abs(float(x[i + a, j + b]) - around) >= abs(here):
                similar += 1
                if similar > 1:
                    return 0.0
    return here


def with_border(pattern: Any) -> Any:
    """Return a pattern with the pixels too near the border to tell."""
    pattern[:2] = pattern[-2:] = pattern[:, :2] = pattern[:, -2:] = True
    return pattern


def is_held(outcome: Outcome, shape: tuple[int, ...]) -> bool:
    """Whether a fixed pattern may hold a transform: it is near the identity."""
    return outcome.flags == 0 and farthest(outcome.matrix, np.eye(3), corners_of(shape)) < _NEAR


def holds_the_transform(outcome: Outcome, without: Outcome, shape: tuple[int, ...]) -> bool:
    """Whether images are aligned otherwise without the pattern, or show a texture that is not alike."""
    if without.flags:
        textured = without.attainable * math.sqrt(without.pixels) > _TEXTURED
        return textured and without.correlation < 0.5 * without.attainable
    shifts = shifts_of(len(outcome.covariance))
    variance = sum(np.diag(each.covariance)[shifts] for each in (outcome, without))
    difference = _centre_moved(without.matrix, shape) - _centre_moved(outcome.matrix, shape)
    significant = difference**2 > _SIGNIFICANT**2 * variance
    return bool(significant.any() and np.hypot(*difference) > _LEAST_SHIFT)


def _centre_moved(matrix: HostArray, shape: tuple[int, ...]) -> HostArray:
    moved = matrix @ [0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1), 1.0]
    return np.asarray(moved[:2] / moved[2])
