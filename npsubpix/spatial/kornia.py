"""Whole maps as in kornia: two axes, the order (x, y), normalised coordinates."""

from __future__ import annotations

from npsubpix._arrays.checks import check_ndim, check_temperature_option
from npsubpix._arrays.library import Array, as_array, without_booleans
from npsubpix._arrays.options import check_bool
from npsubpix._dispatch.call import call

__all__ = ["spatial_expectation2d", "spatial_soft_argmax2d", "spatial_softmax2d"]


def spatial_softmax2d(input: Array, temperature: Array | float | None = None) -> Array:
    """Return the distribution of each map: the softmax over its pixels.

    Parameters
    ----------
    input : array of shape (B, N, H, W)
        Heat maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: a lower temperature is sharper. Positive; one for all maps, or an array that
        broadcasts to shape (B, N). 1 by default.

    Returns
    -------
    array of shape (B, N, H, W)
        The distributions, with the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. A map with NaN is NaN. In a map with infinity,
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
    spatial_soft_argmax2d : Mean position of the distribution, in one pass.

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
    x = without_booleans(as_array(input, "input"))
    check_ndim(x, 4, "input", "(B, N, H, W)")
    temperatures = check_temperature_option(temperature, tuple(x.shape[:2]))
    return call("spatial_softmax", x, temperatures, None, spatial_axes=2)[0]


def spatial_expectation2d(input: Array, normalized_coordinates: bool = True) -> Array:
    """Return the mean position of each map that is a distribution.

    The sum of pixel times position is not normalised: the result is scaled by the sum of the map.

    Parameters
    ----------
    input : array of shape (B, N, H, W)
        Distributions, as `spatial_softmax2d` returns them, of any integer or float dtype:
        NumPy, torch, CuPy, or JAX on the host.
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 between the centres of the first and the last pixel of an axis,
        instead of pixels. An axis of one pixel stays in pixels.

    Returns
    -------
    array of shape (B, N, 2)
        Mean positions, in the order (x, y), with the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. NaN and infinity propagate through the sum.

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
    x = as_array(input, "input")
    check_ndim(x, 4, "input", "(B, N, H, W)")
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    return call("spatial_expectation", x, None, spatial_axes=2, normalized_coordinates=normalized, xy=True)[0]


def spatial_soft_argmax2d(
    input: Array, temperature: Array | float | None = None, normalized_coordinates: bool = True
) -> Array:
    """Return the mean position of each map, weighted by the softmax over its pixels.

    Parameters
    ----------
    input : array of shape (B, N, H, W)
        Heat maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: a lower temperature is sharper. Positive; one for all maps, or an array that
        broadcasts to shape (B, N). 1 by default.
    normalized_coordinates : bool, default True
        Return coordinates from -1 to 1 between the centres of the first and the last pixel of an axis,
        instead of pixels. An axis of one pixel stays in pixels.

    Returns
    -------
    array of shape (B, N, 2)
        Mean positions, in the order (x, y), with the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``; NaN for a map with NaN or without pixels. In a
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
    spatial_moments : Mean and covariance.
    conv_soft_argmax2d : The same over windows.
    grid_sample : Sampling at these positions, with ``align_corners=True``.

    Notes
    -----
    Follows ``kornia.geometry.subpix.spatial_soft_argmax2d`` of kornia 0.9.0, in one pass over the
    map; the operation is that of the DSNT layer [1]_. Sums are kept in float64. Differentiable with
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
    x = without_booleans(as_array(input, "input"))
    check_ndim(x, 4, "input", "(B, N, H, W)")
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = (x, check_temperature_option(temperature, tuple(x.shape[:2])), None)
    return call("spatial_moments", *arrays, spatial_axes=2, normalized_coordinates=normalized, xy=True, second=False)[0]
