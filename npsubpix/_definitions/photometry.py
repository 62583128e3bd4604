"""Photometry of spots: sums over apertures that kernels return, and the measurements that follow from them.

Without a camera nothing is known of the noise of the light of a spot itself. Its variance is taken to be b m, where m
is the signal of a pixel above the background, and b is that of a camera, common to all spots of a call. Each spot gives
an estimate of b. A series of Hermite functions [1]_ along its axes, Gaussians of other widths, and a constant, are
fitted to its pixels by unweighted least squares. With the leverages h of pixels, the residuals r, and the variance a of
the background,

    sum r**2 = sum a (1 - h) + b sum m (1 - h)

in expectation, and the variance of this sum is about 2 sum (a + b m)**2 (1 - h) for Gaussian noise. b is the mean of
the estimates of all spots, weighted by their variances, without those that are too great: spots which the series does
not describe, as those with a neighbour.

.. [1] A. Refregier, "Shapelets - I. A method for image analysis", Monthly Notices of the Royal Astronomical Society
   338 (2003), 35-47.
"""

from __future__ import annotations

import math
from enum import IntFlag, unique
from typing import Any, Final

import numpy as np

__all__ = [
    "COLUMNS",
    "METHODS",
    "NOT_MEASURED",
    "SCATTER",
    "SERIES",
    "SUMS",
    "MeasurementFlags",
    "allowance_of",
    "columns_of",
    "default_annulus",
    "steps_of",
]

#: Estimators of the background from the pixels of an annulus that are not clipped.
METHODS: Final = ("mean", "median")


@unique
class MeasurementFlags(IntFlag):
    """Flags of the measurement of a spot.

    ``PARTIAL_WINDOW``, ``MASKED``, ``NONFINITE``, ``OUTSIDE`` and ``NO_BACKGROUND`` give the reason why
    `Measurements.ok` is False: the flux is that of a part of the aperture, or NaN. The others describe a valid flux.
    """

    #: The border of the image cuts the aperture: the part inside counts.
    PARTIAL_WINDOW = 1
    #: Masked pixels in the aperture, which do not count.
    MASKED = 2
    #: NaN or infinity among the pixels of the aperture, which do not count, or in the position.
    NONFINITE = 4
    #: The position lies outside the image: nothing is measured.
    OUTSIDE = 8
    #: Fewer than five pixels of the annulus count: the background that is measured there, and all from which it is
    #: subtracted, is NaN, and so is the noise.
    NO_BACKGROUND = 16
    #: The flux is not above the background: centroid and shape are NaN.
    NEGATIVE_FLUX = 32
    #: The centroid lies outside the aperture, or the second moments are not those of an ellipse: both are NaN.
    NO_SHAPE = 64
    #: The noise of the annulus is a guess, since its pixels do not determine it.
    NOISE_GUESSED = 128
    #: The noise of the light of a bright spot is not known, without `error` or `camera`, and no spot shows it:
    #: the standard error is NaN.
    NO_ERROR = 256


#: The flags of a spot whose flux was not measured, or only in a part of its aperture.
NOT_MEASURED: Final = (
    MeasurementFlags.PARTIAL_WINDOW
    | MeasurementFlags.MASKED
    | MeasurementFlags.NONFINITE
    | MeasurementFlags.OUTSIDE
    | MeasurementFlags.NO_BACKGROUND
)

#: Sums over the pixels of a spot. Of the circular aperture, with the share w of each pixel inside of it: of w x, w,
#: w b, w**2, w**2 v, w**2 (x - b), of w (x - b) and of its products with the offsets u along y and v along x from the
#: position, and the greatest x - b of the pixels whose centres are inside. Of the pixels whose centres are within the
#: radius of the nearest pixel: of x - b, x, and of the products of x - b with the squared distance from this pixel and
#: with cosine and sine of twice the angle; x - b of the pixel itself, the greatest x - b, at least 0, and half of the
#: sum of squared distances.
SUMS: Final = (
    "RAW", "AREA", "LEVEL", "SQUARE", "VARIANCE", "LIGHT", "FLUX", "FLUX_Y", "FLUX_X", "FLUX_YY", "FLUX_XX", "FLUX_XY",
    "PEAK", "MASS", "RAW_MASS", "MASS_RR", "MASS_COS", "MASS_SIN", "CENTRE", "SIGNAL", "MOMENT",
)  # fmt: skip

#: What the residuals of a series say of the noise of the light of a spot: the excess of their squares over what the
#: background adds, the signal that this is of, and the three terms of the variance of that excess. All are 0 for a spot
#: of which none was fitted.
SCATTER: Final = ("EXCESS", "SIGNAL", "BACKGROUND_TERM", "MIXED_TERM", "SIGNAL_TERM")

#: How series are fitted.
SERIES: Final = {
    "SERIES_ORDER": 4,  # greatest sum of the orders of two Hermite functions
    "SERIES_TERMS": 19,  # with Gaussians and a constant
    "SERIES_GAUSSIANS": 3,  # where pixels are enough for these beside the greatest order,
    "SERIES_WIDTH_1": 0.5,  # in widths of the spot
    "SERIES_WIDTH_2": 0.7,
    "SERIES_WIDTH_3": 1.8,
    "SERIES_FLATTEST": 0.2,  # least ratio of the variance along an axis to the mean of both
    "SERIES_SHARE": 0.6,  # most terms per pixel
    "SERIES_WIDTHS": 2.5,  # radius, in widths of a spot, of the pixels that determine the terms
    "SERIES_REACH": 4.0,  # radius in pixels within which pixels are fitted beside a small aperture,
    "SERIES_WIDER": 1.5,  # unless it is so many times as wide
    "SERIES_PIXELS": 12,  # rows of pixels per radius of a wide aperture, of which not all are fitted
    "LEAST_WIDTH": 0.4,  # of a spot in pixels
    "WIDTH_STEPS": 12,  # in which the width of a spot is found from that in its aperture
}

#: Estimates of the noise that are further above it than this, in their standard deviations, do not count; and how often
#: they are left out.
_SCATTER_CLIP: Final = 5.0
_SCATTER_PASSES: Final = 5

#: Flux, in standard errors from the background alone, from which on the noise of the light itself matters.
_BRIGHT: Final = 5.0

#: How far above the limit of clipping the pixels of a background are still kept, in units of the light that makes
#: their distribution skew: of an electron, of three behind an EM gain (the ratio of the third cumulant to the variance,
#: which is 1 for a Poisson distribution), or of the step between the values of pixels.
_ALLOWANCE: Final = 2.0
_SKEW: Final = {0.0: 0.0, 1.0: 1.0, 2.0: 3.0}

#: Columns of the table that `columns_of` makes of the sums.
COLUMNS: Final = (
    "aperture_sum", "area", "background", "noise", "flux", "flux_std", "peak", "centroid", "width", "ellipticity",
    "angle", "mass", "size", "ecc", "signal", "raw_mass", "ep",
)  # fmt: skip

#: Kept from a division by 0 in trackpy's eccentricity, as there.
_ECC_FLOOR: Final = 1e-6

#: Variance of the median of normal numbers, in units of that of their mean.
_OF_MEDIAN: Final = math.pi / 2


def default_annulus(radius: float) -> tuple[float, float]:
    """Return the radii of the annulus of the background: 1.5 and 2.5 times that of the aperture, at least 2 apart."""
    inner = 1.5 * radius
    return inner, max(2.5 * radius, inner + 2)


def allowance_of(excess: float) -> tuple[float, float]:
    """Return by how much the upper limit of clipping is higher: a number of electrons, and of steps between values.

    `excess` is the variance per electron of a camera, 0 without one.
    """
    return _ALLOWANCE * _SKEW[excess], 0.0 if excess > 0 else _ALLOWANCE


def steps_of(values: Any, frame_pixels: int) -> tuple[int, int]:
    """Return the steps per frame and per pixel in a flat array: of one number, of a frame, or of a whole stack."""
    return (frame_pixels if values.size > frame_pixels else 0), int(values.size > 1)


def columns_of(
    sums: Any,
    points: Any,
    flags: Any,
    *,
    radius: float,
    annulus: tuple[Any, Any, Any] | None,
    method: str,
    known_error: bool,
    scatter: Any,
) -> tuple[Any, ...]:
    """Return the columns of the table, in order, and the flags; arrays are of NumPy or of a GPU.

    `annulus` are the background, the noise and the number of pixels of each annulus, None if they were not measured.
    `annulus[0]` is None where the background was known, but not the noise. `scatter` has the columns `SCATTER`, or is
    None where the noise of the light of spots is known.
    """
    s = {name: sums[:, k] for k, name in enumerate(SUMS)}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        background, noise = s["LEVEL"] / s["AREA"], (s["VARIANCE"] / s["SQUARE"]) ** 0.5
        variance = s["VARIANCE"]
        if annulus is not None:
            level, spread, kept = annulus
            noise = noise if known_error else spread
            if level is not None:
                background = level
                variance = variance + s["AREA"] ** 2 * spread**2 * (_OF_MEDIAN if method == "median" else 1.0) / kept
        flux, mass = s["FLUX"], s["MASS"]
        if scatter is not None:
            slope, found = _noise_slope(scatter)
            unknown = (flux > _BRIGHT * variance**0.5) & ~found
            flags = flags | _bits(unknown, MeasurementFlags.NO_ERROR)
            variance = np.where(unknown, np.nan, variance + slope * s["LIGHT"].clip(0.0, None))
        y, x = s["FLUX_Y"] / flux, s["FLUX_X"] / flux
        yy, xx, xy = s["FLUX_YY"] / flux - y * y, s["FLUX_XX"] / flux - x * x, s["FLUX_XY"] / flux - x * y
        mean, half = (yy + xx) / 2, (((yy - xx) / 2) ** 2 + xy * xy) ** 0.5
        negative = flux <= 0
        centred = (flux > 0) & (y * y + x * x <= radius * radius)
        shaped = centred & (mean > half)
        flags = flags | _bits(negative, MeasurementFlags.NEGATIVE_FLUX)
        flags = flags | _bits((flux > 0) & ~shaped, MeasurementFlags.NO_SHAPE)
        centroid = points + np.where(centred, np.stack([y, x]), np.nan).T
        width = np.where(shaped, mean**0.5, np.nan)
        ellipticity = np.where(shaped, 1 - ((mean - half) / (mean + half)) ** 0.5, np.nan)
        angle = np.where(shaped, 0.5 * np.arctan2(2 * xy, yy - xx), np.nan)
        size = (s["MASS_RR"] / mass) ** 0.5
        ecc = (s["MASS_COS"] ** 2 + s["MASS_SIN"] ** 2) ** 0.5 / (mass - s["CENTRE"] + _ECC_FLOOR)
        ep = np.where(mass > 0, noise * s["MOMENT"] ** 0.5 / mass, np.nan)
    return (
        s["RAW"], s["AREA"], background, noise, flux, variance**0.5, s["PEAK"], centroid, width, ellipticity, angle,
        mass, size, ecc, s["SIGNAL"], s["RAW_MASS"], ep, flags,
    )  # fmt: skip


def _noise_slope(scatter: Any) -> tuple[Any, Any]:
    """Return by how much the variance of a pixel grows with its signal, and whether any spot says so."""
    used = (scatter[:, 1] > 0) & np.isfinite(scatter).all(axis=1)
    if scatter.shape[0] == 0:
        return 0.0, used
    excess, signal, t0, t1, t2 = np.where(used, scatter.T, 0.0)
    own = signal + ~used
    estimate = np.where(used, excess / own, np.inf)  # those that do not count come last
    slope = (excess.sum() / own.sum()).clip(0.0, None)
    for step in range(_SCATTER_PASSES):
        variance = 2 * (t0 + 2 * slope * t1 + slope * slope * t2) / own**2
        weight = used / (variance + (variance == 0))
        if step == 0:  # the median, in which no single spot counts much
            order = estimate.argsort()
            below = weight[order].cumsum() < 0.5 * weight.sum()
            slope = np.where(used.any(), np.take(estimate[order], below.sum()), 0.0).clip(0.0, None)
            continue
        kept = weight * (estimate - slope <= _SCATTER_CLIP * variance**0.5)
        total = kept.sum()
        slope = ((np.where(used, estimate, 0.0) * kept).sum() / (total + (total == 0))).clip(0.0, None)
    return slope, used.any()


def _bits(where: Any, flag: MeasurementFlags) -> Any:
    return where.astype(np.int32) * np.int32(flag)
