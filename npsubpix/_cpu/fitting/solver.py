"""The fit of one spot after the other: Fisher scoring, or Newton's method for least squares, and standard errors.

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

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend, shaped
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, kernel, made_once
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.errors import residual_moments_of
from npsubpix._cpu.fitting.gaussian import BLOCK, curve_edges, edges_before_x, edges_of
from npsubpix._cpu.fitting.goodness import compare, is_poor, likelihood_ratio
from npsubpix._cpu.fitting.linear import LinearAlgebra, linear_algebra_of
from npsubpix._cpu.fitting.misfits import is_misshapen
from npsubpix._cpu.fitting.neighbours import has_neighbour
from npsubpix._cpu.fitting.newton import equations_of, is_alike
from npsubpix._cpu.fitting.shape_starts import chooser_of, shape_start_of
from npsubpix._cpu.fitting.spot_models import spot_functions
from npsubpix._cpu.fitting.starts import begin, places_of_pixels, summarize
from npsubpix._cpu.fitting.steps import direction_of, mover_of
from npsubpix._cpu.fitting.sums import sums_of
from npsubpix._definitions.constants import (
    FIT_BLENDED,
    FIT_CAUTION,
    FIT_CONTRACTION,
    FIT_DAMPING,
    FIT_EASING,
    FIT_LEAST_BACKGROUND,
    FIT_LEAST_FLUX,
    FIT_NEARLY,
    FIT_NEARLY_CURVED,
    FIT_RELATIVE_STOP,
)
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags
from npsubpix._definitions.spot_models import Model

__all__ = ["ESTIMATOR_CODES", "PADDED", "finisher_of", "fit_kernel"]

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


def _fitter(model: Model, functions: SpotFunctions, algebra: LinearAlgebra) -> Callable[..., Any]:
    """Make the function that fits one spot.

    It returns flags, the number of iterations and how many parameters are free, and leaves the parameters and the
    information matrix in memory, and the lines of before the last step, with the parameters of then. `which` of the
    starts of a model it takes, or -1 for the parameters that are kept in memory.
    """
    equations, has_curves = equations_of(model, functions, algebra), model.has_curves
    write, turn = equations.write, equations.turn
    factor, forward, backward = algebra.factor, algebra.forward, algebra.backward
    move, direction, begin_shape = mover_of(model), direction_of(model, algebra), shape_start_of(model, functions)
    axes, count = model.axes, model.parameters
    width_of_axis, has_starts = model.width_of_axis, model.starts > 1
    last = count - 1

    @device
    def fit(data, spread, least_spread, start, sigma, constants, which, box, padded, options, memory):
        small, square, _, _, pixels_of_box, _ = memory
        parameters, gradient, steps, moments, before_step = small[0], small[1], small[2], small[3], small[4]
        held = small[5]
        matrix, lower = square[0], square[1]
        places = pixels_of_box[4:]
        estimator, n_iters, stop, whole = options
        likelihood = estimator == _MLE
        pixels, level, size = summarize(data, spread, box, padded, likelihood)
        degrees = pixels - count
        if degrees <= 0:
            return _SINGULAR, 0, count
        scale = begin(
            parameters[:count], moments, start, sigma, data, spread, box, places, axes, width_of_axis, likelihood,
            whole, level, size,
        )  # fmt: skip
        if scale == 0.0:
            return _SINGULAR, 0, count
        begin_shape(parameters, data, spread, sigma, constants, which, box, padded, likelihood, memory)
        if has_starts and which < 0:
            copy_to(parameters, small[6])
        least = FIT_LEAST_BACKGROUND - least_spread if likelihood else -math.inf
        parameters[last] = max(parameters[last], least)
        damping, before, used, turned_before = 0.0, 0.0, count, False
        alike = has_curves and not likelihood and is_alike(spread, box)
        for n in range(n_iters):
            chi2 = write(parameters, sigma, constants, box, padded, data, spread, likelihood, alike, memory)
            regular, used, decrement, holds = direction(
                parameters, matrix, lower, gradient, steps, held, constants, least
            )
            if not regular:
                return _SINGULAR, n + 1, used
            variance = 1.0
            if estimator == _LSQ:
                variance = chi2 / degrees
            flux = parameters[axes]
            limit = stop * variance + FIT_RELATIVE_STOP * flux * flux * matrix[axes, axes]
            turned = has_curves and not likelihood and n > 0 and damping == 0.0 and turn(square, gradient, steps)
            falls = decrement * decrement <= limit * before and decrement <= FIT_NEARLY * limit
            if turned and turned_before and decrement <= FIT_NEARLY_CURVED * limit:
                falls = falls or decrement * decrement * decrement <= FIT_CAUTION * limit * before * before
            ends = decrement <= limit or (falls and damping == 0.0)
            if not ends:
                # damped steps contract slowly where parameters are correlated, without being too long
                if n > 0 and decrement > (FIT_CONTRACTION if damping == 0.0 else 1.0) * before:
                    damping = max(damping * 4.0, FIT_DAMPING)
                else:
                    damping *= FIT_EASING
                damping = 0.0 if damping < 0.1 * FIT_DAMPING else damping
                before = decrement
                if damping > 0.0:
                    if not factor(lower, matrix, damping):
                        return _SINGULAR, n + 1, used
                    forward(steps, lower, gradient, used)
                    turned = False
            if not turned:
                backward(steps, lower, used)
            turned_before = turned
            for k in range(used, count):
                steps[k] = 0.0
            copy_to(before_step, parameters)
            move(parameters, steps, constants, box, least)
            if not math.isfinite(decrement):
                return _SINGULAR, n + 1, used
            if parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * scale:
                return _NEGATIVE_FLUX, n + 1, used
            for a in range(axes):
                if not -1.0 <= parameters[a] <= box[3 - axes + a]:
                    return _TOO_FAR, n + 1, used
            if ends:
                return (_AT_BOUND if used < count or holds else 0), n + 1, used
        return _NOT_CONVERGED, n_iters, used

    return fit


def finisher_of(model: Model, functions: SpotFunctions, algebra: LinearAlgebra) -> Callable[..., Any]:
    """Make the function that writes the row of a fit, in the coordinates of its box; it returns flags."""
    means, width_along = functions.means, functions.width
    residual_moments = residual_moments_of(model, functions.add_rows, algebra)
    invert = algebra.invert
    axes, count, first, end = model.axes, model.parameters, model.axes + 1, model.axes + 1 + model.widths
    last, is_product = count - 1, model.has_curves and not model.plane

    @device
    def placed(parameters):
        """Return the position along z, y and x."""
        return (parameters[0] if axes == 3 else 0.0), parameters[axes - 2], parameters[axes - 1]

    @device
    def widths(parameters, sigma, constants):
        """Return the widths along z, y and x."""
        return (
            width_along(parameters, sigma, constants, 0),
            width_along(parameters, sigma, constants, axes - 2),
            width_along(parameters, sigma, constants, axes - 1),
        )

    @device
    def measure(memory, data, spread, sigma, constants, box, padded, estimator, used, moments, whole):
        """Write the covariance of parameters; return reduced chi2, the likelihood and whether the fit is poor.

        The factors of the information are those of the last step.
        """
        small, square, lines, edges, pixels, sums = memory
        parameters, steps = small[4], small[2]
        lower, covariance = square[1], square[2]
        mean, weights, residuals, signals = pixels[0], pixels[1], pixels[2], pixels[3]
        means(mean, parameters, box, padded, lines)
        chi2 = compare(weights, residuals, data, mean, spread, estimator == _MLE)
        if estimator != _MLE:  # what the last step gains
            for k in range(used):
                chi2 = max(chi2 - small[1, k] * steps[k], 0.0)
        degrees = -count
        for k in range(weights.size):
            degrees += weights[k] > 0.0
        invert(covariance, lower, steps, used)
        for k in range(first, end):
            if small[5, k] > 0.0:  # held at a limit
                covariance[k, k] = 0.0
        background, alike = parameters[last], False
        if estimator == _MLE:
            ratio = likelihood_ratio(data, mean, spread)
        elif estimator == _WLS:
            ratio = -0.5 * chi2
        else:
            used_pixels = degrees + count
            alike = is_product and is_alike(spread, box)
            ratio = -0.5 * used_pixels * math.log(chi2 / used_pixels) if chi2 > 0.0 else math.inf
            residual_moments(
                moments, data, weights, residuals, mean, signals, parameters, box, padded, background, whole, alike,
                memory,
            )  # fmt: skip
        poor = is_poor(chi2, degrees, weights, residuals, data, mean, background, box, padded, estimator == _LSQ)
        if not poor:
            poor = is_misshapen(
                weights, residuals, mean, signals, edges, sums, background, placed(parameters),
                widths(parameters, sigma, constants), box, padded, degrees, estimator == _LSQ, alike, lines,
                parameters[axes],
            )  # fmt: skip
        return chi2 / degrees, ratio, poor

    @device
    def finish(
        row, moments, memory, data, spread, start, sigma, constants, box, padded, estimator, max_shift, used, table, n,
        whole,
    ):  # fmt: skip
        parameters, held, covariance = memory[0][0], memory[0][5], memory[1][2]
        flag = 0
        for a in range(axes):
            if not abs(parameters[a] - start[a]) <= max_shift:
                return _TOO_FAR
        chi2, ratio, poor = measure(
            memory, data, spread, sigma, constants, box, padded, estimator, used, moments, whole
        )
        if poor:
            flag |= _POOR_FIT
        for a in range(count):
            row[a] = parameters[a]
            row[count + a] = max(covariance[a, a], 0.0) if a < used and held[a] == 0.0 else math.nan
        least = math.inf
        for a in range(axes):
            width = width_along(parameters, sigma, constants, a)
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
    functions, algebra = spot_functions(model), linear_algebra_of(model.parameters)
    fit, finish = _fitter(model, functions, algebra), finisher_of(model, functions, algebra)
    best_of = chooser_of(model, functions, fit)
    axes, count, sums = model.axes, model.parameters, BLOCK * sums_of(model)
    few, many_lines, by_pixel = max(count, 8), functions.lines, functions.by_pixel

    @allocating
    def divide(memory, size, edges_of_axes):
        """Divide memory into the arrays of a fit."""
        small = shaped(memory[: 7 * few], (7, few))
        at = 7 * few
        square = shaped(memory[at : at + 4 * count * count], (4, count, count))
        at += 4 * count * count
        length = size if by_pixel else edges_of_axes
        lines = shaped(memory[at : at + many_lines * length], (many_lines, length))
        at += many_lines * length
        own = 5 * edges_of_axes + BLOCK + curve_edges(edges_of_axes)
        edges = memory[at : at + own]
        at += own
        pixels = shaped(memory[at : at + 7 * size], (7, size))
        at += 7 * size
        return small, square, lines, edges, pixels, memory[at : at + sums]

    @device
    def copy_covariance(out, square, held, used):
        """Copy the covariance, and that if pixels had their signal as variance; parameters at a limit have none."""
        for a in range(count):
            for b in range(count):
                free = max(a, b) < used and held[a] == 0.0 and held[b] == 0.0
                out[0, a, b] = square[2, a, b] if free else math.nan
                out[1, a, b] = square[3, a, b]

    @device
    def reject(row, start, origin):
        row[:] = math.nan
        for a in range(axes):
            row[a] = origin[a] + start[a]

    @kernel(f"fit_{model.name}")
    def fit_kernel(
        data, spread, least, starts, origins, first, keys, order, places, own_keys, shape, sigma, constants, box,
        padded, options, max_shift, rows, moments, matrices, flags, n_iters,
    ):  # fmt: skip
        """Fit spots, the first of which is row `first` of the table of neighbours.

        `flags` come with those of their boxes, and spots that these reject are not fitted. A row has the parameters,
        their variances, the widths of all axes, chi2 and the likelihood. Variances of least squares are those for
        noise of variance 1; the moments of residuals tell what the noise is.
        """
        size = data.shape[1]
        edges_of_axes = edges_before_x(box, axes) + edges_of(box[2])
        length = size if by_pixel else edges_of_axes
        need = 7 * few + 4 * count * count + many_lines * length + 5 * edges_of_axes + BLOCK + 7 * size + sums
        need += curve_edges(edges_of_axes)
        for c in prange((flags.size + _CHUNK - 1) // _CHUNK):
            table = keys, order, places, own_keys, shape
            own = np.zeros(need)
            memory = divide(lend(own), size, edges_of_axes)
            places_of_pixels(memory[4][4:], box, padded)
            pixels, variances, begins, results = lend(data), lend(spread), lend(starts), lend(rows)
            residuals, covariances, numbers = lend(moments), lend(matrices), lend(constants)
            for n in range(c * _CHUNK, min((c + 1) * _CHUNK, flags.size)):
                row, start = results[n], begins[n]
                flag, n_iters[n], used = flags[n], 0, count
                if flag & _REJECTED == 0:
                    found, n_iters[n], used = best_of(
                        pixels[n], variances[n], least[n], start, sigma, numbers, box, padded, options, max_shift,
                        memory,
                    )  # fmt: skip
                    flag |= found
                if flag & _REJECTED == 0:
                    flag |= finish(
                        row, residuals[n], memory, pixels[n], variances[n], start, sigma, numbers, box, padded,
                        options[0], max_shift, used, table, first + n, covariances.shape[0] > 0,
                    )  # fmt: skip
                if covariances.shape[0] > 0 and flag & _REJECTED == 0:
                    copy_covariance(covariances[n], memory[1], memory[0][5], used)
                if flag & _REJECTED:
                    flag &= ~(_POOR_FIT | _AT_BOUND)  # of a fit that does not count
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
            keep(matrices)
            keep(constants)

    return fit_kernel
