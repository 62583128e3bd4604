"""Frames in tiles that are filtered before peaks are sought in them, as `find_peaks` filters a whole frame.

A tile is filtered with a margin as wide as the kernel, which is then cut off. Beyond its border, a frame is extended by
the filter.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._arrays.options import check_widths
from npsubpix._definitions.dtypes import promoted
from npsubpix._detection import detected, filtered
from npsubpix._dispatch.tiles import Box, MeshOfFrame, boxes_of, measure, mesh_of
from npsubpix.background import check_boxes

if TYPE_CHECKING:
    from npsubpix.movies.frames import Frame

__all__ = ["Filter", "Look", "filter_of", "has_gaps", "searched", "with_gaps"]

#: Standard deviations at which the kernels end: of Gaussians, and of the wide ones of differences.
_ENDS = {"gaussian": 4.0, "log": 4.0, "dog": 6.4}


class Filter(NamedTuple):
    """A filter, and the background that fills gaps: pixels that are masked or not finite. None if there are none."""

    name: str
    widths: tuple[float, ...]
    reach: tuple[int, ...]
    gaps: MeshOfFrame | None = None


def filter_of(options: Mapping[str, Any], shape: tuple[int, ...]) -> Filter | None:
    """Require the options of a filter; return it, or None."""
    name, width = options["detect"], options["detect_sigma"]
    if name is None and width is None:
        return None
    detected(np.zeros((1,) * len(shape), np.float32), name, width, mask=None, wrap=False, frame_axis=None)
    widths = check_widths(width, len(shape), "detect_sigma")
    return Filter(name, widths, tuple(min(int(_ENDS[name] * w) + 2, n) for w, n in zip(widths, shape, strict=True)))


def searched(frame: Frame, box: Box) -> HostArray:
    """Return a part of the image in which peaks are sought, as a stack of one."""
    own = frame.filter
    if own is None:
        return frame.read(box)
    wide = frame.widened(box, own.reach)
    x = frame.read(wide)[0]
    if own.gaps is not None:
        mask, level = frame.map_of("mask", wide), own.gaps.at("level", (*((0, 1),) * (3 - x.ndim), *wide))
        gaps = ~np.isfinite(x) if mask is None else ~np.isfinite(x) | mask.reshape(x.shape)
        x = np.where(gaps, level.reshape(x.shape), x)
    found = filtered(x, own.name, own.widths, wrap=False, axis=None)
    inside = tuple(slice(b - first, e - first) for (b, e), (first, _) in zip(box, wide, strict=True))
    return np.ascontiguousarray(found[inside])[None]


class Look(NamedTuple):
    """A part of a frame in which gaps may be."""

    frame: Frame
    core: Box

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


def has_gaps(job: Look) -> bool:
    """Say whether pixels of a part of the frame are masked or not finite."""
    frame, box = job
    mask = frame.map_of("mask", box)
    if mask is not None and mask.any():
        return True
    x = frame.read(box)
    return x.dtype.kind == "f" and not np.isfinite(x).all()


def with_gaps(frame: Frame, core: Box) -> Filter:
    """Return the filter of a frame with the background of its pixels, which fills gaps."""
    assert frame.filter is not None
    lead = ((0, 1),) * (3 - len(frame.shape))
    corner = frame.read(tuple((0, 1) for _ in frame.shape))
    boxes = boxes_of(frame.shape, promoted(corner.dtype), **check_boxes(len(frame.shape)))
    parts = []
    for part in boxes.parts(tuple(end - begin for begin, end in itertools.chain(lead, core))):
        box = boxes.pixels(part)[3 - len(frame.shape) :]
        parts.append((part, measure(boxes, part, frame.read(box), frame.map_of("mask", box))))
    return frame.filter._replace(gaps=mesh_of(boxes, parts))
