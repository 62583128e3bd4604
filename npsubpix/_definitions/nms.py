"""Windows in which extrema are sought, and the border of an image in which none is reported."""

from __future__ import annotations

import functools

__all__ = ["clipped_margins", "clipped_reach", "nms_reach"]


def nms_reach(size: int) -> tuple[int, int]:
    """Return how many pixels a window of `size` extends before and after its centre.

    An even window extends one pixel further ahead than back, unlike those of convolutions and statistics, which
    begin ``size // 2`` pixels before their pixel.
    """
    return (size - 1) // 2, size // 2


@functools.lru_cache(maxsize=64)
def clipped_reach(size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the pixels before and after the centre of a window, per axis, but no more than an image has."""
    return tuple(min(r, max(n - 1, 0)) for k, n in zip(size, shape, strict=True) for r in nms_reach(k))


@functools.lru_cache(maxsize=64)
def clipped_margins(margins: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the widths of the border before and after, per axis, but no more than an image has."""
    return tuple(min(m, shape[k // 2]) for k, m in enumerate(margins))
