"""Images as stacks, frames first, and what comes with them: masks, backgrounds and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays import Array, HostArray, adopt, is_on_gpu, kind_of
from npsubpix._checks import check_count, check_finite, check_mask, check_positive
from npsubpix._results import Background

__all__ = ["Levels", "levels_of", "stack_of", "stacked_mask", "unstacked"]

#: Background and noise: each one number, or one a pixel of a frame or of a stack, flat.
Levels = tuple[HostArray, HostArray]


def stack_of(image: Array, frame_axis: int | None) -> HostArray:
    """Return an image as a stack of images of two or three dimensions, the frames first."""
    x = adopt(image, "image")
    if x.ndim - (frame_axis is not None) not in (2, 3):
        besides = "" if frame_axis is None else " besides its frame axis"
        raise ValueError(f"image must have 2 or 3 dimensions{besides}, got shape {x.shape}")
    if frame_axis is None:
        return x[None]
    return np.ascontiguousarray(np.moveaxis(x, _axis_of(frame_axis, x.ndim), 0))


def unstacked(x: HostArray, frame_axis: int | None) -> HostArray:
    """Return a stack in the shape of the image that it was made of."""
    return x[0] if frame_axis is None else np.ascontiguousarray(np.moveaxis(x, 0, frame_axis))


def stacked_mask(mask: Array | None, x: HostArray, frame_axis: int | None) -> npt.NDArray[np.bool_] | None:
    """Return a mask of the shape of a stack, from one of the whole image or of one frame."""
    if mask is None:
        return None
    if frame_axis is None or len(np.shape(mask)) != x.ndim:
        return np.ascontiguousarray(np.broadcast_to(check_mask(mask, x.shape[1:], "mask"), x.shape))
    marks = check_mask(mask, _shape_of_image(x, frame_axis), "mask")
    return np.ascontiguousarray(np.moveaxis(marks, frame_axis, 0))


def levels_of(background: Any, sigma: Any, x: HostArray, frame_axis: int | None) -> Levels | None:
    """Return background and noise of a stack; None if neither is given."""
    if isinstance(background, Background):
        sigma = background.noise if sigma is None else sigma
        background = background.level
    if background is None and sigma is None:
        return None
    level = np.zeros(1) if background is None else _level(background, "background", x, frame_axis)
    noise = np.ones(1) if sigma is None else _level(sigma, "sigma", x, frame_axis)
    return level, noise


def _level(value: Any, name: str, x: HostArray, frame_axis: int | None) -> HostArray:
    if np.ndim(value) == 0:
        number = check_finite(value, name)
        return np.array([check_positive(number, name) if name == "sigma" else number])
    if is_on_gpu(value, kind_of(value)):
        raise TypeError(f"{name} is on a GPU and the image is not: both must be on one device")
    values = adopt(value, name)
    whole = x.shape[1:] if frame_axis is None else _shape_of_image(x, frame_axis)
    if values.shape == whole and frame_axis is not None:
        values = np.ascontiguousarray(np.moveaxis(values, frame_axis, 0))
    elif values.shape != x.shape[1:]:
        frame = "" if frame_axis is None else f" or of a frame, {x.shape[1:]}"
        raise ValueError(
            f"{name} must be a number or have the shape of the image, {whole}{frame}, got shape {values.shape}"
        )
    return values.reshape(-1)


def _axis_of(frame_axis: Any, ndim: int) -> int:
    axis = check_count(frame_axis, "frame_axis", -ndim)
    if axis >= ndim:
        raise ValueError(f"frame_axis must be below {ndim}, the number of dimensions of the image, got {axis}")
    return axis


def _shape_of_image(x: HostArray, frame_axis: int) -> tuple[int, ...]:
    """Return the shape of the image that a stack was made of."""
    axis = _axis_of(frame_axis, x.ndim) % x.ndim
    return (*x.shape[1 : axis + 1], x.shape[0], *x.shape[axis + 1 :])
