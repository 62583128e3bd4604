"""Find the spots of movies, volumes and mosaics larger than memory."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import npsubpix
from npsubpix._arrays.options import check_memory
from npsubpix._tables import OutputError, describe
from npsubpix.movies.columns import celestial_of, sizes_of, with_sky
from npsubpix.movies.functions import described_function
from npsubpix.movies.jobs import jobs_of, read_ahead, share, work
from npsubpix.movies.large import found_in_tiles
from npsubpix.movies.maps import StoredMap, with_stored
from npsubpix.movies.outputs import Output, open_output
from npsubpix.movies.plans import blocks_of, frames_per_block
from npsubpix.movies.sources import Movie, files_of, in_memory, movie_of, opened
from npsubpix.movies.tasks import Found, Task, columns_of, joined, moved, task_of
from npsubpix.movies.workers import Runner, runner_of
from npsubpix.results.table import Table

__all__ = ["Located", "locate"]


@dataclass(frozen=True)
class Located:
    """Where the rows are that `locate` wrote, and how many.

    Attributes
    ----------
    path : Path or None
        The file, or the folder.
    n_frames, n_rows, n_ok : int
        Number of frames, of rows, and of rows that are ok, those before a resume included.
    """

    path: Path | None
    n_frames: int
    n_rows: int
    n_ok: int


def locate(
    source: Any,
    /,
    *,
    task: str | Callable[..., Any] = "peaks",
    frames: str | int | bool | None = None,
    roi: tuple[Any, ...] | None = None,
    output: str | Path | Output | None = None,
    resume: bool = False,
    executor: int | Executor | Any | None = None,
    max_memory: int | str = "1 GiB",
    progress: Callable[[float, int], Any] | None = None,
    **options: Any,
) -> Table | dict[str, Any] | Located:
    """Find the spots of a movie, a volume or a mosaic of any size, block by block, here or in many workers.

    The rows are those of one call of `find_peaks`, of `find_peaks` and `fit_spots`, or of `find_blobs` on the whole
    array in memory: the same rows in the same order, bit for bit, however the work is divided.

    Parameters
    ----------
    source : path, URL, array or ImageSource
        Whatever `open_image` takes: a file, a folder of frames, or an array of NumPy, dask, zarr, h5py or xarray, which
        is never loaded whole.
    task : {"peaks", "spots", "blobs"} or callable, default "peaks"
        ``"peaks"``: `find_peaks`. ``"spots"``: `find_peaks`, and `fit_spots` from the peaks on. ``"blobs"``:
        `find_blobs`. A function is called with an array of frames, the frames first, the `options`, and
        ``frame_axis=0`` (None for a single image), and returns a table of this library, or a dict of columns, one of
        them ``frame``, counted from the first of its frames; columns ``z``, ``y`` and ``x`` are positions.
    frames : str, int, False or None, optional
        Axis along which images are independent, by its name or number. By default ``t``, also called ``time`` or
        ``frame``, or else, of three axes or more, the first that is none of space or channels. False: none, the source
        is one image or volume.
    roi : tuple of slices, or of pairs of ints, optional
        Part of each frame to look at, a slice or its two ends per axis. Positions are counted from the first pixel of
        the whole frame; masks and other maps are of the part.
    output : str, Path or object, optional
        File to which rows are written as they are found: ``.parquet``, ``.csv``, ``.h5``, ``.ecsv`` or ``.fits``, or
        without an ending a folder of Parquet files. By default the rows are returned.
    resume : bool, default False
        Go on where a run with the same source and options was stopped, with frames whose rows are not in `output`.
    executor : int, Executor or dask.distributed.Client, optional
        Workers: a number of processes, an executor of ``concurrent.futures``, or a client of dask. By default this
        process, with all its threads. Kernels in workers are serial.
    max_memory : int or str, default "1 GiB"
        Number of bytes, or a text such as ``"500 MB"``, for the pixels at work and what is made of them, those of all
        processes on this machine together. Frames that are larger are worked on in tiles.
    progress : callable, optional
        Called with the number of frames done, and of all frames, after each block; and after each tile of a frame
        that is worked on in tiles, with a fraction of it.
    **options
        Options of `find_peaks`. ``background`` may also be a dict of arguments of `local_background`, such as
        ``{"size": 64}``, with which background and noise of each frame are measured. Maps may be of one frame, or of
        all; they may be arrays of dask, zarr, h5py and xarray, or names of files, of which a mask is where pixels are
        not 0, and are read in parts.
        For ``"spots"``, ``fit`` is a dict of options of `fit_spots`; ``camera`` and ``error`` are those of the
        fit, ``mask`` is that of both. For ``"blobs"``, options are those of `find_blobs`, of which ``min_sigma`` and
        ``max_sigma`` are needed.

    Returns
    -------
    Peaks, Fits, Blobs, or the table or dict of the function; with `output` a Located
        The rows, frame by frame; or, of those that were written, where they are and how many.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument is out of range, or a frame is larger than `max_memory` and cannot be worked on in tiles with
        these options: ``mode="wrap"``, `detect` that is no name of a filter, or a function; or if fits that depend on
        each other, those without ``camera`` and ``error``, with ``neighbors="fit"`` or of blobs, are too many; or if
        the widest filter for blobs reaches too far.
    ImageError
        If the source cannot be read; the message names the file and the frame. Rows before that frame are in `output`.
    RuntimeError
        If a worker ended. Rows of earlier frames are in `output`, from which a run with `resume` goes on.
    OutputError
        If `output` cannot be written, or is of another source or other options.

    See Also
    --------
    find_peaks : Find the peaks of an image or a stack in memory.
    fit_spots : Fit spots of an image or a stack in memory.
    find_blobs : Find the blobs of an image or a stack in memory.
    open_image : Open an image of any size.

    Notes
    -----
    A block of frames is one call. It has up to 16 million pixels, fewer if `max_memory` is short, and ends where
    parts of the file end.

    Tiles of a frame larger than memory have halos as wide as windows. Peaks are found tile by tile, each in the tile
    in whose core its pixel lies; plateaus that reach beyond a tile are looked at in a larger one; greatest values,
    least distances, numbers of peaks and duplicates are then settled for the whole frame, whose candidates have to fit
    into the memory. The peaks are measured in tiles again, in coordinates of the whole frame, so that rounding is the
    same.

    Tiles in which blobs are sought begin at a pixel of every level of the pyramid, and have halos as wide as the passes
    to its coarsest level: about 13 times `max_sigma` in images, so that `max_memory` has to suffice for a multiple of
    this along each axis. The range of pixels, the noise, overlaps and numbers of blobs are those of the whole frame.
    Fits of blobs are made at once.

    Standard errors of fits where neither `camera` nor `error` is known are those of `fit_spots` on each frame: they are
    taken from the residuals of all spots of a call.

    A script that starts processes does so below ``if __name__ == "__main__":``, as with ``multiprocessing``.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> movie = np.random.default_rng(0).poisson(3.0, (50, 64, 64)).astype(np.uint16)
    >>> movie[10:20, 30, 40] += 50
    >>> peaks = npsubpix.locate(movie, threshold_abs=30)
    >>> peaks.frame
    array([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
    """
    memory, runner = check_memory(max_memory), runner_of(executor)
    if output is None and resume:
        raise ValueError("resume is for an output, got none")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be a function of two numbers or None, got {progress!r}")
    is_path = isinstance(output, (str, os.PathLike))
    if not (output is None or is_path or callable(getattr(output, "write", None))):
        raise TypeError(f"output must be a path, None, or an object with the methods of an output, got {output!r}")
    with contextlib.ExitStack() as stack:
        own = task_of(task, options if callable(task) else with_stored(options, stack))
        image = opened(source)
        if image is not source and hasattr(image, "close"):
            stack.callback(image.close)
        movie = movie_of(image, frames, roi)
        own = own.checked(movie.shape, movie.whole)
        report = progress or _nothing
        if output is None:
            found = []
            for _, last, part in _found(movie, own, 0, memory, runner, report):
                found.append(part)
                report(last, movie.count)
            return joined(found)
        out: Any = output
        if isinstance(output, (str, os.PathLike)):
            path = Path(output)
            _check_apart(path, image, own)
            out = open_output(path, resume=resume, state=_state(movie, own))
        stack.enter_context(out)
        # An object of the caller has columns of its own
        sky = celestial_of(image) if is_path and movie.has_rows_and_columns_last else None
        for first, last, part in _found(movie, replace(own, with_heights=True), out.done, memory, runner, report):
            out.write(first, last, with_sky(columns_of(part), sky), counts=part.counts)
            report(last, movie.count)
        out.finish(_metadata(movie, own) if is_path else None)
        counts = out.counts
        return Located(path if is_path else None, movie.count, counts.get("rows", 0), counts.get("ok", 0))


def _check_apart(output: Path, source: Any, task: Task) -> None:
    """Refuse an output that would replace the source or a map, or change a store: no run could go on then."""
    options = {**task.options, **(task.fit or {})}
    maps = {name: value.files for name, value in options.items() if isinstance(value, StoredMap)}
    place = Path(os.path.realpath(output))
    for name, files in {"source": files_of(source), **maps}.items():
        found = {Path(os.path.realpath(file)) for file in files}
        if place in found:
            raise OutputError(f"{output}: is the {name}, which the rows would replace; needed is another name")
        if found.intersection(place.parents):
            raise OutputError(f"{output}: is inside of the {name}, which it would change; needed is another folder")


def _nothing(done: float, count: int) -> None:
    """Report nothing."""


def _report_tile(report: Callable[[float, int], Any], number: int, count: int, part: float) -> None:
    """Report which part of a frame is done."""
    report(number + part, count)


def _found(
    movie: Movie, task: Task, done: int, memory: int, runner: Runner, report: Callable[[float, int], Any]
) -> Iterator[tuple[int, int, Found]]:
    """Yield the rows of blocks, in order, from a frame on; report what is done of a frame in tiles."""
    here = in_memory(movie.source)
    reads_ahead = runner.at_once == 1 and not here
    length = frames_per_block(movie, task, memory, runner.workers, runner.at_once + reads_ahead)
    if length == 0:
        for number in range(done, movie.count):
            own = task.of_frame(number, movie.count, movie.shape, movie.axis)
            found = found_in_tiles(
                movie, own, number, memory, runner, functools.partial(_report_tile, report, number, movie.count)
            )
            yield number, number + 1, moved(found, 0, movie.origin, movie.frame_shape)
        return
    task = task.loaded(movie.shape)
    jobs = jobs_of(movie, task, blocks_of(done, movie.count, length), send=runner.at_once > 1 and not here)
    if here or reads_ahead:
        jobs = read_ahead(movie, jobs, 0 if here else 1)
    if here and runner.shares_memory:
        jobs = share(jobs)
    for job, rows in runner.run(work, jobs):
        if rows.found is not None:
            yield job.first, rows.last, rows.found
        if rows.error is not None:
            raise rows.error


def _metadata(movie: Movie, task: Task) -> dict[str, Any]:
    """Return what a file says of its rows."""
    state = _state(movie, task)
    return {
        **describe("zyx"[-len(movie.shape) :]),
        "images": [movie.source.name],
        **sizes_of(movie.source),
        "read_as": movie.roles,
        **{name: state[name] for name in ("task", "frames", "region", "options")},
    }


def _state(movie: Movie, task: Task) -> dict[str, Any]:
    """Return all that decides rows, in values that JSON can hold."""
    parts = [[part.start, part.stop] for part in movie.index]
    fit = {} if task.fit is None else {"fit": _described(task.fit)}
    return {
        "version": npsubpix.__version__,
        "source": movie.source.fingerprint(),
        "task": _described(task.name),
        "frames": movie.axis,
        "region": parts,
        "options": {**_described(task.options), **fit},
    }


def _described(value: Any) -> Any:
    """Describe an option: numbers as they are, arrays by a digest, functions by their name."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): _described(each) for name, each in value.items()}
    if isinstance(value, StoredMap):
        return value.fingerprint()
    if hasattr(value, "__dataclass_fields__"):
        return {type(value).__name__: {name: _described(getattr(value, name)) for name in value.__dataclass_fields__}}
    if isinstance(value, (list, tuple)):
        return [_described(each) for each in value]
    if callable(value):
        return described_function(value, _described)
    array = np.ascontiguousarray(value)
    if array.dtype.hasobject:
        return type(value).__name__
    pixels: Any = array.reshape(-1).view(np.uint8)  # without a copy: it may be a memory map
    digest = hashlib.sha256(pixels).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}
