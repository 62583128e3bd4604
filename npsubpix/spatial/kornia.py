"""Whole maps as kornia has them: two axes, the order (x, y), normalised coordinates."""

from __future__ import annotations

from npsubpix._arrays.checks import check_ndim, check_temperature_option
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_bool
from npsubpix._dispatch.call import call

__all__ = ["spatial_expectation2d", "spatial_soft_argmax2d", "spatial_softmax2d"]


def spatial_softmax2d(input: Array, temperature: Array | float | None = None) -> Array:
    """Turn each map into a distribution by a softmax over its pixels.

    Parameters
    ----------
    input : array of shape (B, N, H, W)
        Heat maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: less is sharper. Positive; one for all maps, or an array that broadcasts
        to shape (B, N). 1 if not given.

    Returns
    -------
    array of shape (B, N, H, W)
        The distributions, of the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. A map with NaN is NaN. Of a map with infinity,
        the pixels of +inf share all weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the input does not have four dimensions, or a temperature is not positive and finite.

    See Also
    --------
    spatial_softmax : The same in 1, 2 or 3 dimensions, with weights.
    spatial_soft_argmax2d : The mean position of the distribution, in one pass.

    Notes
    -----
    Follows ``kornia.geometry.subpix.spatial_softmax2d`` of kornia 0.9.0; 0.8.3 multiplied by the
    temperature. Differentiable with respect to `input` and `temperature`.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_softmax2d
    >>> heatmaps = np.array([[[[0., 0., 0.], [0., 0., 0.], [0., 1., 2.]]]])
    >>> spatial_softmax2d(heatmaps).round(4)
    array([[[[0.0585, 0.0585, 0.0585],
             [0.0585, 0.0585, 0.0585],
             [0.0585, 0.1589, 0.4319]]]])
    """
    x = as_array(input)
    check_ndim(x, 4, "input", "(B, N, H, W)")
    return call("spatial_softmax", x, check_temperature_option(temperature), None, spatial_axes=2)[0]


def spatial_expectation2d(input: Array, normalized_coordinates: bool = True) -> Array:
    """Return the mean position of maps that are distributions.

    The sum of pixel times position is not divided by anything: a map that sums to s scales its
    result by s.

    Parameters
    ----------
    input : array of shape (B, N, H, W)
        Distributions, as `spatial_softmax2d` returns them, of any integer or float dtype:
        NumPy, torch, CuPy, or JAX on the host.
    normalized_coordinates : bool, default True
        Return coordinates from -1, the centre of the first pixel of an axis, to 1, that of the
        last, instead of pixels. An axis of one pixel stays in pixels.

    Returns
    -------
    array of shape (B, N, 2)
        Mean positions, in the order (x, y), of the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. NaN and infinity go where the sum takes them.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the input does not have four dimensions.

    See Also
    --------
    spatial_expectation : The same in 1, 2 or 3 dimensions, in array order.
    spatial_soft_argmax2d : Softmax and expectation in one pass.

    Notes
    -----
    Follows ``kornia.geometry.subpix.spatial_expectation2d`` of kornia 0.9.0. Sums are kept in
    float64. Differentiable with respect to `input`.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_expectation2d
    >>> heatmaps = np.array([[[[0., 0., 0.], [0., 0., 0.], [0., 1., 0.]]]])
    >>> spatial_expectation2d(heatmaps, False)
    array([[[1., 2.]]])
    """
    x = as_array(input)
    check_ndim(x, 4, "input", "(B, N, H, W)")
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    return call("spatial_expectation", x, None, spatial_axes=2, normalized_coordinates=normalized, xy=True)[0]


def spatial_soft_argmax2d(
    input: Array, temperature: Array | float | None = None, normalized_coordinates: bool = True
) -> Array:
    """Return the mean position of each map under the softmax over its pixels.

    Parameters
    ----------
    input : array of shape (B, N, H, W)
        Heat maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: less is sharper. Positive; one for all maps, or an array that broadcasts
        to shape (B, N). 1 if not given.
    normalized_coordinates : bool, default True
        Return coordinates from -1, the centre of the first pixel of an axis, to 1, that of the
        last, instead of pixels. An axis of one pixel stays in pixels.

    Returns
    -------
    array of shape (B, N, 2)
        Mean positions, in the order (x, y), of the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``; NaN for a map with NaN or without pixels. Of a
        map with infinity, the pixels of +inf share all weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If the input does not have four dimensions, or a temperature is not positive and finite.

    See Also
    --------
    spatial_soft_argmax : The same in 1, 2 or 3 dimensions, in array order, with weights.
    spatial_moments : The same, and how far the softmax spreads.
    conv_soft_argmax2d : The same in windows.

    Notes
    -----
    Follows ``kornia.geometry.subpix.spatial_soft_argmax2d`` of kornia 0.9.0, in one pass over the
    map; the operation is the DSNT layer's of [1]_. Sums are kept in float64. Differentiable with
    respect to `input` and `temperature`.

    References
    ----------
    .. [1] A. Nibali, Z. He, S. Morgan and L. Prendergast, "Numerical coordinate regression with
       convolutional neural networks", arXiv:1801.07372, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_soft_argmax2d
    >>> input = np.array([[[[0., 0., 0.], [0., 10., 0.], [0., 0., 0.]]]])
    >>> spatial_soft_argmax2d(input, normalized_coordinates=False)
    array([[[1., 1.]]])
    """
    x = as_array(input)
    check_ndim(x, 4, "input", "(B, N, H, W)")
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = (x, check_temperature_option(temperature), None)
    return call("spatial_moments", *arrays, spatial_axes=2, normalized_coordinates=normalized, xy=True, second=False)[0]
