"""The gradient of a correlation with respect to its kernel."""

from __future__ import annotations

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import fused, kernel
from npsubpix._cpu.convolution.lines import BAND

__all__ = ["by_kernel"]


@fused
def _scaled_product(total, a, b, step):
    for j in range(a.size):
        total += np.float64(a[j]) * np.float64(b[j * step])
    return total


@kernel("correlate_by_kernel")
def by_kernel(padded, grad, stride, dilation, partial):
    """Sum the products of gradients and of the pixels under each weight; one partial sum per band of lines."""
    batch, depth, height, width = grad.shape
    bands, kd, kh, kw = partial.shape
    for band in prange(bands):
        for line in range(band * BAND, min((band + 1) * BAND, batch * depth * height)):
            b, z, i = line // (depth * height), line // height % depth, line % height
            g = grad[b, z, i]
            for a in range(kd):
                for c in range(kh):
                    row = padded[b, z * stride[0] + a * dilation[0], i * stride[1] + c * dilation[1]]
                    for d in range(kw):
                        part = row[d * dilation[2] : d * dilation[2] + (width - 1) * stride[2] + 1]
                        partial[band, a, c, d] = _scaled_product(partial[band, a, c, d], g, part, stride[2])
