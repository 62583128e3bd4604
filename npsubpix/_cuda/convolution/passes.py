"""Correlation along one axis of images after the other, with a line of weights for each."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np

from npsubpix._cuda.launch.devices import Device, blocks_for, run
from npsubpix._cuda.launch.kernels import THREADS, DeviceArray, Kernel

__all__ = ["Axes", "Finish", "along_axes", "cut", "factors_of"]

#: Results of a block: of a row; columns, and rows of them. They are those of passes.cu.
_ROW, _WIDE, _TALL = 4 * THREADS, 32, 64

#: Units of rounding that a kernel of rank one may differ by from the product of its factors.
_ROUNDINGS = 8

#: Weights along z, y and x.
Lines: TypeAlias = tuple[DeviceArray, DeviceArray, DeviceArray]

#: Whether results are integers, and the least and the greatest of them.
Finish: TypeAlias = tuple[bool, float, float]

_AS_IT_IS: Finish = (False, 0.0, 0.0)


class Axes(NamedTuple):
    """Where windows lie along (z, y, x): weights, the place of the first weight, windows; and what is beyond ends."""

    window: tuple[int, ...]
    first: tuple[int, ...]
    counts: tuple[int, ...]
    border: int
    left_out: bool


def along_axes(
    device: Device, x: DeviceArray, axes: Axes, lines: Lines, fills: DeviceArray, finish: Finish,
    out: DeviceArray, add: bool = False,
) -> None:  # fmt: skip
    """Write to `out`, or add to it, images (B, D, H, W) correlated with the product of lines of weights.

    Lines along z, y and x are in float64. `fills` is what is beyond the ends of each
    axis, if that is constant: x comes first, and then y, so that for y and z it is what the passes before
    make of it.
    """
    rest = [k for k in (2, 1, 0) if axes.window[k] > 1] or [2]
    if len(rest) > 1 and rest[0] != 2:
        rest.insert(0, 2)  # has a factor of the product, and so has no other axis
    for k in rest:
        ends = k == rest[-1]
        shape = (*x.shape[: k + 1], axes.counts[k], *x.shape[k + 2 :])
        made = out if ends else device.empty(shape, x.dtype)
        rule = axes.border, axes.left_out, lines[k], axes.window[k], fills[k : k + 1]
        options = x.shape[k + 1], axes.first[k], axes.counts[k], *rule, add and ends, *(finish if ends else _AS_IT_IS)
        _one_axis(device, x, k, options, axes.counts[k], made)
        x = made


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
    """Return the lines of a kernel (KD, KH, KW), and what is beyond ends; NaN for one that is not of rank one."""
    lines, fills = device.empty((sum(kernel.shape),), np.float64), device.empty((3,), np.float64)
    rounding = _ROUNDINGS * float(np.finfo(kernel.dtype).eps)
    factors = Kernel.of("passes", "correlate_factors", Real=kernel.dtype)
    run(device, factors, 1, kernel, *kernel.shape, rounding, cval, lines, fills)
    return cut(lines, kernel.shape), fills


def cut(lines: DeviceArray, sizes: tuple[int, ...]) -> Lines:
    """Return the lines along z, y and x of an array that has one after the other."""
    return lines[: sizes[0]], lines[sizes[0] : sizes[0] + sizes[1]], lines[sizes[0] + sizes[1] :]
