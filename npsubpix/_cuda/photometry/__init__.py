"""Photometry of spots on the GPU: the background of annuli, and sums over apertures."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.cameras import factors_of
from npsubpix._definitions.photometry import SCATTER, SUMS, allowance_of, columns_of, steps_of

__all__ = ["measure_spots"]

# Whether a pixel lies in a circle must not depend on which products are fused
register(
    "photometry",
    (
        *((("Real", number), ("Value", number)) for number in FLOATS),
        (("Real", "float"), ("Value", "double")),  # electrons of a camera
    ),
    fused=False,
)

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
    offset: DeviceArray | None,
    electrons_per_count: DeviceArray | None,
    read_variance: DeviceArray | None,
    em_gain: DeviceArray | None,
    *,
    radius: float,
    annulus: tuple[float, float],
    method: str,
    excess: float,
    own_noise: bool,
) -> tuple[DeviceArray, ...]:
    """Measure spots in a stack of images; return positions, the columns of the table, flags and frames."""
    device, x = device_of(image), native(image, _DTYPES)
    count = coords.shape[0]
    points = device.rows(coords, coords.shape, np.float64).copy()
    frames = device.full((count,), 0, np.int64) if frame is None else device.rows(frame, (count,), np.int64)
    mask = None if mask is None else device.rows(mask, x.shape, bool)
    pixels = x.shape[1] * x.shape[2]
    camera = _camera(device, offset, electrons_per_count, read_variance, em_gain, pixels)
    task = x, mask, *x.shape, *camera, float(excess), points, frames, count
    types = {"Real": x.dtype, "Value": np.dtype(np.float64) if excess > 0 else x.dtype}
    flags, annuli, known_error = device.full((count,), 0, np.int32), None, error is not None or excess > 0
    if background is None or not known_error:
        annuli = tuple(device.empty((count,), np.float64) for _ in range(3))
        kernel = Kernel.of("photometry", "photometry_annuli", **types)
        options = *annulus, method == "mean", *allowance_of(excess), *annuli, flags
        run(device, kernel, blocks_for(count, each=1), *task, *options, threads=_threads(annulus[1]))
    levels = _beside(device, background, None if annuli is None else annuli[0], pixels)
    errors = _beside(device, error, None if known_error or annuli is None else annuli[1], pixels)
    sums = device.empty((count, len(SUMS)), np.float64)
    task = *task, radius, *levels, *errors, sums, flags
    kernel = Kernel.of("photometry", "photometry_apertures", **types)
    run(device, kernel, blocks_for(count, each=1), *task, threads=_threads(radius))
    scatter = None
    if own_noise:
        scatter = device.empty((count, len(SCATTER)), np.float64)
        kernel = Kernel.of("photometry", "photometry_scatter", **types)
        run(device, kernel, blocks_for(count, each=1), *task, scatter, threads=_FEW)
    known = None if annuli is None else (annuli[0] if background is None else None, *annuli[1:])
    *columns, flags = columns_of(
        sums, points, flags, radius=radius, annulus=known, method=method, known_error=known_error, scatter=scatter
    )
    return points, *columns, flags, frames


def _camera(
    device: Device,
    offset: DeviceArray | None,
    electrons_per_count: DeviceArray | None,
    read_variance: DeviceArray | None,
    em_gain: DeviceArray | None,
    pixels: int,
) -> tuple[Any, ...]:
    """Return offset, factor to electrons and read variance, each followed by its steps per frame and per pixel."""
    numbers = (offset, 0.0), (electrons_per_count, 1.0), (read_variance, 0.0), (em_gain, 1.0)
    zero, factor, reading, gain = (
        device.full((1,), default, np.float64)
        if value is None
        else device.rows(device.put(value), value.shape, np.float64)
        for value, default in numbers
    )
    maps = zero, factors_of(factor, gain, pixels), reading
    return tuple(part for values in maps for part in (values, *steps_of(values, pixels)))


def _beside(
    device: Device, known: DeviceArray | None, measured: DeviceArray | None, pixels: int
) -> tuple[DeviceArray, int, int, int]:
    """Return what is known of each pixel or measured for each spot, and its steps per spot, per frame and per pixel."""
    if known is None:
        return (device.full((1,), 0.0, np.float64), 0, 0, 0) if measured is None else (measured, 1, 0, 0)
    return device.rows(known, known.shape, np.float64), 0, *steps_of(known, pixels)


def _threads(radius: float) -> int:
    return _FEW if (2 * radius + 1) ** 2 < _WIDE else _MANY
