"""Photometry of spots on the host: the background of annuli, and sums over apertures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.photometry.annuli import annuli_kernel
from npsubpix._cpu.photometry.apertures import apertures_kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.photometry import SUMS, columns_of, steps_of

__all__ = ["measure_spots"]

_NO_MASK = np.zeros((0, 0, 0), bool)

_Annuli = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]


def measure_spots(
    image: HostArray,
    coords: HostArray,
    frame: HostArray | None,
    mask: HostArray | None,
    background: HostArray | None,
    error: HostArray | None,
    *,
    radius: float,
    annulus: tuple[float, float],
    method: str,
) -> tuple[HostArray, ...]:
    """Measure spots in a stack of images; return positions, the columns of the table, flags and frames."""
    points = np.ascontiguousarray(coords, np.float64)
    frames = np.zeros(len(points), np.int64) if frame is None else frame.astype(np.int64)
    mask = _NO_MASK if mask is None else np.ascontiguousarray(np.broadcast_to(mask, image.shape))
    flags = np.zeros(len(points), np.int32)
    annuli = None
    if background is None or error is None:
        annuli = _measure_annuli(image, points, frames, mask, annulus, method, flags)
    frame_pixels = image.shape[1] * image.shape[2]
    levels, steps = _beside(background, None if annuli is None else annuli[0], frame_pixels)
    errors, error_steps = _beside(error, None if annuli is None else annuli[1], frame_pixels)
    sums = np.full((len(points), len(SUMS)), np.nan)
    work = int(len(points) * 20 * (2 * radius + 2) ** 2)
    apertures_kernel.run(work, image, mask, points, frames, radius, levels, steps, errors, error_steps, sums, flags)
    known = None if annuli is None else (annuli[0] if background is None else None, *annuli[1:])
    *columns, flags = columns_of(
        sums, points, flags, radius=radius, annulus=known, method=method, known_error=error is not None
    )
    return points, *columns, flags, frames


def _beside(
    known: HostArray | None, measured: HostArray | None, frame_pixels: int
) -> tuple[HostArray, tuple[int, int, int]]:
    """Return what is known of each pixel or measured for each spot, and its steps per spot, per frame and per pixel."""
    if known is None:
        assert measured is not None
        return measured, (1, 0, 0)
    return np.ascontiguousarray(known, np.float64), (0, *steps_of(known, frame_pixels))


def _measure_annuli(
    image: HostArray,
    points: HostArray,
    frames: HostArray,
    mask: HostArray,
    annulus: tuple[float, float],
    method: str,
    flags: HostArray,
) -> _Annuli:
    """Return background and noise of each annulus, and the number of pixels of which these are."""
    level, noise, kept = np.empty(len(points)), np.empty(len(points)), np.empty(len(points), np.int64)
    dtype: np.dtype[Any] = promoted(image.dtype)
    floats, bits = np.empty(0, dtype), np.empty(0, f"u{dtype.itemsize}")
    results = level, noise, kept, flags
    work = int(len(points) * 50 * (2 * annulus[1] + 2) ** 2)
    annuli_kernel.run(work, image, mask, points, frames, annulus, method == "mean", floats, bits, *results)
    return level, noise, kept
