"""Solutions of the normal equations of image alignment, and the reasons why there is none."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._definitions.alignment.normal_equations import Equations
from npsubpix._definitions.dtypes import HostArray
from npsubpix._definitions.flags import AlignmentFlags

__all__ = ["corners_of", "inverse", "is_sensitive", "problem_of", "relative_offset", "significance_of", "solve"]

#: Gradient of an image, in units of the rounding of its pixels, that is nothing but rounding.
_LEAST_GRADIENT = 16.0

#: Least number of pixels that a level is aligned by.
_LEAST_PIXELS = 16

#: Ratio of the least to the greatest eigenvalue of the scaled normal equations, below which there is no solution.
_SINGULAR = 1e-9

#: Least ratio of the smallest eigenvalue of the crossed products to that of the others, in units of its standard
#: deviation for images of noise alone. Below it, a shift has a standard error of more than about 0.12 pixels of a
#: level, over which the products change: they say neither how to go on nor how far the solution is.
_LEAST_SIGNAL = 7.0


def corners_of(shape: tuple[int, ...]) -> HostArray:
    """Return the corners (y, x, 1) of an image."""
    return np.array([[y, x, 1.0] for y in (0, shape[0] - 1) for x in (0, shape[1] - 1)])


def problem_of(shape: tuple[int, ...], rounding: float, basis: HostArray, e: Equations) -> int:
    """Return the flag of normal equations that cannot be solved, 0 for others.

    `rounding` is that of the greatest pixel of the fixed image.
    """
    products, count = e.products, e.pixels
    if count < max(_LEAST_PIXELS, 2 * len(e.right)):
        return int(AlignmentFlags.NO_OVERLAP)
    if not (np.isfinite(products).all() and np.isfinite(e.right).all()):
        return int(AlignmentFlags.NONFINITE)
    scale = np.sqrt(np.diag(products))
    corners = corners_of(shape)
    moves = np.linalg.norm(basis[:, :2] @ corners.T, axis=1).max(-1)  # of a corner, by a unit of each parameter
    moves += np.abs(basis[:, 2] @ corners.T).max(-1) * max(shape)
    noise = _LEAST_GRADIENT * rounding
    if not (scale[: len(basis)] > noise * moves * math.sqrt(count)).all() or not (scale > 0).all():
        return int(AlignmentFlags.NO_TEXTURE)
    eigenvalues = np.linalg.eigvalsh(products / np.outer(scale, scale))
    return int(AlignmentFlags.NO_TEXTURE) if eigenvalues[0] < _SINGULAR * eigenvalues[-1] else 0


def is_sensitive(e: Equations) -> bool:
    """Whether residuals change with the parameters by more than chance."""
    return significance_of(e) > _LEAST_SIGNAL


def significance_of(e: Equations) -> float:
    """Return the least ratio of the crossed products to the others, in standard deviations of that of noise."""
    if e.crossed is None or not np.isfinite(e.crossed).all() or not (np.diag(e.products) > 0).all():
        return 0.0  # of a loss function that falls, products are negative where most of the texture is an outlier
    scale = 1 / np.sqrt(np.diag(e.products))
    part = e.crossed * np.outer(scale, scale)
    whole = np.linalg.eigvalsh(e.products * np.outer(scale, scale))
    least = float(np.linalg.eigvalsh(0.5 * (part + part.T))[0])
    return least / float(whole[0]) * math.sqrt(e.pixels) if whole[0] > 0 else 0.0


def relative_offset(e: Equations, step: HostArray) -> float:
    """Return the distance to the solution in standard errors, from a step of the equations."""
    variance = e.squares / e.weight if e.weight > 0 else 0.0
    return math.sqrt(max(float(-(step * e.right).sum()), 0.0) / variance) if variance > 0 else 0.0


def solve(products: HostArray, right: HostArray) -> HostArray:
    """Solve normal equations whose parameters have different units."""
    scale = 1 / np.sqrt(np.abs(np.diag(products)))
    solution: HostArray = scale * np.linalg.solve(products * np.outer(scale, scale), scale * right)
    return solution


def inverse(products: HostArray) -> HostArray:
    """Invert the matrix of such equations."""
    scale = 1 / np.sqrt(np.abs(np.diag(products)))
    inverted: HostArray = np.linalg.inv(products * np.outer(scale, scale)) * np.outer(scale, scale)
    return inverted
