"""Standard errors of refined positions on the GPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import DeviceArray, Kernel
from npsubpix._definitions.refinement import Noise, Refinement

__all__ = ["standard_errors"]

#: Threads of a block, which need many registers, and most blocks: each thread of a centroid has memory of its own.
_THREADS, _MOST_BLOCKS = 64, 2048


def standard_errors(
    device: Device,
    x: DeviceArray,
    found: tuple[Any, ...],
    noise: Noise,
    refinement: Refinement,
    tables: tuple[Any, ...],
) -> DeviceArray:
    """Return standard errors of positions in a stack of images.

    `found` are the image of each, the pixel at which refinement started, their shape, the pixel at which it ended,
    position and flags; `tables` those of a phasor.
    """
    images, starts, count, axes, centres, coords, flags = found
    shape = (1,) * (4 - x.ndim) + tuple(x.shape[1:])
    maps = [device.rows(device.put(values), (math.prod(values.shape),), np.float64) for values in noise]
    steps = noise.steps(math.prod(shape))
    errors = device.empty((count, axes), np.float64)
    blocks = min(blocks_for(count, each=_THREADS), _MOST_BLOCKS)
    if refinement.method == "centroid":
        longest = 2 * max(refinement.half_widths) + 1
        tables = device.empty((blocks * _THREADS, 3, longest), np.float64), longest
    if refinement.method == "saddle":
        tables = tuple(device.put(np.array(line)) for line in refinement.lines)
    kernel = Kernel.of("refinement_errors", f"refine_{refinement.method}_errors", Pixel=x.dtype)
    window = *refinement.half_widths, *refinement.spreads
    run(
        device, kernel, blocks, x, x.shape[0], *shape, images, starts, count, axes, centres, coords, flags, *window,
        *maps, *steps, errors, *tables,
        threads=_THREADS,
    )  # fmt: skip
    return errors
