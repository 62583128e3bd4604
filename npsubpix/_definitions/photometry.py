"""Photometry of spots: sums over apertures that kernels return, and the measurements that follow from them."""

from __future__ import annotations

import math
from enum import IntFlag, unique
from typing import Any, Final

import numpy as np

__all__ = [
    "COLUMNS",
    "METHODS",
    "NOT_MEASURED",
    "SUMS",
    "MeasurementFlags",
    "columns_of",
    "default_annulus",
    "steps_of",
]

#: Estimators of the background from the pixels of an annulus that are not clipped.
METHODS: Final = ("median", "mean")


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


#: The flags of a spot whose flux was not measured, or only in a part of its aperture.
NOT_MEASURED: Final = (
    MeasurementFlags.PARTIAL_WINDOW
    | MeasurementFlags.MASKED
    | MeasurementFlags.NONFINITE
    | MeasurementFlags.OUTSIDE
    | MeasurementFlags.NO_BACKGROUND
)

#: Sums over the pixels of a spot. Of the circular aperture, with the share w of each pixel inside of it: of w x, w,
#: w b, w**2, w**2 v, of w (x - b) and of its products with the offsets u along y and v along x from the position, and
#: the greatest x - b of the pixels whose centres are inside. Of the pixels whose centres are within the radius of the
#: nearest pixel: of x - b, x, and of the products of x - b with the squared distance from this pixel and with cosine
#: and sine of twice the angle; x - b of the pixel itself, the greatest x - b, at least 0, and half of the sum of
#: squared distances.
SUMS: Final = (
    "RAW", "AREA", "LEVEL", "SQUARE", "VARIANCE", "FLUX", "FLUX_Y", "FLUX_X", "FLUX_YY", "FLUX_XX", "FLUX_XY", "PEAK",
    "MASS", "RAW_MASS", "MASS_RR", "MASS_COS", "MASS_SIN", "CENTRE", "SIGNAL", "MOMENT",
)  # fmt: skip

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
) -> tuple[Any, ...]:
    """Return the columns of the table, in order, and the flags; arrays are of NumPy or of a GPU.

    `annulus` are the background, the noise and the number of pixels of each annulus, None if they were not measured.
    `annulus[0]` is None where the background was known, but not the noise.
    """
    s = {name: sums[:, k] for k, name in enumerate(SUMS)}
    with np.errstate(divide="ignore", invalid="ignore"):
        background, noise = s["LEVEL"] / s["AREA"], (s["VARIANCE"] / s["SQUARE"]) ** 0.5
        variance = s["VARIANCE"]
        if annulus is not None:
            level, spread, kept = annulus
            noise = noise if known_error else spread
            if level is not None:
                background = level
                variance = variance + s["AREA"] ** 2 * spread**2 * (_OF_MEDIAN if method == "median" else 1.0) / kept
        flux, mass = s["FLUX"], s["MASS"]
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


def _bits(where: Any, flag: MeasurementFlags) -> Any:
    return where.astype(np.int32) * np.int32(flag)
