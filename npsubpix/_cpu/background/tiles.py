"""Background and noise of a frame of which only a part is in memory at a time, as `local_background` measures them.

Boxes are measured part by part. Their mesh is filled, smoothed and bounded for the whole frame, and interpolated at the
pixels of any part, with the same weights as at those of the frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.background import measure_boxes
from npsubpix._cpu.background.mesh import Extended, extended, median_filter, settle, spread_in
from npsubpix._definitions.background import box_count, box_ends, grow_radii

__all__ = ["Boxes", "MeshOfFrame", "boxes_of", "measure", "mesh_of"]

_Slices = tuple[tuple[int, int], ...]


class Boxes(NamedTuple):
    """The boxes of a frame, and how they are measured."""

    ends: tuple[npt.NDArray[np.int64], ...]  # along z, y and x
    radii: tuple[int, ...]
    method: str
    filter_size: tuple[int, ...]
    dtype: np.dtype[Any]

    def parts(self, lengths: tuple[int, ...]) -> Iterator[_Slices]:
        """Yield ranges of boxes, per axis, of which parts of at most these lengths hold the pixels, one box at least.

        Lengths are along z, y and x.
        """
        cuts = []
        for ends, length in zip(self.ends, lengths, strict=True):
            each = max(1, int(length // max(np.diff(ends).max(), 1)))
            cuts.append([(b, min(b + each, len(ends) - 1)) for b in range(0, len(ends) - 1, each)])
        return ((z, y, x) for z in cuts[0] for y in cuts[1] for x in cuts[2])

    def pixels(self, part: _Slices) -> _Slices:
        """Return the pixels of a range of boxes, along z, y and x."""
        return tuple((int(e[b]), int(e[n])) for e, (b, n) in zip(self.ends, part, strict=True))


class MeshOfFrame(NamedTuple):
    """Background, noise, and where noise is a guess, of the boxes of a frame."""

    boxes: Boxes
    level: Extended
    noise: Extended
    guessed: npt.NDArray[np.bool_]

    def at(self, name: str, part: _Slices) -> HostArray:
        """Return background, "level", or "noise" at the pixels of a part along z, y and x."""
        pixels: HostArray = spread_in(getattr(self, name), self.boxes.ends, part, self.boxes.dtype)[0]
        return pixels

    def ends_of(self, name: str) -> HostArray:
        """Return a value that none at a pixel is below, and one that none is above."""
        limits = getattr(self, name).limits
        ends = np.array([limits[0].min(), limits[1].max()]).astype(self.boxes.dtype)
        beyond: HostArray = np.nextafter(ends, np.array([-np.inf, np.inf], self.boxes.dtype))
        return beyond

    def guessed_at(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return whether the noise is a guess at pixels of shape (N, 3)."""
        found = [np.searchsorted(e, places[:, k], "right") - 1 for k, e in enumerate(self.boxes.ends)]
        return np.asarray(self.guessed[tuple(found)])


def boxes_of(
    frame: tuple[int, ...], dtype: np.dtype[Any], *, size: tuple[int, ...], method: str, grow: tuple[int, ...],
    filter_size: tuple[int, ...],
) -> Boxes:  # fmt: skip
    """Return the boxes of a frame."""
    lead = (1,) * (3 - len(frame))
    counts = [box_count(n, k) for n, k in zip((*lead, *frame), (*lead, *size), strict=True)]
    ends = tuple(box_ends(n, k) for n, k in zip((*lead, *frame), counts, strict=True))
    return Boxes(ends, grow_radii(grow, frame), method, (*lead, *filter_size), dtype)


def measure(boxes: Boxes, part: _Slices, x: HostArray, mask: HostArray | None) -> tuple[HostArray, ...]:
    """Measure a range of boxes, from their pixels as a stack of one; return what `mesh_of` joins."""
    ends = tuple(e[b : n + 1] - e[b] for e, (b, n) in zip(boxes.ends, part, strict=True))
    stack = x.reshape(1, *(int(e[-1]) for e in ends))
    hidden = None if mask is None else np.ascontiguousarray(mask).reshape(stack.shape)
    return measure_boxes(stack, hidden, ends, boxes.radii, boxes.method, boxes.dtype)


def mesh_of(boxes: Boxes, parts: list[tuple[_Slices, tuple[HostArray, ...]]]) -> MeshOfFrame:
    """Join the boxes of a frame to its mesh."""
    shape = (1, *(len(e) - 1 for e in boxes.ends))
    whole = np.empty(shape), np.empty(shape), np.empty((2, *shape)), np.empty(shape, bool), np.empty(shape, np.int64)
    for part, values in parts:
        inside: tuple[Any, ...] = (..., *(slice(b, n) for b, n in part))
        for array, own in zip(whole, values, strict=True):
            array[inside] = own
    background, noise, ranges, guessed, good = whole
    guessed |= settle(background, noise, good)
    axes = (1, 2, 3)
    bounds = (ranges[0].min(axes), ranges[1].max(axes)), (noise.min(axes), noise.max(axes))
    level, spread = (
        extended(median_filter(mesh, boxes.filter_size), limits)
        for mesh, limits in zip((background, noise), bounds, strict=True)
    )
    return MeshOfFrame(boxes, level, spread, guessed[0])
