"""Normal equations of image alignment, from sums of products of few signals over pixels.

The signals are the gradient of one image along y and x, divided by the depth of the projected point; minus the scalar
product of this gradient with the position of that point from the centre; the fixed image F; 1; the residual r; and
the first three again, for the other image. Each signal is multiplied by 1, x and y, which makes 27 features. The
derivative of the residual with respect to any parameter is a linear combination of features.
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
    "Comparison",
    "Equations",
    "Likeness",
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


def combinations(basis: HostArray, shape: tuple[int, ...], brightness: bool, crossed: bool) -> HostArray:
    """Return the derivatives with respect to parameters, gain and bias, then the residual, as rows of features."""
    centre = np.eye(3)
    centre[:2, 2] = [0.5 * (n - 1) for n in shape]
    about_centre = np.linalg.inv(centre) @ basis @ centre
    rows = np.zeros((len(basis) + 2 * brightness + 1, SIGNALS, 3))
    first = CROSSED if crossed else 0
    rows[: len(basis), first : first + 3] = about_centre[:, :, [2, 1, 0]]
    if brightness:
        rows[-3, FIXED, 0] = rows[-2, ONE, 0] = -1
    rows[-1, RESIDUAL, 0] = 1
    return rows.reshape(len(rows), -1)


class Comparison(NamedTuple):
    """Comparison of both images in one iteration."""

    matrix: HostArray
    overlap: HostArray  # matrix by which the pixels compared are chosen
    gain: float
    bias: float
    loss: int
    use: int  # of the weights
    residual_scale: float  # times the tuning constant of the loss function
    inverse: bool  # by the gradient of the fixed image instead of that of the moving one
    brightness: bool  # sum products with the fixed image and with 1 too
    crossed: bool  # sum crossed products too
    gain_bias: bool  # whether gain and bias are parameters: their products with the others count


class Equations(NamedTuple):
    """Normal equations for the Jacobian J of the residuals r, and sums over the pixels compared.

    The last two parameters are gain and bias, if the sums have the brightness of the images.
    """

    products: HostArray  # J'J
    right: HostArray  # J'r
    weight: float  # sum of weights
    squares: float  # sum of weighted squares of residuals
    pixels: float  # number of pixels
    crossed: HostArray | None  # J'J with one J from the gradient of the moving image
    scores: Equations | None = None  # those weighed for scores, where a backend sums them in the same pass

    def of_first(self, count: int) -> Equations:
        """Return the equations of the first parameters alone."""
        crossed = None if self.crossed is None else self.crossed[:count, :count]
        scores = None if self.scores is None else self.scores.of_first(count)
        return self._replace(
            products=self.products[:count, :count], right=self.right[:count], crossed=crossed, scores=scores
        )


class Likeness(NamedTuple):
    """Noise of the pixels compared, and by how many of them the images correlate."""

    fixed: float  # variance of the noise of the fixed image
    moving: float  # and of the moving one
    pixels: float  # squared sum of products of both, less their means, over the sum of squared products

    @classmethod
    def of(cls, sums: HostArray) -> Likeness:
        """Return it from sums over pixels: squared noise of both, 1, products of both, and squared products."""
        fixed, moving, count, product, square = sums.tolist()
        if count == 0:
            return cls(0.0, 0.0, 0.0)
        return cls(fixed / count, moving / count, product * product / square if square > 0 else 0.0)

    def on_level(self, whole: Likeness | None, scale: int) -> Likeness:
        """Return it with no more noise than means of pixels of the whole images have.

        Structures as narrow as the pixels of a level are no noise there.
        """
        if whole is None:
            return self
        fixed, moving = (value / scale**2 for value in whole[:2])
        return self._replace(fixed=min(self.fixed, fixed), moving=min(self.moving, moving))

    def noise_of_residuals(self, gain: float, share: float) -> float:
        """Return the variance of residuals of images that differ by noise alone, with a share of the moving image's."""
        return gain * gain * self.fixed + share * self.moving


def equations_of(
    gram: HostArray,
    basis: HostArray,
    shape: tuple[int, ...],
    brightness: bool,
    crossed: bool,
    weight: float,
    count: float,
) -> Equations:
    """Return the normal equations from sums of products of features, an array of shape (27, 27)."""
    rows = combinations(basis, shape, brightness, False)
    left = (rows[:, :, None] * gram[None]).sum(1)  # without BLAS, whose threads get in the way
    products = (left[:, None] * rows[None]).sum(-1)
    across = None
    if crossed:
        across = (left[:-1, None] * combinations(basis, shape, brightness, True)[None, :-1]).sum(-1)
    return Equations(products[:-1, :-1], products[:-1, -1], weight, products[-1, -1], count, across)
