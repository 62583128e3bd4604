"""Shapes that residuals have where a spot is not of its model.

A shape is a Gaussian of the position and width of the fit times a polynomial: of second order where the spot is
elongated, as two spots at a short distance are; of third order where it is skew, as with a fainter neighbour; of fourth
order where its wings are wider. Each is a score test: with weights w and residuals r, a shape h has the significance
(sum w r h)**2 / sum w h**2, and those of all shapes add up. It is at most that of chi-squared with as many degrees of
freedom, since the parameters of the fit have taken their part of r. Where the noise is not known, the variance of the
sum is that for noise that is equal everywhere or for noise whose variance is the signal, whichever is greater, scaled
to the residuals.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ELONGATED", "MISFITS", "flat_shapes"]

#: How many shapes, the first ones, are those of an elongated spot.
ELONGATED: Final = 2

#: Terms of each shape: a factor, and the orders of Hermite's polynomials along z, y and x. Terms with an order along z
#: are for volumes alone, and shapes of such terms alone come last.
MISFITS: Final = (
    ((1, 0, 1, 1),),  # elongated along a diagonal
    ((1, 0, 2, 0), (-1, 0, 0, 2)),  # along y or x
    ((1, 0, 3, 0),),  # skew
    ((1, 0, 0, 3),),
    ((1, 0, 2, 1),),
    ((1, 0, 1, 2),),
    ((1, 0, 4, 0), (1, 0, 0, 4), (2, 0, 2, 2), (1, 4, 0, 0), (2, 2, 2, 0), (2, 2, 0, 2)),  # with other wings
    ((1, 0, 2, 0), (1, 0, 0, 2), (1, 2, 0, 0)),  # of another width, where that is fixed
    ((1, 1, 1, 0),),
    ((1, 1, 0, 1),),
    ((1, 3, 0, 0),),
)


def flat_shapes() -> int:
    """Return how many shapes images have."""
    return sum(any(term[1] == 0 for term in shape) for shape in MISFITS)
