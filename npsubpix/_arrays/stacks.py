"""Images as stacks, frames first, and what comes with them: masks, backgrounds and noise.

Where these are made from an image on a GPU, it has to be worked on there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.adoption import adopt, adopt_mask
from npsubpix._arrays.checks import check_marks, check_mask
from npsubpix._arrays.library import (
    Array,
    HostArray,
    as_array,
    is_array,
    is_on_gpu,
    kind_of,
    place_of,
    require_cupy,
    to_numpy,
)
from npsubpix._arrays.options import check_count, check_finite, check_positive

__all__ = ["Levels", "beside", "levels_of", "stack_of", "stacked_mask", "unstacked"]

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
    return _moved(x, _axis_of(frame_axis, x.ndim), 0)


def _moved(x: HostArray, axis: int, to: int) -> HostArray:
    """Move an axis; return an array in C order, by methods that arrays on a GPU have too."""
    order = list(range(x.ndim))
    order.insert(to % x.ndim, order.pop(axis))
    moved: HostArray = x.transpose(order)
    return moved if moved.flags.c_contiguous else moved.copy()


def unstacked(x: HostArray, frame_axis: int | None) -> HostArray:
    """Return a stack in the shape of the image that it was made of."""
    return x[0] if frame_axis is None else _moved(x, 0, frame_axis)


def beside(value: Array, name: str, x: HostArray) -> HostArray:
    """Return the memory of an array given beside a stack, which has to be on its device; lists are copied there."""
    array, place = as_array(value, name), place_of(x)
    if is_array(value) and place_of(array) != place:
        raise TypeError(f"{name} is on {place_of(array)} and image on {place}: both must be on one device")
    if place == "the host":
        return np.asarray(to_numpy(array))
    copied: HostArray = adopt(array if is_array(value) else require_cupy().asarray(array), name)
    return copied


def stacked_mask(mask: Array | None, x: HostArray, frame_axis: int | None) -> npt.NDArray[np.bool_] | None:
    """Return a mask of the shape of a stack, from one of the whole image or of one frame.

    On a GPU a mask of one frame stays one, of shape (1, ...).
    """
    if mask is None:
        return None
    if is_on_gpu(x, kind_of(x)):
        return _mask_on_gpu(mask, x, frame_axis)
    if frame_axis is None or len(np.shape(mask)) != x.ndim:
        return np.ascontiguousarray(np.broadcast_to(check_mask(mask, x.shape[1:], "mask"), x.shape))
    marks = check_mask(mask, _shape_of_image(x, frame_axis), "mask")
    return np.ascontiguousarray(np.moveaxis(marks, frame_axis, 0))


def _mask_on_gpu(mask: Array, x: HostArray, frame_axis: int | None) -> HostArray:
    array = as_array(mask, "mask")
    if place_of(array) != place_of(x):
        raise TypeError(f"mask is on {place_of(array)} and image on {place_of(x)}: both must be on one device")
    whole = frame_axis is not None and array.ndim == x.ndim
    check_marks(array, _shape_of_image(x, frame_axis) if whole else x.shape[1:], "mask")
    marks = adopt_mask(array)
    return _moved(marks, _axis_of(frame_axis, x.ndim) % x.ndim, 0) if whole else marks[None]


def levels_of(background: Any, sigma: Any, x: HostArray, frame_axis: int | None) -> Levels | None:
    """Return background and noise of a stack; None if neither is given."""
    if background is None and sigma is None:
        return None
    level = np.zeros(1) if background is None else _level(background, "background", x, frame_axis)
    noise = np.ones(1) if sigma is None else _level(sigma, "sigma", x, frame_axis)
    return level, noise


def _level(value: Any, name: str, x: HostArray, frame_axis: int | None) -> HostArray:
    on_gpu = is_on_gpu(x, kind_of(x))
    if not is_on_gpu(value, kind_of(value)) and np.ndim(value) == 0:
        number = check_finite(value, name)
        return np.array([check_positive(number, name) if name == "sigma" else number])
    if not on_gpu and is_on_gpu(value, kind_of(value)):
        raise TypeError(f"{name} is on a GPU and the image is not: both must be on one device")
    values = adopt(beside(value, name, x) if on_gpu else value, name)
    if on_gpu and values.ndim == 0:  # a number there, which is not looked at
        return values.reshape(1)
    whole = x.shape[1:] if frame_axis is None else _shape_of_image(x, frame_axis)
    if values.shape == whole and frame_axis is not None:
        values = _moved(values, _axis_of(frame_axis, x.ndim) % x.ndim, 0)
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


def _shape_of_image(x: HostArray, frame_axis: Any) -> tuple[int, ...]:
    """Return the shape of the image that a stack was made of."""
    axis = _axis_of(frame_axis, x.ndim) % x.ndim
    return (*x.shape[1 : axis + 1], x.shape[0], *x.shape[axis + 1 :])
