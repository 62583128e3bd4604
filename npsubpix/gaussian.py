"""Gaussians: one per map, normalised or not, and images of many spots."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.checks import (
    check_broadcast,
    check_broadcast_to,
    check_frames_of,
    check_image_shape,
    check_last_axis,
    check_ndim,
    check_numbers,
    check_positions,
    check_same_dtype,
    check_stack_shape,
)
from npsubpix._arrays.library import Array, as_array, join, moveaxis, take
from npsubpix._arrays.options import check_bool, check_choice, check_positive, check_window
from npsubpix._arrays.stacks import check_frame_axis, rows_by_frame
from npsubpix._dispatch.call import call

__all__ = ["render_gaussian", "render_gaussian2d", "render_spots"]

_NORMALIZATIONS = ("sum", "peak")


def _std(std: Array | float) -> Any:
    """Require a positive number or an array; kernels check the values of arrays."""
    checked = check_numbers(std, "std")
    return check_positive(checked, "std") if isinstance(checked, float) else checked


def render_gaussian2d(mean: Array, std: Array, size: tuple[int, int], normalized_coordinates: bool = True) -> Array:
    r"""Render one Gaussian per map, normalised to a sum of 1.

    A map is the outer product of two vectors. The vector along x is

    .. math::
        g(x) = \frac{\exp(-(x - \mu_x)^2 / 2 \sigma_x^2)}{\sum_{x'} \exp(-(x' - \mu_x)^2 / 2 \sigma_x^2)}
        \qquad x' = 0, 1, \dots, W - 1,

    and that along y likewise. A map sums to 1 wherever its mean is. If the mean is outside the map, the part of
    the Gaussian inside is scaled up, to a single pixel on the border if it is far outside.

    Parameters
    ----------
    mean : array of shape (\*, 2)
        Centres, in the order (x, y), of any integer or float dtype: NumPy, torch, CuPy, or JAX on the host.
    std : array of shape (\*, 2)
        Standard deviations, in the order (x, y), in the same unit and dtype. Positive; `mean` and `std`
        broadcast against each other.
    size : tuple of two ints
        Height and width of a map in pixels.
    normalized_coordinates : bool, default True
        Take `mean` and `std` in coordinates from -1 to 1 between the centres of the first and the last pixel of
        an axis, instead of pixels.

    Returns
    -------
    array of shape (\*, H, W)
        The maps, with the dtype of a float `mean`, else ``np.result_type(mean.dtype, np.float32)``.
        They are NaN where the mean is not finite.

    Raises
    ------
    TypeError
        If `mean` and `std` are of different dtypes or on different devices, or an argument is of
        the wrong type.
    ValueError
        If a standard deviation is not positive, a last axis is not 2, the shapes do not broadcast,
        or a size is below 1.

    See Also
    --------
    render_gaussian : The same in 1, 2 or 3 dimensions, in array order.
    spatial_expectation2d : The inverse, from maps to means.

    Notes
    -----
    Follows ``kornia.geometry.subpix.render_gaussian2d`` of kornia 0.9.0. Exponents are relative to the pixel
    nearest to the mean, whose distance is computed in float64, so that neither narrow Gaussians nor distant
    means lose digits. Along an axis, values below exp(-40) of the greatest in float32, or exp(-340) in float64,
    are set to 0. Differentiable with respect to `mean` and `std`.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import render_gaussian2d
    >>> mean, std = np.array([0.5, 0.0]), np.array([0.5, 0.5])
    >>> render_gaussian2d(mean, std, (3, 5)).round(3)
    array([[0.001, 0.006, 0.027, 0.045, 0.027],
           [0.004, 0.045, 0.202, 0.334, 0.202],
           [0.001, 0.006, 0.027, 0.045, 0.027]])
    """
    m, s = as_array(mean, "mean"), check_numbers(std, "std")
    shape = check_window(size, 2, "size")
    check_last_axis(m, 2, "mean")
    check_last_axis(as_array(s, "std"), 2, "std")
    if hasattr(mean, "dtype") and hasattr(std, "dtype"):
        check_same_dtype(m, s, ("mean", "std"))
    check_broadcast(m, s, ("mean", "std"))
    normalized = check_bool(normalized_coordinates, "normalized_coordinates")
    return call("render_gaussian", m, s, size=shape, normalized_coordinates=normalized, xy=True, peak=False)[0]


def render_gaussian(mean: Array, std: Array | float, shape: tuple[int, ...], *, normalization: str = "sum") -> Array:
    r"""Render one Gaussian per map, in 1, 2 or 3 dimensions, in array order and pixels.

    Parameters
    ----------
    mean : array of shape (..., ndim), or Peaks
        Centres in array order, (y, x) or (z, y, x), in pixels, of any integer or float dtype:
        NumPy, torch, CuPy, or JAX on the host.
    std : float or array
        Standard deviations in pixels: one for all, or an array whose last axis has one number per axis of a
        map, or one for all axes. Positive; `mean` and `std` broadcast against each other.
    shape : tuple of one to three ints
        Shape of a map.
    normalization : {"sum", "peak"}, default "sum"
        With "sum", the pixels of a map sum to 1, as in `render_gaussian2d`. With "peak", a pixel is
        :math:`\exp(-d^2 / 2)`, where d is its distance from the mean in standard deviations: 1 at the mean,
        wherever it is.

    Returns
    -------
    array of shape (..., \*shape)
        The maps, with the dtype of a float `mean`, else ``np.result_type(mean.dtype, np.float32)``.
        They are NaN where the mean is not finite.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a standard deviation is not positive, the last axis of `mean` does not have the length of
        `shape`, the shapes do not broadcast, or `normalization` is unknown.

    See Also
    --------
    render_gaussian2d : The same as in kornia, in the order (x, y).
    render_spots : Many Gaussians in one image.

    Notes
    -----
    Along an axis, values below exp(-40) of the greatest in float32, or exp(-340) in float64, are set to 0: beyond
    9 or 26 standard deviations. Differentiable with respect to `mean` and `std`.

    Examples
    --------
    A heat map to train a network with, of height 1 and two pixels wide:

    >>> import numpy as np
    >>> from npsubpix import render_gaussian
    >>> render_gaussian([1, 2.5], 2.0, (3, 5), normalization="peak").round(2)
    array([[0.4 , 0.67, 0.86, 0.86, 0.67],
           [0.46, 0.75, 0.97, 0.97, 0.75],
           [0.4 , 0.67, 0.86, 0.86, 0.67]])

    Three Gaussians along one axis:

    >>> render_gaussian([[1.0], [2.5], [9.0]], 0.5, (5,)).round(2)
    array([[0.11, 0.79, 0.11, 0.  , 0.  ],
           [0.  , 0.01, 0.49, 0.49, 0.01],
           [0.  , 0.  , 0.  , 0.  , 1.  ]])
    """
    m, s = check_positions(mean, "mean"), _std(std)
    sizes = check_image_shape(shape, "shape")
    check_last_axis(m, len(sizes), "mean")
    if tuple(getattr(s, "shape", ()))[-1:] not in ((), (1,)):
        check_last_axis(s, len(sizes), "std")
    check_broadcast(m, s, ("mean", "std"))
    check_choice(normalization, "normalization", _NORMALIZATIONS)
    return call(
        "render_gaussian", m, s, size=sizes, normalized_coordinates=False, xy=False, peak=normalization == "peak"
    )[0]


def render_spots(
    coords: Array,
    shape: tuple[int, ...],
    *,
    std: Array | float,
    amplitude: Array | float = 1.0,
    normalization: str = "sum",
    integrate: bool = False,
    truncate: float = 6.0,
    frame_axis: int | None = None,
) -> Array:
    r"""Render many Gaussian spots into one image, a volume or a line.

    Parameters
    ----------
    coords : array of shape (N, ndim), or Peaks
        Positions of the spots in array order, (y, x) or (z, y, x), in pixels, of any integer or
        float dtype: NumPy, torch, CuPy, or JAX on the host. They may lie outside the image.
    shape : tuple of one to three ints
        Shape of the image; of the stack with `frame_axis`.
    std : float or array
        Standard deviations in pixels: one for all, one number per axis, of shape (ndim,), or one or ndim numbers
        per spot, of shape (N, 1) or (N, ndim). Positive and finite.
    amplitude : float or array of shape (N,), default 1.0
        Amplitude of all spots, or of each.
    normalization : {"sum", "peak"}, default "sum"
        Meaning of the amplitude. With "sum", it is the integrated signal of a spot,
        :math:`\int I(p)\,\mathrm{d}p`, including the part outside the image; with "peak", the height at its
        centre.
    integrate : bool, default False
        Average a spot over each pixel, as a camera does, instead of sampling it at the centre of the pixel. The
        two differ where `std` is about 1 or less. With "sum", the signal is then conserved, however narrow a
        spot is.
    truncate : float, default 6.0
        Number of standard deviations, on every axis, at which a spot is truncated: measured to the centre of a
        pixel, or with `integrate` to its nearest edge. At 6, at most 1.5e-8 of the peak is lost at any pixel.
        Infinity truncates nothing.
    frame_axis : int, optional
        Axis of `shape` for the frames of a stack. `coords` are then Peaks with frames, each rendered in its own frame.
        Without it, the peaks of all frames are rendered into one image.

    Returns
    -------
    array of shape `shape`
        The image, with the dtype of float `coords`, else ``np.result_type(coords.dtype, np.float32)``.
        Spots are summed in float64. Spots whose position or amplitude is not finite, such as failed rows of a
        table, are not drawn.

    Raises
    ------
    TypeError
        If an argument is of the wrong type.
    ValueError
        If a standard deviation is not positive and finite, `coords` does not have one column per axis of the
        image, `std` or `amplitude` does not broadcast to it, or an option is out of range.

    See Also
    --------
    render_gaussian : One Gaussian per map.
    find_peaks : The inverse, from the image to positions.

    Notes
    -----
    The cost grows with the number of pixels that the spots cover, and only the image is held in memory.
    Differentiable with respect to `coords`, `std` and `amplitude`, with truncation at fixed pixels; spots that are
    not drawn have a gradient of 0.

    Examples
    --------
    >>> import numpy as np
    >>> from npsubpix import find_peaks, render_spots
    >>> coords = np.array([[8.25, 10.6], [20.0, 21.75]])
    >>> image = render_spots(coords, (32, 32), std=1.3, amplitude=[1000, 500], integrate=True)
    >>> float(image.sum().round(3))
    1500.0
    >>> peaks = find_peaks(image, threshold_abs=1.0, refine="centroid")
    >>> peaks.coords.round(2) + 0.0
    array([[ 8.25, 10.6 ],
           [20.  , 21.75]])
    """
    if frame_axis is not None:
        options = {"normalization": normalization, "integrate": integrate, "truncate": truncate}
        return _render_stack(coords, shape, std, amplitude, frame_axis, options)
    x, s, a = check_positions(coords, "coords"), _std(std), check_numbers(amplitude, "amplitude")
    sizes = check_image_shape(shape, "shape")
    check_ndim(x, 2, "coords", "(N, ndim)")
    check_last_axis(x, len(sizes), "coords")
    check_broadcast_to(s, tuple(x.shape), "std", "the shape of coords")
    check_broadcast_to(a, tuple(x.shape[:1]), "amplitude", "the number of spots")
    check_choice(normalization, "normalization", _NORMALIZATIONS)
    return call(
        "render_spots",
        x,
        s,
        a,
        shape=sizes,
        peak=normalization == "peak",
        integrate=check_bool(integrate, "integrate"),
        truncate=check_positive(truncate, "truncate"),
    )[0]


def _render_stack(coords: Any, shape: Any, std: Any, amplitude: Any, frame_axis: Any, options: dict[str, Any]) -> Array:
    """Render each frame of a stack from its rows of a table."""
    frames = check_frames_of(coords)
    if frames is None:
        raise TypeError(f"coords must be Peaks with frames if frame_axis is given, got a {type(coords).__name__}")
    sizes = check_stack_shape(shape, "shape")
    axis = check_frame_axis(frame_axis, len(sizes))
    x, s, a = check_positions(coords, "coords"), _std(std), check_numbers(amplitude, "amplitude")
    check_broadcast_to(s, tuple(x.shape), "std", "the shape of coords")
    check_broadcast_to(a, tuple(x.shape[:1]), "amplitude", "the number of spots")
    rows_of = rows_by_frame(frames, len(coords), sizes[axis])
    images = []
    for number in range(sizes[axis]):
        rows = rows_of.get(number, np.empty(0, np.int64))
        widths = take(s, rows, 0) if getattr(s, "ndim", 0) == 2 and s.shape[0] > 1 else s
        heights = take(a, rows, 0) if getattr(a, "ndim", 0) == 1 and a.shape[0] > 1 else a
        frame = render_spots(
            take(x, rows, 0), sizes[:axis] + sizes[axis + 1 :], std=widths, amplitude=heights, **options
        )
        images.append(frame[None])
    return moveaxis(join(images, 0), 0, axis)
