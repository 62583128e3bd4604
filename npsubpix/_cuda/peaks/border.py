"""The border of images in which no peaks are reported, on the GPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.devices import Device, blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.nms import clipped_margins
from npsubpix._definitions.peaks import PeakSearch, with_defaults

__all__ = ["PIXEL_DTYPES", "PixelValues", "highest_in_border"]

#: Dtypes that kernels of `peaks.cu` read as they are.
PIXEL_DTYPES = ("uint8", "uint16", "int64", "uint64", "float32", "float64")


class PixelValues(NamedTuple):
    """Background or noise as kernels take it: an array of float32 or one of float64, and its size, 0 for none."""

    narrow: DeviceArray | None = None
    wide: DeviceArray | None = None
    size: int = 0

    @staticmethod
    def of(device: Device, values: Any) -> PixelValues:
        """Convert a number, or an array of a value per pixel, or None."""
        if values is None:
            return PixelValues()
        if isinstance(values, np.ndarray) and values.size == 1:  # a number
            return PixelValues(None, device.full((1,), values.item(), np.float64), 1)
        dtype = promoted(values.dtype)
        converted = device.rows(values, values.shape, dtype)
        if dtype == np.float32:
            return PixelValues(converted, None, values.size)
        return PixelValues(None, converted, values.size)


def highest_in_border(
    x: DeviceArray,
    mask: DeviceArray | None,
    background: DeviceArray | None,
    sigma: DeviceArray | None,
    search: PeakSearch,
    frames: DeviceArray,
    starts: DeviceArray,
    flags: DeviceArray,
) -> DeviceArray | None:
    """Return the value of the highest peak in the margins of each image, if it is higher than all peaks, else NaN.

    It is a peak if no neighbour is greater and one is less, and if it exceeds `threshold_abs`. With background or
    noise, the highest is the one of the greatest height in units of the noise. The peaks that were found are given by
    their frames, pixels and flags, the highest of each frame first. None if there are no margins.
    """
    margins = clipped_margins(search.margins, x.shape[1:])
    if search.wrap or max(margins) == 0 or x.size == 0:
        return None
    device, x = device_of(x), native(x, PIXEL_DTYPES)
    mask = None if mask is None else device.rows(mask, x.shape, bool)
    stack = (x.shape[0], *(1,) * (4 - x.ndim), *x.shape[1:])
    levels = [PixelValues.of(device, values) for values in with_defaults(background, sigma)]
    out = device.empty((x.shape[0],), np.float64)
    threshold = -math.inf if search.threshold_abs is None else search.threshold_abs
    kernel = Kernel.of("peaks", "peaks_border", Pixel=x.dtype)
    images = x, mask, *stack, *(0, 0, *margins)[-6:]
    arguments = *levels[0], *levels[1], threshold, starts, frames, flags, starts.shape[0], x.ndim - 1, out
    run(device, kernel, blocks_for(x.shape[0], each=1), *images, *arguments)
    return out
