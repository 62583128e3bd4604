"""Images as stacks, frames first, and what comes with them: masks, backgrounds and noise.

Where these are made from an image on a GPU, it has to be worked on there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from npsubpix._arrays.checks import check_frames, check_mask
from npsubpix._arrays.home import Home, home_of
from npsubpix._arrays.library import Array, HostArray, as_array, is_array, join, take, to_numpy
from npsubpix._arrays.options import check_count, check_finite, check_positive

__all__ = [
    "check_frame_axis",
    "check_stack",
    "in_order_of_rows",
    "is_delayed",
    "pixels_of",
    "rows_by_frame",
    "shape_of_frame",
    "stack_of",
    "stacked_mask",
    "unstacked",
]


def check_stack(image: Array, frame_axis: int | None) -> int:
    """Require an image, or a stack of images, of two or three dimensions each; return how many."""
    axes = image.ndim - (frame_axis is not None)
    if axes not in (2, 3):
        besides = "" if frame_axis is None else " besides its frame axis"
        raise ValueError(f"image must have 2 or 3 dimensions{besides}, got shape {tuple(image.shape)}")
    if frame_axis is not None:
        _axis_of(frame_axis, image.ndim)
    return int(axes)


def is_delayed(x: Any) -> bool:
    """Whether something is an array of dask, or of xarray with chunks of dask, which is computed when it is loaded."""
    return callable(getattr(x, "__dask_graph__", None)) and x.__dask_graph__() is not None


def shape_of_frame(image: Array, frame_axis: int | None) -> tuple[int, ...]:
    """Return the shape of an image, or of one frame of a stack."""
    shape = [*map(int, image.shape)]
    if frame_axis is not None:
        del shape[_axis_of(frame_axis, image.ndim)]
    return tuple(shape)


def stack_of(home: Home, image: Array, frame_axis: int | None) -> HostArray:
    """Return an image as a stack of images of two or three dimensions, the frames first."""
    check_stack(image, frame_axis)
    x = home.adopt(image, "image")
    return x[None] if frame_axis is None else _moved(x, _axis_of(frame_axis, x.ndim), 0)


def _moved(x: HostArray, axis: int, to: int) -> HostArray:
    """Move an axis; return an array in C order, by methods that arrays on a GPU have too."""
    order = list(range(x.ndim))
    order.insert(to % x.ndim, order.pop(axis))
    moved: HostArray = x.transpose(order)
    return moved if moved.flags.c_contiguous else moved.copy()


def unstacked(x: HostArray, frame_axis: int | None) -> HostArray:
    """Return a stack in the shape of the image that it was made of."""
    return x[0] if frame_axis is None else _moved(x, 0, frame_axis)


def stacked_mask(home: Home, mask: Array, x: HostArray, frame_axis: int | None) -> HostArray:
    """Return a mask as a stack, from one of the whole image; or of shape (1, ...), from one of a frame."""
    array = as_array(mask, "mask")
    whole = frame_axis is not None and array.ndim == x.ndim
    check_mask(array, _shape_of_image(x, frame_axis) if whole else x.shape[1:], "mask")
    adopted = home.adopt_mask(array)
    return _moved(adopted, _axis_of(frame_axis, x.ndim) % x.ndim, 0) if whole else adopted[None]


def pixels_of(home: Home, value: Any, name: str, x: HostArray, frame_axis: int | None) -> HostArray:
    """Return a number, or an array of one for each pixel of a frame or of a stack, flat."""
    if not hasattr(value, "shape") and np.ndim(value) == 0:
        number = check_finite(value, name)
        return np.array([check_positive(number, name) if name == "sigma" else number])
    values = home.adopt(as_array(value, name) if is_array(value) else value, name)
    if values.ndim == 0:  # one on a GPU is not looked at
        return values.reshape(1) if home_of(value).on_gpu else pixels_of(home, values.item(), name, x, frame_axis)
    whole = x.shape[1:] if frame_axis is None else _shape_of_image(x, frame_axis)
    if values.shape == whole and frame_axis is not None:
        values = _moved(values, _axis_of(frame_axis, x.ndim) % x.ndim, 0)
    elif values.shape != x.shape[1:]:
        frame = "" if frame_axis is None else f" or of a frame, {x.shape[1:]}"
        raise ValueError(
            f"{name} must be a number or have the shape of the image, {whole}{frame}, got shape {values.shape}"
        )
    return values.reshape(-1)


def check_frame_axis(frame_axis: Any, ndim: int) -> int:
    """Require an axis of an image; return it counted from the first."""
    return _axis_of(frame_axis, ndim) % ndim


def rows_by_frame(frames: Array, count: int, images: int) -> dict[int, HostArray]:
    """Return the rows of each frame in which a table has any; no rows of the first frame if it has none at all."""
    numbers = check_frames(to_numpy(frames), count, images)
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    rows = np.split(order, starts[1:]) if count else [order]
    return dict(zip(found.tolist() or [0], rows, strict=True))


def in_order_of_rows(parts: Sequence[Array], rows_of: dict[int, HostArray], axis: int) -> Array:
    """Join what was computed frame by frame along the axis of rows, in the order of the table."""
    back = np.argsort(np.concatenate(list(rows_of.values())), kind="stable")
    return take(join(parts, axis), back, axis)


def _axis_of(frame_axis: Any, ndim: int) -> int:
    axis = check_count(frame_axis, "frame_axis", -ndim)
    if axis >= ndim:
        raise ValueError(f"frame_axis must be below {ndim}, the number of dimensions of the image, got {axis}")
    return axis


def _shape_of_image(x: HostArray, frame_axis: Any) -> tuple[int, ...]:
    """Return the shape of the image that a stack was made of."""
    axis = _axis_of(frame_axis, x.ndim) % x.ndim
    return (*x.shape[1 : axis + 1], x.shape[0], *x.shape[axis + 1 :])
