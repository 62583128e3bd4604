"""Peaks of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import Array, to_numpy
from npsubpix._definitions.flags import NOT_OK, PeakFlags
from npsubpix.results.table import AXES, Table

__all__ = ["Peaks"]


@dataclass(frozen=True, eq=False, repr=False)
class Peaks(Table):
    """Peaks of an image: positions, values and flags, one row per peak.

    The arrays are of the library and on the device of the image. Indexing with a slice, or with an
    array of booleans or integers, selects rows and returns Peaks.

    Attributes
    ----------
    coords : array of shape (N, ndim), float64
        Positions in pixels in array order, (y, x) or (z, y, x). The centre of the first pixel is 0.
    values : array of shape (N,), float64
        Value of the peak: that of the fitted surface for methods that fit one, else that of its
        pixel. NaN for a position outside the image.
    indices : array of shape (N, ndim), int64
        Pixel at which refinement started; -1 for a position that was not finite.
    flags : array of shape (N,), int32
        Bits of `PeakFlags`; 0 for a peak refined around its own pixel. Peaks that are refined by fits are `ok` as
        `Fits` are.
    frame : array of shape (N,), int64, or None
        Index of the image in its stack; None without a stack.
    image_shape : tuple of ints or None
        Shape of the image, or of one frame of a stack; None if it is not known.
    border : array of one value per frame, float64, or None
        Value of the highest peak in the border of a frame, where `find_peaks` looks for no peaks, if it is
        higher than all peaks of the frame and exceeds `threshold_abs`, else NaN. With a background, heights
        above it are compared, in units of the noise. None where there is no such border, or rows were selected.
        With ``detect``, it is a value of the filtered image.
    coords_std : array of shape (N, ndim), float64, or None
        Standard errors of the positions; None where the noise was not known. NaN for a position that could not be
        refined, and along an axis that was not.

    See Also
    --------
    find_peaks : Find and refine peaks.
    PeakFlags : The meaning of the flags.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:9, :12]
    >>> image = np.exp(-((y - 3.2) ** 2 + (x - 7.9) ** 2) / 4)
    >>> peaks = npsubpix.find_peaks(image)
    >>> peaks
    Peaks: 1 in 2-D
        y     x   value  flags
     3.18  7.91  0.9962  -
    >>> len(peaks[peaks.ok])
    1
    """

    coords: Array
    values: Array
    indices: Array
    flags: Array
    frame: Array | None = None
    image_shape: tuple[int, ...] | None = None
    border: Array | None = None
    coords_std: Array | None = None

    _NOT_OK = int(NOT_OK)
    _FLAGS = PeakFlags
    _OF_TABLE = ("image_shape",)
    _BRIGHTNESS = ("value",)
    _DROPPED = ("border",)

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copy the peaks to a dictionary of NumPy arrays, one per column.

        The columns are ``frame`` (in stacks), ``z`` (in volumes), ``y``, ``x``, their standard errors ``y_std`` and so
        on (if they are known), ``value``, ``z_index`` (in volumes), ``y_index``, ``x_index``, ``ok``, ``flags`` and
        ``flag_names``: ``ok`` is `Peaks.ok`, and ``flag_names`` are those of `Peaks.flag_names`, an array of Python's
        strings.
        """
        axes = AXES[-self.ndim :]
        coords, indices = to_numpy(self.coords), to_numpy(self.indices)
        columns = {} if self.frame is None else {"frame": to_numpy(self.frame)}
        columns |= {axis: coords[:, k] for k, axis in enumerate(axes)}
        if self.coords_std is not None:
            errors = to_numpy(self.coords_std)
            columns |= {f"{axis}_std": errors[:, k] for k, axis in enumerate(axes)}
        columns["value"] = to_numpy(self.values)
        columns |= {f"{axis}_index": indices[:, k] for k, axis in enumerate(axes)}
        return columns | self._flag_columns()

    def _trackpy_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the value as signal, and standard errors as one."""
        columns = {"signal": to_numpy(self.values)}
        if self.coords_std is not None:
            columns["ep"] = np.sqrt((to_numpy(self.coords_std) ** 2).mean(axis=1))
        return columns

    def left_out(self) -> list[str]:
        """Return a line that says where the border holds a peak higher than all others of its frame, if it does."""
        if self.border is None:
            return []
        border = to_numpy(self.border)
        higher = border[~np.isnan(border)]
        if not higher.size:
            return []
        where = "" if self.frame is None else f" of {higher.size} frames"
        return [f" exclude_border leaves out a higher peak at the border{where}: {higher.max():.4g}"]
