"""Dense quadratic refinement of 3-D maxima on the host."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import prange

from npsubpix._arrays import HostArray
from npsubpix._cpu._jit import device, kernel
from npsubpix._cpu._near import highest_around, mark_peaks
from npsubpix._cpu._quadratic import fit_quadratic3d, follower
from npsubpix._cpu.nms import limits, nms_mask
from npsubpix._spec import REJECTED, SHIFT_LIMIT

__all__ = ["quad_interp3d"]

_REJECTED = int(REJECTED)
_follow = follower(fit_quadratic3d, 3)


@device
def _write_refined(x, d, i, j, options, coords, y):  # type: ignore[no-untyped-def]
    """Refine one maximum and write what it becomes; a rejected one stays as the grid has it."""
    n_iters, bonus, threshold, radius, depth_steps = options
    d1, i1, j1, sd, si, sj, gain, flags = _follow(x, d, i, j, n_iters, threshold, SHIFT_LIMIT, radius, depth_steps)
    if flags & _REJECTED == 0:
        coords[0, d, i, j] = d1 + sd
        coords[1, d, i, j] = j1 + sj
        coords[2, d, i, j] = i1 + si
        y[d, i, j] = np.float64(x[d1, i1, j1]) + gain + bonus


@device
def _fill_row(row, d, i, scale, columns, rows, y):  # type: ignore[no-untyped-def]
    scale[:] = scale.dtype.type(d)
    rows[:] = rows.dtype.type(i)
    for j in range(columns.size):
        columns[j] = columns.dtype.type(j)
        y[j] = row[j]


@kernel("quad_interp3d_all")
def _refine_all_kernel(x, ends, options, coords, y):  # type: ignore[no-untyped-def]
    """Find the strict 3 x 3 x 3 maxima, refine them, and fill the grid, in one pass."""
    images, depth, height, width = x.shape
    for r in prange(images * depth * height):
        i = r % height
        d = r // height % depth
        b = r // height // depth
        _fill_row(x[b, d, i], d, i, coords[b, 0, d, i], coords[b, 1, d, i], coords[b, 2, d, i], y[b, d, i])
        if d < 1 or d >= depth - 1 or i < 1 or i >= height - 1 or width < 3:
            continue
        wall = np.empty(width, x.dtype)
        found = np.zeros((width + 7) // 8 * 8, np.uint8)
        highest_around(wall, x[b], d, i, 0, width, ends[1])
        mark_peaks(found[1 : width - 1], x[b, d, i], wall, ends[0], 0)
        words = found.view(np.uint64)
        for word in range(words.size):
            if words[word] != 0:
                for j in range(8 * word, 8 * word + 8):
                    if found[j]:
                        _write_refined(x[b], d, i, j, options, coords[b], y[b])


@kernel("quad_interp3d_fill")
def _fill_kernel(x, coords, y):  # type: ignore[no-untyped-def]
    """Fill the outputs with the grid and the input."""
    images, depth, height, _ = x.shape
    for r in prange(images * depth * height):
        i = r % height
        d = r // height % depth
        b = r // height // depth
        _fill_row(x[b, d, i], d, i, coords[b, 0, d, i], coords[b, 1, d, i], coords[b, 2, d, i], y[b, d, i])


@kernel("quad_interp3d_some")
def _refine_some_kernel(x, candidates, options, coords, y):  # type: ignore[no-untyped-def]
    """Refine the voxels of which the flat indices are given."""
    _, depth, height, width = x.shape
    for k in prange(candidates.size):
        r = candidates[k]
        j = r % width
        i = r // width % height
        d = r // width // height % depth
        b = r // width // height // depth
        _write_refined(x[b], d, i, j, options, coords[b], y[b])


def _strongest(x: HostArray, candidates: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Keep the `most` candidates of each image with the greatest values; the first of equal ones."""
    image = candidates // max(x.size // max(len(x), 1), 1)
    values = x.reshape(-1)[candidates]
    if values.dtype.kind == "f":
        values[np.isnan(values)] = -np.inf  # a marked NaN is the weakest
    # Reversed twice: descending values, and among equal ones ascending indices.
    order = candidates.size - 1 - np.argsort(values[::-1], kind="stable")[::-1]
    order = order[np.argsort(image[order], kind="stable")]
    first = np.searchsorted(image, image)  # position of the first candidate of the same image
    rank = np.arange(order.size) - first[order]
    return np.sort(candidates[order[rank < most]])


def quad_interp3d(
    x: HostArray,
    n_iters: int,
    bonus: float,
    threshold: float,
    mask: HostArray | None,
    radius: int,
    depth_steps: bool,
    most: int | None,
) -> tuple[HostArray, HostArray]:
    """Refine the maxima of volumes of shape (B, C, D, H, W); return coordinates and values of every voxel."""
    batch, channels, *shape = x.shape
    dtype = np.result_type(x.dtype, np.float32)
    coords = np.empty((batch, channels, 3, *shape), dtype)
    y = np.empty(x.shape, dtype)
    stack = x.reshape(batch * channels, *shape)
    outputs = coords.reshape(batch * channels, 3, *shape), y.reshape(stack.shape)
    options = (n_iters, bonus, threshold, radius, depth_steps)
    if mask is None and most is None:
        _refine_all_kernel.run(16 * x.size, stack, limits(x.dtype), options, *outputs)
        return coords, y
    if mask is None:
        mask = nms_mask(x, (3, 3, 3))[0]
    candidates = np.flatnonzero(mask)
    if most is not None:
        candidates = _strongest(stack, candidates, most)
    _fill_kernel.run(4 * x.size, stack, *outputs)
    _refine_some_kernel.run(200 * candidates.size, stack, candidates, options, *outputs)
    return coords, y
