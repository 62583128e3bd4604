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

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import Kernel, fused, kernel, summing
from npsubpix._cpu.formulas.exponential import exponential32, exponential64
from npsubpix._cpu.spatial.maps import count_bands, row_weights

__all__ = ["expectation_vjp_kernel", "moments_vjp_kernels", "softmax_vjp_kernels"]


def _moments_vjp(name: str, F: Any, exponential: Callable[..., Any]) -> Kernel:
    exponent, _, weigh = row_weights(F, exponential)

    @fused
    def polynomial_row(out, e, origin, q0, q1, q2, inverse):
        for j in range(out.size):
            t = F(j) - origin
            out[j] = e[j] * inverse * (q0 + t * (q1 + t * q2))

    @summing
    def by_exponent(out, row, shift, scale):
        total = F(0)
        for j in range(out.size):
            total += out[j] * exponent(row[j], shift, scale)
        return total

    @kernel(f"map_moments_vjp_{name}")
    def moments_vjp(x, temperatures, weights, stats, linear, quadratic, grad, by_t):
        maps, depth, height, width = x.shape
        count, band = count_bands(depth * height, width)
        rows, results = x.reshape(maps, depth * height, width), grad.reshape(maps, depth * height, width)
        weighted = weights.size > 0
        of_maps = weights.reshape(weights.shape[0], weights.shape[1] * weights.shape[2], weights.shape[3])
        partial = np.empty((maps, count))
        for r in prange(maps * count):
            b, k = r // count, r % count
            s, g, h = stats[b], linear[b], quadratic[b]
            shift, scale = F(s[0]), F(1.0 / temperatures[b])
            inverse = F(1.0 / (s[1] * temperatures[b]) if s[0] == s[0] else np.nan)
            constant = h[0, 0] * s[5] + h[1, 1] * s[8] + h[2, 2] * s[10]
            constant += 2 * (h[0, 1] * s[6] + h[0, 2] * s[7] + h[1, 2] * s[9])
            origin = np.floor(s[4] + 0.5) if s[0] == s[0] else 0.0
            u = origin - s[4]
            e = np.empty(width, F)
            total = 0.0
            for i in range(k * band, min((k + 1) * band, depth * height)):
                z, y = i // height - s[2], i % height - s[3]
                slope = g[2] + 2 * (h[0, 2] * z + h[1, 2] * y)
                level = g[0] * z + g[1] * y + h[0, 0] * z * z + 2 * h[0, 1] * z * y + h[1, 1] * y * y - constant
                q2 = h[2, 2]
                q1 = slope + 2 * q2 * u
                q0 = level + slope * u + q2 * u * u
                of_row = of_maps[b if of_maps.shape[0] > 1 else 0, i] if weighted else rows[b, i]
                weigh(e, rows[b, i], of_row, weighted, shift, scale)
                polynomial_row(results[b, i], e, F(origin), F(q0), F(q1), F(q2), inverse)
                total += by_exponent(results[b, i], rows[b, i], shift, scale)
            partial[b, k] = total
        for b in range(maps):
            by_t[b] = 0.0
            for k in range(count):
                by_t[b] -= partial[b, k]

    return moments_vjp


def _softmax_vjp(name: str, F: Any) -> Kernel:
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
            best = 0
            for j in range(size):
                best = j if p[j] > p[best] else best
            by_t[b] = -by_value(grad[b], x[b], x[b, best]) / temperatures[b] if size > 0 else 0.0

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
    np.dtype(np.float32): _moments_vjp("f4", np.float32, exponential32),
    np.dtype(np.float64): _moments_vjp("f8", np.float64, exponential64),
}
softmax_vjp_kernels = {
    np.dtype(np.float32): _softmax_vjp("f4", np.float32),
    np.dtype(np.float64): _softmax_vjp("f8", np.float64),
}
