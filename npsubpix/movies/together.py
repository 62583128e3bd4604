"""Fits of all spots of a frame larger than memory at once: where they depend on each other.

Least squares without a known noise take errors from the residuals of all spots, and joint fits the neighbours of
neighbours. Kernels get an array of the whole frame, in which only the boxes of spots are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._dispatch.tiles import Box, Candidates, Rows, refined
from npsubpix.fitting.spots import fit_spots
from npsubpix.movies.fits import pools_noise
from npsubpix.movies.frames import Frame, slices
from npsubpix.movies.tilework import Pixels, pixels_at
from npsubpix.movies.windows import window, window_bytes
from npsubpix.results import Fits

__all__ = ["Parts", "depend_on_each_other", "fitted_together", "refined_together"]


def depend_on_each_other(fit: Mapping[str, Any]) -> bool:
    """Whether fits of spots that are not near each other depend on each other."""
    return pools_noise(fit) or fit.get("neighbors", "ignore") != "ignore"


class Parts(NamedTuple):
    """How a frame is read around pixels: the cores of tiles, the rows of pixels in each, and how far around these."""

    cores: list[Box]
    rows: Mapping[int, HostArray]
    half: tuple[int, ...]
    memory: int
    tick: Callable[[], None]  # called after each tile


def fitted_together(frame: Frame, coords: HostArray, starts: HostArray, parts: Parts) -> Fits:
    """Fit the spots of a frame, whose boxes are around pixels."""
    assert frame.fit is not None
    other = "camera or error" if pools_noise(frame.fit) else "neighbors='ignore'"
    image, mask = _boxes(frame, starts, parts, other, lambda *_: None)
    return fit_spots(image, coords, **(frame.fit if mask is None else {**frame.fit, "mask": mask}))


def refined_together(
    frame: Frame, found: Candidates, points: HostArray, parts: Parts, seen: Callable[[Pixels], Any]
) -> Rows:
    """Refine candidates by fits to boxes around their pixels, which are handed to `seen`."""

    def see(rows: HostArray, box: Box, pixels: HostArray) -> None:
        seen(pixels_at(frame, box, found.indices[rows], points[rows], pixels))

    image, mask = _boxes(frame, points, parts, "another refine", see)
    return refined(image[None], None if mask is None else mask[None], found, frame.search, frame.refinement, None)


def _boxes(
    frame: Frame, starts: HostArray, parts: Parts, other: str, see: Callable[[HostArray, Box, HostArray], None]
) -> tuple[HostArray, HostArray | None]:
    """Return arrays of the frame, and of its mask, that hold the boxes around pixels."""
    ndim = len(frame.shape)
    origin = frame.read(((0, 1),) * ndim)[0]
    is_masked = frame.maps["mask"] is not None
    _check_memory(frame, len(starts), parts, origin.dtype.itemsize + is_masked, other)
    image = window(frame.shape, (slice(0, 0),) * ndim, origin[(slice(0, 0),) * ndim])
    masked = window(frame.shape, (slice(0, 0),) * ndim, np.zeros((0,) * ndim, bool)) if is_masked else None
    for k, rows in parts.rows.items():
        box = frame.widened(parts.cores[k], parts.half)
        pixels, mask = frame.read(box)[0], frame.map_of("mask", box)
        for start in starts[rows]:
            around = frame.widened(tuple((int(p), int(p) + 1) for p in start), parts.half)
            inside = tuple(slice(b - first, e - first) for (b, e), (first, _) in zip(around, box, strict=True))
            image[slices(around)] = pixels[inside]
            if masked is not None and mask is not None:
                masked[slices(around)] = mask.reshape(pixels.shape)[inside]
        see(rows, box, pixels)
        parts.tick()
    return image, masked


def _check_memory(frame: Frame, count: int, parts: Parts, item: int, other: str) -> None:
    """Refuse more spots than there is memory for boxes, in pages of an array of the frame."""
    lengths = tuple(min(2 * h + 1, n) for h, n in zip(parts.half, frame.shape, strict=True))
    needed = min(count * window_bytes(frame.shape, lengths, item), math.prod(frame.shape) * item)
    if needed > parts.memory:
        raise ValueError(
            f"the {count} spots of frame {frame.number}, of shape {frame.shape}, are fitted at once, which takes about "
            f"{needed} bytes, more than max_memory: raise it, or pass {other}, with which spots are measured in tiles"
        )
