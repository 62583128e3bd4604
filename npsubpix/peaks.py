"""Peaks as lists: find them, and refine positions to a fraction of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import (
    check_bool,
    check_choice,
    check_count,
    check_finite,
    check_lengths,
    check_per_axis,
)
from npsubpix._arrays.stacks import check_stack
from npsubpix._definitions.borders import reach
from npsubpix._definitions.peaks import PLATEAUS, PeakSearch
from npsubpix._dispatch.call import call
from npsubpix.refinement import check_refinement
from npsubpix.results import Background, Peaks

__all__ = ["find_peaks"]


def find_peaks(
    image: Array,
    /,
    *,
    size: int | tuple[int, ...] = 3,
    min_distance: float | tuple[float, ...] | None = None,
    threshold_abs: float | None = None,
    threshold_rel: float | None = None,
    background: float | Array | Background | None = None,
    sigma: float | Array | None = None,
    exclude_border: bool | int | tuple[int, ...] = True,
    num_peaks: int | None = None,
    plateau: str = "drop",
    minima: bool = False,
    mask: Array | None = None,
    refine: str | None = "quadratic",
    n_iters: int = 5,
    max_shift: float = 1.5,
    radius: float | tuple[float, ...] = 3.0,
    frame_axis: int | None = None,
) -> Peaks:
    """Find the peaks of an image and where they are to a fraction of a pixel.

    A peak is a pixel strictly greater than all others in its window. Of peaks closer than
    `min_distance` the stronger one stays. What stays is refined as `refine_peaks` does.

    Parameters
    ----------
    image : array of two or three dimensions, or three or four with `frame_axis`
        Any integer or float dtype: NumPy, torch, CuPy, or JAX on the host. The image is not
        copied if it is contiguous. A NaN in a window means that its centre is not a peak.
    size : int or tuple of ints, default 3
        Length of the window in pixels, of all axes or one an axis. An even length k reaches
        ``(k - 1) // 2`` pixels back and ``k // 2`` ahead.
    min_distance : float or tuple of floats, optional
        Least Euclidean distance in pixels between the pixels of two peaks of a frame. Enforced
        greedily from the strongest peak on; of equally strong ones the first in memory order wins.
        With one number an axis, distances are measured in units of them. Maxima and minima do
        not keep each other away.
    threshold_abs : float, optional
        Only peaks above this value; with ``background`` or `sigma`, only those of
        ``value - background > threshold_abs * sigma``.
    threshold_rel : float, optional
        Only peaks above this fraction of the greatest value of their frame; with ``background``, of the greatest
        height above that, both heights in units of the image.
    background : number, array of the shape of the image or of one frame, or Background, optional
        Level of the background; 0 if only `sigma` is given. That `local_background` returns brings its
        noise as `sigma`. No peak where it is NaN.
    sigma : number above 0 or array of the shape of the image or of one frame, optional
        Standard deviation of the noise; 1 if only ``background`` is given. Where it is 0, all that is above
        the background exceeds any threshold; where it is negative or NaN, there is no peak.
    exclude_border : bool, int or tuple of ints, default True
        True: the whole window of a peak is inside the image. False: the part of the window that
        is inside counts. A number, of all axes or one an axis: no peak closer than this to the
        border, in pixels; windows that reach beyond the image count as for False.
    num_peaks : int, optional
        At most this many peaks a frame, the strongest.
    plateau : {"drop", "first", "centroid"}, default "drop"
        What to do where several adjacent pixels share the greatest value, as saturated spots do.
        Report nothing; the first pixel in memory order; or the centroid of the pixels, which is
        not refined further. Reported ones are flagged ``PLATEAU``.
    minima : bool, default False
        Find minima too, in the same pass. They are the maxima of the negated image, held to the
        same thresholds, and are flagged ``MINIMUM``. A pixel with no other in its window is both.
    mask : bool array of the shape of the image or of one frame, optional
        True where pixels are to be ignored: they are no peaks, and hide none. A peak whose
        refinement needs one of them stays at its pixel, flagged ``MASKED``.
    refine : {"quadratic", "parabola", "centroid", None}, default "quadratic"
        Method of refinement, see `refine_peaks`.
    n_iters : int, default 5
        Most iterations of refinement.
    max_shift : float, default 1.5
        Furthest that refinement may go from the pixel of the peak, in pixels on any axis.
    radius : float or tuple of floats, default 3.0
        Radius in pixels of the window of ``"centroid"``, of all axes or one an axis.
    frame_axis : int, optional
        The axis of a stack along which images are independent. Peaks then carry their frame.

    Returns
    -------
    Peaks
        One row a peak, frame by frame, the strongest first. Coordinates in pixels, (y, x) or
        (z, y, x). No peaks give an empty table. Its arrays are of the library of the image.

    Raises
    ------
    TypeError
        If an argument is of the wrong type, or the image not of real numbers.
    ValueError
        If the image does not have two or three dimensions, or a number is out of range.

    See Also
    --------
    refine_peaks : Refine positions that you have.
    local_background : Background and noise around each pixel.
    nms2d : Maxima as a mask.

    Notes
    -----
    Thresholds are exceeded, not met, as in ``skimage.feature.peak_local_max``. Needs one byte a
    pixel besides the result, and a copy of the image with a mask. On a GPU the host waits once, to know how many
    peaks there are, and once more with `min_distance`.

    The strongest peak is that of the greatest value; with ``background`` or `sigma`, that of the greatest
    ``(value - background) / sigma``, in float64, which may be another. Both are those of the pixel of the peak, for
    a plateau its first pixel. Which pixels are maxima, their refinement and `values` do not depend on either.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:20, :30]
    >>> image = 90 * np.exp(-((y - 7.3) ** 2 + (x - 9.6) ** 2) / 8)
    >>> image += 60 * np.exp(-((y - 12.1) ** 2 + (x - 20.4) ** 2) / 8)
    >>> npsubpix.find_peaks(image, threshold_abs=10)
    Peaks: 2 in 2-D
         y      x  value  flags
      7.30   9.60  89.63  -
     12.10  20.39  59.82  -
    """
    x = as_array(image, "image")
    ndim = check_stack(x, frame_axis)
    lengths = check_per_axis(size, ndim, "size", 1)
    check_choice(plateau, "plateau", PLATEAUS)
    search = PeakSearch(
        size=lengths,
        margins=_margins(exclude_border, lengths),
        threshold_abs=None if threshold_abs is None else check_finite(threshold_abs, "threshold_abs"),
        threshold_rel=None if threshold_rel is None else check_finite(threshold_rel, "threshold_rel"),
        plateau=plateau,
        minima=check_bool(minima, "minima"),
        min_distance=None if min_distance is None else check_lengths(min_distance, ndim, "min_distance"),
        num_peaks=None if num_peaks is None else check_count(num_peaks, "num_peaks"),
    )
    if isinstance(background, Background):
        sigma = background.noise if sigma is None else sigma
        background = background.level
    refinement = check_refinement(refine, "refine", n_iters, max_shift, radius, ndim)
    coords, values, indices, flags, frame = call(
        "find_peaks", x, mask, background, sigma, frame_axis=frame_axis, search=search, refinement=refinement
    )
    return Peaks(coords, values, indices, flags, None if frame_axis is None else frame)


def _margins(exclude_border: Any, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the widths of the border before and after, an axis, where no peak is reported."""
    if isinstance(exclude_border, (bool, np.bool_)):
        return sum(map(reach, size), ()) if exclude_border else (0,) * (2 * len(size))
    widths = check_per_axis(exclude_border, len(size), "exclude_border")
    return tuple(width for width in widths for _ in range(2))
