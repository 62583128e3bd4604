"""The fit of one spot after the other: Fisher scoring, or Gauss-Newton for least squares, and standard errors.

Data are in electrons, or in units of the image. `spread` is the read variance of each pixel for likelihoods, infinite
where a pixel does not count, and its weight for least squares, 0 where it does not. A likelihood is that of k + v,
which is nearly Poisson distributed with the mean mu + v (F. Huang et al., "Video-rate nanoscopy using sCMOS
camera-specific single-molecule localization algorithms", Nature Methods 10, 2013): its score is the sum of
(k - mu) / (mu + v) times derivatives, and its information that of their products over mu + v. Both estimators thus
share normal equations with the weights 1 / (mu + v), or those of the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, made_once, summing
from npsubpix._cpu.fitting.errors import residual_moments
from npsubpix._cpu.fitting.gaussian import BLOCK, gaussian_of
from npsubpix._cpu.fitting.linear import backward, factor, forward, information, invert
from npsubpix._cpu.fitting.neighbours import has_neighbour
from npsubpix._cpu.fitting.starts import begin, counts
from npsubpix._definitions.constants import (
    FIT_ALIKE,
    FIT_BLENDED,
    FIT_CONTRACTION,
    FIT_DAMPING,
    FIT_FLUX_STEP,
    FIT_LEAST_BACKGROUND,
    FIT_LEAST_FLUX,
    FIT_LEAST_MEAN,
    FIT_LEAST_WIDTH,
    FIT_MISFIT,
    FIT_RELATIVE_STOP,
    FIT_SIGNIFICANT,
)
from npsubpix._definitions.fitting import Model
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags

__all__ = ["ESTIMATOR_CODES", "PADDED", "fit_kernel"]

_REJECTED = int(FIT_REJECTED)
_NOT_CONVERGED = int(FitFlags.NOT_CONVERGED)
_AT_BOUND = int(FitFlags.AT_BOUND)
_SINGULAR = int(FitFlags.SINGULAR)
_NEGATIVE_FLUX = int(FitFlags.NEGATIVE_FLUX)
_BLENDED = int(FitFlags.BLENDED)
_TOO_FAR = int(FitFlags.TOO_FAR)
_POOR_FIT = int(FitFlags.POOR_FIT)

#: Numbers of estimators in kernels.
ESTIMATOR_CODES = {"mle": 0, "wls": 1, "lsq": 2}
_MLE, _WLS, _LSQ = 0, 1, 2

#: Pixels of a box are padded to a multiple of this, so that loops over them are vector code alone.
PADDED = 16

#: Spots that share scratch memory.
_CHUNK = 64


@fused
def _residuals(residuals, data, mean):
    for k in range(residuals.size):
        residuals[k] = data[k] - mean[k]


@fused
def _poisson_weights(weights, mean, spread):
    for k in range(weights.size):
        variance = mean[k] + spread[k]
        weights[k] = 1.0 / (variance if variance > FIT_LEAST_MEAN else FIT_LEAST_MEAN)


@summing
def _chi2(weights, residuals):
    total = 0.0
    for k in range(weights.size):
        total += weights[k] * residuals[k] * residuals[k]
    return total


@device
def _likelihood_ratio(data, mean, spread):
    """Return the logarithm of the likelihood of means, less that of means that equal the data."""
    total = 0.0
    for k in range(data.size):
        if spread[k] < math.inf:
            expected = max(mean[k] + spread[k], FIT_LEAST_MEAN)
            found = data[k] + spread[k]
            if found > 0.0:
                total += found * math.log(expected / found) + found - expected
            else:
                total -= expected
    return min(total, 0.0)


@device
def _least_background(spread, likelihood):
    """Return the least background with which every pixel has a positive variance."""
    if not likelihood:
        return -math.inf
    least = math.inf
    for k in range(spread.size):
        least = min(least, spread[k])
    return FIT_LEAST_BACKGROUND - least


@device
def _limited(step, most):
    return min(max(step, -most), most)


@device
def _is_poor(chi2, degrees, weights, residuals, mean, background, estimator):
    """Whether residuals exceed the noise, and are a large part of the signal."""
    noise, signal, excess = 0.0, 0.0, 0.0
    for k in range(weights.size):
        if weights[k] > 0.0:
            above = mean[k] - background
            signal += above * above
            excess += residuals[k] * residuals[k]
            noise += 1.0 / weights[k]
    if estimator == _LSQ:  # without noise to compare with, residuals are noise as far as neighbours differ
        shared, spread = 0.0, 0.0
        for k in range(1, weights.size):
            if weights[k] > 0.0 and weights[k - 1] > 0.0:
                product = residuals[k] * residuals[k - 1]
                shared += product
                spread += product * product
        return shared > FIT_ALIKE * math.sqrt(spread) and excess > FIT_MISFIT * FIT_MISFIT * signal
    if not chi2 > degrees + FIT_SIGNIFICANT * math.sqrt(3.0 * degrees):
        return False
    return excess - noise > FIT_MISFIT * FIT_MISFIT * signal


def _fitter(model: Model) -> Callable[..., Any]:
    """Make the function that fits one spot; it returns flags and the number of iterations."""
    write = gaussian_of(model)
    axes, count = model.axes, model.parameters
    width_of_axis = model.width_of_axis
    widths = axes + 1, axes + 1 + model.widths
    last = count - 1

    @device
    def move(parameters, steps, box, least):
        """Take a step, limited so that no pixel's mean becomes negative, and the spot does not leave its box."""
        for a in range(axes):
            width = parameters[width_of_axis[a]] if width_of_axis[a] >= 0 else 1.0
            parameters[a] += _limited(steps[a], 0.5 * max(width, 1.0))
        flux = parameters[axes]
        parameters[axes] = max(flux + steps[axes], FIT_FLUX_STEP * flux)
        for a in range(axes):
            k = width_of_axis[a]
            if k >= 0 and (a == 0 or k != width_of_axis[a - 1]):
                width = parameters[k]
                wider = width + _limited(steps[k], 0.3 * width)
                parameters[k] = min(max(wider, FIT_LEAST_WIDTH), 0.5 * box[3 - axes + a])
        for k in range(widths[1], last):
            parameters[k] += steps[k]
        level = parameters[last] + steps[last]
        if level < least + 0.2 * (parameters[last] - least):
            level = least + 0.2 * (parameters[last] - least)
            if level - least < FIT_LEAST_BACKGROUND:
                level = least
        parameters[last] = level

    @device
    def _degrees(spread, likelihood):
        """Return the degrees of freedom: pixels that count, less parameters."""
        degrees = -count
        for k in range(spread.size):
            degrees += counts(spread[k], likelihood)
        return degrees

    @device
    def fit(data, spread, start, sigma, box, padded, options, memory):
        """Fit a spot; leave parameters, covariance, weights, residuals, means and derivatives in memory."""
        small, square, lines, edges, pixels, slopes = memory
        parameters, gradient, steps, moments = small[0], small[1], small[2], small[3]
        matrix, lower = square[0], square[1]
        mean, weights, residuals, weighted = pixels[0], pixels[1], pixels[2], pixels[3]
        estimator, n_iters, stop, whole = options
        likelihood = estimator == _MLE
        degrees = _degrees(spread, likelihood)
        if degrees <= 0:
            return _SINGULAR, 0, count
        scale = begin(
            parameters[:count], moments, start, sigma, data, spread, box, padded, axes, width_of_axis, likelihood,
            whole,
        )  # fmt: skip
        if scale == 0.0:
            return _SINGULAR, 0, count
        least = _least_background(spread, likelihood)
        parameters[last] = max(parameters[last], least)
        if not likelihood:
            weights[:] = spread
        damping, before, used = 0.0, math.inf, count
        for n in range(n_iters):
            write(parameters, sigma, box, padded, lines, edges, mean, slopes)
            _residuals(residuals, data, mean)
            if likelihood:
                _poisson_weights(weights, mean, spread)
            information(matrix, gradient, weights, slopes, residuals, weighted)
            used = count
            if not factor(lower, matrix, used, 0.0):
                return _SINGULAR, n + 1, used
            decrement = forward(steps, lower, gradient, used)
            if parameters[last] <= least:
                backward(steps, lower, used)
                used = last if steps[last] <= 0.0 else count  # the background stays where it is
                decrement = forward(steps, lower, gradient, used)
            variance = 1.0
            if estimator == _LSQ:
                variance = _chi2(weights, residuals) / degrees
            flux = parameters[axes]
            ends = decrement <= stop * variance + FIT_RELATIVE_STOP * flux * flux * matrix[axes, axes]
            if not ends:
                damping = max(damping * 4.0, FIT_DAMPING) if decrement > FIT_CONTRACTION * before else damping * 0.25
                damping = 0.0 if damping < 0.1 * FIT_DAMPING else damping
                before = decrement
                if damping > 0.0:
                    if not factor(lower, matrix, used, damping):
                        return _SINGULAR, n + 1, used
                    forward(steps, lower, gradient, used)
            backward(steps, lower, used)
            for k in range(used, count):
                steps[k] = 0.0
            moments[0] = parameters[last]  # the background of the means that are kept
            move(parameters, steps, box, least)
            if not math.isfinite(decrement):
                return _SINGULAR, n + 1, used
            if parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * scale:
                return _NEGATIVE_FLUX, n + 1, used
            for a in range(axes):
                if not -1.0 <= parameters[a] <= box[3 - axes + a]:
                    return _TOO_FAR, n + 1, used
            if ends:
                return (_AT_BOUND if used < count else 0), n + 1, used
        return _NOT_CONVERGED, n_iters, used

    return fit


def _finisher(model: Model) -> Callable[..., Any]:
    """Make the function that writes the row of a fit, in the coordinates of its box; it returns flags."""
    axes, count = model.axes, model.parameters
    width_of_axis = model.width_of_axis
    last = count - 1

    @device
    def measure(memory, data, spread, options, used, moments):
        """Write the covariance of parameters; return chi2, degrees of freedom, the likelihood and whether it is poor."""
        small, square, _, _, pixels, slopes = memory
        gradient, steps = small[1], small[2]
        matrix, lower, covariance = square[0], square[1], square[2]
        mean, weights, residuals, weighted, spare = pixels[0], pixels[1], pixels[2], pixels[3], pixels[4]
        background = small[3, 0]
        estimator = options[0]
        degrees = -count
        for k in range(spread.size):
            degrees += counts(spread[k], estimator == _MLE)
        chi2 = _chi2(weights, residuals)
        factor(lower, matrix, used, 0.0)
        invert(covariance, lower, steps, used)
        if estimator == _MLE:
            ratio = _likelihood_ratio(data, mean, spread)
        elif estimator == _WLS:
            ratio = -0.5 * chi2
        else:
            pixels_used = degrees + count
            ratio = -0.5 * pixels_used * math.log(chi2 / pixels_used) if chi2 > 0.0 else math.inf
            scratch = gradient, spare, weighted
            residual_moments(
                moments, weights, residuals, mean, background, slopes, covariance, square, scratch, count
            )
        poor = _is_poor(chi2, degrees, weights, residuals, mean, background, estimator)
        return chi2 / degrees, ratio, poor

    @device
    def finish(row, moments, memory, data, spread, start, sigma, options, max_shift, used, table, n):
        parameters, covariance = memory[0][0], memory[1][2]
        flag = 0
        for a in range(axes):
            if not abs(parameters[a] - start[a]) <= max_shift:
                return _TOO_FAR
        chi2, ratio, poor = measure(memory, data, spread, options, used, moments)
        if poor:
            flag |= _POOR_FIT
        for a in range(count):
            row[a] = parameters[a]
            row[count + a] = max(covariance[a, a], 0.0) if a < used else math.nan
        least = math.inf
        for a in range(axes):
            k = width_of_axis[a]
            width = parameters[k] if k >= 0 else sigma[a]
            row[2 * count + a] = width
            least = min(least, width)
        row[2 * count + axes] = chi2
        row[2 * count + axes + 1] = ratio
        keys, order, places, own_keys, shape = table
        if keys.size > 0 and has_neighbour(keys, order, places, n, own_keys[n], FIT_BLENDED * least, shape):
            flag |= _BLENDED
        return flag

    return finish


@made_once
def fit_kernel(model: Model) -> Kernel:
    """Return the kernel that fits spots by a model."""
    fit = _fitter(model)
    finish = _finisher(model)
    axes, count, plane = model.axes, model.parameters, model.plane
    few = max(count, 8)

    @device
    def divide(memory, size, longest):
        """Divide memory into the arrays of a fit."""
        small = memory[: 4 * few].reshape(4, few)
        at = 4 * few
        square = memory[at : at + 3 * count * count].reshape(3, count, count)
        at += 3 * count * count
        lines = memory[at : at + 9 * longest].reshape(9, longest)
        at += 9 * longest
        edges = memory[at : at + 3 * (longest + BLOCK)].reshape(3, longest + BLOCK)
        at += 3 * (longest + BLOCK)
        pixels = memory[at : at + 5 * size].reshape(5, size)
        at += 5 * size
        return small, square, lines, edges, pixels, memory[at : at + count * size].reshape(count, size)

    @device
    def tilt(slopes, box, padded):
        """Write the derivatives with respect to the background and its slopes, which are the same for all spots."""
        depth, height, width = box
        start = 0
        for d in range(depth):
            for j in range(height):
                for i in range(width):
                    k = start + i
                    slopes[count - 1, k] = 1.0
                    if plane:
                        slopes[count - 2, k] = i - 0.5 * (width - 1)
                        slopes[count - 3, k] = j - 0.5 * (height - 1)
                        if axes == 3:
                            slopes[count - 4, k] = d - 0.5 * (depth - 1)
                start += padded

    @device
    def reject(row, start, origin):
        row[:] = math.nan
        for a in range(axes):
            row[a] = origin[a] + start[a]

    @kernel(f"fit_{model.name}")
    def fit_kernel(
        data, spread, starts, origins, first, keys, order, places, own_keys, shape, sigma, box, padded, options,
        max_shift, rows, moments, flags, n_iters,
    ):  # fmt: skip
        """Fit spots, the first of which is row `first` of the table of neighbours.

        `flags` come with those of their boxes, and spots that these reject are not fitted. A row has the parameters,
        their variances, the widths of all axes, chi2 and the likelihood. Variances of least squares are those for
        noise of variance 1; the moments of residuals tell what the noise is.
        """
        size = data.shape[1]
        longest = max(box[0], box[1], padded)
        need = 4 * few + 3 * count * count + 9 * longest + 3 * (longest + BLOCK) + (5 + count) * size
        for c in prange((flags.size + _CHUNK - 1) // _CHUNK):
            table = keys, order, places, own_keys, shape
            own = np.zeros(need)
            memory = divide(lend(own), size, longest)
            tilt(memory[5], box, padded)
            pixels, variances, begins, results = lend(data), lend(spread), lend(starts), lend(rows)
            sums = lend(moments)
            for n in range(c * _CHUNK, min((c + 1) * _CHUNK, flags.size)):
                row, start = results[n], begins[n]
                flag, n_iters[n] = flags[n], 0
                if flag & _REJECTED == 0:
                    found, n_iters[n], used = fit(
                        pixels[n], variances[n], start, sigma, box, padded, options, memory
                    )
                    flag |= found
                if flag & _REJECTED == 0:
                    flag |= finish(
                        row, sums[n], memory, pixels[n], variances[n], start, sigma, options, max_shift, used, table,
                        first + n,
                    )  # fmt: skip
                if flag & _REJECTED:
                    reject(row, start, origins[n])
                else:
                    for a in range(axes):
                        row[a] += origins[n, a]
                flags[n] = flag
            keep(own)
            keep(data)
            keep(spread)
            keep(starts)
            keep(rows)
            keep(moments)

    return fit_kernel
