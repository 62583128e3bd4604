"""What standard errors of unweighted least squares are made of: see `_definitions/fitting.py`."""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.linear import information, quadratic_form

__all__ = ["residual_moments"]


@device
def _times(out, covariance, matrix, count):
    """Write A M, for a symmetric matrix M of which the lower triangle is known."""
    for a in range(count):
        for b in range(count):
            total = 0.0
            for k in range(count):
                total += covariance[a, k] * (matrix[k, b] if k >= b else matrix[b, k])
            out[a, b] = total


@device
def residual_moments(out, weights, residuals, mean, background, slopes, covariance, square, scratch, count):
    """Write the moments of squared residuals, and the variances of parameters if pixels had their signal as variance.

    `square` has room for two matrices, `scratch` for a gradient and for two lines of pixels.
    """
    matrix, product = square[0], square[1]
    gradient, signals, weighted = scratch
    degrees, s0, s1, kept_signal, t0, t1, t2 = -float(count), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(weights.size):
        signals[k] = max(mean[k] - background, 0.0) if weights[k] > 0.0 else 0.0
    information(matrix, gradient, signals, slopes, residuals, weighted)
    _times(product, covariance, matrix, count)
    own = 0.0
    for a in range(count):
        total = 0.0
        for b in range(count):
            own += product[a, b] * product[b, a]
            total += product[a, b] * covariance[b, a]
        out[8 + a] = total
    for k in range(weights.size):
        if weights[k] > 0.0:
            m, q = signals[k], residuals[k] * residuals[k]
            leverage = quadratic_form(covariance, slopes, k, count)
            degrees += 1.0
            s0 += q
            s1 += m * q
            kept_signal += m * (1.0 - leverage)
            own += m * m * (1.0 - 2.0 * leverage)
    for k in range(weights.size):
        if weights[k] > 0.0:
            m = signals[k]
            offset = m - kept_signal / degrees
            t0 += offset * offset
            t1 += offset * offset * m
            t2 += offset * offset * m * m
    out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = degrees, s0, s1, kept_signal, own, t0, t1, t2
