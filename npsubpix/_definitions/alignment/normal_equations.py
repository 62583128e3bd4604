"""Normal equations of image alignment, from sums of products of few signals over pixels.

The signals are the gradient of one image along y and x, divided by the depth of the projected point; minus the
product of this gradient with the projected point; the fixed image F; 1; the residual r; and the first three again,
for the other image. Each signal is multiplied by 1, x and y, which makes 27 features. The derivative of the residual
with respect to any parameter is a linear combination of features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npsubpix._definitions.dtypes import HostArray

__all__ = [
    "CROSSED",
    "FIXED",
    "ONE",
    "PROJECTED",
    "RESIDUAL",
    "SIGNALS",
    "Equations",
    "combinations",
    "equations_of",
    "has_perspective",
    "margin_of",
]

#: Signals, in this order, after the gradient along y and x. The product with the projected point is needed for
#: transforms with perspective only, F and 1 for gain and bias.
PROJECTED, FIXED, ONE, RESIDUAL = 2, 3, 4, 5
CROSSED = 6  # the first three again, of the moving image where the others are of the fixed one
SIGNALS = 9

#: Pixels at the border of the moving image that are not compared, unless it is small: splines are less exact there.
_MARGIN = 4


def has_perspective(basis: HostArray, matrix: HostArray) -> bool:
    """Whether the depth of projected points differs from 1, or changes with a parameter."""
    return bool(basis[:, 2].any() or matrix[2, :2].any() or matrix[2, 2] != 1)


def margin_of(shape: tuple[int, ...]) -> int:
    """Return the number of pixels at each border of a moving image that are not compared."""
    return _MARGIN if min(shape) >= 8 * _MARGIN else 1


def combinations(basis: HostArray, shape: tuple[int, ...], gain_bias: bool, crossed: bool) -> HostArray:
    """Return the derivatives with respect to parameters, gain and bias, then the residual, as rows of features."""
    centre = np.eye(3)
    centre[:2, 2] = [0.5 * (n - 1) for n in shape]
    about_centre = np.linalg.inv(centre) @ basis @ centre
    rows = np.zeros((len(basis) + 2 * gain_bias + 1, SIGNALS, 3))
    first = CROSSED if crossed else 0
    rows[: len(basis), first : first + 3] = about_centre[:, :, [2, 1, 0]]
    if gain_bias:
        rows[-3, FIXED, 0] = rows[-2, ONE, 0] = -1
    rows[-1, RESIDUAL, 0] = 1
    return rows.reshape(len(rows), -1)


class Equations(NamedTuple):
    """Normal equations for the Jacobian J of the residuals r, and sums over the pixels compared."""

    products: HostArray  # J'J
    right: HostArray  # J'r
    weight: float  # sum of weights
    squares: float  # sum of weighted squares of residuals
    pixels: float  # number of pixels
    crossed: HostArray | None  # J'J with one J from the gradient of the moving image


def equations_of(
    gram: HostArray,
    basis: HostArray,
    shape: tuple[int, ...],
    gain_bias: bool,
    crossed: bool,
    weight: float,
    count: float,
) -> Equations:
    """Return the normal equations from sums of products of features, an array of shape (27, 27)."""
    rows = combinations(basis, shape, gain_bias, False)
    left = (rows[:, :, None] * gram[None]).sum(1)  # without BLAS, whose threads get in the way
    products = (left[:, None] * rows[None]).sum(-1)
    across = None
    if crossed:
        across = (left[:-1, None] * combinations(basis, shape, gain_bias, True)[None, :-1]).sum(-1)
    return Equations(products[:-1, :-1], products[:-1, -1], weight, products[-1, -1], count, across)
