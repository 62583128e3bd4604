"""Filter an image so that spots stand out in it: peaks are sought in the result, and measured in the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._arrays.library import Array, as_array, join, moveaxis, with_gaps_filled
from npsubpix._arrays.options import check_choice, check_widths
from npsubpix._arrays.stacks import check_frame_axis
from npsubpix._definitions.blobs import gaussian_line
from npsubpix._definitions.dtypes import promoted
from npsubpix.background import local_background
from npsubpix.blobs import difference_of_gaussians, laplacian_of_gaussian
from npsubpix.convolution import convolve_separable

__all__ = ["DETECTORS", "detected", "filtered"]

#: Filters of a width, by their names; None for the image itself.
DETECTORS = ("dog", "log", "gaussian", None)

_TRUNCATE = 4.0  # standard deviations at which the Gaussian ends


def detected(
    image: Array,
    detect: str | Array | Callable[[Array], Array] | None,
    sigma: float | tuple[float, ...] | None,
    *,
    mask: Array | None,
    wrap: bool,
    frame_axis: int | None,
) -> Array:
    """Return the image in which peaks are sought: an array of the caller, or the image as a filter leaves it.

    Masked pixels, and those that are not finite, are filled with the background before a filter sees them.
    """
    named = isinstance(detect, str)
    if named:
        check_choice(detect, "detect", DETECTORS)
        if sigma is None:
            raise ValueError(f"detect_sigma must be the width of spots in pixels with detect={detect!r}, got None")
    elif sigma is not None:
        raise ValueError(f"detect_sigma is of the filters 'dog', 'log' and 'gaussian', got {sigma!r} without them")
    if not named and not callable(detect):
        return _of_shape(as_array(detect, "detect"), image, "be an array")
    axis = None if frame_axis is None else check_frame_axis(frame_axis, image.ndim)
    x = with_gaps_filled(image, mask, axis, lambda: local_background(image, mask=mask, frame_axis=frame_axis).level)
    return filtered(x, detect, sigma, wrap=wrap, axis=axis) if named else _mapped(x, detect, axis)


def filtered(x: Array, detect: Any, sigma: float | tuple[float, ...] | None, *, wrap: bool, axis: int | None) -> Array:
    """Return an image without gaps as a filter with a name leaves it."""
    ndim = x.ndim - (axis is not None)
    options: dict[str, Any] = {"border": "wrap" if wrap else "reflect"}
    if detect == "gaussian":
        lines = [gaussian_line(width, _TRUNCATE) for width in check_widths(sigma, ndim, "detect_sigma")]
        return convolve_separable(x, lines, channel_axis=axis, dtype=_float_dtype(x), **options)
    if detect == "dog":
        return difference_of_gaussians(x, check_widths(sigma, ndim, "detect_sigma"), frame_axis=axis, **options)
    return -laplacian_of_gaussian(x, check_widths(sigma, ndim, "detect_sigma"), frame_axis=axis, **options)


def _float_dtype(x: Array) -> Any:
    name = str(x.dtype).removeprefix("torch.")
    return np.float32 if name == "bfloat16" else promoted(np.dtype(name))


def _mapped(x: Array, function: Any, axis: int | None) -> Array:
    """Call a function with an image, or with each frame of a stack."""
    if axis is None:
        return _of_shape(as_array(function(x), "detect"), x, "return an array")
    frames = moveaxis(x, axis, 0)
    if frames.shape[0] == 0:
        return x
    parts = [
        _of_shape(as_array(function(frames[k]), "detect"), frames[k], "return an array")[None]
        for k in range(frames.shape[0])
    ]
    return moveaxis(join(parts, 0), 0, axis)


def _of_shape(result: Array, image: Array, what: str) -> Array:
    if tuple(result.shape) != tuple(image.shape):
        raise ValueError(
            f"detect must {what} of the shape of the image, {tuple(image.shape)}, got {tuple(result.shape)}"
        )
    return result
