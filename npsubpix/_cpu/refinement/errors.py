"""Standard errors of refined positions: the independent noise of pixels, propagated through each method.

The variance of a position is the sum over pixels of their variance times the square of the derivative of the position
with respect to them, where the position was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import Kernel, kernel
from npsubpix._cpu.refinement.fit_errors import (
    least_squares_variance,
    log_quadratic_variance,
    parabola_variance,
    quadratic_variance,
    saddle_variance,
)
from npsubpix._cpu.refinement.window_errors import centroid_variance, phasor_variance, radial_variance
from npsubpix._definitions.flags import REJECTED, PeakFlags
from npsubpix._definitions.refinement import Noise

__all__ = ["standard_errors"]

_REJECTED = int(REJECTED)
_FIXED = int(PeakFlags.FIXED_Z), int(PeakFlags.FIXED_Y), int(PeakFlags.FIXED_X)


def _errors_kernel(name: str, variance: Callable[..., Any]) -> Kernel:
    @kernel(f"refine_{name}_errors")
    def errors_kernel(x, images, starts, centres, coords, flags, maps, steps, options, errors):
        """Write standard errors along each axis; NaN for a position, or an axis, that was not refined."""
        half, tables = options
        for k in prange(len(starts)):
            errors[k, 0], errors[k, 1], errors[k, 2] = math.nan, math.nan, math.nan
            if flags[k] & _REJECTED == 0:
                noise = maps[0], maps[1], maps[2], steps
                start, centre = (
                    (starts[k, 0], starts[k, 1], starts[k, 2]),
                    (centres[k, 0], centres[k, 1], centres[k, 2]),
                )
                position = coords[k, 0], coords[k, 1], coords[k, 2]
                found = variance(x[images[k]], noise, images[k], start, centre, position, half, tables)
                for axis in range(3):
                    if flags[k] & _FIXED[axis] == 0:
                        errors[k, axis] = math.sqrt(found[axis])

    return errors_kernel


_KERNELS = {
    "quadratic": _errors_kernel("quadratic", quadratic_variance),
    "parabola": _errors_kernel("parabola", parabola_variance),
    "least_squares": _errors_kernel("least_squares", least_squares_variance),
    "saddle": _errors_kernel("saddle", saddle_variance),
    "log_quadratic": _errors_kernel("log_quadratic", log_quadratic_variance),
    "centroid": _errors_kernel("centroid", centroid_variance),
    "phasor": _errors_kernel("phasor", phasor_variance),
    "radial": _errors_kernel("radial", radial_variance),
}

#: Operations that a position takes for each pixel of its window.
_WORK = 200


def standard_errors(
    method: str, volume: HostArray, found: tuple[HostArray, ...], noise: Noise, half: tuple[int, ...], tables: Any
) -> npt.NDArray[np.float64]:
    """Return standard errors along depth, rows and columns of positions in a stack of volumes.

    `found` are the image of each, the pixel at which refinement started, that at which it ended, position and flags.
    """
    images, starts, centres, coords, flags = found
    # a copy of a map takes longer than the windows that are read of it
    offset, factor, floor = noise
    floor = floor if floor.dtype == np.float32 else np.ascontiguousarray(floor, np.float64)
    maps = np.ascontiguousarray(offset, np.float64), np.ascontiguousarray(factor, np.float64), floor
    steps = noise.steps(math.prod(volume.shape[1:]))
    errors = np.empty((len(starts), 3))
    work = _WORK * len(starts) * math.prod(2 * h + 1 for h in half)
    _KERNELS[method].run(work, volume, images, starts, centres, coords, flags, maps, steps, (half, tables), errors)
    return errors
