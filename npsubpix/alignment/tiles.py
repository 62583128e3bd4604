"""Tiles of a reference, to which exposures are warped, and parts of it that fit into the memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

__all__ = ["TILE", "hull", "overlap", "parts_of", "tiles_at", "within"]

#: Side of a tile, whatever the memory: where tiles end, the rounding of interpolation differs.
TILE = 256


def parts_of(size: tuple[int, ...], pixels: int) -> Iterator[tuple[slice, slice]]:
    """Divide an image into parts of so many pixels: of whole tiles, as many rows of them as can be, or of a tile."""
    height, width = size
    across = min(width, TILE)
    if pixels >= min(height, TILE) * across:
        wide = width if pixels >= TILE * width else max(pixels // min(height, TILE) // TILE, 1) * TILE
        high = max(pixels // min(wide, width) // TILE, 1) * TILE
        for tile in _steps(height, high):
            yield from ((tile, columns) for columns in _steps(width, wide))
        return
    high, wide = max(pixels // across, 1), min(max(pixels, 1), across)
    for tile, columns in itertools.product(_steps(height, TILE), _steps(width, TILE)):
        for rows in _steps(tile.stop, high, tile.start):
            yield from ((rows, part) for part in _steps(columns.stop, wide, columns.start))


def _steps(stop: int, length: int, start: int = 0) -> list[slice]:
    """Divide a range into slices of a length, the last shorter."""
    return [slice(first, min(first + length, stop)) for first in range(start, stop, length)]


def tiles_at(rows: slice, columns: slice, size: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield the whole tiles of an image that a part of it meets."""
    along = (
        [tile for tile in _steps(n, TILE) if tile.start < part.stop and tile.stop > part.start]
        for part, n in zip((rows, columns), size, strict=True)
    )
    yield from itertools.product(*along)


def hull(parts: Iterable[slice]) -> slice:
    """Return the slice that slices lie in."""
    every = list(parts)
    return slice(min(part.start for part in every), max(part.stop for part in every))


def overlap(a: slice, b: slice) -> slice:
    """Return what two slices share."""
    return slice(max(a.start, b.start), min(a.stop, b.stop))


def within(part: slice, whole: slice) -> slice:
    """Return a slice as counted from the beginning of another one."""
    return slice(part.start - whole.start, part.stop - whole.start)
