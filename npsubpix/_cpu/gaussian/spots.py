"""Many Gaussians in one image, each within its own box, and the adjoint.

Images have shape (D, H, W), with one pixel along missing axes. Spots have shape (N, 7): position and standard
deviation along (z, y, x), and amplitude. Along a missing axis, the standard deviation is infinite and the weight
1. The image is cut into tiles of a fixed size. One thread draws a tile, and adds the spots that reach it in their
order, in float64: sums do not depend on the number of threads, and a faint spot on a bright one is not rounded
away. The adjoint gathers from the box of each spot and needs no tiles.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from npsubpix._cpu.compiler.jit import allocating, device, fused, kernel, summing
from npsubpix._cpu.formulas.exponential import exponential64
from npsubpix._cpu.gaussian.maps import distance
from npsubpix._definitions.constants import GAUSSIAN_STEEPEST, GAUSSIAN_WIDE

__all__ = ["spots_kernel", "spots_vjp_kernel"]

_DENSITY = 1 / math.sqrt(2 * math.pi)
_AREA = math.sqrt(math.pi / 2)
_ROOT_HALF = math.sqrt(0.5)
_CHUNK = 32  # spots that share scratch memory in the adjoint


@device
def _find_box(box, position, std, size, truncate, margin):
    """Write the first pixel of an axis that a spot reaches, and the one after the last."""
    reach = truncate * std + margin
    low, high = max(np.ceil(position - reach), 0.0), min(np.floor(position + reach), size - 1.0)
    box[0], box[1] = 0, 0
    if low <= high:
        box[0], box[1] = np.int64(low), np.int64(high) + 1


@device
def _find_boxes(boxes, position, std, kept, shape, truncate, integrate):
    """Write the box of a spot; return whether it has any pixels."""
    margin = 0.5 if integrate else 0.0
    boxes[:] = 0
    if not kept:
        return False
    for a in range(3):
        _find_box(boxes[a], position[a], std[a], shape[a], truncate, margin)
    return boxes[0, 1] > 0 and boxes[1, 1] > 0 and boxes[2, 1] > 0


@device
def _scales(std, normalize):
    """Return the reciprocal of a standard deviation, and the height of its Gaussian."""
    inverse = min(1.0 / std, GAUSSIAN_STEEPEST)
    return inverse, inverse * _DENSITY if normalize and inverse > 0 else 1.0


@device
def _point_weights(out, first, position, inverse, height):
    for j in range(out.size):
        u = (first + j - position) * inverse
        out[j] = height * exponential64(-0.5 * u * u)


@device
def _wide_weights(out, first, position, inverse, height):
    """Mean over each pixel of a Gaussian much wider than a pixel."""
    curvature = inverse * inverse / 24
    for j in range(out.size):
        u = distance(first + j, position, inverse)
        out[j] = height * exponential64(-0.5 * u * u) * (1 + curvature * (u * u - 1))


@device
def _edge_weights(out, first, position, inverse, height):
    """Mean over each pixel, by the integral up to its edges."""
    scale = height * _AREA / inverse
    low = math.erf((first - 0.5 - position) * inverse * _ROOT_HALF)
    for j in range(out.size):
        high = math.erf((first + j + 0.5 - position) * inverse * _ROOT_HALF)
        out[j] = scale * (high - low)
        low = high


@device
def _weights(out, first, position, std, normalize, integrate):
    """Write the weights of an axis from pixel `first` on."""
    inverse, height = _scales(std, normalize)
    if not integrate:
        _point_weights(out, first, position, inverse, height)
    elif inverse < GAUSSIAN_WIDE:
        _wide_weights(out, first, position, inverse, height)
    else:
        _edge_weights(out, first, position, inverse, height)


@fused
def _add_product(out, top, left, column, row, factor):
    patch = out[top : top + column.size, left : left + row.size]
    for i in range(column.size):
        scaled = factor * column[i]
        for j in range(row.size):
            patch[i, j] += scaled * row[j]


@device
def _copy(out, plane):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = plane[i, j]


@device
def _draw(canvas, corner, box, spot, normalize, integrate, z, y, x):
    """Add the part of a spot that is on a tile, whose first pixel is `corner`; z, y and x are scratch memory."""
    front, top, left = max(box[0, 0], corner[0]), max(box[1, 0], corner[1]), max(box[2, 0], corner[2])
    depth = min(box[0, 1], corner[0] + canvas.shape[0]) - front
    column = y[: min(box[1, 1], corner[1] + canvas.shape[1]) - top]
    row = x[: min(box[2, 1], corner[2] + canvas.shape[2]) - left]
    _weights(z[:depth], front, spot[0], spot[3], normalize, integrate)
    _weights(column, top, spot[1], spot[4], normalize, integrate)
    _weights(row, left, spot[2], spot[5], normalize, integrate)
    for i in range(depth):
        plane = canvas[front - corner[0] + i]
        _add_product(plane, top - corner[1], left - corner[2], column, row, spot[6] * z[i])


@allocating
def _bucket(boxes, drawn, tile, counts):
    """List the spots that reach each tile, in order: where the list of each begins, and the lists."""
    starts = np.zeros(counts[0] * counts[1] * counts[2] + 1, np.int64)
    members = np.empty(0, np.int64)
    for step in range(2):  # count, then fill
        for n in range(boxes.shape[0]):
            if drawn[n]:
                b = boxes[n]
                for i in range(b[0, 0] // tile[0], (b[0, 1] - 1) // tile[0] + 1):
                    for j in range(b[1, 0] // tile[1], (b[1, 1] - 1) // tile[1] + 1):
                        for k in range(b[2, 0] // tile[2], (b[2, 1] - 1) // tile[2] + 1):
                            t = (i * counts[1] + j) * counts[2] + k
                            if step == 1:
                                members[starts[t]] = n
                            starts[t] += 1
        if step == 0:
            total = 0
            for t in range(starts.size):
                starts[t], total = total, total + starts[t]
            members = np.empty(total, np.int64)
    # filling moved each start to the end of its list
    starts[1:] = starts[:-1].copy()
    starts[0] = 0
    return starts, members


@kernel("gaussian_spots")
def spots_kernel(spots, kept, tile, normalize, integrate, truncate, out):
    """Draw spots, tile by tile."""
    boxes = np.empty((kept.size, 3, 2), np.int64)
    drawn = np.empty(kept.size, np.bool_)
    for n in prange(kept.size):
        drawn[n] = _find_boxes(boxes[n], spots[n, :3], spots[n, 3:6], kept[n], out.shape, truncate, integrate)
    counts = np.empty(3, np.int64)
    for a in range(3):
        counts[a] = (out.shape[a] + tile[a] - 1) // tile[a]
    starts, members = _bucket(boxes, drawn, tile, counts)
    for t in prange(starts.size - 1):
        corner = np.empty(3, np.int64)
        corner[0] = t // counts[2] // counts[1] * tile[0]
        corner[1] = t // counts[2] % counts[1] * tile[1]
        corner[2] = t % counts[2] * tile[2]
        end = corner + tile
        part = out[corner[0] : end[0], corner[1] : end[1], corner[2] : end[2]]
        canvas = np.zeros(part.shape)
        z, y, x = np.empty(tile[0]), np.empty(tile[1]), np.empty(tile[2])
        for m in range(starts[t], starts[t + 1]):
            n = members[m]
            _draw(canvas, corner, boxes[n], spots[n], normalize, integrate, z, y, x)
        for i in range(part.shape[0]):
            _copy(part[i], canvas[i])


@device
def _point_slopes(out, first, position, inverse, height, constant):
    """Write weights, and their derivatives with respect to position and standard deviation."""
    for j in range(out.shape[1]):
        u = distance(first + j, position, inverse)
        weight = height * exponential64(-0.5 * u * u)
        out[0, j] = weight
        out[1, j] = weight * u * inverse
        out[2, j] = weight * (u * u - constant) * inverse


@device
def _wide_slopes(out, first, position, inverse, height, constant):
    curvature = inverse * inverse / 24
    for j in range(out.shape[1]):
        u = distance(first + j, position, inverse)
        q = u * u
        weight = height * exponential64(-0.5 * q)
        mean = 1 + curvature * (q - 1)
        out[0, j] = weight * mean
        out[1, j] = weight * u * (1 + curvature * (q - 3)) * inverse
        out[2, j] = weight * (q * (1 + curvature * (q - 3)) - 2 * curvature * (q - 1) - constant * mean) * inverse


@device
def _edge_slopes(out, first, position, inverse, height, constant):
    area, low, low_u, low_e = _AREA / inverse, 0.0, 0.0, 0.0
    for j in range(-1, out.shape[1]):
        u = distance(first + j + 0.5, position, inverse)
        e = exponential64(-0.5 * u * u)
        high = math.erf(u * _ROOT_HALF)
        if j >= 0:
            weight = area * (high - low)
            out[0, j] = height * weight
            out[1, j] = height * (low_e - e)
            out[2, j] = height * (low_u * low_e - u * e + (1 - constant) * weight * inverse)
        low, low_u, low_e = high, u, e


@device
def _slopes(out, first, position, std, normalize, integrate):
    inverse, height = _scales(std, normalize)
    constant = 1.0 if normalize and inverse > 0 else 0.0  # the height of the Gaussian falls with its width
    if not integrate:
        _point_slopes(out, first, position, inverse, height, constant)
    elif inverse < GAUSSIAN_WIDE:
        _wide_slopes(out, first, position, inverse, height, constant)
    else:
        _edge_slopes(out, first, position, inverse, height, constant)


@summing
def _products(row, slopes):
    value, by_position, by_std = 0.0, 0.0, 0.0
    for j in range(row.size):
        value += row[j] * slopes[0, j]
        by_position += row[j] * slopes[1, j]
        by_std += row[j] * slopes[2, j]
    return value, by_position, by_std


@device
def _gather(pixels, z, y, x, amplitude, gradient):
    """Add up the derivatives of the sum of pixels times a spot; z, y and x hold weights and their slopes."""
    for i in range(pixels.shape[0]):
        plane, at_y, wide_y, at_x, wide_x = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(pixels.shape[1]):
            here, by_x, by_width = _products(pixels[i, j], x)
            plane += y[0, j] * here
            at_y += y[1, j] * here
            wide_y += y[2, j] * here
            at_x += y[0, j] * by_x
            wide_x += y[0, j] * by_width
        height = amplitude * z[0, i]
        gradient[0] += amplitude * z[1, i] * plane
        gradient[1] += height * at_y
        gradient[2] += height * at_x
        gradient[3] += amplitude * z[2, i] * plane
        gradient[4] += height * wide_y
        gradient[5] += height * wide_x
        gradient[6] += z[0, i] * plane


@kernel("gaussian_spots_vjp")
def spots_vjp_kernel(spots, kept, longest, normalize, integrate, truncate, cotangent, gradients):
    """Write the derivatives of the sum of image times cotangent; `longest` is the longest side of a box."""
    for c in prange((kept.size + _CHUNK - 1) // _CHUNK):
        z, y, x = np.empty((3, longest)), np.empty((3, longest)), np.empty((3, longest))
        box = np.empty((3, 2), np.int64)
        for n in range(c * _CHUNK, min((c + 1) * _CHUNK, kept.size)):
            gradient = gradients[n]
            gradient[:] = 0
            p, s = spots[n, :3], spots[n, 3:6]
            if _find_boxes(box, p, s, kept[n], cotangent.shape, truncate, integrate):
                low, high = box[:, 0], box[:, 1]
                of_z, of_y, of_x = z[:, : high[0] - low[0]], y[:, : high[1] - low[1]], x[:, : high[2] - low[2]]
                _slopes(of_z, low[0], p[0], s[0], normalize, integrate)
                _slopes(of_y, low[1], p[1], s[1], normalize, integrate)
                _slopes(of_x, low[2], p[2], s[2], normalize, integrate)
                pixels = cotangent[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
                _gather(pixels, of_z, of_y, of_x, spots[n, 6], gradient)
