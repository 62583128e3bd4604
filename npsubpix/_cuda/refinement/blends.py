"""Fits of spots that start near others, on the GPU."""

from __future__ import annotations

import numpy as np

from npsubpix._cuda.launch.catalogue import each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel

__all__ = ["flag_blends"]

register("blends", each("Real", ("double",)))


def flag_blends(
    device: Device,
    flags: DeviceArray,
    starts: DeviceArray,
    frames: DeviceArray,
    reach: DeviceArray,
    shape: tuple[int, ...],
    wrap: bool,
) -> None:
    """Flag the fits whose pixel at the start is nearer than their reach to that of another row of the image.

    Maxima and minima do not interact. Duplicates, and starts outside the image, do not count.
    """
    count, axes = starts.shape
    lengths = (1, *shape)[-3:]
    keys = device.empty((count,), np.int64)
    number = Kernel.of("blends", "blends_number", Real=np.float64)
    run(device, number, blocks_for(count), starts, frames, flags, count, axes, *lengths, keys)
    order = device.rows(keys.argsort(), (count,), np.int64)
    ordered, near = keys[order], Kernel.of("blends", "blends_flag", Real=np.float64)
    run(device, near, blocks_for(count), keys, ordered, order, reach, count, axes, *lengths, wrap, flags)
