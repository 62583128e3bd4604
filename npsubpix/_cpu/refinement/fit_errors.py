"""Variances of positions that are stationary points of quadratics around a pixel.

The shift s solves H s = -g. If one pixel changes, and with it the gradient by dg and the Hessian by dH, then the shift
changes by ds, which solves H ds = -(dg + dH s).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npsubpix._cpu.compiler.jit import allocating, device
from npsubpix._cpu.refinement.centroids import ring_mean
from npsubpix._cpu.refinement.log_quadratic import TERMS, add_normal_equations, free_axes, solve, substitute
from npsubpix._cpu.refinement.noise import inverted, is_on_ring, ring_variance, times, variance_of

__all__ = [
    "least_squares_variance",
    "log_quadratic_variance",
    "parabola_variance",
    "quadratic_variance",
    "saddle_variance",
]


@device
def _central(a, b, c, ed, ei, ej):
    """Return by how much a pixel at an offset counts in central differences: gradient, second and mixed ones."""
    in_d, in_i, in_j = int(b == 0 and c == 0), int(a == 0 and c == 0), int(a == 0 and b == 0)
    seconds = in_d * ed * (3 * a * a - 2), in_i * ei * (3 * b * b - 2), in_j * ej * (3 * c * c - 2)
    mixed = 0.25 * a * b * int(c == 0), 0.25 * a * c * int(b == 0), 0.25 * b * c * int(a == 0)
    return (0.5 * a * in_d, 0.5 * b * in_i, 0.5 * c * in_j), seconds, mixed


@device
def _central_unmixed(a, b, c, ed, ei, ej):
    """Return the same without mixed differences."""
    gradient, seconds, _ = _central(a, b, c, ed, ei, ej)
    return gradient, seconds, (0.0, 0.0, 0.0)


@device
def _averaged(a, b, c, ed, ei, ej):
    """Return by how much a pixel at an offset counts in derivatives of the quadratic fitted by least squares."""
    nd, ni, nj = 2 * ed + 1, 2 * ei + 1, 2 * ej + 1
    gradient = 0.5 * a / (ni * nj), 0.5 * b / (nd * nj), 0.5 * c / (nd * ni)
    seconds = (
        ed * (3 * a * a - 2) / (ni * nj),
        ei * (3 * b * b - 2) / (nd * nj),
        ej * (3 * c * c - 2) / (nd * ni),
    )
    return gradient, seconds, (0.25 * a * b / nj, 0.25 * a * c / ni, 0.25 * b * c / nd)


@device
def _inverse_hessian(seconds, mixed, ed, ei, ej):
    """Return the inverse of a Hessian, whose axes that are held fixed are those without second differences."""
    dd, ii, jj = seconds
    di, dj, ij = mixed
    fixed = max(max(abs(dd), abs(ii), abs(jj)), max(abs(di), abs(dj), abs(ij)))
    return inverted((dd if ed else fixed, di, dj, di, ii if ei else fixed, ij, dj, ij, jj if ej else fixed))


@device
def _moved(inverse, shift, gradient, seconds, mixed):
    """Return by how much changes of the gradient and of the Hessian move the stationary point."""
    sd, si, sj = shift
    return times(
        inverse,
        -(gradient[0] + seconds[0] * sd + mixed[0] * si + mixed[1] * sj),
        -(gradient[1] + mixed[0] * sd + seconds[1] * si + mixed[2] * sj),
        -(gradient[2] + mixed[1] * sd + mixed[2] * si + seconds[2] * sj),
    )


def _of_fit(weights: Callable[..., Any]) -> Callable[..., Any]:
    """Make the function that returns variances for a fit in whose derivatives pixels have these weights."""

    @device
    def variance(x, noise, frame, start, centre, position, half, tables):
        d, i, j = centre
        ed, ei, ej = free_axes(x, half, centre)
        middle = float(x[d, i, j])
        dd = ii = jj = di = dj = ij = 0.0
        for a in range(-ed, ed + 1):
            for b in range(-ei, ei + 1):
                for c in range(-ej, ej + 1):
                    v = float(x[d + a, i + b, j + c]) - middle
                    _, seconds, mixed = weights(a, b, c, ed, ei, ej)
                    dd, ii, jj = dd + seconds[0] * v, ii + seconds[1] * v, jj + seconds[2] * v
                    di, dj, ij = di + mixed[0] * v, dj + mixed[1] * v, ij + mixed[2] * v
        inverse = _inverse_hessian((dd, ii, jj), (di, dj, ij), ed, ei, ej)
        shift = position[0] - d, position[1] - i, position[2] - j
        vd = vi = vj = 0.0
        for a in range(-ed, ed + 1):
            for b in range(-ei, ei + 1):
                for c in range(-ej, ej + 1):
                    gradient, seconds, mixed = weights(a, b, c, ed, ei, ej)
                    pd, pi, pj = _moved(inverse, shift, gradient, seconds, mixed)
                    v = variance_of(noise, frame, x, d + a, i + b, j + c)
                    vd, vi, vj = vd + pd * pd * v, vi + pi * pi * v, vj + pj * pj * v
        return vd, vi, vj

    return variance


quadratic_variance = _of_fit(_central)
parabola_variance = _of_fit(_central_unmixed)
least_squares_variance = _of_fit(_averaged)


@allocating
def saddle_variance(x, noise, frame, start, centre, position, half, lines):
    """Return variances of a saddle in an image that was smoothed: each of its pixels is a mean of pixels with noise.

    `lines` are the weights of these along rows and columns.
    """
    _, i, j = centre
    seconds, mixed = np.zeros(3), 0.0
    middle = float(x[0, i, j])
    slopes = np.zeros((3, 3, 3))
    for b in range(-1, 2):
        for c in range(-1, 2):
            v = float(x[0, i + b, j + c]) - middle
            _, own, cross = _averaged(0, b, c, 0, 1, 1)
            seconds[1] += own[1] * v
            seconds[2] += own[2] * v
            mixed += cross[2] * v
    inverse = _inverse_hessian((0.0, seconds[1], seconds[2]), (0.0, 0.0, mixed), 0, 1, 1)
    shift = 0.0, position[1] - i, position[2] - j
    for b in range(-1, 2):
        for c in range(-1, 2):
            gradient, own, cross = _averaged(0, b, c, 0, 1, 1)
            _, slopes[b + 1, c + 1, 1], slopes[b + 1, c + 1, 2] = _moved(inverse, shift, gradient, own, cross)
    vi = vj = 0.0
    for b in range(-half[1], half[1] + 1):
        for c in range(-half[2], half[2] + 1):
            pi = pj = 0.0
            for p in range(-1, 2):
                for q in range(-1, 2):
                    k, n = b - p + half[1] - 1, c - q + half[2] - 1
                    if 0 <= k < lines[0].size and 0 <= n < lines[1].size:
                        w = lines[0][k] * lines[1][n]
                        pi += w * slopes[p + 1, q + 1, 1]
                        pj += w * slopes[p + 1, q + 1, 2]
            v = variance_of(noise, frame, x, 0, i + b, j + c)
            vi, vj = vi + pi * pi * v, vj + pj * pj * v
    return 0.0, vi, vj


@allocating
def log_quadratic_variance(x, noise, frame, start, centre, position, half, tables):
    """Return variances of the vertex of the quadratic fitted to the logarithm of the signal above the background.

    A pixel changes coefficients by its term times log(signal) + 1 - fit, divided by the normal equations. One around
    the box changes the background.
    """
    d, i, j = centre
    ed, ei, ej = free_axes(x, half, centre)
    background, around = ring_mean(x, start[0], start[1], start[2], half[0], half[1], half[2])
    height = float(x[start[0], start[1], start[2]]) - background
    normal, right, term = np.empty((TERMS, TERMS)), np.empty(TERMS), np.empty(TERMS)
    free = (x, ed, ei, ej, background, height, normal, right, term)
    if not (add_normal_equations(free, d, i, j) and solve(normal, right)):
        return math.nan, math.nan, math.nan
    inverse = _inverse_hessian(
        (2.0 * right[6], 2.0 * right[5], 2.0 * right[4]), (right[9], right[8], right[7]), ed, ei, ej
    )
    shift = position[0] - d, position[1] - i, position[2] - j
    slopes = np.zeros((3, 3, 3, 3))
    sd = si = sj = 0.0
    own = np.empty(TERMS)
    for a in range(-ed, ed + 1):
        for b in range(-ei, ei + 1):
            for c in range(-ej, ej + 1):
                signal = (float(x[d + a, i + b, j + c]) - background) / height
                if signal > 0.0:
                    own[0], own[1], own[2], own[3] = 1.0, c, b, a
                    own[4], own[5], own[6], own[7], own[8], own[9] = c * c, b * b, a * a, b * c, a * c, a * b
                    excess = math.log(signal) + 1.0
                    for k in range(TERMS):
                        excess -= own[k] * right[k]
                    for k in range(TERMS):
                        own[k] *= excess / height
                    substitute(normal, own)
                    gradient, mixed = (own[3], own[2], own[1]), (own[9], own[8], own[7])
                    seconds = 2.0 * own[6], 2.0 * own[5], 2.0 * own[4]
                    pd, pi, pj = _moved(inverse, shift, gradient, seconds, mixed)
                    slopes[a + 1, b + 1, c + 1, 0], slopes[a + 1, b + 1, c + 1, 1] = pd, pi
                    slopes[a + 1, b + 1, c + 1, 2] = pj
                    sd, si, sj = sd - pd, si - pi, sj - pj
    sd, si, sj = sd / around, si / around, sj / around
    ring = ring_variance(noise, frame, x, start, half)
    vd, vi, vj = sd * sd * ring, si * si * ring, sj * sj * ring
    for a in range(-ed, ed + 1):
        for b in range(-ei, ei + 1):
            for c in range(-ej, ej + 1):
                own_slopes = slopes[a + 1, b + 1, c + 1]
                pd, pi, pj = own_slopes[0], own_slopes[1], own_slopes[2]
                twice = 2.0 if is_on_ring(start, half, d + a, i + b, j + c) else 0.0
                v = variance_of(noise, frame, x, d + a, i + b, j + c)
                vd += pd * (pd + twice * sd) * v
                vi += pi * (pi + twice * si) * v
                vj += pj * (pj + twice * sj) * v
    return vd, vi, vj
