"""Order statistics of the window around each pixel: extrema, medians and percentiles."""

from __future__ import annotations

import numpy.typing as npt

from npsubpix._arrays.library import Array
from npsubpix.windows.reduce import reduce_image

__all__ = ["window_max", "window_median", "window_min", "window_percentile", "window_range"]


def window_min(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Find the least pixel of the window around each pixel, at a cost that does not grow with the window.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array
        Minima. Where a footprint has no pixel in the image, NaN, or 0 in integers.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_max : The greatest.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_min
    >>> window_min(np.array([4, 2, 7, 8, 9]), 3)
    array([2, 2, 2, 7, 8])
    """
    return reduce_image(image, "min", size, footprint, None, border, cval, stride, dtype)


def window_max(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Find the greatest pixel of the window around each pixel, at a cost that does not grow with the window.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array
        Maxima. Where a footprint has no pixel in the image, NaN, or 0 in integers.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_min : The least.
    nms2d : Which pixels are the greatest of their window.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_max
    >>> window_max(np.array([4, 2, 7, 8, 9]), 3)
    array([4, 7, 8, 9, 9])
    """
    return reduce_image(image, "max", size, footprint, None, border, cval, stride, dtype)


def window_range(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Subtract the least from the greatest pixel of the window around each pixel.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array
        Ranges; for integers without a sign, so that none overflows.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_std : Another measure of contrast.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_range
    >>> window_range(np.array([-100, 100, 90], np.int8), 3)
    array([200, 200,  10], dtype=uint8)
    """
    return reduce_image(image, "range", size, footprint, None, border, cval, stride, dtype)


def window_median(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Find the median of the window around each pixel.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array
        Medians; of an even number of pixels the mean of the middle two, rounded in integers. Where a footprint has no
        pixel in the image, NaN, or 0 in integers. A window with NaN gives NaN. Integers beyond 2^53 are rounded.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_percentile : Other ranks.

    Notes
    -----
    Up to 27 pixels are sorted by a network. For larger windows, blocks of the image are sorted once and windows slide
    over the ranks [1]_, so that the cost grows with the length of the window and not its area.

    References
    ----------
    .. [1] J. Suomela, "Median filtering is equivalent to sorting", arXiv:1406.1717 (2014).

    Examples
    --------
    A hot pixel goes:

    >>> import numpy as np
    >>> from npsubpix import window_median
    >>> window_median(np.array([[1.0, 2, 3], [4, 1000, 6], [7, 8, 9]]), 3)[1, 1]
    np.float64(6.0)
    """
    return reduce_image(image, "median", size, footprint, None, border, cval, stride, dtype)


def window_percentile(
    image: Array,
    /,
    q: float,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
) -> Array:
    """Find a percentile of the window around each pixel.

    Parameters
    ----------
    image : array of 1 to 3 dimensions
        As for `window_sum`.
    q : float
        Percentile, from 0 to 100. Between two pixels it is interpolated, as ``numpy.percentile`` does.
    size, footprint, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array
        Percentiles, as `window_median` returns them.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`, and if `q` is not from 0 to 100.

    See Also
    --------
    window_median : That of 50.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_percentile
    >>> window_percentile(np.array([0.0, 4.0, 2.0, 8.0, 6.0]), 25, 3)
    array([1. , 1. , 3. , 4. , 6.5])
    """
    return reduce_image(image, "percentile", size, footprint, None, border, cval, stride, dtype, q)
