"""Checks of options: counts, numbers, choices, and values per axis."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

__all__ = [
    "FARTHEST",
    "check_bool",
    "check_choice",
    "check_count",
    "check_dtype",
    "check_fill",
    "check_finite",
    "check_lengths",
    "check_memory",
    "check_padding",
    "check_per_axis",
    "check_positive",
    "check_widths",
    "check_window",
    "remembered",
]

T = TypeVar("T")


_MOST = 2**62  # more than any count means, and what kernels can hold


#: Longest step from one pixel to another that can be added up without leaving 64 bits.
FARTHEST = 2**31


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


_SIZES = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmgt])(i?))?(?:b|bytes?)?\s*", re.IGNORECASE)


def check_memory(value: Any, name: str = "max_memory") -> int:
    """Require a number of bytes, or a text such as "1 GiB" or "500 MB"; return bytes."""
    number = math.nan
    if isinstance(value, str):
        if (found := _SIZES.fullmatch(value)) is not None:
            number = float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index((found[2] or " ").lower())
    elif isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        number = value  # type: ignore[assignment]
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a number of bytes, or a text such as '1 GiB', got {value!r}")
    if number < 1:
        raise ValueError(f"{name} must be at least 1 byte, got {value!r}")
    return min(int(number), _MOST)


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
    if not -math.inf < number < math.inf:  # what torch.compile can follow
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def check_fill(value: Any, name: str) -> float:
    """Require a finite number or NaN."""
    number = _real(value, name)
    return number if number != number else check_finite(number, name)


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


def check_dtype(dtype: Any) -> np.dtype[Any] | None:
    """Require a dtype of integers or floats, NumPy's or torch's, or None."""
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.") if type(dtype).__module__ == "torch" else dtype
    try:
        chosen: np.dtype[Any] = np.dtype(name)
    except TypeError:
        raise TypeError(f"dtype must be that of integers or floats, got {dtype!r}") from None
    if chosen.kind not in "iuf" or chosen.itemsize > 8:
        raise TypeError(f"dtype must be that of integers or floats of up to 64 bits, got {chosen}")
    return chosen


def check_window(size: Any, ndim: int, name: str) -> tuple[int, ...]:
    """Require one window length per axis, each at least 1."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of {ndim} integers, got {size!r}")
    if len(size) != ndim:
        raise ValueError(f"{name} must hold {ndim} integers, got {tuple(size)!r}")
    return tuple([check_count(k, name, 1) for k in size])  # faster than a generator


def check_per_axis(value: Any, ndim: int, name: str, least: int = 0, most: int = _MOST) -> tuple[int, ...]:
    """Require one integer for all axes, or one per axis, from `least` to `most`."""
    if not isinstance(value, (tuple, list, np.ndarray)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = (value,) * ndim
    if len(value) != ndim:
        raise ValueError(f"{name} must be one integer or {ndim} of them, got {value!r}")
    numbers = tuple(check_count(k, name, least) for k in value)
    if any(k > most for k in numbers):
        raise ValueError(f"{name} must be at most {most}, got {max(numbers)}")
    return numbers


def check_lengths(value: Any, ndim: int, name: str) -> tuple[float, ...]:
    """Require one positive, finite number for all axes, or one per axis."""
    if type(value) is float and 0.0 < value < math.inf:
        return (value,) * ndim
    values = (value,) * ndim if np.ndim(value) == 0 else tuple(value)
    if len(values) != ndim:
        raise ValueError(f"{name} must be one number or {ndim} of them, got {value!r}")
    return tuple(check_positive(check_finite(v, name), name) for v in values)


def check_widths(value: Any, ndim: int, name: str) -> tuple[float, ...]:
    """Require one finite number for all axes, or one per axis, of at least 0."""
    values = (value,) * ndim if np.ndim(value) == 0 else tuple(value)
    if len(values) != ndim:
        raise ValueError(f"{name} must be one number or {ndim} of them, got {value!r}")
    widths = tuple(check_finite(v, name) for v in values)
    if min(widths) < 0:
        raise ValueError(f"{name} must be positive, or 0 for an axis that is not smoothed, got {value!r}")
    return widths


def check_padding(padding: Any, window: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Require at most half a window of padding on each axis, and room for one window."""
    pads = check_per_axis(padding, len(window), "padding")
    if any(2 * p > k for p, k in zip(pads, window, strict=True)):
        raise ValueError(f"padding must be at most half of kernel_size, {window}, got {padding}")
    if any(n + 2 * p < k for n, p, k in zip(shape, pads, window, strict=True)):
        raise ValueError(f"kernel_size must fit into the padded map, {shape} with padding {pads}, got {window}")
    return pads


#: Types of options that are equal only if they mean the same; tuples are not, as (3,) equals (3.0,).
_PLAIN = frozenset({bool, int, float, str, type(None)})


def remembered(function: Callable[..., T]) -> Callable[..., T]:
    """Have a function that checks options keep its results: a loop over images checks the same ones at each call.

    Options that are not plain numbers, names or None are checked at each call, and so are wrong ones.
    """
    kept = functools.lru_cache(maxsize=256, typed=True)(function)

    @functools.wraps(function)
    def check(*options: Any, **named: Any) -> T:
        plain = not named and _PLAIN.issuperset(map(type, options))
        return kept(*options) if plain else function(*options, **named)

    return check
