"""The adjoints of the softmax of maps and of their moments.

A pixel v at position c, of weight w = exp(a) with a = (v - m) / T in a map whose weights sum to W,
with mean M and covariance S, moves them by

    d M / d v = w / (W T) * (c - M)
    d S / d v = w / (W T) * ((c - M) (c - M)' - S).

So the gradient of a pixel is w / (W T) times a polynomial of its position, of second degree along a
row. Weights depend on (v - m) / T alone, so the derivative with respect to T is minus the sum of a times
that gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, device, fused, inlined_fused, kernel, summing
from npsubpix._cpu.spatial.maps import RUN, count_bands
from npsubpix._cpu.spatial.weights import maximum_of, row_weights

__all__ = ["expectation_vjp_kernel", "moments_vjp_kernels", "softmax_vjp_kernels"]


def _moments_vjp(name: str, F: Any) -> Kernel:
    exponent, weigh = row_weights(F)

    @inlined_fused
    def multiply_by_polynomial(row, origin, q0, q1, q2, inverse):
        for j in range(row.size):
            t = F(np.int32(j)) - origin
            row[j] = row[j] * inverse * (q0 + t * (q1 + t * q2))

    @summing
    def by_exponent(out, row, shift, scale):
        total = F(0)
        for j in range(out.size):
            total += out[j] * exponent(row[j], shift, scale)
        return total

    @device
    def band_gradient(out, pixels, factors, weighted, first, shape, s, g, h, temperature):
        """Write the gradient of a band of rows, of which `first` is the first; return the sum of it times exponents."""
        height, width = shape
        shift, scale = F(s[0]), F(1.0 / temperature)
        inverse = F(1.0 / (s[1] * temperature) if s[0] == s[0] else np.nan)
        constant = h[0, 0] * s[5] + h[1, 1] * s[8] + h[2, 2] * s[10]
        constant += 2 * (h[0, 1] * s[6] + h[0, 2] * s[7] + h[1, 2] * s[9])
        origin = np.floor(s[4] + 0.5) if s[0] == s[0] else 0.0
        u, q2 = origin - s[4], h[2, 2]
        row, plane = first % height, first // height
        total = 0.0
        group = max(RUN // max(width, 1), 1) * max(width, 1)
        for begin in range(0, out.size, group):
            part, of_pixels = out[begin : begin + group], pixels[begin : begin + group]
            weigh(part, of_pixels, factors[begin : begin + group], weighted, shift, scale)
            for start in range(0, part.size, width):
                z, y = plane - s[2], row - s[3]
                slope = g[2] + 2 * (h[0, 2] * z + h[1, 2] * y)
                level = g[0] * z + g[1] * y + h[0, 0] * z * z + 2 * h[0, 1] * z * y + h[1, 1] * y * y - constant
                q1 = slope + 2 * q2 * u
                q0 = level + slope * u + q2 * u * u
                multiply_by_polynomial(part[start : start + width], F(origin), F(q0), F(q1), F(q2), inverse)
                row += 1
                if row == height:
                    row, plane = 0, plane + 1
            total += by_exponent(part, of_pixels, shift, scale)
        return total

    @kernel(f"map_moments_vjp_{name}")
    def moments_vjp(x, temperatures, weights, stats, linear, quadratic, grad, by_t):
        maps, depth, height, width = x.shape
        count, band = count_bands(depth * height, width)
        size = depth * height * width
        pixels, results = x.reshape(maps, size), grad.reshape(maps, size)
        weighted = weights.size > 0
        of_maps = weights.reshape(weights.shape[0], weights.shape[1] * weights.shape[2] * weights.shape[3])
        partial = np.empty((maps, count))
        for r in prange(maps * count):
            b, k = r // count, r % count
            begin, end = k * band * width, min((k + 1) * band * width, size)
            part = pixels[b, begin:end]
            factors = of_maps[b if of_maps.shape[0] > 1 else 0, begin:end] if weighted else part
            out, shape, s, g, h = results[b, begin:end], (height, width), stats[b], linear[b], quadratic[b]
            partial[b, k] = band_gradient(out, part, factors, weighted, k * band, shape, s, g, h, temperatures[b])
        for b in range(maps):
            by_t[b] = 0.0
            for k in range(count):
                by_t[b] -= partial[b, k]

    return moments_vjp


def _softmax_vjp(name: str, F: Any) -> Kernel:
    maximum = maximum_of(F)

    @summing
    def product(a, b):
        total = 0.0
        for j in range(a.size):
            total += a[j] * b[j]
        return total

    @fused
    def centred(out, probability, cotangent, mean, scale):
        for j in range(out.size):
            out[j] = probability[j] * (cotangent[j] - mean) * scale

    @summing
    def by_value(out, row, reference):
        total = 0.0
        for j in range(out.size):
            total += out[j] * (row[j] - reference) if out[j] != 0 else 0.0
        return total

    @kernel(f"map_softmax_vjp_{name}")
    def softmax_vjp(x, temperatures, probabilities, cotangents, grad, by_t):
        maps, size = x.shape
        for b in prange(maps):
            p, c = probabilities[b], cotangents[b]
            scale = F(1.0 / temperatures[b])
            centred(grad[b], p, c, F(product(p, c)), scale)
            top = maximum(x[b], p, True)
            by_t[b] = -by_value(grad[b], x[b], top) / temperatures[b] if size > 0 else 0.0

    return softmax_vjp


@kernel("map_expectation_vjp")
def expectation_vjp_kernel(weights, slopes, constants, grad):
    """Write weight times an affine function of the position."""
    maps, depth, height, width = grad.shape
    weighted = weights.size > 0
    for r in prange(maps * depth * height):
        b, d, i = r // height // depth, r // height % depth, r % height
        start = constants[b] + slopes[b, 0] * d + slopes[b, 1] * i
        out = grad[b, d, i]
        for j in range(width):
            out[j] = start + slopes[b, 2] * j
        if weighted:
            of_row = weights[b if weights.shape[0] > 1 else 0, d, i]
            for j in range(width):
                out[j] *= of_row[j]


moments_vjp_kernels = {
    np.dtype(np.float32): _moments_vjp("f4", np.float32),
    np.dtype(np.float64): _moments_vjp("f8", np.float64),
}
softmax_vjp_kernels = {
    np.dtype(np.float32): _softmax_vjp("f4", np.float32),
    np.dtype(np.float64): _softmax_vjp("f8", np.float64),
}
