"""Counts of a camera as electrons."""

from __future__ import annotations

from typing import Any

__all__ = ["factors_of"]


def factors_of(electrons_per_count: Any, em_gain: Any, pixels: int) -> Any:
    """Return photoelectrons per count: a flat map of one number, of a frame of so many pixels, or of a stack.

    Both are such maps, of NumPy or of a GPU.
    """
    sizes = electrons_per_count.size, em_gain.size
    if 1 in sizes or sizes[0] == sizes[1]:
        return electrons_per_count / em_gain
    return (electrons_per_count.reshape(-1, pixels) / em_gain.reshape(-1, pixels)).reshape(-1)
