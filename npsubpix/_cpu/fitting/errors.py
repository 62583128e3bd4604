"""Standard errors of unweighted least squares: from the residuals, whose variance may grow with the signal."""

from __future__ import annotations

from npsubpix._cpu.compiler.jit import device
from npsubpix._cpu.fitting.linear import quadratic_form
from npsubpix._definitions.constants import FIT_LEAST_KEPT

__all__ = ["sandwich", "variances"]


@device
def variances(out, weights, residuals, mean, slopes, covariance, background, count):
    """Write the variance of each pixel that counts, a line in the signal, fitted to squared residuals.

    Noise that does not depend on the signal, shot noise, and sums of both are such lines. A residual is divided by
    the share of the noise that it keeps, one less the leverage of its pixel.
    """
    n, s1, s2, q0, q1 = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(out.size):
        if weights[k] > 0.0:
            kept = max(1.0 - weights[k] * quadratic_form(covariance, slopes, k, count), FIT_LEAST_KEPT)
            q = residuals[k] * residuals[k] / kept
            signal = max(mean[k] - background, 0.0)
            n += 1.0
            s1 += signal
            s2 += signal * signal
            q0 += q
            q1 += q * signal
    determinant = n * s2 - s1 * s1
    slope = (n * q1 - s1 * q0) / determinant if determinant > 0.0 else 0.0
    slope = max(slope, 0.0)
    level = (q0 - slope * s1) / n
    if level < 0.0:
        level, slope = 0.0, q0 / s1 if s1 > 0.0 else 0.0
    for k in range(out.size):
        out[k] = (level + slope * max(mean[k] - background, 0.0)) if weights[k] > 0.0 else 0.0


@device
def sandwich(covariance, matrix, inner, scratch, count):
    """Replace a covariance A by A M A, for a symmetric matrix M of which the lower triangle is written."""
    for a in range(count):
        for b in range(count):
            total = 0.0
            for k in range(count):
                total += covariance[a, k] * (matrix[k, b] if k >= b else matrix[b, k])
            inner[a, b] = total
    for a in range(count):
        for b in range(count):
            total = 0.0
            for k in range(count):
                total += inner[a, k] * covariance[k, b]
            scratch[b] = total
        for b in range(count):
            matrix[a, b] = scratch[b]
    for a in range(count):
        for b in range(count):
            covariance[a, b] = matrix[a, b]
