"""Reductions of windows: common checks of arguments, and the call of the operation."""

from __future__ import annotations

from typing import Any

from npsubpix._arrays.checks import check_image, check_mask, check_reals
from npsubpix._arrays.library import Array, as_array, as_image, without_booleans, without_half
from npsubpix._arrays.options import check_choice, check_dtype, check_fill, check_per_axis
from npsubpix._definitions.borders import BORDERS
from npsubpix._definitions.windows import NAN_POLICIES
from npsubpix._dispatch.call import call

__all__ = ["REDUCTIONS", "check_footprint", "lengths_of_windows", "reduce_image"]

#: Reductions by name; those of `_WEIGHTED` take weights.
REDUCTIONS = ("sum", "mean", "var", "std", "min", "max", "range", "median", "percentile", "centroid")
_WEIGHTED = ("sum", "mean", "var", "std", "centroid")


def reduce_image(
    image: Any, name: str, size: Any, footprint: Any, weights: Any, border: Any, cval: Any, stride: Any, dtype: Any,
    nan_policy: Any, mask: Any, q: Any = 50.0, argument: str = "image",
) -> Array:  # fmt: skip
    """Check the arguments of a reduction, and run it."""
    chosen = check_dtype(dtype)
    x, skipped = as_image(image, mask, argument)
    x = without_booleans(x)
    x = x if chosen is None else without_half(x)
    check_image(x)
    if skipped is not None:
        skipped = as_array(skipped, "mask")
        check_mask(skipped, tuple(x.shape), "mask")
    check_choice(nan_policy, "nan_policy", NAN_POLICIES)
    counted = None if footprint is None else check_footprint(footprint, x.ndim)
    pixel_weights = _weights(weights, name, x.ndim)
    check_choice(border, "border", BORDERS)
    return call(
        "reduce_windows",
        x,
        counted,
        pixel_weights,
        skipped,
        reduction=name,
        size=lengths_of_windows(size, counted, pixel_weights, x.ndim),
        border=str(border),
        cval=check_fill(cval, "cval"),
        stride=check_per_axis(stride, x.ndim, "stride", 1),
        nan_policy=str(nan_policy),
        q=_quantile(q),
        dtype=chosen,
    )[0]


def check_footprint(footprint: Any, axes: int) -> Array:
    """Return a footprint as booleans; integers other than 0 count as True."""
    array = as_array(footprint, "footprint")
    if not str(array.dtype).removeprefix("torch.").startswith(("bool", "int", "uint")):
        raise TypeError(f"footprint must hold booleans, got dtype {array.dtype}")
    _check_axes(array, "footprint", axes)
    return array != 0


def _weights(weights: Any, name: str, axes: int) -> Array | None:
    if weights is None:
        return None
    array = check_reals(without_booleans(as_array(weights, "weights"), "float64"), "weights")
    if name not in _WEIGHTED:
        raise ValueError(f"weights are for {', '.join(_WEIGHTED)}, got them for {name}")
    _check_axes(array, "weights", axes)
    return array


def _check_axes(array: Array, name: str, axes: int) -> None:
    if array.ndim != axes or 0 in array.shape:
        found = tuple(array.shape)
        raise ValueError(f"{name} must have {axes} dimensions, as the image has, and no empty one, got {found}")


def lengths_of_windows(size: Any, footprint: Array | None, weights: Array | None, axes: int) -> tuple[int, ...]:
    """Return the size of windows, which is the shape of a footprint or weights if there are any."""
    shapes = [tuple(array.shape) for array in (footprint, weights) if array is not None]
    if len(set(shapes)) > 1:
        raise ValueError(f"footprint and weights must have one shape, got {shapes}")
    if not shapes:
        if size is None:
            raise ValueError("size must be given, or a footprint or weights")
        return check_per_axis(size, axes, "size", 1)
    if size is not None and check_per_axis(size, axes, "size", 1) != shapes[0]:
        raise ValueError(f"size must be left to the footprint or weights, of shape {shapes[0]}, got {size!r}")
    return shapes[0]


def _quantile(q: Any) -> float:
    number = check_fill(q, "q")
    if not 0 <= number <= 100:
        raise ValueError(f"q must be from 0 to 100, got {q!r}")
    return number / 100
