"""How positions are refined: methods, options, and the pixels that each method uses."""

from __future__ import annotations

import functools
import math
from typing import Final, NamedTuple

__all__ = ["REFINEMENTS", "Refinement"]

#: Methods of refinement; None for the pixel itself.
REFINEMENTS: Final = ("quadratic", "parabola", "centroid", None)

#: Radius of the window of a centroid, in standard deviations of its Gaussian weights.
_SIGMAS_OF_RADIUS: Final = 3.0


@functools.lru_cache(maxsize=64)
def _window(radius: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return standard deviations and half-widths along depth, rows and columns; 0 along the depth of an image."""
    radii = (0.0, *map(float, radius))[-3:]
    return tuple(r / _SIGMAS_OF_RADIUS for r in radii), tuple(math.ceil(r) for r in radii)


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
    """

    method: str | None
    n_iters: int
    max_shift: float
    radius: tuple[float, ...]

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
