"""The border of images in which no peaks are reported, on the GPU."""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cuda.launch.arrays import native
from npsubpix._cuda.launch.devices import blocks_for, device_of, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.nms import clipped_margins
from npsubpix._definitions.peaks import PeakSearch

__all__ = ["PIXEL_DTYPES", "greatest_in_border"]

#: Dtypes that kernels of `peaks.cu` read as they are.
PIXEL_DTYPES = ("uint8", "uint16", "int64", "uint64", "float32", "float64")


def greatest_in_border(x: DeviceArray, mask: DeviceArray | None, search: PeakSearch) -> DeviceArray | None:
    """Return the greatest value of each image in its margins, if it is a maximum and above `threshold_abs`, else NaN.

    None if there are no margins.
    """
    margins = clipped_margins(search.margins, x.shape[1:])
    if search.wrap or max(margins) == 0 or x.size == 0:
        return None
    device, x = device_of(x), native(x, PIXEL_DTYPES)
    mask = None if mask is None else device.rows(mask, x.shape, bool)
    stack = (x.shape[0], *(1,) * (4 - x.ndim), *x.shape[1:])
    out = device.empty((x.shape[0],), np.float64)
    threshold = -math.inf if search.threshold_abs is None else search.threshold_abs
    kernel = Kernel.of("peaks", "peaks_border", Pixel=x.dtype)
    borders = (0, 0, *margins)[-6:]
    run(device, kernel, blocks_for(x.shape[0], each=1), x, mask, *stack, *borders, threshold, out)
    return out
