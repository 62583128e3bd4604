"""Sub-pixel refinement on the GPU."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel
from npsubpix._cuda.refinement.blends import flag_blends
from npsubpix._cuda.refinement.errors import standard_errors
from npsubpix._definitions.periodic import repeated
from npsubpix._definitions.refinement import (
    Noise,
    Refinement,
    noise_of,
    noise_of_fits,
    peaks_of_fits,
    phasor_tables,
)

__all__ = ["METHODS", "fold", "nearest_pixels", "refine", "refine_peaks"]

register("refinement", each("Pixel", ("UInt16", *FLOATS)), fused=False)
register("refinement_errors", each("Pixel", ("UInt16", *FLOATS)))

#: Names of the kernels of each method, in two and in three dimensions.
METHODS: dict[str | None, tuple[str, str]] = {
    "quadratic": ("refine_quadratic2d", "refine_quadratic3d"),
    "parabola": ("refine_parabola2d", "refine_parabola3d"),
    "least_squares": ("refine_least_squares2d", "refine_least_squares3d"),
    "log_quadratic": ("refine_log_quadratic", "refine_log_quadratic"),
    "saddle": ("refine_saddle", "refine_saddle"),
    "centroid": ("refine_centroid", "refine_centroid"),
    "phasor": ("refine_phasor", "refine_phasor"),
    "radial": ("refine_radial", "refine_radial"),
    None: ("refine_none", "refine_none"),
}

#: Positions, values, flags, standard errors if the noise is known, and of fits how near neighbours make them doubtful.
Refined: TypeAlias = tuple[DeviceArray, DeviceArray, DeviceArray, DeviceArray | None, DeviceArray | None]

#: Dtypes that kernels read as they are.
_DTYPES = ("uint16", "float32", "float64")

#: Methods that have a block of threads per position.
_BY_BLOCKS = ("centroid", "radial")

#: Threads that share the window of a position; windows of more pixels than `_WIDE` get many.
_FEW, _MANY, _WIDE = 32, 256, 2048


def _stack(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return images, depth, height and width of a stack of images."""
    return shape[0], *(1,) * (4 - len(shape)), *shape[1:]


def refine(
    x: DeviceArray,
    images: DeviceArray,
    starts: DeviceArray,
    mask: DeviceArray | None,
    refinement: Refinement,
    noise: Noise | None = None,
    psf: DeviceArray | None = None,
) -> Refined:
    """Refine pixels of a stack of images; return positions, values and flags, and with the noise standard errors.

    `starts` are positions of shape (N, ndim), `images` the image of each; `psf` is that of fits. A pixel of an image
    that does not exist is treated as outside. Fits also return how near other starts make them doubtful: `flag_blends`
    says so, once these are settled.
    """
    device, x = device_of(x), native(x, _DTYPES)
    if refinement.wrap:
        return _refine_periodic(x, images, starts, mask, refinement, noise, psf)
    if refinement.model is not None:
        from npsubpix._cuda.fitting import fit_spots  # which needs this module too

        noise = None if noise is None else Noise(*map(device.put, noise))
        noise_of_pixels = noise_of_fits(refinement, noise)
        results = fit_spots(x, starts, images, mask, *noise_of_pixels, psf, fit=refinement.model)
        return peaks_of_fits(x, images, starts, results, refinement, noise)
    count, axes = starts.shape
    mask = None if mask is None else device.rows(mask, x.shape, bool)
    coords, values = device.empty((count, axes), np.float64), device.empty((count,), np.float64)
    flags = device.empty((count,), np.int32)
    kernel = Kernel.of("refinement", METHODS[refinement.method][axes - 2], Pixel=x.dtype)
    task = x, mask, *_stack(x.shape), images, starts, count, axes
    options = *refinement.extent, refinement.n_iters, refinement.max_shift, *refinement.half_widths, *refinement.spreads
    if refinement.method in _BY_BLOCKS:
        pixels = math.prod(2 * h + 1 for h in refinement.half_widths)
        blocks, threads = blocks_for(count, each=1), _FEW if pixels < _WIDE else _MANY
    else:
        blocks, threads = blocks_for(count), THREADS
    tables: tuple[Any, ...] = ()
    if refinement.method == "phasor":
        table = phasor_tables(refinement.half_widths)
        tables = device.put(table), table.shape[2]
    known = noise is not None and refinement.method is not None
    centres = device.empty((count, 3), np.int64) if known else None
    run(device, kernel, blocks, *task, *options, coords, values, flags, centres, *tables, threads=threads)
    if noise is None or not known:
        return coords, values, flags, None, None
    found = images, starts, count, axes, centres, coords, flags
    return coords, values, flags, standard_errors(device, x, found, noise, refinement, tables), None


def _refine_periodic(
    x: DeviceArray,
    images: DeviceArray,
    starts: DeviceArray,
    mask: DeviceArray | None,
    refinement: Refinement,
    noise: Noise | None,
    psf: DeviceArray | None,
) -> Refined:
    """Refine pixels of a stack of periodic images, in these and what is around them."""
    device, shape = device_of(x), x.shape[1:]
    pads = refinement.periods_around(shape)
    if mask is not None:
        mask = repeated(device.rows(mask, x.shape, bool), pads, device.put)
    inside = ((starts >= 0) & (starts < device.put(np.array(shape)))).all(1)
    places = (starts + device.put(np.array(pads) + 1)) * inside[:, None] - 1  # -1 for a pixel outside
    wide = repeated(x, pads, device.put)
    if noise is not None:
        noise = Noise(*map(device.put, noise)).repeated(shape, pads, device.put)
    refinement = refinement._replace(wrap=False)
    coords, values, flags, errors, reach = refine(wide, images, places, mask, refinement, noise, psf)
    coords -= device.put(np.array(pads, np.float64))
    fold(coords, shape)
    return coords, values, flags, errors, reach


def nearest_pixels(points: DeviceArray, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
    """Return the nearest pixels of positions, just outside for one beyond the border, -1 for one that is not finite.

    `dtype` is that of the images whose kernels are compiled.
    """
    device, (count, axes) = device_of(points), points.shape
    pixels = device.empty((count, axes), np.int64)
    kernel = Kernel.of("refinement", "refine_nearest", Pixel=dtype)
    run(device, kernel, blocks_for(count), points, count, axes, *_stack((1, *shape))[1:], pixels)
    return pixels


def fold(coords: DeviceArray, shape: tuple[int, ...]) -> None:
    """Move positions by whole periods to where the images have them."""
    device, count = device_of(coords), coords.shape[0]
    kernel = Kernel.of("refinement", "refine_fold", Pixel=np.float32)
    run(device, kernel, blocks_for(count), count, len(shape), *(1, *shape)[-3:], coords)


def refine_peaks(
    image: DeviceArray,
    coords: DeviceArray,
    frame: DeviceArray | None,
    mask: DeviceArray | None,
    error: DeviceArray | None = None,
    offset: DeviceArray | None = None,
    electrons_per_count: DeviceArray | None = None,
    read_variance: DeviceArray | None = None,
    psf: DeviceArray | None = None,
    *,
    refinement: Refinement,
) -> tuple[DeviceArray | None, ...]:
    """Refine positions from their nearest pixels; return positions, values, these pixels, flags, frames and errors.

    Without `frame`, all positions are in the first image. A position outside its image is returned unchanged, and so
    is one of an image that does not exist: to check frames, the host would have to wait.
    """
    device = device_of(image)
    count, axes = coords.shape
    points = device.rows(coords, coords.shape, np.float64)
    frames = device.full((count,), 0, np.int64) if frame is None else device.rows(frame, (count,), np.int64)
    stack = _stack(image.shape)
    if refinement.wrap:
        points = points.copy()
        fold(points, image.shape[1:])
    dtype = native(image[:0], _DTYPES).dtype
    starts = nearest_pixels(points, image.shape[1:], dtype)
    noise = noise_of(error, offset, electrons_per_count, read_variance)
    refined, values, flags, errors, reach = refine(image, frames, starts, mask, refinement, noise, psf)
    if reach is not None:
        flag_blends(device, flags, starts, frames, reach, image.shape[1:], refinement.wrap)
    restore = Kernel.of("refinement", "refine_restore", Pixel=dtype)
    run(device, restore, blocks_for(count), points, starts, frames, count, axes, *stack, refined, flags)
    return refined, values, starts, flags, frames, errors
