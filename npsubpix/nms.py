"""Non-maximum suppression: keep the pixels that are strictly greater than all others in their window."""

from __future__ import annotations

from npsubpix._arrays.checks import check_ndim
from npsubpix._arrays.library import Array, as_array, without_booleans, without_gradient
from npsubpix._arrays.options import check_bool, check_window
from npsubpix._dispatch.call import call

__all__ = ["nms2d", "nms3d", "nms3d_minmax"]


def _suppress(x: Array, size: tuple[int, ...], mask_only: bool) -> Array:
    if mask_only:
        return call("nms_mask", without_gradient(without_booleans(x)), kernel_size=size)[0]
    return call("nms", without_booleans(x, "int64"), kernel_size=size)[0]  # of booleans, kornia makes this dtype


def nms2d(input: Array, kernel_size: tuple[int, int], mask_only: bool = False) -> Array:
    """Keep the strict maxima of images.

    A pixel is kept if it is strictly greater than every other pixel of its window, and if the
    whole window lies inside the image. Plateaus have no strict maximum, and neither has a window
    that contains NaN. A map smaller than the window has no maxima, and the window (1, 1) keeps
    every pixel.

    Parameters
    ----------
    input : array of shape (B, C, H, W)
        Images of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    kernel_size : tuple of two ints
        Height and width of the window in pixels. A window of even size k extends ``(k - 1) // 2``
        pixels before its centre and ``k // 2`` pixels after it.
    mask_only : bool, default False
        Return the mask of the maxima instead of their values.

    Returns
    -------
    array of shape (B, C, H, W)
        The input at maxima and 0 elsewhere, in the dtype of the input; or the mask of the maxima.
        An array of the library of the input.

    Raises
    ------
    TypeError
        If the input does not hold real numbers, or `kernel_size` is not a tuple of integers.
    ValueError
        If the input does not have four dimensions, or a size is below 1.

    See Also
    --------
    nms3d : Keep the strict maxima of volumes.
    find_peaks : Find peaks as a list, with thresholds, distances and sub-pixel positions.

    Notes
    -----
    Follows ``kornia.geometry.subpix.nms2d`` of kornia 0.9.0. Windows of 3 x 3 pixels are compared
    directly. Others use the algorithm of [1]_ and [2]_ down the columns, whose cost does not depend
    on the height of the window, and doubling along the rows, whose cost grows with the logarithm of
    its width.

    References
    ----------
    .. [1] M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and
       octagonal kernels", Pattern Recognition Letters 13(7), 517-521, 1992.
    .. [2] J. Gil and M. Werman, "Computing 2-D min, median, and max filters", IEEE Transactions on
       Pattern Analysis and Machine Intelligence 15(5), 504-507, 1993.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> image = np.zeros((1, 1, 5, 5), np.float32)
    >>> image[0, 0, 1, 1], image[0, 0, 3, 2:4] = 2, 1  # a peak, and a plateau of two pixels
    >>> npsubpix.nms2d(image, (3, 3))[0, 0]
    array([[0., 0., 0., 0., 0.],
           [0., 2., 0., 0., 0.],
           [0., 0., 0., 0., 0.],
           [0., 0., 0., 0., 0.],
           [0., 0., 0., 0., 0.]], dtype=float32)
    """
    x = as_array(input, "input")
    check_ndim(x, 4, "input", "(B, C, H, W)")
    size = check_window(kernel_size, 2, "kernel_size")
    return _suppress(x, size, check_bool(mask_only, "mask_only"))


def nms3d(input: Array, kernel_size: tuple[int, int, int], mask_only: bool = False) -> Array:
    """Keep the strict maxima of volumes.

    The rules are those of `nms2d`, over depth, height and width.

    Parameters
    ----------
    input : array of shape (B, C, D, H, W)
        Volumes of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    kernel_size : tuple of three ints
        Depth, height and width of the window in voxels.
    mask_only : bool, default False
        Return the mask of the maxima instead of their values.

    Returns
    -------
    array of shape (B, C, D, H, W)
        The input at maxima and 0 elsewhere, in the dtype of the input; or the mask of the maxima.
        An array of the library of the input.

    Raises
    ------
    TypeError
        If the input does not hold real numbers, or `kernel_size` is not a tuple of integers.
    ValueError
        If the input does not have five dimensions, or a size is below 1.

    See Also
    --------
    nms2d : Keep the strict maxima of images; states the rules.
    nms3d_minmax : Find maxima and minima in one call.

    Notes
    -----
    Follows ``kornia.geometry.subpix.nms3d`` of kornia 0.9.0.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> volume = np.zeros((1, 1, 3, 4, 4))
    >>> volume[0, 0, 1, 2, 1] = 1
    >>> np.argwhere(npsubpix.nms3d(volume, (3, 3, 3), mask_only=True))
    array([[0, 0, 1, 2, 1]])
    """
    x = as_array(input, "input")
    check_ndim(x, 5, "input", "(B, C, D, H, W)")
    size = check_window(kernel_size, 3, "kernel_size")
    return _suppress(x, size, check_bool(mask_only, "mask_only"))


def nms3d_minmax(input: Array) -> tuple[Array, Array]:
    """Mark the strict 3 x 3 x 3 maxima and minima of volumes in one pass.

    Parameters
    ----------
    input : array of shape (B, C, D, H, W)
        Volumes of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.

    Returns
    -------
    max_mask, min_mask : bool arrays of shape (B, C, D, H, W)
        True where a voxel is strictly greater, or strictly less, than its 26 neighbours, all of
        which must lie inside the volume and not be NaN. Arrays of the library of the input.

    Raises
    ------
    TypeError
        If the input does not hold real numbers.
    ValueError
        If the input does not have five dimensions.

    See Also
    --------
    nms3d : Keep maxima only, with any window.

    Notes
    -----
    Follows ``kornia.geometry.subpix.nms3d_minmax`` of kornia 0.9.0.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> volume = np.zeros((1, 1, 3, 3, 5), np.int16)
    >>> volume[0, 0, 1, 1, 1:4] = 3, 0, -3
    >>> maxima, minima = npsubpix.nms3d_minmax(volume)
    >>> np.argwhere(maxima)[:, 2:], np.argwhere(minima)[:, 2:]
    (array([[1, 1, 1]]), array([[1, 1, 3]]))
    """
    x = without_booleans(as_array(input, "input"))
    check_ndim(x, 5, "input", "(B, C, D, H, W)")
    maxima, minima = call("nms3d_minmax", without_gradient(x))
    return maxima, minima
