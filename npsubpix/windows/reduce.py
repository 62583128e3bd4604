"""Reductions of windows: what their arguments have in common, and the one call down."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.adoption import adopt, adopt_mask, give_back
from npsubpix._arrays.checks import check_image, check_reals
from npsubpix._arrays.library import Array, HostArray, as_array, place_of, without_half, working_on
from npsubpix._arrays.options import check_choice, check_dtype, check_fill, check_per_axis
from npsubpix._definitions.borders import BORDERS
from npsubpix._dispatch.backends import implementation

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
    source = as_array(image, "image")
    with working_on(source):
        given = source if chosen is None else without_half(source)
        result = _reduced(given, name, size, footprint, weights, border, cval, stride, q)
        return give_back(converted(result, chosen), given)


def _reduced(
    given: Any, name: str, size: Any, footprint: Any, weights: Any, border: Any, cval: Any, stride: Any, q: Any
) -> HostArray:
    x = adopt(given, "image")
    check_image(x)
    form, factors, lengths = _form(name, size, footprint, weights, x.ndim, place_of(given))
    check_choice(border, "border", BORDERS)
    steps = check_per_axis(stride, x.ndim, "stride", 1)
    fill = check_fill(cval, "cval")
    part = _part(q)
    kernels = implementation("windows", given)
    reduced: HostArray = kernels.reduce_windows(x, name, lengths, form, factors, str(border), fill, steps, part)
    return reduced


def _form(
    name: str, size: Any, footprint: Any, weights: Any, axes: int, place: str
) -> tuple[HostArray | None, HostArray | None, tuple[int, ...]]:
    """Return the footprint, the weights and the lengths of windows."""
    shaped = {"footprint": footprint, "weights": weights}
    arrays = {key: _adopt_form(as_array(value, key), key, place) for key, value in shaped.items() if value is not None}
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
    _check_contents(name, footprint, weights, arrays)
    return arrays.get("footprint"), arrays.get("weights"), shape


def _check_contents(name: str, footprint: Any, weights: Any, arrays: dict[str, HostArray]) -> None:
    """Check what a footprint and weights hold; those on a GPU are not looked into, which would take a wait."""
    if footprint is not None and place_of(footprint) == "the host" and not arrays["footprint"].any():
        raise ValueError("footprint must have a pixel that counts")
    if weights is None or place_of(weights) != "the host":
        return
    if not np.isfinite(arrays["weights"]).all():
        raise ValueError("weights must be finite")
    if name in ("var", "std") and not (arrays["weights"] >= 0).all():
        raise ValueError(f"weights must not be negative for {name}")


def _adopt_form(array: Any, key: str, place: str) -> HostArray:
    """Return a footprint or weights as an array; footprints of numbers have pixels where these are not 0.

    Those of the host may come with an image on a GPU.
    """
    if place_of(array) not in ("the host", place):
        raise TypeError(f"{key} is on {place_of(array)} and image on {place}: both must be on one device")
    if key == "weights":
        factors: HostArray = adopt(check_reals(array, key), key).astype(np.float64)
        return factors
    if not str(array.dtype).removeprefix("torch.").startswith(("bool", "int", "uint")):
        raise TypeError(f"footprint must hold booleans, got dtype {array.dtype}")
    return adopt_mask(array != 0)


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
    if result.dtype.kind == "f":  # by methods, which arrays of all libraries have
        top = np.nextafter(float(info.max), 0) if float(info.max) > info.max else float(info.max)
        inside = result.astype(np.float64).round().clip(float(info.min), float(top))
        inside[result != result] = 0
        found: HostArray = inside.astype(dtype)
        found[result >= float(info.max)] = info.max
        return found
    own = np.iinfo(result.dtype)
    return result.clip(max(info.min, own.min), min(info.max, own.max)).astype(dtype)
