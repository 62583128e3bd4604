"""Fits of all spots of a frame larger than memory at once: where they depend on each other.

Least squares without a known noise take errors from the residuals of all spots, and joint fits the neighbours of
neighbours. Kernels get an array of the whole frame, in which only the boxes of spots are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from npsubpix._arrays.library import HostArray
from npsubpix._dispatch.tiles import Box
from npsubpix.fitting.spots import fit_spots
from npsubpix.movies.fits import pools_noise
from npsubpix.movies.frames import Frame, slices
from npsubpix.movies.windows import window, window_bytes
from npsubpix.results import Fits

__all__ = ["depend_on_each_other", "fitted_together"]


def depend_on_each_other(fit: Mapping[str, Any]) -> bool:
    """Whether fits of spots that are not near each other depend on each other."""
    return pools_noise(fit) or fit.get("neighbors", "ignore") != "ignore"


def fitted_together(
    frame: Frame,
    coords: HostArray,
    starts: HostArray,
    of_tiles: Mapping[int, HostArray],
    cores: list[Box],
    half: tuple[int, ...],
    memory: int,
    tick: Callable[[], None],
) -> Fits:
    """Read the boxes around starts, tile by tile, and fit the spots; `tick` is called after each tile."""
    assert frame.fit is not None
    _check_memory(frame, len(starts), half, memory)
    options, image, masked = dict(frame.fit), None, None
    nothing = (slice(0, 0),) * len(frame.shape)
    for k, rows in of_tiles.items():
        box = frame.widened(cores[k], half)
        pixels, mask = frame.read(box)[0], frame.map_of("mask", box)
        if image is None:
            image = window(frame.shape, nothing, pixels[nothing])
            masked = None if mask is None else window(frame.shape, nothing, mask[:0].reshape((0,) * pixels.ndim))
        for start in starts[rows]:
            around = frame.widened(tuple((int(p), int(p) + 1) for p in start), half)
            inside = tuple(slice(b - first, e - first) for (b, e), (first, _) in zip(around, box, strict=True))
            image[slices(around)] = pixels[inside]
            if masked is not None and mask is not None:
                masked[slices(around)] = mask.reshape(pixels.shape)[inside]
        tick()
    if masked is not None:
        options["mask"] = masked
    return fit_spots(image, coords, **options)


def _check_memory(frame: Frame, count: int, half: tuple[int, ...], memory: int) -> None:
    """Refuse more spots than there is memory for boxes, in pages of an array of the frame."""
    assert frame.fit is not None
    lengths = tuple(min(2 * h + 1, n) for h, n in zip(half, frame.shape, strict=True))
    item = frame.read(tuple((0, 1) for _ in lengths)).dtype.itemsize + (frame.maps["mask"] is not None)
    needed = min(count * window_bytes(frame.shape, lengths, item), math.prod(frame.shape) * item)
    if needed > memory:
        reason = "camera or error" if pools_noise(frame.fit) else "neighbors='ignore'"
        raise ValueError(
            f"the {count} spots of frame {frame.number}, of shape {frame.shape}, are fitted at once, which takes about "
            f"{needed} bytes, more than max_memory: raise it, or pass {reason}, with which they are fitted in tiles"
        )
