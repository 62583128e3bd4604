"""B-spline filters: poles, borders, and the padding of images whose border extension a filter does not have.

A pixel that is not finite would spoil whole lines. It is filled before filtering by the mean of the nearest good pixels
in all directions, along axes and diagonals, weighted by 1 over their distance. Its coefficient is NaN.

Source: Unser, Aldroubi and Eden, "B-spline signal processing: part II", IEEE Transactions on Signal Processing 41
(1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, TypeVar

from npsubpix._definitions.sampling.borders import GRID_WRAP, MIRROR, REFLECT

__all__ = [
    "FILL_REACH",
    "POLES",
    "SMALLEST_POWER",
    "filter_rule",
    "gain_of",
    "prefilter_padding",
    "spline_degree",
    "transposed",
]

Array = TypeVar("Array")

#: Poles of the filters, by degree.
POLES: Final = {
    2: (math.sqrt(8) - 3,),
    3: (math.sqrt(3) - 2,),
    4: (
        math.sqrt(664 - math.sqrt(438976)) + math.sqrt(304) - 19,
        math.sqrt(664 + math.sqrt(438976)) - math.sqrt(304) - 19,
    ),
    5: (
        math.sqrt(67.5 - math.sqrt(4436.25)) + math.sqrt(26.25) - 6.5,
        math.sqrt(67.5 + math.sqrt(4436.25)) - math.sqrt(26.25) - 6.5,
    ),
}

#: Powers of a pole below this are neglected in sums over the border extension.
SMALLEST_POWER: Final = 1e-17

#: Steps in each direction within which good pixels are sought for the fill of a bad one: what is further away has no
#: effect through the filters.
FILL_REACH: Final = 32

_PADDING = 12
_PADDED_MODES = ("nearest", "grid-constant")
_FILTER_RULES = {"reflect": REFLECT, "grid-mirror": REFLECT, "nearest": REFLECT, "grid-wrap": GRID_WRAP}


def gain_of(pole: float) -> float:
    """Return the factor that makes a filter with this pole keep constant images."""
    return (1 - pole) * (1 - 1 / pole)


def filter_rule(mode: str) -> int:
    """Return the border rule of a filter, one of MIRROR, REFLECT and GRID_WRAP; other modes are taken for MIRROR."""
    return _FILTER_RULES.get(mode, MIRROR)


def spline_degree(name: str) -> int:
    """Return the degree of a method that needs a filtered image, 0 for any other."""
    return int(name.removeprefix("bspline")) if name.startswith("bspline") else 0


def prefilter_padding(degree: int, mode: str) -> int:
    """Return the pixels to add at each end of an axis before filtering, as SciPy does, where filters lack the mode."""
    return _PADDING if degree and mode in _PADDED_MODES else 0


def transposed(
    filtered: Callable[[Array], Array], with_scaled_ends: Callable[[Array, float], Array], x: Array, mode: str
) -> Array:
    """Apply the transpose of a filter.

    The filter is the inverse of a matrix that is symmetric, except with mirrored borders: that matrix becomes
    symmetric when the rows of the outermost pixels are halved.
    """
    if filter_rule(mode) != MIRROR:
        return filtered(x)
    return with_scaled_ends(filtered(with_scaled_ends(x, 2.0)), 0.5)
