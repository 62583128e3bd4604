"""Find the spots of movies, volumes and mosaics larger than memory."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import npsubpix
from npsubpix.movies.large import found_in_tiles
from npsubpix.movies.jobs import jobs_of, read_ahead, work
from npsubpix.movies.outputs import Output, open_output
from npsubpix.movies.plans import blocks_of, bytes_of, frames_per_block
from npsubpix.movies.sources import Movie, in_memory, movie_of, opened
from npsubpix.movies.tasks import Found, Task, columns_of, joined, moved, task_of
from npsubpix.movies.workers import Runner, runner_of
from npsubpix.results.table import Table

__all__ = ["Located", "locate"]


@dataclass(frozen=True)
class Located:
    """What `locate` wrote to a file.

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
    progress: Callable[[int, int], Any] | None = None,
    **options: Any,
) -> Table | dict[str, Any] | Located:
    """TODO."""
    memory, runner, own = bytes_of(max_memory), runner_of(executor), task_of(task, options)
    if output is None and resume:
        raise ValueError("resume is for an output, got none")
    with contextlib.ExitStack() as stack:
        image = opened(source)
        if image is not source and hasattr(image, "close"):
            stack.callback(image.close)
        movie = movie_of(image, frames, roi)
        report = progress or (lambda done, count: None)
        if output is None:
            found = []
            for _, last, part in _found(movie, own, 0, memory, runner):
                found.append(part)
                report(last, movie.count)
            return joined(found)
        is_path = isinstance(output, (str, Path))
        opening = open_output(output, resume=resume, state=_state(movie, own)) if is_path else output  # type: ignore
        out = stack.enter_context(opening)
        for first, last, part in _found(movie, _with_heights(own), out.done, memory, runner):
            out.write(first, last, columns_of(part), counts=part.counts)
            report(last, movie.count)
        out.finish({name: value for name, value in _state(movie, own).items() if name != "source"})
        counts = out.counts
        path = Path(output) if is_path else None  # type: ignore[arg-type]
        return Located(path, movie.count, counts.get("rows", 0), counts.get("ok", 0))


def _with_heights(task: Task) -> Task:
    import dataclasses

    return dataclasses.replace(task, with_heights=True)


def _found(movie: Movie, task: Task, done: int, memory: int, runner: Runner) -> Iterator[tuple[int, int, Found]]:
    """Yield the rows of blocks, in order, from a frame on."""
    here = in_memory(movie.source)
    reads_ahead = runner.at_once == 1 and not here
    length = frames_per_block(movie, task, memory, runner.workers, runner.at_once + reads_ahead)
    if length == 0:
        for number in range(done, movie.count):
            own = task.of_frames(number, number + 1, movie.count, movie.shape, movie.axis)
            yield number, number + 1, moved(found_in_tiles(movie, own, number, memory, runner), 0, movie.origin)
        return
    jobs = jobs_of(movie, task, blocks_of(done, movie.count, length), send=runner.at_once > 1 and not here)
    if here or reads_ahead:
        jobs = read_ahead(movie, jobs, 0 if here else 1)
    for job, rows in runner.run(work, jobs):
        if rows.found is not None:
            yield job.first, rows.last, rows.found
        if rows.error is not None:
            raise rows.error


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
    if hasattr(value, "__dataclass_fields__"):
        return {type(value).__name__: {name: _described(getattr(value, name)) for name in value.__dataclass_fields__}}
    if isinstance(value, (list, tuple)):
        return [_described(each) for each in value]
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    array = np.ascontiguousarray(value)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": digest}
