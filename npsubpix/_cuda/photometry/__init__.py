"""Photometry of spots on the GPU: the background of annuli, and sums over apertures."""

from __future__ import annotations

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.photometry import SUMS, columns_of, steps_of

__all__ = ["measure_spots"]

# Whether a pixel lies in a circle must not depend on which products are fused
register("photometry", each("Real", FLOATS), fused=False)

#: Dtypes that kernels read as they are.
_DTYPES = ("float32", "float64")

#: Threads that share the pixels of a spot: few, or many for wide apertures and annuli.
_FEW, _MANY, _WIDE = 32, 256, 2048


def measure_spots(
    image: DeviceArray,
    coords: DeviceArray,
    frame: DeviceArray | None,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    error: DeviceArray | None,
    *,
    radius: float,
    annulus: tuple[float, float],
    method: str,
) -> tuple[DeviceArray, ...]:
    """Measure spots in a stack of images; return positions, the columns of the table, flags and frames."""
    device, x = device_of(image), native(image, _DTYPES)
    count = coords.shape[0]
    points = device.rows(coords, coords.shape, np.float64).copy()
    frames = device.full((count,), 0, np.int64) if frame is None else device.rows(frame, (count,), np.int64)
    mask = None if mask is None else device.rows(mask, x.shape, bool)
    task = x, mask, *x.shape, points, frames, count
    flags, annuli = device.full((count,), 0, np.int32), None
    if background is None or error is None:
        annuli = tuple(device.empty((count,), np.float64) for _ in range(3))
        kernel = Kernel.of("photometry", "photometry_annuli", Real=x.dtype)
        options = *annulus, method == "mean", *annuli, flags
        run(device, kernel, blocks_for(count, each=1), *task, *options, threads=_threads(annulus[1]))
    pixels = x.shape[1] * x.shape[2]
    levels = _beside(device, background, None if annuli is None else annuli[0], pixels)
    errors = _beside(device, error, None if annuli is None else annuli[1], pixels)
    sums = device.empty((count, len(SUMS)), np.float64)
    kernel = Kernel.of("photometry", "photometry_apertures", Real=x.dtype)
    run(device, kernel, blocks_for(count, each=1), *task, radius, *levels, *errors, sums, flags,
        threads=_threads(radius))  # fmt: skip
    known = None if annuli is None else (annuli[0] if background is None else None, *annuli[1:])
    *columns, flags = columns_of(
        sums, points, flags, radius=radius, annulus=known, method=method, known_error=error is not None
    )
    return points, *columns, flags, frames


def _beside(
    device: Device, known: DeviceArray | None, measured: DeviceArray | None, pixels: int
) -> tuple[DeviceArray, int, int, int]:
    """Return what is known of each pixel or measured for each spot, and its steps per spot, per frame and per pixel."""
    if known is None:
        return measured, 1, 0, 0
    return device.rows(known, known.shape, np.float64), 0, *steps_of(known, pixels)


def _threads(radius: float) -> int:
    return _FEW if (2 * radius + 1) ** 2 < _WIDE else _MANY
