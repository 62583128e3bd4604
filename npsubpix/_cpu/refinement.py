"""Sub-pixel refinement on the host: one kernel per method that moves positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import Kernel, device, kernel
from npsubpix._cpu.quadratic.fits import fit_parabola2d, fit_parabola3d, fit_quadratic2d, fit_quadratic3d, follower
from npsubpix._definitions.constants import (
    CENTROID_LEAST_FACTOR,
    CENTROID_LEAST_MASS,
    CENTROID_TOLERANCE,
    MOVE_THRESHOLD,
)
from npsubpix._definitions.flags import REJECTED, PeakFlags
from npsubpix._definitions.refinement import Refinement

__all__ = ["METHODS", "refine", "refine_peaks"]

_REJECTED = int(REJECTED)
_NONFINITE = int(PeakFlags.NONFINITE)
_SINGULAR = int(PeakFlags.SINGULAR)
_NOT_CONVERGED = int(PeakFlags.NOT_CONVERGED)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_TOO_FAR = int(PeakFlags.TOO_FAR)
_MASKED = int(PeakFlags.MASKED)
_MOVED = int(PeakFlags.MOVED)


def _walker(fit: Callable[..., Any], axes: int) -> Callable[..., Any]:
    follow = follower(fit, axes)

    @device
    def walk(x, d, i, j, n_iters, max_shift, half, spread):
        steps = int(max_shift) + 1
        d1, i1, j1, sd, si, sj, gain, flags = follow(x, d, i, j, n_iters, MOVE_THRESHOLD, math.inf, steps, True)
        return d1 + sd, i1 + si, j1 + sj, np.float64(x[d1, i1, j1]) + gain, flags, (d1, i1, j1)

    return walk


@device
def _ring_mean(x, d, i, j, hd, hi, hj):
    """Return the mean of the pixels just outside a box of half-widths h, as far as they are in the image.

    Differences from one of them are summed, so that the mean of equal pixels is exact.
    """
    depth, height, width = x.shape
    total = 0.0
    count = 0
    outer = 1 if hd > 0 else 0
    first = np.float64(x[max(d - hd - outer, 0), max(i - hi - 1, 0), max(j - hj - 1, 0)])
    for a in range(max(d - hd - outer, 0), min(d + hd + outer + 1, depth)):
        for b in range(max(i - hi - 1, 0), min(i + hi + 2, height)):
            on_face = abs(b - i) == hi + 1 or abs(a - d) == hd + 1
            step = 1 if on_face else 2 * hj + 2
            for c in range(j - hj - 1, j + hj + 2, step):
                if 0 <= c < width:
                    total += np.float64(x[a, b, c]) - first
                    count += 1
    return first + total / count if count > 0 else 0.0


@device
def _weights(centre, position, half, spread, out):
    """Gaussian weights of the pixels from centre - half to centre + half, around a position."""
    for k in range(2 * half + 1):
        u = (centre - half + k - position) / spread if spread > 0.0 else 0.0
        out[k] = math.exp(-0.5 * u * u)


@device
def _centroid(x, d0, i0, j0, n_iters, max_shift, half, spread):
    """Iterate the Gaussian-windowed centroid until it converges; the window moves with it."""
    depth, height, width = x.shape
    hd, hi, hj = half
    sd, si, sj = spread
    wd, wi, wj = np.empty(2 * hd + 1), np.empty(2 * hi + 1), np.empty(2 * hj + 1)
    start = (d0, i0, j0)
    pd, pi, pj = float(d0), float(i0), float(j0)
    background = _ring_mean(x, d0, i0, j0, hd, hi, hj)
    value = np.float64(x[d0, i0, j0])
    for _ in range(n_iters):
        d, i, j = round(pd), round(pi), round(pj)
        if d < hd or d + hd >= depth or i < hi or i + hi >= height or j < hj or j + hj >= width:
            return pd, pi, pj, value, _AT_BORDER, start
        _weights(d, pd, hd, sd, wd)
        _weights(i, pi, hi, si, wi)
        _weights(j, pj, hj, sj, wj)
        mass = magnitude = md = mi = mj = vd = vi = vj = 0.0
        for a in range(2 * hd + 1):
            ud = d - hd + a - pd
            for b in range(2 * hi + 1):
                ui = i - hi + b - pi
                row_mass = row_first = row_second = 0.0
                for c in range(2 * hj + 1):
                    uj = j - hj + c - pj
                    w = wd[a] * wi[b] * wj[c] * (np.float64(x[d - hd + a, i - hi + b, j - hj + c]) - background)
                    row_mass += w
                    row_first += w * uj
                    row_second += w * uj * uj
                    magnitude += abs(w)
                mass += row_mass
                md += row_mass * ud
                mi += row_mass * ui
                mj += row_first
                vd += row_mass * ud * ud
                vi += row_mass * ui * ui
                vj += row_second
        if not abs(mass) < math.inf or not abs(background) < math.inf:
            return pd, pi, pj, value, _NONFINITE, start
        if abs(mass) <= CENTROID_LEAST_MASS * magnitude:
            return pd, pi, pj, value, _SINGULAR, start
        step_d = _unshrunk(md, vd, mass, sd)
        step_i = _unshrunk(mi, vi, mass, si)
        step_j = _unshrunk(mj, vj, mass, sj)
        # One by one: Numba's max drops a NaN, and the pixel of a NaN is out of bounds.
        if not ((abs(step_d) < math.inf) & (abs(step_i) < math.inf) & (abs(step_j) < math.inf)):
            return pd, pi, pj, value, _NONFINITE, start
        pd, pi, pj = pd + step_d, pi + step_i, pj + step_j
        if max(abs(pd - d0), abs(pi - i0), abs(pj - j0)) > max_shift:
            return pd, pi, pj, value, _TOO_FAR, start
        if max(abs(step_d), abs(step_i), abs(step_j)) <= CENTROID_TOLERANCE:
            d, i, j = round(pd), round(pi), round(pj)
            flags = 0 if d == d0 and i == i0 and j == j0 else _MOVED
            return pd, pi, pj, np.float64(x[d, i, j]), flags, (d, i, j)
    return pd, pi, pj, value, _NOT_CONVERGED, start


@device
def _unshrunk(first, second, mass, spread):
    """Return the shift of a Gaussian spot, from its first and second moments under the window.

    A Gaussian window of variance s**2 pulls the centroid of a Gaussian spot of variance p**2
    towards its own centre by the factor ``1 - m / s**2``, where ``m = s**2 p**2 / (s**2 + p**2)`` is
    the variance of the spot under the window.
    """
    if spread <= 0.0:
        return 0.0
    kept = 1.0 - second / (mass * spread * spread)
    return first / mass / min(max(kept, CENTROID_LEAST_FACTOR), 1.0)


@device
def _any_masked(mask, start, centre, extent):
    """Whether a pixel is masked that a method used on its way from its start to its last centre."""
    depth, height, width = mask.shape
    for a in range(max(min(start[0], centre[0]) - extent[0], 0), min(max(start[0], centre[0]) + extent[0] + 1, depth)):
        for b in range(
            max(min(start[1], centre[1]) - extent[1], 0), min(max(start[1], centre[1]) + extent[1] + 1, height)
        ):
            for c in range(
                max(min(start[2], centre[2]) - extent[2], 0), min(max(start[2], centre[2]) + extent[2] + 1, width)
            ):
                if mask[a, b, c]:
                    return True
    return False


def _refine_kernel(name: str, locate: Callable[..., Any]) -> Kernel:
    @kernel(f"refine_{name}")
    def refine_kernel(x, images, starts, mask, extent, options, coords, values, flags):
        """Refine each start; where that fails it stays, with the value of its pixel and a flag."""
        n_iters, max_shift, half, spread = options
        depth, height, width = x.shape[1:]
        for k in prange(len(starts)):
            d, i, j = starts[k]
            image = x[images[k]]
            coords[k, 0], coords[k, 1], coords[k, 2] = d, i, j
            if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
                values[k] = math.nan
                flags[k] = _AT_BORDER
                continue
            pd, pi, pj, value, flag, centre = locate(image, d, i, j, n_iters, max_shift, half, spread)
            if flag & _REJECTED == 0 and not max(abs(pd - d), abs(pi - i), abs(pj - j)) <= max_shift:
                flag = _TOO_FAR
            if mask.size > 0 and _any_masked(mask[images[k]], (d, i, j), centre, extent):
                flag |= _MASKED
            flags[k] = flag
            if flag & _REJECTED:
                values[k] = np.float64(image[d, i, j])
            else:
                coords[k, 0], coords[k, 1], coords[k, 2] = pd, pi, pj
                values[k] = value

    return refine_kernel


#: The kernels of each method, in two and in three dimensions.
METHODS: dict[str, tuple[Kernel, Kernel]] = {
    "quadratic": (
        _refine_kernel("quadratic2d", _walker(fit_quadratic2d, 2)),
        _refine_kernel("quadratic3d", _walker(fit_quadratic3d, 3)),
    ),
    "parabola": (
        _refine_kernel("parabola2d", _walker(fit_parabola2d, 2)),
        _refine_kernel("parabola3d", _walker(fit_parabola3d, 3)),
    ),
    "centroid": (_refine_kernel("centroid", _centroid),) * 2,
}

_NO_MASK = np.zeros((0, 0, 0, 0), bool)


def refine(
    x: HostArray,
    images: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    mask: HostArray | None,
    refinement: Refinement,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Refine pixels of a stack of images; return positions, values and flags.

    `starts` are positions of shape (N, ndim), `images` the image of each.
    """
    if refinement.method is None:
        return _pixels(x, images, starts, mask)
    count, ndim = starts.shape
    volume = x.reshape(len(x), *(1, *x.shape[1:])[-3:])
    places = np.zeros((count, 3), np.int64)
    places[:, 3 - ndim :] = starts
    coords = np.empty((count, 3))
    values = np.empty(count)
    flags = np.empty(count, np.int32)
    options = refinement.n_iters, refinement.max_shift, refinement.half_widths, refinement.spreads
    mask = _NO_MASK if mask is None else mask.reshape(volume.shape)
    work = (2000 if refinement.method == "centroid" else 100) * count
    run = METHODS[refinement.method][ndim - 2].run
    run(work, volume, images, places, mask, refinement.extent, options, coords, values, flags)
    return coords[:, 3 - ndim :], values, flags


def _pixels(
    x: HostArray, images: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], mask: HostArray | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Return positions, values and flags of pixels that are not refined."""
    inside = ((starts >= 0) & (starts < x.shape[1:])).all(axis=1)
    places = images[inside], *starts[inside].T
    values = np.full(len(starts), math.nan)
    values[inside] = x[places]
    flags = np.where(inside, np.int32(0), np.int32(_AT_BORDER))
    if mask is not None:
        flags[inside] |= np.where(mask[places], np.int32(_MASKED), np.int32(0))
    return starts.astype(np.float64), values, flags


def refine_peaks(
    image: HostArray,
    coords: HostArray,
    frame: HostArray | None,
    mask: HostArray | None,
    *,
    refinement: Refinement,
) -> tuple[HostArray, ...]:
    """Refine positions from their nearest pixels; return positions, values, these pixels, flags and frames.

    Without `frame`, all positions are in the first image. A position outside its image is returned unchanged.
    """
    points = coords.astype(np.float64)
    frames = np.zeros(len(points), np.int64) if frame is None else frame.astype(np.int64)
    if mask is not None:
        mask = np.ascontiguousarray(np.broadcast_to(mask, image.shape))
    finite = np.asarray(np.isfinite(points).all(axis=1))
    nearest = np.floor(np.where(finite[:, None], points, -1.0) + 0.5)
    starts = np.clip(nearest, -1, image.shape[1:]).astype(np.int64)
    refined, values, flags = refine(image, frames, starts, mask, refinement)
    outside = ((starts < 0) | (starts >= image.shape[1:])).any(axis=1)
    refined[outside] = points[outside]
    refined[~finite] = np.nan
    flags[~finite] = PeakFlags.NONFINITE
    return refined, values, starts, flags, frames
