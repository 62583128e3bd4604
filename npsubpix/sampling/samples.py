"""Values and gradients of images between their pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.checks import check_channel_axis, check_image, check_positions
from npsubpix._arrays.library import Array, as_array
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_fill
from npsubpix._definitions.sampling.borders import MODES
from npsubpix._dispatch.call import call, call_vjp
from npsubpix.sampling.kernels import SamplingMethod, method_spec

__all__ = ["Sample", "sample", "sample_vjp", "sample_with_gradient", "spline_filter"]


class Sample(NamedTuple):
    """Values of an image at positions, and their gradients.

    Attributes
    ----------
    values : array of shape (...) or with an axis of channels
        Values.
    gradient : array of shape (ndim, ...) or with an axis of channels
        Derivatives by the coordinates, in their order, per pixel.
    """

    values: Array
    gradient: Array


def _arguments(
    image: Any, coords: Any, method: Any, mode: Any, cval: Any, channel_axis: Any, prefilter: Any
) -> tuple[Array, Array, dict[str, Any]]:
    x = as_array(image, "image")
    positions = check_positions(coords, "coords")
    axis = check_channel_axis(channel_axis, x)
    axes = check_image(x, axis)
    if positions.ndim == 0 or positions.shape[0] != axes:
        raise ValueError(
            f"coords must have shape ({axes}, ...), a coordinate for each axis of the image first, "
            f"got {tuple(positions.shape)}"
        )
    check_choice(mode, "mode", MODES)
    options = {
        "method": method_spec(method, "method"),
        "mode": str(mode),
        "cval": check_fill(cval, "cval"),
        "channel_axis": axis,
        "prefilter": check_bool(prefilter, "prefilter"),
    }
    return x, positions, options


def sample(
    image: Array,
    coords: Array,
    /,
    *,
    method: SamplingMethod,
    mode: str = "reflect",
    cval: float = 0.0,
    channel_axis: int | None = None,
    prefilter: bool = True,
    out: Array | None = None,
) -> Array:
    """Sample an image between its pixels.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, and one of channels
        Image, of any integer or float dtype: NumPy, CuPy or torch, or a JAX array on the host.
    coords : array of shape (ndim, ...)
        Positions in pixels, in array order, as ``scipy.ndimage.map_coordinates`` takes them: the centre
        of the first pixel is 0.
    method : str or sampling kernel
        * "nearest": the nearest pixel;
        * "linear": linear interpolation along each axis;
        * "catmull_rom": cubic convolution through the pixels, which needs no filter;
        * "bspline2" to "bspline5": the spline of that degree through the pixels. "bspline3" is what
          ``scipy.ndimage`` calls order 3;
        * "lanczos3": six pixels an axis, weighed by a windowed sinc, divided by the sum of the weights;
        * a `Nearest`, `WeightedNearest` or `GradientAdaptive`.
    mode : str, default "reflect"
        How the image goes on beyond its ends, as in ``scipy.ndimage``: "reflect" or "grid-mirror"
        (d c b a | a b c d | d c b a), "mirror" (d c b | a b c d | c b a), "nearest" (a a a a | a b c d |
        d d d d), "grid-wrap" (a b c d | a b c d | a b c d), "wrap" (with the last pixel on the first),
        "constant" (`cval` wherever the position is outside) or "grid-constant" (pixels of `cval`
        outside, with which those inside are interpolated).
    cval : float, default 0.0
        Value beyond the ends for the two constant modes; NaN is allowed.
    channel_axis : int, optional
        Axis of the image that holds channels, which share the weights of each position.
    prefilter : bool, default True
        For B-splines: whether to filter the image first. If it is sampled several times, do that once,
        by `spline_filter`, and pass False. In modes "nearest" and "grid-constant" the image is padded by 12
        pixels before it is filtered, as in SciPy, so results differ slightly at the border.
    out : NumPy array, optional
        Where to write the values, for NumPy arrays: of the shape and dtype of the result.

    Returns
    -------
    array of shape coords.shape[1:]
        Values, of the dtype of a float image, else of ``np.result_type(image.dtype, np.float32)``.
        Channels are the first axis if they are that of the image, else the last.
        NaN where a coordinate is NaN, or infinite in a periodic mode; an infinite one is at the edge
        in mode "nearest", and `cval` in the constant modes.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If `coords` has not one row an axis, the image has no pixels or too many dimensions, or an
        option is not one of its names.

    See Also
    --------
    sample_with_gradient : The gradient as well, in the same pass.
    grid_sample : The same with the signature of torch.
    spline_filter : The filter that B-splines need, by itself.

    Notes
    -----
    Differentiable with respect to the image and to the positions. Values of integer methods and
    B-splines are those of ``scipy.ndimage.map_coordinates`` with ``order`` 0 to 5. Weights are computed
    in the precision of the result, distances from pixels in that of the coordinates.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import sample
    >>> image = np.arange(12.0).reshape(3, 4) ** 2
    >>> sample(image, [[0.5, 1.0], [1.5, 2.25]], method="linear")
    array([16.5 , 39.25])
    >>> sample(image, [[0.5, 1.0], [1.5, 2.25]], method="bspline3").round(3)
    array([10.825, 39.498])
    """
    x, positions, options = _arguments(image, coords, method, mode, cval, channel_axis, prefilter)
    values: Array = call("sample", x, positions, **options, with_gradient=False)[0]
    return values if out is None else _write_out(out, values)


def _write_out(out: Any, values: Any) -> Any:
    if type(values) is not np.ndarray or type(out) is not np.ndarray:
        raise TypeError("out must be a NumPy array, and so must the others be if it is given")
    if out.shape != values.shape or out.dtype != values.dtype:
        raise ValueError(
            f"out must have shape {values.shape} and dtype {values.dtype}, got {out.shape} and {out.dtype}"
        )
    out[...] = values
    return out


def sample_with_gradient(
    image: Array,
    coords: Array,
    /,
    *,
    method: SamplingMethod,
    mode: str = "reflect",
    cval: float = 0.0,
    channel_axis: int | None = None,
    prefilter: bool = True,
) -> Sample:
    """Sample an image between its pixels, and return the gradient of what was sampled.

    Parameters
    ----------
    image, coords, method, mode, cval, channel_axis, prefilter
        As for `sample`.

    Returns
    -------
    Sample
        ``values``, as `sample` returns them, and ``gradient``, with one axis more, the first, for the
        derivatives by each coordinate, in units of the image per pixel. It is the derivative of the
        interpolant, not a sample of differences of pixels. Where a position is held at the edge it is 0,
        but for rounding, and outside in mode "constant".

    Raises
    ------
    TypeError, ValueError
        As `sample`.

    See Also
    --------
    sample : Values alone.
    sample_vjp : From gradients by the values to those by the image and the positions.

    Notes
    -----
    At a position where the derivative jumps, as that of "linear" does at each pixel, it is the one
    towards the next pixel of the image; at the last, in modes "constant" and "wrap", the one towards
    the pixel before. Where the image goes on mirrored, the sides are too.
    Differentiable, both values and gradient, with respect to image and positions.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import sample_with_gradient
    >>> y, x = np.mgrid[:30, :40]
    >>> values, gradient = sample_with_gradient(0.5 * x**2 + 3.0 * y, [[14.0], [20.25]], method="bspline3")
    >>> values.round(3), gradient.round(3)
    (array([247.031]), array([[ 3.  ],
           [20.25]]))
    """
    x, positions, options = _arguments(image, coords, method, mode, cval, channel_axis, prefilter)
    return Sample(*call("sample", x, positions, **options, with_gradient=True))


def sample_vjp(
    cotangent: Array,
    image: Array,
    coords: Array,
    /,
    *,
    method: SamplingMethod,
    mode: str = "reflect",
    cval: float = 0.0,
    channel_axis: int | None = None,
    prefilter: bool = True,
) -> tuple[Array, Array]:
    """Return the gradients of a scalar by an image and by positions, from those by its samples.

    Parameters
    ----------
    cotangent : array of the shape of ``sample(image, coords)``
        Gradient of a scalar by the samples.
    image, coords, method, mode, cval, channel_axis, prefilter
        As for `sample`. NumPy, CuPy or JAX arrays; torch differentiates `sample` by itself.

    Returns
    -------
    image_cotangent : array of the shape of the image
        Gradient by the image: what the samples take from each pixel, given back to it.
    coords_cotangent : array of the shape of `coords`
        Gradient by the positions.

    Raises
    ------
    TypeError, ValueError
        As `sample`, and if `cotangent` has not the shape of the samples.

    See Also
    --------
    vjp : The same for any operator.

    Notes
    -----
    Sums do not depend on the number of threads, to the last bit.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import sample_vjp
    >>> by_image, by_coords = sample_vjp(np.ones(1), np.array([0.0, 10.0, 30.0]), [[1.25]], method="linear")
    >>> by_image, by_coords
    (array([0.  , 0.75, 0.25]), array([[20.]]))
    """
    x, positions, options = _arguments(image, coords, method, mode, cval, channel_axis, prefilter)
    cotangents = as_array(cotangent, "cotangent"), None
    image_cotangent, coords_cotangent = call_vjp(
        "sample", cotangents, (x, positions), {**options, "with_gradient": False}
    )
    return image_cotangent, coords_cotangent


def spline_filter(image: Array, order: int = 3, *, mode: str = "mirror", channel_axis: int | None = None) -> Array:
    """Return the coefficients of the B-spline that goes through the pixels of an image.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, and one of channels
        Image, of any integer or float dtype: NumPy, CuPy or torch, or a JAX array on the host.
    order : {2, 3, 4, 5}, default 3
        Degree of the spline.
    mode : str, default "mirror"
        How the image goes on beyond its ends, as for `sample`. The filter knows three ways: "reflect",
        "mirror" and "grid-wrap". It takes "nearest" for "reflect", and the other modes for "mirror".
    channel_axis : int, optional
        Axis that is not filtered.

    Returns
    -------
    array of the shape of the image
        Coefficients, of the dtype of a float image, else of ``np.result_type(image.dtype, np.float32)``.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If an option is out of range.

    See Also
    --------
    sample : Takes the coefficients with ``prefilter=False``.

    Notes
    -----
    The filter of ``scipy.ndimage.spline_filter``, run in the precision of the result. Sums over what
    is beyond the ends are exact; SciPy's, in mode "reflect", are off by about the 2n-th power of the
    pole on axes of few pixels n. Differentiable.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import sample, spline_filter
    >>> image = np.array([[0.0, 1.0, 4.0, 9.0]])
    >>> coefficients = spline_filter(image, 3, mode="mirror")
    >>> sample(coefficients, [[0.0], [1.0]], method="bspline3", mode="mirror", prefilter=False).round(12)
    array([1.])
    """
    x = as_array(image, "image")
    axis = check_channel_axis(channel_axis, x)
    check_image(x, axis)
    degree = check_count(order, "order", 2)
    if degree > 5:
        raise ValueError(f"order must be 2 to 5, got {degree}")
    check_choice(mode, "mode", MODES)
    return call("spline_filter", x, order=degree, mode=str(mode), channel_axis=axis)[0]
