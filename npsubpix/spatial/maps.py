"""Whole maps: their softmax, the position it is centred on, and how far it spreads."""

from __future__ import annotations

from typing import NamedTuple

from npsubpix._arrays.checks import check_map_axes, check_temperature_option, check_weights_option
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_bool
from npsubpix._dispatch.call import call

__all__ = [
    "SpatialMoments",
    "spatial_expectation",
    "spatial_moments",
    "spatial_soft_argmax",
    "spatial_softmax",
]


class SpatialMoments(NamedTuple):
    """Mean and covariance of maps, what `spatial_moments` returns."""

    mean: Array
    covariance: Array


def spatial_softmax(
    input: Array,
    temperature: Array | float | None = None,
    *,
    spatial_axes: int = 2,
    weights: Array | None = None,
) -> Array:
    """Turn maps over the last axes into distributions by a softmax.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: less is sharper. Positive; one for all maps, or an array that broadcasts
        to the leading axes. 1 if not given.
    spatial_axes : {1, 2, 3}, default 2
        How many of the last axes are those of a map.
    weights : array, optional
        Multiplies the exponentials: not negative, or booleans, of a shape that broadcasts to that
        of the input. Pixels of weight 0 are not looked at and get 0: ``weights=~mask`` leaves out
        what a mask marks. No gradients are passed to it.

    Returns
    -------
    array of the shape of the input
        The distributions, of the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. A map with NaN, or without weight, is NaN. Of
        a map with infinity, the pixels of +inf share all weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there are fewer dimensions than axes of a map, a temperature is not positive and finite,
        a weight is negative or not finite, or a shape does not broadcast.

    See Also
    --------
    spatial_softmax2d : The form of kornia.
    spatial_soft_argmax : The mean position of the distribution, in one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_softmax
    >>> spatial_softmax(np.log([[1.0, 2.0, 1.0], [4.0, 3.0, 1.0]]), spatial_axes=1)
    array([[0.25 , 0.5  , 0.25 ],
           [0.5  , 0.375, 0.125]])
    """
    x = as_array(input)
    axes = check_map_axes(spatial_axes, x)
    arrays = (x, check_temperature_option(temperature), check_weights_option(weights))
    return call("spatial_softmax", *arrays, spatial_axes=axes)[0]


def spatial_expectation(
    input: Array,
    *,
    spatial_axes: int = 2,
    normalized_coordinates: bool = False,
    weights: Array | None = None,
) -> Array:
    """Return the sums of pixel times position of maps over the last axes.

    That is the mean position of a map that sums to one.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Distributions, as `spatial_softmax` returns them, of any integer or float dtype: NumPy, or
        a torch or JAX array on the host.
    spatial_axes : {1, 2, 3}, default 2
        How many of the last axes are those of a map.
    normalized_coordinates : bool, default False
        Return coordinates from -1, the centre of the first pixel of an axis, to 1, that of the
        last, instead of pixels. An axis of one pixel stays in pixels.
    weights : array, optional
        Multiplies the input: not negative, or booleans, of a shape that broadcasts to that of the
        input. Pixels of weight 0 are not looked at. No gradients are passed to it.

    Returns
    -------
    array of shape (..., spatial_axes)
        Mean positions, in array order, (z, y, x), of the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there are fewer dimensions than axes of a map, a weight is negative or not finite, or
        its shape does not broadcast.

    See Also
    --------
    spatial_expectation2d : The form of kornia, in the order (x, y).
    spatial_soft_argmax : Softmax and expectation in one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_expectation
    >>> spatial_expectation(np.array([[0.0, 0.25], [0.25, 0.5]]))
    array([0.75, 0.75])
    """
    x = as_array(input)
    axes = check_map_axes(spatial_axes, x)
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = (x, check_weights_option(weights))
    return call("spatial_expectation", *arrays, spatial_axes=axes, normalized_coordinates=normalized, xy=False)[0]


def spatial_soft_argmax(
    input: Array,
    temperature: Array | float | None = None,
    *,
    spatial_axes: int = 2,
    normalized_coordinates: bool = False,
    weights: Array | None = None,
) -> Array:
    """Return the mean position of maps over the last axes, under the softmax over their pixels.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: less is sharper. Positive; one for all maps, or an array that broadcasts
        to the leading axes. 1 if not given.
    spatial_axes : {1, 2, 3}, default 2
        How many of the last axes are those of a map.
    normalized_coordinates : bool, default False
        Return coordinates from -1, the centre of the first pixel of an axis, to 1, that of the
        last, instead of pixels. An axis of one pixel stays in pixels.
    weights : array, optional
        Multiplies the exponentials: not negative, or booleans, of a shape that broadcasts to that
        of the input. Pixels of weight 0 are not looked at: ``weights=~mask`` leaves out what a
        mask marks. No gradients are passed to it.

    Returns
    -------
    array of shape (..., spatial_axes)
        Mean positions, in array order, (z, y, x), of the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``; NaN for a map with NaN or without weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there are fewer dimensions than axes of a map, a temperature is not positive and finite,
        a weight is negative or not finite, or a shape does not broadcast.

    See Also
    --------
    spatial_soft_argmax2d : The form of kornia, in the order (x, y).
    spatial_moments : The same, and how far the softmax spreads.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_soft_argmax
    >>> volume = np.zeros((4, 5, 6))
    >>> volume[2, 3, 4] = 20
    >>> spatial_soft_argmax(volume, spatial_axes=3).round(3)
    array([2., 3., 4.])
    >>> spatial_soft_argmax(volume, [1, 1, 100, 1]).round(2)  # a temperature for each plane
    array([[2.  , 2.5 ],
           [2.  , 2.5 ],
           [2.01, 2.51],
           [2.  , 2.5 ]])
    """
    x = as_array(input)
    axes = check_map_axes(spatial_axes, x)
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = (x, check_temperature_option(temperature), check_weights_option(weights))
    return call(
        "spatial_moments", *arrays, spatial_axes=axes, normalized_coordinates=normalized, xy=False, second=False
    )[0]


def spatial_moments(
    input: Array,
    temperature: Array | float | None = None,
    *,
    spatial_axes: int = 2,
    normalized_coordinates: bool = False,
    weights: Array | None = None,
) -> SpatialMoments:
    """Return the mean position and the covariance of maps, under the softmax over their pixels.

    The covariance says how far the softmax spreads, and in which direction: its eigenvectors are
    the axes of the uncertainty ellipse, and the square roots of its eigenvalues their lengths.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: less is sharper. Positive; one for all maps, or an array that broadcasts
        to the leading axes. 1 if not given.
    spatial_axes : {1, 2, 3}, default 2
        How many of the last axes are those of a map.
    normalized_coordinates : bool, default False
        Measure in coordinates from -1, the centre of the first pixel of an axis, to 1, that of the
        last, instead of pixels. An axis of one pixel stays in pixels.
    weights : array, optional
        Multiplies the exponentials: not negative, or booleans, of a shape that broadcasts to that
        of the input. Pixels of weight 0 are not looked at. No gradients are passed to it.

    Returns
    -------
    SpatialMoments
        A named tuple: ``mean`` of shape (..., spatial_axes), in array order, (z, y, x), and
        ``covariance`` of shape (..., spatial_axes, spatial_axes), in pixels squared, or in
        normalised coordinates squared. Of the dtype
        of a float input, else ``np.result_type(input.dtype, np.float32)``; NaN for a map with NaN
        or without weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If there are fewer dimensions than axes of a map, a temperature is not positive and finite,
        a weight is negative or not finite, or a shape does not broadcast.

    See Also
    --------
    spatial_soft_argmax : The mean alone.

    Notes
    -----
    The input is a map of logarithms, as a network gives it before its softmax. Of a map that is not
    negative, take moments with its pixels as weights: ``spatial_moments(np.zeros_like(x), weights=x)``.

    The covariance is that of the distribution over pixels, whose centres are points: no term of
    1/12 is added for their extent. Differentiable with respect to `input` and `temperature`.

    Examples
    --------
    A map that is the logarithm of a Gaussian:

    >>> import numpy as np
    >>> import npsubpix
    >>> y, x = np.mgrid[:40, :60]
    >>> heatmap = -((y - 18.3) ** 2 / (2 * 2.0**2) + (x - 30.6) ** 2 / (2 * 3.0**2))
    >>> mean, covariance = npsubpix.spatial_moments(heatmap)
    >>> mean.round(3), covariance.round(3)
    (array([18.3, 30.6]), array([[4., 0.],
           [0., 9.]]))
    """
    x = as_array(input)
    axes = check_map_axes(spatial_axes, x)
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = (x, check_temperature_option(temperature), check_weights_option(weights))
    results = call(
        "spatial_moments", *arrays, spatial_axes=axes, normalized_coordinates=normalized, xy=False, second=True
    )
    return SpatialMoments(results[0], results[1])
