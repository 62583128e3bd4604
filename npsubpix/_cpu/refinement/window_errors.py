"""Variances of positions that are measured in windows: centroids, phasors and centres of radial symmetry.

Iterations end where an equation E(c, p) = 0 holds for the position c and the pixels p: a pixel then moves the position
by the derivative of E with respect to it, divided by the negative one with respect to the position.
"""

from __future__ import annotations

import math

import numpy as np

from npsubpix._cpu.compiler.jit import allocating, device
from npsubpix._cpu.refinement.centroids import ring_mean
from npsubpix._cpu.refinement.noise import inverted, is_on_ring, ring_variance, times, variance_of
from npsubpix._cpu.refinement.radial import ACROSS, gradient2d, gradient3d
from npsubpix._definitions.constants import LEAST_CURVED

__all__ = ["centroid_variance", "phasor_variance", "radial_variance"]


@device
def _vertex_slopes(planes, weights, first, position, mass, spread, slopes):
    """Write by how much planes move the vertex of the Gaussian through them, each divided by its weight.

    Return by how much the vertex moves with the window, and whether the planes determine one.
    """
    s0 = s1 = s2 = s3 = s4 = t0 = t1 = t2 = 0.0
    for k in range(planes.size):
        signal = planes[k] / mass
        if signal > 0.0:
            u = first + k - position
            w = weights[k] * signal * signal
            v = w * math.log(signal)
            s0, s1, s2, s3, s4 = s0 + w, s1 + w * u, s2 + w * u * u, s3 + w * u * u * u, s4 + w * u * u * u * u
            t0, t1, t2 = t0 + v, t1 + v * u, t2 + v * u * u
    det = s0 * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s2 * s3) + s2 * (s1 * s3 - s2 * s2)
    inverse = inverted((s0, s1, s2, s1, s2, s3, s2, s3, s4))
    level, slope, bend = times(inverse, t0, t1, t2)
    if not (det > LEAST_CURVED * s0 * s2 * s4 and bend < 0.0):
        return 0.0, False
    shift = -0.5 * slope / bend
    moved = 0.0
    for k in range(planes.size):
        signal = planes[k] / mass
        slopes[k] = 0.0
        if signal > 0.0:
            u = first + k - position
            share = 0.0
            for m in range(3):
                share -= (inverse[3 + m] + 2.0 * shift * inverse[6 + m]) * (0.5 / bend) * u**m
            residual = math.log(signal) - level - slope * u - bend * u * u
            slopes[k] = share * signal * (2.0 * residual + 1.0) / mass
            moved += share * signal * signal * residual * weights[k] * u / (spread * spread)
    return moved, True


@allocating
def centroid_variance(x, noise, frame, start, centre, position, half, spread):
    """Return variances of a centroid.

    Along an axis, the equation is that the first moment is 0; or where the border cuts the window, that the vertex of
    the Gaussian through its planes is the position. Each is a sum over pixels of their signal times a slope.
    """
    background, around = ring_mean(x, start[0], start[1], start[2], half[0], half[1], half[2])
    longest = 2 * max(half[0], half[1], half[2]) + 1
    low, count = np.empty(3, np.int64), np.empty(3, np.int64)
    offsets, weights, slopes, planes = np.empty((4, 3, longest))
    cut, still = np.zeros(3, np.bool_), np.zeros(3, np.bool_)
    for axis in range(3):
        h, length = half[axis], x.shape[axis]
        low[axis] = max(centre[axis] - h, 0)
        count[axis] = min(centre[axis] + h + 1, length) - low[axis]
        cut[axis] = count[axis] <= 2 * h or start[axis] < h or start[axis] + h >= length
        still[axis] = start[axis] == 0 or start[axis] == length - 1
        for n in range(count[axis]):
            u = low[axis] + n - position[axis]
            offsets[axis, n], slopes[axis, n] = u, u
            weights[axis, n] = math.exp(-0.5 * (u / spread[axis]) ** 2) if spread[axis] > 0.0 else 1.0
    planes[:] = 0.0
    mass = 0.0
    if cut[0] or cut[1] or cut[2]:
        for a in range(count[0]):
            for b in range(count[1]):
                for c in range(count[2]):
                    v = float(x[low[0] + a, low[1] + b, low[2] + c]) - background
                    planes[0, a] += weights[1, b] * weights[2, c] * v
                    planes[1, b] += weights[0, a] * weights[2, c] * v
                    planes[2, c] += weights[0, a] * weights[1, b] * v
                    mass += weights[0, a] * weights[1, b] * weights[2, c] * v
    # The derivative of each equation with respect to the position, and to the background
    jacobian, levels = np.zeros((3, 3)), np.zeros(3)
    by_vertex = np.zeros(3, np.bool_)
    for axis in range(3):
        n = count[axis]
        if still[axis]:
            slopes[axis, :] = 0.0
            jacobian[axis, axis] = 1.0
        elif cut[axis]:
            moved, found = _vertex_slopes(
                planes[axis, :n], weights[axis, :n], low[axis], position[axis], mass, spread[axis], slopes[axis, :n]
            )
            by_vertex[axis] = found
            if found:
                jacobian[axis, axis] = moved - 1.0
    for a in range(count[0]):
        for b in range(count[1]):
            for c in range(count[2]):
                w = weights[0, a] * weights[1, b] * weights[2, c]
                v = w * (float(x[low[0] + a, low[1] + b, low[2] + c]) - background)
                own = slopes[0, a], slopes[1, b], slopes[2, c]
                offset = offsets[0, a], offsets[1, b], offsets[2, c]
                for axis in range(3):
                    levels[axis] -= w * own[axis]
                    if still[axis]:
                        continue
                    for other in range(3):
                        if spread[other] > 0.0 and (other != axis or not by_vertex[axis]):
                            jacobian[axis, other] += v * own[axis] * offset[other] / (spread[other] * spread[other])
                    if not by_vertex[axis]:
                        jacobian[axis, axis] -= v
    inverse = inverted(
        (
            -jacobian[0, 0], -jacobian[0, 1], -jacobian[0, 2],
            -jacobian[1, 0], -jacobian[1, 1], -jacobian[1, 2],
            -jacobian[2, 0], -jacobian[2, 1], -jacobian[2, 2],
        )
    )  # fmt: skip
    sd, si, sj = times(inverse, levels[0] / around, levels[1] / around, levels[2] / around)
    ring = ring_variance(noise, frame, x, start, half)
    vd, vi, vj = sd * sd * ring, si * si * ring, sj * sj * ring
    for a in range(count[0]):
        for b in range(count[1]):
            for c in range(count[2]):
                w = weights[0, a] * weights[1, b] * weights[2, c]
                pd, pi, pj = times(inverse, w * slopes[0, a], w * slopes[1, b], w * slopes[2, c])
                place = low[0] + a, low[1] + b, low[2] + c
                twice = 2.0 if is_on_ring(start, half, place[0], place[1], place[2]) else 0.0
                v = variance_of(noise, frame, x, place[0], place[1], place[2])
                vd += pd * (pd + twice * sd) * v
                vi += pi * (pi + twice * si) * v
                vj += pj * (pj + twice * sj) * v
    return vd, vi, vj


@allocating
def phasor_variance(x, noise, frame, start, centre, position, half, tables):
    """Return variances of phases: a pixel turns the first Fourier coefficient of the box."""
    d, i, j = centre
    hd, hi, hj = half
    middle = float(x[d, i, j])
    cosines, sines = np.zeros(3), np.zeros(3)
    for a in range(2 * hd + 1):
        for b in range(2 * hi + 1):
            for c in range(2 * hj + 1):
                v = float(x[d - hd + a, i - hi + b, j - hj + c]) - middle
                at = a, b, c
                for axis in range(3):
                    e, f = (axis + 1) % 3, (axis + 2) % 3
                    across = tables[e, 0, at[e]] * tables[f, 0, at[f]] * v
                    cosines[axis] += across * tables[axis, 1, at[axis]]
                    sines[axis] += across * tables[axis, 2, at[axis]]
    variances = np.zeros(3)
    for a in range(2 * hd + 1):
        for b in range(2 * hi + 1):
            for c in range(2 * hj + 1):
                v = variance_of(noise, frame, x, d - hd + a, i - hi + b, j - hj + c)
                at = a, b, c
                for axis in range(3):
                    if half[axis] > 0:
                        e, f = (axis + 1) % 3, (axis + 2) % 3
                        across = tables[e, 0, at[e]] * tables[f, 0, at[f]]
                        turn = tables[axis, 2, at[axis]] * cosines[axis] - tables[axis, 1, at[axis]] * sines[axis]
                        squared = cosines[axis] * cosines[axis] + sines[axis] * sines[axis]
                        slope = across * turn / squared * (2 * half[axis] + 1) / math.tau
                        variances[axis] += slope * slope * v
    return variances[0], variances[1], variances[2]


@allocating
def radial_variance(x, noise, frame, start, centre, position, half, spread):
    """Return variances of a centre of radial symmetry: where the weighted distances from all lines balance.

    `centre` is the pixel around which the box is.
    """
    depth, height, width = x.shape
    volume = half[0] > 0
    still = (
        not volume or start[0] == 0 or start[0] == depth - 1,
        start[1] == 0 or start[1] == height - 1,
        start[2] == 0 or start[2] == width - 1,
    )
    low = (
        max(centre[0] - half[0], 1) if volume else centre[0],
        max(centre[1] - half[1], 1),
        max(centre[2] - half[2], 1),
    )
    high = (
        min(centre[0] + half[0], depth - 2) if volume else centre[0] + 1,
        min(centre[1] + half[1], height - 2),
        min(centre[2] + half[2], width - 2),
    )
    before, planes = (1, high[0] - low[0] + 3) if volume else (0, 1)
    between = 0.5 if volume else 0.0
    least = (0.5 / max(spread[0], spread[1], spread[2])) ** 2
    slopes = np.zeros((planes, high[1] - low[1] + 3, high[2] - low[2] + 3, 3))
    jacobian = np.zeros((3, 3))
    u, g, balance = np.zeros(3), np.zeros(3), np.zeros(3)
    for a in range(low[0], high[0]):
        for b in range(low[1], high[1]):
            for c in range(low[2], high[2]):
                u[0] = (a + between - position[0]) / spread[0] if volume else 0.0
                u[1], u[2] = (b + 0.5 - position[1]) / spread[1], (c + 0.5 - position[2]) / spread[2]
                if volume:
                    g[0], g[1], g[2] = gradient3d(x, a - 1, b - 1, c - 1)
                    g[0] *= spread[0]
                else:
                    g[1], g[2] = gradient2d(x, a, b - 1, c - 1)
                g[1] *= spread[1]
                g[2] *= spread[2]
                distance = u[0] * u[0] + u[1] * u[1] + u[2] * u[2]
                w = 1.0 / math.sqrt(max(distance, least))
                square = g[0] * g[0] + g[1] * g[1] + g[2] * g[2]
                along = g[0] * u[0] + g[1] * u[1] + g[2] * u[2]
                for m in range(3):
                    balance[m] = square * u[m] - along * g[m]
                for m in range(3):
                    jacobian[m, m] += w * square
                    for n in range(3):
                        jacobian[m, n] -= w * g[m] * g[n]
                        if distance > least:
                            jacobian[m, n] -= w * w * w * balance[m] * u[n]
                        by_gradient = 2.0 * u[m] * g[n] - g[m] * u[n] - (along if m == n else 0.0)
                        part = w * by_gradient * spread[n] / 3.0
                        if n > 0 or volume:
                            _add_stencil(slopes, (a - low[0], b - low[1], c - low[2]), volume, n, m, part)
    for m in range(3):
        if still[m]:
            for n in range(3):
                jacobian[m, n] = 0.0
            jacobian[m, m] = 1.0
    inverse = inverted(
        (
            jacobian[0, 0], jacobian[0, 1], jacobian[0, 2],
            jacobian[1, 0], jacobian[1, 1], jacobian[1, 2],
            jacobian[2, 0], jacobian[2, 1], jacobian[2, 2],
        )
    )  # fmt: skip
    vd = vi = vj = 0.0
    for a in range(slopes.shape[0]):
        for b in range(slopes.shape[1]):
            for c in range(slopes.shape[2]):
                s = slopes[a, b, c]
                pd, pi, pj = times(
                    inverse, 0.0 if still[0] else s[0], 0.0 if still[1] else s[1], 0.0 if still[2] else s[2]
                )
                v = variance_of(noise, frame, x, low[0] - before + a, low[1] - 1 + b, low[2] - 1 + c)
                vd, vi, vj = vd + pd * pd * v, vi + pi * pi * v, vj + pj * pj * v
    return vd * spread[0] * spread[0], vi * spread[1] * spread[1], vj * spread[2] * spread[2]


@device
def _add_stencil(slopes, first, volume, axis, equation, part):
    """Add what the pixels of the derivative of a cell along an axis do to an equation."""
    for a in range(4 if volume else 1):
        for b in range(4):
            for c in range(4):
                at = (a, b, c)
                if at[axis] == 1 or at[axis] == 2:
                    continue
                value = part if at[axis] == 3 else -part
                for other in range(3):
                    if other != axis and (other > 0 or volume):
                        value *= ACROSS[at[other]]
                slopes[first[0] + a, first[1] + b, first[2] + c, equation] += value
