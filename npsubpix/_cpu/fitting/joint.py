"""Standard errors of spots that are fitted together: see `_definitions/crowds.py`."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.intrinsics import keep, lend
from npsubpix._cpu.compiler.jit import Kernel, device, fused, kernel, made_once
from npsubpix._cpu.fitting.gaussian import BLOCK
from npsubpix._cpu.fitting.overlaps import derivatives_of
from npsubpix._cpu.fitting.spot_models import spot_functions
from npsubpix._definitions.constants import FIT_JOINT_COUPLING, FIT_JOINT_LIGHT, FIT_JOINT_PIVOT, FIT_JOINT_SPOTS
from npsubpix._definitions.spot_models import Model
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags

__all__ = ["coupling_kernel", "joint_kernel"]

_REJECTED = int(FIT_REJECTED)
_SINGULAR = int(FitFlags.SINGULAR)

#: Flags of a fit that does not count, where it is rejected.
_OF_FITS = int(FitFlags.POOR_FIT | FitFlags.AT_BOUND)

#: Spots that share scratch memory.
_CHUNK = 64


@device
def _scale(covariances, row, a):
    """Return the standard error of a parameter of a fit alone, 1 if it has none."""
    variance = covariances[row, 0, a, a]
    return math.sqrt(variance) if variance > 0.0 else 1.0


@fused
def _sandwich(out, left, middle, right, scratch, rows, inner, columns):
    """Write left times middle times right, the last two of `inner` rows and `columns` columns."""
    for a in range(rows):
        for b in range(columns):
            total = 0.0
            for k in range(inner):
                total += left[a, k] * middle[k, b]
            scratch[a, b] = total
    for a in range(rows):
        for b in range(columns):
            total = 0.0
            for k in range(columns):
                total += scratch[a, k] * right[k, b]
            out[a, b] = total


@device
def _light_in_box(weights, light, corners, n, m, box, padded, margins, wide, wide_padded):
    """Return the weighted squared light of a spot in the box of another."""
    total = 0.0
    z, y, x = (
        corners[n, 0] - corners[m, 0] + margins[0],
        corners[n, 1] - corners[m, 1] + margins[1],
        corners[n, 2] - corners[m, 2] + margins[2],
    )
    for d in range(max(0, -z), min(box[0], wide[0] - z)):
        for j in range(max(0, -y), min(box[1], wide[1] - y)):
            at = (d * box[1] + j) * padded
            there = ((d + z) * wide[1] + j + y) * wide_padded + x
            for i in range(max(0, -x), min(box[2], wide[2] - x)):
                total += weights[n, at + i] * light[m, there + i] * light[m, there + i]
    return total


@made_once
def coupling_kernel(model: Model) -> Kernel:
    """Return the kernel that measures how the errors of spots depend on those of their neighbours."""
    functions = spot_functions(model)
    derivatives, axes, count = derivatives_of(model, functions), model.axes, model.parameters
    many_lines, by_pixel = functions.lines, functions.by_pixel
    kept = axes + 1 + model.widths

    @fused
    def add_shared(matrices, own, other, weights, other_weights, signals, at, place, own_first, there, length, unweighted):
        for i in range(length):
            product = weights[at + i] * other_weights[place + i]
            if product > 0.0:
                weight = math.sqrt(product)
                signal = signals[at + i]
                for a in range(count):
                    scaled = weight * own[a, own_first + i]
                    for b in range(count):
                        term = scaled * other[b, there + i]
                        matrices[1, a, b] += term
                        if unweighted:
                            matrices[2, a, b] += signal * term

    @device
    def overlap(matrices, own, other, weights, signals, corners, n, m, box, padded, margins, wide, wide_padded, unweighted):
        """Write the sums over the pixels of a box that another spot reaches, and those that are in both boxes."""
        matrices[:3] = 0.0
        z, y, x = (
            corners[n, 0] - corners[m, 0],
            corners[n, 1] - corners[m, 1],
            corners[n, 2] - corners[m, 2],
        )
        first, last = max(0, -x - margins[2]), min(box[2], wide[2] - x - margins[2])
        inner, end = max(0, -x), min(box[2], box[2] - x)
        for d in range(max(0, -z - margins[0]), min(box[0], wide[0] - z - margins[0])):
            for j in range(max(0, -y - margins[1]), min(box[1], wide[1] - y - margins[1])):
                at = (d * box[1] + j) * padded
                mine = ((d + margins[0]) * wide[1] + j + margins[1]) * wide_padded + margins[2]
                there = ((d + z + margins[0]) * wide[1] + j + y + margins[1]) * wide_padded + x + margins[2]
                for i in range(first, last):
                    weight = weights[n, at + i]
                    if weight > 0.0:
                        for a in range(count):
                            scaled = weight * own[a, mine + i]
                            for b in range(kept):
                                matrices[0, a, b] += scaled * other[b, there + i]
                if 0 <= d + z < box[0] and 0 <= j + y < box[1] and inner < end:
                    place = ((d + z) * box[1] + j + y) * padded + x + inner
                    add_shared(
                        matrices, own, other, weights[n], weights[m], signals[n], at + inner, place, mine + inner,
                        there + inner, end - inner, unweighted,
                    )  # fmt: skip

    @kernel(f"fit_coupling_{model.name}")
    def coupling_kernel(
        weights, signals, light, corners, sigma, constants, box, padded, unweighted, margins, wide, wide_padded, wide_size,
        offsets, neighbours, parameters, covariances, flags, transfers, shared, strengths,
    ):  # fmt: skip
        """Write T and G, in units of the standard errors of fits alone, and the norms of T, for each neighbour."""
        longest = max(wide[0], wide[1], wide_padded)
        size = wide_size
        length = size if by_pixel else longest
        need = 2 * count * size + many_lines * length + 3 * (longest + BLOCK) + 7 * count * count + count
        for c in prange((flags.size + _CHUNK - 1) // _CHUNK):
            scratch = np.zeros(need)
            memory = lend(scratch)
            at = 2 * count * size
            slopes = memory[:at].reshape(2, count, size)
            lines = memory[at : at + many_lines * length].reshape(many_lines, length)
            at += many_lines * length
            edges = memory[at : at + 3 * (longest + BLOCK)].reshape(3, longest + BLOCK)
            at += 3 * (longest + BLOCK)
            matrices = memory[at : at + 7 * count * count].reshape(7, count, count)
            moved = memory[at + 7 * count * count :]
            weight, signal, place, spots = lend(weights), lend(signals), lend(corners), lend(parameters)
            lights = lend(light)
            inverse, numbers, linked = lend(covariances), lend(constants), lend(neighbours)
            out, both, norms = lend(transfers), lend(shared), lend(strengths)
            for n in range(c * _CHUNK, min((c + 1) * _CHUNK, flags.size)):
                if flags[n] & _REJECTED:
                    continue
                for a in range(count):
                    moved[a] = spots[n, a] + margins[3 - axes + a] if a < axes else spots[n, a]
                derivatives(slopes[0], moved, sigma, numbers, wide, wide_padded, lines, edges)
                for e in range(offsets[n], offsets[n + 1]):
                    m = linked[e]
                    norms[e] = 0.0
                    if flags[m] & _REJECTED:
                        continue
                    share = inverse[m, 0, axes, axes] / (spots[m, axes] * spots[m, axes])
                    if FIT_JOINT_LIGHT > share * _light_in_box(
                        weight, lights, place, n, m, box, padded, margins, wide, wide_padded
                    ):
                        continue
                    for a in range(count):
                        moved[a] = spots[m, a] + margins[3 - axes + a] if a < axes else spots[m, a]
                    derivatives(slopes[1], moved, sigma, numbers, wide, wide_padded, lines, edges)
                    overlap(
                        matrices, slopes[0], slopes[1], weight, signal, place, n, m, box, padded, margins, wide,
                        wide_padded, unweighted,
                    )  # fmt: skip
                    norm = 0.0
                    for a in range(count):
                        for b in range(kept):
                            total = 0.0
                            for k in range(count):
                                total += inverse[n, 0, a, k] * matrices[0, k, b]
                            total *= _scale(inverse, m, b) / _scale(inverse, n, a)
                            out[e, a, b] = total
                            norm += total * total
                    norms[e] = math.sqrt(norm)
                    for kind in range(2 if unweighted else 1):
                        _sandwich(
                            both[e, kind], inverse[n, 0], matrices[1 + kind], inverse[m, 0], matrices[3], count, count,
                            count,
                        )  # fmt: skip
                        for a in range(count):
                            for b in range(count):
                                both[e, kind, a, b] /= _scale(inverse, n, a) * _scale(inverse, m, b)
            keep(scratch)
            keep(weights)
            keep(signals)
            keep(light)
            keep(corners)
            keep(parameters)
            keep(covariances)
            keep(constants)
            keep(neighbours)
            keep(transfers)
            keep(shared)
            keep(strengths)

    return coupling_kernel


@device
def _edge(offsets, neighbours, n, m):
    """Return the place of a neighbour among those of a spot; -1 if it is none."""
    for e in range(offsets[n], offsets[n + 1]):
        if neighbours[e] == m:
            return e
    return -1


@device
def _gather(spots, offsets, neighbours, strengths, n):
    """Write the neighbours of a spot, and theirs, the most strongly coupled first; return how many there are.

    The spot itself is the last.
    """
    size = 1
    spots[0] = n
    for first, end in ((0, 1), (1, FIT_JOINT_SPOTS)):
        end = min(end, size)
        while size < FIT_JOINT_SPOTS:
            best, found = FIT_JOINT_COUPLING, -1
            for s in range(first, end):
                for e in range(offsets[spots[s]], offsets[spots[s] + 1]):
                    m = neighbours[e]
                    if strengths[e] * strengths[e] <= 0.0:
                        continue
                    strength = strengths[e] * strengths[_edge(offsets, neighbours, m, spots[s])]
                    if strength > best:
                        known = False
                        for k in range(size):
                            known = known or spots[k] == m
                        if not known:
                            best, found = strength, m
            if found < 0:
                break
            spots[size] = found
            size += 1
    spots[0], spots[size - 1] = spots[size - 1], n
    return size


@fused
def _solve(matrix, right, size, rows, own):
    """Solve matrix times x = each of some rows, in place; return whether the last `own` unknowns are determined.

    Unknowns that are not, of other spots, are 0.
    """
    determined = True
    for k in range(size):
        pivot = k
        for r in range(k + 1, size):
            if abs(matrix[r, k]) > abs(matrix[pivot, k]):
                pivot = r
        if pivot != k:
            for b in range(size):
                matrix[k, b], matrix[pivot, b] = matrix[pivot, b], matrix[k, b]
            for a in range(rows):
                right[a, k], right[a, pivot] = right[a, pivot], right[a, k]
        if not abs(matrix[k, k]) > FIT_JOINT_PIVOT:
            determined = determined and k < size - own
            matrix[k, k] = math.inf
        for r in range(k + 1, size):
            ratio = matrix[r, k] / matrix[k, k]
            if ratio != 0.0:
                for b in range(k + 1, size):
                    matrix[r, b] -= ratio * matrix[k, b]
                for a in range(rows):
                    right[a, r] -= ratio * right[a, k]
    for a in range(rows):
        for k in range(size - 1, -1, -1):
            total = right[a, k]
            for b in range(k + 1, size):
                total -= matrix[k, b] * right[a, b]
            right[a, k] = total / matrix[k, k]
    return determined


@kernel("fit_joint_errors")
def joint_kernel(
    offsets, neighbours, transfers, shared, strengths, covariances, kept, unweighted, rows, moments, matrices, flags
):
    """Replace the variances of spots that know their neighbours by those of fits together; flag those without."""
    count = covariances.shape[2]
    most = FIT_JOINT_SPOTS * kept
    variances_at, kinds = count, 2 if unweighted else 1
    for c in prange((flags.size + _CHUNK - 1) // _CHUNK):
        spots = np.zeros(FIT_JOINT_SPOTS, np.int64)
        system, errors = np.zeros((most, most)), np.zeros((most + 1, most + 1))
        solution, product = np.zeros((count, most)), np.zeros((count, most + 1))
        joint = np.zeros((2, count, count))
        for n in range(c * _CHUNK, min((c + 1) * _CHUNK, flags.size)):
            if flags[n] & _REJECTED:
                continue
            many = _gather(spots, offsets, neighbours, strengths, n)
            size = kept * many
            for s in range(many):
                for t in range(many):
                    e = _edge(offsets, neighbours, spots[s], spots[t]) if s != t else -1
                    for a in range(kept):
                        for b in range(kept):
                            value = 1.0 if s == t and a == b else 0.0
                            if e >= 0 and strengths[e] > 0.0:
                                value = transfers[e, a, b]
                            system[kept * t + b, kept * s + a] = value
            solution[:, :size] = 0.0
            for a in range(count):
                if a < kept:
                    solution[a, size - kept + a] = 1.0
                else:
                    for s in range(many - 1):
                        e = _edge(offsets, neighbours, n, spots[s])
                        if e >= 0 and strengths[e] > 0.0:
                            for b in range(kept):
                                solution[a, kept * s + b] = -transfers[e, a, b]
            determined = _solve(system, solution, size, count, kept)
            for kind in range(kinds):
                for s in range(many):
                    for t in range(many):
                        e = _edge(offsets, neighbours, spots[s], spots[t]) if s != t else -1
                        for a in range(kept):
                            for b in range(kept):
                                value = 0.0
                                if s == t:
                                    scale = _scale(covariances, spots[s], a) * _scale(covariances, spots[s], b)
                                    value = covariances[spots[s], kind, a, b] / scale
                                elif e >= 0 and strengths[e] > 0.0:
                                    value = shared[e, kind, a, b]
                                errors[kept * s + a, kept * t + b] = value
                for a in range(count):  # errors of the solution with those of all spots
                    for t in range(size):
                        total = 0.0
                        for k in range(size):
                            total += solution[a, k] * errors[k, t]
                        product[a, t] = total
                for a in range(count):
                    for b in range(count):
                        total = 0.0
                        for t in range(size):
                            total += product[a, t] * solution[b, t]
                        if a >= kept:  # the error of a background of its own
                            total += _with_background(
                                solution, b, kept, a, n, spots, many, kind, offsets, neighbours, strengths, shared,
                                covariances,
                            )  # fmt: skip
                        if b >= kept:
                            total += _with_background(
                                solution, a, kept, b, n, spots, many, kind, offsets, neighbours, strengths, shared,
                                covariances,
                            )  # fmt: skip
                        if a >= kept and b >= kept:
                            scale = _scale(covariances, n, a) * _scale(covariances, n, b)
                            total += covariances[n, kind, a, b] / scale
                        joint[kind, a, b] = total * _scale(covariances, n, a) * _scale(covariances, n, b)
            for a in range(count):
                determined = determined and 0.0 <= joint[0, a, a] < math.inf
            if not determined:
                flags[n] = (flags[n] & ~_OF_FITS) | _SINGULAR
                rows[n, :] = math.nan
                for a in range(moments.shape[1] if unweighted else 0):
                    moments[n, a] = 0.0
                continue
            for a in range(count):
                if not math.isnan(rows[n, variances_at + a]):
                    rows[n, variances_at + a] = joint[0, a, a]
                if unweighted:
                    moments[n, 8 + a] = joint[1, a, a]
            for kind in range(min(kinds, 2 * matrices.shape[0])):
                for a in range(count):
                    for b in range(count):
                        free = covariances[n, 0, a, a] > 0.0 and covariances[n, 0, b, b] > 0.0
                        matrices[n, kind, a, b] = joint[kind, a, b] if free else math.nan


@device
def _with_background(
    solution, row, kept, own, n, spots, many, kind, offsets, neighbours, strengths, shared, covariances
):
    """Return the covariance of a background of a fit alone with a solution."""
    total = 0.0
    for s in range(many):
        if s == many - 1:
            for b in range(kept):
                scale = _scale(covariances, n, own) * _scale(covariances, n, b)
                total += solution[row, kept * s + b] * covariances[n, kind, own, b] / scale
        else:
            e = _edge(offsets, neighbours, n, spots[s])
            if e >= 0 and strengths[e] > 0.0:
                for b in range(kept):
                    total += solution[row, kept * s + b] * shared[e, kind, own, b]
    return total
