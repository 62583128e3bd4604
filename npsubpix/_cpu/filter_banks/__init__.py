"""Filter banks on the host: by tiles, or as products of matrices, whose columns are the pixels of windows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix._cpu.filter_banks.tiles import FILTERS, LANES, filter_kernels
from npsubpix._definitions.dtypes import promoted

__all__ = ["conv2d", "conv2d_vjp"]

#: Pixels of the windows in a matrix.
_PIXELS_AT_ONCE = 1 << 22


def _padded(x: HostArray, padding: tuple[int, ...]) -> HostArray:
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right))) if any(padding) else x


def _windows(x: HostArray, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> HostArray:
    """View images (N, C, H, W) as windows (N, C, KH, KW, rows, columns)."""
    reach = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(x, reach, (2, 3))
    view = view[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    return np.asarray(view.transpose(0, 1, 4, 5, 2, 3))


def _blocks(windows: HostArray) -> Iterator[tuple[slice, slice]]:
    """Divide windows into blocks: several images, or several lines of one."""
    count, rows = windows.shape[0], windows.shape[4]
    line = max(math.prod(windows.shape[1:4]) * windows.shape[5], 1)
    images = max(_PIXELS_AT_ONCE // (line * max(rows, 1)), 1)
    lines = max(_PIXELS_AT_ONCE // line, 1)
    for n in range(0, count, images):
        for row in range(0, rows, lines):
            yield slice(n, n + images), slice(row, row + lines)


def _columns(windows: HostArray, block: tuple[slice, slice], channels: slice) -> HostArray:
    """Copy windows of a range of channels to a matrix (pixels of a window, windows)."""
    part = windows[block[0], channels, :, :, block[1]].transpose(1, 2, 3, 0, 4, 5)
    return np.asarray(part.reshape(math.prod(part.shape[:3]), -1))


def _groups(weight: HostArray, groups: int) -> Iterator[tuple[slice, slice, HostArray]]:
    """Return the channels that each group takes and makes, and its weights as a matrix."""
    out, into = weight.shape[0] // groups, weight.shape[1]
    for g in range(groups):
        made = slice(g * out, (g + 1) * out)
        yield slice(g * into, (g + 1) * into), made, weight[made].reshape(out, -1)


def _by_tiles(
    x: HostArray, filters: HostArray, bias: HostArray, step: int, dilation: tuple[int, ...], groups: int, out: HostArray
) -> None:
    """Write the results of all windows of padded images, whose rows begin `step` apart."""
    (_, channels, height, width), (made, into, tall, wide) = x.shape, filters.shape
    size = made // groups
    order = np.minimum(np.arange(-(-size // FILTERS) * FILTERS), size - 1)  # the last filter again and again
    fours = filters.reshape(groups, size, -1)[:, order].reshape(groups, -1, FILTERS, into * tall * wide)
    weights = np.ascontiguousarray(fours.swapaxes(2, 3))
    constants = np.ascontiguousarray(bias.reshape(groups, size)[:, order]).reshape(groups, -1, FILTERS)
    rows, columns = np.arange(tall) * dilation[0] * width, np.arange(wide) * dilation[1]
    offsets = (np.arange(into)[:, None, None] * height * width + rows[:, None] + columns).ravel()
    filter_kernels[x.dtype].run(
        2 * out.size * offsets.size // FILTERS, x.reshape(-1), channels // groups * height * width, step * width,
        offsets, weights, constants, size, out,
    )  # fmt: skip


def _by_matrices(windows: HostArray, filters: HostArray, groups: int, out: HostArray) -> None:
    for block in _blocks(windows):
        for taken, made, matrix in _groups(filters, groups):
            place = out[block[0], made, block[1]]
            result = matrix @ _columns(windows, block, taken)
            place[...] = result.reshape(len(matrix), len(place), *place.shape[2:]).swapaxes(0, 1)


def conv2d(
    input: HostArray, weight: HostArray, bias: HostArray | None, *, stride: tuple[int, ...], padding: tuple[int, ...],
    dilation: tuple[int, ...], groups: int,
) -> tuple[HostArray]:  # fmt: skip
    """Correlate images (N, C, H, W) with filters (O, C / groups, KH, KW)."""
    dtype = promoted(np.result_type(input.dtype, weight.dtype))
    padded = _padded(input.astype(dtype, copy=False), padding)
    reach = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    places = [(n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, stride, strict=True)]
    out = np.empty((len(input), len(weight), *places), dtype)
    filters = weight.astype(dtype, copy=False)
    constants = np.zeros(len(weight), dtype) if bias is None else bias.astype(dtype)
    if stride[1] == 1 and out.shape[3] >= 2 * LANES[dtype]:  # a tile of a single vector waits for its sums
        _by_tiles(padded, filters, constants, stride[0], dilation, groups, out)
    else:
        _by_matrices(_windows(padded, weight.shape[2:], stride, dilation), filters, groups, out)
        if bias is not None:
            out += constants[:, None, None]
    return (out.astype(promoted(input.dtype), copy=False),)


def conv2d_vjp(
    cotangents: tuple[HostArray | None], arrays: tuple[HostArray, HostArray, HostArray | None], saved: tuple[()],
    *, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], groups: int,
) -> tuple[HostArray, HostArray, HostArray | None]:  # fmt: skip
    """Return the gradients with respect to the images, the filters and the bias."""
    (cotangent,), (x, weight, bias) = cotangents, arrays
    dtype = promoted(np.result_type(x.dtype, weight.dtype))
    padded = _padded(x.astype(dtype, copy=False), padding)
    windows = _windows(padded, weight.shape[2:], stride, dilation)
    shape = (len(x), len(weight), *windows.shape[4:])
    grad = np.zeros(shape, dtype) if cotangent is None else cotangent.astype(dtype, copy=False)
    by_image, by_weight = np.zeros(padded.shape, dtype), np.zeros(weight.shape, dtype)
    filters = weight.astype(dtype, copy=False)
    for block in _blocks(windows):
        for taken, made, matrix in _groups(filters, groups):
            part = grad[block[0], made, block[1]]
            columns = part.swapaxes(0, 1).reshape(len(matrix), -1)
            by_weight[made] += (columns @ _columns(windows, block, taken).T).reshape(weight[made].shape)
            back = (matrix.T @ columns).reshape(*weight.shape[1:], len(part), *part.shape[2:])
            _add_back(by_image[block[0], taken], back, block[1].start, stride, dilation)
    top, _, left, _ = padding
    inner = by_image[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return inner, by_weight, None if bias is None else grad.sum((0, 2, 3))


def _add_back(
    image: HostArray, back: HostArray, first: int, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> None:
    """Add the gradients of windows, from line `first` on, to the pixels they contain."""
    _, tall, wide, _, rows, columns = back.shape
    for a in range(tall):
        for b in range(wide):
            top, left = first * stride[0] + a * dilation[0], b * dilation[1]
            down = slice(top, top + (rows - 1) * stride[0] + 1, stride[0])
            across = slice(left, left + (columns - 1) * stride[1] + 1, stride[1])
            image[:, :, down, across] += back[:, a, b].swapaxes(0, 1)
