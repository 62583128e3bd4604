"""How well a fit describes its pixels."""

from __future__ import annotations

import math

from npsubpix._cpu.compiler.jit import device, inlined_summing, summing
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


@inlined_summing
def _ties(data, weights, top):
    ties = 0
    for k in range(data.size):
        own, used = data[k] == top, weights[k] > 0.0
        ties += 1 if own & used else 0
    return ties


@device
def is_saturated(data, weights):
    """Whether many pixels share the greatest value."""
    a, b = -math.inf, -math.inf  # of every other pixel, so that comparisons do not wait for each other
    for k in range(0, data.size - 1, 2):
        first, second = data[k], data[k + 1]
        first, second = first if weights[k] > 0.0 else -math.inf, second if weights[k + 1] > 0.0 else -math.inf
        a, b = first if first > a else a, second if second > b else b
    return _ties(data, weights, max(a, b)) > FIT_MOST_TIED


@inlined_summing
def _powers(weights, residuals, mean, background):
    """Return the squared signal of the pixels that count, their squared residuals, and their variance."""
    signal, excess, noise = 0.0, 0.0, 0.0
    for k in range(weights.size):
        above, residual, weight = mean[k] - background, residuals[k], weights[k]
        used = weight > 0.0
        signal += above * above if used else 0.0
        excess += residual * residual if used else 0.0
        noise += 1.0 / (weight if used else math.inf)
    return signal, excess, noise


@device
def is_poor(chi2, degrees, weights, residuals, data, mean, background, box, padded, unweighted):
    """Whether residuals exceed the noise, and are a large part of the signal."""
    if not unweighted and not chi2 > degrees + FIT_SIGNIFICANT * math.sqrt(3.0 * degrees):
        return False
    signal, excess, noise = _powers(weights, residuals, mean, background)
    if unweighted:  # without noise to compare with, residuals are noise as far as neighbours differ
        if is_saturated(data, weights):
            return True
        return excess > FIT_MISFIT * FIT_MISFIT * signal and are_alike(weights, residuals, box, padded)
    return excess - noise > FIT_MISFIT * FIT_MISFIT * signal


@inlined_summing
def _products(residuals, others, weights, other_weights):
    """Return the sum of products of residuals and those of neighbours, and that of their squares."""
    total, spread = 0.0, 0.0
    for k in range(residuals.size):
        product, weight = residuals[k] * others[k], weights[k] * other_weights[k]
        product = product if weight > 0.0 else 0.0
        total += product
        spread += product * product
    return total, spread


@device
def are_alike(weights, residuals, box, padded):
    """Whether residuals of neighbours along x and y are alike; along x alone in rows too long for GPUs to keep."""
    depth, height, length = box
    shared, spread = 0.0, 0.0
    for d in range(depth):
        first = d * height * padded
        if length <= FIT_KEPT_ROW:
            stop = first + (height - 1) * padded
            total, more = _products(
                residuals[first:stop], residuals[first + padded : stop + padded],
                weights[first:stop], weights[first + padded : stop + padded],
            )  # fmt: skip
            shared += total
            spread += more
        rows = 1 if length < padded else height  # rows that end with pixels that do not count follow one another
        along = height * padded if length < padded else padded
        for start in range(first, first + rows * along, along):
            stop = start + along - 1
            total, more = _products(
                residuals[start:stop], residuals[start + 1 : stop + 1],
                weights[start:stop], weights[start + 1 : stop + 1],
            )  # fmt: skip
            shared += total
            spread += more
    return shared > FIT_ALIKE * math.sqrt(spread)
