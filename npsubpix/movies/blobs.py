"""Blobs of frames larger than memory, in tiles, with the rows of one call on the whole frame.

The range of pixels and the noise are those of the frame; extrema come from tiles, and all that is chosen among them,
overlaps and numbers of blobs, is chosen for the frame.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.checks import check_mask
from npsubpix._arrays.library import HostArray
from npsubpix._arrays.options import check_choice
from npsubpix._definitions.dtypes import promoted
from npsubpix._dispatch.tiles import (
    BlobSearch,
    Box,
    Extrema,
    FrameScale,
    blobs_of_frame,
    boxes_of,
    coarsest_steps,
    extrema_in_tile,
    frame_scale,
    mesh_of,
    noise_of_frame,
    noise_strips,
    nothing_found,
    pixels_of,
    reach_of_levels,
    table_of,
)
from npsubpix.background import check_boxes
from npsubpix.blobs.finding import check_blobs, check_noise, find_blobs
from npsubpix.movies.frames import Parted, map_of_frame, slices, volume
from npsubpix.movies.jobs import Sent
from npsubpix.movies.maps import changed
from npsubpix.movies.sources import Movie
from npsubpix.movies.tasks import Task
from npsubpix.movies.tilework import Measure, measured, tiles_of
from npsubpix.movies.windows import window, window_bytes
from npsubpix.movies.workers import Runner
from npsubpix.results import Blobs

__all__ = ["BlobFrame", "blob_frame_of", "blobs_in_tiles"]


@dataclasses.dataclass(frozen=True)
class BlobFrame(Parted):
    """A frame, and the blobs that are sought in it; its maps are the mask, and the background where gaps are filled."""

    search: BlobSearch
    refine: str
    noise: npt.NDArray[np.float64] | None  # one number, or one per pixel

    advice: ClassVar[str] = (
        ", as the widest filter reaches far beyond a tile: raise it, crop with roi, lower max_sigma, or open another "
        "level of a pyramid (level=1)"
    )

    def seen_from(self, core: Box) -> Box:
        """Return the part that decides about extrema in a core; it begins at a pixel of all grids."""
        box, steps = self.widened(core, self.halo), coarsest_steps(self.search.plan)
        return tuple((b - b % h, e) for (b, e), h in zip(box, steps, strict=True))

    def gaps(self, box: Box, pixels: HostArray) -> npt.NDArray[np.bool_] | None:
        """Return where pixels of a part are masked or not finite, or None if none are."""
        mask = self.map_of("mask", box)
        gaps = None if mask is None else mask.reshape(pixels.shape).astype(bool)
        if pixels.dtype.kind == "f":
            missing = ~np.isfinite(pixels)
            gaps = missing if gaps is None else gaps | missing
        return gaps if gaps is not None and gaps.any() else None

    def filled(self, box: Box) -> HostArray:
        """Read a part, with its gaps filled."""
        pixels: HostArray = self.read(box)[0]
        if self.maps["background"] is None:
            return pixels
        gaps = self.gaps(box, pixels)
        if gaps is None:
            return np.asarray(pixels, promoted(pixels.dtype))
        level = self.map_of("background", box)
        assert level is not None
        return np.asarray(np.where(gaps, level.reshape(pixels.shape), pixels))


class _Runner(Runner, Protocol):
    """A runner that counts tiles."""

    def tick(self) -> None:
        """Count a tile."""


class _Look(NamedTuple):
    """A core of which to know the range of pixels, and which pixels to hand back."""

    frame: BlobFrame
    core: Box

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class _Find(NamedTuple):
    """A core in which to find extrema."""

    frame: BlobFrame
    core: Box
    scale: FrameScale
    noise: float

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class _Seen(NamedTuple):
    """The range of the pixels of a core that are no gaps, the rows of strips in it, and where the gaps are."""

    low: float
    high: float
    strips: list[tuple[Any, HostArray, npt.NDArray[np.bool_]]]
    gaps: npt.NDArray[np.int64] | None  # indices in the frame


def blob_frame_of(movie: Movie, sent: Movie | Sent, task: Task, number: int, memory: int) -> BlobFrame:
    """Return how a frame is searched for blobs."""
    parameters = inspect.signature(find_blobs).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    options |= changed(task.options, functools.partial(map_of_frame, ndim=len(movie.shape)))
    names = inspect.signature(check_blobs).parameters
    search = check_blobs(movie.shape, **{name: options[name] for name in names if name != "shape"})
    check_choice(options["refine"], "refine", ("quadratic", "fit"))
    noise, mask = check_noise(options["noise"]), options["mask"]
    if mask is not None:
        check_mask(mask, movie.shape, "mask")
    if noise is not None:
        noise = np.asarray(noise)
        if noise.size != 1 and noise.shape != movie.shape:
            raise ValueError(f"noise must be a number or have the shape of a frame, {movie.shape}, got {noise.shape}")
    halo = tuple(a + b - 1 for a, b in zip(reach_of_levels(search.plan), coarsest_steps(search.plan), strict=True))
    maps = {"mask": mask, "background": None}
    return BlobFrame(sent, number, movie.shape, maps, halo, memory, search, options["refine"], noise)


def blobs_in_tiles(
    frame: BlobFrame, cores: list[Box], dtype: np.dtype[Any], memory: int, runner: _Runner, *, of_movie: bool
) -> Blobs:
    """Find the blobs of a frame in tiles."""
    frame, gaps, scale, noise = _prepared(frame, cores, dtype, runner)
    found = nothing_found(len(frame.shape))
    if scale is not None:
        least = float(np.min(noise))
        parts: list[Extrema] = []
        held = 0
        for _, own in runner.run(_find, (_Find(frame, core, scale, least) for core in cores)):
            parts += own
            held += sum(part.cubes.nbytes for part in own)
            if 4 * held > memory:  # as they are joined, and fitted in double precision
                raise ValueError(
                    f"the extrema of frame {frame.number}, of shape {frame.shape}, are too many for max_memory: raise "
                    "it, or a threshold"
                )
        found = blobs_of_frame(parts, gaps, noise, frame.shape, frame.search, scale)
    pixels = pixels_of(found.coords, frame.shape)
    values = np.empty(len(pixels))
    for k, rows in tiles_of(pixels, cores).items():
        origin = np.array(cores[k])[:, 0]
        values[rows] = frame.read(cores[k])[0][tuple((pixels[rows] - origin).T)]
        runner.tick()
    number = np.full(len(pixels), frame.number, np.int64)
    coords, sigma, amplitude, snr, value, flags, frames, *errors = table_of(
        found, values, number, frame.search, known=frame.noise is not None
    )
    blobs = Blobs(coords, sigma, amplitude, snr, value, flags, frames if of_movie else None, frame.shape, *errors)
    return blobs if frame.refine == "quadratic" else _fitted(frame, blobs, cores, memory)


def _prepared(
    frame: BlobFrame, cores: list[Box], dtype: np.dtype[Any], runner: _Runner
) -> tuple[BlobFrame, HostArray | None, FrameScale | None, float | npt.NDArray[np.float64]]:
    """Return the frame with the background that fills gaps, these gaps, the scale of its pixels, and its noise."""
    if 0 in frame.shape:
        return frame, None, None, 0.0
    three = tuple(end for _, end in volume(tuple((0, n) for n in frame.shape)))
    strips = noise_strips(three)
    pixels = np.zeros((*strips.rows.shape, three[2]), dtype)
    hidden = np.zeros(pixels.shape, bool)
    low, high, spoilt = math.inf, -math.inf, []
    gaps: HostArray | None = None
    for job, seen in runner.run(_look, (_Look(frame, core) for core in cores)):
        low, high = min(low, seen.low), max(high, seen.high)
        for at, own, missing in seen.strips:
            pixels[at], hidden[at] = own, missing
        if seen.gaps is not None:
            spoilt.append(job.core)
            if gaps is None:
                gaps = window(frame.shape, (slice(0, 0),) * len(frame.shape), np.zeros((0,) * len(frame.shape), bool))
            gaps.reshape(-1)[seen.gaps] = True
    if gaps is not None:
        frame = _with_background(frame, cores[0], dtype, runner)
        pixels = pixels.astype(promoted(dtype), copy=False)
        for core in spoilt:
            own = frame.filled(core)
            low, high = min(low, float(own.min())), max(high, float(own.max()))
    scale = frame_scale(low, high)
    if frame.noise is not None:
        flat = frame.noise.reshape(-1).astype(np.float64)
        return frame, gaps, scale, float(flat[0]) if flat.size == 1 else flat
    if scale is None:
        return frame, gaps, None, 0.0
    return frame, gaps, scale, noise_of_frame(strips, pixels, None if gaps is None else hidden, scale)


def _look(job: _Look) -> _Seen:
    """Read a core, and say what the search needs to know of it."""
    frame, core = job
    pixels = frame.read(core)[0]
    gaps = frame.gaps(core, pixels)
    known = pixels if gaps is None else pixels[~gaps]
    low, high = (float(known.min()), float(known.max())) if known.size else (math.inf, -math.inf)
    (z, z1), (y, y1), (x, x1) = volume(core)
    three = tuple(end for _, end in volume(tuple((0, n) for n in frame.shape)))
    rows = noise_strips(three).rows
    planes, lines = rows // three[1], rows % three[1]
    here = (planes >= z) & (planes < z1) & (lines >= y) & (lines < y1)
    at = (planes[here] - z, lines[here] - y)
    own = pixels.reshape(z1 - z, y1 - y, x1 - x)[at]
    missing = np.zeros(own.shape, bool) if gaps is None else gaps.reshape(z1 - z, y1 - y, x1 - x)[at]
    part = ((*np.nonzero(here), slice(x, x1)), np.where(missing, 0, own), missing)
    places = None
    if gaps is not None:
        inside = [p + begin for p, (begin, _) in zip(np.nonzero(gaps), core, strict=True)]
        places = np.ravel_multi_index(tuple(inside), frame.shape)
    return _Seen(low, high, [part], places)


def _find(job: _Find) -> list[Extrema]:
    """Find the extrema in a core."""
    frame, core, scale, noise = job
    box = frame.seen_from(core)
    return extrema_in_tile(frame.filled(box), box, core, frame.shape, frame.search, scale, noise)


def _with_background(frame: BlobFrame, core: Box, dtype: np.dtype[Any], runner: Runner) -> BlobFrame:
    """Measure the background that fills gaps."""
    boxes = boxes_of(frame.shape, promoted(dtype), **check_boxes(len(frame.shape)))
    parts = boxes.parts(tuple(end - begin for begin, end in volume(core)))
    found = runner.run(measured, (Measure(frame, boxes, part) for part in parts))
    mesh = mesh_of(boxes, [(job.part, values) for job, values in found])
    return dataclasses.replace(frame, maps={**frame.maps, "background": mesh})


def _fitted(frame: BlobFrame, found: Blobs, cores: list[Box], memory: int) -> Blobs:
    """Fit the blobs of a frame, in arrays of its shape that hold the boxes around them."""
    from npsubpix.blobs.fitted import boxes_of_fits, fitted  # which loads all of fitting

    ndim = len(frame.shape)
    starts = pixels_of(found.coords, frame.shape)
    half = boxes_of_fits(found.sigma, ndim)[1].astype(np.int64) // 2 + 2
    item = np.dtype(promoted(frame.read(((0, 1),) * ndim).dtype)).itemsize
    lengths = [tuple(min(2 * int(h) + 1, n) for h, n in zip(row, frame.shape, strict=True)) for row in half]
    sizes = {own: window_bytes(frame.shape, own, item) for own in set(lengths)}
    needed = min(sum(sizes[own] for own in lengths), math.prod(frame.shape) * item)
    if needed > memory:
        raise ValueError(
            f"the {len(found)} blobs of frame {frame.number}, of shape {frame.shape}, are fitted at once, which takes "
            f"about {needed} bytes, more than max_memory: raise it, or pass refine='quadratic'"
        )
    none = (slice(0, 0),) * ndim
    first = frame.read(((0, 1),) * ndim)[0]
    image, negative = window(frame.shape, none, first[none]), window(frame.shape, none, (0.0 - first)[none])
    for k, rows in tiles_of(starts, cores).items():
        box = frame.widened(cores[k], tuple(half[rows].max(axis=0).tolist()))
        pixels = frame.read(box)[0]
        for row in rows.tolist():
            pixel = tuple((int(p), int(p) + 1) for p in starts[row])
            around = frame.widened(pixel, tuple(half[row].tolist()))
            own = pixels[tuple(slice(b - o, e - o) for (b, e), (o, _) in zip(around, box, strict=True))]
            if found.amplitude[row] < 0:
                negative[slices(around)] = 0.0 - own
            else:
                image[slices(around)] = own
    noise = frame.noise
    known = None if noise is None else noise if noise.size > 1 else float(noise.reshape(-1)[0])
    mask = frame.maps["mask"]
    return fitted(found, image, None if mask is None else np.asarray(mask), known, None, negative)
