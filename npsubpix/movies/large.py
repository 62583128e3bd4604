"""Frames larger than memory, in tiles, with the rows of one call on the whole frame.

Candidates come from tiles, and the choice among them is made for the frame; then the chosen ones are measured in tiles
again. Each pixel belongs to one tile; halos are as wide as an operation sees. What needs the whole frame otherwise is
refused.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from npsubpix._arrays.lazy import bytes_as_text
from npsubpix._arrays.library import HostArray, is_array
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.flags import PeakFlags
from npsubpix._dispatch.tiles import (
    Box,
    Candidates,
    Rows,
    before_merging,
    boxes_of,
    candidates_of_frame,
    mesh_of,
    selected,
    settled,
)
from npsubpix.background import check_boxes
from npsubpix.fitting.spots import lengths_of_box
from npsubpix.movies.blobs import blob_frame_of, blobs_in_tiles
from npsubpix.movies.borders import NOTHING, Highest, measure
from npsubpix.movies.detection import Look, has_gaps, searched, with_gaps
from npsubpix.movies.frames import Frame, Parted, count_of_noise_maps, frame_of, has_unusable_noise, volume, with_mesh
from npsubpix.movies.jobs import Sent
from npsubpix.movies.maps import has_maps
from npsubpix.movies.plans import frame_bytes
from npsubpix.movies.sources import Movie, in_memory
from npsubpix.movies.tasks import Columns, Found, Task, significance
from npsubpix.movies.tilework import Find, Fit, Measure, Pixels, Refine, find, fit, measured, refine, tile_of, tiles_of
from npsubpix.movies.together import Parts, depend_on_each_other, fitted_together, refined_together
from npsubpix.movies.windows import window_bytes
from npsubpix.movies.workers import Runner, runner_of
from npsubpix.peaks import warn_of_unusable_noise
from npsubpix.results import Fits, Peaks

__all__ = ["found_in_tiles", "tile_lengths"]


class _Counted:
    """A runner that reports, after each tile, which part of all work on a frame is done."""

    def __init__(self, runner: Runner, report: Callable[[float], None]) -> None:
        self.workers, self.at_once, self.shares_memory = runner.workers, runner.at_once, runner.shares_memory
        self._runner, self._report = runner, report
        self.done, self.total = 0, 1

    def run(self, function: Callable[[Any], Any], jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield each job and its result, in order."""
        for result in self._runner.run(function, jobs):
            self.tick()
            yield result

    def tick(self) -> None:
        """Count a tile."""
        self.done += 1
        if self.done < self.total:  # duplicates may be refined several times
            self._report(self.done / self.total)


def found_in_tiles(
    movie: Movie, task: Task, number: int, memory: int, runner: Runner, report: Callable[[float], None]
) -> Found:
    """Find the rows of a frame in tiles; `report` is told which part of the work is done."""
    maps_here = has_maps(task.options) or (task.fit is not None and has_maps(task.fit))
    if in_memory(movie.source) or maps_here:
        runner = runner_of(None)  # what is here is not sent
    sent = movie if runner.at_once == 1 else Sent(movie)
    if task.name == "blobs":
        return _blobs(movie, sent, task, number, memory, runner, report)
    frame = frame_of(movie, sent, task, number, memory // max(runner.workers, 1))
    cores = list(_cores(frame, movie, task))
    runner = counted = _Counted(runner, report)
    boxes = task.boxes
    if frame.filter is not None and boxes is None and frame.maps["background"] is None:
        boxes = {}  # as `find_peaks` measures the background of a filtered image
    counted.total = len(cores) * (2 + (frame.filter is not None) + (boxes is not None) + (frame.fit is not None))
    if frame.filter is not None and max(found for _, found in runner.run(has_gaps, (Look(frame, c) for c in cores))):
        frame = dataclasses.replace(frame, filter=with_gaps(frame, cores[0]))
    dtype = _dtype_searched(frame, movie)
    if boxes is not None:
        frame = _with_background(frame, boxes, dtype, cores[0], runner)
    parts, border = [], NOTHING
    for _, (own, highest) in runner.run(find, (Find(frame, core) for core in cores)):
        parts += own
        border = highest if highest.is_above(border) else border
    seen: list[Pixels] = []
    search = before_merging(frame.search, frame.refinement)
    found = candidates_of_frame(parts, dtype, frame.shape, frame.search)
    found = found.take(selected(found, (1, *frame.shape), search))
    refine_each = functools.partial(_refined, frame, cores=cores, memory=memory, runner=counted, seen=seen)
    rows = settled(found, (1, *frame.shape), frame.search, frame.refinement, refine_each)
    peaks = Peaks(
        rows.coords, rows.values, rows.starts, rows.flags, None if movie.axis is None else rows.frames + number,
        image_shape=frame.shape, coords_std=rows.errors, border=_border_of(frame, rows, border),
    )  # fmt: skip
    if not len(peaks) and has_unusable_noise(frame):
        warn_of_unusable_noise()
    counts = {"border": int(peaks.border is not None and not math.isnan(peaks.border[0]))}
    columns = _heights(frame, rows, seen) if task.with_heights else {}
    if "noise_guessed" in columns:
        counts["guessed"] = int(frame.maps["background"].guessed.any())
    if frame.fit is None:
        return Found(peaks, columns, counts)
    if task.with_heights:
        columns = {"value": rows.values, **columns, "peak_flags": rows.flags}
    return Found(_fitted(frame, peaks, cores, memory, counted), columns, counts)


def _dtype_searched(frame: Frame, movie: Movie) -> np.dtype[Any]:
    """Return the dtype in which pixels are compared."""
    if frame.filter is not None:
        return searched(frame, tuple((0, 1) for _ in frame.shape)).dtype
    return _dtype_of(movie)


def _blobs(
    movie: Movie, sent: Movie | Sent, task: Task, number: int, memory: int, runner: Runner,
    report: Callable[[float], None],
) -> Found:  # fmt: skip
    """Find the blobs of a frame in tiles."""
    frame = blob_frame_of(movie, sent, task, number, memory // max(runner.workers, 1))
    cores = list(_cores(frame, movie, task))
    counted = _Counted(runner, report)
    counted.total = 4 * len(cores)
    return Found(
        blobs_in_tiles(frame, cores, _dtype_of(movie), memory, counted, of_movie=movie.axis is not None), {}, {}
    )


def _dtype_of(movie: Movie) -> np.dtype[Any]:
    """Return the dtype of pixels as they are read."""
    dtype = np.dtype(movie.source.dtype)
    if dtype.kind == "b" or dtype == np.float16:
        return np.dtype(np.uint8 if dtype.kind == "b" else np.float32)
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def _with_background(frame: Frame, options: dict[str, Any], dtype: np.dtype[Any], core: Box, runner: Runner) -> Frame:
    """Measure the background of a frame, box by box."""
    own = check_boxes(len(frame.shape), **options)
    boxes = boxes_of(frame.shape, promoted(dtype), **own)
    parts = list(boxes.parts(tuple(end - begin for begin, end in volume(core))))
    found = runner.run(measured, (Measure(frame, boxes, part) for part in parts))
    return with_mesh(frame, mesh_of(boxes, [(job.part, values) for job, values in found]))


def _heights(frame: Frame, rows: Rows, seen: list[Pixels]) -> Columns:
    """Return columns of background, noise and significance, where they are known."""
    if seen[0].level is None:
        return {}
    indices, values, level, noise = (np.concatenate(column) for column in zip(*seen, strict=True))
    own = np.ravel_multi_index(tuple(rows.starts.T), frame.shape)
    order = np.argsort(indices, kind="stable")
    at = order[np.searchsorted(indices, own, sorter=order)]
    columns = significance(values[at], level[at], noise[at], rows.flags)
    mesh = frame.maps["background"]
    if frame.maps["sigma"] is not mesh or is_array(mesh):
        return columns
    lead = np.zeros((len(rows.starts), 3 - len(frame.shape)), np.int64)
    return {**columns, "noise_guessed": mesh.guessed_at(np.column_stack([lead, rows.starts]))}


def tile_lengths(frame: Parted, movie: Movie, task: Task) -> tuple[int, ...]:
    """Return the lengths of tiles: those of the frame, halved until work on one fits into the memory.

    The axis is halved along which most stored parts lie side by side.
    """
    each = frame_bytes(movie, task) / math.prod(movie.shape) + 8  # labels, and what of candidates is sorted
    lengths, chunks = list(frame.shape), movie.chunks[1]
    chunks = chunks if movie.source.chunks else (1, *chunks[1:])
    while True:
        wide = [min(n + 2 * h, m) for n, h, m in zip(lengths, frame.sight, frame.shape, strict=True)]
        needed = each * math.prod(wide) + window_bytes(frame.shape, tuple(wide), np.dtype(movie.source.dtype).itemsize)
        noise_maps = count_of_noise_maps(frame) if isinstance(frame, Frame) else 0
        needed += noise_maps * window_bytes(frame.shape, tuple(wide), 8)
        if needed <= frame.memory:
            return tuple(lengths)
        least = [max(2 * h, 1) for h in frame.sight]
        ratios = [n / c if n > max(c, m) else 0.0 for n, c, m in zip(lengths, chunks, least, strict=True)]
        if max(ratios) <= 1:
            ratios = [n / m if n > m else 0.0 for n, m in zip(lengths, least, strict=True)]
        if max(ratios) == 0:
            raise ValueError(
                f"max_memory is too little for a tile of a frame of shape {frame.shape}: "
                f"{bytes_as_text(needed)} are needed{frame.advice}"
            )
        k = int(np.argmax(ratios))
        half = -(-lengths[k] // 2)
        lengths[k] = -(-half // chunks[k]) * chunks[k] if half > chunks[k] else half


def _cores(frame: Parted, movie: Movie, task: Task) -> Iterator[Box]:
    lengths = tile_lengths(frame, movie, task)
    ends = [[(b, min(b + n, m)) for b in range(0, m, n)] for n, m in zip(lengths, frame.shape, strict=True)]
    return itertools.product(*ends)


def _refined(
    frame: Frame, found: Candidates, cores: list[Box], memory: int, runner: _Counted, seen: list[Pixels]
) -> Rows:
    """Refine candidates tile by tile; return them in their order, and add their pixels to those that were seen."""
    points = np.stack(np.unravel_index(found.indices, frame.shape), axis=1)
    wide = frame.refinement.periods_around(frame.shape)
    of_tiles = tiles_of(points, cores)
    if not of_tiles:
        rows, pixels = refine(Refine(frame, tuple((0, 1) for _ in frame.shape), found))
        seen.append(pixels)
        return rows
    model = frame.refinement.model
    if model is not None and (model.together or model.estimator == "lsq"):  # whose errors are those of all residuals
        half = tuple(extent + 1 for extent in frame.refinement.extent[3 - len(frame.shape) :])
        return refined_together(frame, found, points, Parts(cores, of_tiles, half, memory, runner.tick), seen.append)
    jobs = (Refine(frame, frame.widened(cores[k], wide), found.take(rows)) for k, rows in of_tiles.items())
    parts = []
    for _, (rows, pixels) in runner.run(refine, jobs):
        parts.append(rows)
        seen.append(pixels)
    back = np.argsort(np.concatenate(list(of_tiles.values())), kind="stable")
    columns: list[Any] = [None if c[0] is None else np.concatenate(c)[back] for c in zip(*parts, strict=True)]
    return Rows(*columns)


def _border_of(frame: Frame, rows: Rows, highest: Highest) -> HostArray | None:
    """Return the value of the highest peak in the border, if it is higher than all peaks, else NaN."""
    if max(frame.search.margins) == 0:
        return None
    maxima = np.flatnonzero((rows.flags & int(PeakFlags.MINIMUM)) == 0)
    if len(maxima):
        pixel = tuple((int(p), int(p) + 1) for p in rows.starts[maxima[0]])
        tile = tile_of(frame, pixel)
        first, second = measure(tile.x.reshape(-1), tile.background, tile.noise, -math.inf)
        if not (highest.first, highest.second) > (first[0], second[0]):
            return np.full(1, math.nan)
    return np.array([highest.value])


def _fitted(frame: Frame, peaks: Peaks, cores: list[Box], memory: int, runner: _Counted) -> Fits:
    """Fit the spots of a frame tile by tile, with those around a tile as their neighbours; or all of them at once."""
    assert frame.fit is not None
    half, near = _reach_of_fits(frame)
    starts = np.floor(np.where(np.isfinite(peaks.coords), peaks.coords, 0) + 0.5).astype(np.int64)
    starts = starts.clip(0, np.array(frame.shape) - 1)
    own = tiles_of(starts, cores) or {0: np.zeros(0, np.int64)}
    if depend_on_each_other(frame.fit):
        fits = fitted_together(frame, peaks.coords, starts, Parts(cores, own, half, memory, runner.tick))
        return dataclasses.replace(fits, frame=peaks.frame, image_shape=frame.shape)
    jobs = []
    for k, rows in own.items():
        begins, ends = np.array(frame.widened(cores[k], near)).T
        around = np.flatnonzero(((starts >= begins) & (starts < ends)).all(axis=1))
        jobs.append(Fit(frame, frame.widened(cores[k], half), peaks.coords[around], np.isin(around, rows)))
    parts = [fits for _, fits in runner.run(fit, iter(jobs))]
    back = np.argsort(np.concatenate([np.sort(rows) for rows in own.values()]), kind="stable")
    fits = Fits.concatenate(parts)[back]
    return dataclasses.replace(fits, frame=peaks.frame, image_shape=frame.shape)


def _reach_of_fits(frame: Frame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how far fits of spots look for pixels, and for neighbours, which are nearer than a box is long."""
    assert frame.fit is not None
    box = lengths_of_box(len(frame.shape), frame.shape, **frame.fit)
    return tuple(n // 2 + 1 for n in box), (2 * max(box) + 3,) * len(box)
