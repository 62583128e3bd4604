"""How much is worked on at once: blocks of frames that fit into the memory, and into the processor's caches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from npsubpix._arrays.library import is_array
from npsubpix._definitions.dtypes import promoted
from npsubpix.movies.fits import pools_noise
from npsubpix.movies.sources import Movie
from npsubpix.movies.tasks import Task

__all__ = ["blocks_of", "frame_bytes", "frames_per_block"]

#: Pixels of a block: enough that starting threads costs little beside the work, also where other programs run.
_PIXELS = 1 << 24

#: Blocks of each worker at least, so that none is left with the last one alone.
_ROUNDS = 4

#: Images that a search for blobs has beside the frame.
_BLOB_IMAGES = 6


def frame_bytes(movie: Movie, task: Task) -> int:
    """Return the bytes that work on one frame takes at most: of the pixels, what is made of them, and codes."""
    dtype = np.dtype(movie.source.dtype)
    item, real = dtype.itemsize, promoted(dtype).itemsize
    each = 2 * item + 1
    options = task.options
    if task.name == "blobs":
        each += _BLOB_IMAGES * real
    if options.get("mask") is not None:
        each += item + 2
    for name in ("background", "sigma", "noise", "error"):
        each += 8 if is_array(options.get(name)) else 0
    if task.boxes is not None or options.get("detect") is not None:
        each += 2 * real + 1 + 8
    if options.get("detect") is not None:
        each += 4 * real
    return int(each * math.prod(movie.shape))


def frames_per_block(movie: Movie, task: Task, memory: int, workers: int, at_once: int) -> int:
    """Return how many frames to work on at once, `at_once` blocks of them in memory; 0 if not even one fits.

    Blocks end where parts of the file end, if these are not longer than blocks.
    """
    each = frame_bytes(movie, task)
    most = memory // (each * at_once)
    if most == 0:
        return 0
    known = {name: task.options.get(name) for name in ("camera", "error")}
    if task.options.get("refine") == "fit" and pools_noise(known):
        return 1  # frame, as errors are taken from all peaks of a call
    wanted = max(1, min(_PIXELS // math.prod(movie.shape), most))
    together = movie.chunks[0]
    if together > 1:
        wanted = min(max(wanted, together), most)
        wanted -= wanted % together if wanted > together else 0
    even = math.ceil(movie.count / (_ROUNDS * workers)) if workers > 1 else movie.count
    return max(1, min(wanted, max(even, together)))


def blocks_of(first: int, count: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of blocks of a length, from a frame on; those after the first end at multiples of it."""
    while first < count:
        last = min(first - first % length + length, count)
        yield first, last
        first = last
