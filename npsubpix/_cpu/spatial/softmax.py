"""Softmax of whole maps: distributions, band by band, as `maps` has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, device, kernel, summing
from npsubpix._cpu.spatial.maps import RUN, count_bands, factor_between, highest, merged
from npsubpix._cpu.spatial.weights import maximum_of, row_weights

__all__ = ["softmax_kernels"]


def _softmax_kernel(name: str, F: Any) -> Kernel:
    """Make the kernel of distributions."""
    (_, weigh), maximum = row_weights(F), maximum_of(F)

    @summing
    def total_of(e):
        total = F(0)  # of few pixels: sums of such are added in float64
        for j in range(e.size):
            total += e[j]
        return total

    @device
    def weigh_all(e, pixels, factors, weighted, shift, scale):
        """Write the weights of pixels, and return their sum."""
        total = 0.0
        for begin in range(0, e.size, RUN):
            part = e[begin : begin + RUN]
            weigh(part, pixels[begin : begin + RUN], factors[begin : begin + RUN], weighted, shift, scale)
            total += total_of(part)
        return total

    @device
    def multiply(e, factor):
        for j in range(e.size):
            e[j] *= factor

    @kernel(f"map_softmax_{name}")
    def softmax(x, temperatures, weights, out):
        maps, depth, height, width = x.shape
        size = depth * height * width
        count, band = count_bands(depth * height, width)
        pixels, results = x.reshape(maps, size), out.reshape(maps, size)
        weighted = weights.size > 0
        of_maps = weights.reshape(weights.shape[0], weights.shape[1] * weights.shape[2] * weights.shape[3])
        partial = np.empty((maps, count, 2))
        for r in prange(maps * count):
            b, k = r // count, r % count
            first, last = k * band * width, min((k + 1) * band * width, size)
            part = pixels[b, first:last]
            factors = of_maps[b if of_maps.shape[0] > 1 else 0, first:last] if weighted else part
            shift = maximum(part, factors, weighted)
            total = weigh_all(results[b, first:last], part, factors, weighted, shift, F(1.0 / temperatures[b]))
            partial[b, k, 0] = shift
            partial[b, k, 1] = total
            if count == 1:
                multiply(results[b], F(1.0 / total if shift == shift else np.nan))
        if count > 1:
            for r in prange(maps * count):
                b, k = r // count, r % count
                shifts, totals, scale = partial[b, :, 0], partial[b, :, 1], 1.0 / temperatures[b]
                top = highest(shifts)
                total = merged(totals, shifts, totals, top, scale, True)
                factor = factor_between(shifts[k], top, scale)
                part = results[b, k * band * width : min((k + 1) * band * width, size)]
                multiply(part, F(factor / total if top == top else np.nan))

    return softmax


softmax_kernels = {
    np.dtype(np.float32): _softmax_kernel("f4", np.float32),
    np.dtype(np.float64): _softmax_kernel("f8", np.float64),
}
