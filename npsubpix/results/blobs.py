"""Blobs of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix._definitions.blob_rows import BLOB_NOT_OK
from npsubpix._definitions.flags import PeakFlags
from npsubpix.results.table import AXES, Table

__all__ = ["Blobs"]


@dataclass(frozen=True, eq=False, repr=False)
class Blobs(Table):
    r"""Blobs of an image: positions, sizes and heights, one row per blob.

    The arrays are of the library and on the device of the image. Indexing with a slice, or with an
    array of booleans or integers, selects rows and returns Blobs.

    Attributes
    ----------
    coords : array of shape (N, ndim), float64
        Positions in pixels in array order, (y, x) or (z, y, x). The centre of the first pixel is 0.
    sigma : array of shape (N,), or (N, ndim) with a width per axis, float64
        Standard deviation of the blob in pixels, if it is a Gaussian.
    amplitude : array of shape (N,), float64
        Height of the blob above its surroundings, in units of the image; negative for dark blobs.
    snr : array of shape (N,), float64
        Response of the filter in units of its noise; infinite where there is none.
    value : array of shape (N,), float64
        Value of the image at the pixel nearest to the position.
    flags : array of shape (N,), int32
        Bits of `PeakFlags`. A blob nearer to the border than 2.5 of its widths is flagged ``AT_BORDER``: the image is
        reflected there, which shifts it by up to a quarter of its width. ``refine="fit"`` measures it without bias, and
        removes the flag unless the fit is one that `Fits.ok` leaves out: such fits are flagged ``POOR_FIT``,
        ``LOW_SIGNAL`` or ``BLENDED``, and not `ok`. One flagged ``SADDLE`` is no extremum in space and scale, and not
        `ok`.
    frame : array of shape (N,), int64, or None
        Index of the image in its stack; None without a stack.
    image_shape : tuple of ints or None
        Shape of the image, or of one frame of a stack; None if it is not known.
    coords_std, sigma_std, amplitude_std : arrays of the shapes of coords, sigma and amplitude, float64, or None
        Standard errors; None where the noise was not known. NaN for a blob that could not be refined.

    See Also
    --------
    find_blobs : Find blobs.
    PeakFlags : The meaning of the flags.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:60, :80]
    >>> image = 50 * np.exp(-((y - 23.2) ** 2 + (x - 47.9) ** 2) / (2 * 4.0**2))
    >>> image += np.random.default_rng(0).normal(size=image.shape)
    >>> blobs = npsubpix.find_blobs(image, 2, 8)
    >>> blobs
    Blobs: 1 in 2-D
         y      x  sigma  amplitude    snr  value  flags
     23.19  47.90  3.999      49.93  246.8  49.59  -
    >>> len(blobs[blobs.ok])
    1
    """

    coords: Array
    sigma: Array
    amplitude: Array
    snr: Array
    value: Array
    flags: Array
    frame: Array | None = None
    image_shape: tuple[int, ...] | None = None
    coords_std: Array | None = None
    sigma_std: Array | None = None
    amplitude_std: Array | None = None

    _NOT_OK = int(BLOB_NOT_OK)
    _FLAGS = PeakFlags
    _OF_TABLE = ("image_shape",)
    _BRIGHTNESS = ("amplitude", "amplitude_std", "value")
    _HIDDEN = ("radius",)

    @property
    def radius(self) -> Array:
        """Radius of the blob in pixels, of the shape of `sigma`: its standard deviation times the root of 2.

        A disc of this radius, or a ball in volumes, of constant brightness answers to the same filter as a Gaussian.
        """
        return self.sigma * 2**0.5

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the blobs to a dictionary of NumPy arrays, one per column.

        The columns are ``frame`` (in stacks), ``z`` (in volumes), ``y``, ``x``, ``sigma`` (``sigma_z`` and so on with
        one width per axis), ``radius`` likewise, ``amplitude``, ``snr``, ``value``, ``ok``, ``flags`` and
        ``flag_names``. Standard errors ``y_std``, ``sigma_std``, ``amplitude_std`` and so on follow, if they are known,
        the columns of which they are.
        """
        axes = AXES[-self.ndim :]
        columns = {} if self.frame is None else {"frame": to_numpy(self.frame)}
        columns |= _of_axes("{}", axes, self.coords)
        if self.coords_std is not None:
            columns |= _of_axes("{}_std", axes, self.coords_std)
        columns |= _of_axes("sigma_{}", axes, self.sigma)
        if self.sigma_std is not None:
            columns |= _of_axes("sigma_{}_std", axes, self.sigma_std)
        columns |= _of_axes("radius_{}", axes, self.radius)
        columns["amplitude"] = to_numpy(self.amplitude)
        if self.amplitude_std is not None:
            columns["amplitude_std"] = to_numpy(self.amplitude_std)
        columns |= {"snr": to_numpy(self.snr), "value": to_numpy(self.value)}
        return columns | self._flag_columns()

    def to_skimage(self) -> npt.NDArray[np.float64]:
        """Copy the blobs to the array that ``skimage.feature.blob_log`` returns: rows (y, x, sigma).

        Returns
        -------
        array of shape (N, ndim + 1), or (N, 2 * ndim) with a width per axis
            Position and standard deviation, the strongest blob first. In skimage the radius of a blob is its sigma
            times the root of ndim: for volumes, sigma is therefore that of the blob times the root of 2/3.
        """
        widths = to_numpy(self.sigma) * np.sqrt(2 / self.ndim)
        return np.column_stack([to_numpy(self.coords), widths])

    def _trackpy_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the amplitude as signal, the radius of gyration as size, and standard errors as one."""
        sigma = to_numpy(self.sigma)
        widths = sigma if sigma.ndim == 1 else np.sqrt((sigma**2).mean(axis=1))
        columns = {"size": widths * np.sqrt(self.ndim), "signal": to_numpy(self.amplitude)}
        if self.coords_std is not None:
            columns["ep"] = np.sqrt((to_numpy(self.coords_std) ** 2).mean(axis=1))
        return columns


def _of_axes(name: str, axes: tuple[str, ...], values: Array) -> dict[str, npt.NDArray[Any]]:
    """Return a column per axis, or one under the name without an axis."""
    array = to_numpy(values)
    if array.ndim == 1:
        return {name.replace("_{}", "", 1): array}
    return {name.format(axis): array[:, k] for k, axis in enumerate(axes)}
