"""Values and gradients of images between pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.checks import check_channel_axis, check_frames_of, check_image, check_positions
from npsubpix._arrays.library import Array, as_array, without_booleans
from npsubpix._arrays.notes import with_note
from npsubpix._arrays.options import check_bool, check_choice, check_count, check_fill
from npsubpix._definitions.sampling.borders import MODES
from npsubpix._dispatch.call import call, call_vjp
from npsubpix.sampling.coefficients import Filtered, check_coefficients
from npsubpix.sampling.kernels import SamplingMethod, method_spec, tables_of
from npsubpix.sampling.stacks import sample_stack

__all__ = ["Sample", "sample", "sample_vjp", "sample_with_gradient", "spline_filter"]


class Sample(NamedTuple):
    """Values and gradients of an image at positions.

    Attributes
    ----------
    values : array of shape (...), plus an axis of channels if the image has one
        Values.
    gradient : array of shape (ndim, ...), plus an axis of channels if the image has one
        Derivatives with respect to the coordinates, in the same order, per pixel.
    """

    values: Array
    gradient: Array


def _arguments(
    image: Any, coords: Any, method: Any, mode: Any, cval: Any, channel_axis: Any, prefilter: Any
) -> tuple[Array, Array, dict[str, Any]]:
    x = without_booleans(as_array(image, "image"))
    positions = check_positions(coords, "coords", axis=0)
    axis = check_channel_axis(channel_axis, x)
    axes = check_image(x, axis)
    if positions.ndim == 0 or positions.shape[0] != axes:
        hint = "" if check_frames_of(coords) is None else ": pass frame_axis for the stack that the peaks are of"
        raise ValueError(
            f"coords must have shape ({axes}, ...), with one coordinate per axis of the image, "
            f"got {tuple(positions.shape)}{hint}"
        )
    check_choice(mode, "mode", MODES)
    options = {
        "method": method_spec(method, "method"),
        "mode": str(mode),
        "cval": check_fill(cval, "cval"),
        "channel_axis": axis,
        "prefilter": check_bool(prefilter, "prefilter"),
    }
    check_coefficients(image, options)
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
    frame_axis: int | None = None,
    out: Array | None = None,
) -> Array:
    """Interpolate an image at given positions.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, plus an optional axis of channels
        Image of any integer or float dtype: a NumPy, CuPy or torch array, or a JAX array on the host.
    coords : array of shape (ndim, ...), or Peaks
        Positions in pixels, in array order, as in ``scipy.ndimage.map_coordinates``: the centre of the
        first pixel is 0. A table of peaks is sampled row by row.
    method : str or sampling kernel
        Interpolation method:

        * "nearest": the nearest pixel;
        * "linear": linear interpolation along each axis;
        * "catmull_rom": cubic convolution, which passes through the pixels without a filter;
        * "bspline2" to "bspline5": the spline of that degree through the pixels; "bspline3" is
          order 3 of ``scipy.ndimage``;
        * "lanczos3": windowed sinc over six pixels per axis, with normalized weights;
        * a `Nearest`, `WeightedNearest` or `GradientAdaptive`.
    mode : str, default "reflect"
        Border extension, as in ``scipy.ndimage``: "reflect" or "grid-mirror" (d c b a | a b c d |
        d c b a), "mirror" (d c b | a b c d | c b a), "nearest" (a a a a | a b c d | d d d d),
        "grid-wrap" (a b c d | a b c d | a b c d), "wrap" (the last pixel coincides with the first),
        "constant" (`cval` at every position outside) or "grid-constant" (pixels of `cval` outside,
        which also take part in the interpolation at the border).
    cval : float, default 0.0
        Fill value of the two constant modes; NaN is allowed.
    channel_axis : int, optional
        Axis of the channels, which share the weights of each position.
    prefilter : bool, default True
        Whether B-splines filter the image first. To sample an image repeatedly, filter it once with
        `spline_filter`, in the same mode, and pass False. In modes "nearest" and "grid-constant" the image is
        padded by 12 pixels before filtering, as in SciPy, so that results differ slightly at the border.
    frame_axis : int, optional
        Axis of a stack of images. `coords` are then Peaks with frames: each row is sampled in its own frame, and no
        other frame counts.
    out : NumPy array, optional
        Array for the values, with the shape and dtype of the result. NumPy arrays only.

    Returns
    -------
    array of shape coords.shape[1:]
        Values, in the dtype of a float image, otherwise in ``np.result_type(image.dtype, np.float32)``.
        The axis of channels is the first if it is the first axis of the image, otherwise the last.
        NaN where a coordinate is NaN, or infinite in a periodic mode. An infinite coordinate gives the
        edge in mode "nearest", and `cval` in the constant modes. NaN where a pixel that is not finite has
        weight; see Notes. Of an image without pixels, `cval` in the constant modes, otherwise NaN.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If `coords` does not have one row per axis, the image has too many dimensions, an option is not one
        of the names above, or coefficients from `spline_filter` have another degree or mode.

    See Also
    --------
    sample_with_gradient : Values and gradients in one pass.
    grid_sample : Sample at normalized positions, with the signature of torch.
    spline_filter : Filter an image for B-splines.

    Notes
    -----
    Differentiable with respect to the image, the positions and the table of a `WeightedNearest`. Values of
    "nearest", "linear" and the B-splines equal those of ``scipy.ndimage.map_coordinates`` with ``order`` 0
    to 5. Weights are computed in the precision of the result, distances from pixels in the precision of the
    coordinates.

    A pixel that is NaN or infinite spoils the samples in whose window it has a weight other than 0, and no
    others: with "linear", an image moved by whole pixels has the same NaN. With B-splines, these are the
    samples less than (degree + 1) / 2 pixels away along each axis. To filter the image, such pixels are
    replaced by the mean of the nearest finite pixels in all directions, along axes and diagonals, weighted
    by 1 / distance. Samples close by depend on this to a few per cent of the error of the replacement.

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
    values: Array = _samples(image, coords, method, mode, cval, channel_axis, prefilter, frame_axis, False)[0]
    return values if out is None else _write_out(out, values)


def _samples(
    image: Any, coords: Any, method: Any, mode: Any, cval: Any, channel_axis: Any, prefilter: Any, frame_axis: Any,
    gradient: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """Sample an image, or the frames of a stack; return the values, and the gradient if it is asked for."""

    def sample_frame(frame: Any, positions: Any, channels: int | None) -> tuple[Array, ...]:
        x, places, options = _arguments(frame, positions, method, mode, cval, channels, prefilter)
        results: tuple[Array, ...] = call("sample", x, places, *tables_of(method), **options, with_gradient=gradient)
        return results if gradient else results[:1]

    if frame_axis is None:
        return sample_frame(image, coords, channel_axis)
    return sample_stack(image, coords, frame_axis, channel_axis, sample_frame)


def _write_out(out: Any, values: Any) -> Any:
    if type(values) is not np.ndarray or type(out) is not np.ndarray:
        raise TypeError("out must be a NumPy array, which requires NumPy arrays as image and coords")
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
    frame_axis: int | None = None,
) -> Sample:
    """Interpolate an image and its gradient at given positions.

    Parameters
    ----------
    image, coords, method, mode, cval, channel_axis, prefilter, frame_axis
        As for `sample`.

    Returns
    -------
    Sample
        ``values``, as returned by `sample`, and ``gradient``, with an additional first axis for the
        derivatives with respect to each coordinate, in units of the image per pixel. The gradient is
        the exact derivative of the interpolant, not an interpolation of pixel differences. It is 0
        outside in mode "constant", and 0 up to rounding where the edge extends in mode "nearest".

    Raises
    ------
    TypeError, ValueError
        As `sample`.

    See Also
    --------
    sample : Values alone.
    sample_vjp : Cotangents of the image and the positions.

    Notes
    -----
    Where the derivative is discontinuous, as that of "linear" is at each pixel, the gradient is the
    derivative towards the next pixel; at the last pixel, in modes "constant" and "wrap", towards the
    previous one. Mirrored border extensions also mirror these sides.
    Values and gradient are differentiable with respect to the image, the positions and the table of a
    `WeightedNearest`.

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
    return Sample(*_samples(image, coords, method, mode, cval, channel_axis, prefilter, frame_axis, True))


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
) -> tuple[Array, ...]:
    """Return the vector-Jacobian product of `sample`.

    Parameters
    ----------
    cotangent : array of the shape of ``sample(image, coords)``
        Gradient of a scalar with respect to the samples.
    image, coords, method, mode, cval, channel_axis, prefilter
        As for `sample`. NumPy, CuPy or JAX arrays; torch differentiates `sample` itself.

    Returns
    -------
    image_cotangent : array of the shape of the image
        Gradient of the scalar with respect to the image.
    coords_cotangent : array of the shape of `coords`
        Gradient of the scalar with respect to the positions.
    table_cotangent : array of the shape of the table
        Gradient of the scalar with respect to the table of a `WeightedNearest`; only with a method that has one. With a
        `GradientAdaptive` of two tables, that of `outside` follows.

    Raises
    ------
    TypeError, ValueError
        As `sample`, and if `cotangent` does not have the shape of the samples.

    See Also
    --------
    vjp : Vector-Jacobian product of any operation.

    Notes
    -----
    Results are bit-identical for any number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import sample_vjp
    >>> sample_vjp(np.ones(1), np.array([0.0, 10.0, 30.0]), [[1.25]], method="linear")
    (array([0.  , 0.75, 0.25]), array([[20.]]))
    """
    x, positions, options = _arguments(image, coords, method, mode, cval, channel_axis, prefilter)
    cotangents = as_array(cotangent, "cotangent"), None
    arrays = x, positions, *tables_of(method)
    return call_vjp("sample", cotangents, arrays, {**options, "with_gradient": False})


def spline_filter(image: Array, order: int = 3, *, mode: str = "reflect", channel_axis: int | None = None) -> Array:
    """Compute the coefficients of the B-spline that interpolates the pixels of an image.

    Parameters
    ----------
    image : array of 1 to 3 dimensions, plus an optional axis of channels
        Image of any integer or float dtype: a NumPy, CuPy or torch array, or a JAX array on the host.
    order : {2, 3, 4, 5}, default 3
        Degree of the spline.
    mode : str, default "reflect"
        Border extension, which must be that of `sample`. The filter supports "reflect", "mirror" and "grid-wrap"; it
        uses "reflect" for "grid-mirror" and "nearest", and "mirror" for the other modes.
    channel_axis : int, optional
        Axis of the channels, which is not filtered.

    Returns
    -------
    array of the shape of the image
        Coefficients, in the dtype of a float image, otherwise in
        ``np.result_type(image.dtype, np.float32)``. NaN where a pixel is not finite; other coefficients
        are those of the image with such pixels replaced, as in `sample`.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an option is out of range.

    See Also
    --------
    sample : Accepts the coefficients with ``prefilter=False``.

    Notes
    -----
    Equivalent to ``scipy.ndimage.spline_filter``, whose default mode is "mirror", in the precision of the
    result. Sums over the border extension are exact. Those of SciPy in mode "reflect" are off by about the
    2n-th power of the pole, which matters on axes of few pixels n. Differentiable.

    `sample`, `sample_with_gradient` and `warp` recognise the returned array and its views, and reject them with
    a method or mode of another filter, and with ``prefilter=True``. They go by the memory: copies of coefficients,
    coefficients that were converted or loaded from a file, and those in a graph of torch.compile are not
    recognised, and memory of coefficients that was overwritten still is.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import sample, spline_filter
    >>> image = np.array([[0.0, 1.0, 4.0, 9.0]])
    >>> coefficients = spline_filter(image, 3)
    >>> sample(coefficients, [[0.0], [1.0]], method="bspline3", prefilter=False).round(12)
    array([1.])
    """
    x = without_booleans(as_array(image, "image"))
    axis = check_channel_axis(channel_axis, x)
    check_image(x, axis)
    degree = check_count(order, "order", 2)
    if degree > 5:
        raise ValueError(f"order must be 2 to 5, got {degree}")
    check_choice(mode, "mode", MODES)
    coefficients = call("spline_filter", x, order=degree, mode=str(mode), channel_axis=axis)[0]
    return with_note(coefficients, Filtered(degree, str(mode)))
