"""How positions are refined: methods, options, and the pixels that each method uses."""

from __future__ import annotations

import functools
import math
from typing import Final, NamedTuple

from npsubpix._definitions.constants import MOST_TIED

__all__ = ["ITERATIONS", "REFINEMENTS", "Refinement"]

#: Methods of refinement; None for the pixel itself.
REFINEMENTS: Final = ("quadratic", "parabola", "centroid", None)

#: Most iterations of each method where the caller gives no number. A fit moves pixel by pixel, and `max_shift` allows
#: few; the window of a centroid comes closer by a factor in each iteration.
ITERATIONS: Final = {"quadratic": 5, "parabola": 5, "centroid": 30, None: 1}

#: Radius of the window of a centroid, in standard deviations of its Gaussian weights.
_SIGMAS_OF_RADIUS: Final = 3.0

#: Least standard deviation of these weights, in pixels. Under a narrower window the centroid is drawn to its pixel: it
#: has a bias of 0.1 to 0.28 pixels (root mean square over the sub-pixel phase) at two thirds and at a third of a pixel.
_LEAST_SPREAD: Final = 1.0

#: Least pixels of the window on each side of its centre: two of its least standard deviations.
_LEAST_HALF_WIDTH: Final = 2

_ANY = 2**62  # more pixels than a plateau has


@functools.lru_cache(maxsize=64)
def _window(radius: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return standard deviations and half-widths along depth, rows and columns; 0 along the depth of an image."""
    spreads = [max(r / _SIGMAS_OF_RADIUS, _LEAST_SPREAD) for r in radius]
    half_widths = [max(math.ceil(r), _LEAST_HALF_WIDTH) for r in radius]
    return (0.0, *spreads)[-3:], (0, *half_widths)[-3:]


class Refinement(NamedTuple):
    """How a peak is refined from its pixel.

    Attributes
    ----------
    method : {"quadratic", "parabola", "centroid", None}
        Method.
    n_iters : int
        Most iterations.
    max_shift : float
        Furthest that a position may go from its pixel, in pixels on any axis; finite, so that kernels can count it.
    radius : tuple of floats
        Radius of the window of a centroid, per axis of the image.
    wrap : bool
        Whether the image is periodic.
    """

    method: str | None
    n_iters: int
    max_shift: float
    radius: tuple[float, ...]
    wrap: bool = False

    @property
    def spreads(self) -> tuple[float, ...]:
        """Standard deviation of the window of a centroid along depth, rows and columns."""
        return _window(self.radius)[0]

    @property
    def half_widths(self) -> tuple[int, ...]:
        """Pixels of the window of a centroid on each side of its centre, along depth, rows and columns."""
        return _window(self.radius)[1]

    @property
    def extent(self) -> tuple[int, ...]:
        """Pixels that the method uses on each side of a pixel, along depth, rows and columns."""
        if self.method is None:
            return 0, 0, 0
        if self.method == "centroid":  # the background is measured in a ring around the window
            return tuple(h + (h > 0) for h in self.half_widths)
        return int(len(self.radius) == 3), 1, 1

    def periods_around(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many pixels of a periodic image to repeat on each side, per axis, so that none is missing."""
        extent = self.extent[3 - len(shape) :]
        return tuple(e + math.ceil(min(self.max_shift, n)) + 1 for e, n in zip(extent, shape, strict=True))

    @property
    def widest_plateau(self) -> tuple[int, int, int, int]:
        """Most pixels of a plateau for which the method is valid, and its greatest lengths along z, y and x.

        A fit to the neighbours of a pixel needs a slope; a centroid a window with a pixel more on each side.
        """
        if self.method is None:
            return _ANY, _ANY, _ANY, _ANY
        if self.method == "centroid":
            z, y, x = (2 * h - 1 if h else _ANY for h in self.half_widths)
            return _ANY, z, y, x
        return MOST_TIED, _ANY, _ANY, _ANY
