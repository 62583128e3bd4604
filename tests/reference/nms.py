"""Non-maximum suppression by its definition: one pixel after the other against its whole window."""

from __future__ import annotations

import itertools

import numpy as np


def window(centre: tuple[int, ...], size: tuple[int, ...]) -> list[range]:
    """The positions that a window covers: (k - 1) // 2 back and k // 2 ahead."""
    return [range(c - (k - 1) // 2, c + k // 2 + 1) for c, k in zip(centre, size, strict=True)]


def is_maximum(image: np.ndarray, centre: tuple[int, ...], size: tuple[int, ...], clip: bool = False) -> bool:
    """Whether a pixel is strictly greater than all others of its window, which has to be inside unless clipped."""
    for place in itertools.product(*window(centre, size)):
        inside = all(0 <= p < n for p, n in zip(place, image.shape, strict=True))
        if not inside:
            if clip:
                continue
            return False
        if place != centre and not image[centre] > image[place]:
            return False
    return True


def mask(image: np.ndarray, size: tuple[int, ...], clip: bool = False) -> np.ndarray:
    """Mark the maxima of one image or volume."""
    if max(size) == 1:
        return np.ones(image.shape, bool)
    out = np.zeros(image.shape, bool)
    for centre in np.ndindex(image.shape):
        out[centre] = is_maximum(image, centre, size, clip)
    return out


def masks(stack: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Mark the maxima of arrays of shape (B, C, …)."""
    return np.array([[mask(image, size) for image in images] for images in stack]).reshape(stack.shape)
