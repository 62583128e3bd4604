"""Values on a mesh of boxes, on the GPU: fill missing ones, smooth them, and interpolate them at the pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.background import filter_reach

__all__ = ["Taps", "fill", "median_filter", "spread", "taps_of"]

register("mesh", each("Real", FLOATS))

#: For each axis, the first box with a weight at each pixel, and the weights.
Taps = tuple[tuple[DeviceArray, DeviceArray], ...]


def _kernel(name: str, dtype: Any = np.float64) -> Kernel:
    return Kernel.of("mesh", f"mesh_{name}", Real=dtype)


def fill(device: Device, meshes: DeviceArray, good: DeviceArray) -> None:
    """Set each box that is NaN, or has few good pixels, to the mean of the boxes around it that are filled, in place.

    `meshes` are those of backgrounds and of noises of all images, `good` the number of good pixels of each box.
    """
    quantities, images, *boxes = meshes.shape
    rounds = device.empty(meshes.shape, np.int32)
    count = quantities * images
    run(device, _kernel("fill"), blocks_for(count, each=1), meshes, good, count, images, *boxes, rounds)


def median_filter(device: Device, meshes: DeviceArray, size: tuple[int, ...]) -> DeviceArray:
    """Return the medians of windows of odd lengths, shorter ones along an axis of few boxes."""
    boxes = meshes.shape[-3:]
    reach = filter_reach(size, boxes)
    if not any(reach):
        return meshes
    out = device.empty(meshes.shape, np.float64)
    count = meshes.size // math.prod(boxes)
    run(device, _kernel("medians"), blocks_for(out.size), meshes, count, *boxes, *reach, out)
    return out


def taps_of(device: Device, shape: tuple[int, ...], boxes: tuple[int, ...]) -> Taps:
    """Return the weights of boxes at the pixels of each axis."""
    taps = []
    for pixels, count in zip(shape, boxes, strict=True):
        starts, weights = device.empty((pixels,), np.int64), device.empty((4, pixels), np.float64)
        run(device, _kernel("taps"), blocks_for(pixels), pixels, count, starts, weights)
        taps.append((starts, weights))
    return tuple(taps)


def spread(
    device: Device, mesh: DeviceArray, taps: Taps, bounds: tuple[DeviceArray, DeviceArray], dtype: np.dtype[Any]
) -> DeviceArray:
    """Interpolate the values of boxes at all pixels, within the range of the boxes around, and bounds per image."""
    images, *boxes = mesh.shape
    mesh = mesh.clip(*(b.reshape(-1, 1, 1, 1) for b in bounds))  # the filter extends slopes beyond the image
    between = tuple(max(n - 1, 1) for n in boxes)
    lows, highs = (device.empty((images, *between), np.float64) for _ in range(2))
    run(device, _kernel("limits"), blocks_for(lows.size), mesh, images, *boxes, *bounds, lows, highs)
    depth, height, width = (starts.shape[0] for starts, _ in taps)
    lines, length = images * depth * height, max(boxes[-1] + 2, 4)
    rows = device.empty((lines, length), np.float64)
    across = *taps[0], *taps[1]
    run(device, _kernel("rows"), blocks_for(rows.size), mesh, images, *boxes, *across, depth, height, length, rows)
    out = device.empty((images, depth, height, width), dtype)
    along = lines, height, depth, length, *taps[2], width
    limits = taps[0][0], taps[1][0], *between, lows, highs
    run(device, _kernel("spread", dtype), blocks_for(out.size), rows, *along, *limits, out)
    return out
