"""Measurements of spots without a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix._definitions.photometry import COLUMNS, NOT_MEASURED, MeasurementFlags
from npsubpix.results.table import AXES, Table

__all__ = ["Measurements"]

#: Columns that `Table.__repr__` leaves out: there is no room for all.
_SHOWN = ("frame", "y", "x", "flux", "flux_std", "snr", "background", "width", "ellipticity", "peak")


@dataclass(frozen=True, eq=False, repr=False)
class Measurements(Table):
    r"""Brightness and shape of spots, measured without a model: one row per spot.

    The arrays are of the library and on the device of the image. Indexing with a slice, or with an array of booleans
    or integers, selects rows and returns Measurements. Brightnesses are in units of the image, or with a
    camera in electrons, lengths in pixels.

    Sums over the aperture weight each pixel by its share :math:`w` inside a circle around the position. :math:`I` is
    the image and :math:`B` the background.

    Attributes
    ----------
    coords : array of shape (N, 2), float64
        Positions (y, x) at which spots were measured, in pixels.
    aperture_sum : array of shape (N,), float64
        :math:`\sum w I`, background included: photutils' ``aperture_sum``.
    area : array of shape (N,), float64
        :math:`\sum w`, the area of the aperture that counts, in pixels.
    background : array of shape (N,), float64
        Background per pixel.
    noise : array of shape (N,), float64
        Standard deviation of the noise of a pixel: that of the background, or with an ``error`` its root mean square
        over the aperture.
    flux : array of shape (N,), float64
        :math:`\sum w (I - B)`, the brightness of the spot in the aperture.
    flux_std : array of shape (N,), float64
        Standard error of the flux, see `measure_spots`.
    peak : array of shape (N,), float64
        Greatest :math:`I - B` of the pixels whose centres lie in the aperture.
    centroid : array of shape (N, 2), float64
        Mean position (y, x), weighted by :math:`w (I - B)`, in pixels.
    width : array of shape (N,), float64
        Square root of the mean of the variances along y and x about the centroid, weighted by :math:`w (I - B)`. For
        a round Gaussian, its standard deviation, made smaller by the part outside the aperture.
    ellipticity : array of shape (N,), float64
        One minus the ratio of the standard deviations along the minor and the major axis.
    angle : array of shape (N,), float64
        Angle of the major axis, in radians from the y axis towards the x axis, from -π/2 to π/2.
    mass : array of shape (N,), float64
        trackpy's ``mass``: sum of :math:`I - B` over the pixels whose centres lie within the radius of the pixel
        nearest to the position. trackpy sums the image that it has filtered.
    size : array of shape (N,), float64
        trackpy's ``size``: root mean squared distance from this pixel in the same sum, in pixels. √2 times the standard
        deviation of a round Gaussian.
    ecc : array of shape (N,), float64
        trackpy's ``ecc``: magnitude of the sum of :math:`(I - B)\,e^{2 i \theta}`, θ being the angle of a pixel about
        the central one and 0 there, divided by the mass without the central pixel.
    signal : array of shape (N,), float64
        trackpy's ``signal``: greatest :math:`I - B` in the same sum, at least 0.
    raw_mass : array of shape (N,), float64
        trackpy's ``raw_mass``: sum of :math:`I` over the same pixels.
    ep : array of shape (N,), float64
        trackpy's ``ep``: standard error of the centroid along an axis from the noise of the background, in pixels,
        ``noise`` times the root of the sum of squared distances along the axis, divided by the mass. NaN for a mass
        that is not positive.
    flags : array of shape (N,), int32
        Bits of `MeasurementFlags`.
    frame : array of shape (N,), int64, or None
        Index of the image in its stack; None without a stack.
    image_shape : tuple of ints or None
        Shape of the image, or of one frame of a stack.
    flux_unit : str or None
        Unit of brightnesses: "electron" with a camera, else None, the unit of the image.

    See Also
    --------
    measure_spots : Measure spots.
    MeasurementFlags : The meaning of the flags.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = 10 + npsubpix.render_spots([[12.3, 14.6]], (25, 30), std=1.3, amplitude=900, integrate=True)
    >>> image += np.random.default_rng(0).normal(0, 2, image.shape)
    >>> spots = npsubpix.measure_spots(image, [[12, 15]], 4)
    >>> len(spots), bool(spots.ok.all())
    (1, True)
    >>> spots.to_dict()["flux"].round(-1)
    array([900.])
    """

    coords: Array
    aperture_sum: Array
    area: Array
    background: Array
    noise: Array
    flux: Array
    flux_std: Array
    peak: Array
    centroid: Array
    width: Array
    ellipticity: Array
    angle: Array
    mass: Array
    size: Array
    ecc: Array
    signal: Array
    raw_mass: Array
    ep: Array
    flags: Array
    frame: Array | None = None
    image_shape: tuple[int, ...] | None = None
    flux_unit: str | None = None

    _NOT_OK = int(NOT_MEASURED)
    _FLAGS = MeasurementFlags
    _OF_TABLE = ("image_shape", "flux_unit")
    _BRIGHTNESS = (
        "aperture_sum", "background", "noise", "flux", "flux_std", "peak", "mass", "signal", "raw_mass",
    )  # fmt: skip
    _HIDDEN = tuple({*COLUMNS, "y_centroid", "x_centroid"} - set(_SHOWN))

    @property
    def snr(self) -> Array:
        """Signal to noise ratio: the flux divided by its standard error, which is 0 where all pixels are equal."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.flux / self.flux_std

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the measurements to a dictionary of NumPy arrays, one per column.

        The columns are ``frame`` (in stacks), ``y``, ``x``, ``aperture_sum``, ``area``, ``background``, ``noise``,
        ``flux``, ``flux_std``, ``snr``, ``peak``, ``y_centroid``, ``x_centroid``, ``width``, ``ellipticity``,
        ``angle``, ``mass``, ``size``, ``ecc``, ``signal``, ``raw_mass``, ``ep``, ``ok``, ``flags`` and ``flag_names``.
        """
        axes = AXES[-self.ndim :]
        coords = to_numpy(self.coords)
        columns = {} if self.frame is None else {"frame": to_numpy(self.frame)}
        columns |= {axis: coords[:, k] for k, axis in enumerate(axes)}
        for name in COLUMNS:
            values = to_numpy(getattr(self, name))
            if name == "centroid":
                columns |= {f"{axis}_centroid": values[:, k] for k, axis in enumerate(axes)}
            else:
                columns[name] = values
            if name == "flux_std":
                columns["snr"] = to_numpy(self.snr)
        return columns | self._flag_columns()

    def _trackpy_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns that are trackpy's."""
        return {name: to_numpy(getattr(self, name)) for name in ("mass", "size", "ecc", "signal", "raw_mass", "ep")}
