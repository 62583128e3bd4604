"""Moments of a sliding window: sums, means, variances and centroids."""

from __future__ import annotations

import numpy.typing as npt

from npsubpix._arrays.library import Array
from npsubpix.windows.reduce import reduce_image

__all__ = ["window_centroid", "window_mean", "window_std", "window_sum", "window_var"]


def window_sum(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    weights: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Sum a sliding window, at a cost that does not depend on its size.

    Parameters
    ----------
    image : array of 1 to 3 dimensions
        Image, of any integer or float dtype: NumPy, CuPy or torch, or a JAX array on the host.
    size : int or tuple of ints, optional
        Length of the window in pixels, for all axes or per axis. A window of k pixels starts k // 2 pixels before its
        pixel, as in ``scipy.ndimage``. Omit it if `footprint` or `weights` is given.
    footprint : array of bool with the dimensions of the image, optional
        Pixels of the window that count. The centre has index k // 2 along each axis. For an image on a GPU, the
        footprint and the weights may be on the host; on the GPU, their contents are not checked.
    weights : array of floats with the dimensions of the image, optional
        Weights of the pixels of the window.
    border : str, default "shrink"
        "shrink": windows are clipped to the image. Otherwise the border extension, as for `correlate`: "reflect",
        "mirror", "nearest", "wrap" or "constant".
    cval : float, default 0.0
        Value outside of the image for "constant". It is rounded for images of integers.
    stride : int or tuple of ints, default 1
        Step between windows in pixels, for all axes or per axis.
    dtype : dtype, optional
        Dtype of the result. Integers are rounded to the nearest and saturate at the limits of the dtype. The default
        depends on the statistic. Sums: the dtype of the image for floats; int64 for integers, uint64 for uint64;
        floats if weighted. Means, variances and standard deviations: float32 for float32 and integers of up to 16
        bits, otherwise float64. Extrema and percentiles: the dtype of the image. Ranges: the same, unsigned for
        integers. Centroids: float64. For a dtype of floats, extrema, ranges and percentiles of integers are those
        of the image in floats, with fractions, and NaN where no pixel counts.
    nan_policy : {"propagate", "omit"}, default "propagate"
        Treatment of NaN. "propagate": a window that contains NaN gives NaN. "omit": NaN does not count, as in
        ``numpy.nansum`` and the like; a `cval` of NaN does not count either.
    mask : array of bool of the shape of the image, optional
        True for pixels that do not count, whatever they hold; nor do their copies beyond the border. The mask of a
        ``numpy.ma`` array or of an astropy ``CCDData`` is joined with it.

    Returns
    -------
    array
        Sums. The shape is that of the image divided by the stride, rounded up. Windows that contain NaN, and only
        these, give NaN, unless it is omitted. A window in which no pixel counts has the sum 0; all other statistics
        of it are NaN, or 0 for integers.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If no size, footprint or weights are given, dimensions differ, or an option is out of range.

    See Also
    --------
    window_map : Arbitrary functions of windows.
    correlate : Differentiable weighted sums.

    Notes
    -----
    No running sum is subtracted from another [1]_, so a huge value has no effect on windows that do not contain it.
    With a footprint or weights, the cost is proportional to the number of pixels that count.

    Integers are summed in the first of float32, float64 and 64-bit integers in which every sum is exact; only means
    of integers whose sums may exceed 2^53 are rounded. Windows of up to 4096 pixels of float32 are summed in float32,
    larger ones in float64.

    References
    ----------
    .. [1] M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels",
       Pattern Recognition Letters 13, 517-521 (1992).

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_sum
    >>> window_sum(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), 3)
    array([[12, 21, 16],
           [12, 21, 16]])
    >>> window_sum(np.arange(6.0), footprint=[True, False, True])
    array([1., 2., 4., 6., 8., 4.])
    >>> window_sum(np.array([1.0, np.nan, 4.0, 8.0]), 2, nan_policy="omit")
    array([ 1.,  1.,  4., 12.])
    """
    return reduce_image(image, "sum", size, footprint, weights, border, cval, stride, dtype, nan_policy, mask)


def window_mean(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    weights: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    r"""Average a sliding window, at a cost that does not depend on its size.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array
        Means :math:`\sum w x / \sum w` over the pixels of the window that count; NaN if there are none.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_median : Average that is robust against outliers.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_mean
    >>> window_mean(np.array([0.0, 3.0, 6.0, 0.0]), 3)
    array([1.5, 3. , 3. , 3. ])
    """
    return reduce_image(image, "mean", size, footprint, weights, border, cval, stride, dtype, nan_policy, mask)


def window_var(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    weights: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    r"""Compute the variance of a sliding window, at a cost that does not depend on its size.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`. Weights must not be negative.

    Returns
    -------
    array
        Variances :math:`\sum w (x - m)^2 / \sum w`, where m is the mean of the window; NaN if it has no pixels.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_std : Square root of the variance.

    Notes
    -----
    The variances of parts of a window are combined by the differences of their means [1]_. Since no squares of large
    numbers are subtracted, a large offset of the image costs no precision. In three dimensions, the cost grows with
    the size of the window. Variances are computed in float64; those of float32 images of about 1e-20 and below or
    1e+19 and above, which float32 does not represent, are returned with ``dtype=np.float64``.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample
       variances", COMPSTAT 1982, 30-41.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_var
    >>> window_var(np.array([1.0, 2.0, 3.0, 7.0]) + 1e9, 3).round(3)
    array([0.25 , 0.667, 4.667, 4.   ])
    """
    return reduce_image(image, "var", size, footprint, weights, border, cval, stride, dtype, nan_policy, mask)


def window_std(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    weights: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute the standard deviation of a sliding window.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask
        As for `window_var`.

    Returns
    -------
    array
        Standard deviations: square roots of the variances of `window_var`.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    window_var : Square of the standard deviation.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_std
    >>> window_std(np.array([[1.0, 3.0], [1.0, 3.0]]), 2)
    array([[0., 1.],
           [0., 1.]])
    """
    return reduce_image(image, "std", size, footprint, weights, border, cval, stride, dtype, nan_policy, mask)


def window_centroid(
    image: Array,
    /,
    size: int | tuple[int, ...] | None = None,
    *,
    footprint: Array | None = None,
    weights: Array | None = None,
    border: str = "shrink",
    cval: float = 0.0,
    stride: int | tuple[int, ...] = 1,
    dtype: npt.DTypeLike | None = None,
    nan_policy: str = "propagate",
    mask: Array | None = None,
) -> Array:
    """Compute the centroid of a sliding window.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype, nan_policy, mask
        As for `window_sum`.

    Returns
    -------
    array of shape (ndim, ...)
        Coordinates in pixels of the image, in the order of its axes; NaN where the pixels of the window sum to 0.

    Raises
    ------
    TypeError, ValueError
        As for `window_sum`.

    See Also
    --------
    refine_peaks : Centroids of peaks, in windows that follow the centroid.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_centroid
    >>> image = np.zeros((5, 5))
    >>> image[2, 2:4] = 3, 1
    >>> window_centroid(image, 3)[:, 2, 2]
    array([2.  , 2.25])
    """
    return reduce_image(image, "centroid", size, footprint, weights, border, cval, stride, dtype, nan_policy, mask)
