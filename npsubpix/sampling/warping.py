"""Warped images and transformed points, in pixels and array order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from npsubpix._arrays.checks import check_channel_axis, check_frames_of, check_matrix, check_positions, check_reals
from npsubpix._arrays.library import (
    Array,
    as_array,
    indices_beside,
    is_array,
    moveaxis,
    take,
    with_columns,
    without_booleans,
)
from npsubpix._arrays.options import check_count
from npsubpix._arrays.stacks import in_order_of_rows, rows_by_frame
from npsubpix._definitions.sampling.borders import EDGE
from npsubpix.results import Alignment
from npsubpix.sampling.kernels import SamplingMethod
from npsubpix.sampling.samples import sample

__all__ = ["transform_points", "warp"]

Transform: TypeAlias = "Array | Alignment | Callable[[Array], Array]"


def transform_points(matrix: Array | Alignment, points: Array) -> Array:
    """Apply an affine or projective transform to points.

    Parameters
    ----------
    matrix : array of shape (2, 3), (3, 3), (3, 4) or (4, 4), or Alignment
        Affine or projective transform of points in array order, (y, x) or (z, y, x), in pixels.
    points : array of shape (ndim,) or (..., ndim), or Peaks
        A single point, an array of points of any shape, or a table of peaks. For peaks of a stack, `matrix` may hold
        one matrix per frame, as an array of shape (T, 3, 3) or a list, or the results of `align_stack`.

    Returns
    -------
    array of the shape of `points`, or of shape (N, ndim)
        Transformed points, in the dtype of float points, otherwise in float64. Points that a
        projective transform maps to infinity are infinite or NaN.

    Raises
    ------
    TypeError
        If an argument is not an array of real numbers.
    ValueError
        If the shapes do not match.

    See Also
    --------
    warp : Warp an image.

    Notes
    -----
    To convert a matrix for (x, y), as used by OpenCV and scikit-image, exchange its first two rows
    and its first two columns.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import transform_points
    >>> quarter_turn = np.array([[0, -1, 10], [1, 0, 0]])
    >>> transform_points(quarter_turn, [2, 3])
    array([7., 2.])
    >>> transform_points([[1, 0, 0], [0, 1, 0], [0, 0.1, 1]], [[0, 0], [4, 10]])
    array([[0., 0.],
           [2., 5.]])
    """
    if _is_per_frame(matrix):
        return _transform_frames(matrix, points)
    x = check_reals(check_positions(points, "points"), "points")
    m = check_matrix(matrix.matrix if isinstance(matrix, Alignment) else matrix, "matrix", x)
    axes = m.shape[1] - 1
    if x.ndim == 0 or x.shape[-1] != axes:
        raise ValueError(
            f"points must have shape (..., {axes}) for a matrix of shape {tuple(m.shape)}, got {tuple(x.shape)}"
        )
    moved = x @ m[:axes, :axes].T + m[:axes, axes]
    if m.shape[0] == axes:
        return moved
    scale = x @ m[axes, :axes] + m[axes, axes]
    with np.errstate(divide="ignore", invalid="ignore"):
        return moved / scale[..., None]


def _is_per_frame(matrix: Any) -> bool:
    """Whether there is a matrix for each frame; an `Alignment` is a tuple, but of one."""
    if is_array(matrix):
        return bool(matrix.ndim == 3)
    several = isinstance(matrix, (list, tuple)) and not hasattr(matrix, "_fields") and len(matrix) > 0
    return several and all(_is_matrix(m) for m in matrix)


def _is_matrix(value: Any) -> bool:
    return hasattr(value, "matrix") or getattr(value, "ndim", 0) == 2


def _transform_frames(matrices: Any, points: Any) -> Array:
    """Transform the rows of a table by the matrices of their frames."""
    frames = check_frames_of(points)
    if frames is None:
        raise TypeError(
            f"points must be Peaks with frames if there is a matrix per frame, got a {type(points).__name__}"
        )
    rows_of = rows_by_frame(frames, len(points), len(matrices))
    x = check_reals(check_positions(points, "points"), "points")
    parts = [transform_points(matrices[number], take(x, rows, 0)) for number, rows in rows_of.items()]
    return in_order_of_rows(parts, rows_of, 0)


def warp(
    image: Array,
    transform: Transform,
    output_shape: tuple[int, ...] | None = None,
    *,
    method: SamplingMethod = "linear",
    mode: str = "constant",
    cval: float = 0.0,
    channel_axis: int | None = None,
    prefilter: bool = True,
) -> Array:
    r"""Warp an image by a matrix, a function or a dense field of positions.

    Parameters
    ----------
    image : array of 2 or 3 dimensions, plus an optional axis of channels
        Image of any integer or float dtype: a NumPy, CuPy or torch array, or a JAX array on the host.
    transform : array, Alignment or callable
        Transform from pixels of the output to positions in the image, as in
        ``scipy.ndimage.affine_transform``:

        * a matrix for points in array order, of shape (2, 3) or (3, 3), for volumes (3, 4) or (4, 4), or the
          result of `align`; positions less than 1e-4 pixels beyond the outermost pixels are taken to be on them;
        * a callable that maps points (..., ndim) in array order to an array of the same shape;
        * a dense field of positions, of shape (ndim, \*output_shape). To use displacements, add the
          coordinates of the pixels.
    output_shape : tuple of ints, optional
        Shape of the output without channels. By default, the shape of the field or the image.
    method, mode, cval, channel_axis, prefilter
        As for `sample`, but `mode` is "constant" by default: `cval` outside. Coefficients from `spline_filter`
        must then be those of mode "constant" too.

    Returns
    -------
    array of shape output_shape
        Warped image, in the dtype that `sample` returns. The axis of channels is the first if it is
        the first axis of the image, otherwise the last. Singular matrices are allowed.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If the shapes do not match, or an option is not one of its names.

    See Also
    --------
    align : Estimate the matrix that registers one image to another.
    transform_points : Transform points.

    Examples
    --------
    Shift an image half a pixel to the left, and enlarge it twice:

    >>> import numpy as np
    >>> from npsubpix import warp
    >>> image = np.array([[0.0, 4.0, 8.0], [4.0, 8.0, 12.0]])
    >>> warp(image, [[1, 0, 0], [0, 1, 0.5]], (2, 2))
    array([[ 2.,  6.],
           [ 6., 10.]])
    >>> warp(image, lambda points: points / 2, (2, 4))
    array([[0., 2., 4., 6.],
           [2., 4., 6., 8.]])
    """
    if isinstance(transform, Alignment):
        transform = transform.matrix
    x = without_booleans(as_array(image, "image"))
    axis = check_channel_axis(channel_axis, x)
    axes = x.ndim - (axis is not None)
    if axes not in (2, 3):
        raise ValueError(f"image must have 2 or 3 dimensions besides channels, got shape {tuple(x.shape)}")
    own = tuple(n for k, n in enumerate(x.shape) if k != axis)
    shape = _output_shape(output_shape, axes)
    coords = _positions(transform, own, shape, x)
    options: dict[str, Any] = {"mode": mode, "cval": cval, "channel_axis": channel_axis, "prefilter": prefilter}
    return sample(x, coords, method=method, **options)


def _output_shape(shape: Any, axes: int) -> tuple[int, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, (tuple, list)) or len(shape) != axes:
        raise ValueError(f"output_shape must hold {axes} integers, got {shape!r}")
    return tuple(check_count(n, "output_shape") for n in shape)


def _positions(transform: Any, own: tuple[int, ...], shape: tuple[int, ...] | None, image: Array) -> Array:
    """Return the positions (ndim, *shape) in the image for the pixels of the result."""
    axes = len(own)
    field = None if callable(transform) else as_array(transform, "transform")
    if field is not None and field.ndim == axes + 1:
        if field.shape[0] != axes or (shape is not None and tuple(field.shape[1:]) != shape):
            wanted = f"({axes}, *output_shape)" if shape is None else f"{(axes, *shape)}"
            raise ValueError(f"a field of positions must have shape {wanted}, got {tuple(field.shape)}")
        return field
    points = moveaxis(indices_beside(image, shape or own), 0, -1)
    if field is None:
        moved = as_array(transform(points), "the result of transform")
        if tuple(moved.shape) != tuple(points.shape):
            raise ValueError(f"transform must return points of shape {tuple(points.shape)}, got {tuple(moved.shape)}")
    else:
        if tuple(field.shape) not in ((axes, axes + 1), (axes + 1, axes + 1)):
            raise ValueError(
                f"transform must be a matrix of shape {(axes, axes + 1)} or {(axes + 1, axes + 1)}, a callable, or a "
                f"field of positions of shape ({axes}, *output_shape), got shape {tuple(field.shape)}"
            )
        moved = transform_points(field, points)
        moved = with_columns(moved, [_onto_edges(moved[..., k], n) for k, n in enumerate(own)])
    return moveaxis(moved, -1, 0)


def _onto_edges(line: Array, size: int) -> Array:
    """Return positions along an axis, those hardly beyond its ends at the ends."""
    beyond = line.clip(0, size - 1) - line
    return line + beyond.clip(-EDGE, EDGE) * (abs(beyond) < EDGE)  # infinite positions stay infinite
