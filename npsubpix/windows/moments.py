"""Moments of the window around each pixel: sums, means, variances and centroids."""

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
) -> Array:
    """Sum the pixels of the window around each pixel, at a cost that does not grow with the window.

    Parameters
    ----------
    image : array of 1 to 3 dimensions
        Image, of any integer or float dtype: NumPy, CuPy or torch, or a JAX array on the host.
    size : int or tuple of ints, optional
        Length of the window in pixels, of all axes or one an axis. A window of k pixels begins k // 2 pixels
        before its pixel, as in ``scipy.ndimage``. Not with `footprint` or `weights`, which have their own.
    footprint : array of bool, of the dimensions of the image, optional
        Which pixels of a window count; its centre is that of index k // 2 along each axis. It and weights may be on
        the host if the image is on a GPU; there they are not looked into.
    weights : array of floats, of the dimensions of the image, optional
        Weights of the pixels of a window.
    border : str, default "shrink"
        "shrink": windows end where the image does, and have fewer pixels there. Or how the image goes on, as for
        `correlate`: "reflect", "mirror", "nearest", "wrap" or "constant".
    cval : float, default 0.0
        Value beyond the ends for "constant"; for images of integers it is rounded.
    stride : int or tuple of ints, default 1
        Pixels between windows, of all axes or one an axis.
    dtype : dtype, optional
        Dtype of the result. Integers are rounded to the nearest and kept within the range of the dtype. By default:
        sums of floats are of the dtype of the image, of integers int64; means, variances and standard deviations
        float32 for float32 and integers of up to 16 bits, and else float64; extrema and percentiles of the dtype of
        the image; ranges too, but without a sign for integers; centroids float64.

    Returns
    -------
    array
        Sums, of the shape of the image, divided by the stride and rounded up. A window with NaN gives NaN,
        and no other does.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If neither a size nor a footprint nor weights are given, dimensions differ, or an option is out of range.

    See Also
    --------
    window_map : Any function of windows.
    correlate : Weighted sums that can be differentiated, with NaN left out if wanted.

    Notes
    -----
    Nothing is ever subtracted [1]_, so that huge values do not spoil the windows after them. With a footprint or
    weights the cost grows with the pixels that count.

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
    """
    return reduce_image(image, "sum", size, footprint, weights, border, cval, stride, dtype)


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
) -> Array:
    r"""Average the pixels of the window around each pixel, at a cost that does not grow with the window.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array
        :math:`\sum w x / \sum w` over the pixels of the window that are in the image; NaN if there are none.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_median : Not drawn by outliers.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_mean
    >>> window_mean(np.array([0.0, 3.0, 6.0, 0.0]), 3)
    array([1.5, 3. , 3. , 3. ])
    """
    return reduce_image(image, "mean", size, footprint, weights, border, cval, stride, dtype)


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
) -> Array:
    r"""Variance of the pixels of the window around each pixel, at a cost that does not grow with the window.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype
        As for `window_sum`; weights must not be negative.

    Returns
    -------
    array
        :math:`\sum w (x - m)^2 / \sum w`, with the mean m of the window; NaN if it has no pixels.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_std : Its square root.

    Notes
    -----
    Variances of parts of a window are joined by the difference of their means [1]_: no squares of large numbers are
    subtracted, and nothing is lost where the image is far from 0. In three dimensions the cost grows with the window.

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
    return reduce_image(image, "var", size, footprint, weights, border, cval, stride, dtype)


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
) -> Array:
    """Take the standard deviation of the pixels of the window around each pixel.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype
        As for `window_var`.

    Returns
    -------
    array
        The square root of what `window_var` returns.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    window_var : Its square.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_std
    >>> window_std(np.array([[1.0, 3.0], [1.0, 3.0]]), 2)
    array([[0., 1.],
           [0., 1.]])
    """
    return reduce_image(image, "std", size, footprint, weights, border, cval, stride, dtype)


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
) -> Array:
    """Find the centroid of the window around each pixel.

    Parameters
    ----------
    image, size, footprint, weights, border, cval, stride, dtype
        As for `window_sum`.

    Returns
    -------
    array of shape (ndim, ...)
        Coordinates in pixels of the image, that of the first axis first; NaN where the pixels of the window sum to 0.

    Raises
    ------
    TypeError, ValueError
        As `window_sum`.

    See Also
    --------
    refine_peaks : Centroids of peaks, under a window that moves with them.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import window_centroid
    >>> image = np.zeros((5, 5))
    >>> image[2, 2:4] = 3, 1
    >>> window_centroid(image, 3)[:, 2, 2]
    array([2.  , 2.25])
    """
    return reduce_image(image, "centroid", size, footprint, weights, border, cval, stride, dtype)
