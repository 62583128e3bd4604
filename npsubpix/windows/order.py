"""Order statistics of a sliding window: extrema, medians and percentiles."""

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
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute the minimum of a sliding window, at a cost that does not depend on its size.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array
        Minima. Where no pixel counts, NaN, or 0 for integers.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_max : Maximum of a sliding window.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_min
    >>> window_min(np.array([4, 2, 7, 8, 9]), 3)
    array([2, 2, 2, 7, 8])
    """
    return reduce_image(image, "min", size, footprint, None, border, cval, stride, dtype, nan_policy, mask)


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
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute the maximum of a sliding window, at a cost that does not depend on its size.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array
        Maxima. Where no pixel counts, NaN, or 0 for integers.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_min : Minimum of a sliding window.
    nms2d : Pixels that are the maximum of their window.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_max
    >>> window_max(np.array([4, 2, 7, 8, 9]), 3)
    array([4, 7, 8, 9, 9])
    """
    return reduce_image(image, "max", size, footprint, None, border, cval, stride, dtype, nan_policy, mask)


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
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute the range of a sliding window: the difference of its maximum and its minimum.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array
        Ranges. Those of integers are unsigned, so that none overflows. Where no pixel counts, NaN, or 0 for integers.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_std : Standard deviation, another measure of contrast.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_range
    >>> window_range(np.array([-100, 100, 90], np.int8), 3)
    array([200, 200,  10], dtype=uint8)
    """
    return reduce_image(image, "range", size, footprint, None, border, cval, stride, dtype, nan_policy, mask)


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
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute the median of a sliding window.

    Parameters
    ----------
    image, size, footprint, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array
        Medians. For an even number of pixels, the mean of the middle two, which is rounded for integers. Windows that
        contain NaN give NaN, unless it is omitted. Where no pixel counts, the result is NaN, or 0 for integers.
        A mean of integers beyond 2^53 is rounded to float64.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_percentile : Any percentile of a sliding window.

    Notes
    -----
    Windows of up to 27 pixels are sorted by a sorting network. For larger windows, blocks of the image are sorted once
    and windows slide over the ranks [1]_, so the cost grows with the length of the window rather than its area.

    References
    ----------
    .. [1] J. Suomela, "Median filtering is equivalent to sorting", arXiv:1406.1717 (2014).

    Examples
    --------
    Remove a hot pixel:

    >>> import numpy as np
    >>> from npsubpix import window_median
    >>> window_median(np.array([[1.0, 2, 3], [4, 1000, 6], [7, 8, 9]]), 3)[1, 1]
    np.float64(6.0)

    Leave out pixels that are missing:

    >>> window_median(np.array([3.0, np.nan, 7.0, 4.0, 5.0]), 3, nan_policy="omit")
    array([3. , 5. , 5.5, 5. , 4.5])
    """
    return reduce_image(image, "median", size, footprint, None, border, cval, stride, dtype, nan_policy, mask)


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
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute a percentile of a sliding window.

    Parameters
    ----------
    image : array of 1 to 3 dimensions
        As for `window_sum`.
    q : float
        Percentile, from 0 to 100. Between two pixels, it is interpolated linearly, as in ``numpy.percentile``.
    size, footprint, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array
        Percentiles. Rounding, NaN and empty windows are treated as in `window_median`.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`, and if `q` is not from 0 to 100.

    See Also
    --------
    window_median : The 50th percentile.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_percentile
    >>> window_percentile(np.array([0.0, 4.0, 2.0, 8.0, 6.0]), 25, 3)
    array([1. , 1. , 3. , 4. , 6.5])
    """
    return reduce_image(image, "percentile", size, footprint, None, border, cval, stride, dtype, nan_policy, mask, q)
