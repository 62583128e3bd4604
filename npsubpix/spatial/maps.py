"""Whole maps: their softmax, its mean position, and its covariance."""

from __future__ import annotations

from typing import Any, NamedTuple

from npsubpix._arrays.checks import check_map_axes, check_temperature_option, check_weights_option
from npsubpix._arrays.library import Array, as_array, without_booleans
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
    """Mean and covariance of maps, as `spatial_moments` returns them."""

    mean: Array
    covariance: Array


def _checked(x: Array, axes: int, temperature: Array | float | None, weights: Array | None) -> tuple[Array, Any, Any]:
    """Require a temperature per map and a weight per pixel, or fewer that broadcast."""
    shape = tuple(x.shape)
    leading = shape[: len(shape) - axes]
    return x, check_temperature_option(temperature, leading), check_weights_option(weights, shape)


def spatial_softmax(
    input: Array,
    temperature: Array | float | None = None,
    *,
    spatial_axes: int = 2,
    weights: Array | None = None,
) -> Array:
    """Return the distribution of each map over the last axes: the softmax over its pixels.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: a lower temperature is sharper. Positive; one for all maps, or an array that
        broadcasts to the leading axes. 1 by default.
    spatial_axes : {1, 2, 3}, default 2
        Number of axes of a map: the last ones.
    weights : array, optional
        Weights of pixels, which multiply the exponentials: not negative, or booleans, of a shape that
        broadcasts to that of the input. Pixels of weight 0 are ignored and get 0: pass ``weights=~mask`` to
        ignore masked pixels. Not differentiable.

    Returns
    -------
    array of the shape of the input
        The distributions, with the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``. A map with NaN, or without weight, is NaN. In
        a map with infinity, the pixels of +inf share all weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If `input` has fewer dimensions than a map, a temperature is not positive and finite, a weight is
        negative or not finite, or a shape does not broadcast.

    See Also
    --------
    spatial_softmax2d : The same as in kornia.
    spatial_soft_argmax : Mean position of the distribution, in one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_softmax
    >>> spatial_softmax(np.log([[1.0, 2.0, 1.0], [4.0, 3.0, 1.0]]), spatial_axes=1)
    array([[0.25 , 0.5  , 0.25 ],
           [0.5  , 0.375, 0.125]])
    """
    x = without_booleans(as_array(input, "input"))
    axes = check_map_axes(spatial_axes, x)
    arrays = _checked(x, axes, temperature, weights)
    return call("spatial_softmax", *arrays, spatial_axes=axes)[0]


def spatial_expectation(
    input: Array,
    *,
    spatial_axes: int = 2,
    normalized_coordinates: bool = False,
    weights: Array | None = None,
) -> Array:
    """Return the sum of pixel times position of each map over the last axes.

    This is the mean position of a map that sums to one.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Distributions, as `spatial_softmax` returns them, of any integer or float dtype: NumPy, torch, CuPy,
        or JAX on the host.
    spatial_axes : {1, 2, 3}, default 2
        Number of axes of a map: the last ones.
    normalized_coordinates : bool, default False
        Return coordinates from -1 to 1 between the centres of the first and the last pixel of an axis,
        instead of pixels. An axis of one pixel stays in pixels.
    weights : array, optional
        Weights of pixels, which multiply the input: not negative, or booleans, of a shape that broadcasts
        to that of the input. Pixels of weight 0 are ignored. Not differentiable.

    Returns
    -------
    array of shape (..., spatial_axes)
        Mean positions, in array order, (z, y, x), with the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If `input` has fewer dimensions than a map, a weight is negative or not finite, or its shape does
        not broadcast.

    See Also
    --------
    spatial_expectation2d : The same as in kornia, in the order (x, y).
    spatial_soft_argmax : Softmax and expectation in one pass.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_expectation
    >>> spatial_expectation(np.array([[0.0, 0.25], [0.25, 0.5]]))
    array([0.75, 0.75])
    """
    x = without_booleans(as_array(input, "input"))
    axes = check_map_axes(spatial_axes, x)
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = (x, check_weights_option(weights, tuple(x.shape)))
    return call("spatial_expectation", *arrays, spatial_axes=axes, normalized_coordinates=normalized, xy=False)[0]


def spatial_soft_argmax(
    input: Array,
    temperature: Array | float | None = None,
    *,
    spatial_axes: int = 2,
    normalized_coordinates: bool = False,
    weights: Array | None = None,
) -> Array:
    """Return the mean position of each map over the last axes, weighted by the softmax over its pixels.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: a lower temperature is sharper. Positive; one for all maps, or an array that
        broadcasts to the leading axes. 1 by default.
    spatial_axes : {1, 2, 3}, default 2
        Number of axes of a map: the last ones.
    normalized_coordinates : bool, default False
        Return coordinates from -1 to 1 between the centres of the first and the last pixel of an axis,
        instead of pixels. An axis of one pixel stays in pixels.
    weights : array, optional
        Weights of pixels, as for `spatial_softmax`.

    Returns
    -------
    array of shape (..., spatial_axes)
        Mean positions, in array order, (z, y, x), with the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``; NaN for a map with NaN or without weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If `input` has fewer dimensions than a map, a temperature is not positive and finite, a weight is
        negative or not finite, or a shape does not broadcast.

    See Also
    --------
    spatial_soft_argmax2d : The same as in kornia, in the order (x, y).
    spatial_moments : Mean and covariance.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import spatial_soft_argmax
    >>> volume = np.zeros((4, 5, 6))
    >>> volume[2, 3, 4] = 20
    >>> spatial_soft_argmax(volume, spatial_axes=3).round(3)
    array([2., 3., 4.])
    >>> spatial_soft_argmax(volume, [1, 1, 100, 1]).round(2)  # a temperature per plane
    array([[2.  , 2.5 ],
           [2.  , 2.5 ],
           [2.01, 2.51],
           [2.  , 2.5 ]])
    """
    x = without_booleans(as_array(input, "input"))
    axes = check_map_axes(spatial_axes, x)
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = _checked(x, axes, temperature, weights)
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
    """Return the mean position and the covariance of each map, weighted by the softmax over its pixels.

    The covariance measures the spread of the softmax: its eigenvectors are the axes of the uncertainty
    ellipse, and the square roots of its eigenvalues the lengths of these axes.

    Parameters
    ----------
    input : array of shape (..., [D,] [H,] W)
        Maps of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    temperature : float or array, optional
        Divides the input: a lower temperature is sharper. Positive; one for all maps, or an array that
        broadcasts to the leading axes. 1 by default.
    spatial_axes : {1, 2, 3}, default 2
        Number of axes of a map: the last ones.
    normalized_coordinates : bool, default False
        Return coordinates from -1 to 1 between the centres of the first and the last pixel of an axis,
        instead of pixels. An axis of one pixel stays in pixels.
    weights : array, optional
        Weights of pixels, as for `spatial_softmax`.

    Returns
    -------
    SpatialMoments
        A named tuple: ``mean`` of shape (..., spatial_axes), in array order, (z, y, x), and
        ``covariance`` of shape (..., spatial_axes, spatial_axes), in pixels squared or in normalised
        coordinates squared. Both have the dtype of a float input, else
        ``np.result_type(input.dtype, np.float32)``, and are NaN for a map with NaN or without weight.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If `input` has fewer dimensions than a map, a temperature is not positive and finite, a weight is
        negative or not finite, or a shape does not broadcast.

    See Also
    --------
    spatial_soft_argmax : The mean alone.

    Notes
    -----
    The input is a map of logarithms, as a network returns before its softmax. For the moments of a map that
    is not negative, pass it as weights: ``spatial_moments(np.zeros_like(x), weights=x)``.

    The covariance is that of a distribution over the centres of pixels: no term of 1/12 is added for the
    extent of a pixel. Differentiable with respect to `input` and `temperature`.

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
    x = without_booleans(as_array(input, "input"))
    axes = check_map_axes(spatial_axes, x)
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    arrays = _checked(x, axes, temperature, weights)
    results = call(
        "spatial_moments", *arrays, spatial_axes=axes, normalized_coordinates=normalized, xy=False, second=True
    )
    return SpatialMoments(results[0], results[1])
