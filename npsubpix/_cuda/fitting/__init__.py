"""Fits of spots on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.fitting.crowds import Results, fit_crowd
from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._cuda.refinement import nearest_pixels
from npsubpix._definitions.cameras import factors_of
from npsubpix._definitions.fitting import ESTIMATORS, Fit, columns_of, with_warnings
from npsubpix._definitions.shapes import three_axes

__all__ = ["fit_spots"]

_FILES = "fitting", "fitting_models"
for _file in _FILES:
    register(_file, each("Pixel", ("UInt16", *FLOATS)))

#: Dtypes that kernels read as they are.
_DTYPES = ("uint16", "float32", "float64")

#: Threads of a block: a fit needs many registers.
_THREADS = 64


def _map(device: Device, value: DeviceArray | None, default: float, pixels: int) -> tuple[DeviceArray, int, int]:
    """Return a flat map of one number, of a frame or of a stack, and how far apart two frames and two pixels are."""
    if value is None:
        return device.full((1,), default, np.float64), 0, 0
    size = math.prod(value.shape)
    values = device.rows(device.put(value), (size,), np.float64)
    if size == 1:
        return values, 0, 0
    return values, 0 if size == pixels else pixels, 1


def _neighbours(device: Device, pixels: DeviceArray, frames: DeviceArray, shape: tuple[int, ...], fit: Fit) -> Any:
    """Return the pixels of starts as numbers, sorted; the rows that they are of; and those numbers row by row."""
    count = pixels.shape[0]
    if fit.whole or count < 2:
        return None, None, None, 0
    keys = frames.copy()
    for axis, length in enumerate(shape):
        keys = keys * length + pixels[:, axis].clip(0, length - 1)
    order = keys.argsort()
    return keys[order], device.rows(order, (count,), np.int64), keys, count


def fit_spots(
    image: DeviceArray,
    coords: DeviceArray,
    frame: DeviceArray | None,
    mask: DeviceArray | None,
    error: DeviceArray | None,
    offset: DeviceArray | None,
    electrons_per_count: DeviceArray | None,
    read_variance: DeviceArray | None,
    em_gain: DeviceArray | None,
    psf: DeviceArray | None = None,
    *,
    fit: Fit,
) -> tuple[DeviceArray, ...]:
    """Fit spots; return the columns of a table, numbers of iterations, pixels at the centre, flags and frames."""
    device, x = device_of(image), native(image, _DTYPES)
    shape, count = tuple(image.shape[1:]), coords.shape[0]
    points = device.rows(coords, coords.shape, np.float64)
    frames = device.full((count,), 0, np.int64) if frame is None else device.rows(frame, (count,), np.int64)
    lengths, sizes = three_axes(fit.box, 1), three_axes(shape, 1)
    pixels = nearest_pixels(points, shape, x.dtype)
    likelihood = fit.estimator == "mle"
    factor, gain = (_map(device, value, 1.0, math.prod(shape))[0] for value in (electrons_per_count, em_gain))
    maps = (
        *_map(device, offset, 0.0, math.prod(shape)),
        *_map(device, factors_of(factor, gain, math.prod(shape)), 1.0, math.prod(shape)),
        *_map(device, read_variance if likelihood else error, 0.0 if likelihood else 1.0, math.prod(shape)),
    )
    masks = 0 if mask is None else mask.shape[0]
    mask = None if mask is None else device.rows(mask, mask.shape, bool)
    keys, order, own_keys, keyed = _neighbours(device, pixels, frames, shape, fit)
    rows = device.empty((count, fit.model.columns), np.float64)
    moments = device.full((count if fit.estimator == "lsq" else 0, fit.model.moments), 0, np.float64)
    matrices = device.full(fit.matrices(count), math.nan, np.float64)
    flags, n_iters = (device.empty((count,), np.int32) for _ in range(2))
    constants = device.put(fit.model.constants(fit.numbers))
    if psf is not None:
        constants = np.concatenate([constants, device.rows(psf.reshape(-1), (math.prod(psf.shape),), np.float64)])
    kernel = Kernel.of(_FILES[not fit.model.is_separable], f"fit_{fit.model.name}", Pixel=x.dtype)
    arguments = (
        x, mask, x.shape[0], masks, *sizes, *maps, fit.excess, ESTIMATORS.index(fit.estimator), *(*fit.sigma, 0.0)[:3],
        constants, fit.n_iters, fit.stop, fit.max_shift, fit.whole, keys, order, own_keys, keyed, points, count, frames,
        pixels, *lengths, rows, moments, matrices, fit.has_matrices, flags, n_iters,
    )  # fmt: skip
    run(device, kernel, blocks_for(count, each=_THREADS), *arguments, threads=_THREADS)
    if fit.together and not fit.whole and count > 1:
        results = Results(rows, moments, matrices, fit.has_matrices, flags, n_iters)
        fit_crowd(device, x, arguments, points, pixels, frames, fit, results)
    columns = columns_of(rows, moments, matrices, fit)
    return (*columns, n_iters, pixels, with_warnings(flags, columns, fit), frames)
