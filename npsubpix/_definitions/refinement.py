"""How positions are refined: methods, options, and the pixels that each method uses."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._definitions.blends import reach_of_fits
from npsubpix._definitions.constants import MOST_TIED, PHASOR_ACROSS
from npsubpix._definitions.fitting import Columns, Fit
from npsubpix._definitions.flags import REJECTED, FitFlags, PeakFlags
from npsubpix._definitions.periodic import repeated_pixels

__all__ = [
    "ITERATIONS",
    "NO_RADIUS",
    "PLANAR",
    "REFINEMENTS",
    "WITH_RADIUS",
    "Noise",
    "Refinement",
    "box_of_radius",
    "flags_of_fits",
    "noise_of",
    "noise_of_fits",
    "peaks_of_fits",
    "phasor_tables",
    "unset_errors",
]

#: Most iterations of each method where the caller gives no number. A fit moves pixel by pixel, and `max_shift` allows
#: few; the window of a centroid comes closer by a factor in each iteration.
ITERATIONS: Final = {
    "quadratic": 5,
    "parabola": 5,
    "least_squares": 5,
    "log_quadratic": 5,
    "saddle": 10,
    "centroid": 30,
    "phasor": 5,
    "radial": 30,
    "fit": 50,
    None: 1,
}

#: Methods of refinement; None for the pixel itself.
REFINEMENTS: Final = tuple(ITERATIONS)

#: Methods that have a radius.
WITH_RADIUS: Final = ("log_quadratic", "centroid", "phasor", "radial", "fit")

#: Methods that refuse a radius. Others without one ignore it, so that methods can be compared in a loop.
NO_RADIUS: Final = ("least_squares", "saddle")

#: Methods of images alone, not of volumes.
PLANAR: Final = ("saddle",)

#: Methods whose windows have a ring of pixels around them, in which the background is measured or gradients end.
_RINGED: Final = ("log_quadratic", "centroid", "radial")

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


@functools.lru_cache(maxsize=64)
def phasor_tables(half_widths: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return an array (axes, 3, n) for boxes of these half-widths: weights of lines, and cosines and sines of pixels.

    Lines are weighted by ``1 + PHASOR_ACROSS * cos``, the first Fourier coefficient of the box again.
    """
    tables = np.zeros((len(half_widths), 3, 2 * max(half_widths) + 1))
    for axis, half in enumerate(half_widths):
        count = 2 * half + 1
        angles = math.tau / count * np.arange(-half, half + 1)
        weights = 1 + PHASOR_ACROSS * np.cos(angles) if half else np.ones(1)
        tables[axis, :, :count] = weights, np.cos(angles), np.sin(angles)
    tables.flags.writeable = False
    return tables


class Refinement(NamedTuple):
    """How a peak is refined from its pixel.

    Attributes
    ----------
    method : one of `REFINEMENTS`
        Method.
    n_iters : int
        Most iterations.
    max_shift : float
        Furthest that a position may go from its pixel, in pixels on any axis; finite, so that kernels can count it.
    radius : tuple of floats
        Radius of the window, or of the box, of a method that has one, per axis of the image.
    wrap : bool
        Whether the image is periodic.
    lines : tuple of tuples of floats
        For ``"saddle"``: weights along rows and along columns of the pixels of which each is a mean by smoothing.
    model : Fit, optional
        For ``"fit"``: the fit.
    calibrated : bool
        For ``"fit"``: whether the noise is that of a camera, whose electrons are fitted.
    share : float
        For ``"fit"`` by samples of a point spread function: the share of the flux in the pixel of a spot at its centre.
    """

    method: str | None
    n_iters: int
    max_shift: float
    radius: tuple[float, ...]
    wrap: bool = False
    lines: tuple[tuple[float, ...], tuple[float, ...]] = ((1.0,), (1.0,))
    model: Fit | None = None
    calibrated: bool = False
    share: float = 0.0

    @property
    def spreads(self) -> tuple[float, ...]:
        """Standard deviation of the window of a centroid, or unit of radial symmetry, along depth, rows and columns."""
        return _window(self.radius)[0]

    @property
    def half_widths(self) -> tuple[int, ...]:
        """Pixels of the window on each side of its centre, along depth, rows and columns."""
        if self.method == "saddle":
            return 0, 1 + len(self.lines[0]) // 2, 1 + len(self.lines[1]) // 2
        if self.model is not None:
            return (0, *((length - 1) // 2 for length in self.model.box))[-3:]
        return _window(self.radius)[1]

    @property
    def extent(self) -> tuple[int, ...]:
        """Pixels that the method uses on each side of a pixel, along depth, rows and columns."""
        if self.method is None:
            return 0, 0, 0
        if self.method in _RINGED:
            return tuple(h + (h > 0) for h in self.half_widths)
        if self.method in ("fit", "phasor", "saddle"):
            return self.half_widths
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
        if self.method in ("centroid", "phasor", "radial", "fit"):
            z, y, x = (2 * h - 1 if h else _ANY for h in self.half_widths)
            return _ANY, z, y, x
        return MOST_TIED, _ANY, _ANY, _ANY


class Noise(NamedTuple):
    """Noise of each pixel in units of the image: numbers, or maps of a frame or of a stack, flat.

    The variance of a pixel is its variance without light, the floor, plus its height above the offset divided by the
    electrons per count. These are infinite where noise does not depend on the signal: then the floor is the standard
    deviation, a map of the caller, which is squared where it is read. NaN, or negative, where the noise is not known.
    """

    offset: Any
    electrons_per_count: Any
    floor: Any

    def steps(self, pixels: int) -> tuple[int, ...]:
        """Return how far apart two frames, of so many pixels, and two pixels are in each map, one after the other."""
        sizes = [math.prod(values.shape) for values in self]
        return tuple(step for n in sizes for step in ((0, 0) if n == 1 else (0 if n == pixels else pixels, 1)))

    def repeated(self, shape: tuple[int, ...], pads: tuple[int, ...], put: Callable[[Any], Any] = np.asarray) -> Noise:
        """Return the noise of a periodic image with as many pixels around it."""
        return Noise(*(repeated_pixels(values, shape, pads, put) for values in self))


def noise_of(error: Any, offset: Any, electrons_per_count: Any, read_variance: Any) -> Noise | None:
    """Return noise of a standard deviation, or of the calibration of a camera; None if neither is known."""
    if error is not None:
        return Noise(np.zeros(1), np.full(1, math.inf), error)
    return None if read_variance is None else Noise(offset, electrons_per_count, read_variance)


def unset_errors(errors: Any, reach: Any, flags: Any, plateau: str) -> None:
    """Set columns of peaks to NaN that were not refined after all, on plateaus by how these are treated.

    These are their standard errors, and how near neighbours make their fits doubtful.
    """
    if errors is None and reach is None:
        return
    unrefined = (flags & int(REJECTED)) != 0
    if plateau == "centroid":
        unrefined = unrefined | ((flags & int(PeakFlags.PLATEAU)) != 0)
    for column in (errors, reach):
        if column is not None:
            column[unrefined] = math.nan


def _heights(columns: Columns, refinement: Refinement) -> Any:
    """Return the heights of spots of unit flux."""
    assert refinement.model is not None
    shape, numbers = refinement.model.model.shape, refinement.model.numbers
    if shape == "psf":
        return refinement.share
    if shape.startswith("moffat"):
        beta = columns.beta if columns.beta is not None else numbers[0]
        half_width = math.sqrt(2 * math.log(2)) * columns.sigma  # at half of the height
        return (beta - 1) * (2 ** (1 / beta) - 1) / (math.pi * half_width**2)
    sigma = columns.sigma[:, None] + 0 * columns.coords if columns.sigma.ndim == 1 else columns.sigma
    return 1 / (math.tau**0.5 * sigma).prod(1)


def _counts(values: Any, noise: Noise, places: list[Any], shape: tuple[int, ...]) -> Any:
    """Return values in counts from those in electrons, by the calibration of pixels."""
    pixel = 0 * places[0]
    for place, length in zip(places[1:], shape, strict=True):
        pixel = pixel * length + place
    steps = noise.steps(math.prod(shape))
    offset, factor = (
        numbers.reshape(-1)[places[0] * steps[2 * k] + pixel * steps[2 * k + 1]] for k, numbers in enumerate(noise[:2])
    )
    return values / factor + offset


#: Flags of peaks for those of fits that could not be made, or whose errors may be wrong. `FitFlags.BLENDED` is left
#: out: which starts count as neighbours is known once duplicates are merged.
_OF_FITS: Final = (
    (FitFlags.NOT_CONVERGED, PeakFlags.NOT_CONVERGED),
    (FitFlags.SINGULAR | FitFlags.NEGATIVE_FLUX, PeakFlags.SINGULAR),
    (FitFlags.NONFINITE, PeakFlags.NONFINITE),
    (FitFlags.TOO_FAR, PeakFlags.TOO_FAR),
    (FitFlags.POOR_FIT, PeakFlags.POOR_FIT),
    (FitFlags.LOW_SIGNAL, PeakFlags.LOW_SIGNAL),
    (FitFlags.OUT_OF_RANGE, PeakFlags.OUT_OF_RANGE),
)


def box_of_radius(radius: tuple[float, ...]) -> tuple[int, ...]:
    """Return the lengths of the box of a fit with this radius."""
    return tuple(2 * max(math.ceil(r), _LEAST_HALF_WIDTH) + 1 for r in radius)


def noise_of_fits(refinement: Refinement, noise: Noise | None) -> tuple[Any, Any, Any, Any, Any]:
    """Return what fits know of the noise: error, offset, electrons per count, read variance, and EM gain.

    Electrons per count of `Noise` are divided by the gain and its excess noise already.
    """
    assert refinement.model is not None
    if noise is None:
        return None, None, None, None, None
    if refinement.model.estimator == "wls":
        return noise.floor.astype(np.float64), None, None, None, None
    return (None, *noise, None) if refinement.calibrated else (None, None, None, None, None)


def flags_of_fits(found_flags: Any) -> Any:
    """Return the flags of peaks for those of fits, but for `BLENDED`."""
    flags = 0 * found_flags
    for found, flag in _OF_FITS:
        flags = flags | ((found_flags & int(found)) != 0) * int(flag)
    return flags


def peaks_of_fits(
    x: Any, images: Any, starts: Any, results: Any, refinement: Refinement, noise: Noise | None
) -> tuple[Any, Any, Any, Any, Any]:
    """Return positions, values, flags and errors of peaks from the results of fits that began at pixels of a stack.

    The value is that of the fitted spot at its centre. A spot that could not be fitted keeps its pixel. The last column
    is the distance within which another start makes a fit doubtful.
    """
    count, shape = len(Columns._fields), x.shape[1:]
    columns, found_flags = Columns(*results[:count]), results[count + 2]
    inside = (images >= 0) & (images < x.shape[0])
    places = [images.clip(0, x.shape[0] - 1)]
    for axis, length in enumerate(shape):
        inside = inside & (starts[:, axis] >= 0) & (starts[:, axis] < length)
        places.append(starts[:, axis].clip(0, length - 1))
    coords, values = columns.coords, columns.background + columns.flux * _heights(columns, refinement)
    if noise is not None and refinement.calibrated:
        values = _counts(values, noise, places, shape)
    flags = flags_of_fits(found_flags)
    moved = (abs(coords - starts) > 0.5).any(1) & ((flags & int(REJECTED)) == 0)
    flags = (flags | moved * int(PeakFlags.MOVED)).astype(found_flags.dtype)
    rejected = (flags & int(REJECTED)) != 0
    coords[rejected] = starts[rejected].astype(coords.dtype)
    values[rejected] = x[tuple(places)].astype(coords.dtype)[rejected]
    values[~inside] = math.nan
    flags[~inside] = int(PeakFlags.AT_BORDER)
    errors = columns.coords_std
    errors[(flags & int(REJECTED)) != 0] = math.nan
    return coords, values, flags, errors, reach_of_fits(columns)
