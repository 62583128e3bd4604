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

from npsubpix._cpu.compiler.intrinsics import copy_to, keep, lend, shaped
from npsubpix._cpu.compiler.jit import Kernel, allocating, device, kernel, made_once
from npsubpix._cpu.fitting.contract import SpotFunctions
from npsubpix._cpu.fitting.crowded_starts import (
    BEFORE,
    DAMPING,
    DEGREES,
    LEAST,
    SCALE,
    VARIANCE,
    change,
    crowded_start_of,
)
from npsubpix._cpu.fitting.errors import residual_moments_of
from npsubpix._cpu.fitting.gaussian import BLOCK, edges_before_x, edges_of
from npsubpix._cpu.fitting.linear import LinearAlgebra, linear_algebra_of
from npsubpix._cpu.fitting.overlaps import light_of, sum_neighbours
from npsubpix._cpu.fitting.solver import ESTIMATOR_CODES, finisher_of
from npsubpix._cpu.fitting.spot_models import spot_functions
from npsubpix._cpu.fitting.steps import direction_of, mover_of
from npsubpix._cpu.fitting.sums import sums_of
from npsubpix._definitions.constants import (
    FIT_DAMPING,
    FIT_EASING,
    FIT_LEAP_ALIGNED,
    FIT_LEAP_LEAST,
    FIT_LEAP_RATIO,
    FIT_LEAP_SWEEPS,
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

__all__ = ["sweep_kernel"]

_REJECTED = int(FIT_REJECTED)
_NOT_CONVERGED = int(FitFlags.NOT_CONVERGED)
_AT_BOUND = int(FitFlags.AT_BOUND)
_SINGULAR = int(FitFlags.SINGULAR)
_NEGATIVE_FLUX = int(FitFlags.NEGATIVE_FLUX)
_TOO_FAR = int(FitFlags.TOO_FAR)
_POOR_FIT = int(FitFlags.POOR_FIT)
_MLE, _LSQ = ESTIMATOR_CODES["mle"], ESTIMATOR_CODES["lsq"]

#: Whether a spot takes a step: no, if neighbours have moved much, or in any case.
_RESTS, _LOOKS, _MOVES = 0, 1, 2


def _stepper(model: Model, functions: SpotFunctions, algebra: LinearAlgebra) -> Callable[..., Any]:
    """Make the function that takes one step of a spot; it returns flags, and whether the spot still moves."""
    write, add_rows, move, direction = (
        functions.write,
        functions.add_rows,
        mover_of(model),
        direction_of(model, algebra),
    )
    unpack, factor, forward, backward = algebra.unpack, algebra.factor, algebra.forward, algebra.backward
    axes, count = model.axes, model.parameters
    background = axes + 1 + model.widths

    @device
    def step(parameters, state, history, data, spread, sigma, constants, box, padded, estimator, linear, memory):
        small, square, lines, edges, _, sums = memory
        gradient, steps, before = small[1], small[2], small[3]
        matrix, lower = square[0], square[1]
        least = state[LEAST]
        write(parameters, sigma, constants, box, padded, lines, edges)
        add_rows(sums, parameters, box, padded, lines, data, spread, estimator == _MLE)
        chi2 = unpack(matrix, gradient, sums)
        if linear:
            for a in range(background):
                if a != axes:
                    for b in range(count):
                        matrix[max(a, b), min(a, b)] = 1.0 if a == b else 0.0
                    gradient[a] = 0.0
        regular, used, decrement, _ = direction(parameters, matrix, lower, gradient, steps, small[5], constants, least)
        if not regular or not math.isfinite(decrement):
            return _SINGULAR, _MOVES
        if estimator == _LSQ:
            state[VARIANCE] = max(chi2 / state[DEGREES], 1e-300)
        flux = parameters[axes]
        ends = decrement <= FIT_SWEEP_STOP * state[VARIANCE] + FIT_RELATIVE_STOP * flux * flux * matrix[axes, axes]
        damping = state[DAMPING]
        if not ends and not linear:
            if decrement > FIT_SWEEP_GROWTH * state[BEFORE]:
                damping = max(damping * 4.0, FIT_DAMPING)
            else:
                damping *= FIT_EASING
            damping = 0.0 if damping < 0.1 * FIT_DAMPING else damping
            state[BEFORE], state[DAMPING] = decrement, damping
            if damping > 0.0:
                if not factor(lower, matrix, damping):
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
        if parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * state[SCALE]:
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
    return state[BEFORE] > FIT_SWEEP_MOVING * state[VARIANCE]


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
        move(parameters, steps, constants, box, state[LEAST])
        return True

    return leap


@made_once
def sweep_kernel(model: Model) -> Kernel:
    """Return the kernel that fits spots together with their neighbours."""
    functions, algebra = spot_functions(model), linear_algebra_of(model.parameters)
    write, add_rows, direction = functions.write, functions.add_rows, direction_of(model, algebra)
    begin, step, leap = crowded_start_of(model, functions), _stepper(model, functions, algebra), _leaper(model)
    light_of_spot, finish = light_of(model, functions), finisher_of(model, functions, algebra)
    residual_moments, unpack = residual_moments_of(model, add_rows, algebra), algebra.unpack
    axes, count, sums, last = model.axes, model.parameters, BLOCK * sums_of(model), model.parameters - 1
    few, many_lines, by_pixel = max(count, 8), functions.lines, functions.by_pixel

    @allocating
    def divide(memory, size, wide_size, box, wide):
        """Divide memory into the arrays of a fit, and those of the light of a spot, whose lines are the same memory."""
        small = shaped(memory[: 8 * few], (8, few))
        at = 8 * few
        square = shaped(memory[at : at + 4 * count * count], (4, count, count))
        at += 4 * count * count
        own, reached = edges_before_x(box, axes) + edges_of(box[2]), edges_before_x(wide, axes) + edges_of(wide[2])
        edges = memory[at : at + 5 * reached + BLOCK]
        at += 5 * reached + BLOCK
        pixels = shaped(memory[at : at + 10 * size], (10, size))
        at += 10 * size
        total = memory[at : at + sums]
        at += sums
        length, wide_length = (size, wide_size) if by_pixel else (own, reached)
        lines = shaped(memory[at : at + many_lines * length], (many_lines, length))
        wide_lines = shaped(memory[at : at + many_lines * wide_length], (many_lines, wide_length))
        return (small, square, lines, edges, pixels, total), (small[7], wide_lines, edges)

    @device
    def take_neighbours(data, spread, memory, likelihood):
        """Write the data of a box without the light of neighbours, and variances to which it adds."""
        others, own, own_spread = memory[4][7], memory[4][8], memory[4][9]
        for k in range(others.size):
            own[k] = data[k] - others[k]
            own_spread[k] = spread[k] + others[k] if likelihood else spread[k]

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
        take_neighbours(data, spread, memory, likelihood)
        own, own_spread = pixels[8], pixels[9]
        copy_to(small[0][:count], parameters)
        copy_to(small[4][:count], parameters)
        write(parameters, sigma, constants, box, padded, lines, edges)
        add_rows(sums, parameters, box, padded, lines, own, own_spread, likelihood)
        unpack(square[0], small[1], sums)
        regular, used, _, holds = direction(
            parameters, square[0], square[1], small[1], small[2], small[5], constants, state[LEAST]
        )
        if not regular:
            return _SINGULAR
        small[2][:] = 0.0  # it does not move
        flag = finish(
            row, moments, memory, own, own_spread, start, sigma, constants, box, padded, estimator, max_shift, used,
            table, n, True,
        )  # fmt: skip
        if flag & _REJECTED:
            return flag
        mean, weights, residuals, signals, others = pixels[0], pixels[1], pixels[2], pixels[3], pixels[7]
        if estimator == _LSQ:  # noise grows with the light of neighbours too
            for k in range(mean.size):
                mean[k] += others[k]
            residual_moments(
                moments,
                own,
                weights,
                residuals,
                mean,
                signals,
                parameters,
                box,
                padded,
                parameters[last],
                True,
                False,
                memory,
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
        reached = edges_before_x(wide, axes) + edges_of(wide[2])
        length = light.shape[1] if by_pixel else reached
        need = 8 * few + 4 * count * count + many_lines * length + 5 * reached + BLOCK + 10 * size + sums
        for task in prange(tasks.size - 1):
            table = keys, order, places, own_keys, shape
            own = np.zeros(need)
            memory, lamp = divide(lend(own), size, light.shape[1], box, wide)
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
                        if (
                            moves[0, n] == _LOOKS
                            and change(others, views[n], pixels[n], variances[n], state[n, VARIANCE], likelihood)
                            <= FIT_SWEEP_CHANGE
                        ):
                            continue
                        copy_to(views[n], others)
                        take_neighbours(pixels[n], variances[n], memory, likelihood)
                        found, moves[1, n] = step(
                            spots[n], state[n], past[n], memory[4][8], memory[4][9], sigma, numbers, box, padded,
                            estimator, linear, memory,
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
