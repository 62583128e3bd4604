"""Soft-argmax over windows: the softmax-weighted mean position and value of each window, as in kornia."""

from __future__ import annotations

from npsubpix._arrays.checks import check_ndim, check_temperature_option
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_bool, check_finite, check_padding, check_per_axis, check_window
from npsubpix._dispatch.call import call

__all__ = ["conv_soft_argmax2d", "conv_soft_argmax3d"]


def _soft_argmax(
    input: Array,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...] | int,
    padding: tuple[int, ...] | int,
    temperature: Array | float,
    normalized_coordinates: bool,
    eps: float,
    output_value: bool,
    strict_maxima_bonus: float,
    axes: str,
) -> Array | tuple[Array, Array]:
    x = as_array(input, "input")
    ndim = axes.count(",") - 1
    check_ndim(x, ndim + 2, "input", axes)
    window = check_window(kernel_size, ndim, "kernel_size")
    check_finite(eps, "eps")
    coords, values = call(
        "conv_soft_argmax",
        x,
        check_temperature_option(temperature, tuple(x.shape[:2])),
        kernel_size=window,
        stride=check_per_axis(stride, ndim, "stride", 1),
        padding=check_padding(padding, window, tuple(x.shape[2:])),
        normalized_coordinates=check_bool(normalized_coordinates, "normalized_coordinates"),
        strict_maxima_bonus=check_finite(strict_maxima_bonus, "strict_maxima_bonus"),
        output_value=check_bool(output_value, "output_value"),
    )
    return (coords, values) if output_value else coords


def conv_soft_argmax2d(
    input: Array,
    kernel_size: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    temperature: Array | float = 1.0,
    normalized_coordinates: bool = True,
    eps: float = 1e-8,
    output_value: bool = False,
) -> Array | tuple[Array, Array]:
    r"""Locate the soft maximum of every window of heat maps.

    A window X is a set of pixels p with values v and positions (x, y). With weights
    :math:`w_p = \exp(v_p / T)`, its position and value are

    .. math::
        xy(X) = \frac{\sum_{p \in X} w_p\,(x_p, y_p)}{\sum_{p \in X} w_p}
        \qquad
        val(X) = \frac{\sum_{p \in X} w_p\,v_p}{\sum_{p \in X} w_p}.

    Exponents of a window are relative to its own maximum, so that a window far below the peak of the
    map is as exact as any other. Padding has no weight: a window that extends beyond the border is
    the mean over its pixels inside.

    Parameters
    ----------
    input : array of shape (B, C, H, W)
        Heat maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    kernel_size : tuple of two ints, default (3, 3)
        Height and width of the window in pixels.
    stride : tuple of two ints or int, default (1, 1)
        Pixels from one window to the next along each axis.
    padding : tuple of two ints or int, default (1, 1)
        Padding at both ends of each axis, at most half of the window.
    temperature : float or array, default 1.0
        Divides the input: a lower temperature is sharper. Positive; one for all maps, or an array that
        broadcasts to shape (B, C).
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 between the centres of the first and the last pixel of an axis,
        instead of pixels. An axis of one pixel stays in pixels.
    eps : float, default 1e-8
        Has no effect: the weights of a window sum to 1 or more.
    output_value : bool, default False
        Also return the values.

    Returns
    -------
    coords : array of shape (B, C, 2, H_out, W_out)
        Position of the soft maximum of every window, in the order (x, y), with
        ``H_out = (H + 2 * padding[0] - kernel_size[0]) // stride[0] + 1`` and W_out likewise.
    values : array of shape (B, C, H_out, W_out)
        Value of every window, if `output_value`. Both have the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. They are NaN where a window contains NaN; in a
        window with infinity, the pixels of +inf share all weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the input does not have four dimensions, a number is out of range, or no window fits.

    See Also
    --------
    conv_soft_argmax3d : The same for volumes.
    spatial_soft_argmax2d : Soft maximum of whole maps.
    find_peaks : List of peaks instead of a dense map.

    Notes
    -----
    Follows ``kornia.geometry.subpix.conv_soft_argmax2d``: signature of kornia 0.8.3, arithmetic of
    0.9.0. Differentiable with respect to `input` and `temperature`.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import conv_soft_argmax2d
    >>> input = np.random.default_rng(0).standard_normal((20, 16, 50, 32))
    >>> nms_coords, nms_val = conv_soft_argmax2d(input, (3, 3), (2, 2), (1, 1), output_value=True)
    >>> nms_coords.shape, nms_val.shape
    ((20, 16, 2, 25, 16), (20, 16, 25, 16))

    A window far below the peak of its map:

    >>> counts = np.zeros((1, 1, 3, 9), np.uint16)
    >>> counts[0, 0, 1, 1], counts[0, 0, 1, 6:8] = 60000, (120, 120)
    >>> coords = conv_soft_argmax2d(counts, padding=0, normalized_coordinates=False)
    >>> coords[0, 0, 0, 0].round(3)
    array([1. , 1. , 3. , 4. , 6. , 6.5, 6.5], dtype=float32)
    """
    return _soft_argmax(
        input,
        kernel_size,
        stride,
        padding,
        temperature,
        normalized_coordinates,
        eps,
        output_value,
        0.0,
        "(B, C, H, W)",
    )


def conv_soft_argmax3d(
    input: Array,
    kernel_size: tuple[int, int, int] = (3, 3, 3),
    stride: tuple[int, int, int] = (1, 1, 1),
    padding: tuple[int, int, int] = (1, 1, 1),
    temperature: Array | float = 1.0,
    normalized_coordinates: bool = False,
    eps: float = 1e-8,
    output_value: bool = True,
    strict_maxima_bonus: float = 0.0,
) -> Array | tuple[Array, Array]:
    """Locate the soft maximum of every window of volumes.

    The definition is that of `conv_soft_argmax2d`, over depth, height and width.

    Parameters
    ----------
    input : array of shape (B, C, D, H, W)
        Volumes of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    kernel_size : tuple of three ints, default (3, 3, 3)
        Depth, height and width of the window in voxels.
    stride : tuple of three ints or int, default (1, 1, 1)
        Voxels from one window to the next along each axis.
    padding : tuple of three ints or int, default (1, 1, 1)
        Padding at both ends of each axis, at most half of the window.
    temperature : float or array, default 1.0
        Divides the input: a lower temperature is sharper. Positive; one for all volumes, or an array
        that broadcasts to shape (B, C).
    normalized_coordinates : bool, default False
        Return coordinates from -1 to 1 between the centres of the first and the last voxel of an axis,
        instead of voxels. An axis of one voxel stays in voxels.
    eps : float, default 1e-8
        Has no effect: the weights of a window sum to 1 or more.
    output_value : bool, default True
        Also return the values.
    strict_maxima_bonus : float, default 0.0
        Multiply the value of a window whose centre is its strict maximum, as in `nms3d`, by
        ``1 + strict_maxima_bonus``. The centre of an even window is the voxel before its middle.

    Returns
    -------
    coords : array of shape (B, C, 3, D_out, H_out, W_out)
        Position of the soft maximum of every window, in the order (scale, x, y), with
        ``D_out = (D + 2 * padding[0] - kernel_size[0]) // stride[0] + 1``, and H_out and W_out likewise.
    values : array of shape (B, C, D_out, H_out, W_out)
        Value of every window, if `output_value`. Dtypes, NaN and infinity are as for
        `conv_soft_argmax2d`.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the input does not have five dimensions, a number is out of range, or no window fits.

    See Also
    --------
    conv_soft_argmax2d : The same for images, with the formulas.
    iterative_quad_interp3d : Positions from quadratics fitted at the maxima.

    Notes
    -----
    Follows ``kornia.geometry.subpix.conv_soft_argmax3d``: signature and bonus as documented in kornia
    0.8.3, arithmetic of 0.9.0. Differentiable with respect to `input` and `temperature`.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import conv_soft_argmax3d
    >>> input = np.random.default_rng(0).standard_normal((20, 16, 3, 50, 32))
    >>> nms_coords, nms_val = conv_soft_argmax3d(input, (3, 3, 3), (1, 2, 2), (0, 1, 1))
    >>> nms_coords.shape, nms_val.shape
    ((20, 16, 3, 1, 25, 16), (20, 16, 1, 25, 16))
    """
    return _soft_argmax(
        input,
        kernel_size,
        stride,
        padding,
        temperature,
        normalized_coordinates,
        eps,
        output_value,
        strict_maxima_bonus,
        "(B, C, D, H, W)",
    )
