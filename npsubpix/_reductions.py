"""Reductions of windows: what their arguments have in common, and the one call down."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays import Array, HostArray, adopt, as_array, give_back, kind_of
from npsubpix._checks import check_choice, check_count, check_fill, check_reals
from npsubpix._dispatch import implementation

__all__ = [
    "BORDERS", "REDUCTIONS", "WEIGHTED", "check_lengths_of_axes", "check_result_dtype", "converted", "reduce_image",
]  # fmt: skip

BORDERS = ("shrink", "reflect", "mirror", "nearest", "wrap", "constant")

#: Reductions by name, and those that take weights.
REDUCTIONS = ("sum", "mean", "var", "std", "min", "max", "range", "median", "percentile", "centroid")
WEIGHTED = ("sum", "mean", "var", "std", "centroid")


def check_lengths_of_axes(value: Any, axes: int, name: str) -> tuple[int, ...]:
    """Require a positive integer, or one for each axis; return one for each."""
    values = value if isinstance(value, (tuple, list)) else (value,) * axes
    if len(values) != axes:
        raise ValueError(f"{name} must be an integer or hold {axes} of them, got {value!r}")
    return tuple(check_count(v, name, 1) for v in values)


def reduce_image(
    image: Any, name: str, size: Any, footprint: Any, weights: Any, border: Any, cval: Any, stride: Any, dtype: Any,
    q: Any = 50.0,
) -> Array:  # fmt: skip
    """Check the arguments of a reduction, and run it."""
    chosen = check_result_dtype(dtype)
    given = widened(as_array(image, "image"), chosen)
    x = adopt(given, "image")
    if not 1 <= x.ndim <= 3:
        raise ValueError(f"image must have 1 to 3 dimensions, got shape {x.shape}")
    if 0 in x.shape:
        raise ValueError(f"image must have at least one pixel along each axis, got shape {x.shape}")
    form, factors, lengths = _form(name, size, footprint, weights, x.ndim)
    check_choice(border, "border", BORDERS)
    steps = check_lengths_of_axes(stride, x.ndim, "stride")
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
    arrays = {key: np.asarray(adopt_form(value, key)) for key, value in shaped.items() if value is not None}
    if "weights" in arrays and name not in WEIGHTED:
        raise ValueError(f"weights are for {', '.join(WEIGHTED)}, got them for {name}")
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
        return None, None, check_lengths_of_axes(size, axes, "size")
    shape = next(iter(arrays.values())).shape
    if size is not None and check_lengths_of_axes(size, axes, "size") != shape:
        raise ValueError(f"size must be left to the footprint or weights, of shape {shape}, got {size!r}")
    form, factors = arrays.get("footprint"), arrays.get("weights")
    if form is not None and not form.any():
        raise ValueError("footprint must have a pixel that counts")
    if factors is not None and name in ("var", "std") and not (factors >= 0).all():
        raise ValueError(f"weights must not be negative for {name}")
    return form, factors, shape


def adopt_form(value: Any, key: str) -> HostArray:
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


def check_result_dtype(dtype: Any) -> np.dtype[Any] | None:
    """Require a dtype of integers or floats, or None."""
    if dtype is None:
        return None
    try:
        chosen: np.dtype[Any] = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype must be that of integers or floats, got {dtype!r}") from None
    if chosen.kind not in "iuf" or chosen.itemsize > 8:
        raise TypeError(f"dtype must be that of integers or floats of up to 64 bits, got {chosen}")
    return chosen


def widened(x: Any, dtype: np.dtype[Any] | None) -> Any:
    """Return an image of half precision in float32 if a dtype is asked for: results would be halved else."""
    if dtype is None or dtype.itemsize == 2 or x.dtype.itemsize != 2:
        return x
    half = str(x.dtype).rpartition(".")[2] in ("float16", "bfloat16")
    return x if not half else x.float() if kind_of(x) == "torch" else x.astype(np.float32)


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
