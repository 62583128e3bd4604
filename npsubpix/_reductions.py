"""Reductions of windows: what their arguments have in common, and the one call down."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays import Array, HostArray, adopt, as_array, give_back, without_half
from npsubpix._checks import check_choice, check_dtype, check_fill, check_image, check_per_axis, check_reals
from npsubpix._dispatch import implementation
from npsubpix._spec import BORDERS

__all__ = ["REDUCTIONS", "converted", "reduce_image"]

#: Reductions by name, and those that take weights.
REDUCTIONS = ("sum", "mean", "var", "std", "min", "max", "range", "median", "percentile", "centroid")
_WEIGHTED = ("sum", "mean", "var", "std", "centroid")


def reduce_image(
    image: Any, name: str, size: Any, footprint: Any, weights: Any, border: Any, cval: Any, stride: Any, dtype: Any,
    q: Any = 50.0,
) -> Array:  # fmt: skip
    """Check the arguments of a reduction, and run it."""
    chosen = check_dtype(dtype)
    given = as_array(image, "image") if chosen is None else without_half(as_array(image, "image"))
    x = adopt(given, "image")
    check_image(x)
    form, factors, lengths = _form(name, size, footprint, weights, x.ndim)
    check_choice(border, "border", BORDERS)
    steps = check_per_axis(stride, x.ndim, "stride", 1)
    fill = check_fill(cval, "cval")
    part = _part(q)
    kernels = implementation("reductions", given)
    result = kernels.reduce_windows(x, name, lengths, form, factors, str(border), fill, steps, part)
    return give_back(converted(result, chosen), given)


def _form(
    name: str, size: Any, footprint: Any, weights: Any, axes: int
) -> tuple[HostArray | None, HostArray | None, tuple[int, ...]]:
    """Return the footprint, the weights and the lengths of windows."""
    shaped = {"footprint": footprint, "weights": weights}
    arrays = {key: np.asarray(_adopt_form(value, key)) for key, value in shaped.items() if value is not None}
    if "weights" in arrays and name not in _WEIGHTED:
        raise ValueError(f"weights are for {', '.join(_WEIGHTED)}, got them for {name}")
    for key, array in arrays.items():
        if array.ndim != axes or 0 in array.shape:
            raise ValueError(
                f"{key} must have {axes} dimensions, as the image has, and no empty one, got {array.shape}"
            )
    if len({a.shape for a in arrays.values()}) > 1:
        raise ValueError(f"footprint and weights must have one shape, got {[a.shape for a in arrays.values()]}")
    if not arrays:
        if size is None:
            raise ValueError("size must be given, or a footprint or weights")
        return None, None, check_per_axis(size, axes, "size", 1)
    shape = next(iter(arrays.values())).shape
    if size is not None and check_per_axis(size, axes, "size", 1) != shape:
        raise ValueError(f"size must be left to the footprint or weights, of shape {shape}, got {size!r}")
    form, factors = arrays.get("footprint"), arrays.get("weights")
    if form is not None and not form.any():
        raise ValueError("footprint must have a pixel that counts")
    if factors is not None and name in ("var", "std") and not (factors >= 0).all():
        raise ValueError(f"weights must not be negative for {name}")
    return form, factors, shape


def _adopt_form(value: Any, key: str) -> HostArray:
    """Return a footprint or weights as an array; footprints of numbers have pixels where these are not 0."""
    array = as_array(value, key)
    if key == "footprint":
        marks = np.asarray(array.detach() if hasattr(array, "detach") else array)
        if marks.dtype.kind not in "biu":
            raise TypeError(f"footprint must hold booleans, got dtype {marks.dtype}")
        return np.asarray(marks != 0)
    factors: HostArray = adopt(check_reals(array, key), key).astype(np.float64)
    if not np.isfinite(factors).all():
        raise ValueError("weights must be finite")
    return factors


def _part(q: Any) -> float:
    number = check_fill(q, "q")
    if not 0 <= number <= 100:
        raise ValueError(f"q must be from 0 to 100, got {q!r}")
    return number / 100


def converted(result: HostArray, dtype: np.dtype[Any] | None) -> HostArray:
    """Convert a result; to integers rounded and kept within their range, NaN to 0."""
    if dtype is None or dtype == result.dtype:
        return result
    if dtype.kind == "f" or result.dtype.kind == "b":
        return result.astype(dtype)
    info = np.iinfo(dtype)
    if result.dtype.kind == "f":
        top = np.nextafter(float(info.max), 0) if float(info.max) > info.max else float(info.max)
        inside = np.nan_to_num(np.clip(np.rint(result.astype(np.float64)), info.min, top), nan=0.0)
        return np.where(result >= float(info.max), info.max, inside.astype(dtype))
    own = np.iinfo(result.dtype)
    return np.clip(result, max(info.min, own.min), min(info.max, own.max)).astype(dtype)
