"""How well a fit describes its pixels."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, summing
from npsubpix._cpu.formulas.logarithm import logarithm64
from npsubpix._definitions.constants import (
    FIT_ALIKE,
    FIT_KEPT_ROW,
    FIT_LEAST_MEAN,
    FIT_MISFIT,
    FIT_MOST_TIED,
    FIT_SIGNIFICANT,
)

__all__ = ["compare", "is_poor", "likelihood_ratio"]


@summing
def compare(weights, residuals, data, mean, spread, likelihood):
    """Write weights and residuals; return chi2."""
    total = 0.0
    for k in range(weights.size):
        variance = mean[k] + spread[k]
        weight = 1.0 / (variance if variance > FIT_LEAST_MEAN else FIT_LEAST_MEAN) if likelihood else spread[k]
        residual = data[k] - mean[k]
        weights[k], residuals[k] = weight, residual
        total += weight * residual * residual
    return total


@summing
def likelihood_ratio(data, mean, spread):
    """Return the logarithm of the likelihood of means, less that of means that equal the data."""
    total = 0.0
    for k in range(data.size):
        used = spread[k] < math.inf
        expected = mean[k] + spread[k] if used else 1.0
        expected = expected if expected > FIT_LEAST_MEAN else FIT_LEAST_MEAN
        found = data[k] + spread[k] if used else 1.0
        positive = found > 0.0
        found = found if positive else 1.0
        ratio = found * logarithm64(expected / found) + found - expected
        total += ratio if positive else -expected
    return min(total, 0.0)


@device
def is_saturated(data, weights):
    """Whether many pixels share the greatest value."""
    top, ties = -math.inf, 0
    for k in range(data.size):
        if weights[k] > 0.0 and data[k] >= top:
            ties = 1 if data[k] > top else ties + 1
            top = data[k]
    return ties > FIT_MOST_TIED


@device
def is_poor(chi2, degrees, weights, residuals, data, mean, background, box, padded, unweighted):
    """Whether the spot is saturated, or residuals exceed the noise, and are a large part of the signal."""
    if is_saturated(data, weights):
        return True
    if not unweighted and not chi2 > degrees + FIT_SIGNIFICANT * math.sqrt(3.0 * degrees):
        return False
    noise, signal, excess = 0.0, 0.0, 0.0
    for k in range(weights.size):
        if weights[k] > 0.0:
            above = mean[k] - background
            signal += above * above
            excess += residuals[k] * residuals[k]
            noise += 1.0 / weights[k]
    if unweighted:  # without noise to compare with, residuals are noise as far as neighbours differ
        return excess > FIT_MISFIT * FIT_MISFIT * signal and are_alike(weights, residuals, box, padded)
    return excess - noise > FIT_MISFIT * FIT_MISFIT * signal


@device
def are_alike(weights, residuals, box, padded):
    """Whether residuals of neighbours along x and y are alike; along x alone in rows too long for GPUs to keep."""
    depth, height, length = box
    shared, spread, start = 0.0, 0.0, 0
    for _ in range(depth):
        for j in range(height):
            for k in range(start, start + length):
                own = residuals[k] if weights[k] > 0.0 else 0.0
                if k > start and weights[k - 1] > 0.0:
                    product = own * residuals[k - 1]
                    shared += product
                    spread += product * product
                if j > 0 and length <= FIT_KEPT_ROW and weights[k - padded] > 0.0:
                    product = own * residuals[k - padded]
                    shared += product
                    spread += product * product
            start += padded
    return shared > FIT_ALIKE * math.sqrt(spread)
