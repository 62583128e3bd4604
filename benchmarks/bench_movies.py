"""Movies: `locate` against one call on the stack, a loop over frames, trackpy and picasso."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import shutil
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import npsubpix
from benchmarks import peers
from benchmarks.registry import Contest, Peer, contest
from npsubpix._cpu.compiler.workers import keep_serial

__all__ = ["movie"]

_OFFSET, _THRESHOLD, _BOX = 100, 150, 7
_CAMERA = {"Baseline": _OFFSET, "Sensitivity": 1, "Gain": 1, "Qe": 1, "Pixelsize": 130}


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def movie(side: int) -> tuple[np.ndarray, Path | None]:
    """Return a movie of molecules, 25 per frame of 256², and its TIFF file if tifffile is installed."""
    rng = np.random.default_rng(5)
    count, spots = (1000 if side >= 256 else 20), max(3, round(25 * (side / 256) ** 2))
    frames = np.empty((count, side, side), np.uint16)
    for frame in frames:
        places, flux = rng.uniform(6, side - 6, (spots, 2)), rng.exponential(1500, spots) + 500
        frame[:] = npsubpix.simulate_spots((side, side), places, flux=flux, sigma=1.2, background=10, rng=rng) + _OFFSET
    tifffile = peers.load("tifffile")
    if tifffile is None:
        return frames, None
    path = _folder() / f"{side}.tif"
    tifffile.imwrite(path, frames)
    return frames, path


def _trackpy(frames: np.ndarray, count: int) -> Callable[[], Any] | None:
    trackpy = peers.load("trackpy")
    if trackpy is None:
        return None
    trackpy.quiet()

    def call() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return trackpy.batch(frames[:count], _BOX, minmass=300, processes=1, engine="numba")

    return call


def _picasso(path: Path | None, method: str | None) -> Callable[[], Any] | None:
    """Return the search for molecules of picasso, and their fit by a method."""
    localize, io = peers.load("picasso.localize"), peers.load("picasso.io")
    if localize is None or io is None or path is None:
        return None
    info = {"Byte Order": "<", "Data Type": "uint16"}
    try:
        loaded, _ = io.load_movie(str(path))
    except Exception:  # what it takes has changed from release to release
        return None

    def call() -> Any:
        found = localize.identify(loaded, 300, _BOX, return_info=False, threaded=True)
        if method is None:
            return found
        return localize.fit(loaded, camera_info=_CAMERA | info, identifications=found, box=_BOX, fitting_method=method)

    return call


def _as_many(ours: Any, theirs: Any) -> str:
    """Require rows of one number, as the same calls give."""
    count = sum(map(len, ours)) if isinstance(ours, list) else len(ours)
    return "" if count == len(theirs) else f"{count} rows and {len(theirs)}"


_OPTIONS = {"size": 5, "threshold_abs": _THRESHOLD}


def _on_the_stack(frames: np.ndarray, target: float) -> Peer:
    def call() -> npsubpix.Peaks:
        return npsubpix.find_peaks(frames, frame_axis=0, **_OPTIONS)

    return Peer("find_peaks on the stack", call, target, _as_many, is_library=False)


@contest("locate: peaks, in memory", side=256)
def in_memory(side: int) -> Contest:
    frames, _ = movie(side)
    return Contest(
        f"{len(frames):,} frames of {side}²",
        lambda: npsubpix.locate(frames, **_OPTIONS),
        [_on_the_stack(frames, 0.9)],
        items=len(frames),
    )


@contest("locate: peaks, TIFF to CSV", side=256)
def from_tiff(side: int) -> Contest:
    frames, path = movie(side)
    few = min(len(frames), 100)
    output = _folder() / "peaks.csv"
    return Contest(
        f"{len(frames):,} frames of {side}²",
        path and (lambda: npsubpix.locate(path, output=output, **_OPTIONS)),
        [
            Peer("trackpy.batch", _trackpy(frames, few), 20, items=few),
            Peer("picasso identify", _picasso(path, None), 10),
        ],
        items=len(frames),
    )


@contest("locate: spots, maximum likelihood", side=256)
def spots(side: int) -> Contest:
    frames, path = movie(side)
    camera = npsubpix.Camera(offset=_OFFSET)
    fit = {"box": _BOX, "width": "elliptical"}
    return Contest(
        f"{len(frames):,} frames of {side}²",
        lambda: npsubpix.locate(frames, task="spots", camera=camera, fit=fit, **_OPTIONS),
        [Peer("picasso identify and gaussmle", _picasso(path, "gaussmle"), 15)],
        items=len(frames),
    )


@functools.cache
def _pool(count: int) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), keep_serial)
    atexit.register(pool.shutdown)
    return pool


@contest("locate: spots, two processes", side=256)
def processes(side: int) -> Contest:
    frames, path = movie(side)
    options = {"task": "spots", "camera": npsubpix.Camera(offset=_OFFSET), **_OPTIONS}
    return Contest(
        f"{len(frames):,} frames of {side}²",
        path and (lambda: npsubpix.locate(path, executor=_pool(2), **options)),
        [
            Peer(
                "one process",
                path and (lambda: npsubpix.locate(path, executor=_pool(1), **options)),
                1.8,
                _as_many,
                is_library=False,
            )
        ],
        items=len(frames),
    )


@contest("locate: a loop of find_peaks", side=256)
def loop(side: int) -> Contest:
    frames, _ = movie(side)
    return Contest(
        f"{len(frames):,} frames of {side}²",
        lambda: [npsubpix.find_peaks(frame, **_OPTIONS) for frame in frames],
        [_on_the_stack(frames, 0.5)],
        items=len(frames),
    )
