"""Photometry of spots on the host: the background of annuli, and sums over apertures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.photometry.annuli import annuli_kernel
from npsubpix._cpu.photometry.apertures import apertures_kernel
from npsubpix._cpu.photometry.scatter import scatter_kernel
from npsubpix._definitions.cameras import factors_of
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.photometry import SCATTER, SUMS, allowance_of, columns_of, steps_of

__all__ = ["measure_spots"]

_NO_MASK = np.zeros((0, 0, 0), bool)

#: Elementary operations that a series takes for each pixel.
_SERIES_WORK = 6000

#: Offset, factor to electrons and read variance, each followed by its steps per frame and per pixel, and the variance
#: per electron, 0 without a camera.
_Camera = tuple[HostArray, int, int, HostArray, int, int, HostArray, int, int, float]

_Annuli = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def measure_spots(
    image: HostArray,
    coords: HostArray,
    frame: HostArray | None,
    mask: HostArray | None,
    background: HostArray | None,
    error: HostArray | None,
    offset: HostArray | None,
    electrons_per_count: HostArray | None,
    read_variance: HostArray | None,
    em_gain: HostArray | None,
    *,
    radius: float,
    annulus: tuple[float, float],
    method: str,
    excess: float,
    own_noise: bool,
) -> tuple[HostArray, ...]:
    """Measure spots in a stack of images; return positions, the columns of the table, flags and frames."""
    points = np.ascontiguousarray(coords, np.float64)
    frames = np.zeros(len(points), np.int64) if frame is None else frame.astype(np.int64)
    mask = _NO_MASK if mask is None else np.ascontiguousarray(np.broadcast_to(mask, image.shape))
    flags = np.zeros(len(points), np.int32)
    annuli, frame_pixels = None, image.shape[1] * image.shape[2]
    camera = _camera(offset, electrons_per_count, read_variance, em_gain, excess, frame_pixels)
    known_error = error is not None or excess > 0
    if background is None or not known_error:
        annuli = _measure_annuli(image, points, frames, mask, camera, annulus, method, flags)
    beside = (
        *_beside(background, None if annuli is None else annuli[0], frame_pixels),
        *_beside(error, None if known_error or annuli is None else annuli[1], frame_pixels),
    )
    sums = np.full((len(points), len(SUMS)), np.nan)
    work = int(len(points) * 600 * (2 * radius + 2) ** 2)
    task = image, mask, camera, beside, points, frames, radius, sums, flags
    apertures_kernel.run(work, *task)
    scatter = None
    if own_noise:
        scatter = np.zeros((len(points), len(SCATTER)))
        scatter_kernel.run(int(len(points) * _SERIES_WORK * (2 * radius + 2) ** 2), *task, scatter)
    known = None if annuli is None else (annuli[0] if background is None else None, *annuli[1:])
    *columns, flags = columns_of(
        sums, points, flags, radius=radius, annulus=known, method=method, known_error=known_error, scatter=scatter
    )
    return points, *columns, flags, frames


def _beside(known: HostArray | None, measured: HostArray | None, frame_pixels: int) -> tuple[HostArray, int, int, int]:
    """Return what is known of each pixel or measured for each spot, and its steps per spot, per frame and per pixel."""
    if known is None:
        return (np.zeros(1), 0, 0, 0) if measured is None else (measured, 1, 0, 0)
    return np.ascontiguousarray(known, np.float64), 0, *steps_of(known, frame_pixels)


def _camera(
    offset: HostArray | None,
    electrons_per_count: HostArray | None,
    read_variance: HostArray | None,
    em_gain: HostArray | None,
    excess: float,
    frame_pixels: int,
) -> _Camera:
    numbers = (offset, 0.0), (electrons_per_count, 1.0), (read_variance, 0.0), (em_gain, 1.0)
    zero, factor, reading, gain = (
        np.array([default]) if value is None else np.ascontiguousarray(value, np.float64) for value, default in numbers
    )
    factor = factors_of(factor, gain, frame_pixels)
    steps = [steps_of(values, frame_pixels) for values in (zero, factor, reading)]
    return zero, *steps[0], factor, *steps[1], reading, *steps[2], excess


def _measure_annuli(
    image: HostArray,
    points: HostArray,
    frames: HostArray,
    mask: HostArray,
    camera: _Camera,
    annulus: tuple[float, float],
    method: str,
    flags: HostArray,
) -> _Annuli:
    """Return background and noise of each annulus, and the number of pixels of which these are."""
    level, noise, kept = np.empty(len(points)), np.empty(len(points)), np.empty(len(points), np.int64)
    excess = camera[-1]
    dtype: np.dtype[Any] = np.dtype(np.float64) if excess > 0 else promoted(image.dtype)
    floats, bits = np.empty(0, dtype), np.empty(0, f"u{dtype.itemsize}")
    results = level, noise, kept, flags
    work = int(len(points) * 50 * (2 * annulus[1] + 2) ** 2)
    options = annulus, method == "mean", allowance_of(excess)
    annuli_kernel.run(work, image, mask, camera, points, frames, *options, floats, bits, *results)
    return level, noise, kept
