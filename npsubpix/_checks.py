"""Checks of arguments: the only place that words these errors.

A message names the argument, what it got, and what it needs.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from npsubpix._arrays import HostArray, is_on_gpu, kind_of, to_numpy

__all__ = [
    "check_bool",
    "check_choice",
    "check_count",
    "check_finite",
    "check_lengths",
    "check_mask",
    "check_ndim",
    "check_per_axis",
    "check_positive",
    "check_window",
]


_MOST = 2**62  # more than any count means, and what kernels can hold


def check_ndim(x: HostArray, ndim: int, name: str, axes: str) -> None:
    """Require a number of dimensions."""
    if x.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, {axes}, got shape {x.shape}")


def check_count(value: Any, name: str, least: int = 0) -> int:
    """Require an integer not below `least`."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = min(operator.index(value), _MOST)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _real(value: Any, name: str) -> float:
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        raise ValueError(
            f"{name} must be a number that a float can hold, got one of {len(str(value))} digits"
        ) from None


def check_finite(value: Any, name: str) -> float:
    """Require a finite number."""
    number = _real(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def check_positive(value: Any, name: str) -> float:
    """Require a number above 0; infinity will do."""
    number = _real(value, name)
    if not number > 0:
        raise ValueError(f"{name} must be positive, got {number}")
    return number


def check_bool(value: Any, name: str) -> bool:
    """Require True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_choice(value: Any, name: str, choices: Sequence[str | None]) -> None:
    """Require one of some names."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_window(size: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Require one window length an axis, each at least 1."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of {ndim} integers, got {size!r}")
    if len(size) != ndim:
        raise ValueError(f"{name} must hold {ndim} integers, got {tuple(size)!r}")
    return tuple(check_count(k, name, 1) for k in size)


def check_per_axis(value: Any, ndim: int, name: str, least: int = 0) -> tuple[int, ...]:
    """Require one integer for all axes, or one an axis."""
    if not isinstance(value, (tuple, list, np.ndarray)) or np.ndim(value) == 0:
        return (check_count(value, name, least),) * ndim
    if len(value) != ndim:
        raise ValueError(f"{name} must be one integer or {ndim} of them, got {value!r}")
    return tuple(check_count(k, name, least) for k in value)


def check_lengths(value: Any, ndim: int, name: str) -> tuple[float, ...]:
    """Require one positive, finite number for all axes, or one an axis."""
    if type(value) is float and 0.0 < value < math.inf:
        return (value,) * ndim
    values = (value,) * ndim if np.ndim(value) == 0 else tuple(value)
    if len(values) != ndim:
        raise ValueError(f"{name} must be one number or {ndim} of them, got {value!r}")
    return tuple(check_positive(check_finite(v, name), name) for v in values)


def check_mask(mask: Any, shape: tuple[int, ...], name: str) -> HostArray:
    """Require a host array of booleans of a shape."""
    if is_on_gpu(mask, kind_of(mask)):
        raise TypeError(f"{name} is on a GPU and the image is not: both must be on one device")
    if isinstance(mask, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array of booleans, got a masked array")
    marks = np.ascontiguousarray(to_numpy(mask))
    if marks.dtype != np.bool_:
        raise TypeError(f"{name} must be an array of booleans, got dtype {marks.dtype}")
    if marks.shape != shape:
        raise ValueError(f"{name} must have the shape of the image, {shape}, got {marks.shape}")
    return marks
