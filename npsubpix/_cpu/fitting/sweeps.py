"""Sweeps over spots and their neighbours: one step of one after the other, until none moves.

`_definitions/crowds.py` has the equations. With the light of neighbours taken from the data of a box, and added to the
read variances of a likelihood, a step is that of a fit of the spot alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, kernel, made_once, summing
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.errors import residual_moments_of
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.linear import backward, factor, forward, unpack
from npsubpix._cpu.fitting.overlaps import light_of, sum_neighbours
from npsubpix._cpu.fitting.rows import sums_of
from npsubpix._cpu.fitting.shape_starts import misfit, shape_start_of
from npsubpix._cpu.fitting.solver import ESTIMATOR_CODES, finisher_of
from npsubpix._cpu.fitting.spot_models import spot_functions
from npsubpix._cpu.fitting.starts import summarize
from npsubpix._cpu.fitting.steps import direction_of, mover_of
from npsubpix._definitions.constants import (
    FIT_DAMPING,
    FIT_EASING,
    FIT_EQUAL,
    FIT_LEAP_ALIGNED,
    FIT_LEAP_LEAST,
    FIT_LEAP_RATIO,
    FIT_LEAP_SWEEPS,
    FIT_LEAST_BACKGROUND,
    FIT_LEAST_FLUX,
    FIT_LINEAR_SWEEPS,
    FIT_RELATIVE_STOP,
    FIT_SWEEP_CHANGE,
    FIT_SWEEP_GROWTH,
    FIT_SWEEP_MOVING,
    FIT_SWEEP_STEP,
    FIT_SWEEP_STOP,
)
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags
from npsubpix._definitions.spot_models import Model

__all__ = ["STATES", "sweep_kernel"]

_REJECTED = int(FIT_REJECTED)
_NOT_CONVERGED = int(FitFlags.NOT_CONVERGED)
_AT_BOUND = int(FitFlags.AT_BOUND)
_SINGULAR = int(FitFlags.SINGULAR)
_NEGATIVE_FLUX = int(FitFlags.NEGATIVE_FLUX)
_TOO_FAR = int(FitFlags.TOO_FAR)
_POOR_FIT = int(FitFlags.POOR_FIT)
_MLE, _LSQ = ESTIMATOR_CODES["mle"], ESTIMATOR_CODES["lsq"]

#: State of a spot: damping, the last Newton decrement, free parameters, least background, scale of the flux, degrees
#: of freedom, and the variance of its residuals.
STATES = 7
_DAMPING, _BEFORE, _USED, _LEAST, _SCALE, _DEGREES, _VARIANCE = range(STATES)

#: Whether a spot takes a step: no, if neighbours have moved much, or in any case.
_RESTS, _LOOKS, _MOVES = 0, 1, 2


@device
def _amplitude(data, spread, mean, level, box, padded, likelihood, reach):
    """Return the flux of the pixels around the central one, by least squares, and the magnitudes of their sum."""
    top, bottom, size = 0.0, 0.0, 0.0
    z, y, x = (box[0] - 1) // 2, (box[1] - 1) // 2, (box[2] - 1) // 2
    for d in range(max(0, z - reach), min(box[0], z + reach + 1)):
        for j in range(max(0, y - reach), min(box[1], y + reach + 1)):
            for i in range(max(0, x - reach), min(box[2], x + reach + 1)):
                k = (d * box[1] + j) * padded + i
                if spread[k] < math.inf if likelihood else spread[k] > 0.0:
                    top += mean[k] * (data[k] - level)
                    bottom += mean[k] * mean[k]
                    size += abs(data[k] - level)
    return (top / bottom if bottom > 0.0 else 0.0), size


@summing
def _change(others, seen, data, spread, variance, likelihood):
    """Return the squared change of the light of neighbours, in units of the variances of pixels."""
    total = 0.0
    for k in range(others.size):
        difference = others[k] - seen[k]
        known = data[k] + spread[k]
        weight = 1.0 / (known if known > 1.0 else 1.0) if likelihood else spread[k] / variance
        total += weight * difference * difference
    return total


def _starter(model: Model, functions: SpotFunctions) -> Callable[..., Any]:
    """Make the function that writes where a spot begins: the flux of its brightest pixels, and the usual width."""
    write, means, begin_shape = functions.write, functions.means, shape_start_of(model, functions)
    axes, count, starts = model.axes, model.parameters, model.starts
    width_of_axis, last = model.width_of_axis, model.parameters - 1

    @device
    def begin(parameters, state, data, spread, least_spread, start, sigma, constants, box, padded, likelihood, memory):
        _, _, lines, edges, pixels, _ = memory
        many, level, size = summarize(data, spread, box, padded, likelihood)
        state[:] = 0.0
        state[_BEFORE], state[_USED], state[_DEGREES], state[_VARIANCE] = math.inf, count, many - count, 1.0
        if many <= count:
            return _SINGULAR
        parameters[:] = 0.0
        parameters[axes] = 1.0
        for a in range(axes):
            parameters[a] = start[a]
            k = width_of_axis[a]
            if k >= 0:
                parameters[k] = sigma[a] if sigma[a] > 0.0 else (box[3 - axes + a] - 1) / 6.0
        best, least_misfit = 0, math.inf
        for which in range(starts + (starts > 1)):
            own = which if which < starts else best
            begin_shape(parameters, data, spread, sigma, constants, own, box, padded, likelihood, memory)
            write(parameters, sigma, constants, box, padded, lines, edges)
            pixels[0, :] = 0.0
            means(pixels[0], parameters, box, padded, lines)
            if starts > 1:
                found = misfit(data, spread, pixels[0], likelihood)
                if found < least_misfit:
                    best, least_misfit = own, found
        flux, inner = _amplitude(data, spread, pixels[0], level, box, padded, likelihood, 1)
        if not inner > FIT_EQUAL * size:  # as where the central pixels are masked
            flux, inner = _amplitude(data, spread, pixels[0], level, box, padded, likelihood, data.size)
        if not inner > FIT_EQUAL * size:
            return _SINGULAR
        flux = max(flux, FIT_LEAST_FLUX * inner)
        least = FIT_LEAST_BACKGROUND - least_spread if likelihood else -math.inf
        parameters[axes], parameters[last] = flux, max(level, least)
        state[_LEAST], state[_SCALE] = least, flux
        return 0

    return begin


def _stepper(model: Model, functions: SpotFunctions) -> Callable[..., Any]:
    """Make the function that takes one step of a spot; it returns flags, and whether the spot still moves."""
    write, add_rows, move, direction = functions.write, functions.add_rows, mover_of(model), direction_of(model)
    axes, count = model.axes, model.parameters
    background = axes + 1 + model.widths

    @device
    def step(parameters, state, history, data, spread, sigma, constants, box, padded, estimator, linear, memory):
        small, square, lines, edges, _, sums = memory
        gradient, steps, before = small[1], small[2], small[3]
        matrix, lower = square[0], square[1]
        least = state[_LEAST]
        write(parameters, sigma, constants, box, padded, lines, edges)
        add_rows(sums, parameters, box, padded, lines, data, spread, estimator == _MLE)
        chi2 = unpack(matrix, gradient, sums, count)
        if linear:
            for a in range(background):
                if a != axes:
                    for b in range(count):
                        matrix[max(a, b), min(a, b)] = 1.0 if a == b else 0.0
                    gradient[a] = 0.0
        regular, used, decrement, _ = direction(
            parameters, matrix, lower, gradient, steps, small[5], constants, least
        )
        if not regular or not math.isfinite(decrement):
            return _SINGULAR, _MOVES
        if estimator == _LSQ:
            state[_VARIANCE] = max(chi2 / state[_DEGREES], 1e-300)
        flux = parameters[axes]
        ends = decrement <= FIT_SWEEP_STOP * state[_VARIANCE] + FIT_RELATIVE_STOP * flux * flux * matrix[axes, axes]
        damping = state[_DAMPING]
        if not ends and not linear:
            if decrement > FIT_SWEEP_GROWTH * state[_BEFORE]:
                damping = max(damping * 4.0, FIT_DAMPING)
            else:
                damping *= FIT_EASING
            damping = 0.0 if damping < 0.1 * FIT_DAMPING else damping
            state[_BEFORE], state[_DAMPING] = decrement, damping
            if damping > 0.0:
                if not factor(lower, matrix, used, damping):
                    return _SINGULAR, _MOVES
                forward(steps, lower, gradient, used)
        backward(steps, lower, used)
        for k in range(used, count):
            steps[k] = 0.0
        for a in range(count):
            before[a] = parameters[a]
        move(parameters, steps, constants, box, least)
        for a in range(count):
            history[0, a], history[1, a], history[2, a] = parameters[a] - before[a], history[0, a], matrix[a, a]
        if parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * state[_SCALE]:
            return _NEGATIVE_FLUX, _MOVES
        furthest = 0.0
        for a in range(axes):
            if not -1.0 <= parameters[a] <= box[3 - axes + a]:
                return _TOO_FAR, _MOVES
            furthest = max(furthest, abs(parameters[a] - before[a]))
        return 0, _RESTS if ends and not linear and furthest < FIT_SWEEP_STEP else _MOVES

    return step


@device
def is_moving(state):
    """Whether the last step was a considerable part of the standard errors."""
    return state[_BEFORE] > FIT_SWEEP_MOVING * state[_VARIANCE]


def _leaper(model: Model) -> Callable[..., Any]:
    """Make the function that takes a spot further along its last steps, if these shrink in a constant ratio."""
    move, count = mover_of(model), model.parameters

    @device
    def leap(parameters, state, history, constants, box, memory):
        steps, product, square, before = memory[0][2], 0.0, 0.0, 0.0
        for a in range(count):
            product += history[2, a] * history[0, a] * history[1, a]
            square += history[2, a] * history[0, a] * history[0, a]
            before += history[2, a] * history[1, a] * history[1, a]
        if not product * product > FIT_LEAP_ALIGNED * square * before:
            return False
        ratio = min(product / before, FIT_LEAP_RATIO)
        if not ratio > FIT_LEAP_LEAST:
            return False
        for a in range(count):
            steps[a] = ratio / (1.0 - ratio) * history[0, a]
        move(parameters, steps, constants, box, state[_LEAST])
        return True

    return leap


@made_once
def sweep_kernel(model: Model) -> Kernel:
    """Return the kernel that fits spots together with their neighbours."""
    functions = spot_functions(model)
    write, add_rows, direction = functions.write, functions.add_rows, direction_of(model)
    begin, step, leap = _starter(model, functions), _stepper(model, functions), _leaper(model)
    light_of_spot, finish = light_of(model, functions), finisher_of(model, functions)
    residual_moments = residual_moments_of(model, add_rows)
    axes, count, sums, last = model.axes, model.parameters, BLOCK * sums_of(model), model.parameters - 1
    few, many_lines, by_pixel = max(count, 8), functions.lines, functions.by_pixel

    @device
    def divide(memory, size, wide_size, longest):
        """Divide memory into the arrays of a fit, and those of the light of a spot."""
        small = memory[: 8 * few].reshape(8, few)
        at = 8 * few
        square = memory[at : at + 4 * count * count].reshape(4, count, count)
        at += 4 * count * count
        length = wide_size if by_pixel else longest
        lines = memory[at : at + many_lines * length].reshape(many_lines, length)
        at += many_lines * length
        edges = memory[at : at + 3 * (longest + BLOCK)].reshape(3, longest + BLOCK)
        at += 3 * (longest + BLOCK)
        pixels = memory[at : at + 10 * size].reshape(10, size)
        at += 10 * size
        return (small, square, lines, edges, pixels, memory[at : at + sums]), (small[7], lines, edges)

    @device
    def without_neighbours(data, spread, memory, likelihood):
        """Take the light of neighbours from the data of a box; it adds to variances."""
        others, own, own_spread = memory[4][7], memory[4][8], memory[4][9]
        for k in range(others.size):
            own[k] = data[k] - others[k]
            own_spread[k] = spread[k] + others[k] if likelihood else spread[k]
        return own, own_spread

    @device
    def write_row(
        row, moments, covariance, parameters, state, data, spread, start, sigma, constants, box, padded, estimator,
        max_shift, table, n, memory,
    ):  # fmt: skip
        """Write the row of a spot that does not move, with the errors of a fit that knows the others; return flags.

        Its weights and signals replace its data and read variances.
        """
        small, square, lines, edges, pixels, sums = memory
        likelihood = estimator == _MLE
        own, own_spread = without_neighbours(data, spread, memory, likelihood)
        small[0, :count] = parameters
        small[4, :count] = parameters
        write(parameters, sigma, constants, box, padded, lines, edges)
        add_rows(sums, parameters, box, padded, lines, own, own_spread, likelihood)
        unpack(square[0], small[1], sums, count)
        regular, used, _, holds = direction(
            parameters, square[0], square[1], small[1], small[2], small[5], constants, state[_LEAST]
        )
        if not regular:
            return _SINGULAR
        flag = finish(
            row, moments, memory, own, own_spread, start, sigma, constants, box, padded, estimator, max_shift, used,
            table, n,
        )  # fmt: skip
        if flag & _REJECTED:
            return flag
        mean, weights, residuals, signals, others = pixels[0], pixels[1], pixels[2], pixels[3], pixels[7]
        if estimator == _LSQ:  # noise grows with the light of neighbours too
            for k in range(mean.size):
                mean[k] += others[k]
            residual_moments(
                moments, own, weights, residuals, mean, signals, parameters, box, padded, parameters[last], memory
            )
        for k in range(mean.size):
            data[k] = weights[k]
            spread[k] = max(mean[k] - parameters[last], 0.0)
        for a in range(count):
            for b in range(count):
                free = max(a, b) < used and small[5, a] == 0.0 and small[5, b] == 0.0
                covariance[0, a, b] = square[2, a, b] if free else 0.0
                covariance[1, a, b] = square[3, a, b] if free and estimator == _LSQ else 0.0
        return flag | (_AT_BOUND if used < count or holds else 0)

    @kernel(f"fit_sweeps_{model.name}")
    def sweep_kernel(
        data, spread, least, starts, corners, first, keys, order, places, own_keys, shape, sigma, constants, box,
        padded, estimator, n_sweeps, max_shift, margins, wide, wide_padded, offsets, neighbours, groups, tasks, light,
        parameters, states, histories, seen, moving, rows, moments, covariances, flags, n_iters,
    ):  # fmt: skip
        """Fit spots group by group; `tasks` are the first groups of pieces of work. See `fit_kernel`."""
        size, likelihood = data.shape[1], estimator == _MLE
        longest = max(wide[0], wide[1], wide_padded)
        lengths = light.shape[1] if by_pixel else longest
        need = 8 * few + 4 * count * count + many_lines * lengths + 3 * (longest + BLOCK) + 10 * size + sums
        for task in prange(tasks.size - 1):
            table = keys, order, places, own_keys, shape
            own = np.zeros(need)
            memory, lamp = divide(lend(own), size, light.shape[1], longest)
            others = memory[4][7]
            pixels, variances, begins, results, lights = lend(data), lend(spread), lend(starts), lend(rows), lend(light)
            numbers, spots, state, residuals = lend(constants), lend(parameters), lend(states), lend(moments)
            matrices, linked, ends, places_of_boxes = lend(covariances), lend(neighbours), lend(offsets), lend(corners)
            moves, past, views = lend(moving), lend(histories), lend(seen)
            for group in range(tasks[task], tasks[task + 1]):
                low, high = groups[group], groups[group + 1]
                for n in range(low, high):
                    if flags[n] & _REJECTED == 0:
                        flags[n] |= begin(
                            spots[n], state[n], pixels[n], variances[n], least[n], begins[n], sigma, numbers, box,
                            padded, likelihood, memory,
                        )  # fmt: skip
                    moves[0, n] = moves[1, n] = _MOVES if flags[n] & _REJECTED == 0 else _RESTS
                    lights[n, :], past[n] = 0.0, 0.0
                    if moves[0, n] == _MOVES:
                        light_of_spot(lights[n], spots[n], margins, sigma, numbers, wide, wide_padded, lamp)
                active = True
                for sweep in range(n_sweeps):
                    linear = sweep < FIT_LINEAR_SWEEPS
                    for n in range(low, high):
                        if moves[0, n] == _RESTS:
                            continue
                        sum_neighbours(
                            others, lights, wide, wide_padded, places_of_boxes, n, box, padded, margins, ends, linked
                        )
                        if moves[0, n] == _LOOKS and FIT_SWEEP_CHANGE >= _change(
                            others, views[n], pixels[n], variances[n], state[n, _VARIANCE], likelihood
                        ):
                            continue
                        views[n] = others
                        near, near_spread = without_neighbours(pixels[n], variances[n], memory, likelihood)
                        found, moves[1, n] = step(
                            spots[n], state[n], past[n], near, near_spread, sigma, numbers, box, padded, estimator,
                            linear, memory,
                        )  # fmt: skip
                        for a in range(axes):
                            if moves[1, n] == _RESTS and not abs(spots[n, a] - begins[n, a]) <= max_shift:
                                found, moves[1, n] = _TOO_FAR, _MOVES
                        n_iters[n] += 1
                        if found:  # it leaves the frame, and its neighbours have to move
                            flags[n] |= found
                            lights[n, :] = 0.0
                        else:
                            light_of_spot(lights[n], spots[n], margins, sigma, numbers, wide, wide_padded, lamp)
                    active = False
                    for n in range(low, high):
                        moves[0, n] = moves[1, n]
                        for k in range(ends[n], ends[n + 1]):
                            if moves[1, linked[k]] > moves[0, n]:
                                moves[0, n] = _LOOKS
                        if flags[n] & _REJECTED:
                            moves[0, n] = _RESTS
                        active = active or moves[0, n] > _RESTS
                    if not active or sweep + 1 == n_sweeps:
                        break
                    leaps = sweep > FIT_LINEAR_SWEEPS and (sweep - FIT_LINEAR_SWEEPS) % FIT_LEAP_SWEEPS == 0
                    for n in range(low, high):
                        if leaps and moves[0, n] == _MOVES and leap(spots[n], state[n], past[n], numbers, box, memory):
                            light_of_spot(lights[n], spots[n], margins, sigma, numbers, wide, wide_padded, lamp)
                        moves[1, n] = _RESTS
                for n in range(low, high):
                    if flags[n] & _REJECTED == 0 and active and moves[1, n] == _MOVES and is_moving(state[n]):
                        flags[n] |= _NOT_CONVERGED
                    matrices[n, :] = 0.0
                    if flags[n] & _REJECTED == 0:
                        sum_neighbours(
                            others, lights, wide, wide_padded, places_of_boxes, n, box, padded, margins, ends, linked
                        )
                        flags[n] |= write_row(
                            results[n], residuals[n], matrices[n], spots[n], state[n], pixels[n], variances[n],
                            begins[n], sigma, numbers, box, padded, estimator, max_shift, table, first + n, memory,
                        )  # fmt: skip
                    if flags[n] & _REJECTED:
                        flags[n] &= ~(_POOR_FIT | _AT_BOUND)
                        results[n, :] = math.nan
                        pixels[n, :] = 0.0
            keep(own)
            keep(data)
            keep(spread)
            keep(starts)
            keep(rows)
            keep(light)
            keep(constants)
            keep(parameters)
            keep(states)
            keep(moments)
            keep(covariances)
            keep(neighbours)
            keep(offsets)
            keep(corners)
            keep(moving)
            keep(histories)
            keep(seen)

    return sweep_kernel
