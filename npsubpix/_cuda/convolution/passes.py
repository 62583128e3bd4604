"""Correlation along one axis after the other, with a line of weights for each."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np

from npsubpix._cuda.launch.catalogue import FLOATS, each, register
from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel
from npsubpix._definitions.convolution import product_tolerance
from npsubpix._definitions.dtypes import Rounding, rounding_to

__all__ = ["Axes", "along_axes", "clipped", "cut", "factors_of"]

register("passes", each("Real", FLOATS))

#: Results of a block: of a row; columns, and rows of them. They are those of passes.cu.
_ROW, _WIDE, _TALL = 4 * THREADS, 32, 64

#: Weights along z, y and x.
Lines: TypeAlias = tuple[DeviceArray, DeviceArray, DeviceArray]


class Axes(NamedTuple):
    """Where windows lie along (z, y, x): weights, the place of the first weight, windows; and the border extension."""

    window: tuple[int, ...]
    first: tuple[int, ...]
    counts: tuple[int, ...]
    border: int


def along_axes(
    device: Device, x: DeviceArray, axes: Axes, lines: Lines, fills: DeviceArray, rounding: Rounding,
    out: DeviceArray, add: bool = False, magnitudes: bool = False,
) -> None:  # fmt: skip
    """Write to `out`, or add to it, images (B, D, H, W) correlated with the product of lines of weights.

    Lines along z, y and x are in float64; weights may be their `magnitudes`. `fills` has the constant border extension
    of each axis. Passes go along x, then y, then z, so that for y and z it is the constant that the passes before make
    of it.
    """
    passes = [k for k in (2, 1, 0) if axes.window[k] > 1] or [2]
    if len(passes) > 1 and passes[0] != 2:
        passes.insert(0, 2)  # the line along x has a factor of the product, even if it is a single weight
    for k in passes:
        is_last = k == passes[-1]
        shape = (*x.shape[: k + 1], axes.counts[k], *x.shape[k + 2 :])
        result = out if is_last else device.empty(shape, x.dtype)
        line = lines[k], axes.window[k], fills[k : k + 1]
        of_pass = rounding if is_last else rounding_to(x.dtype)
        options = x.shape[k + 1], axes.first[k], axes.counts[k], axes.border, magnitudes, *line, add and is_last
        _one_axis(device, x, k, (*options, *of_pass), axes.counts[k], result)
        x = result


def clipped(
    device: Device, x: DeviceArray, axes: Axes, lines: Lines, rounding: Rounding, out: DeviceArray
) -> None:  # fmt: skip
    """Write images (B, D, H, W) correlated with the product of lines of weights, in windows clipped to the image."""
    nothing = device.full((3,), 0.0, np.float64)
    sums = [device.empty(out.shape, x.dtype) for _ in range(2)]
    for magnitudes, result in zip((False, True), sums, strict=True):
        along_axes(device, x, axes, lines, nothing, rounding_to(x.dtype), result, magnitudes=magnitudes)
    kernel = Kernel.of("passes", "correlate_clipped", Real=x.dtype)
    geometry = *x.shape, *axes.window, *axes.first, *axes.counts
    run(device, kernel, blocks_for(out.size), *sums, *geometry, *lines, *rounding, out)


def _one_axis(
    device: Device, x: DeviceArray, axis: int, options: tuple[object, ...], count: int, out: DeviceArray
) -> None:
    outer, inner = math.prod(x.shape[: axis + 1]), math.prod(x.shape[axis + 2 :])
    if inner == 1:
        kernel = Kernel.of("passes", "correlate_rows", Real=x.dtype)
        run(device, kernel, blocks_for(outer * -(-count // _ROW), each=1), x, outer, *options, out)
    else:
        kernel = Kernel.of("passes", "correlate_columns", Real=x.dtype)
        tiles = outer * -(-inner // _WIDE) * -(-count // _TALL)
        run(device, kernel, blocks_for(tiles, each=1), x, outer, inner, *options, out)


def factors_of(device: Device, kernel: DeviceArray, cval: float) -> tuple[Lines, DeviceArray]:
    """Return the lines of a kernel (KD, KH, KW) and the fill of each axis; lines of NaN if it is no product."""
    lines, fills = device.empty((sum(kernel.shape),), np.float64), device.empty((3,), np.float64)
    tolerance = product_tolerance(kernel.dtype)
    factors = Kernel.of("passes", "correlate_factors", Real=kernel.dtype)
    run(device, factors, 1, kernel, *kernel.shape, tolerance, cval, lines, fills)
    return cut(lines, kernel.shape), fills


def cut(lines: DeviceArray, sizes: tuple[int, ...]) -> Lines:
    """Return the lines along z, y and x of an array that has them one after the other."""
    return lines[: sizes[0]], lines[sizes[0] : sizes[0] + sizes[1]], lines[sizes[0] + sizes[1] :]
