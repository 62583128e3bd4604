"""Frames larger than memory, in tiles, with the rows of one call on the whole frame.

Candidates come from tiles, and the choice among them is made for the frame; then the chosen ones are measured in tiles
again. Each pixel belongs to one tile; halos are as wide as an operation sees. What needs the whole frame otherwise is
refused.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.checks import check_mask
from npsubpix._arrays.home import home_of
from npsubpix._arrays.library import HostArray, is_array, without_booleans
from npsubpix._arrays.stacks import stack_of
from npsubpix._cpu.peaks import Rows, before_merging, refined, selected, settled
from npsubpix._cpu.peaks.extrema import Candidates
from npsubpix._cpu.peaks.heights import bound_of_values
from npsubpix._cpu.peaks.tiles import Box, Part, Tile, candidates_of_frame, find_in_tile, halo_of
from npsubpix._definitions.flags import PeakFlags
from npsubpix._definitions.peaks import PeakSearch, with_defaults
from npsubpix._definitions.refinement import Noise, Refinement, noise_of
from npsubpix.camera import noise_of_pixels
from npsubpix.fitting.spots import fit_spots, lengths_of_box
from npsubpix.movies.borders import NOTHING, Highest, highest_in_tile, measure
from npsubpix.movies.fits import pools_noise
from npsubpix.movies.jobs import Sent
from npsubpix.movies.plans import frame_bytes
from npsubpix.movies.sources import Movie, in_memory
from npsubpix.movies.tasks import Found, Task
from npsubpix.movies.windows import window, window_bytes
from npsubpix.movies.workers import Runner, runner_of
from npsubpix.peaks import check_search, find_peaks
from npsubpix.results import Background, Fits, Peaks

__all__ = ["found_in_tiles"]

#: Options of which maps of a frame are cut to tiles.
_MAPS = ("mask", "background", "sigma", "error")


@dataclasses.dataclass(frozen=True)
class _Frame:
    """A frame, how it is searched, and where its pixels come from: all that a worker needs but the tile."""

    movie: Movie | Sent
    number: int
    shape: tuple[int, ...]
    search: PeakSearch
    refinement: Refinement
    maps: dict[str, Any]  # mask, background, sigma, and the noise of pixels: numbers or arrays of the frame
    noise: tuple[Any, Any, Any, Any]
    bound: float | None
    halo: tuple[int, ...]
    memory: int
    fit: dict[str, Any] | None

    def read(self, box: Box) -> HostArray:
        """Read a part of the frame, as a stack of one."""
        movie = self.movie.get() if isinstance(self.movie, Sent) else self.movie
        own = movie.read(self.number, self.number + 1, _slices(box))[0]
        pixels = without_booleans(np.asarray(own))
        return stack_of(home_of(pixels), pixels, None)

    def widened(self, core: Box, halo: tuple[int, ...]) -> Box:
        """Return a part with a halo around it, as far as the frame goes."""
        return tuple((max(b - h, 0), min(e + h, n)) for (b, e), h, n in zip(core, halo, self.shape, strict=True))

    def map_of(self, name: str, box: Box) -> HostArray | None:
        """Return a map in a part of the frame, flat; a number as an array of one."""
        value = self.maps.get(name)
        if value is None:
            return None
        if np.size(value) == 1 and np.ndim(value) < 2:
            return np.asarray(value, np.float64).reshape(1)
        cut = np.ascontiguousarray(np.asarray(value)[_slices(box)])
        return cut if name == "mask" else stack_of(home_of(cut), cut, None).reshape(-1)


class _Find(NamedTuple):
    frame: _Frame
    core: Box

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class _Refine(NamedTuple):
    frame: _Frame
    box: Box
    found: Candidates

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


class _Fit(NamedTuple):
    frame: _Frame
    box: Box
    coords: HostArray
    own: HostArray  # rows of the tile; others are of its neighbours

    def __str__(self) -> str:
        return f"a tile of frame {self.frame.number}"


def found_in_tiles(movie: Movie, task: Task, number: int, memory: int, runner: Runner) -> Found:
    """Find the rows of a frame in tiles."""
    maps_here = any(is_array(task.options.get(n)) for n in _MAPS) or isinstance(
        task.options.get("background"), Background
    )
    if in_memory(movie.source) or maps_here:
        runner = runner_of(None)  # what is here is not sent
    sent = movie if runner.at_once == 1 else Sent(movie)
    frame = _frame_of(movie, sent, task, number, memory // max(runner.workers, 1))
    cores = list(_cores(frame, movie, task))
    parts, border = [], NOTHING
    for _, (own, highest) in runner.run(_find, (_Find(frame, core) for core in cores)):
        parts += own
        border = highest if highest.is_above(border) else border
    dtype = np.dtype(movie.source.dtype)
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else np.dtype(np.float32) if dtype == np.float16 else dtype
    search = before_merging(frame.search, frame.refinement)
    found = candidates_of_frame(parts, dtype.newbyteorder("="), frame.shape, frame.search)
    found = found.take(selected(found, (1, *frame.shape), search))
    rows = settled(
        found, (1, *frame.shape), frame.search, frame.refinement, lambda part: _refined(frame, part, cores, runner)
    )
    peaks = Peaks(
        rows.coords, rows.values, rows.starts, rows.flags, None if movie.axis is None else rows.frames + number,
        image_shape=frame.shape, coords_std=rows.errors, border=_border_of(frame, rows, border),
    )  # fmt: skip
    counts = {"border": int(peaks.border is not None and not math.isnan(peaks.border[0]))}
    if frame.fit is None:
        return Found(peaks, {}, counts)
    return Found(_fitted(frame, peaks, cores, runner), {}, counts)


def _frame_of(movie: Movie, sent: Movie | Sent, task: Task, number: int, memory: int) -> _Frame:
    """Return how a frame is searched; refuse what cannot be done in tiles."""
    options = {**_defaults(), **task.options}
    whole = f"{movie.source.name}: a frame, of shape {movie.shape}, takes about {frame_bytes(movie, task)} bytes to "
    whole += f"work on, more than max_memory, and %s needs the whole frame at once: raise max_memory"
    if not isinstance(task.name, str):
        raise ValueError(whole % "a function as the task")
    for name in ("detect", "mode"):
        if options[name] is not None:
            raise ValueError(whole % f"{name}={options[name]!r}")
    if task.boxes is not None:
        raise ValueError(whole % "a background that is measured")
    if task.fit is not None:
        _check_fit(task.fit, whole)
    background, sigma, mask = options["background"], options["sigma"], options["mask"]
    if isinstance(background, Background):
        sigma = background.noise if sigma is None else sigma
        background = background.level
    names = inspect.signature(check_search).parameters
    search, refinement = check_search(len(movie.shape), **{n: options[n] for n in names if n != "ndim"})
    if refinement.method == "saddle":
        raise ValueError("refine='saddle' needs detect, as maxima are no saddles")
    error, camera = options["error"], options["camera"]
    noise = noise_of_pixels(*((sigma, None, "sigma") if error is None and camera is None else (error, camera)))
    own = {"mask": mask, "background": background, "sigma": sigma}
    for name, value in (*own.items(), *zip(("error", "offset", "electrons_per_count", "read_variance"), noise)):
        if is_array(value) and tuple(value.shape) not in ((), movie.shape):
            raise ValueError(f"{name} must be a number or have the shape of a frame, {movie.shape}, got {value.shape}")
    if mask is not None:
        check_mask(mask, movie.shape, "mask")
    level, spread = with_defaults(background, sigma)
    signs = (1, -1) if search.minima else (1,)
    bound = search.threshold_abs
    if level is not None:
        numbers = [np.asarray(x, np.float64 if np.ndim(x) == 0 else None).reshape(-1) for x in (level, spread)]
        bound = bound_of_values(*numbers, search.threshold_abs, signs)
    maps = {"mask": mask, "background": level, "sigma": spread}
    halo = halo_of(search.size, movie.shape)
    return _Frame(sent, number, movie.shape, search, refinement, maps, noise, bound, halo, memory, task.fit)


def _check_fit(fit: Mapping[str, Any], whole: str) -> None:
    if fit.get("neighbors", "ignore") != "ignore":
        raise ValueError(whole % f"neighbors={fit['neighbors']!r}")
    if pools_noise(fit):
        raise ValueError(whole % "a fit without error and camera, whose errors depend on all spots of a frame,")
    camera = fit.get("camera")
    maps = [fit.get("error")] + ([] if camera is None else [getattr(camera, f.name) for f in dataclasses.fields(camera)])
    if any(is_array(value) and np.ndim(value) > 0 for value in maps):
        raise ValueError(whole % "a fit with maps of noise")


def _defaults() -> dict[str, Any]:
    parameters = inspect.signature(find_peaks).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(begin, end) for begin, end in box)


def tile_lengths(frame: _Frame, movie: Movie, task: Task) -> tuple[int, ...]:
    """Return the lengths of tiles: those of the frame, halved until work on one fits into the memory.

    The axis is halved along which most stored parts lie side by side.
    """
    each = frame_bytes(movie, task) / math.prod(movie.shape) + 8  # labels, and what of candidates is sorted
    lengths, chunks = list(frame.shape), movie.chunks[1]
    chunks = chunks if movie.source.chunks else (1, *chunks[1:])
    while True:
        wide = [min(n + 2 * h, m) for n, h, m in zip(lengths, frame.halo, frame.shape, strict=True)]
        needed = each * math.prod(wide) + window_bytes(tuple(wide), np.dtype(movie.source.dtype).itemsize)
        if needed <= frame.memory:
            return tuple(lengths)
        least = [max(2 * h, 1) for h in frame.halo]
        ratios = [n / c if n > max(c, m) else 0.0 for n, c, m in zip(lengths, chunks, least, strict=True)]
        if max(ratios) <= 1:
            ratios = [n / m if n > m else 0.0 for n, m in zip(lengths, least, strict=True)]
        if max(ratios) == 0:
            raise ValueError(
                f"max_memory is too little for a tile of a frame of shape {frame.shape}: {int(needed)} bytes are needed"
            )
        k = int(np.argmax(ratios))
        half = -(-lengths[k] // 2)
        lengths[k] = -(-half // chunks[k]) * chunks[k] if half > chunks[k] else half


def _cores(frame: _Frame, movie: Movie, task: Task) -> Iterator[Box]:
    lengths = tile_lengths(frame, movie, task)
    ends = [[(b, min(b + n, m)) for b in range(0, m, n)] for n, m in zip(lengths, frame.shape, strict=True)]
    return itertools.product(*ends)


def _find(job: _Find) -> tuple[list[Part], Highest]:
    """Find the candidates of a tile, with plateaus for which it is too small in larger ones."""
    frame, core = job
    tile = _tile(frame, frame.widened(core, frame.halo))
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
            own = find_in_tile(_tile(frame, box), inside, frame.shape, frame.search, frame.bound, strict=False)
            parts.append(own._replace(unsure=()))
            left += own.unsure
        unsure = tuple(left)
    return parts, highest


def _check_plateau(frame: _Frame, box: Box) -> None:
    """Refuse a plateau for which there is no memory."""
    size = 16 * math.prod(end - begin for begin, end in box)
    if size > frame.memory and any(e - b > 64 for b, e in box):
        raise ValueError(
            f"a plateau of equal pixels, or several that compete, in frame {frame.number} around {_slices(box)} "
            f"needs about {size} bytes at once, more than max_memory: raise it, or leave them out with plateau='drop'"
        )


def _tile(frame: _Frame, box: Box) -> Tile:
    mask = frame.map_of("mask", box)
    x = frame.read(box)
    own = None if mask is None else mask.reshape(x.shape)
    return Tile(x, box, own, frame.map_of("background", box), frame.map_of("sigma", box))


def _tiles_of(points: HostArray, cores: list[Box]) -> dict[int, HostArray]:
    """Return the rows of each tile that has any, by their pixels."""
    axes = len(cores[0])
    begins = [np.unique([core[k][0] for core in cores]) for k in range(axes)]
    places = [np.searchsorted(b, points[:, k], side="right") - 1 for k, b in enumerate(begins)]
    tiles = np.ravel_multi_index(places, [len(b) for b in begins]) if len(points) else np.zeros(0, np.int64)
    order = np.argsort(tiles, kind="stable")
    numbers, starts = np.unique(tiles[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=False)) if len(order) else {}


def _refined(frame: _Frame, found: Candidates, cores: list[Box], runner: Runner) -> Rows:
    """Refine candidates tile by tile; return them in their order."""
    points = np.stack(np.unravel_index(found.indices, frame.shape), axis=1)
    wide = frame.refinement.periods_around(frame.shape)
    of_tiles = _tiles_of(points, cores)
    if not of_tiles:
        return _refine(_Refine(frame, tuple((0, 1) for _ in frame.shape), found))
    jobs = (_Refine(frame, frame.widened(cores[k], wide), found.take(rows)) for k, rows in of_tiles.items())
    parts = [rows for _, rows in runner.run(_refine, jobs)]
    back = np.argsort(np.concatenate(list(of_tiles.values())), kind="stable")
    columns: list[Any] = [None if c[0] is None else np.concatenate(c)[back] for c in zip(*parts, strict=True)]
    return Rows(*columns)


def _refine(job: _Refine) -> Rows:
    """Refine the candidates of a tile, in an array of the whole frame that holds the tile."""
    frame, box, found = job
    inside = (slice(None), *_slices(box))
    pixels = frame.read(box)
    image = window((1, *frame.shape), inside, pixels)
    mask = frame.map_of("mask", box)
    if mask is not None:
        mask = window((1, *frame.shape), inside, mask.reshape(pixels.shape))
    return refined(image, mask, found, frame.search, frame.refinement, _noise(frame, box))


def _noise(frame: _Frame, box: Box) -> Noise | None:
    """Return the noise of pixels, in arrays of the whole frame that hold the tile."""
    cut = [
        None if v is None else np.array([float(v)]) if not is_array(v) or np.ndim(v) == 0 else np.asarray(v)[_slices(box)]
        for v in frame.noise
    ]
    noise = noise_of(*cut)
    if noise is None:
        return None
    lengths = [end - begin for begin, end in box]
    full = [
        v if v.size == 1 else window(frame.shape, _slices(box), v.astype(v.dtype).reshape(lengths)).reshape(-1)
        for v in noise
    ]
    return Noise(*full)


def _border_of(frame: _Frame, rows: Rows, highest: Highest) -> HostArray | None:
    """Return the value of the highest peak in the border, if it is higher than all peaks, else NaN."""
    if max(frame.search.margins) == 0:
        return None
    maxima = np.flatnonzero((rows.flags & int(PeakFlags.MINIMUM)) == 0)
    if len(maxima):
        pixel = tuple((int(p), int(p) + 1) for p in rows.starts[maxima[0]])
        tile = _tile(frame, pixel)
        first, second = measure(tile.x.reshape(-1), tile.background, tile.noise, -math.inf)
        if not (highest.first, highest.second) > (first[0], second[0]):
            return np.full(1, math.nan)
    return np.array([highest.value])


def _fitted(frame: _Frame, peaks: Peaks, cores: list[Box], runner: Runner) -> Fits:
    """Fit the spots of a frame tile by tile, with those around a tile as their neighbours."""
    assert frame.fit is not None
    half, near = _reach_of_fits(frame)
    starts = np.floor(np.where(np.isfinite(peaks.coords), peaks.coords, 0) + 0.5).astype(np.int64)
    starts = starts.clip(0, np.array(frame.shape) - 1)
    own = _tiles_of(starts, cores) or {0: np.zeros(0, np.int64)}
    jobs = []
    for k, rows in own.items():
        begins, ends = np.array(frame.widened(cores[k], near)).T
        around = np.flatnonzero(((starts >= begins) & (starts < ends)).all(axis=1))
        jobs.append(_Fit(frame, frame.widened(cores[k], half), peaks.coords[around], np.isin(around, rows)))
    parts = [fits for _, fits in runner.run(_fit, iter(jobs))]
    back = np.argsort(np.concatenate([np.sort(rows) for rows in own.values()]), kind="stable")
    fits = Fits.concatenate(parts)[back]
    return dataclasses.replace(fits, frame=peaks.frame, image_shape=frame.shape)


def _reach_of_fits(frame: _Frame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how far fits of spots look for pixels, and for neighbours, which are nearer than a box is long."""
    assert frame.fit is not None
    box = lengths_of_box(len(frame.shape), frame.shape, **frame.fit)
    return tuple(n // 2 + 1 for n in box), (2 * max(box) + 3,) * len(box)


def _fit(job: _Fit) -> Fits:
    """Fit the spots of a tile, in an array of the whole frame that holds the tile."""
    frame, box, coords, own = job
    assert frame.fit is not None
    pixels = frame.read(box)
    image = window(frame.shape, _slices(box), pixels[0])
    fit = dict(frame.fit)
    if fit.get("mask") is not None:
        cut = np.asarray(fit["mask"])[_slices(box)]
        fit["mask"] = window(frame.shape, _slices(box), cut)
    return fit_spots(image, coords, **fit)[own]
