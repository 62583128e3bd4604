"""How positions are refined: methods, options, and the pixels that each method uses."""

from __future__ import annotations

import functools
import math
from typing import Any, Final, NamedTuple

from npsubpix._definitions.constants import MOST_TIED
from npsubpix._definitions.fitting import Columns, Fit, Model
from npsubpix._definitions.flags import REJECTED, FitFlags, PeakFlags

__all__ = ["ITERATIONS", "REFINEMENTS", "Refinement", "peaks_of_fits"]

#: Methods of refinement; None for the pixel itself.
REFINEMENTS: Final = ("quadratic", "parabola", "centroid", "fit", None)

#: Most iterations of each method where the caller gives no number. A fit moves pixel by pixel, and `max_shift` allows
#: few; the window of a centroid comes closer by a factor in each iteration.
ITERATIONS: Final = {"quadratic": 5, "parabola": 5, "centroid": 30, "fit": 50, None: 1}

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
    method : {"quadratic", "parabola", "centroid", "fit", None}
        Method.
    n_iters : int
        Most iterations.
    max_shift : float
        Furthest that a position may go from its pixel, in pixels on any axis; finite, so that kernels can count it.
    radius : tuple of floats
        Radius of the window of a centroid, or of the box of a fit, per axis of the image.
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
    def fit(self) -> Fit:
        """Fit of a Gaussian, for ``"fit"``, in a box of this radius."""
        axes = len(self.radius)
        box = tuple(2 * max(math.ceil(r), _LEAST_HALF_WIDTH) + 1 for r in self.radius)
        return Fit(Model(axes, "free", False), "lsq", (0.0,) * axes, box, self.n_iters, self.max_shift)

    @property
    def extent(self) -> tuple[int, ...]:
        """Pixels that the method uses on each side of a pixel, along depth, rows and columns."""
        if self.method is None:
            return 0, 0, 0
        if self.method == "fit":
            return (0, *((length - 1) // 2 for length in self.fit.box))[-3:]
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
        if self.method in ("centroid", "fit"):
            z, y, x = (2 * h - 1 if h else _ANY for h in self.half_widths)
            return _ANY, z, y, x
        return MOST_TIED, _ANY, _ANY, _ANY


#: Flags of peaks for those of fits that could not be made.
_OF_FITS: Final = (
    (FitFlags.NOT_CONVERGED, PeakFlags.NOT_CONVERGED),
    (FitFlags.SINGULAR | FitFlags.NEGATIVE_FLUX, PeakFlags.SINGULAR),
    (FitFlags.NONFINITE, PeakFlags.NONFINITE),
    (FitFlags.TOO_FAR, PeakFlags.TOO_FAR),
)


def peaks_of_fits(x: Any, images: Any, starts: Any, results: Any) -> tuple[Any, Any, Any]:
    """Return positions, values and flags of peaks from the results of fits that began at pixels of a stack.

    The value is that of the fitted Gaussian at its centre. A spot that could not be fitted keeps its pixel.
    """
    count, shape = len(Columns._fields), x.shape[1:]
    columns, found_flags = Columns(*results[:count]), results[count + 2]
    inside = (images >= 0) & (images < x.shape[0])
    places = [images.clip(0, x.shape[0] - 1)]
    for axis, length in enumerate(shape):
        inside = inside & (starts[:, axis] >= 0) & (starts[:, axis] < length)
        places.append(starts[:, axis].clip(0, length - 1))
    sigma = columns.sigma[:, None] + 0 * columns.coords if columns.sigma.ndim == 1 else columns.sigma
    volume = (math.tau**0.5 * sigma).prod(1)
    coords, values = columns.coords, columns.background + columns.flux / volume
    flags = 0 * found_flags
    for found, flag in _OF_FITS:
        flags = flags | ((found_flags & int(found)) != 0) * int(flag)
    moved = (abs(coords - starts) > 0.5).any(1) & (flags == 0)
    flags = (flags | moved * int(PeakFlags.MOVED)).astype(found_flags.dtype)
    rejected = (flags & int(REJECTED)) != 0
    coords[rejected] = starts[rejected].astype(coords.dtype)
    values[rejected] = x[tuple(places)].astype(coords.dtype)[rejected]
    values[~inside] = math.nan
    flags[~inside] = int(PeakFlags.AT_BORDER)
    return coords, values, flags
