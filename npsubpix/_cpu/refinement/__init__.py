"""Sub-pixel refinement on the host: one kernel per method that moves positions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.intrinsics import keep, lend, prefetch_line
from npsubpix._cpu.compiler.jit import Kernel, device, inlined, kernel
from npsubpix._cpu.fitting import fit_spots
from npsubpix._cpu.quadratic.fits import (
    fit_free_parabola,
    fit_free_quadratic,
    fit_parabola2d,
    fit_parabola3d,
    fit_quadratic2d,
    fit_quadratic3d,
    follower,
    has_free_neighbours,
)
from npsubpix._cpu.refinement.blends import flag_blends
from npsubpix._cpu.refinement.centroids import centroid, centroid_tables
from npsubpix._cpu.refinement.errors import standard_errors
from npsubpix._cpu.refinement.least_squares import (
    fit_free_least_squares,
    fit_least_squares2d,
    fit_least_squares3d,
    saddle,
)
from npsubpix._cpu.refinement.log_quadratic import log_quadratic
from npsubpix._cpu.refinement.masks import reject_masked, start_of
from npsubpix._cpu.refinement.phasor import phasor
from npsubpix._cpu.refinement.radial import radial
from npsubpix._definitions.constants import MOVE_THRESHOLD
from npsubpix._definitions.flags import REJECTED, PeakFlags
from npsubpix._definitions.periodic import folded, repeated
from npsubpix._definitions.refinement import (
    Noise,
    Refinement,
    noise_of,
    noise_of_fits,
    peaks_of_fits,
    phasor_tables,
)

__all__ = ["METHODS", "refine", "refine_peaks"]

_REJECTED = int(REJECTED)
_AT_BORDER = int(PeakFlags.AT_BORDER)
_TOO_FAR = int(PeakFlags.TOO_FAR)
_MASKED = int(PeakFlags.MASKED)
_FIXED_Z = int(PeakFlags.FIXED_Z)
_FIXED_Y = int(PeakFlags.FIXED_Y)
_FIXED_X = int(PeakFlags.FIXED_X)
_BESIDE = -1  # in place of flags: at the border, where another kernel refines

_CACHED = 1 << 20  # bytes of an image that are close to the core by themselves
_AHEAD = 4  # positions whose pixels are on their way
_FAR = 32  # pixels on one side beyond which a window is no small part of a cache


def _walker(fit: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """Make the function that walks to the pixel of the best fit; from the border of the image it does not start."""
    follow = follower(fit, axes)
    volume = axes == 3

    @device
    def walk(x, d, i, j, n_iters, max_shift, half, spread):
        depth, height, width = x.shape
        inside = (i >= 1) & (i <= height - 2) & (j >= 1) & (j <= width - 2)
        if not (inside & ((d >= 1) & (d <= depth - 2) if volume else True)):
            return float(d), float(i), float(j), 0.0, _BESIDE, (d, i, j)
        d1, i1, j1, sd, si, sj, gain, flags = follow(
            x, d, i, j, n_iters, MOVE_THRESHOLD, math.inf, int(max_shift) + 1, True
        )
        return d1 + sd, i1 + si, j1 + sj, np.float64(x[d1, i1, j1]) + gain, flags, (d1, i1, j1)

    return walk


def _border_walker(fit_free: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """Make the function that walks to the pixel of the best fit; axes along which it starts at the border stay."""
    follow_free = follower(fit_free, axes, has_free_neighbours)
    volume = axes == 3

    @device
    def walk_beside(x, d, i, j, n_iters, max_shift, half, spread):
        depth, height, width = x.shape
        ed = int(volume and 1 <= d <= depth - 2)
        ei = int(1 <= i <= height - 2)
        ej = int(1 <= j <= width - 2)
        if ed + ei + ej == 0:
            return float(d), float(i), float(j), np.float64(x[d, i, j]), _AT_BORDER, (d, i, j)
        d1, i1, j1, sd, si, sj, gain, flags = follow_free(
            (x, ed, ei, ej), d, i, j, n_iters, MOVE_THRESHOLD, math.inf, int(max_shift) + 1, True
        )
        if flags & _REJECTED == 0:
            flags |= (_FIXED_Z if volume and not ed else 0) | (0 if ei else _FIXED_Y) | (0 if ej else _FIXED_X)
        return d1 + sd, i1 + si, j1 + sj, np.float64(x[d1, i1, j1]) + gain, flags, (d1, i1, j1)

    return walk_beside


@inlined
def _prefetch(x, images, starts, k, extent):
    """Ask for the pixels around a start, if there is one: one is refined while those of the next come."""
    depth, height, width = x.shape[1:]
    if k >= len(starts) or max(extent[0], extent[1], extent[2]) > _FAR:
        return
    d, i, j = start_of(starts, k)
    for a in range(max(d - extent[0], 0), min(d + extent[0] + 1, depth)):
        for b in range(max(i - extent[1], 0), min(i + extent[1] + 1, height)):
            row = ((images[k] * depth + a) * height + b) * width
            prefetch_line(x, row + max(j - extent[2], 0), row + min(j + extent[2], width - 1))


def _refine_kernel(name: str, locate: Callable[..., Any]) -> Kernel:
    @kernel(f"refine_{name}")
    def refine_kernel(x, images, starts, extent, options, coords, values, flags, centres, beside):
        """Refine each start; where that fails it stays, with the value of its pixel and a flag.

        `centres` are the pixels at which refinement ended, unless there is no room for them.
        The last of the options are the tables of a centroid or of a phasor, or else standard deviations of windows.
        `beside` is set if any start is left to the kernel for those at the border.
        """
        n_iters, max_shift, half, spread = options
        depth, height, width = x.shape[1:]
        wide = depth * height * width * x.itemsize > _CACHED
        for k in prange(len(starts)):
            if wide:
                _prefetch(lend(x), images, starts, k + _AHEAD, extent)
            d, i, j = start_of(starts, k)
            image = lend(x)[images[k]]
            coords[k, 0], coords[k, 1], coords[k, 2] = d, i, j
            if d < 0 or d >= depth or i < 0 or i >= height or j < 0 or j >= width:
                values[k] = math.nan
                flags[k] = _AT_BORDER
                continue
            pd, pi, pj, value, flag, centre = locate(image, d, i, j, n_iters, max_shift, half, spread)
            if flag == _BESIDE:
                flags[k] = flag
                beside[0] = True
                continue
            if len(centres) > 0:
                centres[k, 0], centres[k, 1], centres[k, 2] = centre
            if flag & _REJECTED == 0 and not max(abs(pd - d), abs(pi - i), abs(pj - j)) <= max_shift:
                flag = _TOO_FAR
            flags[k] = flag
            if flag & _REJECTED:
                values[k] = np.float64(image[d, i, j])
            else:
                coords[k, 0], coords[k, 1], coords[k, 2] = pd, pi, pj
                values[k] = value
        keep(x)

    return refine_kernel


def _walking(name: str, axes: int, fit: Callable[..., Any], fit_free: Callable[..., Any]) -> tuple[Kernel, Kernel]:
    """Make the kernel of a fit to neighbours, and that of starts at the border: few, and few searches have any."""
    return _refine_kernel(name, _walker(fit, axes)), _refine_kernel(f"{name}_beside", _border_walker(fit_free, axes))


#: The kernels of each method, in two and in three dimensions; the second of each, if there is one, is for starts at the
#: border.
METHODS: dict[str, tuple[tuple[Kernel, ...], tuple[Kernel, ...]]] = {
    "quadratic": (
        _walking("quadratic2d", 2, fit_quadratic2d, fit_free_quadratic),
        _walking("quadratic3d", 3, fit_quadratic3d, fit_free_quadratic),
    ),
    "parabola": (
        _walking("parabola2d", 2, fit_parabola2d, fit_free_parabola),
        _walking("parabola3d", 3, fit_parabola3d, fit_free_parabola),
    ),
    "least_squares": (
        _walking("least_squares2d", 2, fit_least_squares2d, fit_free_least_squares),
        _walking("least_squares3d", 3, fit_least_squares3d, fit_free_least_squares),
    ),
    "log_quadratic": ((_refine_kernel("log_quadratic", log_quadratic),),) * 2,
    "saddle": ((_refine_kernel("saddle", saddle),),) * 2,
    "centroid": ((_refine_kernel("centroid", centroid),),) * 2,
    "phasor": ((_refine_kernel("phasor", phasor),),) * 2,
    "radial": ((_refine_kernel("radial", radial),),) * 2,
}

#: Operations that a position takes, about: with windows of the usual radius, where a method has any.
_WORK = {
    "quadratic": 1000,
    "parabola": 1000,
    "least_squares": 2000,
    "log_quadratic": 10_000,
    "saddle": 2000,
    "centroid": 12_000,
    "phasor": 3000,
    "radial": 40_000,
}

#: Positions, values, flags, standard errors if the noise is known, and of fits how near neighbours make them doubtful.
Refined: TypeAlias = tuple[
    npt.NDArray[np.float64],
    npt.NDArray[np.float64],
    npt.NDArray[np.int32],
    npt.NDArray[np.float64] | None,
    npt.NDArray[np.float64] | None,
]

_WORK_OF_MASK = 200


def refine(
    x: HostArray,
    images: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    mask: HostArray | None,
    refinement: Refinement,
    noise: Noise | None = None,
    psf: HostArray | None = None,
) -> Refined:
    """Refine pixels of a stack of images; return positions, values and flags, and with the noise standard errors.

    `starts` are positions of shape (N, ndim), `images` the image of each; `psf` is that of fits. Fits also return how
    near other starts make them doubtful: `flag_blends` says so, once these are settled.
    """
    if refinement.method is None:
        return *_pixels(x, images, starts, mask), None, None
    if refinement.wrap:
        return _refine_periodic(x, images, starts, mask, refinement, noise, psf)
    if refinement.model is not None:
        noise_of_pixels = noise_of_fits(refinement, noise)
        results = fit_spots(x, starts, images, mask, *noise_of_pixels, psf, fit=refinement.model)
        return peaks_of_fits(x, images, starts, results, refinement, noise)
    count, ndim = starts.shape
    volume = x.reshape(len(x), *(1, *x.shape[1:])[-3:])
    starts = np.ascontiguousarray(starts)
    coords = np.empty((count, 3))
    values = np.empty(count)
    flags = np.empty(count, np.int32)
    half = refinement.half_widths
    weights: Any = phasor_tables(half) if refinement.method == "phasor" else refinement.spreads
    tables = centroid_tables(half, weights) if refinement.method == "centroid" else weights
    options = refinement.n_iters, refinement.max_shift, half, tables
    centres = np.empty((0 if noise is None and mask is None else count, 3), np.int64)
    beside, work = np.zeros(1, bool), _WORK[refinement.method]
    inner, *others = METHODS[refinement.method][ndim - 2]
    written: tuple[HostArray, ...] = coords, values, flags, centres
    inner.run(work * count, volume, images, starts, refinement.extent, options, *written, beside)
    if beside[0]:
        rows = np.flatnonzero(flags == _BESIDE)
        part = [column[rows] if len(column) else column for column in written]
        arguments = volume, images[rows], starts[rows], refinement.extent, options
        others[0].run(work * rows.size, *arguments, *part, beside)
        for column, values_of_rows in zip(written, part, strict=True):
            if len(column):
                column[rows] = values_of_rows
    if mask is not None:
        within = mask.reshape(volume.shape), refinement.extent, centres
        reject_masked.run(_WORK_OF_MASK * count, volume, images, starts, *within, coords, values, flags)
    errors = None
    if noise is not None:
        places = np.zeros((count, 3), np.int64)
        places[:, 3 - ndim :] = starts
        found = images, places, centres, coords, flags
        of_method = tuple(map(np.array, refinement.lines)) if refinement.method == "saddle" else weights
        errors = standard_errors(refinement.method, volume, found, noise, half, of_method)[:, 3 - ndim :]
    return coords[:, 3 - ndim :], values, flags, errors, None


def _refine_periodic(
    x: HostArray,
    images: npt.NDArray[np.int64],
    starts: npt.NDArray[np.int64],
    mask: HostArray | None,
    refinement: Refinement,
    noise: Noise | None,
    psf: HostArray | None,
) -> Refined:
    """Refine pixels of a stack of periodic images, in these and what is around them."""
    shape = x.shape[1:]
    pads = refinement.periods_around(shape)
    if mask is not None:
        mask = np.ascontiguousarray(repeated(mask, pads))
    wide = np.ascontiguousarray(repeated(x, pads))
    inside = ((starts >= 0) & (starts < shape)).all(axis=1, keepdims=True)
    places = np.where(inside, starts + pads, -1)
    noise = None if noise is None else noise.repeated(shape, pads)
    refinement = refinement._replace(wrap=False)
    coords, values, flags, errors, reach = refine(wide, images, places, mask, refinement, noise, psf)
    coords -= pads
    folded(coords, shape)
    return coords, values, flags, errors, reach


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


def _all_axes(holds: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether a condition holds along all axes: faster than `all`, whose loop is over two or three axes."""
    result, *others = holds.T
    for column in others:
        result = result & column
    return np.asarray(result)


def _nearest_pixels(
    points: npt.NDArray[np.float64], finite: npt.NDArray[np.bool_], shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the pixel nearest to each position, and whether there is none: then it is beside the image."""
    nearest, outside = np.floor(points + 0.5), ~finite
    if outside.any():
        nearest[outside] = -1.0
    for axis, length in enumerate(shape):  # for the reason of `_all_axes`
        column = nearest[:, axis]
        np.clip(column, -1, length, out=column)
        outside |= (column < 0) | (column >= length)
    return nearest.astype(np.int64), outside


def refine_peaks(
    image: HostArray,
    coords: HostArray,
    frame: HostArray | None,
    mask: HostArray | None,
    error: HostArray | None = None,
    offset: HostArray | None = None,
    electrons_per_count: HostArray | None = None,
    read_variance: HostArray | None = None,
    psf: HostArray | None = None,
    *,
    refinement: Refinement,
) -> tuple[HostArray | None, ...]:
    """Refine positions from their nearest pixels; return positions, values, these pixels, flags, frames and errors.

    Without `frame`, all positions are in the first image. A position outside its image is returned unchanged.
    """
    points = coords.astype(np.float64)
    frames = np.zeros(len(points), np.int64) if frame is None else frame.astype(np.int64)
    if mask is not None:
        mask = np.ascontiguousarray(np.broadcast_to(mask, image.shape))
    finite = _all_axes(np.isfinite(points))
    if refinement.wrap:
        with np.errstate(invalid="ignore"):
            folded(points, image.shape[1:])
    starts, outside = _nearest_pixels(points, finite, image.shape[1:])
    noise = noise_of(error, offset, electrons_per_count, read_variance)
    refined, values, flags, errors, reach = refine(image, frames, starts, mask, refinement, noise, psf)
    if reach is not None:
        flag_blends(flags, starts, frames, reach, image.shape[1:], refinement.wrap)
    if outside.any():
        refined[outside] = points[outside]
        refined[~finite] = np.nan
        flags[~finite] = PeakFlags.NONFINITE
    return refined, values, starts, flags, frames, errors
