"""Standard errors of spots that are fitted together: see `_definitions/crowds.py`."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import device, fused, kernel
from npsubpix._cpu.fitting.coupling import scale_of
from npsubpix._definitions.constants import FIT_JOINT_COUPLING, FIT_JOINT_PIVOT, FIT_JOINT_SPOTS
from npsubpix._definitions.flags import FIT_REJECTED, FitFlags

__all__ = ["joint_kernel"]

_REJECTED = int(FIT_REJECTED)
_SINGULAR = int(FitFlags.SINGULAR)

#: Flags of a fit that does not count, where it is rejected.
_OF_FITS = int(FitFlags.POOR_FIT | FitFlags.AT_BOUND)

#: Spots that share scratch memory.
_CHUNK = 64


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
                                    scale = scale_of(covariances, spots[s], a) * scale_of(covariances, spots[s], b)
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
                            scale = scale_of(covariances, n, a) * scale_of(covariances, n, b)
                            total += covariances[n, kind, a, b] / scale
                        joint[kind, a, b] = total * scale_of(covariances, n, a) * scale_of(covariances, n, b)
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
                scale = scale_of(covariances, n, own) * scale_of(covariances, n, b)
                total += solution[row, kept * s + b] * covariances[n, kind, own, b] / scale
        else:
            e = _edge(offsets, neighbours, n, spots[s])
            if e >= 0 and strengths[e] > 0.0:
                for b in range(kept):
                    total += solution[row, kept * s + b] * shared[e, kind, own, b]
    return total
