"""Background and noise on the GPU: clipped statistics of boxes, interpolated at the pixels."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cuda.background.mesh import fill, median_filter, spread, taps_of
from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel
from npsubpix._definitions.background import box_count, box_ends, grow_radii
from npsubpix._definitions.constants import LEAST_GOOD
from npsubpix._definitions.dtypes import promoted

__all__ = ["local_background"]

register("background", each("Real", FLOATS))

#: Dtypes that kernels read as they are.
_DTYPES = ("float32", "float64")

#: Pixels of a box per thread, unless the box is so large that all threads of a block have more.
_PIXELS_OF_THREAD = 8
_LEAST_THREADS = 32


def local_background(
    image: DeviceArray,
    mask: DeviceArray | None,
    *,
    size: tuple[int, ...],
    method: str,
    grow: tuple[int, ...],
    filter_size: tuple[int, ...],
) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
    """Return background and noise at the pixels of a stack of images or volumes, and where the noise is a guess."""
    x, device, dtype = image, device_of(image), promoted(image.dtype)
    if x.size == 0:
        return device.empty(x.shape, dtype), device.empty(x.shape, dtype), device.empty(x.shape, np.bool_)
    pixels = native(x, _DTYPES)
    mask = None if mask is None else device.rows(mask, x.shape, bool)
    lead = (1,) * (4 - x.ndim)
    images, shape = x.shape[0], (*lead, *x.shape[1:])
    boxes = tuple(box_count(n, k) for n, k in zip(shape, (*lead, *size), strict=True))
    near = device.empty((x.size,), np.uint8) if any(grow) else None
    meshes, good = device.empty((2, images, *boxes), np.float64), device.empty((images, *boxes), np.int64)
    kernel = Kernel.of("background", "background_boxes", Real=pixels.dtype)
    arguments = pixels, mask, images, *shape, *boxes, *grow_radii(grow, x.shape[1:]), method == "mean", near
    ranges, guessed = device.empty((2, images, *boxes), np.float64), device.empty((images, *boxes), np.bool_)
    outputs = *meshes, *ranges, guessed, good
    run(device, kernel, blocks_for(good.size, each=1), *arguments, *outputs, threads=_threads(shape, boxes))
    axes = (1, 2, 3)
    unknown = (meshes[1] != meshes[1]) | (good < LEAST_GOOD * good.max(axes, keepdims=True))
    fill(device, meshes, good)
    empty = meshes[1] != meshes[1]
    guessed |= unknown & ~empty
    meshes[1][empty & (meshes[0] == meshes[0])] = 0.0  # all pixels of each box are equal
    bounds = (ranges[0].min(axes), ranges[1].max(axes)), (meshes[1].min(axes), meshes[1].max(axes))
    smooth = median_filter(device, meshes, (*lead, *filter_size))
    taps = taps_of(device, shape, boxes)
    background, noise = (spread(device, smooth[k], taps, bounds[k], dtype).reshape(x.shape) for k in range(2))
    for axis, (n, k) in enumerate(zip(shape, boxes, strict=True), start=1):
        guessed = guessed.take(device.put(np.repeat(np.arange(k), np.diff(box_ends(n, k)))), axis)
    return background, noise, guessed.reshape(x.shape)


def _threads(shape: tuple[int, ...], boxes: tuple[int, ...]) -> int:
    """Return the number of threads per box, a power of two."""
    pixels = math.prod(-(-n // k) for n, k in zip(shape, boxes, strict=True))
    threads = _LEAST_THREADS
    while threads < THREADS and threads * _PIXELS_OF_THREAD < pixels:
        threads *= 2
    return threads
