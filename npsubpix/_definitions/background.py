"""Boxes in which a background is measured, and the mesh that they make."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["box_count", "box_ends", "filter_reach", "grow_radii"]


def box_count(pixels: int, size: int) -> int:
    """Return how many boxes of nearly one length, that nearest to `size`, an axis is cut into."""
    return max(int(pixels / size + 0.5), 1)


def box_ends(pixels: int, boxes: int) -> npt.NDArray[np.int64]:
    """Return where the boxes of an axis begin and end: at multiples of their mean length, rounded half up."""
    return (2 * np.arange(boxes + 1) * pixels + boxes) // (2 * boxes)


def filter_reach(filter_size: tuple[int, ...], boxes: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many boxes the median filter extends to each side, per axis.

    The window is shorter where an axis has few boxes: the extension of a mesh is no longer than the mesh less one.
    """
    return tuple(min(k // 2, n - 1) for k, n in zip(filter_size, boxes, strict=True))


def grow_radii(grow: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the radii (z, y, x) around clipped pixels within which pixels are left out, at most those of an image."""
    radii = [min(r, n) for r, n in zip(grow, shape, strict=True)]
    return (*(0 for _ in range(3 - len(radii))), *radii)
