"""Checks of arguments: the only place that words these errors.

A message names the argument, what it got, and what it needs.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from npsubpix._arrays.library import (
    HostArray,
    as_array,
    as_floats,
    beside,
    has_booleans,
    is_array,
    is_on_gpu,
    is_table,
    kind_of,
    moveaxis,
    require_cupy,
    to_numpy,
    without_booleans,
)
from npsubpix._arrays.options import _real, check_count, check_finite, check_positive
from npsubpix._definitions.maps import is_shared

__all__ = [
    "check_all_positive",
    "check_broadcast",
    "check_broadcast_to",
    "check_channel_axis",
    "check_frames",
    "check_frames_of",
    "check_image",
    "check_image_shape",
    "check_last_axis",
    "check_map_axes",
    "check_mask",
    "check_matrix",
    "check_ndim",
    "check_numbers",
    "check_pixels_below",
    "check_positions",
    "check_reals",
    "check_reals_beside",
    "check_same_dtype",
    "check_stack_shape",
    "check_temperature",
    "check_temperature_option",
    "check_weights",
    "check_weights_option",
    "column_of",
]


def check_ndim(x: HostArray, ndim: int, name: str, axes: str) -> None:
    """Require a number of dimensions."""
    if x.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, {axes}, got shape {tuple(x.shape)}")


def check_channel_axis(axis: Any, x: Any) -> int | None:
    """Require an axis that an array has, or None; return it counted from the first."""
    if axis is None:
        return None
    try:
        if isinstance(axis, bool):
            raise TypeError
        number = operator.index(axis)
    except TypeError:
        raise TypeError(f"channel_axis must be an integer or None, got {axis!r}") from None
    if not -x.ndim <= number < x.ndim:
        raise ValueError(f"channel_axis must be an axis of the image, of shape {tuple(x.shape)}, got {number}")
    return int(number % x.ndim)


def check_image(x: Any, other_axis: int | None = None, what: str = "channels") -> int:
    """Require an image of one to three dimensions besides another axis, that of channels or frames; return how many."""
    axes = x.ndim - (other_axis is not None)
    if not 1 <= axes <= 3:
        besides = "" if other_axis is None else f" besides {what}"
        raise ValueError(f"image must have 1 to 3 dimensions{besides}, got shape {tuple(x.shape)}")
    return int(axes)


def check_temperature_option(value: Any, leading: tuple[int, ...] | None = None) -> Any:
    """Require a positive, finite number, 1 if None, or an array that broadcasts; kernels check the values of arrays."""
    if value is None:
        return 1.0
    numbers = check_numbers(value, "temperature")
    if not is_array(numbers):
        return check_finite(check_positive(numbers, "temperature"), "temperature")
    if leading is not None:
        check_broadcast_to(numbers, leading, "temperature", "the leading axes of the input")
    return numbers


def check_temperature(temperature: HostArray, leading: tuple[int, ...]) -> HostArray:
    """Require positive, finite numbers; return one per map."""
    if temperature.ndim == 0:
        number = temperature.item()
        if not 0 < number < math.inf:
            raise ValueError(f"temperature must be positive and finite, got {number}")
        one_for_all = np.empty(leading)
        one_for_all.fill(number)
        return one_for_all
    values = np.asarray(temperature, np.float64)
    check_all_positive(values, "temperature", finite=True)
    return np.ascontiguousarray(np.broadcast_to(values, leading))


def check_map_axes(axes: Any, x: Any) -> int:
    """Require the number of axes of a map, 1 to 3, that an array has."""
    count = check_count(axes, "spatial_axes", 1)
    if count > 3:
        raise ValueError(f"spatial_axes must be 1, 2 or 3, got {count}")
    if x.ndim < count:
        raise ValueError(
            f"input must have at least {count} dimensions for spatial_axes={count}, got shape {tuple(x.shape)}"
        )
    return count


def check_weights_option(weights: Any, shape: tuple[int, ...]) -> Any:
    """Require numbers that broadcast to a shape, booleans as 0 and 1; kernels check their values."""
    if weights is None:
        return None
    array = as_array(weights, "weights")
    check_broadcast_to(array, shape, "weights", "the input")
    return array * 1.0 if has_booleans(array) else array


def check_weights(weights: HostArray, shape: tuple[int, ...], axes: int) -> HostArray:
    """Require finite numbers from 0 up; return one map of them over the last axes, or one per map."""
    if not ((weights >= 0) & (weights < math.inf)).all():
        raise ValueError("weights must be finite and not negative")
    full = np.broadcast_to(weights, shape)
    return full[(slice(0, 1),) * (len(shape) - axes)] if is_shared(weights.shape, axes) else full


def check_mask(mask: Any, shape: tuple[int, ...], name: str) -> None:
    """Require an array of booleans of a shape, by its attributes: a compiler that only traces sees no others."""
    if isinstance(mask, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array of booleans, got a masked array")
    if not has_booleans(mask):
        raise TypeError(f"{name} must be an array of booleans, got dtype {mask.dtype}")
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name} must have the shape of the image, {shape}, got {tuple(mask.shape)}")


def check_matrix(matrix: Any, name: str, like: Any) -> Any:
    """Require the matrix of a transform of two or three axes; return it in the library and the floats of `like`."""
    m = check_reals(matrix, name)
    if tuple(m.shape) not in ((2, 3), (3, 3), (3, 4), (4, 4)):
        raise ValueError(f"{name} must have shape (2, 3), (3, 3), (3, 4) or (4, 4), got {tuple(m.shape)}")
    if kind_of(like) == "torch":
        return m.to(like.dtype) if kind_of(m) == "torch" else like.new_tensor(np.asarray(m, np.float64).tolist())
    if kind_of(m) == "torch":
        m = to_numpy(m)
    if kind_of(like) == "cupy":
        return require_cupy().asarray(m, like.dtype)
    return np.asarray(m, like.dtype) if kind_of(m) == "numpy" and kind_of(like) == "numpy" else m


def check_reals(value: Any, name: str) -> Any:
    """Require an array of real numbers; return it with a dtype of floats, float64 if it had integers."""
    x = as_array(value, name)
    if kind_of(x) == "torch":
        if has_booleans(x) or x.is_complex():
            raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
        return x if x.is_floating_point() else as_floats(x, "float64")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array")
    if x.dtype.name != "bfloat16" and x.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {x.dtype}")
    return as_floats(x, "float64") if x.dtype.kind in "iu" else x


def check_reals_beside(value: Any, name: str, like: Any) -> Any:
    """Require an array of real numbers, or of booleans as 0 and 1; copy a list to the device of another array."""
    numbers = check_reals(without_booleans(as_array(value, name), "float64"), name)
    return numbers if is_array(value) else beside(numbers, like)


def check_numbers(value: Any, name: str) -> Any:
    """Require an array, a list of numbers or a number."""
    if is_array(value):
        return as_array(value, name)
    if not isinstance(value, (list, tuple)):
        return _real(value, name)
    data = as_array(value, name)
    if data.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {data.dtype}")
    return data.astype(np.float64)


def check_pixels_below(x: Any, limit: int, name: str) -> None:
    """Require fewer pixels than kernels can count."""
    if x.size >= limit:
        raise ValueError(f"{name} must have less than {limit} pixels, got {x.size}")


def _is_data_frame(x: Any) -> bool:
    """Whether something is a data frame, as of pandas and polars, whose columns are known by name."""
    return not is_array(x) and not isinstance(x, type) and hasattr(x, "columns") and hasattr(x, "to_numpy")


def check_positions(value: Any, name: str, axis: int = -1) -> Any:
    """Require an array of positions, or a table that has one; return one with the coordinates along an axis.

    Columns of a data frame are taken by their names, z, y and x, not by their order.
    """
    if _is_data_frame(value):
        coords = as_array(_named_positions(value, name), name)
    elif is_table(value):
        coords = as_array(value.coords, name)
    else:
        return as_array(value, name)
    return coords if axis == -1 else moveaxis(coords, -1, axis)


def _named_positions(frame: Any, name: str) -> Any:
    axes = [axis for axis in "zyx" if axis in frame.columns]
    if axes[-2:] != ["y", "x"]:
        found = ", ".join(map(str, frame.columns))
        raise ValueError(f"{name} must have the columns y and x, and z in volumes, if it is a data frame, got {found}")
    return frame[axes].to_numpy()


def column_of(table: Any, name: str) -> Any:
    """Return a column of a table of positions, or of a data frame, None if it has none of this name."""
    if _is_data_frame(table):
        return table[name].to_numpy() if name in table.columns else None
    return getattr(table, name, None) if is_table(table) else None


def check_frames_of(table: Any, frame: Any = None) -> Any:
    """Return the image of each position in a stack: the one that the caller gives, or that of a table, or None."""
    return column_of(table, "frame") if frame is None else frame


def check_frames(frame: Any, count: int, images: int) -> Any:
    """Require the image of each of `count` positions in a stack; return an array.

    The contents of an array on a GPU are not checked, since the host would have to wait.
    """
    frames = as_array(frame, "frame")
    if tuple(frames.shape) != (count,):
        raise ValueError(f"frame must have shape ({count},), one number per position, got {tuple(frames.shape)}")
    if count and not str(frames.dtype).removeprefix("torch.").startswith(("int", "uint")):
        raise TypeError(f"frame must hold integers, got dtype {frames.dtype}")
    if count and not is_on_gpu(frames, kind_of(frames)):
        numbers = to_numpy(frames)
        least, greatest = int(numbers.min()), int(numbers.max())
        if not 0 <= least <= greatest < images:
            raise ValueError(f"frame must be between 0 and {images - 1}, got {least} to {greatest}")
    return frames


def check_same_dtype(x: Any, y: Any, names: tuple[str, str]) -> None:
    """Require two arrays of one dtype, whatever its byte order, on one device."""
    if x.dtype != y.dtype:
        dtypes = tuple(getattr(a.dtype, "name", a.dtype) for a in (x, y))
        if dtypes[0] != dtypes[1]:
            raise TypeError(f"{' and '.join(names)} must be of one dtype, got {dtypes[0]} and {dtypes[1]}")
    if kind_of(x) == "torch" and kind_of(y) == "torch" and x.device != y.device:
        raise TypeError(f"{' and '.join(names)} must be on one device, got {x.device} and {y.device}")


def check_stack_shape(shape: Any, name: str) -> tuple[int, ...]:
    """Require the lengths of an axis of frames, and of one to three axes of a frame."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of 2, 3 or 4 integers, got {shape!r}")
    if not 2 <= len(shape) <= 4:
        raise ValueError(f"{name} must hold 2, 3 or 4 integers with frame_axis, got {tuple(shape)!r}")
    return tuple(check_count(n, name, 1) for n in shape)


def check_image_shape(shape: Any, name: str) -> tuple[int, ...]:
    """Require one to three lengths of at least one pixel."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of 1, 2 or 3 integers, got {shape!r}")
    if not 1 <= len(shape) <= 3:
        raise ValueError(f"{name} must hold 1, 2 or 3 integers, got {tuple(shape)!r}")
    return tuple(check_count(n, name, 1) for n in shape)


def check_last_axis(x: Any, length: int, name: str) -> None:
    """Require a last axis of a length."""
    if x.ndim == 0 or x.shape[-1] != length:
        raise ValueError(f"{name} must have a last axis of {length}, got shape {tuple(x.shape)}")


def check_broadcast(x: Any, y: Any, names: tuple[str, str]) -> None:
    """Require arrays that broadcast against each other; a number always does."""
    shapes = tuple(tuple(getattr(a, "shape", ())) for a in (x, y))
    if any(n != m and n != 1 and m != 1 for n, m in zip(reversed(shapes[0]), reversed(shapes[1]), strict=False)):
        raise ValueError(
            f"{' and '.join(names)} must broadcast against each other, got shapes {shapes[0]} and {shapes[1]}"
        )


def check_broadcast_to(x: Any, shape: tuple[int, ...], name: str, what: str) -> None:
    """Require a number, or an array that broadcasts to a shape."""
    own = tuple(getattr(x, "shape", ()))
    # Of symbols, which torch.compile traces, `in` compares identities
    fits = all(n == 1 or n == m for n, m in zip(reversed(own), reversed(shape), strict=False))
    if not fits or len(own) > len(shape):
        raise ValueError(f"{name} must be a number or broadcast to {what}, {shape}, got shape {own}")


def check_all_positive(x: HostArray, name: str, finite: bool = False) -> None:
    """Require numbers above 0, and below infinity if `finite`."""
    if x.size and not (x.min() > 0 and (not finite or x.max() < math.inf)):
        wrong = ~((x > 0) & (x < math.inf)) if finite else ~(x > 0)
        raise ValueError(f"{name} must be positive{' and finite' * finite}, got {x[wrong].flat[0]}")
