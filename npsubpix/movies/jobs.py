"""Jobs of `locate`: blocks of frames with their pixels, or with the source from which a worker reads them."""

from __future__ import annotations

import collections
import itertools
import pickle
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io import ImageError
from npsubpix.movies.shared import Shared, SharedFiles, shared
from npsubpix.movies.sources import Movie
from npsubpix.movies.tasks import Found, Task, moved, run_task

__all__ = ["Job", "Pixels", "Sent", "jobs_of", "read_ahead", "read_pixels", "share", "work"]


class Pixels(NamedTuple):
    """Frames up to the first that cannot be read, and the reason why it cannot; None if there are no frames at all."""

    block: Any  # an array, or where a worker finds it
    error: Exception | None = None


class Sent:
    """A movie on its way to workers, each of which opens its source once."""

    def __init__(self, movie: Movie) -> None:
        self._token, self._data = uuid.uuid4().hex, _pickled(movie)

    def get(self) -> Movie:
        """Return the movie, that of an earlier job if there was one."""
        with _lock:
            if self._token not in _opened:
                while len(_opened) > 3:  # those of earlier calls
                    old = _opened.pop(next(iter(_opened)))
                    getattr(old.source, "close", bool)()
                _opened[self._token] = pickle.loads(self._data)
            return _opened[self._token]


_opened: dict[str, Movie] = {}
_lock = threading.Lock()


def _pickled(movie: Movie) -> bytes:
    """Pickle a movie; graphs of dask may hold functions that pickle cannot."""
    try:
        return pickle.dumps(movie)
    except Exception:
        try:
            import cloudpickle
        except ImportError:
            raise TypeError(f"{movie.source.name}: cannot be sent to workers, as it cannot be pickled") from None
        return bytes(cloudpickle.dumps(movie))


@dataclass(frozen=True)
class Job:
    """Frames first <= n < last, with their pixels, or with where to read them."""

    task: Task
    first: int
    last: int
    axis: int | None
    origin: tuple[int, ...]
    shape: tuple[int, ...]  # of whole frames
    pixels: Pixels | None = None
    sent: Sent | Movie | None = None

    def __str__(self) -> str:
        return f"frame {self.first}" if self.last == self.first + 1 else f"frames {self.first} to {self.last - 1}"


class Rows(NamedTuple):
    """Rows of the frames before `last`, and the reason why they end there, if it is not that of the block."""

    found: Found | None
    last: int
    error: Exception | None


def jobs_of(movie: Movie, task: Task, blocks: Iterable[tuple[int, int]], *, send: bool) -> Iterator[Job]:
    """Yield the jobs of blocks, without pixels; those to be sent have where to read them."""
    sent: Any = None
    for first, last in blocks:
        if send:
            part = movie.part(first, last)
            sent = Sent(part) if sent is None or part is not movie else sent
        own = task.of_frames(first, last, movie.count, movie.shape, movie.axis)
        yield Job(own, first, last, movie.axis, movie.origin, movie.frame_shape, None, sent)


def read_ahead(movie: Movie, jobs: Iterable[Job], ahead: int) -> Iterator[Job]:
    """Add their pixels to jobs, which a thread reads while others are worked on."""
    if not ahead:
        yield from (replace(job, pixels=read_pixels(movie, job.first, job.last)) for job in jobs)
        return
    reading: collections.deque[tuple[Job, Future[Pixels]]] = collections.deque()
    with ThreadPoolExecutor(1, "npsubpix-reader") as reader:
        try:
            left = iter(jobs)
            for job in itertools.islice(left, ahead):
                reading.append((job, reader.submit(read_pixels, movie, job.first, job.last)))
            while reading:
                job, pixels = reading.popleft()
                ready = replace(job, pixels=pixels.result())
                for later in itertools.islice(left, 1):
                    reading.append((later, reader.submit(read_pixels, movie, later.first, later.last)))
                yield ready
        finally:
            for _, pixels in reading:
                pixels.cancel()


def share(jobs: Iterable[Job]) -> Iterator[Job]:
    """Have workers on this machine read the pixels of jobs from memory that is shared with them."""
    files = SharedFiles()
    try:
        for job in jobs:
            assert job.pixels is not None
            yield replace(job, pixels=job.pixels._replace(block=shared(job.pixels.block, files)))
    finally:
        files.close()


def read_pixels(movie: Movie, first: int, last: int) -> Pixels:
    """Read a block; if that fails, the frames before the first that cannot be read."""
    try:
        return Pixels(movie.read(first, last))
    except Exception as error:
        frames: list[HostArray] = []
        for number in range(first, last):
            try:
                frames.append(movie.read(number, number + 1))
            except Exception as own:  # noqa: PERF203, which frame fails is what is asked for
                block = np.concatenate(frames) if frames else None
                return Pixels(block, _named(movie, number, own if last > first + 1 else error))
        return Pixels(np.concatenate(frames))


def _named(movie: Movie, number: int, error: Exception) -> Exception:
    """Name the frame that cannot be read, where the source does not."""
    if isinstance(error, ImageError):
        return error
    failure = ImageError(f"{movie.source.name}: frame {number} of {movie.count} cannot be read: {error}")
    failure.__cause__ = error
    return failure


def work(job: Job) -> Rows:
    """Do a job: find the rows of a block."""
    pixels = job.pixels
    if pixels is None:
        assert job.sent is not None
        movie = job.sent.get() if isinstance(job.sent, Sent) else job.sent
        pixels = read_pixels(movie, job.first, job.last)
    if isinstance(pixels.block, Shared):
        pixels = pixels._replace(block=pixels.block.get())
    if pixels.block is None:
        return Rows(None, job.first, pixels.error)
    task, last = job.task, job.first + len(pixels.block)
    if last < job.last:
        task = task.of_frames(0, len(pixels.block), job.last - job.first, pixels.block.shape[1:], 0)
    found = run_task(task, pixels.block, job.axis)
    return Rows(moved(found, job.first, job.origin, job.shape), last, pixels.error)
