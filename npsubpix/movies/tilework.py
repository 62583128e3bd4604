"""What workers do with a tile of a frame: measure boxes of its background, find candidates, refine them, fit spots."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from npsubpix._arrays.lazy import bytes_as_text
from npsubpix._arrays.library import HostArray
from npsubpix._dispatch.tiles import Box, Boxes, Candidates, Part, Rows, Tile, find_in_tile, measure, refined
from npsubpix.movies.borders import Highest, highest_in_tile
from npsubpix.movies.detection import searched
from npsubpix.movies.fits import fitted_in_frame
from npsubpix.movies.frames import Frame, Parted, in_whole, noise_in, noise_of_fit, slices
from npsubpix.movies.windows import window
from npsubpix.results import Fits

__all__ = [
    "Find",
    "Fit",
    "Measure",
    "Pixels",
    "Refine",
    "find",
    "fit",
    "measured",
    "pixels_at",
    "refine",
    "tile_of",
    "tiles_of",
]


class Measure(NamedTuple):
    """Boxes of a background to measure."""

    frame: Parted
    boxes: Boxes
    part: Box

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class Find(NamedTuple):
    """A core in which to find candidates."""

    frame: Frame
    core: Box

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class Refine(NamedTuple):
    """Candidates, and the part of the frame that their refinement sees."""

    frame: Frame
    box: Box
    found: Candidates

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class Fit(NamedTuple):
    """Positions, the part of the frame that their fits see, and which are of the tile, not of its neighbours."""

    frame: Frame
    box: Box
    coords: HostArray
    own: HostArray

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class Pixels(NamedTuple):
    """Indices in the frame, and the values, backgrounds and noise of these pixels."""

    indices: HostArray
    values: HostArray
    level: HostArray | None
    noise: HostArray | None


def measured(job: Measure) -> tuple[HostArray, ...]:
    """Measure boxes of the background."""
    frame, boxes, part = job
    box = boxes.pixels(part)[3 - len(frame.shape) :]
    pixels = searched(frame, box) if isinstance(frame, Frame) else frame.read(box)
    return measure(boxes, part, pixels, frame.map_of("mask", box))


def find(job: Find) -> tuple[list[Part], Highest]:
    """Find the candidates of a tile, with plateaus for which it is too small in larger ones."""
    frame, core = job
    tile = tile_of(frame, frame.widened(core, frame.halo))
    part = find_in_tile(tile, core, frame.shape, frame.search, frame.bound)
    highest = highest_in_tile(tile, core, frame.shape, frame.search)
    parts, unsure, halo = [part], part.unsure, frame.halo
    del tile
    while unsure:
        halo = tuple(2 * h for h in halo)
        left: list[Box] = []
        for each in unsure:
            inside = tuple((max(b, 0), min(e, n)) for (b, e), n in zip(each, frame.shape, strict=True))
            box = frame.widened(inside, halo)
            _check_plateau(frame, box)
            own = find_in_tile(tile_of(frame, box), inside, frame.shape, frame.search, frame.bound, strict=False)
            parts.append(own._replace(unsure=()))
            left += own.unsure
        unsure = tuple(left)
    return parts, highest


def _check_plateau(frame: Frame, box: Box) -> None:
    """Refuse a plateau for which there is no memory."""
    size = 16 * math.prod(end - begin for begin, end in box)
    if size > frame.memory and any(e - b > 64 for b, e in box):
        place = ", ".join(f"{axis} {b} to {e - 1}" for axis, (b, e) in zip("zyx"[-len(box) :], box, strict=True))
        raise ValueError(
            f"a plateau of equal pixels, or several that compete, in frame {frame.number} around {place} needs about "
            f"{bytes_as_text(size)} at once, more than {bytes_as_text(frame.memory)}, the share of one worker in "
            "max_memory: raise it, take fewer workers, or leave them out with plateau='drop'"
        )


def tile_of(frame: Frame, box: Box) -> Tile:
    """Return a part of a frame, with what is known of it."""
    mask = frame.map_of("mask", box)
    x = searched(frame, box)
    own = None if mask is None else mask.reshape(x.shape)
    return Tile(x, box, own, frame.map_of("background", box), frame.map_of("sigma", box))


def refine(job: Refine) -> tuple[Rows, Pixels]:
    """Refine the candidates of a tile, in an array of the whole frame that holds the tile."""
    frame, box, found = job
    inside = (slice(None), *slices(box))
    pixels = frame.read(box)
    image = window((1, *frame.shape), inside, pixels)
    mask = frame.map_of("mask", box)
    if mask is not None:
        mask = window((1, *frame.shape), inside, mask.reshape(pixels.shape))
    rows = refined(image, mask, found, frame.search, frame.refinement, noise_in(frame, box), frame.psf)
    return rows, pixels_at(frame, box, found.indices, rows.starts, pixels[0])


def pixels_at(frame: Frame, box: Box, indices: HostArray, points: HostArray, pixels: HostArray) -> Pixels:
    """Return the pixels at points of a part of a frame, with what is known of them; the filtered ones, if it is so."""
    if frame.filter is not None:
        pixels = searched(frame, box)[0]
    at = tuple(p - begin for p, (begin, _) in zip(points.T, box, strict=True))
    maps = [frame.map_of(name, box) for name in ("background", "sigma")]
    level, noise = (
        None if m is None else np.broadcast_to(m if m.size > 1 else m[0], pixels.size).reshape(pixels.shape)[at]
        for m in maps
    )
    return Pixels(indices, pixels[at], level, noise)


def fit(job: Fit) -> Fits:
    """Fit the spots of a tile, in an array of the whole frame that holds the tile."""
    frame, box, coords, own = job
    assert frame.fit is not None
    pixels = frame.read(box)
    image = window(frame.shape, slices(box), pixels[0])
    mask = frame.map_of("mask", box)
    if mask is not None:
        mask = window(frame.shape, slices(box), mask)
    noise = tuple(in_whole(frame, box, value) for value in noise_of_fit(frame, box))
    return fitted_in_frame(image, coords, frame.fit, mask, noise)[own]


def tiles_of(points: HostArray, cores: list[Box]) -> dict[int, HostArray]:
    """Return the rows of each tile that has any, by their pixels."""
    axes = len(cores[0])
    begins = [np.unique([core[k][0] for core in cores]) for k in range(axes)]
    places = [np.searchsorted(b, points[:, k], side="right") - 1 for k, b in enumerate(begins)]
    tiles = np.ravel_multi_index(places, [len(b) for b in begins]) if len(points) else np.zeros(0, np.int64)
    order = np.argsort(tiles, kind="stable")
    numbers, starts = np.unique(tiles[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=False)) if len(order) else {}
