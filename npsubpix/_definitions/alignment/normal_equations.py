"""Normal equations of image alignment, from sums of products of few signals over pixels.

The signals are the gradient of one image (along y and x, over the depth of the projected point), minus
its product with the projected point, F, 1 and r, and the first three once more, of the other image. Each
is there times 1, x and y: 27 features. What changes with a parameter is a combination of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npsubpix._definitions.shapes import HostArray

__all__ = ["CROSSED", "FIXED", "ONE", "RESIDUAL", "SIGNALS", "Equations", "combinations", "equations_of", "margin_of"]

#: Signals, in this order; the projected point is only there for transforms with perspective, F and 1 for gain and bias.
FIXED, ONE, RESIDUAL = 3, 4, 5
CROSSED = 6  # the first three once more, of the moving image where the fixed one's are the others
SIGNALS = 9

#: Pixels at the border of the moving image that are not compared, unless it is small: splines are less exact there.
_MARGIN = 4


def margin_of(shape: tuple[int, ...]) -> int:
    """Return how many pixels at the border of a moving image of this shape are not compared."""
    return _MARGIN if min(shape) >= 8 * _MARGIN else 1


def combinations(basis: HostArray, shape: tuple[int, ...], gain_bias: bool, crossed: bool) -> HostArray:
    """Write derivatives by parameters, gain and bias, and the residual, as combinations (K, signals, (1, x, y))."""
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
    """Normal equations and what belongs to them."""

    products: HostArray  # J'J
    right: HostArray  # J'r
    weight: float  # the sum of weights
    squares: float  # the sum of weighted squares of residuals
    pixels: float
    crossed: HostArray | None  # J'J with J of the moving image in place of one


def equations_of(
    gram: HostArray,
    basis: HostArray,
    shape: tuple[int, ...],
    gain_bias: bool,
    crossed: bool,
    weight: float,
    count: float,
) -> Equations:
    """Combine sums of products of features (27, 27), of which only those are looked at that are asked for."""
    rows = combinations(basis, shape, gain_bias, False)
    left = (rows[:, :, None] * gram[None]).sum(1)  # without BLAS, whose threads get in the way
    products = (left[:, None] * rows[None]).sum(-1)
    across = None
    if crossed:
        across = (left[:-1, None] * combinations(basis, shape, gain_bias, True)[None, :-1]).sum(-1)
    return Equations(products[:-1, :-1], products[:-1, -1], weight, products[-1, -1], count, across)
