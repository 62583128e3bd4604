"""Read TIFF files, also those with more pages than fit in memory: only the pages asked for are read."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._arrays import is_worker
from npsubpix.io._ome import check_ome
from npsubpix.io._raw import RawArray
from npsubpix.io._source import ImageError, Index, Options, Source, check_size, names_of, times
from npsubpix.io._tiff_sizes import Sizes, sizes_of_tiff
from npsubpix.io._tiff_structure import Structure, tiff_structure

__all__ = ["tiff_file"]

_Fetch = Callable[[Index], HostArray]

# What tifffile logs of tags that are not needed to read pixels
_OF_TAGS = ("TiffTag.fromfile", "StripByteCounts", "StripOffsets", "ByteCounts tag", "NIFF", "tags>", "metadata>")
_MOST_THREADS = 8  # that decode pages
_LARGE = 2**24  # pixels of a page of which single tiles are decoded
_MISSING = ("zeroed", "index out of range", "failed to read", "failed to reshape")


class _Audible:
    """The messages of tifffile, which other libraries silence for the whole process, while somebody listens."""

    def __init__(self) -> None:
        self.logger = logging.getLogger("tifffile")
        self.lock, self.listeners, self.before = threading.Lock(), 0, (0, False)

    def add(self, handler: logging.Handler) -> None:
        with self.lock:
            if self.listeners == 0:
                self.before = self.logger.level, self.logger.disabled
                self.logger.disabled = False
                if not self.logger.isEnabledFor(logging.WARNING):
                    self.logger.setLevel(logging.WARNING)
            self.listeners += 1
            self.logger.addHandler(handler)

    def remove(self, handler: logging.Handler) -> None:
        with self.lock:
            self.logger.removeHandler(handler)
            self.listeners -= 1
            if self.listeners == 0:
                level, self.logger.disabled = self.before
                self.logger.setLevel(level)


_audible = _Audible()


class _Messages(logging.Handler):
    """Keep what tifffile logs: it reports that pages are missing, and goes on without them."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.WARNING)
        self.path = path
        self.damages: list[str] = []
        self.failure = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        is_error = record.levelno >= logging.ERROR
        if any(part in text for part in _MISSING) or (is_error and not any(part in text for part in _OF_TAGS)):
            self.failure = self.failure or text
        elif is_error:
            self.damages.append(text)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Listen while this file is read, and raise the first failure that was logged."""
        _audible.add(self)
        try:
            yield
        finally:
            _audible.remove(self)
        if self.failure:
            raise ImageError(f"{self.path}: is damaged or truncated: {self.failure}")


@dataclass
class _Movie:
    """Series of tifffile with pages of one shape and dtype."""

    axes: str  # of what they share
    shape: tuple[int, ...]
    dtype: Any
    series: list[Any] = field(default_factory=list)
    leads: list[str] = field(default_factory=list)  # for each series, its axis in front of these, or ""

    @property
    def counts(self) -> list[int]:
        """Number of images of each series."""
        return [series.shape[0] if lead else 1 for series, lead in zip(self.series, self.leads, strict=True)]

    def describe(self) -> str:
        number = sum(self.counts)
        return f"{f'{number} images of ' if number > 1 else ''}{times(self.shape)} {self.dtype}"


@contextlib.contextmanager
def tiff_file(path: Path, options: Options) -> Iterator[Source]:
    """Open a series of a TIFF file: by default the first."""
    import tifffile

    series, max_memory = options.scene, options.max_memory

    structure = Structure(0, 1) if options.is_checked else tiff_structure(path)
    messages = _Messages(path)
    with contextlib.ExitStack() as opened:
        with messages.kept():
            file = opened.enter_context(tifffile.TiffFile(path))
            file.filehandle.set_lock(True)  # threads decode pages
            notes = () if options.is_checked else check_ome(path, file, structure)
            movies = _movies(file)  # reads all pages
        if not movies:
            raise ImageError(f"{path}: is a TIFF file without an image")
        if not 0 <= series < len(movies):
            listed = ", ".join(f"{number}: {movie.describe()}" for number, movie in enumerate(movies))
            raise ImageError(f"{path}: has {len(movies)} series ({listed}); there is no series {series}")
        movie = movies[series]
        if series == 0 and len(movies) > 1:
            notes += (_left_out(movies),)
        sizes = sizes_of_tiff(file, series)
        with messages.kept():
            for part in () if options.is_checked else movie.series:
                _check_series(path, file, part, structure.pages, max_memory)
            movie, sizes = _at_level(path, movie, sizes, options.level)
            fetch, shape, axes = _fetcher(file, movie)

        def checked(index: Index) -> HostArray:
            with messages.kept():
                return fetch(index)

        colour = int(movie.series[0].keyframe.photometric) in (2, 6)
        damages = (*structure.warnings, *messages.damages)
        first = movie.series[0]
        page = first.keyframe
        chunk = (page.tilelength, page.tilewidth) if page.is_tiled else page.shape[:2]
        space = iter(chunk)
        yield Source(
            shape,
            names_of(axes),
            movie.dtype,
            checked,
            colour,
            notes,
            damages,
            chunks=tuple(
                next(space) if axis in "YX" else size if axis == "S" else 1
                for axis, size in zip(axes, shape, strict=True)
            ),
            pixel_size=sizes.pixels,
            time_step=sizes.time_step,
            header=sizes.header,
            files=_files_of(path, movie),
            is_concurrent=first.dataoffset is not None and len(movie.series) == 1,
        )


def _files_of(path: Path, movie: _Movie) -> tuple[Path, ...]:
    """Return the files of a set."""
    parts = [] if movie.series[0].dataoffset is not None else movie.series
    names = {_path_of(page.parent) for series in parts if series.kind == "ome" for page in series if page is not None}
    return (path, *sorted(names - {path}))


def _at_level(path: Path, movie: _Movie, sizes: Sizes, level: int) -> tuple[_Movie, Sizes]:
    """Return a level of resolution of a movie, and its larger pixels."""
    levels = movie.series[0].levels
    if level == 0:
        return movie, sizes
    if not 0 <= level < len(levels) or len(movie.series) > 1:
        raise ImageError(f"{path}: has {len(levels)} levels of resolution; there is no level {level}")
    full, chosen = levels[0], levels[level]
    ratios = {axis.lower(): full.shape[k] / chosen.shape[k] for k, axis in enumerate(chosen.axes)}
    pixels = {axis: (size * ratios.get(axis, 1.0), unit) for axis, (size, unit) in sizes.pixels.items()}
    level_movie = _Movie(movie.axes, tuple(chosen.shape), chosen.dtype, [chosen], movie.leads)
    return level_movie, Sizes(pixels, sizes.time_step, sizes.header)


def _left_out(movies: list[_Movie]) -> str:
    listed = [f"{number} ({movie.describe()})" for number, movie in enumerate(movies)][1:]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"series 0 ({movies[0].describe()}) is read; --series reads {', '.join(listed[:3])}{more}"


def _movies(file: Any) -> list[_Movie]:
    """Return the series of a file; those with pages of one shape and dtype, written in a loop, are one."""
    movies: dict[Any, _Movie] = {}
    for number, series in enumerate(file.series):
        lead = series.axes[0] if series.ndim > 2 and series.axes[0] in "QIT" else ""
        axes, shape, dtype = series.axes[len(lead) :], tuple(series.shape[len(lead) :]), series.dtype
        alone = series.kind not in ("shaped", "generic", "uniform")  # in others, series are places or magnifications
        movie = movies.setdefault((axes, shape, str(dtype), number if alone else -1), _Movie(axes, shape, dtype))
        movie.series.append(series)
        movie.leads.append(lead)
    return list(movies.values())


def _check_series(path: Path, file: Any, series: Any, pages: int, max_memory: int) -> None:
    """Hold the shape that metadata declare against the pages that there are."""
    shape, page = series.shape, series.keyframe
    if "Y" not in series.axes or "X" not in series.axes or series.dtype is None:
        raise ImageError(f"{path}: has axes {series.axes} of {series.dtype}; needed are Y and X")
    size = file.filehandle.size
    declared = math.prod(shape) // max(math.prod(page.shape), 1)
    if series.dataoffset is not None:
        if series.dataoffset + math.prod(shape) * series.dtype.itemsize > size:
            raise ImageError(f"{path}: is a truncated TIFF file, {size} bytes long")
        stated = '"truncated": true' in page.description  # one page describes them all
        there = declared if stated or pages == 1 else pages
    else:
        there = len(series)
        check_size(path, "a page", page.shape, series.dtype, max_memory)
    if declared > there or (series.dataoffset is None and declared != there):
        raise ImageError(f"{path}: is damaged: its metadata declare {declared} pages, and it has {there}")
    if series.dataoffset is None and any(part is None for part in series):
        raise ImageError(f"{path}: is damaged: pages of the series are missing")


def _fetcher(file: Any, movie: _Movie) -> tuple[_Fetch, tuple[int, ...], str]:
    """Return a function that fetches a part of a movie, with the shape and the axes of the movie."""
    if len(movie.series) == 1:
        series = movie.series[0]
        return _pages(file, series), tuple(series.shape), series.axes
    leads = set(movie.leads)
    axes = (leads.pop() or "I" if len(leads) == 1 else "I") + movie.axes
    if movie.series[0].kind == "shaped":
        counts = movie.counts
        ends = np.cumsum(counts)

        def image(number: int, index: Index) -> HostArray:
            which = int(np.searchsorted(ends, number, side="right"))
            local = (number - int(ends[which]) + counts[which],) if movie.leads[which] else ()
            return _pages(file, movie.series[which])((*local, *index))

        shape = (int(ends[-1]), *movie.shape)
    else:  # grouped by their tags, in whatever order they are
        pages = sorted((page for series in movie.series for page in series), key=lambda page: page.index)

        def image(number: int, index: Index) -> HostArray:
            return np.asarray(_page(pages[number]).reshape(movie.shape)[index])

        shape = (len(pages), *movie.shape)

    def fetch(index: Index) -> HostArray:
        if isinstance(index[0], slice):
            return np.stack([image(number, index[1:]) for number in range(shape[0])[index[0]]])
        return image(int(index[0]), index[1:])

    return fetch, shape, axes


def _pages(file: Any, series: Any) -> _Fetch:
    """Return a function that fetches a part of a series and reads no other page."""
    dtype = series.dtype.newbyteorder(file.byteorder)
    if series.dataoffset is not None:  # right also where one page describes the whole stack
        return RawArray(_path_of(file), series.dataoffset, tuple(series.shape), dtype).fetch
    keyframe = series.keyframe
    lead = series.ndim - keyframe.ndim
    numbers = np.arange(math.prod(series.shape[:lead])).reshape(series.shape[:lead])
    if len(series) != numbers.size or keyframe.ndim > 2 + ("S" in keyframe.axes):
        return _Tiles(series).fetch
    shape = tuple(series.shape[lead:])
    tiles = _Tiles(series).fetch if keyframe.is_tiled and math.prod(shape) > _LARGE else None
    plain = bool(keyframe.is_memmappable) and keyframe.is_contiguous

    def page(number: int, inside: Index) -> HostArray:
        part = series[number]
        if plain and part.is_contiguous:
            return RawArray(_path_of(part.parent), part.dataoffsets[0], shape, dtype).fetch(inside)
        return np.asarray(_page(part).reshape(shape)[inside])

    def decoded(chosen: HostArray, inside: Index) -> list[HostArray]:
        parts = [series[int(number)] for number in chosen.flat]  # which reads their tags, one after another
        count = 1 if is_worker() else min(os.cpu_count() or 1, _MOST_THREADS, len(parts))
        if count == 1 or any(part.parent is not file for part in parts):
            return [np.asarray(_page(part).reshape(shape)[inside]) for part in parts]
        _ = keyframe.decode  # is made once, not by each thread
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda part: np.asarray(part.asarray().reshape(shape)[inside]), parts))

    def fetch(index: Index) -> HostArray:
        chosen = np.asarray(numbers[index[:lead]])
        inside = index[lead:]
        if tiles is not None and _is_partial(inside, shape):
            return tiles(index)
        if chosen.ndim == 0:
            return page(int(chosen), inside)
        read = [page(int(number), inside) for number in chosen.flat] if plain else decoded(chosen, inside)
        pages: HostArray = np.stack(read)
        return pages.reshape(chosen.shape + pages.shape[1:])

    return fetch


def _path_of(file: Any) -> Path:
    return Path(file.filehandle.path)


def _is_partial(inside: Index, shape: tuple[int, ...]) -> bool:
    """Say whether less than half of a page is asked for."""
    count = math.prod(part.stop - part.start if isinstance(part, slice) else 1 for part in inside)
    return bool(2 * count < math.prod(shape))


def _page(page: Any) -> HostArray:
    """Read a page, also of another file of an OME set."""
    handle = page.parent.filehandle
    if not handle.closed:
        return np.asarray(page.asarray())
    handle.open()
    try:
        return np.asarray(page.asarray())
    finally:
        handle.close()


class _Tiles:
    """Reads the tiles that are needed of pages that are large, or that hold several frames."""

    def __init__(self, series: Any) -> None:
        self._series, self._tiles = series, None

    def fetch(self, index: Index) -> HostArray:
        import zarr

        if self._tiles is None:
            self._tiles = zarr.open(self._series.aszarr(), mode="r")
        tiles: Any = self._tiles
        return np.asarray(tiles[index])
