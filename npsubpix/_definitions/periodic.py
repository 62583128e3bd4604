"""Periodic images: pixels beyond the border are those of the opposite side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["folded", "repeated", "repeated_pixels"]


def repeated(x: Any, pads: tuple[int, ...], put: Callable[[Any], Any] = np.asarray) -> Any:
    """Repeat `pads` pixels of a stack of images on each side, per axis; `put` copies indices to its device."""
    for axis, pad in enumerate(pads, 1):
        count = max(x.shape[axis], 1)
        x = x.take(put(np.arange(-pad, x.shape[axis] + pad) % count), axis=axis) if x.shape[axis] else x
    return x


def repeated_pixels(
    values: Any, shape: tuple[int, ...], pads: tuple[int, ...], put: Callable[[Any], Any] = np.asarray
) -> Any:
    """Repeat the pixels of a number per pixel of an image or of a stack; a number for all stays as it is."""
    if values is None or values.size <= 1:
        return values
    return repeated(values.reshape(-1, *shape), pads, put).reshape(-1)


def folded(coords: Any, shape: tuple[int, ...]) -> None:
    """Move positions by whole periods, in place, to where the image has them: from -0.5 on, below its length - 0.5."""
    for axis, count in enumerate(shape):
        coords[:, axis] -= count * np.floor((coords[:, axis] + 0.5) / max(count, 1))
