"""Dense quadratic refinement of 3-D maxima on the host."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.compiler.jit import device, kernel
from npsubpix._cpu.nms import limits, nms_mask
from npsubpix._cpu.nms.neighbours import ROWS, find_peaks_of_band
from npsubpix._cpu.quadratic.fits import fit_quadratic3d, follower
from npsubpix._cpu.quadratic.fits_vjp import add_quadratic3d, quadratic3d_vjp
from npsubpix._definitions.constants import SHIFT_LIMIT
from npsubpix._definitions.dtypes import promoted
from npsubpix._definitions.flags import REJECTED

__all__ = ["quad_interp3d", "quad_interp3d_vjp"]

Indices: TypeAlias = npt.NDArray[np.int64]

_REJECTED = int(REJECTED)
_follow = follower(fit_quadratic3d, 3)


@device
def _write_refined(x, d, i, j, options, coords, y):
    """Refine one maximum and write its position and value; a rejected one keeps those of the grid."""
    n_iters, bonus, threshold, radius, depth_steps = options
    d1, i1, j1, sd, si, sj, gain, flags = _follow(x, d, i, j, n_iters, threshold, SHIFT_LIMIT, radius, depth_steps)
    if flags & _REJECTED == 0:
        coords[0, d, i, j] = d1 + sd
        coords[1, d, i, j] = j1 + sj
        coords[2, d, i, j] = i1 + si
        y[d, i, j] = np.float64(x[d1, i1, j1]) + gain + bonus


@device
def _fill_row(row, d, i, scale, columns, rows, y):
    scale[:] = scale.dtype.type(d)
    rows[:] = rows.dtype.type(i)
    for j in range(columns.size):
        columns[j] = columns.dtype.type(j)
        y[j] = row[j]


@kernel("quad_interp3d_all")
def _refine_all_kernel(x, ends, options, coords, y):
    """Find the strict 3 x 3 x 3 maxima, refine them, and fill the grid, in one pass."""
    images, depth, height, width = x.shape
    bands = (height + ROWS - 1) // ROWS
    for r in prange(images * depth * bands):
        first, d, b = r % bands * ROWS, r // bands % depth, r // bands // depth
        last = min(first + ROWS, height)
        for i in range(first, last):
            _fill_row(x[b, d, i], d, i, coords[b, 0, d, i], coords[b, 1, d, i], coords[b, 2, d, i], y[b, d, i])
        if d < 1 or d >= depth - 1 or width < 3:
            continue
        first, last = max(first, 1), min(last, height - 1)
        found = np.zeros((ROWS, (width + 7) // 8 * 8), np.uint8)
        find_peaks_of_band(
            x[b], ends[0], ends[1], d, first, last, 1, width - 1, found, 0, np.empty((6, width), x.dtype)
        )
        words = found.view(np.uint64)
        for i in range(first, last):
            for word in range(words.shape[1]):
                if words[i - first, word] != 0:
                    for j in range(8 * word, 8 * word + 8):
                        if found[i - first, j]:
                            _write_refined(x[b], d, i, j, options, coords[b], y[b])


@kernel("quad_interp3d_fill")
def _fill_kernel(x, coords, y):
    """Fill the outputs with the grid and the input."""
    images, depth, height, _ = x.shape
    for r in prange(images * depth * height):
        i = r % height
        d = r // height % depth
        b = r // height // depth
        _fill_row(x[b, d, i], d, i, coords[b, 0, d, i], coords[b, 1, d, i], coords[b, 2, d, i], y[b, d, i])


@kernel("quad_interp3d_candidates")
def _refine_candidates_kernel(x, candidates, options, coords, y):
    """Refine the voxels of flat indices."""
    _, depth, height, width = x.shape
    for k in prange(candidates.size):
        r = candidates[k]
        j = r % width
        i = r // width % height
        d = r // width // height % depth
        b = r // width // height // depth
        _write_refined(x[b], d, i, j, options, coords[b], y[b])


def _strongest(x: HostArray, candidates: Indices, max_candidates: int) -> Indices:
    """Keep the candidates of each image with the greatest values; the first of equal ones."""
    image = candidates // max(x.size // max(len(x), 1), 1)
    values = x.reshape(-1)[candidates]
    if values.dtype.kind == "f":
        values[np.isnan(values)] = -np.inf  # a marked NaN is the weakest
    # Reversed twice: descending values, and among equal ones ascending indices.
    order = candidates.size - 1 - np.argsort(values[::-1], kind="stable")[::-1]
    order = order[np.argsort(image[order], kind="stable")]
    first = np.searchsorted(image, image)  # position of the first candidate of the same image
    rank = np.arange(order.size) - first[order]
    return np.sort(candidates[order[rank < max_candidates]])


def _candidates(x: HostArray, mask: HostArray | None, max_candidates: int | None) -> Indices:
    """Return the flat indices of the voxels to refine, ascending."""
    if mask is None:
        mask = nms_mask(x, kernel_size=(3, 3, 3))[0]
    candidates = np.flatnonzero(mask)
    return candidates if max_candidates is None else _strongest(_stack(x), candidates, max_candidates)


def _stack(x: HostArray) -> HostArray:
    stack: HostArray = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
    return stack


def quad_interp3d(
    input: HostArray,
    precomputed_nms_mask: HostArray | None,
    *,
    n_iters: int,
    strict_maxima_bonus: float,
    max_subpixel_shift: float,
    dilation_radius: int,
    allow_scale_steps: bool,
    max_candidates: int | None,
) -> tuple[HostArray, HostArray]:
    """Refine the maxima of volumes of shape (B, C, D, H, W); return coordinates and values of every voxel."""
    dtype = promoted(input.dtype)
    stack = _stack(input)
    images, *shape = stack.shape
    coords = np.empty((*input.shape[:2], 3, *shape), dtype)
    y = np.empty(input.shape, dtype)
    outputs = coords.reshape(images, 3, *shape), y.reshape(stack.shape)
    options = (n_iters, strict_maxima_bonus, max_subpixel_shift, dilation_radius, allow_scale_steps)
    if precomputed_nms_mask is None and max_candidates is None:
        _refine_all_kernel.run(16 * input.size, stack, limits(input.dtype), options, *outputs)
        return coords, y
    candidates = _candidates(input, precomputed_nms_mask, max_candidates)
    _fill_kernel.run(4 * input.size, stack, *outputs)
    _refine_candidates_kernel.run(200 * candidates.size, stack, candidates, options, *outputs)
    return coords, y


@kernel("quad_interp3d_vjp")
def _vjp_kernel(x, candidates, options, coords_cotangents, value_cotangents, places, fit_cotangents, grad):
    """Find the voxel at which each candidate was last fitted, -1 for none, and the cotangents of that fit."""
    n_iters, _, threshold, radius, depth_steps = options
    _, depth, height, width = x.shape
    for k in prange(candidates.size):
        r = candidates[k]
        j = r % width
        i = r // width % height
        d = r // width // height % depth
        b = r // width // height // depth
        d1, i1, j1, sd, si, sj, _, flags = _follow(x[b], d, i, j, n_iters, threshold, SHIFT_LIMIT, radius, depth_steps)
        places[k] = -1
        if flags & _REJECTED == 0:
            grad[b, d, i, j] = 0  # its value is that of the fit
            places[k] = ((b * depth + d1) * height + i1) * width + j1
            quadratic3d_vjp(
                x[b], d1, i1, j1, (sd, si, sj), coords_cotangents[k], value_cotangents[k, 0], fit_cotangents[k]
            )


@kernel("quad_interp3d_scatter")
def _scatter_kernel(places, fit_cotangents, ends, grad):
    """Add the cotangents of the fits of each image to its gradient, in order; those of image b end at ends[b]."""
    images, depth, height, width = grad.shape
    for b in prange(images):
        for k in range(ends[b - 1] if b > 0 else 0, ends[b]):
            r = places[k]
            if r >= 0:
                add_quadratic3d(
                    grad[b], r // width // height % depth, r // width % height, r % width, fit_cotangents[k]
                )


def _gathered(cotangent: HostArray | None, candidates: Indices, axes: int, voxels: int) -> HostArray:
    """Return the cotangents of the candidates, of shape (n, axes)."""
    if cotangent is None:
        return np.zeros((candidates.size, axes))
    rows = cotangent.reshape(-1, axes, voxels)
    return rows[candidates // voxels, :, candidates % voxels].astype(np.float64)


def quad_interp3d_vjp(
    cotangents: tuple[HostArray | None, HostArray | None],
    arrays: tuple[HostArray, HostArray | None],
    saved: tuple[()],
    *,
    n_iters: int,
    strict_maxima_bonus: float,
    max_subpixel_shift: float,
    dilation_radius: int,
    allow_scale_steps: bool,
    max_candidates: int | None,
) -> tuple[HostArray]:
    """Return the gradient with respect to the input.

    A voxel that was not refined has a constant position, and its own value.
    """
    (x, mask), (coords_cotangent, values_cotangent) = arrays, cotangents
    options = (n_iters, strict_maxima_bonus, max_subpixel_shift, dilation_radius, allow_scale_steps)
    stack = _stack(x)
    voxels = max(stack[:1].size, 1)  # of an image
    candidates = _candidates(x, mask, max_candidates)
    # The sum is kept in the precision of the result. A voxel is part of few fits, so the error is no
    # greater than that of rounding the result, and a map in float64 would double the memory.
    dtype = promoted(x.dtype)
    grad = np.zeros(stack.shape, dtype) if values_cotangent is None else values_cotangent.reshape(stack.shape).copy()
    places = np.empty(candidates.size, np.int64)
    fit_cotangents = np.empty((candidates.size, 10))
    _vjp_kernel.run(
        300 * candidates.size,
        stack,
        candidates,
        options,
        _gathered(coords_cotangent, candidates, 3, voxels),
        _gathered(values_cotangent, candidates, 1, voxels),
        places,
        fit_cotangents,
        grad,
    )
    ends = np.searchsorted(candidates, voxels * np.arange(1, len(stack) + 1))
    _scatter_kernel.run(40 * candidates.size, places, fit_cotangents, ends, grad)
    return (grad.reshape(x.shape),)
