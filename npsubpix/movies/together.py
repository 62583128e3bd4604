"""Fits of all spots of a frame larger than memory at once: where they depend on each other.

Least squares without a known noise take errors from the residuals of all spots, and joint fits the neighbours of
neighbours. Kernels get an array of the whole frame, in which only the boxes of spots are in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.lazy import bytes_as_text
from npsubpix._arrays.library import HostArray
from npsubpix._definitions.refinement import Noise
from npsubpix._dispatch.tiles import Box, Candidates, Rows, refined
from npsubpix.movies.fits import fitted_in_frame, pools_noise
from npsubpix.movies.frames import Frame, noise_of_fit, noise_of_part, slices
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
    image, mask, noise = _boxes(frame, starts, parts, other, lambda *_: None, noise_of_fit)
    return fitted_in_frame(image, coords, frame.fit, mask, noise)


def refined_together(
    frame: Frame, found: Candidates, points: HostArray, parts: Parts, seen: Callable[[Pixels], Any]
) -> Rows:
    """Refine candidates by fits to boxes around their pixels, which are handed to `seen`."""

    def see(rows: HostArray, box: Box, pixels: HostArray) -> None:
        seen(pixels_at(frame, box, found.indices[rows], points[rows], pixels))

    noise_of = noise_of_part if frame.refinement.calibrated else lambda *_: None
    image, mask, maps = _boxes(frame, points, parts, "another refine", see, noise_of)
    masks = None if mask is None else mask[None]
    noise = Noise(*(value.reshape(-1) for value in maps)) if maps else None
    return refined(image[None], masks, found, frame.search, frame.refinement, noise, frame.psf)


def _boxes(
    frame: Frame,
    starts: HostArray,
    parts: Parts,
    other: str,
    see: Callable[[HostArray, Box, HostArray], None],
    noise_of: Callable[[Frame, Box], Sequence[Any] | None],
) -> tuple[HostArray, HostArray | None, tuple[Any, ...]]:
    """Return arrays of the frame, of its mask, and of its noise, that hold the boxes around pixels."""
    nothing = (slice(0, 0),) * len(frame.shape)

    def empty(like: HostArray) -> HostArray:
        return window(frame.shape, nothing, like[nothing])

    corner = ((0, 1),) * len(frame.shape)
    origin, noise = frame.read(corner)[0], [*(noise_of(frame, corner) or ())]
    arrays = [k for k, value in enumerate(noise) if np.ndim(value) == len(frame.shape)]
    is_masked = frame.maps["mask"] is not None
    item = origin.dtype.itemsize + is_masked + sum(noise[k].dtype.itemsize for k in arrays)
    _check_memory(frame, len(starts), parts, item, other)
    image = empty(origin)
    masked = empty(np.zeros(origin.shape, bool)) if is_masked else None
    for k in arrays:
        noise[k] = empty(noise[k])
    for tile, rows in parts.rows.items():
        box = frame.widened(parts.cores[tile], parts.half)
        pixels, mask = frame.read(box)[0], frame.map_of("mask", box)
        pairs = [(image, pixels)]
        if masked is not None and mask is not None:
            pairs.append((masked, mask.reshape(pixels.shape)))
        if arrays:
            own = noise_of(frame, box)
            assert own is not None
            pairs += [(noise[k], own[k]) for k in arrays]
        for start in starts[rows]:
            around = frame.widened(tuple((int(p), int(p) + 1) for p in start), parts.half)
            inside = tuple(slice(b - first, e - first) for (b, e), (first, _) in zip(around, box, strict=True))
            for whole, part in pairs:
                whole[slices(around)] = part[inside]
        see(rows, box, pixels)
        parts.tick()
    return image, masked, tuple(noise)


def _check_memory(frame: Frame, count: int, parts: Parts, item: int, other: str) -> None:
    """Refuse more spots than there is memory for boxes, in pages of an array of the frame."""
    lengths = tuple(min(2 * h + 1, n) for h, n in zip(parts.half, frame.shape, strict=True))
    needed = min(count * window_bytes(frame.shape, lengths, item), math.prod(frame.shape) * item)
    if needed > parts.memory:
        raise ValueError(
            f"the {count} spots of frame {frame.number}, of shape {frame.shape}, are fitted at once, which takes about "
            f"{bytes_as_text(needed)}, more than max_memory: raise it, or pass {other}, with which spots are "
            "measured in tiles"
        )
